// Every transition of a rollout and of its targets, one row each.

import { describe, expect, it } from '@jest/globals';
import { updateConditions } from '../../../operator/api/conditions.ts';
import type {
  ImageRolloutSpec,
  ImageRolloutStatus,
  RolloutState,
  RolloutTarget,
  RolloutTargetStatus,
} from '../../../operator/api/image-rollout.ts';
import type { TargetHealth } from '../../../operator/rollout/health/target-health.ts';
import {
  compareImages,
  nextStep,
  type ObservedTarget,
  type RolloutObservation,
  type RolloutStep,
} from '../../../operator/rollout/state-machine.ts';
import { isFinished, isFreezing, isQuarantining, targetImageAfter } from '../../../operator/rollout/verdict.ts';
import type { Progress } from '../../../operator/rollout/workloads/workload.ts';
import { candidate } from '../../support/builders/images.ts';
import { FROM_IMAGE, rolloutSpec, rolloutTarget, TO_IMAGE } from '../../support/builders/rollouts.ts';
import { workload, type WorkloadOptions } from '../../support/builders/workloads.ts';

const START = '2026-01-05T08:00:00Z';
const START_MS = Date.parse(START);
const DEADLINE = '2026-01-05T08:10:00Z';
const DEADLINE_MS = Date.parse(DEADLINE);
const HOTFIX = 'ghcr.io/acme/web:hotfix';
const CLAIMANT = { holder: 'replica-a', epoch: 3 };

const before = (options: WorkloadOptions = {}): ObservedTarget => ({
  live: workload({ containers: { web: FROM_IMAGE }, ...options }),
});
const after = (progress: Progress = { kind: 'healthy' }, options: WorkloadOptions = {}): ObservedTarget => ({
  live: workload({ containers: { web: TO_IMAGE }, rollout: 'web-1', resourceVersion: '1001', progress, ...options }),
});
const foreign = (options: WorkloadOptions = {}): ObservedTarget => ({
  live: workload({ containers: { web: HOTFIX }, imageManagers: ['kubectl-set'], ...options }),
});
const gone: ObservedTarget = {};
const recreated = before({ uid: 'another' });
const progressing: Progress = { kind: 'progressing', message: '1 of 2 pods have the new image' };

function claimed(
  state: RolloutState,
  targetState: RolloutTargetStatus['state'],
  more: Partial<ImageRolloutStatus> = {},
): ImageRolloutStatus {
  return {
    state,
    message: 'so far so good',
    observedGeneration: 1,
    conditions: updateConditions(
      undefined,
      [
        { type: 'Ready', status: 'False', reason: state, message: 'so far so good' },
        { type: 'Reconciling', status: 'True', reason: state, message: 'so far so good' },
      ],
      { generation: 1, nowMs: START_MS },
    ),
    claim: { ...CLAIMANT, time: START },
    startTime: START,
    deadlineTime: DEADLINE,
    targets: [{ kind: 'Deployment', name: 'web', state: targetState, resourceVersion: '1000' }],
    ...more,
  };
}

function observe(options: Partial<RolloutObservation> = {}): RolloutObservation {
  return {
    nowMs: START_MS,
    name: 'web-1',
    generation: 1,
    spec: rolloutSpec(),
    policy: { generation: 1, suspend: false },
    claimant: CLAIMANT,
    targets: [before()],
    ...options,
  };
}

/** The step's status; fails the test when the step is of another kind. */
function statusOf(step: RolloutStep, kind: 'record' | 'finish'): ImageRolloutStatus {
  if (step.kind !== kind) throw new Error(`expected ${kind}, not ${JSON.stringify(step)}`);
  return step.status;
}

/** Looks again and again with the same facts until there is nothing to record. */
function settle(observation: RolloutObservation): {
  readonly step: RolloutStep;
  readonly status: ImageRolloutStatus | undefined;
} {
  let { status } = observation;
  for (let count = 0; count < 10; count += 1) {
    const step = nextStep({ ...observation, ...(status !== undefined && { status }) });
    if (step.kind !== 'record') return { step, status: step.kind === 'finish' ? step.status : status };
    ({ status } = step);
  }
  throw new Error(`does not come to rest: ${JSON.stringify(status)}`);
}

describe('compareImages', () => {
  const two = rolloutTarget({
    containers: [
      { name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE },
      { name: 'migrate', init: true, from: FROM_IMAGE, to: TO_IMAGE },
    ],
  });
  const live = (web: string, migrate: string) => workload({ containers: { web }, initContainers: { migrate } });

  it.each([
    { when: 'every container is at from', given: live(FROM_IMAGE, FROM_IMAGE), want: 'before' },
    { when: 'every container is at to', given: live(TO_IMAGE, TO_IMAGE), want: 'after' },
    { when: 'one container is at to', given: live(TO_IMAGE, FROM_IMAGE), want: 'before' },
    { when: 'one container has another image', given: live(TO_IMAGE, HOTFIX), want: 'foreign' },
    {
      when: 'the image names the same tag without the digest',
      given: live('ghcr.io/acme/web:1.1.0', TO_IMAGE),
      want: 'foreign',
    },
    { when: 'a container is missing', given: workload({ containers: { web: FROM_IMAGE } }), want: 'foreign' },
    {
      when: 'the init container became an ordinary one',
      given: workload({ containers: { web: FROM_IMAGE, migrate: FROM_IMAGE } }),
      want: 'foreign',
    },
    {
      when: 'other containers have any image',
      given: workload({ containers: { proxy: 'envoy:1', web: TO_IMAGE }, initContainers: { migrate: TO_IMAGE } }),
      want: 'after',
    },
    { when: 'it was created anew', given: workload({ uid: 'another', containers: { web: TO_IMAGE } }), want: 'gone' },
    { when: 'it was deleted', given: undefined, want: 'gone' },
  ])('is $want when $when', ({ given, want }) => {
    expect(compareImages(two, given)).toBe(want);
  });
});

describe('isFinished', () => {
  it.each([
    { given: undefined, want: false },
    { given: { state: 'Pending' as const }, want: false },
    { given: { state: 'Applying' as const }, want: false },
    { given: { state: 'Verifying' as const }, want: false },
    { given: { state: 'Succeeded' as const }, want: true },
    { given: { state: 'Held' as const }, want: true },
    { given: { state: 'Aborted' as const }, want: true },
  ])('is $want for $given', ({ given, want }) => {
    expect(isFinished(given)).toBe(want);
  });
});

describe('nextStep, pending', () => {
  it('claims: who, when, until when and at which version of the workload, and says so in conditions', () => {
    const status = statusOf(nextStep(observe()), 'record');

    expect(status).toMatchObject({
      state: 'Applying',
      observedGeneration: 1,
      claim: { ...CLAIMANT, time: START },
      startTime: START,
      deadlineTime: DEADLINE,
      targets: [{ kind: 'Deployment', name: 'web', state: 'Pending', resourceVersion: '1000' }],
    });
    expect(status.conditions?.map(({ type, status: is, reason }) => [type, is, reason])).toEqual([
      ['Ready', 'False', 'Applying'],
      ['Reconciling', 'True', 'Applying'],
    ]);
  });

  it('rounds the deadline up to the second, never down', () => {
    const status = statusOf(nextStep(observe({ nowMs: START_MS + 1 })), 'record');

    expect(status.deadlineTime).toBe('2026-01-05T08:10:01Z');
  });

  it('waits for the rollout that has one of the workloads, and claims once that is over', () => {
    const status = statusOf(nextStep(observe({ blockedBy: 'api-7' })), 'record');

    expect(status).toMatchObject({ state: 'Pending', message: expect.stringContaining('api-7') });
    expect(status.claim).toBeUndefined();
    expect(nextStep(observe({ blockedBy: 'api-7', status }))).toEqual({ kind: 'wait' });
    expect(statusOf(nextStep(observe({ status })), 'record').state).toBe('Applying');
  });

  it('does not claim while the policy is suspended', () => {
    const suspended = { policy: { generation: 1, suspend: true } };

    const status = statusOf(nextStep(observe(suspended)), 'record');

    expect(status.state).toBe('Pending');
    expect(nextStep(observe({ ...suspended, status }))).toEqual({ kind: 'wait' });
  });

  it.each([
    { when: 'the policy was edited', policy: { generation: 2, suspend: false } },
    { when: 'the policy was edited to be suspended', policy: { generation: 2, suspend: true } },
    { when: 'the policy is gone', policy: undefined },
  ])('is aborted when $when', ({ policy }) => {
    const { policy: _, ...rest } = observe();

    const step = nextStep({ ...rest, ...(policy && { policy }) });

    expect(statusOf(step, 'finish')).toMatchObject({ state: 'Aborted', endTime: START });
  });

  it('leaves a mark alone that it cannot have set, because it was never claimed', () => {
    const step = nextStep(
      observe({ policy: { generation: 2, suspend: false }, targets: [before({ rollout: 'web-1' })] }),
    );

    expect(step).toMatchObject({ kind: 'finish', release: [] });
  });
});

describe('nextStep, applying', () => {
  const applying = (more: Partial<RolloutObservation> = {}) =>
    observe({ status: claimed('Applying', 'Pending'), ...more });

  it('writes a workload that is as it was', () => {
    expect(nextStep(applying())).toEqual({ kind: 'apply', index: 0 });
  });

  it('writes a workload whose health or labels changed since the claim', () => {
    expect(nextStep(applying({ targets: [before({ resourceVersion: '1007', progress: progressing })] }))).toEqual({
      kind: 'apply',
      index: 0,
    });
  });

  it('goes on to verify when it is written, with a deadline that starts now', () => {
    const nowMs = START_MS + 120_000;

    const status = statusOf(nextStep(applying({ nowMs, targets: [after(progressing)] })), 'record');

    expect(status).toMatchObject({
      state: 'Verifying',
      deadlineTime: '2026-01-05T08:12:00Z',
      targets: [{ state: 'Applied', appliedTime: '2026-01-05T08:02:00Z' }],
    });
  });

  it('does not claim to have written what somebody else did', () => {
    const [target] = statusOf(
      nextStep(applying({ targets: [{ live: workload({ containers: { web: TO_IMAGE } }) }] })),
      'record',
    ).targets!;

    expect(target).toMatchObject({ state: 'Applied' });
    expect(target).not.toHaveProperty('appliedTime');
  });

  it('makes a new leader claim before it writes', () => {
    const claimant = { holder: 'replica-b', epoch: 4 };

    const status = statusOf(nextStep(applying({ claimant })), 'record');

    expect(status).toMatchObject({ state: 'Applying', claim: claimant, deadlineTime: DEADLINE });
    expect(nextStep(applying({ claimant, status }))).toEqual({ kind: 'apply', index: 0 });
  });

  it('makes another replica claim though its epoch is the same, as after somebody deleted the Lease', () => {
    const claimant = { ...CLAIMANT, holder: 'replica-b' };

    const nowMs = START_MS + 15_000;
    expect(statusOf(nextStep(applying({ claimant, nowMs })), 'record').claim).toMatchObject(claimant);
  });

  it.each([
    { when: 'an equal', claimant: { ...CLAIMANT, holder: 'replica-b' } },
    { when: 'a later leader', claimant: { holder: 'replica-b', epoch: CLAIMANT.epoch - 1 } },
  ])('leaves the fresh claim of $when alone, so that two leaders cannot take turns for ever', ({ claimant }) => {
    expect(nextStep(applying({ claimant, nowMs: START_MS + 1_000 }))).toEqual({
      kind: 'wait',
      wakeAtMs: START_MS + 15_000,
    });
  });

  it('takes over a claim of the future, which only a wrong clock wrote', () => {
    const claimant = { ...CLAIMANT, holder: 'replica-b' };

    expect(statusOf(nextStep(applying({ claimant, nowMs: START_MS - 1_000 })), 'record').claim).toMatchObject(claimant);
  });

  it('makes the same replica claim again when it lost the lease in between', () => {
    const step = nextStep(applying({ claimant: { ...CLAIMANT, epoch: 5 } }));

    expect(statusOf(step, 'record').claim).toMatchObject({ ...CLAIMANT, epoch: 5 });
  });

  it.each<{ when: string; given: ObservedTarget; want: RolloutTargetStatus['state']; says: string }>([
    {
      when: 'somebody set another image',
      given: foreign(),
      want: 'Contested',
      says: `kubectl-set set container web to ${HOTFIX}`,
    },
    {
      when: 'the container is missing',
      given: { live: workload({ containers: { app: FROM_IMAGE } }) },
      want: 'Contested',
      says: 'container web no longer exists',
    },
    { when: 'it was deleted', given: gone, want: 'Gone', says: 'Deployment web was deleted or created anew' },
    { when: 'it was created anew', given: recreated, want: 'Gone', says: 'created anew' },
  ])('writes nothing when $when', ({ given, want, says }) => {
    const { step, status } = settle(applying({ targets: [given] }));

    expect(step.kind).toBe('finish');
    expect(status).toMatchObject({
      state: 'Aborted',
      targets: [{ state: want, message: expect.stringContaining(says) }],
    });
    expect(status?.targets?.[0]).not.toHaveProperty('appliedTime');
  });

  describe('when a write was not yet on record', () => {
    it.each<{ when: string; given: ObservedTarget }>([
      { when: 'set back', given: before({ rollout: 'web-1', resourceVersion: '1002' }) },
      { when: 'set to another image', given: foreign({ rollout: 'web-1', resourceVersion: '1002' }) },
    ])('does not write again what somebody has $when, and remembers that it wrote', ({ given }) => {
      const { step, status } = settle(applying({ targets: [given] }));

      expect(step).toMatchObject({ kind: 'finish', release: [0] });
      expect(status).toMatchObject({ state: 'Aborted', targets: [{ state: 'Contested', appliedTime: START }] });
    });

    it('takes no mark for its own that was there before the claim', () => {
      expect(nextStep(applying({ targets: [before({ rollout: 'web-1', resourceVersion: '1000' })] }))).toEqual({
        kind: 'apply',
        index: 0,
      });
    });
  });

  describe('when a write is refused', () => {
    const refused: ObservedTarget = { ...before(), writeProblem: 'admission webhook "images" denied the request' };

    it('records the reason once and tries again', () => {
      const status = statusOf(nextStep(applying({ targets: [refused] })), 'record');

      expect(status).toMatchObject({
        state: 'Applying',
        message: refused.writeProblem,
        targets: [{ state: 'Pending', message: refused.writeProblem }],
      });
      expect(nextStep(applying({ status, targets: [refused] }))).toEqual({ kind: 'apply', index: 0 });
      expect(nextStep(applying({ status }))).toEqual({ kind: 'apply', index: 0 });
    });

    it('fails at the deadline with that reason, also when nobody remembers it but the record', () => {
      const status = statusOf(nextStep(applying({ targets: [refused] })), 'record');

      const end = settle(applying({ status, nowMs: DEADLINE_MS }));

      expect(end.status).toMatchObject({
        state: 'RolledBack',
        failure: { class: 'Environment', reason: 'WriteRefused', message: `Deployment web: ${refused.writeProblem}` },
        targets: [{ state: 'Skipped', message: refused.writeProblem }],
      });
    });

    it('forgets the reason when it could be written after all', () => {
      const status = statusOf(nextStep(applying({ targets: [refused] })), 'record');

      const [target] = statusOf(nextStep(applying({ status, targets: [after()] })), 'record').targets!;

      expect(target).not.toHaveProperty('message');
    });

    it('does not write the others after it has given up', () => {
      const spec = rolloutSpec({ targets: [rolloutTarget(), rolloutTarget({ name: 'api' })] });
      const status = claimed('Applying', 'Pending', {
        targets: [
          { kind: 'Deployment', name: 'web', state: 'Pending', message: 'denied' },
          { kind: 'Deployment', name: 'api', state: 'Pending' },
        ],
      });

      const end = settle(observe({ spec, status, nowMs: DEADLINE_MS, targets: [before(), before({ name: 'api' })] }));

      expect(end.status).toMatchObject({
        state: 'RolledBack',
        targets: [
          { state: 'Skipped', message: 'denied' },
          { state: 'Skipped', message: expect.stringContaining('not written') },
        ],
      });
    });
  });

  it('still makes a write that was never tried, though nobody was there until after the deadline', () => {
    expect(nextStep(applying({ nowMs: DEADLINE_MS + 3_600_000 }))).toEqual({ kind: 'apply', index: 0 });
  });

  it('puts each write on record before the next one', () => {
    const spec = rolloutSpec({ targets: [rolloutTarget(), rolloutTarget({ name: 'api' })] });
    const status = claimed('Applying', 'Pending', {
      targets: [
        { kind: 'Deployment', name: 'web', state: 'Pending', resourceVersion: '1000' },
        { kind: 'Deployment', name: 'api', state: 'Pending', resourceVersion: '1000' },
      ],
    });
    const targets = [after(), before({ name: 'api' })];

    expect(nextStep(observe({ spec, status, targets: [before(), before({ name: 'api' })] }))).toEqual({
      kind: 'apply',
      index: 0,
    });

    const recorded = statusOf(nextStep(observe({ spec, status, targets })), 'record');

    expect(recorded).toMatchObject({
      state: 'Applying',
      targets: [{ state: 'Applied', appliedTime: START }, { state: 'Pending' }],
    });
    expect(nextStep(observe({ spec, status: recorded, targets }))).toEqual({ kind: 'apply', index: 1 });
  });

  it('leaves the workloads as they are when the policy is deleted, and takes its marks off', () => {
    const { policy: _, ...rest } = applying({ targets: [after(progressing)] });
    // What the mark proves is on record before it is taken off.
    const recorded = statusOf(nextStep(rest), 'record');
    expect(recorded).toMatchObject({ state: 'Applying', targets: [{ state: 'Applied', appliedTime: START }] });

    const step = nextStep({ ...rest, status: recorded });

    expect(step).toMatchObject({ kind: 'finish', release: [0], status: { state: 'Aborted' } });
  });

  it('goes on when the policy is edited', () => {
    expect(nextStep(applying({ policy: { generation: 9, suspend: false } }))).toEqual({ kind: 'apply', index: 0 });
  });

  it('goes on though another rollout is older', () => {
    expect(nextStep(applying({ blockedBy: 'api-7' }))).toEqual({ kind: 'apply', index: 0 });
  });
});

describe('nextStep, verifying', () => {
  const verifying = (given: ObservedTarget, more: Partial<RolloutObservation> = {}) =>
    observe({
      status: claimed('Verifying', 'Applied', {
        targets: [{ kind: 'Deployment', name: 'web', state: 'Applied', appliedTime: START }],
      }),
      targets: [given],
      ...more,
    });

  it.each<{
    when: string;
    given: ObservedTarget;
    want: RolloutState;
    target: RolloutTargetStatus['state'];
    unproven?: true;
    says: string;
  }>([
    {
      when: 'it is healthy',
      given: after(),
      want: 'Succeeded',
      target: 'Healthy',
      says: '1 workload runs ghcr.io/acme/web:1.1.0',
    },
    {
      when: 'it is scaled to zero',
      given: after({ kind: 'idle', message: 'the Deployment is scaled to zero' }),
      want: 'Succeeded',
      target: 'Healthy',
      unproven: true,
      says: 'unproven',
    },
    {
      when: 'somebody set another image',
      given: foreign(),
      want: 'Aborted',
      target: 'Contested',
      says: `kubectl-set set container web to ${HOTFIX}`,
    },
    {
      when: 'somebody set it back',
      given: before({ imageManagers: ['kubectl'] }),
      want: 'Aborted',
      target: 'Contested',
      says: 'set back to what it was before',
    },
    { when: 'it was deleted', given: gone, want: 'Aborted', target: 'Gone', says: 'every workload is gone' },
    { when: 'it was created anew', given: recreated, want: 'Aborted', target: 'Gone', says: 'every workload is gone' },
  ])('ends $want when $when', ({ given, want, target, unproven, says }) => {
    const step = nextStep(verifying(given));

    const status = statusOf(step, 'finish');
    expect(status).toMatchObject({
      state: want,
      endTime: START,
      targets: [{ state: target, appliedTime: START }],
      message: expect.stringContaining(says),
    });
    expect(status.unproven).toBe(unproven);
    expect(step).toMatchObject({ release: given.live?.rollout === 'web-1' ? [0] : [] });
  });

  it('waits for a workload on its way, says what for, and wakes at the deadline', () => {
    const observation = verifying({
      ...after(progressing),
      health: {
        kind: 'failing',
        class: 'Environment',
        reason: 'ImagePullBackOff',
        message: 'container web of pod web-1: ImagePullBackOff',
        isDefinite: false,
      },
    });

    const status = statusOf(nextStep(observation), 'record');

    expect(status).toMatchObject({ state: 'Verifying', targets: [{ state: 'Applied' }] });
    expect(status.message).toBe('Deployment web: container web of pod web-1: ImagePullBackOff');
    expect(nextStep({ ...observation, status })).toEqual({ kind: 'wait', wakeAtMs: DEADLINE_MS });
  });

  it.each<{ atMs: number; progress: Progress; want: RolloutState | 'waits'; unproven?: true }>([
    { atMs: DEADLINE_MS - 1, progress: progressing, want: 'waits' },
    { atMs: DEADLINE_MS, progress: progressing, want: 'Held' },
    { atMs: DEADLINE_MS, progress: { kind: 'healthy' }, want: 'Succeeded' },
    { atMs: DEADLINE_MS - 1, progress: { kind: 'paused', message: 'the Deployment is paused' }, want: 'waits' },
    {
      atMs: DEADLINE_MS,
      progress: { kind: 'paused', message: 'the Deployment is paused' },
      want: 'Succeeded',
      unproven: true,
    },
  ])('at $atMs a workload that is $progress.kind: $want', ({ atMs, progress, want, unproven }) => {
    const { step, status } = settle(verifying(after(progress), { nowMs: atMs }));

    expect(step.kind === 'finish' ? step.status.state : 'waits').toBe(want);
    expect(status?.unproven).toBe(unproven);
  });

  it('says what failed and that it was left as it is', () => {
    const status = statusOf(nextStep(verifying(after(progressing), { nowMs: DEADLINE_MS })), 'finish');

    expect(status.message).toBe(
      'it could not run (ProgressDeadlineExceeded): not healthy within 10m. Deployment web: 1 of 2 pods have the new image. RollbackBlocked: no image is known to be good, so it is left as it is',
    );
    expect(status.targets).toMatchObject([{ state: 'Failed', message: '1 of 2 pods have the new image' }]);
    expect(status.conditions?.map(({ type, status: is, reason }) => [type, is, reason])).toEqual([
      ['Ready', 'False', 'Held'],
      ['Stalled', 'True', 'Held'],
    ]);
  });

  it('reads health anew when a workload that was healthy is not any more', () => {
    const status = claimed('Verifying', 'Healthy');

    expect(statusOf(nextStep(observe({ status, targets: [after(progressing)] })), 'record').targets).toMatchObject([
      { state: 'Applied' },
    ]);
  });

  describe('with several workloads', () => {
    const spec = rolloutSpec({ targets: [rolloutTarget(), rolloutTarget({ name: 'api' })] });
    const both = (a: ObservedTarget, b: ObservedTarget, nowMs = START_MS) =>
      settle(
        observe({
          spec,
          nowMs,
          targets: [a, b],
          status: claimed('Verifying', 'Applied', {
            targets: spec.targets.map(({ kind, name }) => ({
              kind,
              name,
              state: 'Applied' as const,
              appliedTime: START,
            })),
          }),
        }),
      );
    const api = (progress?: Progress) => after(progress, { name: 'api' });

    it.each<{ when: string; a: ObservedTarget; b: ObservedTarget; late?: true; want: RolloutState | 'waits' }>([
      { when: 'both are healthy', a: after(), b: api(), want: 'Succeeded' },
      { when: 'one is still on its way', a: after(), b: api(progressing), want: 'waits' },
      { when: 'one is gone and the other is healthy', a: gone, b: api(), want: 'Succeeded' },
      { when: 'both are gone', a: gone, b: gone, want: 'Aborted' },
      { when: 'one failed', a: after(progressing), b: api(), late: true, want: 'Held' },
      {
        when: 'one failed and the other is contested',
        a: after(progressing),
        b: foreign({ name: 'api' }),
        late: true,
        want: 'Aborted',
      },
      { when: 'one is contested and the other on its way', a: foreign(), b: api(progressing), want: 'Aborted' },
      { when: 'one is contested and the other is healthy', a: foreign(), b: api(), want: 'Aborted' },
    ])('$want when $when', ({ a, b, late, want }) => {
      const { step } = both(a, b, late ? DEADLINE_MS : START_MS);

      expect(step.kind === 'finish' ? step.status.state : `${step.kind}s`).toBe(want);
    });

    it('counts only those that run it', () => {
      expect(both(after(), api()).status?.message).toBe('2 workloads run ghcr.io/acme/web:1.1.0');
      expect(both(gone, api()).status?.message).toBe('1 workload runs ghcr.io/acme/web:1.1.0');
    });
  });
});

describe('nextStep, suspended', () => {
  const suspended = { policy: { generation: 2, suspend: true } };
  const resumed = { policy: { generation: 3, suspend: false } };

  it.each([
    { state: 'Applying' as const, target: 'Pending' as const, given: before() },
    { state: 'Verifying' as const, target: 'Applied' as const, given: after(progressing) },
  ])('pauses while $state, writes nothing, and is late by as long as it lasted', ({ state, target, given }) => {
    const paused = statusOf(
      nextStep(observe({ ...suspended, status: claimed(state, target), targets: [given] })),
      'record',
    );
    expect(paused).toMatchObject({ state, suspendedTime: START, deadlineTime: DEADLINE });

    // A day later, long after the deadline.
    const nowMs = START_MS + 86_400_000;
    expect(nextStep(observe({ ...suspended, status: paused, targets: [given], nowMs }))).toEqual({ kind: 'wait' });

    const goesOn = statusOf(nextStep(observe({ ...resumed, status: paused, targets: [given], nowMs })), 'record');
    expect(goesOn).toMatchObject({ state, deadlineTime: '2026-01-06T08:10:00Z' });
    expect(goesOn).not.toHaveProperty('suspendedTime');
  });

  it('judges nothing before it goes on', () => {
    const status = claimed('Verifying', 'Applied', { suspendedTime: START });

    expect(nextStep(observe({ ...suspended, status, targets: [foreign()] }))).toEqual({ kind: 'wait' });
  });

  it('does not shorten the deadline when the clock jumped back meanwhile', () => {
    const status = claimed('Verifying', 'Applied', { suspendedTime: START });

    const goesOn = statusOf(nextStep(observe({ ...resumed, status, nowMs: START_MS - 3_600_000 })), 'record');

    expect(goesOn.deadlineTime).toBe(DEADLINE);
  });

  it('ends when the policy is deleted', () => {
    const { policy: _, ...rest } = observe({
      status: claimed('Verifying', 'Applied', { suspendedTime: START }),
      targets: [after()],
    });

    const status = statusOf(nextStep(rest), 'finish');

    expect(status.state).toBe('Aborted');
    expect(status).not.toHaveProperty('suspendedTime');
  });
});

describe('nextStep, finished', () => {
  it.each(['Succeeded', 'Held', 'Aborted'] as const)('stays %s whatever is seen', (state) => {
    const status = claimed(state, 'Applied', { endTime: START });
    const { policy: _, ...withoutPolicy } = observe({ status, targets: [foreign()] });

    expect(nextStep(observe({ status, targets: [before()] }))).toEqual({ kind: 'wait' });
    expect(
      nextStep(observe({ status, targets: [after({ kind: 'healthy' })], claimant: { holder: 'b', epoch: 9 } })),
    ).toEqual({ kind: 'wait' });
    expect(nextStep(withoutPolicy)).toEqual({ kind: 'wait' });
  });

  it('takes off its own marks only', () => {
    const spec = rolloutSpec({ targets: [rolloutTarget(), rolloutTarget({ name: 'api' })] });
    const status = claimed('Verifying', 'Applied', {
      targets: spec.targets.map(({ kind, name }) => ({ kind, name, state: 'Applied' as const })),
    });
    const targets = [after({ kind: 'healthy' }, { rollout: 'api-9' }), after({ kind: 'healthy' }, { name: 'api' })];

    expect(nextStep(observe({ spec, status, targets }))).toMatchObject({ kind: 'finish', release: [1] });
  });

  it('has not ended before it began, though the clock jumped back', () => {
    const status = statusOf(
      nextStep(observe({ status: claimed('Verifying', 'Applied'), targets: [after()], nowMs: START_MS - 3_600_000 })),
      'finish',
    );

    expect(status.endTime).toBe(START);
  });
});

describe('nextStep, when the windows shut while it waits', () => {
  const shut = 'outside of the allowed windows, and the next opens 2026-01-05 22:00 UTC';

  it('is given up before anything was changed, and goes on once it has begun', () => {
    expect(statusOf(nextStep(observe({ shut })), 'finish')).toMatchObject({
      state: 'Aborted',
      message: expect.stringContaining(`${shut}, before anything was changed`),
    });

    expect(nextStep(observe({ shut, status: claimed('Applying', 'Pending') }))).toMatchObject({ kind: 'apply' });
  });
});

describe('nextStep, when it fails', () => {
  const GOOD = candidate('0.9.0').image;
  const BACK = candidate('1.0.0').image;
  const crash: TargetHealth = {
    kind: 'failing',
    class: 'Image',
    reason: 'CrashLoopBackOff',
    message: 'container web of pod web-1: CrashLoopBackOff: Error with exit code 1',
    isDefinite: true,
  };
  const full: TargetHealth = {
    ...crash,
    class: 'Environment',
    reason: 'Unschedulable',
    message: 'no room',
    isDefinite: false,
  };
  const container = { name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE, back: BACK, lastGood: BACK };
  const spec = (
    settings: Partial<ImageRolloutSpec['settings']> = {},
    containers: RolloutTarget['containers'] = [container],
  ) =>
    rolloutSpec({
      targets: [rolloutTarget({ containers })],
      settings: { ...rolloutSpec().settings, ...settings },
    });
  const restored = (image = BACK, progress: Progress = { kind: 'healthy' }): ObservedTarget => ({
    live: workload({ containers: { web: image }, rollout: 'web-1', resourceVersion: '1002', progress }),
  });
  const written: RolloutTargetStatus = {
    kind: 'Deployment',
    name: 'web',
    state: 'Applied',
    undo: 'Back',
    resourceVersion: '1000',
    appliedTime: START,
  };
  const verifyingWith = (health: TargetHealth, more: Partial<RolloutObservation> = {}): RolloutObservation =>
    observe({
      spec: spec(),
      status: claimed('Verifying', 'Applied', { targets: [written] }),
      targets: [{ ...after(), health }],
      ...more,
    });

  it.each<{
    when: string;
    progress: Progress;
    back?: string;
    lastGood?: string;
    want: RolloutTargetStatus['undo'];
  }>([
    { when: 'it was healthy', progress: { kind: 'healthy' }, back: BACK, lastGood: BACK, want: 'Back' },
    { when: 'nothing ran', progress: { kind: 'idle', message: 'zero' }, back: BACK, want: 'Back' },
    {
      when: 'it was not healthy, and another image was good',
      progress: progressing,
      back: BACK,
      lastGood: GOOD,
      want: 'LastGood',
    },
    {
      when: 'it was not healthy, and the image was the last good one',
      progress: progressing,
      back: BACK,
      lastGood: BACK,
      want: 'Blocked',
    },
    {
      when: 'it was not healthy, and no image is known to be good',
      progress: progressing,
      back: BACK,
      want: 'Blocked',
    },
    { when: 'the image before is in quarantine', progress: { kind: 'healthy' }, lastGood: GOOD, want: 'LastGood' },
    {
      when: 'the image before is in quarantine, and there is no other',
      progress: { kind: 'healthy' },
      want: 'Blocked',
    },
  ])('settles at the claim what an undo brings back: $want when $when', ({ progress, back, lastGood, want }) => {
    const { back: _, lastGood: __, ...bare } = container;
    const containers = [{ ...bare, ...(back && { back }), ...(lastGood && { lastGood }) }];

    const status = statusOf(
      nextStep(observe({ spec: spec({}, containers), targets: [before({ progress })] })),
      'record',
    );

    expect(status.targets).toMatchObject([{ undo: want }]);
  });

  it.each<{
    when: string;
    health: TargetHealth;
    lastGood?: string;
    want: RolloutTargetStatus['undo'];
  }>([
    { when: 'pods come and go', health: { kind: 'progressing', message: '2 of 3 pods' }, want: 'Back' },
    { when: 'pods of a proven image have no room', health: full, lastGood: BACK, want: 'Back' },
    { when: 'pods of an image that nobody has proven are not up', health: full, want: 'Blocked' },
    { when: 'pods of a proven image crash all the same', health: crash, lastGood: BACK, want: 'Blocked' },
    { when: 'its pods crash, and another image was good', health: crash, lastGood: GOOD, want: 'LastGood' },
  ])('settles by what the pods say what an undo brings back: $want when $when', ({ health, lastGood, want }) => {
    const { lastGood: _, ...bare } = container;
    const containers = [{ ...bare, ...(lastGood && { lastGood }) }];
    const target: ObservedTarget = { ...before({ progress: progressing }), health };

    const status = statusOf(nextStep(observe({ spec: spec({}, containers), targets: [target] })), 'record');

    expect(status.targets).toMatchObject([{ undo: want }]);
  });

  it('records a definite failure of the image before it sets anything back', () => {
    const status = statusOf(nextStep(verifyingWith(crash)), 'record');

    expect(status).toMatchObject({
      state: 'RollingBack',
      failure: {
        class: 'Image',
        reason: 'CrashLoopBackOff',
        message: expect.stringContaining('exit code 1'),
        time: START,
      },
      targets: [{ state: 'Undoing' }],
    });
    expect(isQuarantining({ spec: spec(), status })).toBe(true);
    expect(nextStep(verifyingWith(crash, { status }))).toEqual({ kind: 'undo', index: 0 });
  });

  it('waits for the deadline when the failure may pass, and quarantines nothing', () => {
    const { step, status: waiting } = settle(verifyingWith(full));
    expect(step).toEqual({ kind: 'wait', wakeAtMs: DEADLINE_MS });

    const late = statusOf(nextStep(verifyingWith(full, { status: waiting!, nowMs: DEADLINE_MS })), 'record');

    expect(late).toMatchObject({ state: 'RollingBack', failure: { class: 'Environment', reason: 'Unschedulable' } });
    expect(isQuarantining({ spec: spec(), status: late })).toBe(false);
    expect(isQuarantining({ spec: { ...spec(), attempt: 3 }, status: late })).toBe(true);
  });

  it('ends RolledBack when the image before is healthy again, and the mark is taken off', () => {
    const rollingBack = statusOf(nextStep(verifyingWith(crash)), 'record');

    const { step, status } = settle(verifyingWith(crash, { status: rollingBack, targets: [restored()] }));

    expect(step).toMatchObject({ kind: 'finish', release: [0] });
    expect(status).toMatchObject({
      state: 'RolledBack',
      targets: [{ state: 'Restored', undoTime: START }],
      failure: { class: 'Image' },
    });
    expect(targetImageAfter({ spec: spec(), status: status! }, 0, 'web')).toBe(BACK);
  });

  it('waits for the image before to become healthy, and ends RollbackFailed at the deadline', () => {
    const rollingBack = statusOf(nextStep(verifyingWith(crash)), 'record');
    const given = verifyingWith(crash, { status: rollingBack, targets: [restored(BACK, progressing)] });
    const { step, status } = settle(given);
    expect(step).toEqual({ kind: 'wait', wakeAtMs: DEADLINE_MS });

    const end = settle({ ...given, status: status!, nowMs: DEADLINE_MS });

    expect(end.status).toMatchObject({ state: 'RollbackFailed', targets: [{ state: 'UndoFailed' }] });
    expect(isFreezing({ spec: spec(), status: end.status! })).toBe(true);
  });

  it.each<{
    when: string;
    settings?: Partial<ImageRolloutSpec['settings']>;
    undo: RolloutTargetStatus['undo'];
    says: string;
  }>([
    {
      when: 'onFailure is Hold',
      settings: { onFailure: 'Hold' },
      undo: 'Back',
      says: 'left as it is, as onFailure says',
    },
    { when: 'there is nothing good to go back to', undo: 'Blocked', says: 'RollbackBlocked' },
  ])('is Held, and nothing is set back, when $when', ({ settings, undo, says }) => {
    const given = verifyingWith(crash, {
      spec: spec(settings),
      status: claimed('Verifying', 'Applied', { targets: [{ ...written, undo }] }),
    });

    const status = statusOf(nextStep(given), 'finish');

    expect(status).toMatchObject({
      state: 'Held',
      message: expect.stringContaining(says),
      failure: { class: 'Image' },
    });
  });

  it('does not write over an image that somebody set while it goes back', () => {
    const rollingBack = statusOf(nextStep(verifyingWith(crash)), 'record');

    const { step, status } = settle(verifyingWith(crash, { status: rollingBack, targets: [foreign()] }));

    expect(step.kind).toBe('finish');
    expect(status).toMatchObject({ targets: [{ state: 'Contested' }], failure: { class: 'Image' } });
  });

  it('fails by a rejection of its digest, and goes back', () => {
    const status = statusOf(
      nextStep(verifyingWith({ kind: 'healthy' }, { rejected: 'rejected by jane: no' })),
      'record',
    );

    expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image', reason: 'Rejected' } });
  });

  it.each<RolloutState>(['Applying', 'Verifying', 'Soaking', 'RollingBack'])(
    'is aborted where it stands by a pin of another image, when %s',
    (state) => {
      const given = verifyingWith(crash, {
        status: claimed(state, 'Applied', { targets: [written] }),
        policy: { generation: 2, suspend: false, pin: { tag: '0.9.0' } },
      });

      expect(statusOf(nextStep(given), 'finish')).toMatchObject({ state: 'Aborted' });
    },
  );

  it('carries its own pin out', () => {
    const given = verifyingWith(
      { kind: 'healthy' },
      {
        spec: { ...spec(), pin: { tag: '1.1.0' } },
        policy: { generation: 2, suspend: false, pin: { tag: '1.1.0' } },
      },
    );

    expect(statusOf(nextStep(given), 'finish')).toMatchObject({ state: 'Succeeded' });
  });

  describe('when two workloads move as one', () => {
    const two = (settings: Partial<ImageRolloutSpec['settings']> = {}) =>
      rolloutSpec({
        targets: [rolloutTarget({ containers: [container] }), rolloutTarget({ name: 'api', containers: [container] })],
        settings: { ...rolloutSpec().settings, ...settings },
      });
    const both = claimed('Verifying', 'Applied', { targets: [written, { ...written, name: 'api' }] });
    const healthyApi: ObservedTarget = { ...after({ kind: 'healthy' }, { name: 'api' }), health: { kind: 'healthy' } };

    it('takes both back when one fails', () => {
      const given = observe({ spec: two(), status: both, targets: [{ ...after(), health: crash }, healthyApi] });

      expect(statusOf(nextStep(given), 'record').targets).toMatchObject([{ state: 'Undoing' }, { state: 'Undoing' }]);
    });

    it('takes only the failed one back when they are not atomic', () => {
      const given = observe({
        spec: two({ atomic: false }),
        status: both,
        targets: [{ ...after(), health: crash }, healthyApi],
      });

      expect(statusOf(nextStep(given), 'record').targets).toMatchObject([{ state: 'Undoing' }, { state: 'Healthy' }]);
    });

    it('takes the other one back when somebody changes one, quarantines nothing and ends Aborted', () => {
      const given = observe({ spec: two(), status: both, targets: [foreign(), healthyApi] });
      const status = statusOf(nextStep(given), 'record');
      expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Foreign' } });
      expect(status.targets).toMatchObject([{ state: 'Contested' }, { state: 'Undoing' }]);

      const api = { live: workload({ name: 'api', containers: { web: BACK }, rollout: 'web-1' }) };
      const end = settle({ ...given, status, targets: [foreign(), api] });

      expect(end.status).toMatchObject({ state: 'Aborted', targets: [{ state: 'Contested' }, { state: 'Restored' }] });
      expect(isQuarantining({ spec: two(), status: end.status! })).toBe(false);
    });
  });

  describe('while it soaks', () => {
    const soak = spec({ soak: '5m' });
    const SOAK_END_MS = START_MS + 300_000;
    const soaking = (health: TargetHealth, more: Partial<RolloutObservation> = {}) =>
      verifyingWith(health, {
        spec: soak,
        status: claimed('Soaking', 'Healthy', { soakTime: START, targets: [{ ...written, state: 'Healthy' }] }),
        ...more,
      });

    it('begins when every workload is healthy, and succeeds when that lasted', () => {
      const { step, status } = settle(verifyingWith({ kind: 'healthy' }, { spec: soak }));
      expect(status).toMatchObject({ state: 'Soaking', soakTime: START });
      expect(step).toEqual({ kind: 'wait', wakeAtMs: SOAK_END_MS });

      const end = settle(verifyingWith({ kind: 'healthy' }, { spec: soak, status: status!, nowMs: SOAK_END_MS }));

      expect(end.status).toMatchObject({ state: 'Succeeded' });
    });

    it.each<{ when: string; health: TargetHealth; soakTime: string | undefined }>([
      {
        when: 'starts over when what was well complains',
        health: {
          kind: 'failing',
          class: 'Image',
          reason: 'Unready',
          message: 'container web is running and not ready',
          isDefinite: false,
        },
        soakTime: undefined,
      },
      {
        when: 'goes on while an autoscaler adds pods',
        health: { kind: 'progressing', message: '2 of 3 pods are available' },
        soakTime: START,
      },
    ])('$when, with a deadline of its own', ({ health, soakTime }) => {
      const nowMs = DEADLINE_MS + 60_000;
      const status = statusOf(nextStep(soaking(health, { nowMs })), 'record');

      expect(status).toMatchObject({ state: 'Verifying', targets: [{ state: 'Applied' }] });
      expect(Date.parse(status.deadlineTime!)).toBeGreaterThan(nowMs + 599_000);
      expect(status.soakTime).toBe(soakTime);
    });

    it('is over at the first time that everything is healthy again, when pods came and went until then', () => {
      const progressing: TargetHealth = { kind: 'progressing', message: '2 of 3 pods are available' };
      const before = statusOf(nextStep(soaking(progressing, { nowMs: SOAK_END_MS - 1_000 })), 'record');

      const still = settle(soaking(progressing, { status: before, nowMs: SOAK_END_MS + 1_000 }));
      expect(still.step.kind).toBe('wait');
      const end = settle(soaking({ kind: 'healthy' }, { status: before, nowMs: SOAK_END_MS + 2_000 }));

      expect(end.status).toMatchObject({ state: 'Succeeded' });
    });

    it('fails when the image crashes', () => {
      expect(statusOf(nextStep(soaking(crash)), 'record')).toMatchObject({ state: 'RollingBack' });
    });

    it('fails when what was well complains for the fifth time, and not by pods that come and go', () => {
      const unready: TargetHealth = { ...crash, reason: 'Unready', message: 'not ready', isDefinite: false };
      const scaling: TargetHealth = { kind: 'progressing', message: '2 of 3 pods are available' };
      let status: ImageRolloutStatus | undefined;
      let nowMs = START_MS;
      const look = (health: TargetHealth) => {
        nowMs += 10_000;
        ({ status } = settle(soaking(health, { nowMs, ...(status && { status }) })));
        return status!;
      };
      for (let count = 1; count <= 4; count += 1) {
        look(scaling);
        expect(look({ kind: 'healthy' })).toMatchObject({ state: 'Soaking' });
        expect(look(unready)).toMatchObject({ state: 'Verifying', interruptions: count });
        expect(look({ kind: 'healthy' })).toMatchObject({ state: 'Soaking' });
      }

      expect(look(unready)).toMatchObject({
        state: 'RollingBack',
        failure: { class: 'Image', reason: 'Unready', message: 'Deployment web: not ready' },
      });
    });

    it('does not count the time that the policy was suspended', () => {
      const suspended = statusOf(
        nextStep(soaking({ kind: 'healthy' }, { policy: { generation: 2, suspend: true } })),
        'record',
      );

      const resumed = statusOf(
        nextStep(soaking({ kind: 'healthy' }, { status: suspended, nowMs: START_MS + 3_600_000 })),
        'record',
      );

      expect(Date.parse(resumed.soakTime!)).toBe(START_MS + 3_600_000);
    });
  });

  describe('when checks have to be passed', () => {
    const checked = spec({ verify: [{ http: { service: 'web', port: 80, path: '/healthz', scheme: 'HTTP' } }] });
    const healthy = (more: Partial<RolloutObservation> = {}) =>
      verifyingWith({ kind: 'healthy' }, { spec: checked, ...more });
    const no = { kind: 'failed', message: 'answered 500' } as const;

    it('asks them as soon as everything is healthy, and succeeds when they pass', () => {
      expect(nextStep(healthy())).toEqual({ kind: 'check', indexes: [0] });

      const { status } = settle(healthy({ checks: [{ kind: 'passed', message: 'answered 200' }] }));

      expect(status).toMatchObject({
        state: 'Succeeded',
        verify: [{ check: 'http web:80/healthz', state: 'Passed', message: 'answered 200' }],
      });
    });

    it('fails at the third no in a row', () => {
      let status: ImageRolloutStatus | undefined;
      for (let count = 1; count <= 2; count += 1) {
        status = statusOf(nextStep(healthy({ ...(status && { status }), checks: [no] })), 'record');
        expect(status).toMatchObject({ state: 'Verifying', verify: [{ state: 'Pending', failures: count }] });
        expect(nextStep(healthy({ status, checks: [] })).kind).toMatch(/record|wait/);
      }

      const failed = statusOf(nextStep(healthy({ status: status!, checks: [no] })), 'record');

      expect(failed).toMatchObject({
        state: 'RollingBack',
        failure: { class: 'Image', reason: 'VerifyFailed', message: 'http web:80/healthz: answered 500' },
      });
    });

    it('fails at once when asking again would not help', () => {
      const failed = statusOf(nextStep(healthy({ checks: [{ ...no, isFinal: true }] })), 'record');

      expect(failed).toMatchObject({ failure: { reason: 'VerifyFailed' } });
    });

    it('does not blame the image when nobody can tell', () => {
      const unknown = { kind: 'unknown', message: 'Service web does not exist' } as const;
      const asked = statusOf(nextStep(healthy({ checks: [unknown] })), 'record');
      const status = statusOf(nextStep(healthy({ status: asked, checks: [unknown] })), 'record');
      expect(status.state).toBe('Soaking');
      const askedAgain = (nowMs: number) => nextStep(healthy({ status, checks: [unknown], nowMs }));
      const deadlineMs = Date.parse(status.deadlineTime!);
      expect(askedAgain(deadlineMs - 1).kind).toBe('wait');

      const failed = statusOf(askedAgain(deadlineMs), 'record');

      expect(failed).toMatchObject({ failure: { class: 'Environment', reason: 'VerifyUnknown' } });
    });

    it('gives them their time though the workloads took nearly all of theirs', () => {
      const pending = { kind: 'pending', message: 'Job web-1-verify-0 runs' } as const;
      const nowMs = DEADLINE_MS - 1;
      const asked = statusOf(nextStep(healthy({ checks: [pending], nowMs })), 'record');

      const { step, status } = settle(healthy({ status: asked, checks: [pending], nowMs: DEADLINE_MS + 1_000 }));

      expect(step.kind).toBe('wait');
      expect(status).toMatchObject({ state: 'Soaking' });
    });
  });

  describe('when a CronJob has to run first', () => {
    const awaiting: TargetHealth = { kind: 'awaitingRun', message: 'the next run takes the new image' };

    it('waits for the run without a deadline', () => {
      const { step, status } = settle(verifyingWith(awaiting, { nowMs: DEADLINE_MS + 86_400_000 }));

      expect(step).toEqual({ kind: 'wait' });
      expect(status).toMatchObject({ state: 'Verifying', awaitsRun: true });
      expect(status).not.toHaveProperty('deadlineTime');
    });

    it('makes way for a newer rollout', () => {
      const { status } = settle(verifyingWith(awaiting));

      const end = nextStep(verifyingWith(awaiting, { status: status!, supersededBy: 'web-2' }));

      expect(statusOf(end, 'finish')).toMatchObject({ state: 'Aborted', message: expect.stringContaining('web-2') });
    });

    it('counts the deadline from the start of the run', () => {
      const startTimeMs = DEADLINE_MS + 86_400_000;
      const running: TargetHealth = { kind: 'running', message: 'run web-29 is on', startTimeMs };
      const { status: waiting } = settle(verifyingWith(awaiting));
      const given = verifyingWith(running, { status: waiting!, nowMs: startTimeMs + 1_000 });

      const { status } = settle(given);
      expect(Date.parse(status!.deadlineTime!)).toBeGreaterThanOrEqual(startTimeMs + 600_000);
      expect(status).not.toHaveProperty('awaitsRun');

      const late = nextStep({ ...given, status: status!, nowMs: startTimeMs + 600_000 });
      expect(statusOf(late, 'record')).toMatchObject({ failure: { class: 'Environment' } });
    });
  });
});
