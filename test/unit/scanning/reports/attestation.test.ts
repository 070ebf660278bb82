import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding as findingSchema, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { parseVulnerabilityStatement } from '../../../../operator/scanning/reports/attestation.ts';
import { digestOf } from '../../../support/builders/images.ts';

const fixture = (name: string): string =>
  readFileSync(new URL(`../../../support/fixtures/scanning/${name}`, import.meta.url), 'utf8');
const VULNS = fixture('attestations/intoto-vulns-v0.2.statement.json');
const COSIGN = fixture('attestations/cosign-vuln-v1.statement.json');
const PROVENANCE = fixture('attestations/buildkit-provenance-v1.statement.json');
const TRIVY = fixture('trivy/image-report.client-server.json');
const WEB = 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94';

interface Statement {
  _type?: unknown;
  subject?: unknown;
  predicateType?: unknown;
  predicate: {
    scanner: { uri?: unknown; version?: unknown; db?: unknown; result?: unknown };
    metadata?: { scanFinishedOn?: unknown };
  };
}

type Change = (statement: Statement) => void;

function parse(sample: string, change: Change = () => undefined): ScanReport {
  const statement = JSON.parse(sample) as Statement;
  change(statement);
  return parseVulnerabilityStatement(JSON.stringify(statement));
}

const subject = (...seeds: readonly string[]) =>
  seeds.map((seed) => ({ name: seed, digest: { sha256: digestOf(seed).replace('sha256:', '') } }));
const found =
  (...result: readonly unknown[]): Change =>
  (statement) =>
    void (statement.predicate.scanner.result = result);

describe('parseVulnerabilityStatement', () => {
  it('reads what the statement is about, by what it was made, and what was found', () => {
    const report = parse(VULNS);

    expect(report).toEqual({
      subject: { digest: WEB, repoDigests: [WEB] },
      scanner: { name: 'trivy', version: '0.74.0' },
      database: { updatedTime: '2026-06-03T00:31:44Z' },
      finishedTime: '2026-06-03T02:00:11Z',
      assessed: 'Full',
      findings: [
        {
          id: 'CVE-2026-30001',
          aliases: [],
          package: 'libssl3',
          version: '3.0.15-1~deb12u1',
          purl: 'pkg:deb/debian/libssl3@3.0.15-1~deb12u1',
          severity: 'High',
          fixState: 'Fixed',
          fixedVersions: ['3.0.16-1~deb12u1'],
          layerDiffId: 'sha256:deac1d1dfbe25dcf349e2d3c3c069b5921493e83664df4d2c96eb13e6bfb4eb6',
        },
      ],
    });
    expect(report.findings.map((it) => findingSchema.parse(it))).toEqual(report.findings);
  });

  it.each<{ when: string; result: unknown; want: Partial<Finding> }>([
    {
      when: 'there are only scores',
      result: { id: 'CVE-1', severity: [{ method: 'CVSS:2', score: '5.0' }, { score: 9.1 }] },
      want: { severity: 'Critical' },
    },
    {
      when: 'words differ',
      result: { id: 'CVE-1', severity: [{ score: 'low' }, { score: 'medium' }, { score: '9.8' }] },
      want: { severity: 'Medium' },
    },
    {
      when: 'nothing but its name is said',
      result: { id: 'GHSA-rc38-5r82-hr3j', severity: null, annotations: null },
      want: { package: 'unnamed', version: '', severity: 'Unknown', fixState: 'Unknown', fixedVersions: [] },
    },
    {
      when: 'a score is missing',
      result: { id: 'CVE-1', severity: [{ method: 'nvd' }, { method: 'nvd', score: null }] },
      want: { severity: 'Unknown' },
    },
    {
      when: 'the package has no package URL',
      result: { id: 'CVE-1', annotations: [{ package: 'openssl', fixedVersion: '' }] },
      want: { package: 'openssl', version: '', fixState: 'Unknown' },
    },
    {
      when: 'the annotations are of another kind',
      result: { id: 'CVE-1', annotations: [{ package: { name: 'x' }, layer: 'base' }, { package: '  ' }] },
      want: { package: 'unnamed' },
    },
    {
      when: 'it is nested as in the text of v0.1',
      result: { vulnerability: { id: 'CVE-1', severity: [{ method: 'nvd', score: 'medium' }] } },
      want: { id: 'CVE-1', severity: 'Medium' },
    },
    {
      when: 'its texts are endless',
      result: {
        id: 'C'.repeat(10_000),
        severity: [],
        annotations: [
          { package: `pkg:npm/${'n'.repeat(10_000)}@${'1'.repeat(10_000)}`, fixedVersion: '2,'.repeat(99) },
        ],
      },
      want: { id: 'C'.repeat(128), package: 'n'.repeat(256), fixedVersions: Array<string>(8).fill('2') },
    },
  ])('reads a finding when $when', ({ result, want }) => {
    const [first] = parse(VULNS, found(result)).findings;

    expect(first).toMatchObject(want);
    expect(findingSchema.parse(first)).toEqual(first);
  });

  it('has one finding for each package', () => {
    const { findings } = parse(VULNS, found({ id: 'CVE-1', annotations: [{ package: 'a' }, {}, { package: 'b' }] }));

    expect(findings.map((it) => it.package)).toEqual(['a', 'b']);
  });

  it.each([
    { when: 'the list is empty', result: [] },
    { when: 'the list is null', result: null },
  ])('says that nothing was found when $when', ({ result }) => {
    const report = parse(VULNS, (statement) => void (statement.predicate.scanner.result = result));

    expect(report).toMatchObject({ findings: [], assessed: 'Full' });
  });

  it('reads v0.1 in the form of its example', () => {
    const report = parse(VULNS, (statement) => {
      statement._type = 'https://in-toto.io/Statement/v0.1';
      statement.predicateType = 'https://in-toto.io/attestation/vulns/v0.1';
    });

    expect(report).toEqual(parse(VULNS));
  });

  it.each<{ when: string; subject: unknown; want: ScanReport['subject'] }>([
    {
      when: 'it has several',
      subject: subject('web', 'api'),
      want: { repoDigests: [digestOf('web'), digestOf('api')] },
    },
    {
      when: 'they are one under several names',
      subject: [...subject('web'), ...subject('web')],
      want: { digest: digestOf('web'), repoDigests: [digestOf('web')] },
    },
    {
      when: 'they have other digests',
      subject: [{ digest: { sha512: 'ab' } }, { digest: { sha256: 'xyz' } }, { digest: null }, { name: 'web' }],
      want: { repoDigests: [] },
    },
    { when: 'there is none', subject: null, want: { repoDigests: [] } },
  ])('says whose report it is when $when', ({ subject: given, want }) => {
    expect(parse(VULNS, (statement) => void (statement.subject = given)).subject).toEqual(want);
  });

  it.each([
    { uri: 'pkg:github/aquasecurity/trivy@v0.74.0', version: '', want: { name: 'trivy', version: 'v0.74.0' } },
    { uri: 'https://github.com/anchore/grype/', version: '0.116.0', want: { name: 'grype', version: '0.116.0' } },
    { uri: 'osv.dev', version: null, want: { name: 'osv.dev', version: '' } },
    { uri: '', version: '1', want: { name: 'unnamed', version: '1' } },
    {
      uri: `https://${'x'.repeat(100)}`,
      version: 'y'.repeat(100),
      want: { name: 'x'.repeat(64), version: 'y'.repeat(64) },
    },
  ])('names the scanner of $uri', ({ uri, version, want }) => {
    const { scanner } = parse(VULNS, ({ predicate }) => void Object.assign(predicate.scanner, { uri, version }));

    expect(scanner).toEqual(want);
  });

  it.each([
    { when: 'there is none', db: null },
    { when: 'it has only a version, which names no state of it', db: { uri: 'ghcr.io/x/db:2', version: '2' } },
    { when: 'its time is the year 1', db: { lastUpdate: '0001-01-01T00:00:00Z' } },
  ])('does not say which data was used when $when', ({ db }) => {
    expect(parse(VULNS, ({ predicate }) => void (predicate.scanner.db = db))).not.toHaveProperty('database');
  });

  describe("when the predicate is cosign's", () => {
    const trivy: Change = (statement) => {
      statement.predicate.scanner.result = JSON.parse(TRIVY);
    };

    it('reads a result that is a Trivy report, and has neither data nor anything recognised in the sample', () => {
      expect(parse(COSIGN)).toEqual({
        subject: { digest: WEB, repoDigests: [WEB] },
        scanner: { name: 'trivy', version: '0.74.0' },
        finishedTime: '2026-06-03T02:00:11Z',
        assessed: 'None',
        findings: [],
      });
    });

    it('keeps what Trivy says, and what contradicts the subject', () => {
      const report = parse(COSIGN, (statement) => {
        trivy(statement);
        statement.subject = subject('other');
        statement.predicate.metadata = { scanFinishedOn: '2027-01-01T00:00:00Z' };
      });

      expect(report).toMatchObject({
        subject: {
          digest: digestOf('other'),
          configDigest: 'sha256:29e87a159c910e982e1dc0af23b0995185e927d996d783c6a51012de31972286',
          repoDigests: [digestOf('other')],
        },
        os: { family: 'debian' },
        finishedTime: '2026-06-03T02:00:11Z',
      });
      expect(report.findings.length).toBeGreaterThan(0);
      expect(report.findings.map((it) => findingSchema.parse(it))).toEqual(report.findings);
    });

    it.each<{ when: string; change: Change; problem: string }>([
      { when: 'the result is of another scanner', change: found(), problem: 'UnsupportedSchema' },
      {
        when: 'there is no result',
        change: ({ predicate }) => {
          delete predicate.scanner.result;
        },
        problem: 'Unreadable',
      },
      {
        when: 'the result is of another Trivy',
        change: ({ predicate }) => void (predicate.scanner.result = { SchemaVersion: 3 }),
        problem: 'UnsupportedSchema',
      },
      {
        when: 'it does not say when the scan ended',
        change: ({ predicate }) => {
          delete predicate.metadata;
        },
        problem: 'Unreadable',
      },
    ])('is $problem when $when', ({ change, problem }) => {
      expect(() => parse(COSIGN, change)).toThrow(expect.objectContaining({ problem }));
    });
  });

  it.each<{ when: string; change: Change; problem: string }>([
    {
      when: 'there is no result',
      change: ({ predicate }) => {
        delete predicate.scanner.result;
      },
      problem: 'Unreadable',
    },
    { when: 'a vulnerability has no name', change: found({ severity: [] }), problem: 'Unreadable' },
    { when: 'a name is blank', change: found({ id: '  ' }), problem: 'Unreadable' },
    {
      when: 'it does not say when the scan ended',
      change: ({ predicate }) => void (predicate.metadata = { scanFinishedOn: '0001-01-01T00:00:00Z' }),
      problem: 'Unreadable',
    },
    {
      when: 'the predicate is null',
      change: (statement) => void Object.assign(statement, { predicate: null }),
      problem: 'Unreadable',
    },
    {
      when: 'the predicate is of a version to come',
      change: (statement) => void (statement.predicateType = 'https://in-toto.io/attestation/vulns/v1'),
      problem: 'UnsupportedSchema',
    },
    {
      when: 'the predicate is no text',
      change: (statement) => void (statement.predicateType = { toString: 1 }),
      problem: 'UnsupportedSchema',
    },
    {
      when: 'the statement is of a version to come',
      change: (statement) => void (statement._type = 'https://in-toto.io/Statement/v2'),
      problem: 'UnsupportedSchema',
    },
    {
      when: 'there are more findings than can be',
      change: found(
        ...Array<unknown>(100_001).fill({ id: 'CVE-1', annotations: [{ package: 'a' }, { package: 'b' }] }),
      ),
      problem: 'TooLarge',
    },
  ])('is $problem when $when', ({ change, problem }) => {
    expect(() => parse(VULNS, change)).toThrow(expect.objectContaining({ problem }));
  });

  it.each([
    { when: 'it is empty', body: '\n', problem: 'Empty' },
    { when: 'it was cut off', body: VULNS.slice(0, 700), problem: 'Unreadable' },
    { when: 'it is a page', body: '<html></html>', problem: 'Unreadable' },
    { when: 'it is null', body: 'null', problem: 'Unreadable' },
    { when: 'it is a list', body: '[]', problem: 'Unreadable' },
    { when: 'it is still in its envelope', body: '{"payloadType":"x","payload":""}', problem: 'UnsupportedSchema' },
    { when: 'it is about how the image was built', body: PROVENANCE, problem: 'UnsupportedSchema' },
  ])('is $problem when $when', ({ body, problem }) => {
    expect(() => parseVulnerabilityStatement(body)).toThrow(expect.objectContaining({ problem }));
  });

  it('reads 100,000 results', () => {
    const { findings } = parse(VULNS, (statement) => {
      statement.predicate.scanner.result = Array<unknown>(100_000).fill({
        id: 'CVE-1',
        annotations: [{ package: 'a' }],
      });
    });

    expect(findings).toHaveLength(100_000);
  });
});
