import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { findCondition } from '../../../../operator/api/conditions.ts';
import type { ImagePolicyStatus } from '../../../../operator/api/image-policy.ts';
import { FINISHED_STATES, type ImageRolloutStatus } from '../../../../operator/api/image-rollout.ts';
import type { ImageDecision, ImagePolicy, ImageRollout } from '../../../../operator/api/kinds.ts';
import { decide } from '../../../../operator/controllers/policy/decide.ts';
import type { PolicyObservation } from '../../../../operator/controllers/policy/observation.ts';
import type { Workload } from '../../../../operator/rollout/workloads/workload.ts';
import { candidate, digestOf } from '../../../support/builders/images.ts';
import { NOW_MS, observation, pushed, type ObservationOptions } from '../../../support/builders/observations.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { imageRollout, rolloutSpec, rolloutStatus, rolloutTarget } from '../../../support/builders/rollouts.ts';
import { workload, type WorkloadOptions } from '../../../support/builders/workloads.ts';

const at = (tag: string): string => candidate(tag).image;
const running = (tag: string, options: WorkloadOptions = {}): Workload =>
  workload({ containers: { web: at(tag) }, ...options });

/** What the ledger holds about the container `web` of a Deployment. */
function accepted(tag: string, name = 'web'): NonNullable<ImagePolicyStatus['targets']>[number] {
  return { kind: 'Deployment', name, uid: `uid-of-${name}`, container: 'web', image: at(tag) };
}

function policy(
  spec: Readonly<Record<string, unknown>> = {},
  status: Partial<ImagePolicyStatus> = {},
  generation = 1,
): ImagePolicy {
  return imagePolicy({ spec, status, metadata: { generation } });
}

/** A rollout of the container `web` between two tags, with this result. */
function rollout(number: number, from: string, to: string, status?: ImageRollout['status'], more: object = {}) {
  const { tag, digest } = candidate(to);
  const containers = [{ name: 'web', init: false, from: at(from), to: at(to) }];
  return imageRollout({
    number,
    spec: {
      images: [{ image: 'ghcr.io/acme/web', tag, digest }],
      targets: [rolloutTarget({ containers })],
      ...more,
    },
    ...(status !== undefined && { status }),
  });
}

const ENDED = '2026-01-05T11:30:00Z';
const failure = { class: 'Image', reason: 'CrashLoopBackOff', message: 'it crashes', time: ENDED } as const;
const undone = (more: Partial<ImageRolloutStatus> = {}, spec = rolloutSpec()) =>
  rolloutStatus('RolledBack', 'Restored', {
    spec,
    status: { failure, endTime: ENDED, ...more },
    target: { appliedTime: ENDED, undoTime: ENDED, undo: 'Back' },
  });
const ready = (status: ImagePolicyStatus) => findCondition(status.conditions, 'Ready');

describe('decide', () => {
  interface Row {
    readonly when: string;
    readonly given: ObservationOptions;
    /** Trigger and tag of the rollout; absent: none. */
    readonly create?: readonly [trigger: string, tag: string];
    readonly reason: string;
  }

  it.each<Row>([
    {
      when: 'a newer tag is there',
      given: { workloads: [running('1.0.0')], tags: pushed('1.0.0', '1.1.0') },
      create: ['NewTag', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'the best tag runs',
      given: { workloads: [running('1.1.0')], tags: pushed('1.0.0', '1.1.0') },
      reason: 'UpToDate',
    },
    {
      when: 'the tag was pushed again',
      given: { workloads: [running('1.0.0')], tags: { '1.0.0': digestOf('again') } },
      create: ['NewDigest', '1.0.0'],
      reason: 'RollingOut',
    },
    {
      when: 'the tag was pushed again and digests are ignored',
      given: {
        policy: policy({ tags: { semver: { range: '1.x' }, digest: 'Ignore' } }),
        workloads: [running('1.0.0')],
        tags: { '1.0.0': digestOf('again') },
      },
      reason: 'UpToDate',
    },
    {
      when: 'the newer tag is the same image',
      given: {
        workloads: [running('1.0.0')],
        tags: { '1.0.0': candidate('1.0.0').digest, '1.1.0': candidate('1.0.0').digest },
      },
      reason: 'UpToDate',
    },
    {
      when: 'the pods run the chosen digest under a bare tag',
      given: {
        workloads: [workload({ containers: { web: 'ghcr.io/acme/web:1.1.0' } })],
        tags: pushed('1.1.0'),
        podDigest: candidate('1.1.0').digest,
      },
      reason: 'UpToDate',
    },
    {
      when: 'nobody can tell which digest runs under the best tag',
      given: { workloads: [workload({ containers: { web: 'ghcr.io/acme/web:1.1.0' } })], tags: pushed('1.1.0') },
      reason: 'UpToDate',
    },
    {
      when: 'a workload is pinned to another digest without a tag',
      given: {
        workloads: [workload({ containers: { web: `ghcr.io/acme/web@${digestOf('old')}` } })],
        tags: pushed('1.1.0'),
      },
      create: ['NewTag', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'what runs is above every tag of the range',
      given: { workloads: [running('2.0.0')], tags: pushed('1.0.0', '1.1.0', '2.0.0') },
      reason: 'NoTagQualifies',
    },
    {
      when: 'a workload joins what is selected',
      given: {
        policy: policy(
          {},
          { selected: { tag: '1.1.0', digest: candidate('1.1.0').digest }, targets: [accepted('1.1.0', 'old')] },
        ),
        workloads: [running('1.1.0', { name: 'old' }), running('1.0.0', { name: 'late' })],
        tags: pushed('1.0.0', '1.1.0'),
      },
      create: ['NewTarget', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'nothing is known of the registry yet',
      given: { workloads: [running('1.0.0')] },
      reason: 'Listing',
    },
    {
      when: 'the registry cannot be read',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0'),
        more: { problem: { code: 'Unavailable', message: 'no answer', stalls: false } },
      },
      reason: 'Unavailable',
    },
    {
      when: 'the best tag cannot be read, though an older one can',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0', '1.2.0'),
        facts: { '1.2.0': { digest: { kind: 'Failed', message: 'no answer' } } },
      },
      reason: 'CandidateUnreadable',
    },
    {
      when: 'the policy is suspended',
      given: {
        policy: policy({ suspend: true }),
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0'),
      },
      reason: 'Waiting',
    },
    {
      when: 'the workload is paused',
      given: {
        workloads: [running('1.0.0', { progress: { kind: 'paused', message: 'the Deployment is paused' } })],
        tags: pushed('1.1.0'),
      },
      reason: 'Waiting',
    },
    {
      when: "another policy's rollout moves the workload",
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0'),
        more: { busy: new Map([['uid-of-web', 'other-3']]) },
      },
      reason: 'Waiting',
    },
    {
      when: 'a tool manages the workload and nobody consented',
      given: {
        workloads: [running('1.0.0', { managedBy: { tool: 'Flux', mark: 'label kustomize.toolkit.fluxcd.io/name' } })],
        tags: pushed('1.1.0'),
      },
      reason: 'ManagedByGitOps',
    },
    {
      when: 'a tool manages the workload and somebody consented',
      given: {
        policy: policy({ rollout: { onForeignChange: 'Hold' } }),
        workloads: [running('1.0.0', { managedBy: { tool: 'Flux', mark: 'label kustomize.toolkit.fluxcd.io/name' } })],
        tags: pushed('1.1.0'),
      },
      create: ['NewTag', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'targets conflict',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0'),
        more: { targetProblems: [{ reason: 'TargetConflict', message: 'taken', stalls: true }] },
      },
      reason: 'TargetConflict',
    },
    {
      when: 'one of two targets is missing',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0'),
        more: { targetProblems: [{ reason: 'TargetNotFound', message: 'gone', stalls: false }] },
      },
      create: ['NewTag', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'somebody changed the image',
      given: {
        policy: policy({}, { targets: [accepted('1.1.0')] }),
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0', '1.2.0'),
      },
      reason: 'ManualHold',
    },
    {
      when: 'somebody changed the image to one above every tag',
      given: {
        policy: policy({}, { targets: [accepted('1.1.0')] }),
        workloads: [running('2.0.0')],
        tags: pushed('1.1.0'),
      },
      reason: 'ManualHold',
    },
    {
      when: 'somebody changed the image, and it is to be taken back',
      given: {
        policy: policy({ rollout: { onForeignChange: 'Reassert' } }, { targets: [accepted('1.1.0')] }),
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0'),
      },
      create: ['Reassert', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'somebody changed the image to one above every tag, and it is to be taken back',
      given: {
        policy: policy({ rollout: { onForeignChange: 'Reassert' } }, { targets: [accepted('1.1.0')] }),
        workloads: [running('2.0.0')],
        tags: pushed('1.0.0', '1.1.0', '2.0.0'),
      },
      create: ['Reassert', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'somebody set exactly what is wanted, and foreign changes are taken back',
      given: {
        policy: policy({ rollout: { onForeignChange: 'Reassert' } }, { targets: [accepted('1.1.0')] }),
        workloads: [running('1.2.0')],
        tags: pushed('1.1.0', '1.2.0'),
      },
      reason: 'UpToDate',
    },
    {
      when: 'somebody changed the image, it is to be taken back, and there is nothing to take it back to',
      given: {
        policy: policy({ rollout: { onForeignChange: 'Reassert' } }, { targets: [accepted('2.0.0')] }),
        workloads: [running('2.1.0')],
        tags: pushed('1.1.0', '2.0.0', '2.1.0'),
      },
      reason: 'ManualHold',
    },
    {
      when: 'a rollout of the policy is open',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.1.0', '1.2.0'),
        rollouts: [rollout(1, '1.0.0', '1.1.0', rolloutStatus('Applying', 'Pending'))],
      },
      reason: 'RollingOut',
    },
    {
      when: 'the best tag has failed here',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.2.0'),
        rollouts: [rollout(1, '1.0.0', '1.2.0', undone())],
      },
      reason: 'CandidateRejected',
    },
    {
      when: 'the best tag has failed here, and an older one is still an upgrade',
      given: {
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0', '1.2.0'),
        rollouts: [rollout(1, '1.0.0', '1.2.0', undone())],
      },
      create: ['NewTag', '1.1.0'],
      reason: 'RollingOut',
    },
    {
      when: 'the image that runs failed',
      given: {
        workloads: [running('1.1.0')],
        tags: pushed('1.0.0', '1.1.0'),
        rollouts: [
          rollout(
            1,
            '1.0.0',
            '1.1.0',
            rolloutStatus('Held', 'Failed', { target: { appliedTime: ENDED }, status: { failure, endTime: ENDED } }),
          ),
        ],
      },
      reason: 'Frozen',
    },
  ])('when $when: $reason', ({ given, create, reason }) => {
    const decision = decide(observation(given));

    const made = decision.create?.spec;
    expect(made && [made.trigger, made.images[0]?.tag]).toEqual(create);
    expect(ready(decision.status)?.reason).toBe(reason);
    expect(ready(decision.status)?.message).toMatch(/[a-z]{3}/);
  });

  it('moves only the workloads below a candidate', () => {
    const given = observation({
      workloads: [
        running('2.0.0', { name: 'high' }),
        running('1.0.0', { name: 'low' }),
        running('1.1.0', { name: 'there' }),
      ],
      tags: pushed('1.0.0', '1.1.0', '2.0.0'),
    });

    expect(decide(given).create?.spec.targets.map(({ name }) => name)).toEqual(['low']);
  });

  it('names who changed the image, from what and to what', () => {
    const given = observation({
      policy: policy({}, { targets: [accepted('1.1.0')] }),
      workloads: [running('1.0.0', { imageManagers: ['kubectl-set', 'kubectl-edit'] })],
      tags: pushed('1.0.0', '1.1.0'),
    });

    const hold = findCondition(decide(given).status.conditions, 'ManualHold');

    expect(hold?.message).toBe(
      `kubectl-set, kubectl-edit changed container web of Deployment web from ${at('1.1.0')} to ${at('1.0.0')}. Slipway stands back until that image is set back, or a person accepts it: kubectl slipway resume`,
    );
  });

  it('keeps the ledger and what runs while the spec cannot be understood', () => {
    const before: Partial<ImagePolicyStatus> = {
      targets: [accepted('1.1.0')],
      current: { images: [{ image: 'ghcr.io/acme/web', tag: '1.1.0' }], sinceTime: '2026-01-05T11:00:00Z' },
      selected: { tag: '1.1.0', digest: candidate('1.1.0').digest },
    };
    // As the cache hands out a spec that does not fit: without targets, and as the observer describes it.
    const given = observation({
      policy: policy({ targets: [] }, before),
      more: { problem: { code: 'InvalidSpec', message: 'spec.tags: no', stalls: true } },
    });

    const { status } = decide(given);

    expect(status).toMatchObject(before);
    expect(findCondition(status.conditions, 'Stalled')?.reason).toBe('InvalidSpec');
  });

  it('accepts what somebody set where it is exactly what is wanted and would be taken back otherwise', () => {
    const given = observation({
      policy: policy({ rollout: { onForeignChange: 'Reassert' } }, { targets: [accepted('1.1.0')] }),
      workloads: [running('1.2.0')],
      tags: pushed('1.1.0', '1.2.0'),
    });

    expect(decide(given).status.targets).toEqual([accepted('1.2.0')]);
  });

  it('goes on holding a contested field when the hour is over', () => {
    const contested = policy(
      { rollout: { onForeignChange: 'Reassert' } },
      {
        targets: [accepted('1.1.0')],
        conditions: [
          {
            type: 'ManualHold',
            status: 'True',
            reason: 'FieldContested',
            message: 'twice',
            observedGeneration: 1,
            lastTransitionTime: '2026-01-05T08:30:00Z',
          },
        ],
      },
    );
    const old = { trigger: 'Reassert' } as const;
    const done = rolloutStatus('Succeeded', 'Healthy');

    const decision = decide(
      observation({
        policy: contested,
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0'),
        rollouts: [rollout(1, '1.0.0', '1.1.0', done, old), rollout(2, '1.0.0', '1.1.0', done, old)],
      }),
    );

    expect(decision.create).toBeUndefined();
    expect(findCondition(decision.status.conditions, 'ManualHold')?.reason).toBe('FieldContested');
  });

  it('looks again at once when a policy without workloads has selected another image, and not after that', () => {
    const tags = pushed('1.1.0', '1.2.0');

    const first = decide(observation({ policy: policy({ targets: [] }), tags }));
    const second = decide(observation({ policy: policy({ targets: [] }, first.status), tags }));

    expect(first.status.selected?.tag).toBe('1.2.0');
    expect(first.lookAgainMs).toBe(0);
    expect(second.status.selected).toEqual(first.status.selected);
    expect(second.lookAgainMs).toBeUndefined();
  });

  it('selects nothing else while a policy without workloads is suspended', () => {
    const selected = { tag: '1.1.0', digest: candidate('1.1.0').digest };
    const suspended = policy({ targets: [], suspend: true }, { selected });

    const { status } = decide(observation({ policy: suspended, tags: pushed('1.1.0', '1.2.0') }));

    expect(status.selected).toEqual(selected);
    expect(ready(status)?.reason).toBe('Waiting');
  });

  it('keeps its selection while a rollout is on its way', () => {
    const selected = { tag: '1.1.0', digest: candidate('1.1.0').digest };
    const given = observation({
      policy: policy({}, { selected }),
      workloads: [running('1.0.0')],
      rollouts: [rollout(1, '1.0.0', '1.1.0', rolloutStatus('Verifying', 'Applied'))],
      tags: pushed('1.0.0', '1.1.0', '1.2.0'),
    });

    expect(decide(given).status.selected).toEqual(selected);
  });

  it('says nothing new of the tags while the digest of one is on its way', () => {
    const tags = { total: 2, considered: 2 };
    const given = observation({
      policy: policy({ suspend: true }, { tags }),
      workloads: [running('1.0.0')],
      tags: pushed('1.0.0', '1.1.0'),
      facts: { '1.0.0': {} },
    });

    expect(decide(given).status.tags).toEqual(tags);
  });

  it('leaves a workload alone that the last rollout found gone', () => {
    const given = observation({
      workloads: [running('1.0.0')],
      rollouts: [rollout(1, '1.0.0', '1.1.0', rolloutStatus('Aborted', 'Gone'))],
      tags: pushed('1.0.0', '1.1.0'),
    });

    expect(decide(given).create).toBeUndefined();
  });

  it('numbers a rollout above every one that has the name, whoever it belonged to', () => {
    const given = observation({ workloads: [running('1.0.0')], tags: pushed('1.1.0'), more: { highestNumber: 7 } });

    const { create, status } = decide(given);

    expect(create?.name).toBe('web-8');
    expect(status.lastRollout).toBe(8);
  });

  describe('forgetting finished rollouts', () => {
    const done = rolloutStatus('Succeeded', 'Healthy');
    const limited = (limit: number) => policy({ rollout: { historyLimit: limit } });

    it('keeps as many as asked for, and the one that brought what runs', () => {
      const rollouts = [1, 2, 3, 4].map((number) => rollout(number, `1.0.${number - 1}`, `1.0.${number}`, done));
      const [first] = rollouts as [ImageRollout];

      const given = observation({
        policy: limited(1),
        workloads: [running('1.0.4')],
        tags: pushed('1.0.4'),
        rollouts: [first, ...rollouts.slice(1)],
      });

      expect(decide(given).prune).toEqual(['web-1', 'web-2', 'web-3']);
    });

    it('keeps failures that still keep a candidate from being tried again', () => {
      const rollouts = [
        rollout(1, '1.0.0', '1.3.0', undone()),
        rollout(2, '1.0.0', '1.2.0', undone()),
        rollout(3, '1.0.0', '1.1.0', done),
      ];
      const given = observation({
        policy: limited(1),
        workloads: [running('1.1.0')],
        tags: pushed('1.0.0', '1.1.0', '1.2.0', '1.3.0'),
        rollouts,
      });

      expect(decide(given).prune).toEqual([]);
    });

    it('keeps what still counts against taking a foreign change back', () => {
      const more = { trigger: 'Reassert' } as const;
      const reassert = (number: number, creationTimestamp: string): ImageRollout => {
        const it = rollout(number, '1.0.0', '1.1.0', done, more);
        return { ...it, metadata: { ...it.metadata, creationTimestamp } };
      };
      const given = observation({
        policy: limited(1),
        workloads: [running('1.4.0')],
        tags: pushed('1.4.0'),
        rollouts: [
          reassert(1, '2026-01-05T10:59:59Z'),
          reassert(2, '2026-01-05T11:00:01Z'),
          rollout(3, '1.1.0', '1.4.0', done),
        ],
      });

      expect(decide(given).prune).toEqual(['web-1']);
    });
  });
});

describe('decide, when a person rejected what ran', () => {
  const rejection: ImageDecision = {
    apiVersion: 'slipway.dev/v1alpha1',
    kind: 'ImageDecision',
    metadata: { name: 'no', namespace: 'shop', uid: 'uid-of-no', resourceVersion: '1', creationTimestamp: ENDED },
    spec: { policy: 'web', decision: 'Reject', by: 'jane', digest: candidate('1.1.0').digest, reason: 'wrong logo' },
  };
  const good = { ...accepted('1.1.0'), good: [at('1.1.0'), at('1.0.0')] };

  it('goes back to the last good image, which is none that was rejected', () => {
    const { create, status } = decide(
      observation({
        policy: policy({}, { targets: [good] }),
        workloads: [running('1.1.0')],
        tags: pushed('1.0.0', '1.1.0'),
        decisions: [rejection],
      }),
    );

    expect(create?.spec).toMatchObject({ direction: 'Back', trigger: 'Reject', settings: { onFailure: 'Hold' } });
    expect(create?.spec.targets[0]?.containers[0]).toMatchObject({ from: at('1.1.0'), to: at('1.0.0') });
    expect(status.quarantine).toMatchObject([
      { cause: 'Rejected', tag: '1.1.0', message: 'rejected by jane: wrong logo' },
    ]);
  });

  it('remembers it, though the operator died before the status said so', () => {
    const back = rollout(1, '1.1.0', '1.0.0', rolloutStatus('Applying', 'Pending'), { trigger: 'Reject' });

    const { status } = decide(
      observation({
        policy: policy({}, { targets: [good] }),
        workloads: [running('1.1.0')],
        tags: pushed('1.0.0', '1.1.0'),
        rollouts: [back],
        decisions: [rejection],
      }),
    );

    expect(status.quarantine).toMatchObject([{ cause: 'Rejected', tag: '1.1.0' }]);
  });

  it('says when there is nothing good to go back to', () => {
    const { create, status } = decide(
      observation({
        policy: policy({}, { targets: [{ ...good, good: [at('1.1.0')] }] }),
        workloads: [running('1.1.0')],
        tags: pushed('1.1.0'),
        decisions: [rejection],
      }),
    );

    expect(create).toBeUndefined();
    expect(ready(status)).toMatchObject({ reason: 'RollbackBlocked', message: expect.stringContaining('slipway pin') });
  });
});

describe('decide, with companions and approvals', () => {
  const image = 'ghcr.io/acme/worker';
  const approval = (name: string, digest: string, by = 'jane'): ImageDecision => ({
    apiVersion: 'slipway.dev/v1alpha1',
    kind: 'ImageDecision',
    metadata: { name, namespace: 'shop', uid: `uid-of-${name}`, resourceVersion: '1', creationTimestamp: ENDED },
    spec: { policy: 'web', decision: 'Approve', by, digest },
  });
  const [old, fresh, next] = [digestOf('worker'), digestOf('worker again'), candidate('1.1.0').digest];
  const given = (worker: string, ...decisions: readonly ImageDecision[]) =>
    observation({
      policy: policy({ companions: [{ image }], gates: { approval: { required: 1, validFor: '168h' } } }),
      workloads: [workload({ containers: { web: at('1.0.0'), worker: `${image}:1.0.0@${old}` } })],
      tags: pushed('1.0.0', '1.1.0'),
      companions: { [image]: { '1.0.0': old, '1.1.0': worker as typeof old } },
      decisions,
    });

  it.each<{ when: string; decisions: readonly ImageDecision[]; worker?: string; moves: boolean }>([
    { when: 'nobody has approved anything', decisions: [], moves: false },
    { when: 'only the first image is approved', decisions: [approval('a', next)], moves: false },
    { when: 'only the companion is approved', decisions: [approval('a', fresh)], moves: false },
    {
      when: 'two people approved one each',
      decisions: [approval('a', next), approval('b', fresh, 'john')],
      moves: false,
    },
    { when: 'one person approved both', decisions: [approval('a', next), approval('b', fresh)], moves: true },
    { when: 'the companion stays as it is', decisions: [approval('a', next)], worker: old, moves: true },
  ])('moves: $moves, when $when', ({ decisions, worker = fresh, moves }) => {
    const { create, status } = decide(given(worker, ...decisions));

    expect(create !== undefined).toBe(moves);
    if (moves) return;
    expect(status.candidate).toMatchObject({
      digest: next,
      companions: [{ image, digest: fresh }],
      waiting: 'approval',
    });
    expect(ready(status)?.message).toContain('for each of');
  });
});

describe('decide, when a person and automation meet', () => {
  const pin = { tag: '1.1.0' };
  const resolved = { kind: 'resolved', tag: '1.1.0', digests: [candidate('1.1.0').digest] } as const;
  const seen = { tag: '1.1.0', digest: candidate('1.1.0').digest, sinceTime: ENDED };

  it('takes a foreign image back to the pin, by a rollout that the pin does not end', () => {
    const { create } = decide(
      observation({
        policy: policy({ pin, rollout: { onForeignChange: 'Reassert' } }, { pin: seen, targets: [accepted('1.1.0')] }),
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0'),
        more: { pin: resolved },
      }),
    );

    expect(create?.spec).toMatchObject({ pin, settings: { onFailure: 'Hold' }, images: [{ tag: '1.1.0' }] });
  });

  it('lets a pin overrule a manual change that no look has seen before', () => {
    const { create, status } = decide(
      observation({
        policy: policy({ pin }, { targets: [accepted('1.2.0')] }),
        workloads: [running('1.0.0')],
        tags: pushed('1.0.0', '1.1.0', '1.2.0'),
        more: { pin: resolved },
      }),
    );

    expect(create?.spec).toMatchObject({ trigger: 'Pin', images: [{ tag: '1.1.0' }] });
    expect(findCondition(status.conditions, 'ManualHold')).toBeUndefined();
  });

  it('does not let one cool down that was given up before it moved anything', () => {
    const aborted = { state: 'Aborted', endTime: ENDED } as const;
    const given = (status: ImageRolloutStatus) =>
      decide(
        observation({
          policy: policy({ rollout: { cooldown: '24h' } }, { targets: [accepted('1.0.0')] }),
          workloads: [running('1.0.0')],
          tags: pushed('1.0.0', '1.1.0'),
          rollouts: [rollout(1, '1.0.0', '1.1.0', status)],
        }),
      ).create;

    expect(given(aborted)).toBeDefined();
    expect(given({ ...aborted, claim: { holder: 'a', epoch: 1, time: ENDED } })).toBeUndefined();
  });

  describe('without targets', () => {
    const selected = { tag: '1.0.0', digest: candidate('1.0.0').digest };
    const reject = (tag: string): ImageDecision => ({
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImageDecision',
      metadata: { name: 'no', namespace: 'shop', uid: 'uid-of-no', resourceVersion: '1', creationTimestamp: ENDED },
      spec: { policy: 'web', decision: 'Reject', by: 'jane', digest: candidate(tag).digest },
    });

    it('selects the next one when the best is rejected', () => {
      const { status } = decide(
        observation({
          policy: policy({ targets: [] }, { selected }),
          tags: pushed('1.0.0', '1.1.0', '1.2.0'),
          decisions: [reject('1.2.0')],
        }),
      );

      expect(status.selected).toMatchObject({ tag: '1.1.0' });
    });

    it('looks again at once when what was selected is rejected', () => {
      const { status, lookAgainMs } = decide(
        observation({
          policy: policy({ targets: [] }, { selected }),
          tags: pushed('0.9.0', '1.0.0'),
          decisions: [reject('1.0.0')],
        }),
      );

      expect(status.selected).toBeUndefined();
      expect(lookAgainMs).toBe(0);
    });
  });

  it('lets a release act once on what is in quarantine since long ago', () => {
    const { digest } = candidate('1.1.0');
    const release: ImageDecision = {
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImageDecision',
      metadata: { name: 'go', namespace: 'shop', uid: 'uid-of-go', resourceVersion: '1', creationTimestamp: ENDED },
      spec: { policy: 'web', decision: 'Release', by: 'jane', digest },
    };
    const given = (status: Partial<ImagePolicyStatus>) =>
      decide(
        observation({
          policy: policy({}, { targets: [accepted('1.0.0')], quarantined: [digest], ...status }),
          workloads: [running('1.0.0')],
          tags: pushed('1.0.0', '1.1.0'),
          decisions: [release],
        }),
      );

    const first = given({});
    expect(first.create?.spec.images).toMatchObject([{ tag: '1.1.0' }]);
    expect(first.status.spentDecisions).toEqual(['uid-of-go']);
    const again = given({ spentDecisions: ['uid-of-go'] });
    expect(again.create).toBeUndefined();
    expect(again.status.quarantined).toEqual([digest]);
  });
});

describe('decide, when a digest is pinned', () => {
  it('writes the tag under which it is known, so that nothing lower is taken for newer afterwards', () => {
    const { digest } = candidate('1.0.0');

    const { create } = decide(
      observation({
        policy: policy({ pin: { digest } }, { targets: [{ ...accepted('1.1.0'), good: [at('1.1.0'), at('1.0.0')] }] }),
        workloads: [running('1.1.0')],
        tags: pushed('1.0.0', '1.1.0'),
        more: { pin: { kind: 'resolved', digests: [digest] } },
      }),
    );

    expect(create?.spec).toMatchObject({
      trigger: 'Pin',
      images: [{ tag: '1.0.0', digest }],
      targets: [{ containers: [{ to: at('1.0.0') }] }],
    });
  });
});

describe('decide, whatever is observed', () => {
  const tag = fc.constantFrom<string>('1.0.0', '1.1.0', '1.2.0', '1.3.0', '2.0.0', 'junk');
  const progress = fc.constantFrom<Workload['progress']>(
    { kind: 'healthy' },
    { kind: 'progressing', message: 'not yet' },
    { kind: 'paused', message: 'paused' },
    { kind: 'idle', message: 'nothing runs' },
  );
  const result = fc.constantFrom(
    rolloutStatus('Succeeded', 'Healthy', { target: { appliedTime: '2026-01-05T11:00:00Z' } }),
    rolloutStatus('Held', 'Failed', { target: { appliedTime: ENDED }, status: { failure, endTime: ENDED } }),
    undone(),
    rolloutStatus('Aborted', 'Contested'),
    rolloutStatus('Applying', 'Pending'),
    undefined,
  );
  const anything = fc
    .record({
      spec: fc.record({
        suspend: fc.boolean(),
        tags: fc.record({
          semver: fc.constant({ range: '1.x' }),
          digest: fc.constantFrom('Follow', 'Ignore'),
        }),
        rollout: fc.record(
          {
            onForeignChange: fc.constantFrom('Hold', 'Reassert'),
            historyLimit: fc.integer({ min: 1, max: 3 }),
          },
          { requiredKeys: [] },
        ),
      }),
      runs: fc.array(fc.record({ tag, accepted: fc.option(tag), progress, isManaged: fc.boolean() }), { maxLength: 3 }),
      tags: fc.option(fc.uniqueArray(tag)),
      moved: fc.subarray(['1.0.0', '1.1.0', '1.2.0']),
      failing: fc.subarray(['1.1.0', '1.2.0', '1.3.0']),
      past: fc.array(fc.record({ from: tag, to: tag, result, isReassert: fc.boolean() }), { maxLength: 4 }),
      problem: fc.option(
        fc.record({ code: fc.constant('Unavailable'), message: fc.constant('no'), stalls: fc.boolean() }),
      ),
      selected: fc.option(tag),
    })
    .map(({ spec, runs, tags, moved, failing, past, problem, selected }): ObservationOptions => ({
      policy: policy(spec, {
        targets: runs.flatMap((run, index) => (run.accepted === null ? [] : [accepted(run.accepted, `web-${index}`)])),
        ...(selected !== null && { selected: { tag: selected, digest: candidate(selected).digest } }),
      }),
      workloads: runs.map((run, index) =>
        running(run.tag, {
          name: `web-${index}`,
          progress: run.progress,
          ...(run.isManaged && { managedBy: { tool: 'Helm', mark: 'annotation meta.helm.sh/release-name' } }),
        }),
      ),
      ...(tags !== null && {
        tags: {
          ...pushed(...tags),
          ...Object.fromEntries(moved.filter((it) => tags.includes(it)).map((it) => [it, digestOf(`again ${it}`)])),
        },
      }),
      facts: Object.fromEntries(failing.map((it) => [it, { digest: { kind: 'Failed', message: 'no answer' } }])),
      rollouts: past.map((it, index) =>
        rollout(index + 1, it.from, it.to, it.result, {
          targets: [
            rolloutTarget({
              name: 'web-0',
              containers: [{ name: 'web', init: false, from: at(it.from), to: at(it.to) }],
            }),
          ],
          trigger: it.isReassert ? 'Reassert' : 'NewTag',
        }),
      ),
      ...(problem !== null && { more: { problem } }),
    }));

  const law = (name: string, holds: (given: PolicyObservation) => void): void =>
    it(name, () => {
      fc.assert(
        fc.property(anything, (options) => holds(observation(options))),
        { numRuns: 1_500 },
      );
    });

  law('starts nothing in doubt, while suspended, or while a rollout is open', (given) => {
    const isOpen = given.rollouts.some(({ status }) => !FINISHED_STATES.includes(status?.state ?? 'Pending'));

    const { create } = decide(given);

    if (given.problem !== undefined || given.found === undefined || given.policy.spec.suspend || isOpen) {
      expect(create).toBeUndefined();
    }
  });

  law('moves only listed tags by the digest they have now, only from what runs, and never downwards', (given) => {
    const { create } = decide(given);
    if (create === undefined) return;

    const [image] = create.spec.images;
    expect(given.found?.choice.eligible).toContainEqual(
      expect.objectContaining({ tag: image?.tag, digest: image?.digest }),
    );
    expect(create.spec.targets.length).toBeGreaterThan(0);
    for (const { uid, containers } of create.spec.targets) {
      const line = given.lines.find(({ target }) => target.workload.metadata.uid === uid);
      expect(containers).toMatchObject([
        {
          name: 'web',
          init: false,
          from: line?.target.container.image,
          to: `ghcr.io/acme/web:${image?.tag}@${image?.digest}`,
        },
      ]);
      expect(containers[0]?.from).not.toBe(containers[0]?.to);
      const from = line?.target.image?.tag ?? '';
      if (create.spec.trigger !== 'Reassert') expect(given.isAbove(from, image?.tag ?? '')).toBe(false);
    }
  });

  law('does not touch a foreign image unless told to reassert, nor a managed workload without consent', (given) => {
    const { create } = decide(given);

    for (const { uid } of create?.spec.targets ?? []) {
      const line = given.lines.find(({ target }) => target.workload.metadata.uid === uid);
      const { onForeignChange } = given.policy.spec.rollout;
      if (line?.standing === 'foreign') expect(onForeignChange).toBe('Reassert');
      if (line?.target.workload.managedBy !== undefined) expect(onForeignChange).toBeDefined();
    }
  });

  law('does not try the same digest again where it failed', (given) => {
    const { create } = decide(given);

    for (const { uid } of create?.spec.targets ?? []) {
      const failed = given.rollouts.filter(
        ({ spec, status }) => status?.failure !== undefined && spec.targets.some((target) => target.uid === uid),
      );
      expect(failed.map(({ spec }) => spec.images[0]?.digest)).not.toContain(create?.spec.images[0]?.digest);
    }
  });

  law('says the same again when nothing has changed', (given) => {
    const { create, status } = decide(given);
    if (create !== undefined) return;

    const later = { ...given, nowMs: NOW_MS + 60_000, policy: { ...given.policy, status } };

    expect(decide(later).status).toEqual(status);
  });

  law('is Ready in exactly one way, and Stalled or Reconciling only when it is not', (given) => {
    const { conditions = [] } = decide(given).status;

    const types = conditions.map(({ type }) => type);
    expect(new Set(types).size).toBe(types.length);
    const isReady = conditions.find(({ type }) => type === 'Ready')?.status === 'True';
    if (isReady) expect(types).toEqual(['Ready']);
    expect(types.includes('Stalled') && types.includes('Reconciling')).toBe(false);
  });
});
