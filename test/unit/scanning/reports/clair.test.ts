import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { finding, type Finding, type ScanReport } from '../../../../operator/api/scan-facts.ts';
import { parseClairReport } from '../../../../operator/scanning/reports/clair.ts';

const SAMPLES = new URL('../../../support/fixtures/scanning/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, SAMPLES), 'utf8');
const SAMPLE = read('clair/vulnerability-report.json');

type Entries = Record<string, Record<string, unknown>>;

interface Report {
  manifest_hash: string;
  packages?: Entries | null;
  distributions?: Entries | null;
  environments?: Record<string, Record<string, unknown>[] | null> | null;
  vulnerabilities?: Entries | null;
  package_vulnerabilities?: Record<string, string[] | null> | null;
  enrichments?: Record<string, unknown> | null;
}

/** The sample, changed: one vulnerability 900 in one package 12 of the distribution 1. */
function report(change: (sample: Report) => void = () => undefined): string {
  const sample = JSON.parse(SAMPLE) as Report;
  change(sample);
  return JSON.stringify(sample);
}

const parse = (change?: (sample: Report) => void): ScanReport => parseClairReport(report(change));
const found = (sample: Report): Record<string, unknown> => sample.vulnerabilities!['900']!;
const inPackage = (sample: Report): Record<string, unknown> => sample.packages!['12']!;
const system = (sample: Report): Record<string, unknown> => sample.distributions!['1']!;

function scored(sample: Report, baseScore: number): void {
  const [type] = Object.keys(sample.enrichments!);
  sample.enrichments![type!] = [{ '900': [{ baseScore }] }];
}

describe('parseClairReport', () => {
  it('reads what the report is about and what was found', () => {
    expect(parse()).toEqual({
      subject: {
        digest: 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94',
        repoDigests: [],
      },
      scanner: { name: 'clair', version: '' },
      os: { family: 'debian', version: '12', endOfLife: false },
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
          layerDigest: 'sha256:58578e0289a0eae4b681bd3308dffba50a8a58a5b7ada10e74bceaa6b9552dc3',
        },
      ],
    });
  });

  it('gives findings that keep to the schema', () => {
    const [first] = parse().findings;

    expect(finding.parse(first)).toEqual(first);
  });

  it.each([
    { rating: 'Critical', want: 'Critical' },
    { rating: 'Negligible', want: 'Negligible' },
    { rating: 'low', want: 'Low' },
  ])('takes the rating $rating before the score', ({ rating, want }) => {
    expect(parse((sample) => void (found(sample)['normalized_severity'] = rating)).findings[0]?.severity).toBe(want);
  });

  it.each([
    { score: 10, want: 'Critical' },
    { score: 9, want: 'Critical' },
    { score: 8.9, want: 'High' },
    { score: 7, want: 'High' },
    { score: 6.9, want: 'Medium' },
    { score: 4, want: 'Medium' },
    { score: 3.9, want: 'Low' },
    { score: 0.1, want: 'Low' },
    { score: 0, want: 'Unknown' },
  ])('is $want by a score of $score when there is no rating', ({ score, want }) => {
    expect(parse((sample) => scored(sample, score)).findings[0]?.severity).toBe(want);
  });

  it('takes the highest of several scores, and no other enrichment for one', () => {
    const { findings } = parse((sample) => {
      const [type] = Object.keys(sample.enrichments!);
      sample.enrichments![type!] = [
        { '900': [{ baseScore: 4 }, { version: '2.0' }, { baseScore: 9.1 }] },
        { '900': null },
      ];
      sample.enrichments!['message/vnd.clair.map.vulnerability; enricher=clair.epss'] = { '900': 'of any shape' };
    });

    expect(findings[0]?.severity).toBe('Critical');
  });

  it.each([
    { did: 'debian', name: 'libstdc++6', want: 'pkg:deb/debian/libstdc%2B%2B6@1:2.0%2Bgit~1' },
    { did: 'ubuntu', name: 'openssl', want: 'pkg:deb/ubuntu/openssl@1:2.0%2Bgit~1' },
    { did: 'alpine', name: 'musl', want: 'pkg:apk/alpine/musl@1:2.0%2Bgit~1' },
    { did: 'rhel', name: 'openssl-libs', want: 'pkg:rpm/redhat/openssl-libs@1:2.0%2Bgit~1' },
    { did: 'amzn', name: 'openssl', want: 'pkg:rpm/amazon/openssl@1:2.0%2Bgit~1' },
    { did: 'ol', name: 'openssl', want: 'pkg:rpm/oracle/openssl@1:2.0%2Bgit~1' },
    { did: 'photon', name: 'openssl', want: 'pkg:rpm/photon/openssl@1:2.0%2Bgit~1' },
    { did: 'sles', name: 'openssl', want: 'pkg:rpm/suse/openssl@1:2.0%2Bgit~1' },
    { did: 'opensuse-leap', name: 'openssl', want: 'pkg:rpm/opensuse/openssl@1:2.0%2Bgit~1' },
    { did: 'plan9', name: 'openssl', want: undefined },
    { did: 'debian', name: '+'.repeat(200), want: undefined },
  ])('builds the package URL of $name in $did', ({ did, name, want }) => {
    const { findings } = parse((sample) => {
      system(sample)['did'] = did;
      inPackage(sample)['name'] = name;
      inPackage(sample)['version'] = '1:2.0+git~1';
    });

    expect(findings[0]?.purl).toBe(want);
  });

  it('gives no package URL for a package of a language', () => {
    const { findings } = parse((sample) => void (sample.environments!['12']![0]!['distribution_id'] = ''));

    expect(findings[0]).toMatchObject({ package: 'libssl3' });
    expect(findings[0]).not.toHaveProperty('purl');
  });

  it.each<{ fixed: string | null; versions: string[]; fixState: Finding['fixState'] }>([
    { fixed: '', versions: [], fixState: 'Unknown' },
    { fixed: null, versions: [], fixState: 'Unknown' },
    { fixed: '1:2.0+deb12u1', versions: ['1:2.0+deb12u1'], fixState: 'Fixed' },
    { fixed: 'fixed=2.0%2Bbuild&introduced=0', versions: ['2.0+build'], fixState: 'Fixed' },
    { fixed: 'introduced=0&lastAffected=1.9', versions: [], fixState: 'Unknown' },
  ])('is fixed in $versions when Clair says $fixed', ({ fixed, versions, fixState }) => {
    const { findings } = parse((sample) => void (found(sample)['fixed_in_version'] = fixed));

    expect(findings[0]).toMatchObject({ fixState, fixedVersions: versions });
  });

  it('takes several vulnerabilities of one name and package for one finding: the worst, with all fixes', () => {
    const { findings } = parse((sample) => {
      const one = found(sample);
      sample.vulnerabilities = {
        '900': { ...one, normalized_severity: 'Low', fixed_in_version: '' },
        '901': { ...one, normalized_severity: 'Critical', fixed_in_version: '3.0.17' },
        '902': { ...one, normalized_severity: 'Medium', fixed_in_version: '3.0.16' },
        '903': { ...one, normalized_severity: 'Medium', fixed_in_version: '3.0.17' },
        '904': { ...one, name: 'CVE-2026-30002', normalized_severity: 'Low' },
      };
      sample.package_vulnerabilities = { '12': ['900', '901', '902', '903', '903', '904'] };
    });

    expect(findings).toMatchObject([
      { id: 'CVE-2026-30001', severity: 'Critical', fixState: 'Fixed', fixedVersions: ['3.0.17', '3.0.16'] },
      { id: 'CVE-2026-30002', severity: 'Low' },
    ]);
  });

  it('keeps one name in two packages apart', () => {
    const { findings } = parse((sample) => {
      sample.packages!['13'] = { name: 'openssl', version: '3.0.15-1~deb12u1' };
      sample.package_vulnerabilities!['13'] = ['900'];
    });

    expect(findings.map((one) => one.package)).toEqual(['libssl3', 'openssl']);
  });

  it.each<{ when: string; change: (sample: Report) => void; want: Partial<ScanReport> }>([
    {
      when: 'no packages were found',
      change: (sample) => {
        sample.packages = {};
        sample.package_vulnerabilities = {};
      },
      want: { assessed: 'None', findings: [] },
    },
    {
      when: 'all lists are null',
      change: (sample) => {
        sample.packages = sample.distributions = sample.environments = null;
        sample.vulnerabilities = sample.package_vulnerabilities = sample.enrichments = null;
      },
      want: { assessed: 'None', findings: [] },
    },
    {
      when: 'only the lists that are always there are there',
      change: (sample) => {
        delete sample.packages;
        delete sample.distributions;
        delete sample.environments;
        delete sample.enrichments;
        sample.vulnerabilities = sample.package_vulnerabilities = {};
      },
      want: { assessed: 'None', findings: [] },
    },
    {
      when: 'no distribution was found',
      change: (sample) => {
        sample.distributions = {};
        sample.package_vulnerabilities = {};
      },
      want: { assessed: 'Partial', findings: [] },
    },
    {
      when: 'the distribution has no name',
      change: (sample) => void (system(sample)['did'] = ''),
      want: { assessed: 'Partial' },
    },
    {
      when: 'nothing was found in a known distribution',
      change: (sample) => void (sample.package_vulnerabilities = { '12': null, '99': [] }),
      want: { assessed: 'Full', findings: [] },
    },
  ])('says $want.assessed when $when', ({ change, want }) => {
    expect(parse(change)).toMatchObject(want);
  });

  it('takes the distribution of most packages for the system', () => {
    const { os } = parse((sample) => {
      sample.distributions = {
        '0': { did: 'debian', version_id: '11' },
        '1': { did: 'debian', version: '12 (bookworm)' },
      };
    });

    expect(os).toEqual({ family: 'debian', version: '12 (bookworm)', endOfLife: false });
  });

  it.each<{ when: string; change: (sample: Report) => void }>([
    { when: 'its surroundings are missing', change: (sample) => void (sample.environments = {}) },
    { when: 'its surroundings are null', change: (sample) => void (sample.environments!['12'] = null) },
    { when: 'its distribution is not there', change: (sample) => void (sample.distributions = {}) },
    {
      when: 'its layer is no digest',
      change: (sample) => void (sample.environments!['12']![0]!['introduced_in'] = 'x'),
    },
    {
      when: 'a score is for another vulnerability',
      change: (sample) => void (sample.enrichments = { 'enricher=clair.cvss': [{ '1': [{ baseScore: 9 }] }] }),
    },
    { when: 'there are unknown fields', change: (sample) => void (found(sample)['Aliases'] = [{ space: 'CVE' }]) },
  ])('keeps a finding when $when', ({ change }) => {
    const { findings } = parse(change);

    expect(findings).toMatchObject([{ id: 'CVE-2026-30001', package: 'libssl3' }]);
    expect(finding.parse(findings[0])).toEqual(findings[0]);
  });

  it('keeps a finding of endless texts within its schema', () => {
    const { findings } = parse((sample) => {
      inPackage(sample)['name'] = '\ud800'.repeat(10_000);
      inPackage(sample)['version'] = 'v'.repeat(10_000);
      found(sample)['name'] = 'CVE-'.repeat(10_000);
      found(sample)['fixed_in_version'] = Array.from({ length: 50 }, (_, n) => `fixed=${n}`).join('&');
    });

    expect(finding.parse(findings[0])).toEqual(findings[0]);
    expect(findings[0]?.fixedVersions).toHaveLength(8);
  });

  it.each<{ when: string; body: string; problem: string }>([
    { when: 'it is empty', body: '', problem: 'Empty' },
    { when: 'it is a page', body: '<html><body>502 Bad Gateway</body></html>', problem: 'Unreadable' },
    { when: 'it is cut off', body: SAMPLE.slice(0, -100), problem: 'Unreadable' },
    { when: 'it is an error', body: read('clair/index-post.error.json'), problem: 'Unreadable' },
    { when: 'it is an index report', body: read('clair/index-report.json'), problem: 'Unreadable' },
    { when: 'it is a failed index report', body: read('clair/index-report.error.json'), problem: 'Unreadable' },
    { when: 'it is of Trivy', body: read('trivy/image-report.clean.json'), problem: 'Unreadable' },
    { when: 'it is no object', body: '[]', problem: 'Unreadable' },
    { when: 'a map is a list', body: report((s) => Object.assign(s, { vulnerabilities: [] })), problem: 'Unreadable' },
    {
      when: 'a vulnerability is not there',
      body: report((sample) => void (sample.package_vulnerabilities!['12'] = ['901'])),
      problem: 'Unreadable',
    },
    {
      when: 'a vulnerability is called like a property of every object',
      body: report((sample) => void (sample.package_vulnerabilities!['12'] = ['constructor'])),
      problem: 'Unreadable',
    },
    {
      when: 'a package is not there',
      body: report((sample) => void (sample.package_vulnerabilities = { '13': ['900'] })),
      problem: 'Unreadable',
    },
    {
      when: 'a package that is not there is called __proto__',
      body: SAMPLE.replace(/"12": \[\s*"900"/, '"__proto__": ["900"'),
      problem: 'Unreadable',
    },
    {
      when: 'a vulnerability has no name',
      body: report((sample) => void (found(sample)['name'] = ' ')),
      problem: 'Unreadable',
    },
    {
      when: 'a package has no name',
      body: report((sample) => {
        delete inPackage(sample)['name'];
      }),
      problem: 'Unreadable',
    },
  ])('refuses a report when $when', ({ body, problem }) => {
    expect(() => parseClairReport(body)).toThrow(expect.objectContaining({ problem }));
  });

  describe('when there are very many findings', () => {
    function many(packages: number, vulnerabilities: number): string {
      return report((sample) => {
        const names = Array.from({ length: packages }, (_, n) => `p${n}`);
        const ids = Array.from({ length: vulnerabilities }, (_, n) => `${n}`);
        sample.packages = Object.fromEntries(names.map((name) => [name, { name, version: '1' }]));
        sample.vulnerabilities = Object.fromEntries(ids.map((id) => [id, { name: `CVE-${id}` }]));
        sample.package_vulnerabilities = Object.fromEntries(names.map((name) => [name, ids]));
      });
    }

    it('keeps 100,000', () => {
      expect(parseClairReport(many(100, 1_000)).findings).toHaveLength(100_000);
    });

    it('refuses more than can be', () => {
      expect(() => parseClairReport(many(201, 1_000))).toThrow(expect.objectContaining({ problem: 'TooLarge' }));
    });
  });
});
