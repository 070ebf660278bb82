// The laws of the rollout state machine, whatever happens around it. The checks are in the simulator.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  imageRolloutStatus,
  type ImageRolloutStatus,
  type RolloutTarget,
} from '../../../operator/api/image-rollout.ts';
import { nextStep, type RolloutObservation } from '../../../operator/rollout/state-machine.ts';
import { candidate } from '../../support/builders/images.ts';
import { rolloutSpec, rolloutTarget, TO_IMAGE } from '../../support/builders/rollouts.ts';
import { workload } from '../../support/builders/workloads.ts';
import { RolloutSimulator, START_MS, type Action } from './rollout-simulator.ts';

const DEADLINE_MS = 600_000;

const worker = candidate('1.1.0', 'ghcr.io/acme/worker');
const TARGETS: readonly RolloutTarget[] = [
  rolloutTarget(),
  rolloutTarget({
    kind: 'StatefulSet',
    name: 'db',
    containers: [
      { name: 'migrate', init: true, from: 'ghcr.io/acme/web:1.0.0', to: TO_IMAGE },
      { name: 'web', init: false, from: 'ghcr.io/acme/web:1.0.0', to: TO_IMAGE },
    ],
  }),
  rolloutTarget({
    kind: 'CronJob',
    name: 'nightly',
    containers: [{ name: 'job', init: false, from: 'ghcr.io/acme/worker:1.0.0', to: worker.image }],
  }),
];

const target = fc.nat({ max: TARGETS.length - 1 });
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
    weight: 8,
    arbitrary: fc
      .constantFrom('suspend', 'resume', 'editPolicy', 'block', 'unblock')
      .map((name): Action => ({ do: name })),
  },
  { weight: 1, arbitrary: fc.constant<Action>({ do: 'deletePolicy' }) },
);
const workloadAction: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(target, fc.constantFrom('healthy', 'progressing', 'paused', 'idle'))
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
  { weight: 6, arbitrary: operatorAction },
  { weight: 1, arbitrary: timeAction },
  { weight: 1, arbitrary: policyAction },
  { weight: 3, arbitrary: workloadAction },
);

describe('nextStep, whatever happens', () => {
  it('keeps every law and comes to an end', () => {
    fc.assert(
      fc.property(fc.nat({ max: TARGETS.length - 1 }), fc.array(action, { maxLength: 60 }), (more, actions) => {
        const simulator = new RolloutSimulator(TARGETS.slice(0, more + 1), '10m');

        for (const next of actions) simulator.act(next);
        simulator.letItFinish();

        expect(simulator.isFinished).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  it('succeeds with one write per target when the operator crashes and is replaced at every step but nobody else interferes', () => {
    const turbulence = fc.oneof(
      operatorAction,
      fc.tuple(target, fc.constant('touch' as const)).map(([index, name]): Action => ({ do: name, target: index })),
    );
    fc.assert(
      fc.property(fc.array(turbulence, { maxLength: 60 }), (actions) => {
        const simulator = new RolloutSimulator(TARGETS, '10m');

        for (const next of actions) simulator.act(next);
        for (let index = 0; index < TARGETS.length; index += 1) {
          for (let count = 0; simulator.writes[index] === 0 && count < 20; count += 1) simulator.act({ do: 'step' });
          simulator.act({ do: 'mood', target: index, mood: 'healthy' });
        }
        simulator.letItFinish();

        expect(simulator.status?.state).toBe('Succeeded');
        expect(simulator.writes).toEqual(TARGETS.map(() => 1));
      }),
      { numRuns: 1_000 },
    );
  });

  it('writes nothing at all to workloads that somebody else has moved first', () => {
    fc.assert(
      fc.property(fc.array(operatorAction, { maxLength: 40 }), (actions) => {
        const simulator = new RolloutSimulator(TARGETS, '10m');
        for (let index = 0; index < TARGETS.length; index += 1) simulator.act({ do: 'setForeign', target: index });

        for (const next of actions) simulator.act(next);
        simulator.letItFinish();

        expect(simulator.status?.state).toBe('Aborted');
        expect(simulator.writes).toEqual(TARGETS.map(() => 0));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('nextStep, suspended', () => {
  it('fails a stuck workload at its deadline, time in suspension not counted', () => {
    const pauses = fc.array(
      fc.record({ runMs: fc.integer({ min: 0, max: 50_000 }), pauseMs: fc.integer({ min: 0, max: 7_200_000 }) }),
      {
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(pauses, (plan) => {
        const simulator = new RolloutSimulator([rolloutTarget()], '10m');
        // Claim, write, record.
        for (let count = 0; count < 3; count += 1) simulator.act({ do: 'step' });
        expect(simulator.status?.state).toBe('Verifying');
        const startMs = simulator.nowMs;
        let pausedMs = 0;

        for (const { runMs, pauseMs } of plan) {
          simulator.act({ do: 'advance', ms: runMs });
          simulator.act({ do: 'suspend' });
          simulator.act({ do: 'step' });
          simulator.act({ do: 'advance', ms: pauseMs });
          // However long it lasts, nothing is judged meanwhile.
          simulator.act({ do: 'step' });
          expect(simulator.status?.state).toBe('Verifying');
          simulator.act({ do: 'resume' });
          simulator.act({ do: 'step' });
          pausedMs += pauseMs;
        }
        simulator.letItFinish();

        const toleranceMs = 1_000 * (plan.length + 1);
        expect(simulator.status?.state).toBe('RollbackFailed');
        const failedMs = Date.parse(simulator.status!.failure!.time) - startMs - pausedMs;
        expect(Math.abs(failedMs - DEADLINE_MS)).toBeLessThanOrEqual(toleranceMs);
        // Then it is set back, and that has a deadline of its own.
        const lastedMs = Date.parse(simulator.status!.endTime!) - startMs - pausedMs;
        expect(Math.abs(lastedMs - 2 * DEADLINE_MS)).toBeLessThanOrEqual(2 * toleranceMs);
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
