// Moves workloads: performs the steps that the rollout state machine asks for, one at a time, until there is nothing to
// do but wait. Workloads are read live, once per reconcile, and again after every write or refused write.
// @see operator/rollout/state-machine.ts

import { isDeepStrictEqual } from 'node:util';
import type { ImageRolloutStatus, RolloutTarget } from '../../api/image-rollout.ts';
import { API_GROUP_VERSION, type ImagePolicy, type ImageRollout } from '../../api/kinds.ts';
import { TransientError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Result } from '../../kube/controller.ts';
import type { EventRecorder } from '../../kube/events.ts';
import type { Cache } from '../../kube/informer.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { keyOf, type ObjectKey } from '../../kube/resource.ts';
import { describePodTrouble } from '../../rollout/pod-trouble.ts';
import {
  compareImages,
  isFinished,
  nextStep,
  type ObservedTarget,
  type RolloutObservation,
} from '../../rollout/state-machine.ts';
import { imagePatch, releasePatch } from '../../rollout/workloads/patch.ts';
import { toWorkload, type Workload } from '../../rollout/workloads/workload.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Clock } from '../../time/clock.ts';
import { imageRollouts, pods } from '../resources.ts';
import { requireKind, type WorkloadKinds } from '../workload-kinds.ts';

/** Index of the rollout cache: uid of a workload → rollouts that name it. */
export const ROLLOUTS_BY_TARGET = 'target';

export interface RolloutReconcilerDeps {
  /** Fenced: its writes fail as soon as the lease is lost. */
  readonly client: KubeClient;
  readonly rollouts: Cache<ImageRollout>;
  readonly policies: Cache<ImagePolicy>;
  /** Told of every write, so that nobody decides on what was there before. */
  readonly workloads: WorkloadKinds;
  /** Who acts: this replica and the number of leader changes so far. */
  readonly claimant: () => { readonly holder: string; readonly epoch: number };
  readonly events: Pick<EventRecorder, 'record'>;
  readonly clock: Clock;
  /** Called when a rollout has finished. */
  readonly onFinished?: (rollout: ImageRollout) => void;
}

interface Context {
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** While a workload is not healthy, its pods are asked this often what they complain about. */
const POD_CHECK_MS = 10_000;
/** A refused write is tried again this often, until the deadline. */
const WRITE_RETRY_MS = 10_000;
/** Somebody else's rollout is waited for; its end wakes us, this is only the safety net. */
const BLOCKED_CHECK_MS = 30_000;
/** More steps than any rollout of 100 workloads takes. */
const MAX_STEPS = 1_000;

/** The rollouts that must finish before this one may claim: claimed ones, then older ones. */
export function findBlocker(rollout: ImageRollout, others: Iterable<ImageRollout>): string | undefined {
  const rank = (it: ImageRollout) =>
    [it.status?.claim === undefined ? '1' : '0', it.metadata.creationTimestamp ?? '', it.metadata.name].join(' ');
  let first: ImageRollout | undefined;
  for (const other of others) {
    if (other.metadata.uid === rollout.metadata.uid || isFinished(other.status)) continue;
    if (rank(other) < rank(rollout) && (first === undefined || rank(other) < rank(first))) first = other;
  }
  return first?.metadata.name;
}

export class RolloutReconciler {
  readonly #deps: RolloutReconcilerDeps;

  constructor(deps: RolloutReconcilerDeps) {
    this.#deps = deps;
  }

  async reconcile(key: ObjectKey, context: Context): Promise<Result> {
    let rollout = this.#deps.rollouts.get(key);
    if (rollout === undefined || rollout.metadata.deletionTimestamp !== undefined || isFinished(rollout.status))
      return {};
    const targets = await this.#readTargets(rollout, context);
    for (let count = 0; count < MAX_STEPS; count += 1) {
      const observation = this.#observe(rollout, targets);
      const step = nextStep(observation);
      switch (step.kind) {
        case 'wait':
          return this.#waitFor(observation, step.wakeAtMs);
        case 'record':
          rollout = await this.#record(rollout, step.status, context);
          break;
        case 'finish':
          for (const index of step.release) await this.#release(rollout, index, context);
          rollout = await this.#record(rollout, step.status, context);
          this.#deps.onFinished?.(rollout);
          return {};
        case 'apply': {
          // The same write was refused a moment ago and that is on record: try again later.
          if (targets[step.index]?.writeProblem !== undefined) return { requeueAfterMs: WRITE_RETRY_MS };
          targets[step.index] = await this.#apply(rollout, step.index, targets[step.index]?.live, context);
          break;
        }
      }
    }
    throw new TransientError(`Rollout ${key.name} did not come to rest`, { code: 'TooManySteps' });
  }

  #observe(rollout: ImageRollout, targets: readonly ObservedTarget[]): RolloutObservation {
    const { rollouts, policies, claimant, clock } = this.#deps;
    const { metadata, spec, status } = rollout;
    const policy = policies.get({ namespace: metadata.namespace ?? '', name: spec.policy.name });
    const isAlive = policy?.metadata.uid === spec.policy.uid && policy.metadata.deletionTimestamp === undefined;
    const rivals = spec.targets.flatMap(({ uid }) => rollouts.byIndex(ROLLOUTS_BY_TARGET, uid));
    const blockedBy = findBlocker(rollout, rivals);
    return {
      nowMs: clock.now(),
      name: metadata.name,
      generation: metadata.generation ?? 1,
      spec,
      ...(status !== undefined && { status }),
      ...(isAlive && { policy: { generation: policy.metadata.generation ?? 0, suspend: policy.spec.suspend } }),
      claimant: claimant(),
      ...(blockedBy !== undefined && { blockedBy }),
      targets,
    };
  }

  #waitFor(observation: RolloutObservation, wakeAtMs: number | undefined): Result {
    if (observation.policy?.suspend === true) return {};
    if (wakeAtMs === undefined) return observation.blockedBy === undefined ? {} : { requeueAfterMs: BLOCKED_CHECK_MS };
    return { requeueAfterMs: Math.max(0, Math.min(wakeAtMs - observation.nowMs, POD_CHECK_MS)) };
  }

  async #readTargets(rollout: ImageRollout, { signal }: Context): Promise<ObservedTarget[]> {
    const isVerifying = rollout.status?.state === 'Verifying';
    const observed: ObservedTarget[] = [];
    for (const [index, target] of rollout.spec.targets.entries()) {
      const live = await this.#readLive(rollout, index, signal);
      const podMessage =
        isVerifying && live?.progress.kind === 'progressing'
          ? await this.#askPods(
              live,
              target.containers.map(({ name }) => name),
              signal,
            )
          : undefined;
      observed.push({ ...(live !== undefined && { live }), ...(podMessage !== undefined && { podMessage }) });
    }
    return observed;
  }

  async #readLive(rollout: ImageRollout, index: number, signal: AbortSignal): Promise<Workload | undefined> {
    const target = targetAt(rollout, index);
    const { resource, cache, type } = requireKind(this.#deps.workloads, target.kind);
    const raw = await this.#deps.client.get(resource, targetKey(rollout, index), { signal });
    if (raw === undefined) return undefined;
    // Whoever decides from the cache must not decide on less than is known here.
    cache.applyWrite(raw);
    return toWorkload(type, raw);
  }

  /** Best effort: a message is no reason to fail. */
  async #askPods(live: Workload, containers: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    if (live.podSelector === undefined) return undefined;
    try {
      const { items } = await this.#deps.client.list(pods, {
        namespace: live.metadata.namespace,
        labelSelector: live.podSelector,
        limit: 100,
        signal,
      });
      return describePodTrouble(items, containers);
    } catch {
      return undefined;
    }
  }

  async #apply(
    rollout: ImageRollout,
    index: number,
    live: Workload | undefined,
    { signal, log }: Context,
  ): Promise<ObservedTarget> {
    const target = targetAt(rollout, index);
    if (live === undefined) return {};
    if (live.rollout !== undefined && live.rollout !== rollout.metadata.name) {
      await this.#refuseIfReserved(rollout, live, signal);
    }
    const { resource, cache, type } = requireKind(this.#deps.workloads, target.kind);
    log.info('Writing image', { workload: `${target.kind}/${target.name}`, containers: target.containers });
    try {
      const raw = await this.#deps.client.patchJson(
        resource,
        targetKey(rollout, index),
        imagePatch(type, target, live, rollout.metadata.name),
        { signal },
      );
      cache.applyWrite(raw);
      const written = toWorkload(type, raw);
      this.#announceWrite(rollout, index, written);
      return { live: written };
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.isNotFound) return {};
      // What was decided on is no longer so: look again and decide anew.
      if (error.isConflict || error.isFailedTest) {
        const fresh = await this.#readLive(rollout, index, signal);
        return fresh === undefined ? {} : { live: fresh };
      }
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        log.warn('Writing the image was refused', { err: error });
        return { live, writeProblem: error.message.slice(0, 1024) };
      }
      // A broken admission webhook answers like this, and may do so for ever: that must reach the deadline too.
      if (error.status >= 500) return this.#afterServerError(rollout, index, error, signal);
      throw error;
    }
  }

  async #afterServerError(
    rollout: ImageRollout,
    index: number,
    error: KubeError,
    signal: AbortSignal,
  ): Promise<ObservedTarget> {
    const live = await this.#readLive(rollout, index, signal);
    if (live === undefined) return {};
    const isUnwritten = compareImages(targetAt(rollout, index), live) === 'before';
    return { live, ...(isUnwritten && { writeProblem: error.message.slice(0, 1024) }) };
  }

  /** Another rollout's annotation counts only while that rollout exists and is unfinished. */
  async #refuseIfReserved(rollout: ImageRollout, live: Workload, signal: AbortSignal): Promise<void> {
    const key = { namespace: live.metadata.namespace, name: live.rollout ?? '' };
    const other = await this.#deps.client.get(imageRollouts, key, { signal });
    if (other === undefined || isFinished(other.status) || other.metadata.uid === rollout.metadata.uid) return;
    throw new TransientError(`${live.kind} ${live.metadata.name} is being moved by rollout ${key.name}`, {
      code: 'WorkloadBusy',
      retryAfterMs: 2_000,
    });
  }

  async #release(rollout: ImageRollout, index: number, { signal }: Context): Promise<void> {
    const { resource, cache } = requireKind(this.#deps.workloads, targetAt(rollout, index).kind);
    try {
      const raw = await this.#deps.client.patchJson(
        resource,
        targetKey(rollout, index),
        releasePatch(rollout.metadata.name),
        { signal },
      );
      cache.applyWrite(raw);
    } catch (error) {
      // Gone, taken over, or refused by 4xx: an annotation that names a finished rollout is free anyway.
      if (error instanceof KubeError && error.status >= 400 && error.status < 500 && error.status !== 429) return;
      throw error;
    }
  }

  async #record(rollout: ImageRollout, status: ImageRolloutStatus, { signal, log }: Context): Promise<ImageRollout> {
    if (isDeepStrictEqual(rollout.status, status)) return rollout;
    const written = await this.#deps.client.replaceStatus(imageRollouts, { ...rollout, status }, { signal });
    this.#deps.rollouts.applyWrite(written);
    if (rollout.status?.state !== status.state) {
      log.info('Rollout changed state', {
        from: rollout.status?.state ?? 'Pending',
        to: status.state,
        reason: status.message,
      });
      this.#announceState(written, status);
    }
    return written;
  }

  #announceState(rollout: ImageRollout, status: ImageRolloutStatus): void {
    const { namespace = '' } = rollout.metadata;
    const { name, uid } = rollout.spec.policy;
    const isBad = status.state === 'Held' || status.state === 'Aborted';
    if (status.state === 'Verifying' || status.state === 'Pending') return;
    this.#deps.events.record(
      { apiVersion: API_GROUP_VERSION, kind: 'ImagePolicy', namespace, name, uid },
      {
        type: isBad ? 'Warning' : 'Normal',
        reason: status.state === 'Applying' ? 'RolloutStarted' : `Rollout${status.state}`,
        message: `${rollout.metadata.name}: ${status.message ?? status.state}`,
        action: 'Rollout',
        related: { apiVersion: API_GROUP_VERSION, kind: 'ImageRollout', ...keyOf(rollout), uid: rollout.metadata.uid },
      },
    );
  }

  #announceWrite(rollout: ImageRollout, index: number, written: Workload): void {
    const target = targetAt(rollout, index);
    const { group, version } = requireKind(this.#deps.workloads, target.kind).type;
    this.#deps.events.record(
      {
        apiVersion: `${group}/${version}`,
        kind: target.kind,
        namespace: written.metadata.namespace,
        name: written.metadata.name,
        uid: written.metadata.uid,
      },
      {
        type: 'Normal',
        reason: 'ImageChanged',
        message: `${rollout.metadata.name} set ${target.containers.map(({ name, to }) => `${name} to ${to}`).join(', ')}`,
        action: 'Rollout',
        related: { apiVersion: API_GROUP_VERSION, kind: 'ImageRollout', ...keyOf(rollout), uid: rollout.metadata.uid },
      },
    );
  }
}

function targetKey(rollout: ImageRollout, index: number): ObjectKey {
  return { namespace: rollout.metadata.namespace ?? '', name: targetAt(rollout, index).name };
}

function targetAt({ spec, metadata }: ImageRollout, index: number): RolloutTarget {
  const target = spec.targets[index];
  if (target === undefined) throw new RangeError(`Rollout ${metadata.name} has no target ${index}`);
  return target;
}
