import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SEVERITIES, type Finding, type ScanFacts } from '../../../operator/api/scan-facts.ts';
import type { Exception } from '../../../operator/scanning/exceptions.ts';
import { findingKey, isAtLeast, toFacts } from '../../../operator/scanning/facts.ts';
import {
  describeFinding,
  describeVerdict,
  judgeFacts,
  type UnknownReason,
  type Verdict,
  type VerdictRules,
} from '../../../operator/scanning/verdict.ts';
import { facts, finding, SCANNED_MS, scanReport } from '../../support/builders/scans.ts';

const THRESHOLDS = ['Low', 'Medium', 'High', 'Critical'] as const;
const HOUR_MS = 3_600_000;
const MAX_AGE_MS = 24 * HOUR_MS;

type Rules = Partial<Omit<VerdictRules, 'failOn'>> & { readonly failOn?: Partial<VerdictRules['failOn']> };

function judge(
  scanned: ScanFacts | undefined,
  options: {
    readonly rules?: Rules;
    readonly baseline?: ScanFacts;
    readonly exceptions?: readonly Exception[];
    readonly nowMs?: number;
  } = {},
): Verdict {
  const { rules = {}, baseline, exceptions = [], nowMs = SCANNED_MS + HOUR_MS } = options;
  return judgeFacts({
    ...(scanned !== undefined && { facts: scanned }),
    ...(baseline !== undefined && { baseline }),
    rules: {
      compare: 'Absolute',
      maxAgeMs: MAX_AGE_MS,
      allowUnknownEpoch: false,
      ...rules,
      failOn: { severity: 'High', fixableOnly: false, incomplete: 'Unknown', ...rules.failOn },
    },
    exceptions,
    nowMs,
  });
}

const unfixed = finding({ id: 'CVE-2026-0009', fixState: 'Affected', fixedVersions: [] });
const withoutEpoch = (): ScanFacts => {
  const { database: _, ...report } = scanReport();
  return toFacts(report, SCANNED_MS);
};

describe('judgeFacts', () => {
  it.each<{ when: string; given: readonly Finding[]; rules?: Rules; want: 'Pass' | 'Fail' }>([
    { when: 'nothing was found', given: [], want: 'Pass' },
    { when: 'a finding is at the threshold', given: [finding()], want: 'Fail' },
    { when: 'a finding is above the threshold', given: [finding({ severity: 'Critical' })], want: 'Fail' },
    { when: 'a finding is below the threshold', given: [finding({ severity: 'Medium' })], want: 'Pass' },
    { when: 'a finding has no rating', given: [finding({ severity: 'Unknown' })], want: 'Pass' },
    { when: 'there is no fix, and any finding counts', given: [unfixed], want: 'Fail' },
    {
      when: 'there is no fix, and only fixable ones count',
      given: [unfixed],
      rules: { failOn: { fixableOnly: true } },
      want: 'Pass',
    },
    {
      when: 'the scanner was told to suppress it',
      given: [finding({ suppressed: { by: 'Vex', status: 'not_affected' } })],
      want: 'Pass',
    },
  ])('is $want when $when', ({ given, rules = {}, want }) => {
    expect(judge(facts(given), { rules }).kind).toBe(want);
  });

  it.each<{ when: string; verdict: () => Verdict; want: UnknownReason; says: string }>([
    { when: 'there was no scan', verdict: () => judge(undefined), want: 'NotScanned', says: 'not scanned yet' },
    {
      when: 'the scan is as old as is allowed',
      verdict: () => judge(facts(), { nowMs: SCANNED_MS + MAX_AGE_MS }),
      want: 'TooOld',
      says: '2026-01-05T08:00:00Z',
    },
    {
      when: 'a bad scan is too old',
      verdict: () => judge(facts([finding()]), { nowMs: SCANNED_MS + MAX_AGE_MS }),
      want: 'TooOld',
      says: 'too old',
    },
    {
      when: 'nothing was recognised',
      verdict: () => judge(facts([], { assessed: 'None' })),
      want: 'NotAssessed',
      says: 'grype recognised nothing',
    },
    {
      when: 'the system is at its end of life',
      verdict: () => judge(facts([], { assessed: 'Partial', os: { family: 'debian', version: '9', endOfLife: true } })),
      want: 'Incomplete',
      says: 'debian 9 is at its end of life',
    },
    {
      when: 'the system is known in part',
      verdict: () => judge(facts([], { assessed: 'Partial' })),
      want: 'Incomplete',
      says: 'only in part',
    },
    {
      when: 'the data is not named',
      verdict: () => judge(withoutEpoch()),
      want: 'NoEpoch',
      says: 'which vulnerability data',
    },
  ])('is Unknown when $when', ({ verdict, want, says }) => {
    expect(verdict()).toEqual({ kind: 'Unknown', reason: want, message: expect.stringContaining(says) });
  });

  it('passes what is known in part, or with unnamed data, where the rules say so', () => {
    expect(judge(facts([], { assessed: 'Partial' }), { rules: { failOn: { incomplete: 'Pass' } } }).kind).toBe('Pass');
    expect(judge(withoutEpoch(), { rules: { allowUnknownEpoch: true } }).kind).toBe('Pass');
  });

  it('fails what is known in part as soon as something was found', () => {
    expect(judge(facts([finding()], { assessed: 'Partial' })).kind).toBe('Fail');
  });

  it('names the worst findings with their remedy, and how many more there are', () => {
    const given = Array.from({ length: 5 }, (_, index) =>
      finding({ id: `CVE-2026-000${index}`, severity: 'Critical' }),
    );

    expect(judge(facts(given))).toMatchObject({
      kind: 'Fail',
      blocking: { length: 5 },
      message:
        '5 findings of severity High or above: CVE-2026-0000 (Critical) in libssl3 3.0.15, fixed in 3.0.16; CVE-2026-0001 (Critical) in libssl3 3.0.15, fixed in 3.0.16; CVE-2026-0002 (Critical) in libssl3 3.0.15, fixed in 3.0.16; and 2 more',
    });
  });

  it('counts those that had no room', () => {
    const many = Array.from({ length: 1_000 }, (_, index) => finding({ id: `CVE-${index}` }));
    const allowed = many.map(({ id }): Exception => ({ source: 'all of them', id }));
    const { findings } = facts(many);
    expect(findings.length).toBeLessThan(1_000);

    expect(judge(facts(many)).message).toContain('1000 findings');
    expect(judge(facts(many), { exceptions: allowed }).message).toContain(`${1_000 - findings.length} findings`);
  });

  describe('when findings are accepted', () => {
    const expiresMs = SCANNED_MS + 2 * HOUR_MS;
    const accepted: Exception = { source: 'VulnerabilityException ssl', id: 'CVE-2026-0001', expiresMs };

    it.each<{ when: string; given?: Finding; exception?: Partial<Exception>; nowMs?: number; want: 'Pass' | 'Fail' }>([
      { when: 'it is this one', want: 'Pass' },
      {
        when: 'it is known by another name',
        given: finding({ id: 'GHSA-1', aliases: ['CVE-2026-0001'] }),
        want: 'Pass',
      },
      { when: 'it is in the package named', exception: { package: 'libssl3' }, want: 'Pass' },
      { when: 'it is in another package', exception: { package: 'curl' }, want: 'Fail' },
      { when: 'it is another one', exception: { id: 'CVE-2026-0002' }, want: 'Fail' },
      { when: 'it has just expired', nowMs: expiresMs, want: 'Fail' },
    ])('is $want when $when', ({ given = finding(), exception = {}, nowMs, want }) => {
      const verdict = judge(facts([given]), {
        exceptions: [{ ...accepted, ...exception }],
        ...(nowMs !== undefined && { nowMs }),
      });

      expect(verdict.kind).toBe(want);
    });

    it('passes until the one that lasts longest expires', () => {
      const longer = { ...accepted, source: 'another', expiresMs: expiresMs + HOUR_MS };

      expect(judge(facts([finding()]), { exceptions: [accepted, longer] })).toMatchObject({
        untilMs: longer.expiresMs,
      });
      expect(judge(facts([finding()]), { exceptions: [accepted] })).toMatchObject({ untilMs: expiresMs });
      expect(judge(facts(), { exceptions: [accepted] })).toMatchObject({ untilMs: SCANNED_MS + MAX_AGE_MS });
    });
  });

  describe('when it must not be worse than what runs', () => {
    const rules: Rules = { compare: 'NoWorse' };
    const old = finding({ id: 'CVE-2025-0001' });
    const fresh = finding({ id: 'CVE-2026-0002' });

    it.each<{ when: string; given: readonly Finding[]; baseline: readonly Finding[]; want: 'Pass' | 'Fail' }>([
      { when: 'it has the same findings', given: [old], baseline: [old], want: 'Pass' },
      { when: 'it has fewer', given: [old], baseline: [old, fresh], want: 'Pass' },
      { when: 'it has another one', given: [old, fresh], baseline: [old], want: 'Fail' },
      {
        when: 'one of them was rated lower in what runs',
        given: [old],
        baseline: [{ ...old, severity: 'Low' }],
        want: 'Pass',
      },
      {
        when: 'what runs was said not to be affected',
        given: [old],
        baseline: [{ ...old, suppressed: { by: 'Vex', status: 'not_affected' } }],
        want: 'Fail',
      },
    ])('is $want when $when', ({ given, baseline, want }) => {
      expect(judge(facts(given), { rules, baseline: facts(baseline) }).kind).toBe(want);
    });

    it.each<{ when: string; baseline?: ScanFacts; want: UnknownReason }>([
      { when: 'what runs was not scanned', want: 'NoBaseline' },
      {
        when: 'it was scanned with other data',
        baseline: facts([old], { database: { updatedTime: '2026-01-04T06:00:00Z' } }),
        want: 'AnotherEpoch',
      },
      {
        when: 'another scanner did',
        baseline: facts([old], { scanner: { name: 'trivy', version: '1' } }),
        want: 'AnotherEpoch',
      },
      {
        when: 'not all that it has is kept',
        baseline: facts(Array.from({ length: 1_000 }, (_, index) => finding({ id: `CVE-${index}` }))),
        want: 'TooManyFindings',
      },
    ])('is Unknown when $when', ({ baseline, want }) => {
      expect(judge(facts([fresh]), { rules, ...(baseline && { baseline }) })).toMatchObject({ reason: want });
    });

    it('needs no comparison when nothing would block', () => {
      expect(judge(facts(), { rules }).kind).toBe('Pass');
    });
  });

  const anyFinding = fc
    .record({ number: fc.nat(12), severity: fc.constantFrom(...SEVERITIES), isFixed: fc.boolean() })
    .map(({ number, severity, isFixed }) =>
      finding({ id: `CVE-${number}`, severity, fixState: isFixed ? 'Fixed' : 'Affected' }),
    );
  const anyRules = fc.record({ severity: fc.constantFrom(...THRESHOLDS), fixableOnly: fc.boolean() });

  it('never blocks an image that has nothing but what runs has', () => {
    fc.assert(
      fc.property(fc.array(anyFinding), fc.func(fc.boolean()), anyRules, (running, keeps, failOn) => {
        const candidate = running.filter((it) => keeps(it.id));
        const rules: Rules = { compare: 'NoWorse', failOn };

        expect(judge(facts(candidate), { rules, baseline: facts(running) }).kind).toBe('Pass');
      }),
    );
  });

  it('fails exactly by findings that count, whatever their order, and NoWorse is never stricter', () => {
    fc.assert(
      fc.property(fc.array(anyFinding), fc.array(anyFinding), anyRules, (given, running, failOn) => {
        const counts = given.filter(
          (it) => isAtLeast(it.severity, failOn.severity) && (!failOn.fixableOnly || it.fixState === 'Fixed'),
        );
        const verdict = judge(facts(given), { rules: { failOn } });

        expect(verdict.kind).toBe(counts.length > 0 ? 'Fail' : 'Pass');
        expect(judge(facts(given.toReversed()), { rules: { failOn } }).message).toBe(verdict.message);
        const relative = judge(facts(given), { rules: { failOn, compare: 'NoWorse' }, baseline: facts(running) });
        if (relative.kind === 'Fail') {
          expect(verdict.kind).toBe('Fail');
          // What is negligible in the running image is not kept there.
          const known = new Set(running.filter(({ severity }) => severity !== 'Negligible').map(findingKey));
          expect(relative.blocking.filter((it) => known.has(findingKey(it)))).toEqual([]);
        }
      }),
    );
  });
});

describe('describeFinding', () => {
  it.each([
    { given: finding(), want: 'CVE-2026-0001 (High) in libssl3 3.0.15, fixed in 3.0.16' },
    { given: finding({ fixedVersions: ['1', '2'] }), want: 'CVE-2026-0001 (High) in libssl3 3.0.15, fixed in 1 or 2' },
    { given: finding({ version: '', fixedVersions: [] }), want: 'CVE-2026-0001 (High) in libssl3' },
  ])('says $want', ({ given, want }) => {
    expect(describeFinding(given)).toBe(want);
  });
});

describe('describeVerdict', () => {
  it.each([
    { verdict: judge(facts()), want: /^Pass until 2026-01-06T08:00:00Z: no finding of severity High or above/ },
    { verdict: judge(facts([finding()])), want: /^Fail: 1 finding of severity High or above/ },
    { verdict: judge(undefined), want: /^Unknown: it was not scanned yet$/ },
  ])('says $want', ({ verdict, want }) => {
    expect(describeVerdict(verdict)).toMatch(want);
  });
});
