// The life of one ImageRollout, as a pure function from what is seen to the next single step. The caller performs the
// step, looks again and asks again, so a crash between any two steps loses nothing: the next leader sees the same facts.
//
//   Pending ──claim──▶ Applying ──every target written──▶ Verifying ──every target settled──▶ Succeeded
//      │                  │                                   │  ├─ one failed ─────────────▶ Held
//      │                  ├─ deadline: cannot be written ─────┼──┘
//      │                  └─ somebody else set the image ─────┴────────────────────────────▶ Aborted
//      └─ the policy was edited or deleted ────────────────────────────────────────────────▶ Aborted
//
//   Each target: Pending ─▶ Applied ─▶ Healthy | Failed, or from any of the first two: Gone (deleted, created anew),
//   Contested (somebody else set another image, or took ours back). A finished rollout never changes again.
//
// Claim, act, finalise: the claim is a compare-and-set on the rollout's own status, every write to a workload tests the
// version it was decided on, and the result is recorded last.

import { isDeepStrictEqual } from 'node:util';
import { updateConditions, type ConditionClaim } from '../api/conditions.ts';
import {
  FINISHED_STATES,
  type ImageRolloutSpec,
  type ImageRolloutStatus,
  type RolloutState,
  type RolloutTarget,
  type RolloutTargetStatus,
} from '../api/image-rollout.ts';
import { formatDurationMs, parseDurationMs, parseTimestampMs, toTimestamp } from '../time/duration.ts';
import type { Workload } from './workloads/workload.ts';

/** What is true right now. `live` comes from a GET, never from a cache. */
export interface RolloutObservation {
  readonly nowMs: number;
  readonly name: string;
  readonly generation: number;
  readonly spec: ImageRolloutSpec;
  /** Absent until the rollout is claimed. */
  readonly status?: ImageRolloutStatus;
  /** The policy as it is now; absent when it is gone or was created anew. */
  readonly policy?: { readonly generation: number; readonly suspend: boolean };
  /** Who would act. */
  readonly claimant: { readonly holder: string; readonly epoch: number };
  /** An older unfinished rollout that has one of these workloads; absent when the way is free. */
  readonly blockedBy?: string;
  /** In the order of `spec.targets`. */
  readonly targets: readonly ObservedTarget[];
}

export interface ObservedTarget {
  /** Absent when no workload of this name exists. */
  readonly live?: Workload;
  /** What its pods complain about, quoted; absent when they do not, or were not asked. */
  readonly podMessage?: string;
  /** Why the last attempt to write it was refused, when that was no conflict. */
  readonly writeProblem?: string;
}

export type RolloutStep =
  /** Nothing to do before something changes, or `wakeAtMs` comes. */
  | { readonly kind: 'wait'; readonly wakeAtMs?: number }
  /** Write this status, then look again. */
  | { readonly kind: 'record'; readonly status: ImageRolloutStatus }
  /** Write the images of this target, then look again. */
  | { readonly kind: 'apply'; readonly index: number }
  /** Take the annotations off these targets, write this status, done. */
  | { readonly kind: 'finish'; readonly status: ImageRolloutStatus; readonly release: readonly number[] };

const MAX_MESSAGE_LENGTH = 2048;
const MAX_TARGET_MESSAGE_LENGTH = 1024;
const CLAIM_RESPITE_MS = 15_000;

export function isFinished(status: Pick<ImageRolloutStatus, 'state'> | undefined): boolean {
  return status !== undefined && FINISHED_STATES.includes(status.state);
}

/** How the live images of a target compare with what the rollout knows. */
export type TargetImages = 'before' | 'after' | 'foreign' | 'gone';

export function compareImages(target: RolloutTarget, live: Workload | undefined): TargetImages {
  if (live === undefined || live.metadata.uid !== target.uid) return 'gone';
  let isAfter = true;
  for (const wanted of target.containers) {
    const container = live.containers.find(({ name, init }) => name === wanted.name && init === wanted.init);
    if (container === undefined) return 'foreign';
    if (container.image === wanted.to) continue;
    if (container.image !== wanted.from) return 'foreign';
    isAfter = false;
  }
  return isAfter ? 'after' : 'before';
}

/** The next step. Total: every observation has one. */
export function nextStep(observation: RolloutObservation): RolloutStep {
  const { status, policy, spec } = observation;
  if (isFinished(status)) return { kind: 'wait' };
  if (policy === undefined) return finish(observation, 'Aborted', 'the policy is gone: the workloads stay as they are');
  if (status === undefined || status.state === 'Pending') {
    if (policy.generation !== spec.policy.generation) {
      return finish(observation, 'Aborted', 'the policy was edited before anything was changed');
    }
    if (policy.suspend || observation.blockedBy !== undefined) return waitPending(observation);
    return { kind: 'record', status: claim(observation) };
  }
  if (policy.suspend) return pause(observation, status);
  if (status.suspendedTime !== undefined) return { kind: 'record', status: resume(observation, status) };
  if (!isOurs(status.claim, observation)) {
    const untilMs = respiteUntilMs(status.claim, observation);
    if (untilMs !== undefined) return { kind: 'wait', wakeAtMs: untilMs };
    return { kind: 'record', status: { ...status, claim: newClaim(observation) } };
  }
  return status.state === 'Applying' ? stepApplying(observation, status) : stepVerifying(observation, status);
}

function waitPending(observation: RolloutObservation): RolloutStep {
  const message =
    observation.policy?.suspend === true
      ? 'waits: the policy is suspended'
      : `waits for rollout ${observation.blockedBy ?? ''}, which moves the same workload`;
  if (observation.status?.message === message) return { kind: 'wait' };
  return { kind: 'record', status: describe(observation, { state: 'Pending', message }) };
}

function newClaim({ claimant, nowMs }: RolloutObservation): NonNullable<ImageRolloutStatus['claim']> {
  return { holder: claimant.holder, epoch: claimant.epoch, time: toTimestamp(nowMs) };
}

function isOurs(claim: ImageRolloutStatus['claim'], { claimant }: RolloutObservation): boolean {
  return claim?.holder === claimant.holder && claim.epoch === claimant.epoch;
}

/**
 * How long another replica's claim is left alone: a later leader's, or an equal's, as when two replicas lead by
 * different leases. Without it they would take the rollout from each other for ever, and neither would move it. Absent
 * when the claim may be taken over at once.
 */
function respiteUntilMs(
  claim: ImageRolloutStatus['claim'],
  { claimant, nowMs }: RolloutObservation,
): number | undefined {
  if (claim === undefined || claim.holder === claimant.holder || claim.epoch < claimant.epoch) return undefined;
  const sinceMs = parseTimestampMs(claim.time) ?? nowMs;
  const isRecent = sinceMs <= nowMs && nowMs < sinceMs + CLAIM_RESPITE_MS;
  return isRecent ? sinceMs + CLAIM_RESPITE_MS : undefined;
}

function deadlineAfter({ spec, nowMs }: RolloutObservation): string {
  return toTimestamp(nowMs + parseDurationMs(spec.settings.progressDeadline) + 999);
}

function claim(observation: RolloutObservation): ImageRolloutStatus {
  const { spec, nowMs, targets } = observation;
  return describe(observation, {
    state: 'Applying',
    message: `writing ${describeImages(spec)} to ${countOf(spec.targets.length, 'workload')}`,
    claim: newClaim(observation),
    startTime: toTimestamp(nowMs),
    deadlineTime: deadlineAfter(observation),
    targets: spec.targets.map((target, index): RolloutTargetStatus => {
      const resourceVersion = targets[index]?.live?.metadata.resourceVersion;
      return {
        kind: target.kind,
        name: target.name,
        state: 'Pending',
        ...(resourceVersion !== undefined && { resourceVersion }),
      };
    }),
  });
}

function pause(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  if (status.suspendedTime !== undefined) return { kind: 'wait' };
  return {
    kind: 'record',
    status: describe(observation, {
      ...status,
      suspendedTime: toTimestamp(observation.nowMs),
      message: 'paused where it is: the policy is suspended',
    }),
  };
}

function resume(observation: RolloutObservation, status: ImageRolloutStatus): ImageRolloutStatus {
  const { suspendedTime, ...rest } = status;
  const pausedMs = Math.max(0, observation.nowMs - (parseTimestampMs(suspendedTime) ?? observation.nowMs));
  const deadlineMs = parseTimestampMs(status.deadlineTime);
  return describe(observation, {
    ...rest,
    ...(deadlineMs !== undefined && { deadlineTime: toTimestamp(deadlineMs + pausedMs) }),
    message: 'goes on: the policy is no longer suspended',
  });
}

function stepApplying(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const { spec, targets, nowMs } = observation;
  const isLate = nowMs >= (parseTimestampMs(status.deadlineTime) ?? Infinity);
  let blocked: number | undefined;
  const judged = spec.targets.map((target, index): RolloutTargetStatus => {
    const before = targetStatus(status, target, index);
    if (before.state !== 'Pending') return before;
    const live = targets[index]?.live;
    const wasWritten = hasOurMark(observation.name, before, live);
    const applied = { ...withoutMessage(before), ...(wasWritten && { appliedTime: toTimestamp(nowMs) }) };
    switch (compareImages(target, live)) {
      case 'gone':
        return { ...before, state: 'Gone', message: `${target.kind} ${target.name} was deleted or created anew` };
      case 'foreign':
        return { ...applied, state: 'Contested', message: describeForeign(target, live) };
      case 'after':
        return { ...applied, state: 'Applied' };
      case 'before': {
        // Written and set back before that was on record: writing again would overwrite somebody's decision.
        if (wasWritten) return { ...applied, state: 'Contested', message: describeForeign(target, live) };
        const problem = targets[index]?.writeProblem ?? before.message;
        // The deadline is for writes that are refused. One that a crash prevented is still owed.
        if (isLate && problem !== undefined) return { ...before, state: 'Failed', message: problem };
        blocked ??= index;
        return problem === undefined ? before : { ...before, message: problem };
      }
    }
  });
  const hasFailed = judged.some(({ state }) => state === 'Failed');
  const next = hasFailed ? judged.map(giveUp) : judged;
  if (blocked !== undefined && !hasFailed) {
    // Each write is put on record before the next one, a refused write once; the caller tries it again with back-off.
    const described = describe(observation, {
      ...status,
      targets: next,
      message: next[blocked]?.message ?? status.message,
    });
    return isDeepStrictEqual(described, status)
      ? { kind: 'apply', index: blocked }
      : { kind: 'record', status: described };
  }
  return {
    kind: 'record',
    status: describe(observation, {
      ...status,
      state: 'Verifying',
      targets: next,
      deadlineTime: deadlineAfter(observation),
      message: `${describeImages(spec)} is written; waiting for the workloads to become healthy`,
    }),
  };
}

/**
 * Whether this rollout has written the workload. A mark that was there, on this very version, when the rollout was
 * claimed is an older rollout's: that of a policy of the same name which was deleted in the middle of its work.
 */
function hasOurMark(name: string, before: RolloutTargetStatus, live: Workload | undefined): boolean {
  return live?.rollout === name && live.metadata.resourceVersion !== before.resourceVersion;
}

function giveUp(target: RolloutTargetStatus): RolloutTargetStatus {
  if (target.state !== 'Pending') return target;
  return { ...target, state: 'Failed', message: 'not written, because another workload could not be written' };
}

function stepVerifying(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const { spec, targets, nowMs } = observation;
  const deadlineMs = parseTimestampMs(status.deadlineTime) ?? Infinity;
  const isLate = nowMs >= deadlineMs;
  let isUnproven = false;
  const next = spec.targets.map((target, index): RolloutTargetStatus => {
    const before = targetStatus(status, target, index);
    if (before.state !== 'Applied' && before.state !== 'Healthy') return before;
    const observed = targets[index];
    const live = observed?.live;
    const images = compareImages(target, live);
    if (images === 'gone')
      return { ...before, state: 'Gone', message: `${target.kind} ${target.name} was deleted or created anew` };
    if (images !== 'after' || live === undefined)
      return { ...before, state: 'Contested', message: describeForeign(target, live) };
    const { progress } = live;
    switch (progress.kind) {
      case 'healthy':
        return withoutMessage({ ...before, state: 'Healthy' });
      case 'idle':
        isUnproven = true;
        return { ...before, state: 'Healthy', message: progress.message };
      case 'paused':
        // Told not to move is no evidence against the image.
        if (!isLate) return { ...before, state: 'Applied', message: progress.message };
        isUnproven = true;
        return { ...before, state: 'Healthy', message: progress.message };
      case 'progressing': {
        const message =
          observed?.podMessage === undefined ? progress.message : `${progress.message}: ${observed.podMessage}`;
        return { ...before, state: isLate ? 'Failed' : 'Applied', message };
      }
    }
  });
  const progressed: ImageRolloutStatus = { ...status, targets: next };
  if (next.every(({ state }) => state !== 'Applied')) return settle(observation, progressed, isUnproven);
  const waitingFor = next
    .filter(({ state }) => state === 'Applied')
    .map(({ kind, name, message }) => `${kind} ${name}: ${message ?? 'not healthy yet'}`);
  const described = describe(observation, { ...progressed, message: waitingFor.join('; ') });
  return isDeepStrictEqual(described, status)
    ? { kind: 'wait', wakeAtMs: deadlineMs }
    : { kind: 'record', status: described };
}

/** Every target has come to its end: the result. */
function settle(observation: RolloutObservation, status: ImageRolloutStatus, isUnproven: boolean): RolloutStep {
  const targets = status.targets ?? [];
  const of = (state: RolloutTargetStatus['state']) => targets.filter((target) => target.state === state);
  const quote = (entries: readonly RolloutTargetStatus[]) =>
    entries.map(({ kind, name, message }) => `${kind} ${name}: ${message ?? ''}`).join('; ');
  const what = describeImages(observation.spec);
  const contested = of('Contested');
  const failed = of('Failed');
  if (contested.length > 0)
    return finish(observation, 'Aborted', `somebody else changed the image. ${quote(contested)}`, status);
  if (failed.length > 0) {
    const within = formatDurationMs(parseDurationMs(observation.spec.settings.progressDeadline));
    return finish(observation, 'Held', `not healthy within ${within}, and left as it is. ${quote(failed)}`, status);
  }
  if (of('Gone').length === targets.length) return finish(observation, 'Aborted', 'every workload is gone', status);
  const healthy = `${countOf(of('Healthy').length, 'workload')} ${of('Healthy').length === 1 ? 'runs' : 'run'} ${what}`;
  return isUnproven
    ? finish(
        observation,
        'Succeeded',
        `${healthy}, as yet unproven. ${quote(of('Healthy').filter(({ message }) => message !== undefined))}`,
        { ...status, unproven: true },
      )
    : finish(observation, 'Succeeded', healthy, status);
}

function finish(
  observation: RolloutObservation,
  state: Extract<RolloutState, 'Succeeded' | 'Held' | 'Aborted'>,
  message: string,
  status: Partial<ImageRolloutStatus> | undefined = observation.status,
): RolloutStep {
  const { suspendedTime: _, ...rest } = status ?? {};
  return {
    kind: 'finish',
    // What was never claimed was never written: a mark of this name is then another one's.
    release: observation.targets.flatMap(({ live }, index) =>
      status?.claim !== undefined && live?.rollout === observation.name ? [index] : [],
    ),
    status: describe(observation, {
      ...rest,
      state,
      message,
      // The clock may have jumped back meanwhile.
      endTime: toTimestamp(Math.max(observation.nowMs, parseTimestampMs(status?.startTime) ?? 0)),
    }),
  };
}

/** Adds what follows from the state (conditions and the observed generation) and cuts messages to the schema's size. */
function describe(observation: RolloutObservation, status: ImageRolloutStatus): ImageRolloutStatus {
  const message = cut(status.message ?? status.state, MAX_MESSAGE_LENGTH);
  const claims: ConditionClaim[] = [];
  if (status.state === 'Succeeded') claims.push({ type: 'Ready', status: 'True', reason: 'Succeeded', message });
  else claims.push({ type: 'Ready', status: 'False', reason: status.state, message });
  if (!isFinished(status)) claims.push({ type: 'Reconciling', status: 'True', reason: status.state, message });
  if (status.state === 'Held' || status.state === 'Aborted') {
    claims.push({ type: 'Stalled', status: 'True', reason: status.state, message });
  }
  return {
    ...status,
    message,
    ...(status.targets !== undefined && {
      targets: status.targets.map((target) =>
        target.message === undefined ? target : { ...target, message: cut(target.message, MAX_TARGET_MESSAGE_LENGTH) },
      ),
    }),
    observedGeneration: observation.generation,
    conditions: updateConditions(observation.status?.conditions, claims, observation),
  };
}

/** A cut through the middle of a character would come back changed from the API server. */
function cut(message: string, maxLength: number): string {
  return message.slice(0, maxLength).toWellFormed();
}

function targetStatus(status: ImageRolloutStatus, target: RolloutTarget, index: number): RolloutTargetStatus {
  return status.targets?.[index] ?? { kind: target.kind, name: target.name, state: 'Pending' };
}

function withoutMessage({ message: _, ...rest }: RolloutTargetStatus): RolloutTargetStatus {
  return rest;
}

function describeForeign(target: RolloutTarget, live: Workload | undefined): string {
  for (const wanted of target.containers) {
    const container = live?.containers.find(({ name, init }) => name === wanted.name && init === wanted.init);
    if (container === undefined) return `container ${wanted.name} no longer exists`;
    if (container.image !== wanted.to && container.image !== wanted.from) {
      const by = container.imageManagers.length > 0 ? container.imageManagers.join(', ') : 'somebody';
      return `${by} set container ${wanted.name} to ${container.image}`;
    }
  }
  return 'the image was set back to what it was before';
}

function describeImages(spec: ImageRolloutSpec): string {
  return spec.images.map(({ image, tag }) => `${image}:${tag}`).join(', ');
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
