import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding as findingSchema, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { parseSarifReport } from '../../../../operator/scanning/reports/sarif.ts';
import { digestOf } from '../../../support/builders/images.ts';

const SAMPLE = readFileSync(
  new URL('../../../support/fixtures/scanning/sarif/trivy.sarif.json', import.meta.url),
  'utf8',
);

interface Result {
  ruleId?: unknown;
  ruleIndex?: unknown;
  message?: unknown;
  locations?: unknown;
  suppressions?: unknown;
}

interface Rule {
  id?: unknown;
  name?: unknown;
  properties?: { tags?: unknown; 'security-severity'?: unknown };
}

interface Run {
  tool: { driver: { name: unknown; version?: unknown; rules?: Rule[] | null } };
  invocations?: unknown;
  results?: Result[] | null;
  properties?: { imageName?: unknown; repoDigests?: unknown; imageID?: unknown } | null;
}

interface Log {
  version?: unknown;
  runs?: Run[] | null;
}

type Change = (run: Run, log: Log) => void;

/** The sample, changed. */
function sarif(change: Change = () => undefined): string {
  const log = JSON.parse(SAMPLE) as Log;
  change(log.runs![0]!, log);
  return JSON.stringify(log);
}

const parse = (change?: Change): ScanReport => parseSarifReport(sarif(change));
const rule = (run: Run): Rule => run.tool.driver.rules![0]!;
const result = (run: Run): Result => run.results![0]!;
const said = (text: string) => (run: Run) => void (result(run).message = { text });
const rated = (properties: Rule['properties']) => (run: Run) => void (rule(run).properties = properties!);

describe('parseSarifReport', () => {
  it('reads what the report is about, by what it was made, and what it found', () => {
    const report = parse();

    expect(report).toEqual({
      subject: {
        configDigest: 'sha256:29e87a159c910e982e1dc0af23b0995185e927d996d783c6a51012de31972286',
        repoDigests: ['sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94'],
      },
      scanner: { name: 'Trivy', version: '0.74.0' },
      assessed: 'Partial',
      findings: [
        {
          id: 'CVE-2026-30001',
          aliases: [],
          package: 'libssl3',
          version: '3.0.15-1~deb12u1',
          severity: 'High',
          fixState: 'Fixed',
          fixedVersions: ['3.0.16-1~deb12u1'],
        },
      ],
    });
    expect(report.findings.map((found) => findingSchema.parse(found))).toEqual(report.findings);
  });

  it.each<{ when: string; change: (run: Run) => void; want: Partial<Finding> }>([
    {
      when: 'the tag and the score differ',
      change: rated({ tags: ['security', 'LOW'], 'security-severity': '9.8' }),
      want: { severity: 'Low' },
    },
    { when: 'there is no tag', change: rated({ 'security-severity': '9.8' }), want: { severity: 'Critical' } },
    {
      when: 'no tag is a rating',
      change: rated({ tags: ['security'], 'security-severity': 4 }),
      want: { severity: 'Medium' },
    },
    {
      when: 'the tag says that there is no rating',
      change: rated({ tags: ['UNKNOWN'], 'security-severity': '0.0' }),
      want: { severity: 'Unknown' },
    },
    { when: 'nothing is said of the rule', change: rated({}), want: { severity: 'Unknown' } },
    {
      when: 'there are no rules',
      change: (run) => void (run.tool.driver.rules = null),
      want: { severity: 'Unknown', path: 'shop/web' },
    },
    {
      when: 'no version is fixed',
      change: said('Package: zlib1g\nInstalled Version: 1.2.13\nFixed Version: \nLink: [x](https://example.com)'),
      want: { package: 'zlib1g', version: '1.2.13', fixState: 'Unknown', fixedVersions: [] },
    },
    {
      when: 'several versions are fixed, and lines end as on Windows',
      change: said('Package: undici\r\nFixed Version: 6.21.2, 7.5.0\r\n'),
      want: { package: 'undici', version: '', fixState: 'Fixed', fixedVersions: ['6.21.2', '7.5.0'] },
    },
    {
      when: 'the message is in other words',
      change: said('A high vulnerability was found'),
      want: { package: 'shop/web', version: '', fixState: 'Unknown', fixedVersions: [] },
    },
    {
      when: 'there is neither message nor place',
      change: (run) => {
        delete result(run).message;
        result(run).locations = null;
      },
      want: { package: 'unnamed', version: '' },
    },
    {
      when: 'it is as Grype writes it',
      change: (run) => {
        run.tool.driver.rules = [{ id: 'CVE-2026-30001-libssl3', properties: { 'security-severity': '7.5' } }];
        run.results = [{ ruleId: 'CVE-2026-30001-libssl3', message: { text: 'A high vulnerability' } }];
      },
      want: { id: 'CVE-2026-30001', package: 'libssl3', severity: 'High' },
    },
    {
      when: 'it is in a package of an application',
      change: (run) => {
        rule(run).name = 'LanguageSpecificPackageVulnerability';
        result(run).locations = [{ physicalLocation: { artifactLocation: { uri: 'app/package.json' } } }];
      },
      want: { path: 'app/package.json' },
    },
    {
      when: 'the index is of another rule',
      change: (run) => void run.tool.driver.rules!.unshift({ id: 'CVE-1', properties: { tags: ['LOW'] } }),
      want: { id: 'CVE-2026-30001', severity: 'High' },
    },
    {
      when: 'only the index names the rule',
      change: (run) => {
        delete result(run).ruleId;
      },
      want: { id: 'CVE-2026-30001', severity: 'High' },
    },
    {
      when: 'its texts are endless',
      change: (run) => {
        rule(run).name = 'x';
        result(run).ruleId = rule(run).id = '😀'.repeat(10_000);
        result(run).locations = [{ physicalLocation: { artifactLocation: { uri: 'u'.repeat(10_000) } } }];
        said(`Package: ${'p'.repeat(10_000)}\nInstalled Version: ${'1'.repeat(10_000)}`)(run);
      },
      want: { package: 'p'.repeat(256), version: '1'.repeat(256), path: 'u'.repeat(512) },
    },
  ])('reads a finding when $when', ({ change, want }) => {
    const [found] = parse(change).findings;

    expect(found).toMatchObject(want);
    expect(findingSchema.parse(found)).toEqual(found);
  });

  it('says that nothing was found when the list is empty', () => {
    expect(parse((run) => void (run.results = []))).toMatchObject({ findings: [], assessed: 'Partial' });
  });

  it.each(['misconfiguration', 'secret', 'license'])('leaves a %s out', (tag) => {
    expect(parse(rated({ tags: [tag, 'CRITICAL'] })).findings).toEqual([]);
  });

  it('counts what says that it is suppressed, for there are scanners that say so of everything', () => {
    const [found] = parse((run) => void (result(run).suppressions = [{ kind: 'external' }])).findings;

    expect(found).not.toHaveProperty('suppressed');
  });

  it('takes the findings of all runs, and the time of the one that ended first', () => {
    const { findings, finishedTime } = parse((run, log) => {
      run.invocations = [{ executionSuccessful: true, endTimeUtc: '2026-06-03T02:00:00.5Z' }];
      log.runs = [run, { ...run, invocations: [{ executionSuccessful: true, endTimeUtc: '2026-06-03T01:00:00Z' }] }];
    });

    expect(findings).toHaveLength(2);
    expect(finishedTime).toBe('2026-06-03T01:00:00Z');
  });

  it('does not know when the scan ended when one of the runs does not say it', () => {
    const report = parse((run, log) => {
      log.runs = [run, { ...run, invocations: [{ executionSuccessful: true, endTimeUtc: '2026-06-03T01:00:00Z' }] }];
    });

    expect(report).not.toHaveProperty('finishedTime');
  });

  it.each<{ when: string; properties: Run['properties']; want: ScanReport['subject'] }>([
    {
      when: 'only the name of the image has a digest',
      properties: { imageName: `registry.example.com:5000/shop/web@${digestOf('web')}`, repoDigests: null },
      want: { repoDigests: [digestOf('web')] },
    },
    {
      when: 'the image was asked for by its tag',
      properties: { imageName: 'web:1.0', repoDigests: [], imageID: '' },
      want: { repoDigests: [] },
    },
    { when: 'nothing is said of the image', properties: null, want: { repoDigests: [] } },
  ])('says whose report it is when $when', ({ properties, want }) => {
    expect(parse((run) => void (run.properties = properties!)).subject).toEqual(want);
  });

  it.each<{ when: string; change: Change; problem: string }>([
    { when: 'there is no run', change: (_, log) => void (log.runs = []), problem: 'Unreadable' },
    { when: 'the runs are null', change: (_, log) => void (log.runs = null), problem: 'Unreadable' },
    {
      when: 'nothing was scanned',
      change: (run) => {
        delete run.results;
      },
      problem: 'Unreadable',
    },
    { when: 'the results are null', change: (run) => void (run.results = null), problem: 'Unreadable' },
    {
      when: 'the scanner failed',
      change: (run) => void (run.invocations = [{ executionSuccessful: false }]),
      problem: 'Unreadable',
    },
    {
      when: 'a result names no vulnerability',
      change: (run) => void (run.results = [{ message: { text: 'Something is wrong' } }]),
      problem: 'Unreadable',
    },
    { when: 'the version is another', change: (_, log) => void (log.version = '1.0.0'), problem: 'UnsupportedSchema' },
    { when: 'the version is no text', change: (_, log) => void (log.version = 2.1), problem: 'UnsupportedSchema' },
    {
      when: 'it is about two images',
      change: (run, log) => void (log.runs = [run, { ...run, properties: { imageID: digestOf('other') } }]),
      problem: 'AnotherImage',
    },
    {
      when: 'there are more findings than can be',
      change: (run) => void (run.results = Array<Result>(200_001).fill({ ruleId: 'CVE-1' })),
      problem: 'TooLarge',
    },
  ])('is $problem when $when', ({ change, problem }) => {
    expect(() => parse(change)).toThrow(expect.objectContaining({ problem }));
  });

  it.each([
    { when: 'it is empty', body: '  ', problem: 'Empty' },
    { when: 'it was cut off', body: SAMPLE.slice(0, 1_000), problem: 'Unreadable' },
    { when: 'it is a page', body: '<!doctype html><title>502</title>', problem: 'Unreadable' },
    { when: 'it is null', body: 'null', problem: 'Unreadable' },
    { when: 'it is a list', body: '[]', problem: 'Unreadable' },
    { when: 'it is a report of another kind', body: '{"SchemaVersion":2}', problem: 'UnsupportedSchema' },
  ])('is $problem when $when', ({ body, problem }) => {
    expect(() => parseSarifReport(body)).toThrow(expect.objectContaining({ problem }));
  });

  it('reads 100,000 results', () => {
    const { findings } = parse((run) => void (run.results = Array<Result>(100_000).fill(result(run))));

    expect(findings).toHaveLength(100_000);
  });
});
