import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import YAML from 'yaml';
import { finding, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { readVulnerabilityReport } from '../../../../operator/scanning/reports/trivy-operator.ts';

const SAMPLE = readFileSync(
  new URL('../../../support/fixtures/scanning/trivy-operator/vulnerabilityreport.yaml', import.meta.url),
  'utf8',
);

type Fields = Record<string, unknown>;

interface VulnerabilityReport {
  report: Fields & { vulnerabilities: Fields[] };
}

const sample = (): VulnerabilityReport => YAML.parse(SAMPLE) as VulnerabilityReport;

/** The sample with other fields in its report. */
function object(fields: Fields = {}): Fields {
  const { report, ...rest } = sample();
  return { ...rest, report: { ...report, ...fields } };
}

/** The sample with one vulnerability that has other fields. */
function withFinding(fields: Fields): Fields {
  return object({ vulnerabilities: [{ ...sample().report.vulnerabilities[0], ...fields }] });
}

describe('readVulnerabilityReport', () => {
  it('reads what the report is about, when it was made, and what was found', () => {
    expect(readVulnerabilityReport(sample())).toEqual({
      subject: { repoDigests: ['sha256:059a466a6ad35e8ec3b90396cf21ccef227bd67382dac63cc314838099c95564'] },
      scanner: { name: 'Trivy', version: '0.72.0' },
      finishedTime: '2026-06-03T02:00:11Z',
      os: { family: 'debian', version: '12.10', endOfLife: false },
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
        },
      ],
    });
  });

  it('gives findings that keep to the schema', () => {
    const [first] = readVulnerabilityReport(sample()).findings;

    expect(finding.parse(first)).toEqual(first);
  });

  it.each<{ when: string; fields: Fields; want: Partial<ScanReport> }>([
    { when: 'the digest is missing', fields: { artifact: { tag: '1' } }, want: { subject: { repoDigests: [] } } },
    { when: 'the artifact is missing', fields: { artifact: undefined }, want: { subject: { repoDigests: [] } } },
    { when: 'the scanner is null', fields: { scanner: null }, want: { scanner: { name: 'Trivy', version: '' } } },
    { when: 'the list is null', fields: { vulnerabilities: null }, want: { findings: [], assessed: 'Full' } },
    {
      when: 'the system is at its end of life',
      fields: { os: { family: 'debian', name: '9.13', eosl: true } },
      want: { os: { family: 'debian', version: '9.13', endOfLife: true }, assessed: 'Partial' },
    },
    {
      when: 'the system has no version',
      fields: { os: { family: 'wolfi', eosl: null } },
      want: { os: { family: 'wolfi', version: '', endOfLife: false }, assessed: 'Full' },
    },
  ])('takes a report when $when', ({ fields, want }) => {
    expect(readVulnerabilityReport(object(fields))).toMatchObject(want);
  });

  it.each<{ when: string; os: unknown }>([
    { when: 'missing', os: undefined },
    { when: 'empty', os: { family: '', name: '' } },
    { when: 'none', os: { family: 'none' } },
  ])('is not assessed in full when the system is $when', ({ os }) => {
    const some = readVulnerabilityReport(object({ os }));
    const none = readVulnerabilityReport(object({ os, vulnerabilities: [] }));

    expect(some.assessed).toBe('Partial');
    expect(none.assessed).toBe('None');
    expect(none).not.toHaveProperty('os');
  });

  it.each<{ kind: unknown; apiVersion: unknown }>([
    { kind: 'ClusterVulnerabilityReport', apiVersion: 'aquasecurity.github.io/v1alpha1' },
    { kind: undefined, apiVersion: undefined },
  ])('takes an object of kind $kind', (meta) => {
    expect(readVulnerabilityReport({ ...object(), ...meta }).findings).toHaveLength(1);
  });

  it.each<{ when: string; fields: Fields; want: Partial<Finding> }>([
    { when: 'it is critical', fields: { severity: 'CRITICAL' }, want: { severity: 'Critical' } },
    { when: 'it has no rating', fields: { severity: 'UNKNOWN' }, want: { severity: 'Unknown' } },
    { when: 'its severity is a word of its own', fields: { severity: 'SEVERE' }, want: { severity: 'Unknown' } },
    { when: 'no fix is named', fields: { fixedVersion: '' }, want: { fixState: 'Unknown', fixedVersions: [] } },
    {
      when: 'it is fixed in several versions',
      fields: { fixedVersion: '4.1.1, 5.0.2' },
      want: { fixState: 'Fixed', fixedVersions: ['4.1.1', '5.0.2'] },
    },
    {
      when: 'it is in a file',
      fields: { packagePath: 'app/lib.jar', packagePURL: 'pkg:maven/a/lib@1' },
      want: { path: 'app/lib.jar', purl: 'pkg:maven/a/lib@1' },
    },
    {
      when: 'its texts are endless',
      fields: { resource: 'x'.repeat(10_000), packagePath: '\ud800'.repeat(10_000), packagePURL: 'p'.repeat(10_000) },
      want: { package: 'x'.repeat(256) },
    },
    {
      when: 'it has fields that are unknown',
      fields: { links: null, epss: { score: 1 } },
      want: { package: 'libssl3' },
    },
  ])('reads a finding when $when', ({ fields, want }) => {
    const [first] = readVulnerabilityReport(withFinding(fields)).findings;

    expect(first).toMatchObject(want);
    expect(finding.parse(first)).toEqual(first);
  });

  it.each<{ when: string; given: unknown; problem: string }>([
    { when: 'there is none', given: undefined, problem: 'Empty' },
    { when: 'it is null', given: null, problem: 'Empty' },
    { when: 'it is text', given: SAMPLE, problem: 'Unreadable' },
    { when: 'it is a page', given: '<html></html>', problem: 'Unreadable' },
    { when: 'it is a list', given: [], problem: 'Unreadable' },
    { when: 'it has no report', given: { kind: 'VulnerabilityReport' }, problem: 'Unreadable' },
    { when: 'the report is empty', given: { ...object(), report: {} }, problem: 'Unreadable' },
    { when: 'there is no list', given: object({ vulnerabilities: undefined }), problem: 'Unreadable' },
    { when: 'it has no time', given: object({ updateTimestamp: null }), problem: 'Unreadable' },
    {
      when: 'its time is the year 1',
      given: object({ updateTimestamp: '0001-01-01T00:00:00Z' }),
      problem: 'Unreadable',
    },
    { when: 'a finding has no id', given: withFinding({ vulnerabilityID: '' }), problem: 'Unreadable' },
    { when: 'a finding has no package', given: withFinding({ resource: undefined }), problem: 'Unreadable' },
    { when: 'it is of another kind', given: { ...object(), kind: 'SbomReport' }, problem: 'UnsupportedSchema' },
    {
      when: 'it is of another version',
      given: { ...object(), apiVersion: 'aquasecurity.github.io/v2' },
      problem: 'UnsupportedSchema',
    },
  ])('refuses an object when $when', ({ given, problem }) => {
    expect(() => readVulnerabilityReport(given)).toThrow(expect.objectContaining({ problem }));
  });

  describe('when there are very many findings', () => {
    const many = (count: number): Fields =>
      object({
        vulnerabilities: Array.from({ length: count }, (_, n) => ({ vulnerabilityID: `CVE-${n}`, resource: 'p' })),
      });

    it('keeps 100,000', () => {
      expect(readVulnerabilityReport(many(100_000)).findings).toHaveLength(100_000);
    });

    it('refuses more than can be', () => {
      expect(() => readVulnerabilityReport(many(200_001))).toThrow(expect.objectContaining({ problem: 'TooLarge' }));
    });
  });
});
