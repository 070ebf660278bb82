import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Job, Pod } from '../../../../operator/rollout/health/pod.ts';
import { isRunOf, judgeTarget, type HealthInput } from '../../../../operator/rollout/health/target-health.ts';
import type { Workload } from '../../../../operator/rollout/workloads/workload.ts';
import { crashLoop, pod, waitingFor, type PodOptions } from '../../../support/builders/pods.ts';
import { workload } from '../../../support/builders/workloads.ts';

const IMAGE = 'ghcr.io/acme/web:1.1.0';
const OLD = 'ghcr.io/acme/web:1.0.0';
const SINCE_MS = Date.parse('2026-01-05T08:00:00Z');
const onItsWay: Workload = workload({ progress: { kind: 'progressing', message: '0 of 1 pods are available' } });

function judge(pods: readonly Pod[], more: Partial<HealthInput> = {}) {
  return judgeTarget({ workload: onItsWay, images: new Map([['web', IMAGE]]), pods, sinceMs: SINCE_MS, ...more });
}

const unschedulable: PodOptions['status'] = {
  phase: 'Pending',
  conditions: [
    {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message: '0/1 nodes are available: 1 Insufficient cpu.',
    },
  ],
  containerStatuses: [],
};

describe('judgeTarget', () => {
  it.each<{ when: string; given: PodOptions; want: readonly [string, string, boolean]; says: string }>([
    {
      when: 'it crashes for the third time',
      given: { container: crashLoop(3) },
      want: ['Image', 'CrashLoopBackOff', true],
      says: 'Error with exit code 3: no database',
    },
    {
      when: 'it has crashed once',
      given: { container: crashLoop(1) },
      want: ['Image', 'CrashLoopBackOff', false],
      says: 'exit code 3',
    },
    {
      when: 'it runs out of memory',
      given: { container: { ...crashLoop(4), lastState: { terminated: { reason: 'OOMKilled', exitCode: 137 } } } },
      want: ['Image', 'OOMKilled', true],
      says: 'OOMKilled with exit code 137',
    },
    {
      when: 'it was just killed for memory',
      given: {
        container: { ready: false, restartCount: 0, state: { terminated: { reason: 'OOMKilled', exitCode: 137 } } },
      },
      want: ['Image', 'OOMKilled', false],
      says: '137',
    },
    {
      when: 'there is no such manifest',
      given: {
        container: waitingFor('ImagePullBackOff', 'Back-off pulling image "x": ErrImagePull: manifest unknown'),
      },
      want: ['Image', 'ImagePullBackOff', true],
      says: 'manifest unknown',
    },
    {
      when: 'there is no image for the platform',
      given: { container: waitingFor('ErrImagePull', 'no match for platform in manifest: not found') },
      want: ['Image', 'ImagePullBackOff', true],
      says: 'no match for platform',
    },
    {
      when: 'the registry refuses the login',
      given: { container: waitingFor('ErrImagePull', 'failed to authorize: 401 Unauthorized') },
      want: ['Environment', 'ImagePullBackOff', false],
      says: '401',
    },
    {
      when: 'the registry is throttling',
      given: { container: waitingFor('ImagePullBackOff', 'unexpected status: 429 Too Many Requests') },
      want: ['Environment', 'ImagePullBackOff', false],
      says: '429',
    },
    {
      when: 'the registry is down, and the name of the image has a number in it',
      given: {
        container: waitingFor(
          'ErrImagePull',
          'failed to pull and unpack image "ghcr.io/acme/web:401": failed to resolve reference "ghcr.io/acme/web:401": connection refused',
        ),
      },
      want: ['Environment', 'ImagePullBackOff', false],
      says: 'refused',
    },
    {
      when: 'there is no such image, and its name has a number in it',
      given: {
        container: waitingFor(
          'ErrImagePull',
          'rpc error: failed to resolve reference "ghcr.io/acme/web:v1.401": ghcr.io/acme/web:v1.401: not found',
        ),
      },
      want: ['Image', 'ImagePullBackOff', true],
      says: 'not found',
    },
    {
      when: 'a volume cannot be mounted',
      given: {
        container: waitingFor(
          'RunContainerError',
          'failed to create containerd task: error mounting "/var/lib/kubelet/x" to rootfs: no such file or directory',
        ),
      },
      want: ['Environment', 'RunContainerError', false],
      says: 'mounting',
    },
    {
      when: 'the path of a volume is not there',
      given: {
        container: waitingFor(
          'CreateContainerError',
          'failed to generate container "x" spec: failed to stat "/data": stat /data: no such file or directory',
        ),
      },
      want: ['Environment', 'CreateContainerError', false],
      says: '/data',
    },
    {
      when: 'the registry does not answer',
      given: { container: waitingFor('ErrImagePull', 'dial tcp: i/o timeout') },
      want: ['Environment', 'ImagePullBackOff', false],
      says: 'timeout',
    },
    {
      when: 'the command is not there',
      given: { container: waitingFor('RunContainerError', 'exec: "/app": stat /app: no such file or directory') },
      want: ['Image', 'RunContainerError', true],
      says: 'no such file',
    },
    {
      when: 'the runtime fails otherwise',
      given: { container: waitingFor('CreateContainerError', 'context deadline exceeded') },
      want: ['Environment', 'CreateContainerError', false],
      says: 'deadline',
    },
    {
      when: 'a Secret is missing',
      given: { container: waitingFor('CreateContainerConfigError', 'secret "db" not found') },
      want: ['Environment', 'CreateContainerConfigError', false],
      says: 'secret "db"',
    },
    {
      when: 'the name of the image is none',
      given: { container: waitingFor('InvalidImageName', 'bad name') },
      want: ['Image', 'InvalidImageName', true],
      says: 'bad name',
    },
    {
      when: 'its probe says no',
      given: { container: { ready: false } },
      want: ['Image', 'Unready', false],
      says: 'running and not ready',
    },
    {
      when: 'it has not started',
      given: { container: { ready: false, started: false } },
      want: ['Image', 'Unready', false],
      says: 'startup probe',
    },
    {
      when: 'no node has room',
      given: { status: unschedulable },
      want: ['Environment', 'Unschedulable', false],
      says: 'Insufficient cpu',
    },
    {
      when: 'its node is lost',
      given: { status: { phase: 'Unknown' } },
      want: ['Environment', 'NodeLost', false],
      says: 'does not answer',
    },
  ])('blames $want.0 when $when', ({ given, want: [failureClass, reason, isDefinite], says }) => {
    expect(judge([pod({ image: IMAGE, ...given })])).toEqual({
      kind: 'failing',
      class: failureClass,
      reason,
      isDefinite,
      message: expect.stringContaining(says),
    });
  });

  it.each<{ when: string; given: PodOptions }>([
    { when: 'a pod of the image before crashes', given: { image: OLD, container: crashLoop() } },
    {
      when: 'a pod is being deleted',
      given: { container: crashLoop(), metadata: { deletionTimestamp: '2026-01-05T08:00:00Z' } },
    },
    { when: 'a pod was evicted', given: { container: crashLoop(), status: { reason: 'Evicted' } } },
    {
      when: 'a pod is drained',
      given: { container: crashLoop(), status: { conditions: [{ type: 'DisruptionTarget', status: 'True' }] } },
    },
    { when: 'another container crashes', given: { sidecar: crashLoop() } },
    {
      when: 'its node lost the container',
      given: {
        container: {
          ready: false,
          state: { terminated: { reason: 'ContainerStatusUnknown', exitCode: 137, message: 'could not be located' } },
        },
      },
    },
    { when: 'it is being created', given: { container: waitingFor('ContainerCreating') } },
    { when: 'nothing is wrong', given: {} },
  ])('blames nobody when $when', ({ given }) => {
    expect(judge([pod({ image: IMAGE, ...given })])).toEqual(onItsWay.progress);
  });

  it('blames the image before the cluster, and what is definite before what is not', () => {
    const pods = [
      pod({ name: 'a', image: IMAGE, status: unschedulable }),
      pod({ name: 'b', image: IMAGE, container: { ready: false } }),
      pod({ name: 'c', image: IMAGE, container: crashLoop() }),
    ];

    expect(judge(pods)).toMatchObject({ reason: 'CrashLoopBackOff' });
    expect(judge(pods.slice(0, 2))).toMatchObject({ reason: 'Unready' });
  });

  it('is not deceived by a workload that counts enough pods', () => {
    const healthy = { workload: workload({ progress: { kind: 'healthy' } }) };

    expect(judge([pod({ image: IMAGE, container: crashLoop() })], healthy)).toMatchObject({ kind: 'failing' });
    expect(judge([pod({ image: IMAGE, container: crashLoop(1) })], healthy)).toEqual({ kind: 'healthy' });
  });

  it('says what keeps its controller from creating pods', () => {
    const blocked = { workload: { ...onItsWay, blockedBecause: 'pods "web-" is forbidden: exceeded quota: one' } };

    expect(judge([], blocked)).toMatchObject({
      class: 'Environment',
      reason: 'FailedCreate',
      message: expect.stringContaining('exceeded quota'),
    });
  });

  describe('while it soaks', () => {
    const again = { ...crashLoop(1), ready: true, state: { running: {} } };
    const healthy = { workload: workload({ progress: { kind: 'healthy' } }) };

    it('counts a restart since it began, though the container is up again', () => {
      const soakSinceMs = Date.parse('2026-01-05T08:00:00Z');

      expect(judge([pod({ image: IMAGE, container: again })], { ...healthy, soakSinceMs })).toMatchObject({
        class: 'Image',
        reason: 'RestartedWhileSoaking',
        isDefinite: true,
      });
    });

    it.each([
      {
        when: 'a pod that an autoscaler has just added is not ready',
        created: '2026-01-05T08:01:00Z',
        want: 'progressing',
      },
      { when: 'one that was there before is not ready any more', created: '2026-01-05T07:59:00Z', want: 'failing' },
    ])('is $want when $when', ({ created, want }) => {
      const soakSinceMs = Date.parse('2026-01-05T08:00:00Z');
      const unready = { ready: false, started: true, state: { running: {} } };
      const added = pod({ image: IMAGE, container: unready, metadata: { creationTimestamp: created } });
      const scaling = workload({ progress: { kind: 'progressing', message: '2 of 3 pods are available' } });

      expect(judge([added], { workload: scaling, soakSinceMs }).kind).toBe(want);
    });

    it('counts a crash of a pod that was added meanwhile', () => {
      const soakSinceMs = Date.parse('2026-01-05T08:00:00Z');
      const added = pod({
        image: IMAGE,
        container: crashLoop(3),
        metadata: { creationTimestamp: '2026-01-05T08:01:00Z' },
      });

      expect(judge([added], { ...healthy, soakSinceMs })).toMatchObject({ kind: 'failing', isDefinite: true });
    });

    it('does not count an earlier one', () => {
      const soakSinceMs = Date.parse('2026-01-05T08:05:00Z');

      expect(judge([pod({ image: IMAGE, container: again })], { ...healthy, soakSinceMs })).toEqual({
        kind: 'healthy',
      });
    });
  });

  it('says the same whatever the order of pods, and as restarts go on', () => {
    const kinds = [
      () => ({ container: crashLoop(3) }),
      () => ({ container: waitingFor('ErrImagePull', 'i/o timeout') }),
      () => ({ status: unschedulable }),
      () => ({}),
    ];
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: kinds.length - 1 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 3, max: 90 }),
        (picks, restarts) => {
          const pods = picks.map((pick, index) => pod({ name: `p${index}`, image: IMAGE, ...kinds[pick]?.() }));
          const later = pods.map((it, index) =>
            picks[index] === 0 ? pod({ name: `p${index}`, image: IMAGE, container: crashLoop(restarts) }) : it,
          );

          expect(judge(pods.toReversed())).toEqual(judge(pods));
          expect(judge(later)).toEqual(judge(pods));
        },
      ),
    );
  });
});

describe('judgeTarget, for a CronJob', () => {
  const cronJob = workload({
    kind: 'CronJob',
    name: 'tidy',
    progress: { kind: 'idle', message: 'the next run takes the new image' },
  });
  const run = (
    name: string,
    createdAt: string,
    image: string,
    status: Job['status'] = {},
    uid = cronJob.metadata.uid,
  ): Job => ({
    metadata: { name, uid: `uid-of-${name}`, creationTimestamp: createdAt, ownerReferences: [{ uid }] },
    spec: { template: { spec: { containers: [{ name: 'web', image }] } } },
    status,
  });
  const done = { conditions: [{ type: 'Complete', status: 'True' }] };
  const failed = {
    conditions: [{ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded', message: 'too many retries' }],
  };
  const with_ = (jobs: readonly Job[], pods: readonly Pod[] = [], of = cronJob) =>
    judgeTarget({ workload: of, images: new Map([['web', IMAGE]]), pods, jobs, sinceMs: SINCE_MS });

  it.each([
    {
      when: 'nothing has run since',
      jobs: [run('old', '2026-01-05T07:00:00Z', IMAGE, done)],
      want: { kind: 'awaitingRun' },
    },
    {
      when: 'a run has another image',
      jobs: [run('a', '2026-01-05T08:10:00Z', OLD, done)],
      want: { kind: 'awaitingRun' },
    },
    {
      when: "another CronJob's run succeeded",
      jobs: [run('a', '2026-01-05T08:10:00Z', IMAGE, done, 'else')],
      want: { kind: 'awaitingRun' },
    },
    {
      when: 'a run is on',
      jobs: [run('a', '2026-01-05T08:10:00Z', IMAGE, { startTime: '2026-01-05T08:10:01Z', active: 1 })],
      want: { kind: 'running', startTimeMs: Date.parse('2026-01-05T08:10:01Z') },
    },
    { when: 'a run has succeeded', jobs: [run('a', '2026-01-05T08:10:00Z', IMAGE, done)], want: { kind: 'healthy' } },
    {
      when: 'a run has failed',
      jobs: [run('a', '2026-01-05T08:10:00Z', IMAGE, failed)],
      want: { kind: 'failing', class: 'Image', isDefinite: true },
    },
    {
      when: 'the first run failed and the second did not',
      jobs: [run('b', '2026-01-05T08:20:00Z', IMAGE, done), run('a', '2026-01-05T08:10:00Z', IMAGE, failed)],
      want: { kind: 'failing' },
    },
  ])('is $want.kind when $when', ({ jobs, want }) => {
    expect(with_(jobs)).toMatchObject(want);
  });

  it('takes the class of a failed run from its pods', () => {
    const own = pod({
      image: IMAGE,
      container: waitingFor('ErrImagePull', '503'),
      metadata: { ownerReferences: [{ uid: 'uid-of-a' }] },
    });

    expect(with_([run('a', '2026-01-05T08:10:00Z', IMAGE, failed)], [own])).toMatchObject({
      class: 'Environment',
      isDefinite: true,
    });
  });

  it('counts the pods of a run as its tries', () => {
    const on = run('a', '2026-01-05T08:10:00Z', IMAGE, { active: 1 });
    const ended = { ready: false, state: { terminated: { reason: 'Error', exitCode: 3, message: 'no database' } } };
    const tries = (count: number): Pod[] =>
      Array.from({ length: count }, (_, index) =>
        pod({
          name: `a-${index}`,
          image: IMAGE,
          container: ended,
          metadata: { ownerReferences: [{ uid: 'uid-of-a' }] },
        }),
      );

    expect(with_([on], tries(2))).toMatchObject({ kind: 'running', failure: { class: 'Image', reason: 'Error' } });
    expect(with_([on], tries(3))).toMatchObject({ kind: 'failing', class: 'Image', isDefinite: true });
  });

  it('expects no run of a suspended one', () => {
    expect(with_([], [], { ...cronJob, isSuspended: true })).toMatchObject({ kind: 'idle' });
  });

  it('knows its runs by their owner', () => {
    expect(isRunOf(run('a', '2026-01-05T08:10:00Z', IMAGE), cronJob.metadata.uid)).toBe(true);
    expect(isRunOf(run('a', '2026-01-05T08:10:00Z', IMAGE), 'else')).toBe(false);
  });
});
