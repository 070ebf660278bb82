import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding as findingSchema, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { parseGrypeReport } from '../../../../operator/scanning/reports/grype.ts';

const SAMPLE = readFileSync(
  new URL('../../../support/fixtures/scanning/grype/image-report.json', import.meta.url),
  'utf8',
);

interface Match {
  vulnerability: Record<string, unknown>;
  relatedVulnerabilities?: unknown;
  artifact: Record<string, unknown>;
}

interface Report {
  matches: Match[] | null;
  ignoredMatches?: Match[] | null;
  alertsByPackage?: unknown;
  distro?: unknown;
  source: { target: Record<string, unknown> };
  descriptor: { name: string; timestamp?: unknown; db: { status: Record<string, unknown> } };
}

/** The sample, changed. */
function report(change: (sample: Report) => void = () => undefined): string {
  const sample = JSON.parse(SAMPLE) as Report;
  change(sample);
  return JSON.stringify(sample);
}

const parse = (change?: (sample: Report) => void): ScanReport => parseGrypeReport(report(change));
const first = (sample: Report): Match => sample.matches![0]!;

describe('parseGrypeReport', () => {
  it('reads what the report is about, by what it was made, and what it found', () => {
    expect(parse()).toEqual({
      subject: {
        digest: 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94',
        configDigest: 'sha256:29e87a159c910e982e1dc0af23b0995185e927d996d783c6a51012de31972286',
        repoDigests: ['sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94'],
        platform: 'linux/amd64',
      },
      scanner: { name: 'grype', version: '0.116.0' },
      database: { updatedTime: '2026-06-03T04:09:22Z' },
      finishedTime: '2026-06-03T05:00:00Z',
      os: { family: 'debian', version: '12', endOfLife: false },
      assessed: 'Full',
      findings: [
        {
          id: 'CVE-2026-30001',
          aliases: [],
          package: 'libssl3',
          version: '3.0.15-1~deb12u1',
          purl: 'pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&distro=debian-12.10&upstream=openssl',
          severity: 'High',
          fixState: 'Fixed',
          fixedVersions: ['3.0.16-1~deb12u1'],
          layerDiffId: 'sha256:deac1d1dfbe25dcf349e2d3c3c069b5921493e83664df4d2c96eb13e6bfb4eb6',
          path: '/var/lib/dpkg/status',
        },
        expect.objectContaining({
          id: 'CVE-2024-0001',
          fixState: 'Affected',
          suppressed: { by: 'Vex', status: 'not_affected', statement: 'vulnerable_code_not_in_execute_path' },
        }),
      ],
    });
  });

  it.each<{ when: string; change: (sample: Report) => void; want: Partial<ScanReport['findings'][number]> }>([
    {
      when: 'it is a GHSA with a CVE',
      change: (sample) => {
        first(sample).vulnerability['id'] = 'GHSA-1';
        first(sample).relatedVulnerabilities = [{ id: 'CVE-1' }, { id: 'CVE-1' }, { id: 'GHSA-1' }];
      },
      want: { id: 'GHSA-1', aliases: ['CVE-1'] },
    },
    {
      when: 'nobody will fix it',
      change: (sample) => void (first(sample).vulnerability['fix'] = { versions: null, state: 'wont-fix' }),
      want: { fixState: 'WillNotFix', fixedVersions: [] },
    },
    {
      when: 'it is fixed, and the state is empty',
      change: (sample) => {
        first(sample).vulnerability['fix'] = { versions: ['2'], state: '' };
      },
      want: { fixState: 'Fixed', fixedVersions: ['2'] },
    },
    {
      when: 'words are names of every object',
      change: (sample) => {
        first(sample).vulnerability['severity'] = 'constructor';
        first(sample).vulnerability['fix'] = { versions: [], state: 'constructor' };
      },
      want: { severity: 'Unknown', fixState: 'Unknown' },
    },
    {
      when: 'its other name is known to be exploited',
      change: (sample) => {
        first(sample).relatedVulnerabilities = [{ id: 'CVE-1', knownExploited: [{}] }];
      },
      want: { knownExploited: true },
    },
    {
      when: 'nothing is said of a fix',
      change: (sample) => {
        delete first(sample).vulnerability['fix'];
      },
      want: { fixState: 'Unknown', fixedVersions: [] },
    },
    {
      when: 'the rating is a new word',
      change: (sample) => void (first(sample).vulnerability['severity'] = 'Apocalyptic'),
      want: { severity: 'Unknown' },
    },
    {
      when: 'it is known to be exploited',
      change: (sample) => void (first(sample).vulnerability['knownExploited'] = [{ cve: 'CVE-2026-30001' }]),
      want: { knownExploited: true },
    },
    {
      when: 'its texts are endless',
      change: (sample) => {
        first(sample).artifact['name'] = 'x'.repeat(10_000);
        first(sample).artifact['purl'] = `pkg:deb/${'y'.repeat(10_000)}`;
      },
      want: { package: 'x'.repeat(256) },
    },
  ])('reads a finding when $when', ({ change, want }) => {
    const [found] = parse(change).findings;

    expect(found).toMatchObject(want);
    expect(() => findingSchema.parse(found)).not.toThrow();
  });

  it.each<{ when: string; change: (sample: Report) => void; want: ScanReport['assessed'] }>([
    {
      when: 'the system is at its end of life',
      change: (sample) => void (sample.alertsByPackage = [{ alerts: [{ type: 'distro-eol' }] }]),
      want: 'Partial',
    },
    {
      when: 'there is no distribution, and something was found',
      change: (sample) => {
        delete sample.distro;
      },
      want: 'Partial',
    },
    {
      when: 'there is no distribution, and nothing was found',
      change: (sample) => {
        sample.distro = { name: '', version: '' };
        sample.matches = null;
        sample.ignoredMatches = null;
      },
      want: 'None',
    },
    { when: 'nothing was found in a known one', change: (sample) => void (sample.matches = []), want: 'Full' },
  ])('has assessed it: $want, when $when', ({ change, want }) => {
    expect(parse(change).assessed).toBe(want);
  });

  it('says when the system is at its end of life', () => {
    expect(
      parse((sample) => void (sample.alertsByPackage = [{ alerts: [{ type: 'distro-eol' }] }])).os?.endOfLife,
    ).toBe(true);
  });

  it('names one finding of a package once, and as one that counts if any does', () => {
    const { findings } = parse((sample) => {
      sample.ignoredMatches = [{ ...first(sample) }];
      sample.matches = [first(sample), first(sample)];
    });

    expect(findings).toHaveLength(1);
    expect(findings[0]?.suppressed).toBeUndefined();
  });

  it('reads a hundred thousand findings', () => {
    const many = parse((sample) => {
      const { artifact } = first(sample);
      sample.matches = Array.from({ length: 100_000 }, (_, index) => ({
        vulnerability: { id: `CVE-${index}`, severity: 'High' },
        artifact,
      }));
    });

    expect(many.findings).toHaveLength(100_001);
  });

  it.each<{ when: string; body: string; problem: string; says: string }>([
    { when: 'it is empty', body: ' \n', problem: 'Empty', says: 'nothing in it' },
    { when: 'it is cut off', body: SAMPLE.slice(0, -200), problem: 'Unreadable', says: 'cut off' },
    { when: 'it is a web page', body: '<html>Sign in</html>', problem: 'Unreadable', says: 'page of markup' },
    { when: 'it is a list', body: '[]', problem: 'Unreadable', says: 'Grype report' },
    {
      when: 'it is of another program',
      body: report((sample) => void (sample.descriptor.name = 'syft')),
      problem: 'Unreadable',
      says: 'descriptor.name',
    },
    {
      when: 'its database is of another schema',
      body: report((sample) => void (sample.descriptor.db.status['schemaVersion'] = 'v5')),
      problem: 'UnsupportedSchema',
      says: 'v5',
    },
    {
      when: 'it is of a version before that',
      body: report((sample) => {
        sample.descriptor.db = { built: '2024-01-01T00:00:00Z' } as never;
      }),
      problem: 'UnsupportedSchema',
      says: 'older than 6',
    },
    {
      when: 'there is no list of matches',
      body: report((sample) => {
        delete (sample as Partial<Report>).matches;
      }),
      problem: 'Unreadable',
      says: 'matches',
    },
    {
      when: 'its database is broken',
      body: report((sample) => {
        sample.descriptor.db.status['valid'] = false;
        sample.descriptor.db.status['error'] = 'checksum mismatch';
      }),
      problem: 'Unreadable',
      says: 'not valid: checksum mismatch',
    },
    {
      when: 'a match has no package',
      body: report((sample) => {
        delete (first(sample) as Partial<Match>).artifact;
      }),
      problem: 'Unreadable',
      says: 'matches.0.artifact',
    },
    {
      when: 'there are more findings than can be',
      body: report((sample) => {
        const { vulnerability, artifact } = first(sample);
        const bare = { vulnerability: { id: vulnerability['id'] }, artifact: { name: artifact['name'] } };
        sample.matches = Array.from({ length: 200_001 }, () => bare);
      }),
      problem: 'TooLarge',
      says: '200001 findings',
    },
  ])('refuses a report when $when', ({ body, problem, says }) => {
    expect(() => parseGrypeReport(body)).toThrow(
      expect.objectContaining({ problem, message: expect.stringContaining(says) }),
    );
  });

  it.each<{ when: string; rules: object[]; by: string }>([
    {
      when: 'a VEX document says so, whatever other rule did',
      rules: [{ reason: 'x' }, { 'vex-status': 'fixed' }],
      by: 'Vex',
    },
    { when: 'only fixed ones were asked for', rules: [{ 'fix-state': 'not-fixed' }], by: 'Policy' },
    { when: 'it is in a list', rules: [{ vulnerability: 'CVE-2024-0001' }], by: 'Ignore' },
  ])('is suppressed by $by when $when', ({ rules, by }) => {
    const { findings } = parse((sample) => {
      sample.ignoredMatches = [{ ...sample.ignoredMatches![0]!, appliedIgnoreRules: rules } as Match];
    });

    expect(findings.at(-1)?.suppressed?.by).toBe(by);
  });

  it('has no epoch and no end when the report does not say', () => {
    const bare = parse((sample) => {
      sample.descriptor.db.status['built'] = '0001-01-01T00:00:00Z';
      delete sample.descriptor.timestamp;
    });

    expect(bare).not.toHaveProperty('database');
    expect(bare).not.toHaveProperty('finishedTime');
  });
});
