import { describe, expect, it } from '@jest/globals';
import { WORKLOAD_KINDS, type BuiltInKind } from '../../../operator/api/image-policy.ts';
import type { ImageDecision, ImagePolicy, ImageRollout } from '../../../operator/api/kinds.ts';
import { POLICIES_BY_TARGET, ROLLOUTS_BY_POLICY } from '../../../operator/controllers/policy/observe.ts';
import type { CachedPolicy } from '../../../operator/controllers/policy/projection.ts';
import { targetIndexKeys } from '../../../operator/controllers/policy/targets.ts';
import { ROLLOUTS_BY_TARGET } from '../../../operator/controllers/rollout/reconciler.ts';
import { wire } from '../../../operator/controllers/wiring.ts';
import { ObjectCache, type CacheEvent, type Projection } from '../../../operator/kube/cache.ts';
import { formatKey, type KubeObject, type ObjectKey } from '../../../operator/kube/resource.ts';
import { workloadTypes } from '../../../operator/rollout/workloads/index.ts';
import { toWorkload, type Workload } from '../../../operator/rollout/workloads/workload.ts';
import { imagePolicy, type ImagePolicyOptions } from '../../support/builders/policies.ts';
import {
  imageRollout,
  rolloutStatus,
  rolloutTarget,
  type ImageRolloutOptions,
} from '../../support/builders/rollouts.ts';
import { deploymentObject, type WorkloadObjectOptions } from '../../support/builders/workloads.ts';

/** What an informer is to the wiring: a cache and those who listen to it. */
function fakeInformer<T extends KubeObject, P extends Projection>(
  project: (raw: T) => P,
  indexes: Readonly<Record<string, (object: P) => readonly string[]>>,
) {
  const handlers: ((event: CacheEvent<P>) => void)[] = [];
  const cache = new ObjectCache<T, P>({
    project,
    indexes,
    namespaces: 'all',
    selective: false,
    freeze: true,
    onEvent: (event) => {
      for (const handler of handlers) handler(event);
    },
    onUnreadable: (key, error) => {
      throw new Error(`${formatKey(key)} cannot be read`, { cause: error });
    },
  });
  return { cache, onEvent: (handler: (event: CacheEvent<P>) => void) => void handlers.push(handler) };
}

/** Everything wired up; `woken` says who was, since it was last asked. */
class Wired {
  readonly policies = fakeInformer<ImagePolicy, CachedPolicy>((raw) => raw, { [POLICIES_BY_TARGET]: targetIndexKeys });
  readonly rollouts = fakeInformer<ImageRollout, ImageRollout>((raw) => raw, {
    [ROLLOUTS_BY_POLICY]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.policy.name}`],
    [ROLLOUTS_BY_TARGET]: ({ spec }) => spec.targets.map(({ uid }) => uid),
  });
  readonly decisions = fakeInformer<ImageDecision, ImageDecision>((raw) => raw, {});
  readonly workloads = Object.fromEntries(
    WORKLOAD_KINDS.map((kind) => [kind, fakeInformer((raw: KubeObject) => toWorkload(workloadTypes[kind], raw), {})]),
  ) as Record<BuiltInKind, ReturnType<typeof fakeInformer<KubeObject, Workload>>>;
  readonly #woken = new Set<string>();
  #version = 2_000;

  constructor() {
    const controller = (name: string) => ({
      enqueue: ({ name: object }: ObjectKey) => void this.#woken.add(`${name} ${object}`),
    });
    // The wiring uses the cache and the events of an informer, and nothing else.
    wire({
      policies: this.policies,
      decisions: this.decisions,
      rollouts: this.rollouts,
      workloads: Object.values(this.workloads),
      policyController: controller('policy'),
      rolloutController: controller('rollout'),
    } as unknown as Parameters<typeof wire>[0]);
  }

  /** Takes the list that an informer starts with, so that what follows is news. */
  start(...policies: readonly ImagePolicy[]): this {
    const listed = policies.map((policy) => this.policies.cache.prepare(policy));
    this.policies.cache.replace('', listed, '1500', { force: false });
    for (const informer of [this.rollouts, this.decisions, ...Object.values(this.workloads)]) {
      informer.cache.replace('', [], '1500', { force: false });
    }
    return this;
  }

  get woken(): string[] {
    const woken = [...this.#woken].sort();
    this.#woken.clear();
    return woken;
  }

  next<T extends KubeObject>(object: T): T {
    this.#version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
  }

  policy(options: ImagePolicyOptions, type: 'MODIFIED' | 'DELETED' = 'MODIFIED'): void {
    this.policies.cache.observe('', type, this.next(imagePolicy(options)));
  }

  rollout(options: ImageRolloutOptions, type: 'MODIFIED' | 'DELETED' = 'MODIFIED'): void {
    this.rollouts.cache.observe('', type, this.next(imageRollout(options)));
  }

  deployment(options: WorkloadObjectOptions = {}, type: 'MODIFIED' | 'DELETED' = 'MODIFIED'): void {
    this.workloads.Deployment.cache.observe('', type, this.next(deploymentObject(options)));
  }
}

const bySelector = { targets: [{ kind: 'Deployment', selector: { matchLabels: { tier: 'front' } } }] };
const onCronJob = { targets: [{ kind: 'CronJob', name: 'web' }] };
const applying = rolloutStatus('Applying', 'Pending');
const succeeded = rolloutStatus('Succeeded', 'Healthy');

describe('wire, when a person decides', () => {
  it('wakes the policy and its open rollouts, and nobody else', () => {
    const wired = new Wired().start(
      imagePolicy({ metadata: { name: 'web' } }),
      imagePolicy({ metadata: { name: 'api' } }),
    );
    wired.rollout({ number: 1, status: applying });
    wired.rollout({ number: 2, status: succeeded });
    expect(wired.woken).not.toEqual([]);

    wired.decisions.cache.observe(
      '',
      'MODIFIED',
      wired.next({
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImageDecision',
        metadata: { name: 'd', namespace: 'shop', uid: 'uid-of-d', resourceVersion: '1' },
        spec: { policy: 'web', decision: 'Resume', by: 'jane' },
      }),
    );

    expect(wired.woken).toEqual(['policy web', 'rollout web-1']);
  });
});

describe('wire', () => {
  it('wakes everything there is at the start', () => {
    expect(new Wired().start(imagePolicy({ name: 'one' }), imagePolicy({ name: 'two' })).woken).toEqual([
      'policy one',
      'policy two',
    ]);
  });

  it('wakes the policies that may have a changed workload as a target, and nobody else', () => {
    const wired = new Wired().start(
      imagePolicy({ name: 'named' }),
      imagePolicy({ name: 'selecting', spec: bySelector }),
      imagePolicy({ name: 'other-kind', spec: onCronJob }),
      imagePolicy({ name: 'elsewhere', metadata: { namespace: 'bar' } }),
    );
    expect(wired.woken).toHaveLength(4);

    const labels = { tier: 'front' };
    wired.deployment({ labels });
    expect(wired.woken).toEqual(['policy named', 'policy selecting']);

    wired.deployment({ name: 'api', labels });
    expect(wired.woken).toEqual(['policy selecting']);

    wired.deployment({ name: 'api' });
    expect(wired.woken).toEqual(['policy selecting']);

    wired.deployment({ name: 'api', containers: { web: 'ghcr.io/acme/web:2' } });
    expect(wired.woken).toEqual([]);

    wired.deployment({ labels }, 'DELETED');
    expect(wired.woken).toEqual(['policy named', 'policy selecting']);
  });

  it.each<{ when: string; change: WorkloadObjectOptions; isNews: boolean }>([
    { when: 'nothing that matters changed', change: { generation: 1 }, isNews: false },
    { when: 'its image changed', change: { containers: { web: 'ghcr.io/acme/web:2' } }, isNews: true },
    { when: 'its labels changed', change: { labels: { tier: 'front' } }, isNews: true },
    { when: 'it makes progress', change: { generation: 2 }, isNews: true },
    { when: 'a rollout marked it', change: { annotations: { 'slipway.dev/rollout': 'web-1' } }, isNews: true },
    { when: 'it was paused', change: { spec: { paused: true } }, isNews: true },
  ])('looks at a workload again when $when: $isNews', ({ change, isNews }) => {
    const wired = new Wired().start(imagePolicy());
    wired.deployment();
    wired.rollout({ status: applying });
    expect(wired.woken).toHaveLength(2);

    wired.deployment(change);

    expect(wired.woken).toEqual(isNews ? ['policy web', 'rollout web-1'] : []);
  });

  it('wakes the rollout of a workload that is deleted, or created anew', () => {
    const wired = new Wired().start(imagePolicy());
    wired.deployment();
    wired.rollout({ status: applying });
    expect(wired.woken).toHaveLength(2);

    wired.deployment({ uid: 'another' });
    expect(wired.woken).toEqual(['policy web', 'rollout web-1']);
  });

  it('looks at a policy again when its spec changed or it is being deleted, not when we wrote its status', () => {
    const wired = new Wired().start(imagePolicy());
    expect(wired.woken).toEqual(['policy web']);

    wired.policies.cache.applyWrite(wired.next(imagePolicy({ status: { observedGeneration: 1 } })));
    expect(wired.woken).toEqual([]);
    wired.policy({ status: { observedGeneration: 1 }, metadata: { labels: { team: 'shop' } } });
    expect(wired.woken).toEqual([]);
    wired.policy({ status: { observedGeneration: 0 } });
    expect(wired.woken).toEqual(['policy web']);
    const resumed = imagePolicy({ status: { observedGeneration: 0, resumedTime: '2026-01-05T08:00:00Z' } });
    wired.policies.cache.applyWrite(wired.next(resumed));
    expect(wired.woken).toEqual(['policy web']);
    wired.policy({ metadata: { generation: 2 } });
    expect(wired.woken).toEqual(['policy web']);
    wired.policy({ metadata: { generation: 2, deletionTimestamp: '2026-01-05T08:00:00Z' } });
    expect(wired.woken).toEqual(['policy web']);
    wired.policy({ metadata: { generation: 2 } }, 'DELETED');
    expect(wired.woken).toEqual(['policy web']);
  });

  it('wakes the open rollouts of a policy that changed or went', () => {
    const wired = new Wired().start(imagePolicy());
    wired.rollout({ number: 1, status: succeeded });
    wired.rollout({ number: 2, status: applying });
    expect(wired.woken).not.toEqual([]);

    wired.policy({ metadata: { generation: 2 } });
    expect(wired.woken).toEqual(['policy web', 'rollout web-2']);
    wired.policy({ metadata: { generation: 2 } }, 'DELETED');
    expect(wired.woken).toEqual(['policy web', 'rollout web-2']);
  });

  it('wakes the rivals of a policy that comes, goes, or wants something else', () => {
    const wired = new Wired().start(imagePolicy({ name: 'one' }), imagePolicy({ name: 'three', spec: onCronJob }));
    expect(wired.woken).toHaveLength(2);

    wired.policy({ name: 'two' });
    expect(wired.woken).toEqual(['policy one', 'policy two']);
    wired.policy({ name: 'two', spec: onCronJob, metadata: { generation: 2 } });
    expect(wired.woken).toEqual(['policy one', 'policy three', 'policy two']);
    wired.policy({ name: 'two', spec: onCronJob, metadata: { generation: 2 } }, 'DELETED');
    expect(wired.woken).toEqual(['policy three', 'policy two']);
  });

  it('wakes a policy when its rollout is there, changes its state, ends or is deleted', () => {
    const wired = new Wired().start(imagePolicy());
    expect(wired.woken).toHaveLength(1);

    wired.rollout({});
    expect(wired.woken).toEqual(['policy web', 'rollout web-1']);
    wired.rollout({ status: applying });
    expect(wired.woken).toEqual(['policy web', 'rollout web-1']);
    wired.rollout({ status: { ...applying, message: 'half way' } });
    expect(wired.woken).toEqual(['rollout web-1']);
    wired.rollout({ status: succeeded });
    expect(wired.woken).toEqual(['policy web']);
    wired.rollout({ status: succeeded }, 'DELETED');
    expect(wired.woken).toEqual(['policy web']);
  });

  it.each<{ how: string; end: (wired: Wired, first: ImageRolloutOptions) => void }>([
    { how: 'has ended', end: (wired, first) => wired.rollout({ ...first, status: succeeded }) },
    { how: 'is deleted', end: (wired, first) => wired.rollout({ ...first, status: applying }, 'DELETED') },
  ])('lets others go on with a workload when the rollout that had it $how', ({ end }) => {
    const wired = new Wired().start(imagePolicy({ name: 'web' }), imagePolicy({ name: 'proxy' }));
    const first = { spec: { targets: [rolloutTarget()] } };
    const second = {
      spec: { policy: { name: 'proxy', uid: 'uid-of-policy-proxy', generation: 1 }, targets: [rolloutTarget()] },
    };
    wired.rollout({ ...first, status: applying });
    wired.rollout(second);
    expect(wired.woken).not.toEqual([]);

    end(wired, first);

    expect(wired.woken).toEqual(['policy proxy', 'policy web', 'rollout proxy-1']);
  });
});
