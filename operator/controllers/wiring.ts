// Who wakes whom: from a change in a cache to the keys that have to be looked at again. Waking too often costs a look;
// forgetting to wake costs correctness, so when in doubt these rules wake.

import { isDeepStrictEqual } from 'node:util';
import type { ImageDecision, ImageRollout } from '../api/kinds.ts';
import type { Controller } from '../kube/controller.ts';
import type { CacheEvent, Informer } from '../kube/informer.ts';
import { keyOf } from '../kube/resource.ts';
import { isFinished } from '../rollout/verdict.ts';
import type { Workload } from '../rollout/workloads/workload.ts';
import { POLICIES_BY_TARGET, ROLLOUTS_BY_POLICY } from './policy/observe.ts';
import type { CachedPolicy } from './policy/projection.ts';
import { reachesWorkload, targetIndexKeys } from './policy/targets.ts';
import { ROLLOUTS_BY_TARGET } from './rollout/reconciler.ts';

/** What the API server reports first on a start; live changes go before it. */
const BACKGROUND = { priority: -100 };
/** Workloads in motion before everything else. */
const URGENT = { priority: 100 };

export interface Wiring {
  readonly policies: Informer<CachedPolicy>;
  readonly decisions: Informer<ImageDecision>;
  readonly rollouts: Informer<ImageRollout>;
  readonly workloads: readonly Informer<Workload>[];
  readonly policyController: Pick<Controller, 'enqueue'>;
  readonly rolloutController: Pick<Controller, 'enqueue'>;
}

export function wire(wiring: Wiring): void {
  const { policies, decisions, rollouts, workloads, policyController, rolloutController } = wiring;

  const wakePoliciesOf = (namespace: string, kind: string, name: string): void => {
    for (const value of [`${namespace}/${kind}/${name}`, `${namespace}/${kind}/*`]) {
      for (const policy of policies.cache.byIndex(POLICIES_BY_TARGET, value)) policyController.enqueue(keyOf(policy));
    }
  };

  const wakeRivals = (values: readonly string[]): void => {
    for (const value of new Set(values)) {
      const [namespace = '', kind = '', name = ''] = value.split('/');
      if (name !== '*') wakePoliciesOf(namespace, kind, name);
      else
        for (const policy of policies.cache.list())
          if (policy.metadata.namespace === namespace) policyController.enqueue(keyOf(policy));
    }
  };

  policies.onEvent(({ type, object, previous, initial, isOwn }) => {
    if (type === 'updated' && !isSpecChange(object, previous)) {
      // A status that is not ours, such as the last words of a replica that had lost the lead, is judged anew.
      const isForeign = isOwn !== true && !isDeepStrictEqual(object.status, previous?.status);
      if (isForeign) policyController.enqueue(keyOf(object));
      // Who ends a freeze ends it for every policy of the workload.
      if (object.status?.resumedTime !== previous?.status?.resumedTime) wakeRivals(targetIndexKeys(object));
      return;
    }
    policyController.enqueue(keyOf(object), initial ? BACKGROUND : {});
    if (initial) return;
    for (const rollout of rollouts.cache.byIndex(
      ROLLOUTS_BY_POLICY,
      `${object.metadata.namespace ?? ''}/${object.metadata.name}`,
    )) {
      if (!isFinished(rollout.status)) rolloutController.enqueue(keyOf(rollout), URGENT);
    }
    // A rival came, went, or claims something else.
    wakeRivals([...targetIndexKeys(object), ...(previous === undefined ? [] : targetIndexKeys(previous))]);
  });

  decisions.onEvent(({ object, initial }) => {
    if (initial) return;
    const key = { namespace: object.metadata.namespace ?? '', name: object.spec.policy };
    policyController.enqueue(key, URGENT);
    for (const rollout of rollouts.cache.byIndex(ROLLOUTS_BY_POLICY, `${key.namespace}/${key.name}`)) {
      if (!isFinished(rollout.status)) rolloutController.enqueue(keyOf(rollout), URGENT);
    }
  });

  rollouts.onEvent(({ type, object, previous, initial }) => {
    const isEnded = type === 'deleted' || isFinished(object.status);
    if (!isEnded) rolloutController.enqueue(keyOf(object), URGENT);
    if (initial) return;
    const isSameStage =
      previous?.status?.state === object.status?.state && previous?.status?.awaitsRun === object.status?.awaitsRun;
    if (type === 'updated' && isSameStage) return;
    const namespace = object.metadata.namespace ?? '';
    policyController.enqueue({ namespace, name: object.spec.policy.name });
    if (!isEnded) return;
    // Whoever waited for these workloads may go on.
    for (const { kind, name, uid } of object.spec.targets) {
      wakePoliciesOf(namespace, kind, name);
      for (const other of rollouts.cache.byIndex(ROLLOUTS_BY_TARGET, uid)) {
        if (!isFinished(other.status)) rolloutController.enqueue(keyOf(other), URGENT);
      }
    }
  });

  /** Of the policies with a selector, only those that match the workload as it is or as it was. */
  const wakePoliciesFor = ({ object, previous }: CacheEvent<Workload>): void => {
    const { namespace, name } = object.metadata;
    for (const policy of policies.cache.byIndex(POLICIES_BY_TARGET, `${namespace}/${object.kind}/${name}`)) {
      policyController.enqueue(keyOf(policy));
    }
    for (const policy of policies.cache.byIndex(POLICIES_BY_TARGET, `${namespace}/${object.kind}/*`)) {
      const reaches = reachesWorkload(policy, object) || (previous !== undefined && reachesWorkload(policy, previous));
      if (reaches) policyController.enqueue(keyOf(policy));
    }
  };

  for (const informer of workloads) {
    informer.onEvent((event) => {
      if (event.initial || !isRelevant(event)) return;
      const { object } = event;
      wakePoliciesFor(event);
      for (const rollout of rollouts.cache.byIndex(ROLLOUTS_BY_TARGET, object.metadata.uid)) {
        if (!isFinished(rollout.status)) rolloutController.enqueue(keyOf(rollout), URGENT);
      }
    });
  }
}

/** A new generation, or the request to be deleted. */
function isSpecChange(policy: CachedPolicy, previous: CachedPolicy | undefined): boolean {
  return (
    previous === undefined ||
    previous.metadata.uid !== policy.metadata.uid ||
    previous.metadata.generation !== policy.metadata.generation ||
    previous.metadata.deletionTimestamp !== policy.metadata.deletionTimestamp
  );
}

/** Whether anything changed that a policy or a rollout looks at. */
function isRelevant({ type, object, previous }: CacheEvent<Workload>): boolean {
  if (type !== 'updated' || previous === undefined) return true;
  const { resourceVersion: _, generation: __, ...metadata } = object.metadata;
  const { resourceVersion: ___, generation: ____, ...before } = previous.metadata;
  return !isDeepStrictEqual({ ...object, metadata }, { ...previous, metadata: before });
}
