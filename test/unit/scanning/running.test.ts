import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Finding } from '../../../operator/api/scan-facts.ts';
import {
  mayEnforce,
  stepRunning,
  type RunningObservation,
  type RunningState,
} from '../../../operator/scanning/running.ts';
import type { Verdict } from '../../../operator/scanning/verdict.ts';
import { finding } from '../../support/builders/scans.ts';

const START_MS = Date.parse('2026-01-05T08:00:00Z');
const HOUR_MS = 3_600_000;
const GRACE = { criticalMs: 24 * HOUR_MS, otherMs: 168 * HOUR_MS };
const pass: Verdict = { kind: 'Pass', message: 'well', untilMs: Infinity };
const unknown: Verdict = { kind: 'Unknown', reason: 'TooOld', message: 'too old' };
const fail = (...blocking: readonly Partial<Finding>[]): Verdict => ({
  kind: 'Fail',
  message: 'bad',
  blocking: (blocking.length === 0 ? [{}] : blocking).map((options) => finding(options)),
  untilMs: Infinity,
});

/** One look an hour apart, each at an epoch of its own unless it says otherwise. */
function look(verdicts: readonly (Verdict | Partial<RunningObservation>)[]): (RunningState | undefined)[] {
  let state: RunningState | undefined;
  return verdicts.map((given, index) => {
    const options = 'kind' in given ? { verdict: given } : given;
    state = stepRunning(state, {
      basis: 'web',
      verdict: pass,
      epoch: `epoch-${index}`,
      isEpochKnown: true,
      nowMs: START_MS + index * HOUR_MS,
      grace: GRACE,
      ...options,
    });
    return state;
  });
}

const last = (verdicts: Parameters<typeof look>[0]): RunningState | undefined => look(verdicts).at(-1);
const LONG_AFTER_MS = START_MS + 10_000 * HOUR_MS;

describe('stepRunning', () => {
  it.each<{ when: string; looks: Parameters<typeof look>[0]; verdict: 'Pass' | 'Fail' | undefined; acts: boolean }>([
    { when: 'nothing is known', looks: [unknown], verdict: undefined, acts: false },
    { when: 'it passes', looks: [pass], verdict: 'Pass', acts: false },
    { when: 'one epoch fails', looks: [pass, fail()], verdict: 'Fail', acts: false },
    { when: 'two epochs in a row fail', looks: [pass, fail(), fail()], verdict: 'Fail', acts: true },
    {
      when: 'one epoch fails by what is known to be exploited',
      looks: [pass, fail({ knownExploited: true })],
      verdict: 'Fail',
      acts: true,
    },
    { when: 'a good epoch lies between', looks: [pass, fail(), pass, fail()], verdict: 'Fail', acts: false },
    { when: 'a good epoch follows', looks: [fail(), fail(), pass], verdict: 'Fail', acts: false },
    { when: 'two good epochs follow', looks: [fail(), fail(), pass, pass], verdict: 'Pass', acts: false },
    { when: 'doubt follows', looks: [fail(), fail(), unknown], verdict: 'Fail', acts: true },
    {
      when: 'the same epoch fails again',
      looks: [pass, { verdict: fail(), epoch: 'e' }, { verdict: fail(), epoch: 'e' }],
      verdict: 'Fail',
      acts: false,
    },
    {
      when: 'it is accepted by an exception',
      looks: [fail(), fail(), { verdict: pass, basis: 'web, accepted' }],
      verdict: 'Pass',
      acts: false,
    },
    {
      when: 'another image runs, and nothing is known of it',
      looks: [fail(), fail(), { verdict: unknown, basis: 'api' }],
      verdict: undefined,
      acts: false,
    },
  ])('is $verdict, and to be acted upon: $acts, when $when', ({ looks, verdict, acts }) => {
    const state = last(looks);

    expect(state?.verdict).toBe(verdict);
    expect(state !== undefined && mayEnforce(state, LONG_AFTER_MS)).toBe(acts);
  });

  it.each([
    { hours: 1, want: 1 },
    { hours: 12, want: 2 },
  ])('takes scans $hours h apart for $want epochs where the data is not named', ({ hours, want }) => {
    const at = (index: number) => ({ verdict: fail(), isEpochKnown: false, nowMs: START_MS + index * hours * HOUR_MS });

    expect(last([at(0), at(1)])?.failedEpochs).toBe(want);
  });

  it('begins the grace at the first sight, and lets a worse finding only shorten it', () => {
    const [first, worse, better] = look([fail(), fail({ severity: 'Critical' }), fail()]);

    expect(first?.failing).toMatchObject({ sinceMs: START_MS, graceUntilMs: START_MS + GRACE.otherMs });
    const graceUntilMs = START_MS + HOUR_MS + GRACE.criticalMs;
    expect(worse?.failing).toMatchObject({ sinceMs: START_MS, graceUntilMs });
    expect(better?.failing).toMatchObject({ sinceMs: START_MS, graceUntilMs });
    expect(mayEnforce(better!, graceUntilMs - 1)).toBe(false);
    expect(mayEnforce(better!, graceUntilMs)).toBe(true);
  });

  const anyLook = fc.record({
    verdict: fc.constantFrom(pass, fail(), unknown),
    epoch: fc.nat(3).map((number) => `epoch-${number}`),
    elapsedMs: fc.nat(48 * HOUR_MS),
  });

  it('acts only after two bad epochs and the grace, whatever the data does, and changes nothing at a second look', () => {
    fc.assert(
      fc.property(fc.array(anyLook, { maxLength: 60 }), (looks) => {
        let state: RunningState | undefined;
        let nowMs = START_MS;
        let failingSinceMs: number | undefined;
        let lastEpochs: ('Pass' | 'Fail')[] = [];
        for (const { verdict, epoch, elapsedMs } of looks) {
          nowMs += elapsedMs;
          const before = state;
          const observation = { basis: 'web', verdict, epoch, isEpochKnown: true, nowMs, grace: GRACE };
          state = stepRunning(before, observation);
          if (verdict.kind !== 'Unknown' && epoch !== before?.epoch) {
            lastEpochs = [...lastEpochs, verdict.kind].slice(-2);
            failingSinceMs = verdict.kind === 'Fail' ? (failingSinceMs ?? nowMs) : failingSinceMs;
            if (lastEpochs.every((kind) => kind === 'Pass')) failingSinceMs = undefined;
          }

          expect(stepRunning(state, observation)).toBe(state);
          if (state === undefined) continue;
          expect(state.failing?.sinceMs).toBe(failingSinceMs);
          if (!mayEnforce(state, nowMs)) continue;
          expect(lastEpochs).toEqual(['Fail', 'Fail']);
          expect(nowMs - (failingSinceMs ?? nowMs)).toBeGreaterThanOrEqual(GRACE.criticalMs);
        }
      }),
      { numRuns: 500 },
    );
  });
});
