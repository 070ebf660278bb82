// Moves workloads: performs the steps that the rollout state machine asks for, one at a time, until there is nothing to
// do but wait. Workloads are read live, once per reconcile, and again after every write or refused write.
// @see operator/rollout/state-machine.ts

import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import type { ImageRolloutStatus, RolloutTarget, RolloutTargetStatus } from '../../api/image-rollout.ts';
import { API_GROUP_VERSION, type ImageDecision, type ImagePolicy, type ImageRollout } from '../../api/kinds.ts';
import { TransientError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Result } from '../../kube/controller.ts';
import type { EventRecorder } from '../../kube/events.ts';
import type { Cache } from '../../kube/informer.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { keyOf, type ObjectKey } from '../../kube/resource.ts';
import type { Check, CheckOutcome } from '../../rollout/checks/check.ts';
import { describeRejection, readDecisions } from '../../rollout/decisions.ts';
import type { TargetHealth } from '../../rollout/health/target-health.ts';
import {
  compareImages,
  nextStep,
  undoImage,
  type ObservedTarget,
  type RolloutObservation,
} from '../../rollout/state-machine.ts';
import { isFinished } from '../../rollout/verdict.ts';
import { imagePatch, releasePatch, type ImageChange } from '../../rollout/workloads/patch.ts';
import { toWorkload, type Workload } from '../../rollout/workloads/workload.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Clock } from '../../time/clock.ts';
import { parseTimestampMs } from '../../time/duration.ts';
import { imageRollouts } from '../resources.ts';
import { requireKind, type WorkloadKinds } from '../workload-kinds.ts';
import type { HealthReader } from './health-reader.ts';
import { findShutWindow } from './shut-window.ts';
import { findBlocker, findSuperseded, isNewer, Turns } from './turns.ts';

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
  /** Decisions of people, by policy. */
  readonly decisions: Cache<ImageDecision>;
  readonly health: Pick<HealthReader, 'read'>;
  /** The checks that a rollout has to pass, in the order of `settings.verify`. */
  readonly checksOf: (rollout: ImageRollout) => readonly Check[];
  /** Rollouts in flight at once. */
  readonly maxInFlight: number;
  /** Look at this rollout again, now. */
  readonly wake: (key: ObjectKey) => void;
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
/** So often the annotation is taken off at the end, before it is left where it is. */
const RELEASE_ATTEMPTS = 3;
/** More steps than any rollout of 100 workloads takes. */
const MAX_STEPS = 1_000;
/**
 * A run that its schedule starts wakes us, because the CronJob says so. One that a person starts shows there only when it
 * has ended, so the Jobs are looked at: often at first, and the less often the longer nobody came.
 */
const RUN_CHECK_MS = { least: 15_000, most: 300_000, ofAge: 0.1 };

export class RolloutReconciler {
  readonly #deps: RolloutReconcilerDeps;
  readonly #turns: Turns;
  /** When the checks of a rollout were last asked, by its uid. */
  readonly #asked = new LRUCache<string, number>({ max: 10_000 });

  constructor(deps: RolloutReconcilerDeps) {
    this.#deps = deps;
    this.#turns = new Turns({ rollouts: deps.rollouts, max: deps.maxInFlight });
  }

  async reconcile(key: ObjectKey, context: Context): Promise<Result> {
    const rollout = this.#deps.rollouts.get(key);
    if (rollout === undefined || rollout.metadata.deletionTimestamp !== undefined || isFinished(rollout.status))
      return {};
    for (const waiting of findSuperseded(rollout, this.#rivals(rollout))) this.#deps.wake(keyOf(waiting));
    using _turn = this.#turns.hold(rollout);
    return await this.#advance(rollout, context);
  }

  async #advance(first: ImageRollout, context: Context): Promise<Result> {
    let rollout = first;
    let targets = await this.#readTargets(rollout, context);
    let checks: readonly (CheckOutcome | undefined)[] | undefined;
    for (let count = 0; count < MAX_STEPS; count += 1) {
      const observation = this.#observe(rollout, targets, checks);
      const step = nextStep(observation);
      switch (step.kind) {
        case 'wait':
          return this.#waitFor(observation, step.wakeAtMs);
        case 'check':
          checks = await this.#ask(rollout, step.indexes, context);
          break;
        case 'record': {
          const before = rollout.status?.state;
          rollout = await this.#record(rollout, step.status, context);
          if (checks !== undefined) checks = [];
          if (rollout.status?.awaitsRun === true || rollout.status?.suspendedTime !== undefined) this.#callUp();
          // Each stage looks at its workloads in its own way.
          if (rollout.status?.state !== before) targets = await this.#readTargets(rollout, context);
          break;
        }
        case 'finish':
          for (const index of step.release) await this.#release(rollout, index, context);
          rollout = await this.#record(rollout, step.status, context);
          this.#deps.onFinished?.(rollout);
          this.#callUp();
          return {};
        case 'apply':
        case 'undo': {
          // The same write was refused a moment ago and that is on record: try again later.
          if (targets[step.index]?.writeProblem !== undefined) return { requeueAfterMs: WRITE_RETRY_MS };
          const written = await this.#write(rollout, step.index, step.kind, targets[step.index]?.live, context);
          targets = targets.with(step.index, written);
          break;
        }
      }
    }
    throw new TransientError(`Rollout ${first.metadata.name} did not come to rest`, { code: 'TooManySteps' });
  }

  /** A place is free: the next in line may try. */
  #callUp(): void {
    for (const waiting of this.#turns.callUp()) this.#deps.wake(keyOf(waiting));
  }

  #observe(
    rollout: ImageRollout,
    targets: readonly ObservedTarget[],
    checks: RolloutObservation['checks'],
  ): RolloutObservation {
    const { claimant, clock } = this.#deps;
    const { metadata, spec, status } = rollout;
    const policy = this.#policyOf(rollout);
    const rivals = this.#rivals(rollout);
    const blocker = findBlocker(rollout, rivals);
    const shut = policy === undefined ? undefined : findShutWindow(rollout, policy, clock.now());
    const turn = shut === undefined && blocker === undefined ? this.#turns.wait(rollout) : undefined;
    const blockedBy = blocker === undefined ? turn : `rollout ${blocker} moves the same workload`;
    const newer = rivals.find((other) => isNewer(other, rollout) && !isFinished(other.status));
    const rejected = this.#rejection(rollout);
    return {
      nowMs: clock.now(),
      name: metadata.name,
      generation: metadata.generation ?? 1,
      spec,
      ...(status !== undefined && { status }),
      ...(policy !== undefined && {
        policy: {
          generation: policy.metadata.generation ?? 0,
          suspend: policy.spec.suspend,
          ...(policy.spec.pin !== undefined && { pin: policy.spec.pin }),
        },
      }),
      ...(rejected !== undefined && { rejected }),
      ...(newer !== undefined && { supersededBy: newer.metadata.name }),
      claimant: claimant(),
      ...(blockedBy !== undefined && { blockedBy }),
      ...(shut !== undefined && { shut }),
      targets,
      ...(checks !== undefined && { checks }),
    };
  }

  /** Undefined when it is gone or was created anew. */
  #policyOf({ metadata, spec }: ImageRollout): ImagePolicy | undefined {
    const policy = this.#deps.policies.get({ namespace: metadata.namespace ?? '', name: spec.policy.name });
    const isAlive = policy?.metadata.uid === spec.policy.uid && policy.metadata.deletionTimestamp === undefined;
    return isAlive ? policy : undefined;
  }

  /** All rollouts of its workloads, itself included. */
  #rivals({ spec }: ImageRollout): ImageRollout[] {
    return spec.targets.flatMap(({ uid }) => [...this.#deps.rollouts.byIndex(ROLLOUTS_BY_TARGET, uid)]);
  }

  /** Whether this replica is the one that moves it, and it is not told to stand still. */
  #isActing(rollout: ImageRollout): boolean {
    const { holder, epoch } = this.#deps.claimant();
    const { claim } = rollout.status ?? {};
    return claim?.holder === holder && claim.epoch === epoch && this.#policyOf(rollout)?.spec.suspend === false;
  }

  /** A rejection of one of its images that it does not overrule. */
  #rejection({ metadata, spec }: ImageRollout): string | undefined {
    const all = this.#deps.decisions.byIndex('policy', `${metadata.namespace ?? ''}/${spec.policy.name}`);
    if (all.length === 0) return undefined;
    const { rejections } = readDecisions(all);
    for (const { digest, digests = [] } of spec.images) {
      for (const alias of [digest, ...digests]) {
        const made = rejections.get(alias);
        if (made !== undefined && spec.decisions?.includes(made.uid) !== true) return describeRejection(made);
      }
    }
    return undefined;
  }

  /** Empty when they were asked a moment ago. */
  async #ask(
    rollout: ImageRollout,
    indexes: readonly number[],
    { signal }: Context,
  ): Promise<readonly (CheckOutcome | undefined)[]> {
    const { uid, name, namespace = '' } = rollout.metadata;
    const nowMs = this.#deps.clock.monotonicMs();
    const lastMs = this.#asked.get(uid);
    if (lastMs !== undefined && nowMs - lastMs < POD_CHECK_MS - 500) return [];
    this.#asked.set(uid, nowMs);
    const [image] = rollout.spec.images;
    const checked = {
      namespace,
      name,
      uid,
      digest: image?.digest ?? '',
      ...(image?.tag !== undefined && { tag: image.tag }),
    };
    const checks = this.#deps.checksOf(rollout);
    return Promise.all(
      checks.map(async (check, index) => (indexes.includes(index) ? check.run(checked, signal) : undefined)),
    );
  }

  #waitFor(observation: RolloutObservation, wakeAtMs: number | undefined): Result {
    if (observation.policy?.suspend === true) return {};
    if (observation.status?.awaitsRun === true) {
      const { least, most, ofAge } = RUN_CHECK_MS;
      const ageMs = observation.nowMs - (parseTimestampMs(observation.status.startTime) ?? observation.nowMs);
      return { requeueAfterMs: Math.min(Math.max(ageMs * ofAge, least), most) };
    }
    if (wakeAtMs === undefined) return observation.blockedBy === undefined ? {} : { requeueAfterMs: BLOCKED_CHECK_MS };
    return { requeueAfterMs: Math.max(0, Math.min(wakeAtMs - observation.nowMs, POD_CHECK_MS)) };
  }

  async #readTargets(rollout: ImageRollout, { signal }: Context): Promise<ObservedTarget[]> {
    const observed: ObservedTarget[] = [];
    for (const index of rollout.spec.targets.keys()) {
      const live = await this.#readLive(rollout, index, signal);
      const health = live === undefined ? undefined : await this.#readHealth(rollout, index, live, signal);
      observed.push({ ...(live !== undefined && { live }), ...(health !== undefined && { health }) });
    }
    return observed;
  }

  /** Undefined while nothing is expected of the target. */
  async #readHealth(
    rollout: ImageRollout,
    index: number,
    live: Workload,
    signal: AbortSignal,
  ): Promise<TargetHealth | undefined> {
    const { status, spec } = rollout;
    const target = status?.targets?.[index];
    if (status?.claim === undefined) return this.#readHealthBefore(rollout, index, live, signal);
    if (target === undefined || status.suspendedTime !== undefined) return undefined;
    const isForward = status.state === 'Verifying' || status.state === 'Soaking';
    const isBack = status.state === 'RollingBack' && target.state === 'Undone';
    if (!isBack && !(isForward && (target.state === 'Applied' || target.state === 'Healthy'))) return undefined;
    const changes = changesOf(target, spec.targets[index], isBack ? 'undo' : 'apply');
    const soakSinceMs = parseTimestampMs(status.soakTime);
    return this.#deps.health.read(
      {
        workload: live,
        images: new Map(changes.map(({ name, to }) => [name, to])),
        ...(isBack && this.#isActing(rollout) && { failed: new Map(changes.map(({ name, from }) => [name, from])) }),
        sinceMs: parseTimestampMs(isBack ? target.undoTime : (target.appliedTime ?? status.startTime)) ?? 0,
        ...(soakSinceMs !== undefined && { soakSinceMs }),
      },
      signal,
    );
  }

  /** What the pods say of the image before, where not all of them are up: what an undo may bring back depends on it. */
  async #readHealthBefore(
    { spec }: ImageRollout,
    index: number,
    live: Workload,
    signal: AbortSignal,
  ): Promise<TargetHealth | undefined> {
    if (live.progress.kind !== 'progressing' || live.progress.isUnseen === true) return undefined;
    const images = new Map(spec.targets[index]?.containers.map(({ name, from }) => [name, from]));
    return this.#deps.health.read({ workload: live, images, sinceMs: 0 }, signal);
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

  /** Writes a target forward, or sets it back. */
  async #write(
    rollout: ImageRollout,
    index: number,
    what: 'apply' | 'undo',
    live: Workload | undefined,
    { signal, log }: Context,
  ): Promise<ObservedTarget> {
    const target = targetAt(rollout, index);
    const changes = changesOf(rollout.status?.targets?.[index], target, what);
    if (live === undefined) return {};
    if (live.rollout !== undefined && live.rollout !== rollout.metadata.name) {
      await this.#refuseIfReserved(rollout, live, signal);
    }
    const { resource, cache, type } = requireKind(this.#deps.workloads, target.kind);
    log.info(what === 'apply' ? 'Writing image' : 'Setting image back', {
      workload: `${target.kind}/${target.name}`,
      containers: changes,
    });
    try {
      const raw = await this.#deps.client.patchJson(
        resource,
        targetKey(rollout, index),
        imagePatch(type, { containers: changes }, live, rollout.metadata.name),
        { signal },
      );
      cache.applyWrite(raw);
      const written = toWorkload(type, raw);
      this.#announceWrite(rollout, index, what, changes, written);
      return { live: written };
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.isNotFound) return {};
      // What was decided on is no longer so: look again and decide anew.
      if (error.isConflict || error.isFailedTest) {
        const fresh = await this.#readLive(rollout, index, signal);
        if (fresh?.metadata.resourceVersion !== live.metadata.resourceVersion)
          return fresh === undefined ? {} : { live: fresh };
        // Nothing has moved: somebody refuses the write and says so in the same words.
        if (error.isConflict) throw error;
        log.warn('Writing the image was refused', { err: error });
        return { live: fresh, writeProblem: error.message.slice(0, 1024) };
      }
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        log.warn('Writing the image was refused', { err: error });
        return { live, writeProblem: error.message.slice(0, 1024) };
      }
      // A broken admission webhook answers like this, and may do so for ever: that must reach the deadline too.
      if (error.status >= 500) return this.#afterServerError(rollout, index, changes, error, signal);
      throw error;
    }
  }

  async #afterServerError(
    rollout: ImageRollout,
    index: number,
    changes: readonly ImageChange[],
    error: KubeError,
    signal: AbortSignal,
  ): Promise<ObservedTarget> {
    const live = await this.#readLive(rollout, index, signal);
    if (live === undefined) return {};
    const target = { ...targetAt(rollout, index), containers: [...changes] };
    const isUnwritten = compareImages(target, live) === 'before';
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

  async #release(rollout: ImageRollout, index: number, context: Context, attempt = 1): Promise<void> {
    const { signal } = context;
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
      if (!(error instanceof KubeError) || error.status < 400 || error.status === 429 || error.isConflict) throw error;
      // Gone, taken over, or refused: an annotation that names a finished rollout is free anyway, and the result has to be
      // told, also where an admission webhook is broken for good.
      if (error.status >= 500 && attempt < RELEASE_ATTEMPTS) await this.#release(rollout, index, context, attempt + 1);
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
    const reason = EVENT_REASONS[status.state];
    if (reason === undefined) return;
    this.#deps.events.record(
      { apiVersion: API_GROUP_VERSION, kind: 'ImagePolicy', namespace, name, uid },
      {
        type: status.state === 'Applying' || status.state === 'Succeeded' ? 'Normal' : 'Warning',
        reason,
        message: `${rollout.metadata.name}: ${status.message ?? status.state}`,
        action: 'Rollout',
        related: { apiVersion: API_GROUP_VERSION, kind: 'ImageRollout', ...keyOf(rollout), uid: rollout.metadata.uid },
      },
    );
  }

  #announceWrite(
    rollout: ImageRollout,
    index: number,
    what: 'apply' | 'undo',
    changes: readonly ImageChange[],
    written: Workload,
  ): void {
    const target = targetAt(rollout, index);
    const { group, version } = requireKind(this.#deps.workloads, target.kind).type;
    const images = changes.map(({ name, to }) => `${name} to ${to}`).join(', ');
    this.#deps.events.record(
      {
        apiVersion: `${group}/${version}`,
        kind: target.kind,
        namespace: written.metadata.namespace,
        name: written.metadata.name,
        uid: written.metadata.uid,
      },
      {
        type: what === 'apply' ? 'Normal' : 'Warning',
        reason: what === 'apply' ? 'ImageChanged' : 'ImageRolledBack',
        message:
          what === 'apply' ? `${rollout.metadata.name} set ${images}` : `${rollout.metadata.name} set back ${images}`,
        action: 'Rollout',
        related: { apiVersion: API_GROUP_VERSION, kind: 'ImageRollout', ...keyOf(rollout), uid: rollout.metadata.uid },
      },
    );
  }
}

/** What an event about the policy is called when the rollout comes to this state; undefined: it is no event. */
const EVENT_REASONS: Readonly<Partial<Record<ImageRolloutStatus['state'], string>>> = {
  Applying: 'RolloutStarted',
  RollingBack: 'RolloutFailed',
  Succeeded: 'RolloutSucceeded',
  RolledBack: 'RolledBack',
  RollbackFailed: 'RollbackFailed',
  Held: 'RolloutHeld',
  Aborted: 'RolloutAborted',
};

/** What is written into each container: forward, or back to what the claim settled. */
function changesOf(
  status: RolloutTargetStatus | undefined,
  target: RolloutTarget | undefined,
  what: 'apply' | 'undo',
): ImageChange[] {
  const containers = target?.containers ?? [];
  if (what === 'apply') return containers;
  return containers.map((container) => ({
    name: container.name,
    init: container.init,
    from: container.to,
    to: undoImage(status ?? {}, container) ?? container.to,
  }));
}

function targetKey(rollout: ImageRollout, index: number): ObjectKey {
  return { namespace: rollout.metadata.namespace ?? '', name: targetAt(rollout, index).name };
}

function targetAt({ spec, metadata }: ImageRollout, index: number): RolloutTarget {
  const target = spec.targets[index];
  if (target === undefined) throw new RangeError(`Rollout ${metadata.name} has no target ${index}`);
  return target;
}
