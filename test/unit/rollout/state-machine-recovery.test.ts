// What a rollout must come through: targets that fail one after the other, writes that were made and not recorded, long
// absences of the operator, checks that waver, workloads of which only some run.

import { describe, expect, it } from '@jest/globals';
import type {
  ImageRolloutSpec,
  ImageRolloutStatus,
  RolloutState,
  RolloutTargetStatus,
} from '../../../operator/api/image-rollout.ts';
import type { TargetHealth } from '../../../operator/rollout/health/target-health.ts';
import {
  nextStep,
  type ObservedTarget,
  type RolloutObservation,
  type RolloutStep,
} from '../../../operator/rollout/state-machine.ts';
import { isQuarantining, targetImageAfter } from '../../../operator/rollout/verdict.ts';
import { FROM_IMAGE, rolloutSpec, rolloutTarget, TO_IMAGE } from '../../support/builders/rollouts.ts';
import { workload, type WorkloadOptions } from '../../support/builders/workloads.ts';

const START = '2026-01-05T08:00:00Z';
const START_MS = Date.parse(START);
const DEADLINE_MS = START_MS + 600_000;
const CLAIMANT = { holder: 'replica-a', epoch: 3 };
const BACK = `${FROM_IMAGE}@sha256:${'b'.repeat(64)}`;
const CONTAINER = { name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE, back: BACK };

const crash: TargetHealth = {
  kind: 'failing',
  class: 'Image',
  reason: 'CrashLoopBackOff',
  message: 'container web ended with exit code 1',
  isDefinite: true,
};
const full: TargetHealth = {
  kind: 'failing',
  class: 'Environment',
  reason: 'Unschedulable',
  message: '0 of 3 nodes are available',
  isDefinite: false,
};
const healthy: TargetHealth = { kind: 'healthy' };
const idle: TargetHealth = { kind: 'idle', message: 'the Deployment is scaled to zero' };
const paused: TargetHealth = { kind: 'paused', message: 'the Deployment is paused' };
const progressing: TargetHealth = { kind: 'progressing', message: '1 of 2 pods have the new image' };
const awaitingRun: TargetHealth = { kind: 'awaitingRun', message: 'the next run takes the new image' };

const NAMES = ['web', 'api'] as const;

function specOf(
  settings: Partial<ImageRolloutSpec['settings']> = {},
  names: readonly string[] = NAMES,
): ImageRolloutSpec {
  return rolloutSpec({
    targets: names.map((name) => rolloutTarget({ name, containers: [CONTAINER] })),
    settings: { ...rolloutSpec().settings, ...settings },
  });
}

/** A claimed rollout; each target is in the given state. */
function statusOf(
  state: RolloutState,
  targets: readonly RolloutTargetStatus['state'][],
  more: Partial<ImageRolloutStatus> = {},
): ImageRolloutStatus {
  return {
    state,
    claim: { ...CLAIMANT, time: START },
    startTime: START,
    deadlineTime: '2026-01-05T08:10:00Z',
    targets: targets.map((target, index) => ({
      kind: 'Deployment',
      name: NAMES[index]!,
      state: target,
      undo: 'Back',
      resourceVersion: '1000',
      ...(target !== 'Pending' && { appliedTime: START }),
    })),
    ...more,
  };
}

function live(image: string, name: string = 'web', options: WorkloadOptions = {}): ObservedTarget {
  return {
    live: workload({ name, containers: { web: image }, rollout: 'web-1', resourceVersion: '1001', ...options }),
  };
}

const running = (health: TargetHealth, name: string = 'web'): ObservedTarget => ({ ...live(TO_IMAGE, name), health });
const untouched = (name: string = 'web'): ObservedTarget => ({
  live: workload({ name, containers: { web: FROM_IMAGE } }),
});
const foreign = (name: string = 'web'): ObservedTarget => live('ghcr.io/acme/web:hotfix', name);

function observe(options: Partial<RolloutObservation> = {}): RolloutObservation {
  return {
    nowMs: START_MS,
    name: 'web-1',
    generation: 1,
    spec: specOf(),
    policy: { generation: 1, suspend: false },
    claimant: CLAIMANT,
    targets: [],
    ...options,
  };
}

/** Takes records as given until another step is due. */
function settle(given: RolloutObservation): { readonly step: RolloutStep; readonly status: ImageRolloutStatus } {
  let { status } = given;
  for (let count = 0; count < 20; count += 1) {
    const step = nextStep({ ...given, ...(status !== undefined && { status }) });
    if (step.kind === 'record' || step.kind === 'finish') status = step.status;
    if (step.kind !== 'record') return { step, status: status! };
  }
  throw new Error(`does not come to rest: ${JSON.stringify(status)}`);
}

const stateOf = (status: ImageRolloutStatus) => (status.targets ?? []).map(({ state }) => state);

describe('nextStep, with targets that do not move as one', () => {
  const spec = specOf({ atomic: false });
  const verifying = (a: ObservedTarget, b: ObservedTarget, more: Partial<RolloutObservation> = {}) =>
    settle(observe({ spec, status: statusOf('Verifying', ['Applied', 'Applied']), targets: [a, b], ...more }));

  it('remembers the failure of one until the other has come to its end', () => {
    const first = verifying(running(crash), running(progressing, 'api'));
    expect(first.step.kind).toBe('wait');
    expect(first.status).toMatchObject({ state: 'Verifying', failure: { class: 'Image', reason: 'CrashLoopBackOff' } });
    expect(isQuarantining({ spec, status: first.status })).toBe(false);

    const second = verifying(running(progressing), running(healthy, 'api'), { status: first.status });

    expect(second.step).toEqual({ kind: 'undo', index: 0 });
    expect(second.status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image', time: START } });
    expect(stateOf(second.status)).toEqual(['Undoing', 'Healthy']);
    expect(isQuarantining({ spec, status: second.status })).toBe(true);
  });

  it('lets the fault of the image outweigh that of the environment, whichever came first', () => {
    const nowMs = DEADLINE_MS - 1_000;
    const first = verifying(running(full), running(healthy, 'api'), { nowMs: DEADLINE_MS });
    expect(first.status.failure?.class).toBe('Environment');

    const status = statusOf('Verifying', ['Failed', 'Applied'], { failure: first.status.failure! });
    const second = verifying(running(full), running(crash, 'api'), { status, nowMs });

    expect(second.status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image' } });
    expect(stateOf(second.status)).toEqual(['Undoing', 'Undoing']);
  });

  it('does not let a failed one wait for the next run of a CronJob, which goes back as well', () => {
    const { step, status } = verifying(running(crash), running(awaitingRun, 'api'));

    expect(step.kind).toBe('undo');
    expect(stateOf(status)).toEqual(['Undoing', 'Undoing']);
  });

  it('keeps the verdict on the image though somebody changed the other one', () => {
    const { status } = verifying(running(crash), foreign('api'));

    expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image' } });
    expect(stateOf(status)).toEqual(['Undoing', 'Contested']);
  });

  it('takes back what was written and never seen healthy when another could not be written', () => {
    const given = observe({
      spec,
      nowMs: DEADLINE_MS,
      status: statusOf('Applying', ['Applied', 'Pending']),
      targets: [running(progressing), { ...untouched('api'), writeProblem: 'denied' }],
    });

    const { status } = settle(given);

    expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Environment', reason: 'WriteRefused' } });
    expect(stateOf(status)).toEqual(['Undoing', 'Skipped']);
  });
});

describe('nextStep, when a write was made and is not on record', () => {
  const given = (more: Partial<RolloutObservation>) =>
    observe({
      status: statusOf('Applying', ['Pending', 'Pending']),
      targets: [live(TO_IMAGE), untouched('api')],
      ...more,
    });

  it('sets it back when a person rejects the image', () => {
    const { step, status } = settle(given({ rejected: 'rejected by jane' }));

    expect(step).toEqual({ kind: 'undo', index: 0 });
    expect(stateOf(status)).toEqual(['Undoing', 'Skipped']);
    expect(status.targets?.[0]?.appliedTime).toBe(START);
  });

  it('puts it on record when a person pins another image', () => {
    const { status } = settle(given({ policy: { generation: 2, suspend: false, pin: { tag: '0.9.0' } } }));

    expect(status).toMatchObject({ state: 'Aborted' });
    expect(targetImageAfter({ spec: specOf(), status }, 0, 'web')).toBe(TO_IMAGE);
    expect(targetImageAfter({ spec: specOf(), status }, 1, 'web')).toBeUndefined();
  });

  it('puts a write back on record as well', () => {
    const { status } = settle(
      observe({
        status: statusOf('RollingBack', ['Undoing', 'Undoing']),
        targets: [live(BACK), live(TO_IMAGE, 'api')],
        policy: { generation: 2, suspend: false, pin: { tag: '0.9.0' } },
      }),
    );

    expect(status).toMatchObject({ state: 'Aborted' });
    expect(targetImageAfter({ spec: specOf(), status }, 0, 'web')).toBe(BACK);
    expect(targetImageAfter({ spec: specOf(), status }, 1, 'web')).toBe(TO_IMAGE);
  });
});

describe('nextStep, while it goes back', () => {
  const rollingBack = (targets: readonly ObservedTarget[], more: Partial<RolloutObservation> = {}) =>
    observe({ status: statusOf('RollingBack', ['Undoing', 'Undoing']), targets, ...more });

  it('gives what it set back a deadline of its own, however late the operator came back', () => {
    const nowMs = DEADLINE_MS + 3_600_000;
    const restarted: ObservedTarget = { ...live(BACK), health: progressing };

    const api: ObservedTarget = { ...live(BACK, 'api'), health: progressing };
    const { step, status } = settle(rollingBack([restarted, api], { nowMs }));

    expect(step).toMatchObject({ kind: 'wait' });
    expect(stateOf(status)).toEqual(['Undone', 'Undone']);
    expect(Date.parse(status.deadlineTime!)).toBeGreaterThanOrEqual(nowMs + 600_000);
  });

  it('does not let one whose write is refused keep the others from going back', () => {
    const refused: ObservedTarget = { ...live(TO_IMAGE), writeProblem: 'denied' };

    const first = settle(rollingBack([refused, live(TO_IMAGE, 'api')]));
    expect(first.step).toEqual({ kind: 'undo', index: 1 });

    const second = settle(rollingBack([refused, live(BACK, 'api', { progress: healthy })], { status: first.status }));
    expect(second.step).toEqual({ kind: 'undo', index: 0 });
    expect(stateOf(second.status)).toEqual(['Undoing', 'Restored']);
  });

  it('says so when somebody sets the failed image again', () => {
    const { status } = settle(
      observe({ spec: specOf({}, ['web']), status: statusOf('RollingBack', ['Undone']), targets: [live(TO_IMAGE)] }),
    );

    expect(status.targets).toMatchObject([{ state: 'Contested', message: expect.stringContaining('failed image') }]);
  });
});

describe('nextStep, when checks waver', () => {
  const http = { http: { service: 'web', port: 80, path: '/healthz', scheme: 'HTTP' as const } };
  const job = { job: { template: { spec: {} } } } as unknown as NonNullable<
    ImageRolloutSpec['settings']['verify']
  >[number];
  const no = { kind: 'failed', message: 'answered 500' } as const;
  const yes = { kind: 'passed', message: 'answered 200' } as const;
  const unknown = { kind: 'unknown', message: 'Service web does not exist' } as const;

  it('asks about a Job that runs no more often than every ten seconds, though the soak is over', () => {
    const { step } = settle(
      observe({
        spec: specOf({ verify: [job] }, ['web']),
        status: statusOf('Verifying', ['Applied']),
        targets: [running(healthy)],
        checks: [{ kind: 'pending', message: 'Job web-1-verify-0 runs' }],
      }),
    );

    expect(step).toEqual({ kind: 'wait', wakeAtMs: START_MS + 10_000 });
  });

  describe('in a soak that is longer than the deadline', () => {
    const spec = specOf({ verify: [http], soak: '1h' }, ['web']);
    const soaking = (more: Partial<RolloutObservation>) =>
      observe({
        spec,
        nowMs: DEADLINE_MS + 60_000,
        status: statusOf('Soaking', ['Healthy'], {
          soakTime: START,
          verify: [{ check: 'http web:80/healthz', state: 'Passed', message: 'answered 200' }],
        }),
        targets: [running(healthy)],
        ...more,
      });

    it('does not fail by a single no', () => {
      const { status } = settleOnce(soaking({ checks: [no] }));

      expect(status).toMatchObject({ state: 'Soaking', verify: [{ failures: 1 }] });
    });

    it('fails by the third in a row, and forgets them when it passes in between', () => {
      let status = settleOnce(soaking({ checks: [no] })).status;
      status = settleOnce(soaking({ status, checks: [yes] })).status;
      expect(status.verify).toMatchObject([{ state: 'Passed' }]);
      expect(status.verify?.[0]).not.toHaveProperty('failures');
      for (const _ of [1, 2]) status = settleOnce(soaking({ status, checks: [no] })).status;
      expect(status.state).toBe('Soaking');

      status = settleOnce(soaking({ status, checks: [no] })).status;

      expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image', reason: 'VerifyFailed' } });
    });

    it('does not end while the last answer was a no, but ends at last when nobody can tell any more', () => {
      const nowMs = START_MS + 3_600_000;
      const wavering = settleOnce(soaking({ nowMs, checks: [no] })).status;
      expect(wavering.state).toBe('Soaking');

      const soon = settleOnce(soaking({ status: wavering, nowMs: nowMs + 10_000, checks: [unknown] }));
      expect(soon.status.state).toBe('Soaking');
      expect(soon.step).toMatchObject({ kind: 'wait' });

      const late = settleOnce(soaking({ status: soon.status, nowMs: nowMs + 660_000, checks: [unknown] }));
      expect(late.status).toMatchObject({
        state: 'RollingBack',
        failure: { class: 'Environment', reason: 'VerifyUnknown' },
      });
    });
  });
});

/** Like `settle`, but the answers of the checks are given once. */
function settleOnce(given: RolloutObservation): ReturnType<typeof settle> {
  const step = nextStep(given);
  if (step.kind !== 'record') return { step, status: step.kind === 'finish' ? step.status : given.status! };
  if (step.status.state === 'RollingBack') return { step, status: step.status };
  return settle({ ...given, status: step.status, checks: [] });
}

describe('nextStep, when only some of the workloads run', () => {
  const spec = specOf({ soak: '5m' });
  const verifying = (a: ObservedTarget, b: ObservedTarget, more: Partial<RolloutObservation> = {}) =>
    settle(observe({ spec, status: statusOf('Verifying', ['Applied', 'Applied']), targets: [a, b], ...more }));

  it('lets those that run soak, and is unproven all the same', () => {
    const first = verifying(running(healthy), running(idle, 'api'));
    expect(first.status).toMatchObject({ state: 'Soaking' });

    const end = verifying(running(healthy), running(idle, 'api'), { status: first.status, nowMs: START_MS + 300_000 });

    expect(end.status).toMatchObject({ state: 'Succeeded', unproven: true });
  });

  it('undoes when one that runs crashes during the soak', () => {
    const first = verifying(running(healthy), running(idle, 'api'));

    const { status } = verifying(running(crash), running(idle, 'api'), {
      status: first.status,
      nowMs: START_MS + 60_000,
    });

    expect(status).toMatchObject({ state: 'RollingBack', failure: { class: 'Image' } });
  });

  it('comes to an end though one is paused for good', () => {
    const late = verifying(running(healthy), running(paused, 'api'), { nowMs: DEADLINE_MS });
    expect(late.status).toMatchObject({ state: 'Soaking' });

    const end = verifying(running(healthy), running(paused, 'api'), {
      status: late.status,
      nowMs: DEADLINE_MS + 300_000,
    });

    expect(end.status).toMatchObject({ state: 'Succeeded', unproven: true });
  });

  it('asks the checks of those that run, and of nobody when none of them runs', () => {
    const http = { http: { service: 'web', port: 80, path: '/healthz', scheme: 'HTTP' as const } };
    const given = (a: ObservedTarget) => verifying(a, running(idle, 'api'), { spec: specOf({ verify: [http] }) });

    expect(given(running(healthy)).step).toEqual({ kind: 'check', indexes: [0] });
    expect(given(running(idle)).status).toMatchObject({ state: 'Succeeded', unproven: true });
  });

  it('does not wait when none of them runs', () => {
    expect(verifying(running(idle), running(idle, 'api')).status).toMatchObject({ state: 'Succeeded', unproven: true });
  });
});

describe('nextStep, with CronJobs', () => {
  it('never waits for a time that is over when one runs and the other waits for its run', () => {
    const nowMs = DEADLINE_MS + 1_000;
    const run: TargetHealth = { kind: 'running', message: 'run web-29 is on', startTimeMs: DEADLINE_MS - 120_000 };

    const { step } = settle(
      observe({
        nowMs,
        status: statusOf('Verifying', ['Applied', 'Applied']),
        targets: [running(run), running(awaitingRun, 'api')],
      }),
    );

    expect(step).toMatchObject({ kind: 'wait' });
    expect(step.kind === 'wait' && step.wakeAtMs! > nowMs).toBe(true);
  });

  it.each<{ when: string; health: TargetHealth }>([
    { when: 'the Job that proved it is cleaned up', health: awaitingRun },
    { when: 'the next run has begun', health: { kind: 'running', message: 'run web-30 is on', startTimeMs: START_MS } },
  ])('goes on soaking when $when', ({ health }) => {
    const { status } = settle(
      observe({
        spec: specOf({ soak: '5m' }, ['web']),
        status: statusOf('Soaking', ['Healthy'], { soakTime: START }),
        targets: [running(health)],
      }),
    );

    expect(status).toMatchObject({ state: 'Soaking', soakTime: START });
  });
});

describe('nextStep, at the claim', () => {
  it('names the workloads that could not be set back', () => {
    const containers = [{ name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE }];
    const spec = { ...specOf(), targets: [rolloutTarget({ containers }), specOf().targets[1]!] };

    const step = nextStep(observe({ spec, targets: [untouched(), untouched('api')] }));

    expect(step).toMatchObject({
      kind: 'record',
      status: { message: expect.stringMatching(/Deployment web cannot be set back \(RollbackBlocked\)$/) },
    });
  });
});
