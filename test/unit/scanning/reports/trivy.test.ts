import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding as findingSchema, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { ReportError } from '../../../../operator/scanning/report-error.ts';
import { MAX_FINDINGS } from '../../../../operator/scanning/reports/read-report.ts';
import { parseTrivyReport, parseTrivyVersion } from '../../../../operator/scanning/reports/trivy.ts';

const SAMPLES = [
  'image-report.standalone.json',
  'image-report.client-server.json',
  'image-report.clean.json',
  'image-report.unrecognised.json',
] as const;

function sample(name: (typeof SAMPLES)[number] | 'version.json'): string {
  return readFileSync(new URL(`../../../support/fixtures/scanning/trivy/${name}`, import.meta.url), 'utf8');
}

type Fields = Readonly<Record<string, unknown>>;

const DEBIAN = { Family: 'debian', Name: '12.10' };
const DIFF_ID = `sha256:${'d'.repeat(64)}`;

function vulnerability(fields: Fields = {}): Fields {
  return { VulnerabilityID: 'CVE-2026-0001', PkgName: 'libssl3', ...fields };
}

function osPackages(found: readonly unknown[] = []): Fields {
  return { Target: 'web (debian 12.10)', Class: 'os-pkgs', Type: 'debian', Vulnerabilities: found };
}

/** A report about a Debian image; a field that is undefined is left out. */
function body(fields: Fields = {}): string {
  return JSON.stringify({ SchemaVersion: 2, Metadata: { OS: DEBIAN }, Results: [osPackages()], ...fields });
}

function findingsOf(...results: readonly unknown[]): readonly Finding[] {
  return parseTrivyReport(body({ Results: results })).findings;
}

function refusal(parse: () => unknown): ReportError {
  try {
    parse();
  } catch (thrown) {
    if (thrown instanceof ReportError) return thrown;
    throw thrown;
  }
  throw new Error('it was read');
}

describe('parseTrivyReport', () => {
  it('reads what a report with a server says', () => {
    const { findings, ...report } = parseTrivyReport(sample('image-report.client-server.json'));

    expect(report).toEqual({
      subject: {
        configDigest: 'sha256:29e87a159c910e982e1dc0af23b0995185e927d996d783c6a51012de31972286',
        repoDigests: ['sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94'],
        platform: 'linux/amd64',
      },
      scanner: { name: 'trivy', version: '0.74.0' },
      database: { updatedTime: '2026-06-03T00:31:44Z' },
      finishedTime: '2026-06-03T02:00:11Z',
      os: { family: 'debian', version: '12.10', endOfLife: false },
      assessed: 'Full',
    });
    expect(findings.map(({ id, package: name, fixState }) => [id, name, fixState])).toEqual([
      ['CVE-2026-30001', 'libssl3', 'Fixed'],
      ['CVE-2026-30001', 'openssl', 'Fixed'],
      ['CVE-2025-20007', 'zlib1g', 'WillNotFix'],
      ['CVE-2024-0001', 'tar', 'Affected'],
      ['CVE-2026-31337', 'undici', 'Fixed'],
    ]);
  });

  it('reads every field of a finding', () => {
    const { findings } = parseTrivyReport(sample('image-report.standalone.json'));

    expect(findings.at(-1)).toEqual({
      id: 'CVE-2026-31337',
      aliases: ['GHSA-aaaa-bbbb-cccc'],
      package: 'undici',
      version: '6.21.0',
      purl: 'pkg:npm/undici@6.21.0',
      severity: 'Medium',
      fixState: 'Fixed',
      fixedVersions: ['6.21.2', '7.5.0'],
      layerDiffId: 'sha256:0360e43015dc7210edf4df9c663925cc4ebfc0151f223a4ff2f79567b89b1bbb',
      layerDigest: 'sha256:c4e8419a276190108c8a0b1741506bf5d973618be61f20a0cedf4f340cef0ec6',
      path: 'app/node_modules/undici/package.json',
    } satisfies Finding);
  });

  it.each(SAMPLES)('gives findings that fit the schema for %s', (name) => {
    const { findings } = parseTrivyReport(sample(name));

    expect(findings.map((found) => findingSchema.parse(found))).toEqual(findings);
  });

  it('knows no state of the data without a server', () => {
    expect(parseTrivyReport(sample('image-report.standalone.json'))).not.toHaveProperty('database');
  });

  it.each<{ when: string; db: unknown; want: ScanReport['database'] }>([
    {
      when: 'it was put in place by hand',
      db: { UpdatedAt: '2026-06-03T00:31:44.5Z', DownloadedAt: '0001-01-01T00:00:00Z' },
      want: { updatedTime: '2026-06-03T00:31:44Z' },
    },
    { when: 'it does not say of when it is', db: { UpdatedAt: '0001-01-01T00:00:00Z' }, want: undefined },
    { when: 'there is none', db: null, want: undefined },
  ])('reads the state of the data when $when', ({ db, want }) => {
    expect(parseTrivyReport(body({ Trivy: { Server: { VulnerabilityDB: db } } })).database).toEqual(want);
  });

  it.each<{ when: string; created: unknown; want: string | undefined }>([
    { when: 'it is RFC 3339', created: '2026-06-03T02:00:12.101457020Z', want: '2026-06-03T02:00:12Z' },
    { when: 'it has an offset', created: '2026-06-03T04:00:12+02:00', want: '2026-06-03T02:00:12Z' },
    { when: 'it is in seconds, as older versions write it', created: 1_780_452_012, want: '2026-06-03T02:00:12Z' },
    { when: 'it is the year 1', created: '0001-01-01T00:00:00Z', want: undefined },
    { when: 'it is missing', created: undefined, want: undefined },
  ])('reads the time of the scan when $when', ({ created, want }) => {
    expect(parseTrivyReport(body({ CreatedAt: created })).finishedTime).toBe(want);
  });

  it.each<{ when: string; os?: Fields; results?: unknown; want: ScanReport['assessed'] }>([
    { when: 'nothing was found in a known system', os: DEBIAN, results: [osPackages()], want: 'Full' },
    {
      when: 'all that was found is suppressed',
      os: DEBIAN,
      results: [
        {
          Class: 'os-pkgs',
          ExperimentalModifiedFindings: [{ Type: 'vulnerability', Status: 'ignored', Finding: vulnerability() }],
        },
      ],
      want: 'Full',
    },
    {
      when: 'the system is at its end of life',
      os: { ...DEBIAN, EOSL: true },
      results: [osPackages()],
      want: 'Partial',
    },
    {
      when: 'the packages of the system were not looked at',
      os: DEBIAN,
      results: [{ Class: 'lang-pkgs' }],
      want: 'Partial',
    },
    { when: 'the system is unknown', results: [{ Class: 'lang-pkgs' }], want: 'Partial' },
    {
      when: 'packages belong to no known system',
      os: { Family: 'none', Name: '' },
      results: [osPackages()],
      want: 'Partial',
    },
    { when: 'only secrets were looked for', os: DEBIAN, results: [{ Class: 'secret' }], want: 'None' },
    { when: 'there are no results', os: DEBIAN, want: 'None' },
    { when: 'the list of results is null', results: null, want: 'None' },
  ])('has assessed the image: $want, when $when', ({ os, results, want }) => {
    expect(parseTrivyReport(body({ Metadata: { OS: os }, Results: results })).assessed).toBe(want);
  });

  it('has assessed nothing in an image in which nothing is recognised', () => {
    const report = parseTrivyReport(sample('image-report.unrecognised.json'));

    expect(report).toMatchObject({ assessed: 'None', findings: [] });
    expect(report).not.toHaveProperty('os');
  });

  it('finds nothing in a clean image', () => {
    expect(parseTrivyReport(sample('image-report.clean.json'))).toMatchObject({ assessed: 'Full', findings: [] });
  });

  it('says when the system is at its end of life', () => {
    expect(parseTrivyReport(body({ Metadata: { OS: { ...DEBIAN, EOSL: true } } })).os?.endOfLife).toBe(true);
  });

  it('takes digests out of references, those that are none left out', () => {
    const RepoDigests = [`localhost:5000/web@${DIFF_ID}`, 'web:1.0', 'web@sha512:00', ''];

    expect(parseTrivyReport(body({ Metadata: { RepoDigests } })).subject).toEqual({ repoDigests: [DIFF_ID] });
  });

  it('reads a rescan of an SBOM, which has neither layers nor configuration', () => {
    const Metadata = { ImageID: DIFF_ID, OS: DEBIAN, RepoDigests: null };

    expect(parseTrivyReport(body({ ArtifactType: 'cyclonedx', Metadata })).subject).toEqual({
      configDigest: DIFF_ID,
      repoDigests: [],
    });
  });

  it.each<{ when: string; found: Fields; want: Partial<Finding> }>([
    { when: 'there is no fix', found: { Status: 'affected' }, want: { fixState: 'Affected', fixedVersions: [] } },
    { when: 'the vendor will not fix it', found: { Status: 'will_not_fix' }, want: { fixState: 'WillNotFix' } },
    { when: 'the vendor will fix it later', found: { Status: 'fix_deferred' }, want: { fixState: 'FixDeferred' } },
    { when: 'the release has ended', found: { Status: 'end_of_life' }, want: { fixState: 'EndOfLife' } },
    { when: 'the status is a new word', found: { Status: 'constructor' }, want: { fixState: 'Unknown' } },
    {
      when: 'an older version gives no status but a fix',
      found: { FixedVersion: '1.2' },
      want: { fixState: 'Fixed', fixedVersions: ['1.2'] },
    },
    {
      when: 'several versions have the fix',
      found: { Status: 'fixed', FixedVersion: '6.21.2, 7.5.0,,6.21.2 ' },
      want: { fixState: 'Fixed', fixedVersions: ['6.21.2', '7.5.0'] },
    },
    { when: 'nobody has rated it', found: { Severity: 'UNKNOWN' }, want: { severity: 'Unknown' } },
    { when: 'the rating is a new word', found: { Severity: 'constructor' }, want: { severity: 'Unknown' } },
    { when: 'it is critical', found: { Severity: 'CRITICAL' }, want: { severity: 'Critical' } },
    {
      when: 'it has the same name twice',
      found: { VendorIDs: ['CVE-2026-0001', 'DSA-1', 'DSA-1', ''] },
      want: { aliases: ['DSA-1'] },
    },
  ])('reads a finding when $when', ({ found, want }) => {
    const [finding] = findingsOf(osPackages([vulnerability(found)]));

    expect(finding).toMatchObject(want);
  });

  it('reads a finding that has nothing but its names', () => {
    expect(findingsOf(osPackages([vulnerability({ PkgIdentifier: null, Layer: {}, VendorIDs: null })]))).toEqual([
      {
        id: 'CVE-2026-0001',
        aliases: [],
        package: 'libssl3',
        version: '',
        severity: 'Unknown',
        fixState: 'Unknown',
        fixedVersions: [],
      },
    ]);
  });

  it.each<{ when: string; target: string; found?: Fields; want: string | undefined }>([
    { when: 'packages come from a binary', target: 'usr/bin/web', want: 'usr/bin/web' },
    { when: 'packages come from all over the image', target: 'Node.js', want: undefined },
    { when: 'the package has its own', target: 'Java', found: { PkgPath: 'app/web.jar' }, want: 'app/web.jar' },
  ])('has the path $want when $when', ({ target, found, want }) => {
    const [finding] = findingsOf({ Target: target, Class: 'lang-pkgs', Vulnerabilities: [vulnerability(found)] });

    expect(finding?.path).toBe(want);
  });

  it.each<{ when: string; modified: Fields; want: Finding['suppressed'] }>([
    {
      when: 'a VEX document says so',
      modified: { Status: 'not_affected', Statement: 'component_not_present', Source: 'OpenVEX' },
      want: { by: 'Vex', status: 'not_affected', statement: 'component_not_present' },
    },
    { when: 'a VEX document calls it fixed', modified: { Status: 'fixed' }, want: { by: 'Vex', status: 'fixed' } },
    {
      when: 'a list says so',
      modified: { Status: 'ignored', Statement: 'Not built in', Source: '.trivyignore.yaml' },
      want: { by: 'Ignore', status: 'ignored', statement: 'Not built in' },
    },
    {
      when: 'a policy says so',
      modified: { Status: 'ignored', Statement: 'Filtered by Rego', Source: 'policy.rego' },
      want: { by: 'Policy', status: 'ignored', statement: 'Filtered by Rego' },
    },
    { when: 'it is marked as affected', modified: { Status: 'affected' }, want: undefined },
    { when: 'the mark has no status', modified: {}, want: undefined },
  ])('suppresses a finding or not when $when', ({ modified, want }) => {
    const [finding] = findingsOf({
      Class: 'os-pkgs',
      ExperimentalModifiedFindings: [{ Type: 'vulnerability', ...modified, Finding: vulnerability() }],
    });

    expect(finding?.id).toBe('CVE-2026-0001');
    expect(finding?.suppressed).toEqual(want);
  });

  it('leaves out what is modified and no vulnerability', () => {
    const secret = { Type: 'secret', Status: 'ignored', Finding: { RuleID: 'aws-access-key-id' } };

    expect(findingsOf({ Class: 'os-pkgs', ExperimentalModifiedFindings: [secret] })).toEqual([]);
  });

  describe('when a finding occurs more than once', () => {
    it('keeps one of the same package in the same place', () => {
      const twice = findingsOf(osPackages([vulnerability(), vulnerability()]), osPackages([vulnerability()]));

      expect(twice).toHaveLength(1);
    });

    it.each([{ PkgName: 'openssl' }, { PkgPath: 'app/other.jar' }, { InstalledVersion: '2' }])(
      'keeps both if they differ by %p',
      (other) => {
        expect(findingsOf(osPackages([vulnerability(), vulnerability(other)]))).toHaveLength(2);
      },
    );

    it('keeps the one that counts, whichever is first', () => {
      const ignored = { Type: 'vulnerability', Status: 'ignored', Finding: vulnerability() };
      const suppressing = { Class: 'os-pkgs', ExperimentalModifiedFindings: [ignored] };

      for (const results of [
        [suppressing, osPackages([vulnerability()])],
        [osPackages([vulnerability()]), suppressing],
      ]) {
        expect(findingsOf(...results)).toEqual([expect.not.objectContaining({ suppressed: expect.anything() })]);
      }
    });
  });

  it('cuts texts without end to what the schema allows', () => {
    const long = `\u{1F6A2}${'x'.repeat(10_000)}`;
    const found = vulnerability({
      VulnerabilityID: long,
      VendorIDs: Array.from({ length: 100 }, (_, index) => `${index}${long}`),
      PkgName: long,
      PkgPath: `x${'\u{1F6A2}'.repeat(10_000)}`,
      PkgIdentifier: { PURL: long },
      InstalledVersion: long,
      FixedVersion: Array.from({ length: 100 }, (_, index) => `${index}${long}`).join(','),
      Layer: { Digest: long, DiffID: DIFF_ID },
    });
    const ignored = { Type: 'vulnerability', Status: 'ignored', Statement: long, Finding: vulnerability() };

    const findings = findingsOf({ ...osPackages([found]), ExperimentalModifiedFindings: [ignored] });

    expect(findings.map((finding) => findingSchema.parse(finding))).toEqual(findings);
    expect(findings[0]).toMatchObject({ layerDiffId: DIFF_ID });
    expect(findings[0]).not.toHaveProperty('layerDigest');
  });

  it('reads a hundred thousand findings', () => {
    const many = Array.from({ length: 100_000 }, (_, index) => vulnerability({ VulnerabilityID: `CVE-${index}` }));

    expect(findingsOf(osPackages(many))).toHaveLength(100_000);
  });

  it('refuses more findings than can be', () => {
    const Results = [osPackages(Array.from({ length: MAX_FINDINGS + 1 }, () => vulnerability()))];

    expect(refusal(() => parseTrivyReport(body({ Results }))).problem).toBe('TooLarge');
  });

  it('reads lists that are null', () => {
    const nothing = { Class: 'os-pkgs', Vulnerabilities: null, ExperimentalModifiedFindings: null };

    expect(findingsOf(nothing)).toEqual([]);
  });

  it.each<{ when: string; text: string; problem: ReportError['problem']; says: string }>([
    { when: 'is empty', text: ' \n', problem: 'Empty', says: 'nothing in it' },
    {
      when: 'is cut off',
      text: sample('image-report.standalone.json').slice(0, 5_000),
      problem: 'Unreadable',
      says: 'cut off',
    },
    { when: 'is a page', text: '<!doctype html><title>502</title>', problem: 'Unreadable', says: 'markup' },
    { when: 'is a list, as before version 0.20', text: '[]', problem: 'Unreadable', says: 'expected object' },
    { when: 'is null', text: 'null', problem: 'Unreadable', says: 'expected object' },
    { when: 'has no version', text: '{"Results":[]}', problem: 'UnsupportedSchema', says: 'no schema version' },
    {
      when: 'is of the next version',
      text: body({ SchemaVersion: 3 }),
      problem: 'UnsupportedSchema',
      says: 'version 3',
    },
    {
      when: 'is of the next version, with everything else changed',
      text: '{"SchemaVersion":3,"Results":{"os":[]},"CreatedAt":{}}',
      problem: 'UnsupportedSchema',
      says: 'version 3',
    },
    { when: 'has its version as text', text: body({ SchemaVersion: '2' }), problem: 'UnsupportedSchema', says: '2 is' },
    { when: 'has a time beyond all', text: body({ CreatedAt: 1e300 }), problem: 'Unreadable', says: 'CreatedAt' },
    {
      when: 'has a finding without a name',
      text: body({ Results: [osPackages([vulnerability({ VulnerabilityID: ' ' })])] }),
      problem: 'Unreadable',
      says: 'Results.0.Vulnerabilities.0.VulnerabilityID',
    },
    {
      when: 'has a finding that is null',
      text: body({ Results: [osPackages([null])] }),
      problem: 'Unreadable',
      says: 'Results.0.Vulnerabilities.0',
    },
  ])('refuses a report that $when', ({ text, problem, says }) => {
    const error = refusal(() => parseTrivyReport(text));

    expect(error.problem).toBe(problem);
    expect(error.message).toContain(says);
  });
});

describe('parseTrivyVersion', () => {
  it('reads the version and the state of the data', () => {
    expect(parseTrivyVersion(sample('version.json'))).toEqual({
      version: '0.74.0',
      database: { updatedTime: '2026-06-03T00:31:44Z' },
    });
  });

  it('names the same state of the data as a report with a server', () => {
    const { database } = parseTrivyReport(sample('image-report.client-server.json'));

    expect(parseTrivyVersion(sample('version.json')).database).toEqual(database);
  });

  it('has no state of the data when there is no database yet', () => {
    expect(parseTrivyVersion('{"Version":"0.74.0"}')).toEqual({ version: '0.74.0' });
  });

  it.each<{ when: string; text: string; problem: ReportError['problem'] }>([
    { when: 'is empty', text: '', problem: 'Empty' },
    { when: 'is no JSON', text: 'Version: 0.74.0', problem: 'Unreadable' },
    { when: 'names no version', text: '{}', problem: 'Unreadable' },
  ])('refuses an output that $when', ({ text, problem }) => {
    expect(refusal(() => parseTrivyVersion(text)).problem).toBe(problem);
  });
});
