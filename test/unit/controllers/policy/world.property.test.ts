// A policy through its days: tags are pushed, moved and deleted, images fail by their own fault or the cluster's, people
// edit, pin, reject and release, the registry goes and comes, and the operator is killed between any two writes. Whatever
// the order of events, all comes to rest, and no image may be written that the rules forbid.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseImage } from '../../../../operator/image/reference.ts';
import { isFinished } from '../../../../operator/rollout/verdict.ts';
import { NAMES, TAGS, World, type Event, type Settings, type Write } from './world.ts';

/** Sequences of events in all laws together. */
const RUNS = 10_000;

const tag = fc.constantFrom<string>(...TAGS);
const name = fc.constantFrom(...NAMES);
const of = <K extends string, T>(kind: K, model: { [P in keyof T]: fc.Arbitrary<T[P]> }) =>
  fc.record({ kind: fc.constant(kind), ...model }) as unknown as fc.Arbitrary<Extract<Event, { kind: K }>>;

const push = of('push', {
  tag,
  quality: fc.constantFrom(
    'good' as const,
    'good' as const,
    'crashes' as const,
    'homeless' as const,
    'slow to fail' as const,
  ),
});
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 5, arbitrary: push },
  of('delete tag', { tag }),
  of('set image', { name, tag }),
  of('suspend', { suspend: fc.boolean() }),
  of('registry', { isUp: fc.boolean() }),
  { weight: 2, arbitrary: of('pin', { tag: fc.option(tag, { nil: undefined }) }) },
  {
    weight: 3,
    arbitrary: of('decide', { decision: fc.constantFrom('Approve', 'Reject', 'Release', 'Resume'), tag }),
  },
  of('recreate', { name }),
  of('pass time', { ms: fc.constantFrom(-600_000, 1_000, 600_000, 7_200_000) }),
  { weight: 3, arbitrary: of('kill', { write: fc.integer({ min: 1, max: 8 }), isAfter: fc.boolean() }) },
);

const settings: fc.Arbitrary<Settings> = fc.record(
  {
    running: fc.tuple(tag, tag),
    onForeignChange: fc.constantFrom('Hold', 'Reassert'),
    onFailure: fc.constantFrom('RollBack', 'RollBack', 'Hold'),
    atomic: fc.boolean(),
    historyLimit: fc.integer({ min: 1, max: 3 }),
    soak: fc.constantFrom('0s', '5m'),
  },
  { requiredKeys: ['running'] },
);

function live(events: readonly Event[], given: Settings): World {
  const world = new World(given);
  world.settle();
  for (const it of events) {
    world.happen(it);
    world.settle();
  }
  return world;
}

const law = (title: string, runs: number, holds: (world: World) => void, events = fc.array(event, { maxLength: 10 })) =>
  it(`${title} (${runs} sequences)`, () => {
    fc.assert(
      fc.property(events, settings, (all, given) => holds(live(all, given))),
      { numRuns: runs },
    );
  });

const PERSONAL = ['Pin', 'Unpin', 'Reject', 'Release', 'Reassert'];
const tagOf = (image: string): string => parseImage(image).tag ?? '';

/** What was written to one workload, in order. */
function historiesOf({ writes }: World): Write[][] {
  const byUid = new Map<string, Write[]>();
  for (const write of writes) byUid.set(write.uid, [...(byUid.get(write.uid) ?? []), write]);
  return [...byUid.values()];
}

describe('decide and the rollout state machine, through the days of a policy', () => {
  law('keep every invariant', RUNS - 1_200, (world) => {
    for (const history of historiesOf(world)) {
      const perRollout = new Map<string, Write[]>();
      for (const write of history) perRollout.set(write.rollout, [...(perRollout.get(write.rollout) ?? []), write]);
      for (const [rollout, writes] of perRollout) {
        // One forward and at most one back.
        expect([rollout, writes.map(({ isBack }) => isBack)]).toEqual([rollout, [false, true].slice(0, writes.length)]);
      }
      for (const [index, { isBack, from, to, trigger, acts }] of history.entries()) {
        // No downgrade, but to undo, or because a person said so.
        if (!isBack && !PERSONAL.includes(trigger)) expect(tagOf(to) >= tagOf(from)).toBe(true);
        if (!isBack) continue;
        // What was undone is not written again, unless a person acted; what failed for the cluster's sake, three times.
        const failed = parseImage(from).digest ?? '';
        const later = history.slice(index + 1).filter((write) => !write.isBack && write.digest === failed);
        const unasked = later.filter((write) => write.acts === acts);
        expect(unasked.every(({ trigger: why }) => why === 'Retry')).toBe(true);
        expect(unasked.length).toBeLessThanOrEqual(2);
      }
    }
    // A failure that is on record has come to its end, unless the policy is suspended.
    for (const { status, metadata } of world.rollouts) {
      if (status?.failure !== undefined && !world.policy.spec.suspend)
        expect([metadata.name, isFinished(status)]).toEqual([metadata.name, true]);
    }
  });

  it('bring a rejected image that a person pins all the same once, though the clock goes back in between', () => {
    const world = live(
      [
        { kind: 'decide', decision: 'Reject', tag: '1.1.0' },
        { kind: 'pass time', ms: -600_000 },
        { kind: 'pin', tag: '1.1.0' },
      ],
      { running: ['1.1.0', '1.0.0'] },
    );

    expect(NAMES.map((name) => tagOf(world.image(name)))).toEqual(['1.1.0', '1.1.0']);
    expect(world.rollouts.filter(({ spec }) => spec.trigger === 'Pin').length).toBeLessThanOrEqual(1);
  });

  law('take a foreign change back at most twice in an hour for a workload', 400, (world) => {
    for (const history of historiesOf(world)) {
      const perAct = new Map<number, number>();
      for (const { trigger, isBack, acts } of history) {
        if (trigger === 'Reassert' && !isBack) perAct.set(acts, (perAct.get(acts) ?? 0) + 1);
      }
      for (const count of perAct.values()) expect(count).toBeLessThanOrEqual(2);
    }
  });

  law(
    'never leave a workload on an image that crashes, where they may undo it and nobody interferes',
    400,
    (world) => {
      if (world.policy.spec.rollout.onFailure === 'Hold') return;
      for (const it of NAMES) expect(world.isGood(world.image(it))).toBe(true);
    },
    fc.array(push, { maxLength: 10 }),
  );

  law(
    'end with nothing below the best tag wherever nothing fails and nobody interferes',
    400,
    (world) => {
      for (const it of NAMES) expect(tagOf(world.image(it)) >= (world.bestTag ?? '')).toBe(true);
    },
    fc.array(of('push', { tag, quality: fc.constant('good' as const) }), { maxLength: 10 }),
  );
});
