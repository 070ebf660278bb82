import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FIX_STATES, scanFacts, SEVERITIES, type Finding, type ScanReport } from '../../../operator/api/scan-facts.ts';
import {
  assertSubject,
  countAtLeast,
  epochOf,
  findingKey,
  MAX_FINDINGS_BYTES,
  toFacts,
} from '../../../operator/scanning/facts.ts';
import { digestOf } from '../../support/builders/images.ts';
import { facts, finding, SCANNED, SCANNED_MS, scanReport } from '../../support/builders/scans.ts';

const DIGEST = digestOf('web');
const CONFIG = digestOf('config');
const INDEX = digestOf('index');
const OTHER = digestOf('other');

describe('assertSubject', () => {
  const check = (subject: Partial<ScanReport['subject']>) => () =>
    assertSubject({ subject: { repoDigests: [], ...subject } }, { digest: DIGEST, configDigest: CONFIG });

  it.each<{ when: string; subject: Partial<ScanReport['subject']> }>([
    { when: 'the manifest is the one', subject: { digest: DIGEST } },
    {
      when: 'the configuration is the one, asked for by its index',
      subject: { configDigest: CONFIG, repoDigests: [INDEX] },
    },
    { when: 'it was asked for by the digest of the manifest', subject: { repoDigests: [INDEX, DIGEST] } },
  ])('takes a report when $when', ({ subject }) => {
    expect(check(subject)).not.toThrow();
  });

  it.each<{ when: string; subject: Partial<ScanReport['subject']>; says: string }>([
    { when: 'the manifest is another', subject: { digest: OTHER, configDigest: CONFIG }, says: OTHER },
    { when: 'the configuration is another', subject: { digest: DIGEST, configDigest: OTHER }, says: DIGEST },
    { when: 'only the index is named', subject: { repoDigests: [INDEX] }, says: INDEX },
    { when: 'nothing is named', subject: {}, says: 'does not say which image' },
  ])('refuses a report when $when', ({ subject, says }) => {
    expect(check(subject)).toThrow(expect.objectContaining({ problem: 'AnotherImage' }));
    expect(check(subject)).toThrow(says);
  });
});

describe('findingKey', () => {
  it.each<{ when: string; other: Partial<Finding>; isSame: boolean }>([
    { when: 'the severity flips', other: { severity: 'Low' }, isSame: true },
    { when: 'the package is at another version', other: { version: '9' }, isSame: true },
    { when: 'it is in another package', other: { package: 'openssl' }, isSame: false },
    { when: 'it is another vulnerability', other: { id: 'CVE-2026-0002' }, isSame: false },
    { when: 'it is in another file', other: { path: 'app/other.jar' }, isSame: false },
  ])('is the same $isSame when $when', ({ other, isSame }) => {
    expect(findingKey(finding(other)) === findingKey(finding())).toBe(isSame);
  });

  it.each([
    ['pkg:deb/debian/libssl3@3.0.15?arch=amd64', 'pkg:deb/debian/libssl3'],
    ['pkg:npm/%40acme/web@1.0.0#sub', 'pkg:npm/%40acme/web'],
    ['pkg:npm/@acme/web', 'pkg:npm/@acme/web'],
  ])('leaves version and qualifiers out of %s', (purl, bare) => {
    expect(findingKey(finding({ purl }))).toBe(`CVE-2026-0001|${bare}`);
  });
});

describe('epochOf', () => {
  it.each<{ when: string; report: Partial<ScanReport>; want: string }>([
    { when: 'the data has a name', report: { database: { id: 'v7', updatedTime: SCANNED } }, want: 'v7' },
    { when: 'only its time is known', report: { database: { updatedTime: SCANNED } }, want: SCANNED },
  ])('is $want when $when', ({ report, want }) => {
    expect(epochOf(facts([], report))).toBe(want);
  });

  it('is the end of the scan when the scanner does not say', () => {
    const { database: _, ...report } = scanReport();

    expect(epochOf(toFacts(report, SCANNED_MS))).toBe(SCANNED);
  });
});

describe('toFacts', () => {
  it('counts what is not suppressed, and keeps the worst first', () => {
    const { counts, findings } = facts([
      finding({ id: 'CVE-2', severity: 'Medium', fixState: 'Affected', fixedVersions: [] }),
      finding({ id: 'CVE-3', severity: 'Critical', suppressed: { by: 'Vex', status: 'not_affected' } }),
      finding({ id: 'CVE-1', severity: 'Critical' }),
      finding({ id: 'CVE-4', severity: 'Negligible' }),
      finding({ id: 'CVE-5', severity: 'Unknown' }),
    ]);

    expect(counts).toMatchObject({
      critical: { total: 1, fixable: 1 },
      medium: { total: 1, fixable: 0 },
      negligible: { total: 1 },
      unknown: { total: 1 },
    });
    expect(findings.map(({ id }) => id)).toEqual(['CVE-1', 'CVE-3', 'CVE-2', 'CVE-5']);
  });

  it('takes the moment for the end of the scan when the report does not tell', () => {
    const { finishedTime: _, ...report } = scanReport();

    expect(toFacts(report, SCANNED_MS + 5_000).finishedTime).toBe('2026-01-05T08:00:05Z');
  });

  it('keeps within its size, loses nothing uncounted, and says the same whatever the order', () => {
    const anyFinding = fc
      .record({
        number: fc.nat(400),
        severity: fc.constantFrom(...SEVERITIES),
        fixState: fc.constantFrom(...FIX_STATES),
        path: fc.string({ maxLength: 300 }),
        isSuppressed: fc.boolean(),
      })
      .map(({ number, isSuppressed, ...rest }) =>
        finding({
          ...rest,
          id: `CVE-${number}`,
          package: `package-${number}`,
          ...(isSuppressed && { suppressed: { by: 'Ignore' as const, status: 'ignored' } }),
        }),
      );
    fc.assert(
      fc.property(fc.array(anyFinding, { maxLength: 400 }), fc.constantFrom(...SEVERITIES), (findings, threshold) => {
        const kept = facts(findings);
        const counted = kept.findings.filter(({ suppressed }) => suppressed === undefined);

        expect(Buffer.byteLength(JSON.stringify(kept.findings))).toBeLessThanOrEqual(MAX_FINDINGS_BYTES + 1);
        expect(scanFacts.parse(kept)).toEqual(kept);
        for (const severity of SEVERITIES.filter((it) => it !== 'Negligible')) {
          const key = severity.toLowerCase() as Lowercase<typeof severity>;
          const here = counted.filter((it) => it.severity === severity).length;
          expect(here + (kept.omitted?.[key].total ?? 0)).toBe(kept.counts[key].total);
        }
        expect(countAtLeast(kept.counts, threshold, true)).toBeLessThanOrEqual(
          countAtLeast(kept.counts, threshold, false),
        );
        expect(facts(findings.toReversed()).counts).toEqual(kept.counts);
      }),
      { numRuns: 50 },
    );
  });
});
