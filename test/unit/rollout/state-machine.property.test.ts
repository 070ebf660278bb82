// The laws of the rollout state machine, whatever happens around it. The checks are in the simulator.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  FINISHED_STATES,
  imageRolloutStatus,
  type ImageRolloutStatus,
  type RolloutTarget,
} from '../../../operator/api/image-rollout.ts';
import { nextStep, type RolloutObservation } from '../../../operator/rollout/state-machine.ts';
import { candidate } from '../../support/builders/images.ts';
import { rolloutSpec, rolloutTarget, TO_IMAGE } from '../../support/builders/rollouts.ts';
import { workload } from '../../support/builders/workloads.ts';
import { RolloutSimulator, START_MS, type Action, type Mood, type Settings } from './rollout-simulator.ts';

const DEADLINE_MS = 600_000;
const BACK_DIGEST = `sha256:${'b'.repeat(64)}`;
const GOOD_DIGEST = `sha256:${'9'.repeat(64)}`;

const worker = candidate('1.1.0', 'ghcr.io/acme/worker');

/** What is known to be good for a target. */
type Known = 'back' | 'lastGood' | 'both' | 'nothing';

/** With a web, an init container beside it, and a CronJob. */
function targetsOf(known: Known): readonly RolloutTarget[] {
  const container = (name: string, repository: string, to: string, init = false) => {
    const from = `${repository}:1.0.0`;
    return {
      name,
      init,
      from,
      to,
      ...((known === 'back' || known === 'both') && { back: `${from}@${BACK_DIGEST}` }),
      ...((known === 'lastGood' || known === 'both') && { lastGood: `${repository}:0.9.0@${GOOD_DIGEST}` }),
    };
  };
  const web = 'ghcr.io/acme/web';
  return [
    rolloutTarget({ containers: [container('web', web, TO_IMAGE)] }),
    rolloutTarget({
      kind: 'StatefulSet',
      name: 'db',
      containers: [container('migrate', web, TO_IMAGE, true), container('web', web, TO_IMAGE)],
    }),
    rolloutTarget({
      kind: 'CronJob',
      name: 'nightly',
      containers: [container('job', 'ghcr.io/acme/worker', worker.image)],
    }),
  ];
}

const TARGETS = targetsOf('back');
const INDEXES = [...TARGETS.keys()];

const target = fc.nat({ max: TARGETS.length - 1 });
const settings: fc.Arbitrary<Settings> = fc.record({
  // Also one that is longer than the deadline.
  soak: fc.constantFrom('0s', '5m', '15m'),
  onFailure: fc.constantFrom('RollBack' as const, 'RollBack' as const, 'RollBack' as const, 'Hold' as const),
  atomic: fc.boolean(),
  verify: fc.constantFrom<NonNullable<Settings['verify']>>(
    [],
    [],
    [{ http: { service: 'web', port: 80, path: '/', scheme: 'HTTP' } }],
    [{ http: { service: 'web', port: 80, path: '/', scheme: 'HTTP' } }, { job: { template: { spec: {} } } }],
  ),
});

const always = (
  ...names: ('step' | 'observe' | 'perform' | 'crash' | 'crashAfterWrite' | 'zombiePerform' | 'sync')[]
) => fc.constantFrom(...names).map((name): Action => ({ do: name }));

const operatorAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: always('step') },
  { weight: 3, arbitrary: always('observe', 'perform', 'zombiePerform', 'sync') },
  { weight: 2, arbitrary: always('crash', 'crashAfterWrite') },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((lag): Action => ({ do: 'newLeader', lag })) },
);
const timeAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 2 * DEADLINE_MS }).map((ms): Action => ({ do: 'advance', ms })) },
  { weight: 1, arbitrary: fc.integer({ min: -3_600_000, max: 3_600_000 }).map((ms): Action => ({ do: 'jump', ms })) },
);
const policyAction: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .constantFrom('suspend', 'resume', 'editPolicy', 'block', 'unblock')
      .map((name): Action => ({ do: name })),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom('pin', 'reject', 'supersede', 'deletePolicy').map((name): Action => ({ do: name })),
  },
);
const checkAction: fc.Arbitrary<Action> = fc
  .constantFrom('passed' as const, 'failed' as const, 'pending' as const, 'unknown' as const, 'failedForGood' as const)
  .map((answer): Action => ({ do: 'answer', answer }));
const workloadAction: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        target,
        fc.constantFrom<Mood>(
          'healthy',
          'healthy',
          'progressing',
          'paused',
          'idle',
          'crash',
          'full',
          'awaitingRun',
          'running',
        ),
      )
      .map(([index, mood]): Action => ({ do: 'mood', target: index, mood })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        target,
        fc.constantFrom(
          'setForeign',
          'setFrom',
          'setOneFrom',
          'setTo',
          'strip',
          'touch',
          'delete',
          'removeContainer',
          'refuse',
          'accept',
          'sicken',
        ),
      )
      .map(([index, name]): Action => ({ do: name, target: index })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(target, fc.constantFrom('from', 'to', 'foreign'))
      .map(([index, image]): Action => ({ do: 'recreate', target: index, image })),
  },
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: operatorAction },
  { weight: 1, arbitrary: timeAction },
  { weight: 1, arbitrary: policyAction },
  { weight: 1, arbitrary: checkAction },
  { weight: 3, arbitrary: workloadAction },
);
/** The operator crashes, is replaced and woken up again, and the workloads change in what does not matter. */
const turbulence = fc.oneof(
  operatorAction,
  fc.tuple(target, fc.constant('touch' as const)).map(([index, name]): Action => ({ do: name, target: index })),
);

/** Lets the operator write every target, then gives each the mood. */
function roll(simulator: RolloutSimulator, moodOf: (index: number) => Mood): void {
  for (const index of INDEXES) {
    for (let count = 0; simulator.writes[index] === 0 && count < 20; count += 1) simulator.act({ do: 'step' });
  }
  for (const index of INDEXES) simulator.act({ do: 'mood', target: index, mood: moodOf(index) });
}

describe('nextStep, whatever happens', () => {
  it('keeps every law and comes to an end', () => {
    const ends = new Map<string, number>();
    fc.assert(
      fc.property(
        fc.nat({ max: TARGETS.length - 1 }),
        fc.constantFrom<Known>('back', 'back', 'both', 'lastGood', 'nothing'),
        settings,
        fc.array(action, { maxLength: 70 }),
        (more, known, given, actions) => {
          const simulator = new RolloutSimulator(targetsOf(known).slice(0, more + 1), given);

          for (const next of actions) simulator.act(next);
          simulator.letItFinish();

          const { state } = simulator.status!;
          ends.set(state, (ends.get(state) ?? 0) + 1);
        },
      ),
      { numRuns: 5_000 },
    );
    // A law about an end that is never reached says nothing.
    for (const state of FINISHED_STATES) expect([state, ends.get(state) ?? 0]).toEqual([state, atLeast(25)]);
  }, 60_000);

  it('succeeds with one write per target when the operator crashes and is replaced at every step but nobody else interferes', () => {
    fc.assert(
      fc.property(fc.array(turbulence, { maxLength: 60 }), (actions) => {
        const simulator = new RolloutSimulator(TARGETS);

        for (const next of actions) simulator.act(next);
        roll(simulator, () => 'healthy');
        simulator.letItFinish();

        expect(simulator.status?.state).toBe('Succeeded');
        expect(simulator.writes).toEqual([1, 1, 1]);
        expect(simulator.undos).toEqual([0, 0, 0]);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each<{ bad: Mood; failureClass: string }>([
    { bad: 'crash', failureClass: 'Image' },
    { bad: 'full', failureClass: 'Environment' },
  ])(
    'goes back with one more write per target, through every crash and change of leader, when one is $bad',
    ({ bad, failureClass }) => {
      fc.assert(
        fc.property(
          target,
          fc.array(turbulence, { maxLength: 40 }),
          fc.array(turbulence, { maxLength: 40 }),
          (failing, earlier, later) => {
            const simulator = new RolloutSimulator(TARGETS);

            for (const next of earlier) simulator.act(next);
            roll(simulator, (index) => (index === failing ? bad : 'healthy'));
            for (const next of later) simulator.act(next);
            simulator.letItFinish();

            expect(simulator.status).toMatchObject({ state: 'RolledBack', failure: { class: failureClass } });
            expect(simulator.writes).toEqual([1, 1, 1]);
            expect(simulator.undos).toEqual([1, 1, 1]);
            for (const index of INDEXES) {
              const want = simulator.spec.targets[index]!.containers.map(({ back }) => back);
              expect(simulator.live(index)!.containers.map(({ image }) => image)).toEqual(want);
            }
          },
        ),
        { numRuns: 1_000 },
      );
    },
  );

  it('writes nothing at all to workloads that somebody else has moved first', () => {
    fc.assert(
      fc.property(fc.array(operatorAction, { maxLength: 40 }), (actions) => {
        const simulator = new RolloutSimulator(TARGETS);
        for (const index of INDEXES) simulator.act({ do: 'setForeign', target: index });

        for (const next of actions) simulator.act(next);
        simulator.letItFinish();

        expect(simulator.status?.state).toBe('Aborted');
        expect(simulator.writes).toEqual([0, 0, 0]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('writes nothing any more once a person has pinned another image', () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 40 }),
        fc.array(fc.oneof(operatorAction, timeAction, workloadAction), { maxLength: 40 }),
        (earlier, later) => {
          const simulator = new RolloutSimulator(TARGETS);
          for (const next of earlier) simulator.act(next);
          simulator.act({ do: 'sync' });
          simulator.act({ do: 'pin' });
          // What was decided before the pin is on its way.
          simulator.act({ do: 'observe' });
          const before = [...simulator.writes, ...simulator.undos];

          for (const next of later) if (next.do !== 'zombiePerform') simulator.act(next);
          simulator.letItFinish();

          expect([...simulator.writes, ...simulator.undos]).toEqual(before);
        },
      ),
      { numRuns: 500 },
    );
  });
});

function atLeast(least: number): number {
  return {
    asymmetricMatch: (count: number) => count >= least,
    toString: () => `at least ${least}`,
  } as unknown as number;
}

describe('nextStep, suspended', () => {
  const pauses = fc.array(
    fc.record({ runMs: fc.integer({ min: 0, max: 50_000 }), pauseMs: fc.integer({ min: 0, max: 7_200_000 }) }),
    { maxLength: 8 },
  );

  /** Suspends again and again; nothing may happen meanwhile. Returns for how long. */
  function interrupt(
    simulator: RolloutSimulator,
    plan: readonly { readonly runMs: number; readonly pauseMs: number }[],
    state: string,
  ): number {
    for (const { runMs, pauseMs } of plan) {
      simulator.act({ do: 'advance', ms: runMs });
      simulator.act({ do: 'suspend' });
      simulator.act({ do: 'step' });
      simulator.act({ do: 'advance', ms: pauseMs });
      // However long it lasts, nothing is judged meanwhile.
      simulator.act({ do: 'step' });
      expect(simulator.status?.state).toBe(state);
      simulator.act({ do: 'resume' });
      simulator.act({ do: 'step' });
    }
    return plan.reduce((sum, { pauseMs }) => sum + pauseMs, 0);
  }

  it('fails a stuck workload at its deadline, and an undo that is stuck at its own, time in suspension not counted', () => {
    fc.assert(
      fc.property(pauses, pauses, (plan, undoPlan) => {
        const simulator = new RolloutSimulator(TARGETS.slice(0, 1));
        simulator.act({ do: 'sicken', target: 0 });
        // Claim, write, record.
        for (let count = 0; count < 3; count += 1) simulator.act({ do: 'step' });
        const startMs = simulator.nowMs;

        const pausedMs = interrupt(simulator, plan, 'Verifying');
        const hasFailed = (): boolean => simulator.status?.failure !== undefined;
        for (let count = 0; !hasFailed() && count < 20; count += 1) {
          simulator.act({ do: 'step' });
          if (!hasFailed()) simulator.act({ do: 'advance', ms: 60_000 });
        }
        const failedMs = Date.parse(simulator.status!.failure!.time);
        expect(failedMs - startMs - pausedMs).toBeGreaterThanOrEqual(DEADLINE_MS - 1_000 * (plan.length + 1));
        expect(failedMs - startMs - pausedMs).toBeLessThanOrEqual(DEADLINE_MS + 60_000 + 1_000 * (plan.length + 1));
        // Write back, record.
        for (let count = 0; count < 3; count += 1) simulator.act({ do: 'step' });
        const undoneMs = simulator.nowMs;
        const undoPausedMs = interrupt(simulator, undoPlan, 'RollingBack');
        simulator.letItFinish();

        expect(simulator.status?.state).toBe('RollbackFailed');
        const lastedMs = Date.parse(simulator.status!.endTime!) - undoneMs - undoPausedMs;
        expect(Math.abs(lastedMs - DEADLINE_MS)).toBeLessThanOrEqual(1_000 * (undoPlan.length + 1));
      }),
    );
  });
});

describe('nextStep, with texts from outside', () => {
  /** Long, and with characters that two code units make up, so that a cut may fall between them. */
  const text = fc.oneof(
    fc.string({ minLength: 1, maxLength: 5_000, unit: 'binary' }),
    fc
      .tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 3_000 }))
      .map(([shift, length]) => 'x'.repeat(shift) + '🚢'.repeat(length)),
  );

  it('records what the API server accepts and gives back unchanged', () => {
    fc.assert(
      fc.property(text, text, fc.constantFrom('refused', 'stuck', 'foreign'), (message, tag, kind) => {
        const target = rolloutTarget();
        const status: ImageRolloutStatus = {
          state: kind === 'stuck' ? 'Verifying' : 'Applying',
          claim: { holder: 'a', epoch: 1, time: '2026-01-05T08:00:00Z' },
          startTime: '2026-01-05T08:00:00Z',
          deadlineTime: '2026-01-05T08:10:00Z',
          targets: [{ kind: 'Deployment', name: 'web', state: kind === 'stuck' ? 'Applied' : 'Pending' }],
        };
        const image =
          kind === 'stuck' ? TO_IMAGE : kind === 'foreign' ? `ghcr.io/${message}` : target.containers[0]!.from;
        const observation: RolloutObservation = {
          nowMs: START_MS + 60_000,
          name: 'web-1',
          generation: 1,
          spec: rolloutSpec({
            images: Array.from({ length: 8 }, () => ({
              image: 'i'.repeat(255),
              tag: tag.slice(0, 128),
              digest: candidate().digest,
            })),
          }),
          status,
          policy: { generation: 1, suspend: false },
          claimant: { holder: 'a', epoch: 1 },
          targets: [
            {
              live: workload({ containers: { web: image }, progress: { kind: 'progressing', message: 'on its way' } }),
              ...(kind === 'stuck' && {
                health: {
                  kind: 'failing' as const,
                  class: 'Image' as const,
                  reason: 'Unready',
                  message,
                  isDefinite: false,
                },
              }),
              ...(kind === 'refused' && { writeProblem: message }),
            },
          ],
        };

        const step = nextStep(observation);

        if (step.kind !== 'record' && step.kind !== 'finish') throw new Error(`expected a record, not ${step.kind}`);
        expect(imageRolloutStatus.safeParse(step.status).error).toBeUndefined();
        const stored = JSON.parse(
          JSON.stringify(step.status).replaceAll(/\\ud[89a-f][0-9a-f]{2}/g, '\uFFFD'),
        ) as ImageRolloutStatus;
        expect(nextStep({ ...observation, status: stored }).kind).not.toBe('record');
      }),
    );
  });
});
