import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  CONDITION_TYPES,
  findCondition,
  isConditionTrue,
  updateConditions,
  type ConditionClaim,
} from '../../../operator/api/conditions.ts';

const EARLIER_MS = Date.UTC(2026, 0, 5, 8);
const LATER_MS = EARLIER_MS + 60_000;
const EARLIER = '2026-01-05T08:00:00Z';
const LATER = '2026-01-05T08:01:00Z';

const claim = (more: Partial<ConditionClaim> = {}): ConditionClaim => ({
  type: 'Ready',
  status: 'True',
  reason: 'UpToDate',
  message: '1.1.0 runs',
  ...more,
});
const first = (...claims: ConditionClaim[]) =>
  updateConditions(undefined, claims, { generation: 1, nowMs: EARLIER_MS });

describe('updateConditions', () => {
  it('adds the time and the generation', () => {
    expect(first(claim())).toEqual([
      {
        type: 'Ready',
        status: 'True',
        reason: 'UpToDate',
        message: '1.1.0 runs',
        observedGeneration: 1,
        lastTransitionTime: EARLIER,
      },
    ]);
  });

  it.each<{ when: string; next: Partial<ConditionClaim>; want: string }>([
    { when: 'nothing changes', next: {}, want: EARLIER },
    { when: 'only the reason and message change', next: { reason: 'Suspended', message: 'suspended' }, want: EARLIER },
    { when: 'the status changes', next: { status: 'False' }, want: LATER },
    { when: 'the status becomes Unknown', next: { status: 'Unknown' }, want: LATER },
  ])('dates the transition $want when $when', ({ next, want }) => {
    const [ready] = updateConditions(first(claim()), [claim(next)], { generation: 2, nowMs: LATER_MS });

    expect(ready).toMatchObject({ lastTransitionTime: want, observedGeneration: 2, ...next });
  });

  it('drops what is not claimed any more, and dates it anew when it comes back', () => {
    const before = first(claim({ status: 'False' }), claim({ type: 'Reconciling' }));

    const between = updateConditions(before, [claim()], { generation: 1, nowMs: LATER_MS });
    const back = updateConditions(between, [claim(), claim({ type: 'Reconciling' })], {
      generation: 1,
      nowMs: LATER_MS + 1_000,
    });

    expect(between.map(({ type }) => type)).toEqual(['Ready']);
    expect(findCondition(back, 'Reconciling')?.lastTransitionTime).toBe('2026-01-05T08:01:01Z');
  });

  it('lists them in one order, whatever the order of the claims', () => {
    const claims = CONDITION_TYPES.map((type) => claim({ type }));

    expect(first(...claims.toReversed())).toEqual(first(...claims));
    expect(first(...claims.toReversed()).map(({ type }) => type)).toEqual([...CONDITION_TYPES]);
  });

  it('changes neither what it is given nor, at another time, an unchanged state', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.nat({ max: 4 }).map((shift) => 'x'.repeat(shift) + '🚢'.repeat(3_000)),
    );
    const claims = fc.uniqueArray(
      fc.record({
        type: fc.constantFrom(...CONDITION_TYPES),
        status: fc.constantFrom('True' as const, 'False' as const, 'Unknown' as const),
        reason: fc.constantFrom('A', 'B'),
        message: texts,
      }),
      { selector: ({ type }) => type },
    );
    fc.assert(
      fc.property(claims, (given) => {
        const copy = structuredClone(given);
        // What the API server gives back: an unpaired half of a character is replaced.
        const stored = first(...given).map((condition) => ({
          ...condition,
          message: condition.message.toWellFormed(),
        }));

        const again = updateConditions(stored, given, { generation: 1, nowMs: LATER_MS });

        expect(again).toEqual(stored);
        expect(given).toEqual(copy);
        for (const { message } of again) expect(message.length).toBeLessThanOrEqual(32_768);
      }),
    );
  });
});

describe('isConditionTrue', () => {
  it.each([
    { given: undefined, want: false },
    { given: [], want: false },
    { given: first(claim({ type: 'Stalled' })), want: false },
    { given: first(claim({ status: 'False' })), want: false },
    { given: first(claim({ status: 'Unknown' })), want: false },
    { given: first(claim()), want: true },
  ])('is $want for $given', ({ given, want }) => {
    expect(isConditionTrue(given, 'Ready')).toBe(want);
  });
});
