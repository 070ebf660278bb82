import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import {
  parseHarborOverview,
  parseHarborReport,
  type HarborOverview,
} from '../../../../operator/scanning/reports/harbor.ts';

const SAMPLES = new URL('../../../support/fixtures/scanning/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, SAMPLES), 'utf8');
const REPORT = read('harbor-adapter/report.json');
const ARTIFACT = read('harbor/artifact.with_scan_overview.json');
const MIME_TYPE = 'application/vnd.security.vulnerability.report; version=1.1';
const OLD_MIME_TYPE = 'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0';

type Fields = Record<string, unknown>;

/** The sample with other fields. */
const report = (fields: Fields = {}): string => JSON.stringify({ ...(JSON.parse(REPORT) as Fields), ...fields });

/** The sample with one vulnerability that has other fields. */
function withFinding(fields: Fields): string {
  const { vulnerabilities } = JSON.parse(REPORT) as { vulnerabilities: Fields[] };
  return report({ vulnerabilities: [{ ...vulnerabilities[0], ...fields }] });
}

describe('parseHarborReport', () => {
  it('reads what the report is about, when it was made, and what was found', () => {
    expect(parseHarborReport(REPORT)).toEqual({
      subject: {
        digest: 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94',
        repoDigests: [],
      },
      scanner: { name: 'Trivy', version: 'v0.72.0' },
      finishedTime: '2026-06-03T02:00:11Z',
      assessed: 'Full',
      findings: [
        {
          id: 'CVE-2026-30001',
          aliases: [],
          package: 'libssl3',
          version: '3.0.15-1~deb12u1',
          severity: 'High',
          fixState: 'Fixed',
          fixedVersions: ['3.0.16-1~deb12u1'],
          layerDiffId: 'sha256:deac1d1dfbe25dcf349e2d3c3c069b5921493e83664df4d2c96eb13e6bfb4eb6',
          layerDigest: 'sha256:58578e0289a0eae4b681bd3308dffba50a8a58a5b7ada10e74bceaa6b9552dc3',
        },
      ],
    });
  });

  it('gives findings that keep to the schema', () => {
    const [first] = parseHarborReport(REPORT).findings;

    expect(finding.parse(first)).toEqual(first);
  });

  it.each([
    { when: 'it is the present one', body: { [MIME_TYPE]: JSON.parse(REPORT) } },
    { when: 'it is the old one', body: { [OLD_MIME_TYPE]: JSON.parse(REPORT) } },
    { when: 'it is one of several', body: { 'text/plain': {}, [OLD_MIME_TYPE]: {}, [MIME_TYPE]: JSON.parse(REPORT) } },
  ])('finds the report by its type when $when', ({ body }) => {
    expect(parseHarborReport(JSON.stringify(body))).toEqual(parseHarborReport(REPORT));
  });

  it('leaves the digest out when Harbor does not name the artifact', () => {
    expect(parseHarborReport(report({ artifact: null })).subject).toEqual({ repoDigests: [] });
  });

  it.each<{ when: string; fields: Fields; want: Partial<ScanReport> }>([
    { when: 'the list is null', fields: { vulnerabilities: null, severity: 'None' }, want: { findings: [] } },
    {
      when: 'the list is left out, and the severity with it',
      fields: { vulnerabilities: undefined, severity: undefined },
      want: { findings: [], assessed: 'Full' },
    },
    { when: 'the scanner is null', fields: { scanner: null }, want: { scanner: { name: 'unknown', version: '' } } },
  ])('takes a report when $when', ({ fields, want }) => {
    expect(parseHarborReport(report(fields))).toMatchObject(want);
  });

  it('has no end of the scan when it is the year 1', () => {
    expect(parseHarborReport(report({ generated_at: '0001-01-01T00:00:00Z' }))).not.toHaveProperty('finishedTime');
  });

  it.each<{ when: string; fields: Fields; want: Partial<Finding> }>([
    { when: 'it is negligible', fields: { severity: 'Negligible' }, want: { severity: 'Negligible' } },
    { when: 'it is written in capitals', fields: { severity: 'CRITICAL' }, want: { severity: 'Critical' } },
    { when: 'its severity is a word of its own', fields: { severity: 'Blocker' }, want: { severity: 'Unknown' } },
    { when: 'its severity is empty', fields: { severity: '' }, want: { severity: 'Unknown' } },
    { when: 'its severity is left out', fields: { severity: undefined }, want: { severity: 'Unknown' } },
    {
      when: 'it is fixed in several versions',
      fields: { fix_version: '1.2.3, 1.3.0,,1.2.3' },
      want: { fixState: 'Fixed', fixedVersions: ['1.2.3', '1.3.0'] },
    },
    { when: 'no fix is named', fields: { fix_version: '' }, want: { fixState: 'Unknown', fixedVersions: [] } },
    {
      when: 'Trivy says that there is no fix',
      fields: { fix_version: null, status: 'affected' },
      want: { fixState: 'Affected' },
    },
    {
      when: 'Trivy says that the vendor will not fix it',
      fields: { fix_version: undefined, status: 'will_not_fix' },
      want: { fixState: 'WillNotFix' },
    },
    { when: 'its status is new', fields: { fix_version: '', status: 'pondering' }, want: { fixState: 'Unknown' } },
    {
      when: 'Trivy names the package URL',
      fields: { purl: 'pkg:deb/debian/libssl3@3' },
      want: { purl: 'pkg:deb/debian/libssl3@3' },
    },
    { when: 'the layer is null', fields: { layer: null, links: null, cwe_ids: null }, want: { package: 'libssl3' } },
    { when: 'the version is left out', fields: { version: undefined }, want: { version: '' } },
    {
      when: 'its texts are endless',
      fields: { package: 'x'.repeat(10_000), version: '\udc00'.repeat(10_000), fix_version: '1,2,3,4,5,6,7,8,9,10' },
      want: { package: 'x'.repeat(256), fixedVersions: ['1', '2', '3', '4', '5', '6', '7', '8'] },
    },
  ])('reads a finding when $when', ({ fields, want }) => {
    const [first] = parseHarborReport(withFinding(fields)).findings;

    expect(first).toMatchObject(want);
    expect(finding.parse(first)).toEqual(first);
  });

  it.each<{ when: string; body: string; problem: string }>([
    { when: 'it is empty', body: ' \n', problem: 'Empty' },
    { when: 'Harbor has none', body: '{}', problem: 'Empty' },
    { when: 'it is a page', body: '<!doctype html><title>Harbor</title>', problem: 'Unreadable' },
    { when: 'it is cut off', body: REPORT.slice(0, 400), problem: 'Unreadable' },
    { when: 'it is null', body: 'null', problem: 'Unreadable' },
    { when: 'it is a list', body: '[]', problem: 'Unreadable' },
    { when: 'it is an error', body: read('harbor-adapter/error.json'), problem: 'Unreadable' },
    {
      when: 'it is what the scanner says of itself',
      body: read('harbor-adapter/metadata.json'),
      problem: 'Unreadable',
    },
    { when: 'it is an artifact', body: ARTIFACT, problem: 'Unreadable' },
    { when: 'it is of Trivy', body: read('trivy/image-report.clean.json'), problem: 'Unreadable' },
    { when: 'the report of its type is null', body: JSON.stringify({ [MIME_TYPE]: null }), problem: 'Unreadable' },
    { when: 'it is of an unknown type', body: JSON.stringify({ 'text/x; version=9': {} }), problem: 'Unreadable' },
    {
      when: 'it lists packages',
      body: report({ vulnerabilities: undefined, severity: undefined, media_type: 'application/spdx+json', sbom: {} }),
      problem: 'UnsupportedSchema',
    },
    { when: 'it is severe without a finding', body: report({ vulnerabilities: [] }), problem: 'Unreadable' },
    { when: 'a finding has no id', body: withFinding({ id: '' }), problem: 'Unreadable' },
    { when: 'a finding has no package', body: withFinding({ package: undefined }), problem: 'Unreadable' },
    { when: 'a finding is null', body: report({ vulnerabilities: [null] }), problem: 'Unreadable' },
  ])('refuses a report when $when', ({ body, problem }) => {
    expect(() => parseHarborReport(body)).toThrow(expect.objectContaining({ problem }));
  });

  describe('when there are very many findings', () => {
    const many = (count: number): string =>
      report({ vulnerabilities: Array.from({ length: count }, (_, n) => ({ id: `CVE-${n}`, package: 'p' })) });

    it('keeps 100,000', () => {
      expect(parseHarborReport(many(100_000)).findings).toHaveLength(100_000);
    });

    it('refuses more than can be', () => {
      expect(() => parseHarborReport(many(200_001))).toThrow(expect.objectContaining({ problem: 'TooLarge' }));
    });
  });
});

describe('parseHarborOverview', () => {
  /** The sample with another overview. */
  const artifact = (overviews: unknown): string =>
    JSON.stringify({ ...(JSON.parse(ARTIFACT) as Fields), scan_overview: overviews });

  it('reads when the scan ended, and by what it was made', () => {
    expect(parseHarborOverview(ARTIFACT)).toEqual({
      kind: 'done',
      finishedTime: '2026-06-03T02:00:11Z',
      scanner: { name: 'Trivy', version: 'v0.72.0' },
    });
  });

  it.each<{ status: string; want: HarborOverview }>([
    { status: 'NotScanned', want: { kind: 'absent' } },
    { status: '', want: { kind: 'absent' } },
    { status: 'Pending', want: { kind: 'running', status: 'Pending' } },
    { status: 'Scheduled', want: { kind: 'running', status: 'Scheduled' } },
    { status: 'Running', want: { kind: 'running', status: 'Running' } },
    { status: 'Stopped', want: { kind: 'failed', status: 'Stopped' } },
    { status: 'Error', want: { kind: 'failed', status: 'Error' } },
    { status: 'Sublimated', want: { kind: 'failed', status: 'Sublimated' } },
    { status: 'Success', want: { kind: 'done', scanner: { name: 'unknown', version: '' } } },
  ])('is $want.kind when the status is "$status"', ({ status, want }) => {
    const overview = { scan_status: status, end_time: '0001-01-01T00:00:00.000Z', scanner: null };

    expect(parseHarborOverview(artifact({ [MIME_TYPE]: overview }))).toEqual(want);
    expect(parseHarborOverview(artifact({ [OLD_MIME_TYPE]: overview }))).toEqual(want);
  });

  it.each<{ when: string; overviews: unknown }>([
    { when: 'there is no overview', overviews: undefined },
    { when: 'it is null', overviews: null },
    { when: 'it is empty', overviews: {} },
    { when: 'that of its type is null', overviews: { [MIME_TYPE]: null } },
    { when: 'there is only one of another type', overviews: { 'application/sbom': { scan_status: 'Success' } } },
  ])('is absent when $when', ({ overviews }) => {
    expect(parseHarborOverview(artifact(overviews))).toEqual({ kind: 'absent' });
  });

  it.each<{ when: string; body: string; problem: string }>([
    { when: 'it is empty', body: '', problem: 'Empty' },
    { when: 'it is a page', body: '<html></html>', problem: 'Unreadable' },
    { when: 'it is cut off', body: ARTIFACT.slice(0, -20), problem: 'Unreadable' },
    { when: 'it is an error', body: '{"errors":[{"code":"NOT_FOUND"}]}', problem: 'Unreadable' },
    { when: 'it is a list of artifacts', body: `[${ARTIFACT}]`, problem: 'Unreadable' },
    { when: 'it has no status', body: artifact({ [MIME_TYPE]: {} }), problem: 'Unreadable' },
  ])('refuses an artifact when $when', ({ body, problem }) => {
    expect(() => parseHarborOverview(body)).toThrow(expect.objectContaining({ problem }));
  });
});
