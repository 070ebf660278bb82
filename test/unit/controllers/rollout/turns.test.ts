import { describe, expect, it } from '@jest/globals';
import type { ImageRollout } from '../../../../operator/api/kinds.ts';
import { findBlocker, findSuperseded, Turns } from '../../../../operator/controllers/rollout/turns.ts';
import { imageRollout, rolloutStatus } from '../../../support/builders/rollouts.ts';

const pending = (number: number, more: object = {}): ImageRollout =>
  imageRollout({ number, metadata: { creationTimestamp: `2026-01-05T08:00:0${number}Z` }, spec: more });
const claimed = (number: number, more: object = {}): ImageRollout =>
  imageRollout({
    number,
    metadata: { creationTimestamp: `2026-01-05T08:00:0${number}Z` },
    status: {
      ...rolloutStatus('Verifying', 'Applied'),
      claim: { holder: 'a', epoch: 1, time: '2026-01-05T08:00:00Z' },
      ...more,
    },
  });
const finished = (number: number): ImageRollout =>
  imageRollout({ number, status: rolloutStatus('Succeeded', 'Healthy') });

describe('findBlocker', () => {
  it.each([
    { when: 'it is alone', others: [], want: undefined },
    { when: 'an older one is there', others: [pending(1)], want: 'web-1' },
    { when: 'a younger one is there', others: [pending(3)], want: undefined },
    { when: 'a younger one has claimed', others: [claimed(3)], want: 'web-3' },
    { when: 'the older one has finished', others: [finished(1)], want: undefined },
  ])('is $want when $when', ({ others, want }) => {
    expect(findBlocker(pending(2), [pending(2), ...others])).toBe(want);
  });
});

describe('findSuperseded', () => {
  const awaiting = (number: number): ImageRollout => claimed(number, { awaitsRun: true });
  const foreign = imageRollout({
    number: 1,
    spec: { policy: { name: 'web', uid: 'uid-of-another-policy', generation: 1 } },
    status: awaiting(1).status!,
  });

  it.each([
    { when: 'an older one of the policy awaits a run', others: [awaiting(1)], want: ['web-1'] },
    { when: 'the older one is at work', others: [claimed(1)], want: [] },
    { when: 'the one that awaits a run is the younger', others: [awaiting(3)], want: [] },
    { when: 'the older one is that of another policy', others: [foreign], want: [] },
    { when: 'it is alone', others: [], want: [] },
  ])('is $want when $when', ({ others, want }) => {
    expect(findSuperseded(pending(2), [pending(2), ...others]).map(({ metadata }) => metadata.name)).toEqual(want);
  });
});

describe('Turns', () => {
  const turns = (max: number, ...rollouts: readonly ImageRollout[]) =>
    new Turns({ rollouts: { list: () => rollouts }, max });

  it('lets as many go as there are places, the oldest first', () => {
    const [first, second, third] = [pending(1), pending(2), pending(3)];
    const line = turns(2, first, second, third);

    expect(line.wait(third)).toContain('2 rollouts are in flight');
    expect(line.wait(first)).toBeUndefined();
    expect(line.wait(second)).toBeUndefined();
    expect(line.callUp().map(({ metadata }) => metadata.name)).toEqual(['web-3']);
  });

  it('gives a place to one of two workers that ask at once', () => {
    const [first, second] = [pending(1), pending(2)];
    const line = turns(1, claimed(3), first, second);
    expect(line.wait(first)).toContain('in flight');

    const free = turns(1, first, second);
    using _turn = free.hold(first);
    expect(free.wait(first)).toBeUndefined();
    expect(free.wait(second)).toContain('in flight');
  });

  it.each([
    { when: 'a person asked for it', given: pending(2, { trigger: 'Pin' }), others: [claimed(1)] },
    { when: 'the other one only awaits a run', given: pending(2), others: [claimed(1, { awaitsRun: true })] },
    {
      when: 'the other one is suspended',
      given: pending(2),
      others: [claimed(1, { suspendedTime: '2026-01-05T08:00:00Z' })],
    },
    { when: 'the other one has finished', given: pending(2), others: [finished(1)] },
  ])('does not make it wait when $when', ({ given, others }) => {
    expect(turns(1, given, ...others).wait(given)).toBeUndefined();
  });

  it('forgets those that were ended while they waited', () => {
    const rollouts = [claimed(1), pending(2)];
    const line = new Turns({ rollouts: { list: () => rollouts }, max: 1 });
    line.wait(rollouts[1]!);

    rollouts[1] = imageRollout({ number: 2, status: rolloutStatus('Aborted', 'Pending') });

    expect(line.callUp()).toEqual([]);
  });
});
