// One look at one policy: observe, decide, and write what was decided. The rollout is created before the status says so,
// under a name that a second try would choose again, so a crash in between creates nothing twice.

import { isDeepStrictEqual } from 'node:util';
import { findCondition } from '../../api/conditions.ts';
import type { ImagePolicyStatus } from '../../api/image-policy.ts';
import { API_GROUP_VERSION, type ImagePolicy, type ImageRollout } from '../../api/kinds.ts';
import { TransientError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Result } from '../../kube/controller.ts';
import type { EventRecorder } from '../../kube/events.ts';
import type { Cache } from '../../kube/informer.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { ObjectKey } from '../../kube/resource.ts';
import { isLive } from '../../rollout/quarantine.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { imageDecisions, imagePolicies, imageRollouts } from '../resources.ts';
import { decide, type PolicyDecision } from './decide.ts';
import type { PolicyObserver } from './observe.ts';
import type { CachedPolicy } from './projection.ts';

export interface PolicyReconcilerDeps {
  /** Fenced: its writes fail as soon as the lease is lost. */
  readonly client: KubeClient;
  readonly observer: Pick<PolicyObserver, 'observe'>;
  readonly policies: Cache<CachedPolicy>;
  readonly rollouts: Cache<ImageRollout>;
  readonly events: Pick<EventRecorder, 'record'>;
}

interface Context {
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** Reasons of Ready=False that are part of a normal day. */
const ORDINARY_REASONS = new Set(['Waiting', 'RollingOut', 'Listing', 'Resolving', 'Suspended', 'Pinned']);

export class PolicyReconciler {
  readonly #deps: PolicyReconcilerDeps;

  constructor(deps: PolicyReconcilerDeps) {
    this.#deps = deps;
  }

  async reconcile(key: ObjectKey, context: Context): Promise<Result> {
    const observed = await this.#deps.observer.observe(key, context);
    if (observed === undefined) return {};
    const { policy } = observed.observation;
    const decision = decide(observed.observation);
    if (decision.create !== undefined) await this.#create(policy, decision.create, context);
    await this.#writeStatus(policy, decision.status, context);
    for (const name of decision.prune) {
      await this.#deps.client.delete(imageRollouts, { namespace: key.namespace, name }, { signal: context.signal });
    }
    for (const name of decision.forget) {
      await this.#deps.client.delete(imageDecisions, { namespace: key.namespace, name }, { signal: context.signal });
    }
    const waits = [observed.lookAgainMs, decision.lookAgainMs].filter((wait) => wait !== undefined);
    return waits.length === 0 ? {} : { requeueAfterMs: Math.max(0, Math.min(...waits)) };
  }

  async #create(
    policy: ImagePolicy,
    create: NonNullable<PolicyDecision['create']>,
    { signal, log }: Context,
  ): Promise<void> {
    const namespace = policy.metadata.namespace ?? '';
    log.info('Starting rollout', { rollout: create.name, trigger: create.spec.trigger, images: create.spec.images });
    try {
      const created = await this.#deps.client.create(
        imageRollouts,
        namespace,
        {
          metadata: {
            name: create.name,
            labels: { 'slipway.dev/policy': policy.metadata.name },
            ownerReferences: [
              {
                apiVersion: API_GROUP_VERSION,
                kind: 'ImagePolicy',
                name: policy.metadata.name,
                uid: policy.metadata.uid,
                controller: true,
                blockOwnerDeletion: false,
              },
            ],
          },
          spec: create.spec,
        },
        { signal },
      );
      this.#deps.rollouts.applyWrite(created);
    } catch (error) {
      if (!(error instanceof KubeError) || !error.isAlreadyExists) throw error;
      await this.#recognise(policy, create, signal);
    }
  }

  /** The name is taken: by our own earlier try, whose answer was lost, or by a rollout that the cache does not show yet. */
  async #recognise(
    policy: ImagePolicy,
    create: NonNullable<PolicyDecision['create']>,
    signal: AbortSignal,
  ): Promise<void> {
    const key = { namespace: policy.metadata.namespace ?? '', name: create.name };
    const existing = await this.#deps.client.get(imageRollouts, key, { signal });
    if (existing !== undefined) this.#deps.rollouts.applyWrite(existing);
    const isOurs =
      existing?.spec.policy.uid === policy.metadata.uid &&
      isDeepStrictEqual(existing.spec.targets, create.spec.targets) &&
      isDeepStrictEqual(existing.spec.images, create.spec.images);
    if (isOurs) return;
    throw new TransientError(`Creating rollout ${create.name}: the name is taken by another one`, {
      code: 'RolloutNameTaken',
    });
  }

  async #writeStatus(policy: CachedPolicy, status: ImagePolicyStatus, { signal, log }: Context): Promise<void> {
    if (isDeepStrictEqual(policy.status, status)) return;
    const { specProblem: _, ...object } = policy;
    const written = await this.#deps.client.replaceStatus(imagePolicies, { ...object, status }, { signal });
    this.#deps.policies.applyWrite(written);
    this.#announceChanges(policy, status);
    const before = findCondition(policy.status?.conditions, 'Ready');
    const after = findCondition(status.conditions, 'Ready');
    if (after === undefined || (before?.status === after.status && before.reason === after.reason)) return;
    log.info('Policy changed', { ready: after.status, reason: after.reason, because: after.message });
    this.#deps.events.record(referenceTo(policy), {
      type: after.status === 'True' || ORDINARY_REASONS.has(after.reason) ? 'Normal' : 'Warning',
      reason: after.reason,
      message: after.message,
      action: 'Reconcile',
    });
  }

  /** What people have to be told beside the state: what went into quarantine or out of it, and what needs them. */
  #announceChanges(policy: CachedPolicy, status: ImagePolicyStatus): void {
    const say = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
      this.#deps.events.record(referenceTo(policy), { type, reason, message, action: 'Reconcile' });
    const known = new Map((policy.status?.quarantine ?? []).map((entry) => [JSON.stringify(entry.images), entry]));
    for (const entry of status.quarantine ?? []) {
      const before = known.get(JSON.stringify(entry.images));
      const name = entry.tag ?? entry.images[0]?.digests[0] ?? '';
      if (isLive(entry) && (before === undefined || !isLive(before)))
        say('Warning', 'Quarantined', `${name} never rolls out again by itself: ${entry.message ?? entry.cause}`);
      if (!isLive(entry) && before !== undefined && isLive(before))
        say('Normal', 'Released', `${name} may be tried once more`);
    }
    for (const type of ['Frozen', 'RollbackUnavailable'] as const) {
      const condition = findCondition(status.conditions, type);
      if (condition !== undefined && findCondition(policy.status?.conditions, type) === undefined)
        say('Warning', type, condition.message);
    }
  }
}

function referenceTo({ metadata }: CachedPolicy) {
  return {
    apiVersion: API_GROUP_VERSION,
    kind: 'ImagePolicy',
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    uid: metadata.uid,
  };
}
