// The life of one ImageRollout, as a pure function from what is seen to the next single step. The caller performs the
// step, looks again and asks again, so a crash between any two steps loses nothing: the next leader sees the same facts.
//
//   Pending ──claim──▶ Applying ──all written──▶ Verifying ◀──no longer healthy──┐
//      │                  │                        │  └──all healthy, checks pass──▶ Soaking ──▶ Succeeded
//      │                  └───────── failure ──────┴──────────────── failure ────────┘
//      │                                           │ recorded first
//      │                ┌──────────────────────────┴───────┬──────────────────────┐
//      │          onFailure: RollBack               onFailure: Hold, or      somebody else set
//      │                ▼                           nothing to go back to    the only image
//      │           RollingBack ──▶ RolledBack              ▼                      ▼
//      │                └────────▶ RollbackFailed        Held                  Aborted
//      └─ the policy was edited, deleted or pinned, or a newer rollout took the CronJob over ──▶ Aborted
//
//   Each target: Pending ─▶ Applied ─▶ Healthy | Failed, and back: Undoing ─▶ Undone ─▶ Restored | UndoFailed. Skipped:
//   never written, because the rollout failed before. Gone: deleted or created anew. Contested: somebody else set another
//   image, or took ours back; it is not written again. A finished rollout never changes again.
//
// Claim, act, finalise: the claim is a compare-and-set on the rollout's own status, every write to a workload tests the
// version it was decided on, and the result is recorded last. A failure is on record before anything is set back, and every
// write before the end takes its mark off. Targets that do not move as one come to their end each: the failure is on record
// while the others are still verified, and acted upon afterwards.

import { isDeepStrictEqual } from 'node:util';
import {
  type ImageRolloutSpec,
  type ImageRolloutStatus,
  type RolloutState,
  type RolloutTarget,
  type RolloutTargetStatus,
  type TargetState,
} from '../api/image-rollout.ts';
import { formatDurationMs, parseDurationMs, parseTimestampMs, toTimestamp } from '../time/duration.ts';
import type { CheckOutcome } from './checks/check.ts';
import { countOf, describe, describeForeign, describeImages } from './describe.ts';
import type { TargetHealth } from './health/target-health.ts';
import { isFinished } from './verdict.ts';
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
  readonly policy?: {
    readonly generation: number;
    readonly suspend: boolean;
    /** `spec.pin`. Absent when nothing is pinned. */
    readonly pin?: { readonly tag?: string | undefined; readonly digest?: string | undefined };
  };
  /** Who rejected one of its images, as a sentence. Absent: nobody did. */
  readonly rejected?: string;
  /** A newer rollout that wants to move the same CronJob. Absent: there is none. */
  readonly supersededBy?: string;
  /** Who would act. */
  readonly claimant: { readonly holder: string; readonly epoch: number };
  /** Why it may not start yet, as a sentence. Absent when the way is free. */
  readonly blockedBy?: string;
  /** The maintenance windows have shut since it was decided on, as a sentence. Absent: they have not, or do not matter. */
  readonly shut?: string;
  /** In the order of `spec.targets`. */
  readonly targets: readonly ObservedTarget[];
  /**
   * What the checks of `settings.verify` have just answered, in order; undefined where one was not asked. Empty: they were
   * asked a moment ago. Absent: nobody asked yet.
   */
  readonly checks?: readonly (CheckOutcome | undefined)[];
}

export interface ObservedTarget {
  /** Absent when no workload of this name exists. */
  readonly live?: Workload;
  /** Absent when nobody looked: then the workload's own progress counts. */
  readonly health?: TargetHealth;
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
  /** Set the images of this target back, then look again. */
  | { readonly kind: 'undo'; readonly index: number }
  /** Ask these checks, then look again with their answers. */
  | { readonly kind: 'check'; readonly indexes: readonly number[] }
  /** Take the annotations off these targets, write this status, done. */
  | { readonly kind: 'finish'; readonly status: ImageRolloutStatus; readonly release: readonly number[] };

type FinalState = Extract<RolloutState, 'Succeeded' | 'RolledBack' | 'RollbackFailed' | 'Held' | 'Aborted'>;
type Failure = NonNullable<ImageRolloutStatus['failure']>;
type Verdict = Omit<Failure, 'time'>;

const CLAIM_RESPITE_MS = 15_000;
/** A soak that starts over for the so manieth time is a failure. */
const MAX_INTERRUPTIONS = 5;
/** While a rollout soaks, its checks are asked this often. */
const CHECK_INTERVAL_MS = 10_000;
/** A check that says no this often in a row fails the rollout. */
const MAX_CHECK_FAILURES = 3;
const MAX_MESSAGE_LENGTH = 1024;

/** How the live images of a target compare with what the rollout knows. */
export type TargetImages = 'before' | 'after' | 'foreign' | 'gone';

export function compareImages(target: RolloutTarget, live: Workload | undefined): TargetImages {
  return compare(
    target,
    live,
    ({ from }) => from,
    ({ to }) => to,
  );
}

type Container = RolloutTarget['containers'][number];

function compare(
  target: RolloutTarget,
  live: Workload | undefined,
  before: (container: Container) => string | undefined,
  after: (container: Container) => string | undefined,
): TargetImages {
  if (live === undefined || live.metadata.uid !== target.uid) return 'gone';
  let isAfter = true;
  for (const wanted of target.containers) {
    const container = live.containers.find(({ name, init }) => name === wanted.name && init === wanted.init);
    if (container === undefined) return 'foreign';
    if (container.image === after(wanted)) continue;
    if (container.image !== before(wanted)) return 'foreign';
    isAfter = false;
  }
  return isAfter ? 'after' : 'before';
}

/** How they compare with what an undo finds and leaves. */
function compareUndo(target: RolloutTarget, before: RolloutTargetStatus, live: Workload | undefined): TargetImages {
  return compare(
    target,
    live,
    ({ to }) => to,
    (container) => undoImage(before, container),
  );
}

/** What an undo of this target writes into a container; undefined when it brings nothing back. */
export function undoImage(target: Pick<RolloutTargetStatus, 'undo'>, container: Container): string | undefined {
  if (target.undo === 'Back') return container.back;
  return target.undo === 'LastGood' ? container.lastGood : undefined;
}

/** The next step. Total: every observation has one. */
export function nextStep(observation: RolloutObservation): RolloutStep {
  const { status } = observation;
  const step = decide(observation);
  // The end takes the marks off. Until what they prove is on record, neither a crash in between nor a leader that is
  // behind may lose it.
  const proven = step.kind === 'finish' ? withProven(status, step.status) : undefined;
  return proven === undefined ? step : { kind: 'record', status: proven };
}

/** `status` with the writes that only `next` knows of; undefined when there are none. */
function withProven(status: ImageRolloutStatus | undefined, next: ImageRolloutStatus): ImageRolloutStatus | undefined {
  if (status?.targets === undefined) return undefined;
  const targets = status.targets.map((before, index) => {
    const after = next.targets?.[index];
    const isNews = after?.appliedTime !== before.appliedTime || after?.undoTime !== before.undoTime;
    return isNews && after !== undefined ? after : before;
  });
  return targets.every((target, index) => target === status.targets?.[index]) ? undefined : { ...status, targets };
}

function decide(observation: RolloutObservation): RolloutStep {
  const { status, policy, spec } = observation;
  if (isFinished(status)) return { kind: 'wait' };
  if (policy === undefined)
    return finish(
      observation,
      'Aborted',
      'the policy is gone: the workloads stay as they are',
      status && withWrites(observation, status),
    );
  if (isOverruled(spec, policy.pin))
    return finish(
      observation,
      'Aborted',
      'a person pinned another image: the workloads stay as they are until it follows',
      status && withWrites(observation, status),
    );
  if (status === undefined || status.state === 'Pending') return stepPending(observation, policy);
  if (policy.suspend) return pause(observation, status);
  if (status.suspendedTime !== undefined) return { kind: 'record', status: resume(observation, status) };
  if (!isOurs(status.claim, observation)) {
    const untilMs = respiteUntilMs(status.claim, observation);
    if (untilMs !== undefined) return { kind: 'wait', wakeAtMs: untilMs };
    return { kind: 'record', status: { ...status, claim: newClaim(observation) } };
  }
  if (status.state === 'RollingBack') return stepRollingBack(observation, status);
  if (observation.rejected !== undefined) {
    const verdict: Verdict = { class: 'Image', reason: 'Rejected', message: observation.rejected };
    return fail(observation, withWrites(observation, status), verdict);
  }
  if (status.state === 'Applying') return stepApplying(observation, status);
  if (status.awaitsRun === true && observation.supersededBy !== undefined) {
    return finish(
      observation,
      'Aborted',
      `superseded by ${observation.supersededBy} before the next run of the CronJob`,
    );
  }
  return stepVerifying(observation, status);
}

function isOverruled(spec: ImageRolloutSpec, pin: NonNullable<RolloutObservation['policy']>['pin']): boolean {
  return pin !== undefined && (spec.pin?.tag !== pin.tag || spec.pin?.digest !== pin.digest);
}

function stepPending(observation: RolloutObservation, policy: NonNullable<RolloutObservation['policy']>): RolloutStep {
  const { spec, rejected } = observation;
  if (policy.generation !== spec.policy.generation)
    return finish(observation, 'Aborted', 'the policy was edited before anything was changed');
  if (rejected !== undefined) return finish(observation, 'Aborted', `${rejected}, before anything was changed`);
  if (observation.shut !== undefined)
    return finish(observation, 'Aborted', `${observation.shut}, before anything was changed`);
  if (!policy.suspend && observation.blockedBy === undefined) return { kind: 'record', status: claim(observation) };
  const message = policy.suspend ? 'waits: the policy is suspended' : `waits: ${observation.blockedBy ?? ''}`;
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
  held: ImageRolloutStatus['claim'],
  { claimant, nowMs }: RolloutObservation,
): number | undefined {
  if (held === undefined || held.holder === claimant.holder || held.epoch < claimant.epoch) return undefined;
  const sinceMs = parseTimestampMs(held.time) ?? nowMs;
  const isRecent = sinceMs <= nowMs && nowMs < sinceMs + CLAIM_RESPITE_MS;
  return isRecent ? sinceMs + CLAIM_RESPITE_MS : undefined;
}

function deadlineAfter({ spec, nowMs }: RolloutObservation, fromMs = nowMs): string {
  return toTimestamp(fromMs + parseDurationMs(spec.settings.progressDeadline) + 999);
}

function claim(observation: RolloutObservation): ImageRolloutStatus {
  const { spec, nowMs, targets } = observation;
  const claimed = spec.targets.map((target, index): RolloutTargetStatus => {
    const live = targets[index]?.live;
    return {
      kind: target.kind,
      name: target.name,
      state: 'Pending',
      undo: chooseUndo(target, targets[index]),
      ...(live !== undefined && { resourceVersion: live.metadata.resourceVersion }),
    };
  });
  return describe(observation, {
    state: 'Applying',
    message: `writing ${describeImages(spec)} to ${countOf(spec.targets.length, 'workload')}${describeUndo(spec, claimed)}`,
    claim: newClaim(observation),
    startTime: toTimestamp(nowMs),
    deadlineTime: deadlineAfter(observation),
    targets: claimed,
  });
}

/** What a failure would leave or bring other than the image before. */
function describeUndo({ settings, targets }: ImageRolloutSpec, claimed: readonly RolloutTargetStatus[]): string {
  if (settings.onFailure === 'Hold') return '';
  const consequences = claimed.flatMap(({ kind, name, undo }, index) => {
    if (undo === 'Blocked') return [`${kind} ${name} cannot be set back (RollbackBlocked)`];
    if (undo !== 'LastGood') return [];
    const images = new Set(targets[index]?.containers.map(({ lastGood }) => lastGood));
    return [`${kind} ${name} goes back to ${[...images].join(', ')}, the last good one`];
  });
  return consequences.length === 0 ? '' : `. If it fails, ${consequences.join('; ')}`;
}

/** The image before, if it was healthy; else the last good one, unless that is the very one that was not. */
function chooseUndo(
  { containers }: RolloutTarget,
  observed: ObservedTarget | undefined,
): NonNullable<RolloutTargetStatus['undo']> {
  const isProven = containers.every(({ back, lastGood }) => back !== undefined && back === lastGood);
  if (!wasIll(observed, isProven) && containers.every(({ back }) => back !== undefined)) return 'Back';
  const isOther = containers.some(({ lastGood, back, from }) => lastGood !== back && lastGood !== from);
  return isOther && containers.every(({ lastGood }) => lastGood !== undefined) ? 'LastGood' : 'Blocked';
}

/**
 * Pods that come and go are no illness, neither are pods of a proven image that are not ready yet, as when an autoscaler
 * adds some; and that its controller has not looked at the end of the rollout before is none.
 */
function wasIll(observed: ObservedTarget | undefined, isProven: boolean): boolean {
  const { live, health } = observed ?? {};
  if (health !== undefined) return health.kind === 'failing' && (health.isDefinite || !isProven);
  return live?.progress.kind === 'progressing' && live.progress.isUnseen !== true;
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

/** Neither the deadline nor the soak went on meanwhile. */
function resume(observation: RolloutObservation, status: ImageRolloutStatus): ImageRolloutStatus {
  const { suspendedTime, ...rest } = status;
  const pausedMs = Math.max(0, observation.nowMs - (parseTimestampMs(suspendedTime) ?? observation.nowMs));
  const later = (timestamp: string | undefined): string | undefined => {
    const timeMs = parseTimestampMs(timestamp);
    return timeMs === undefined ? undefined : toTimestamp(timeMs + pausedMs);
  };
  const deadlineTime = later(status.deadlineTime);
  const soakTime = later(status.soakTime);
  return describe(observation, {
    ...rest,
    ...(deadlineTime !== undefined && { deadlineTime }),
    ...(soakTime !== undefined && { soakTime }),
    message: 'goes on: the policy is no longer suspended',
  });
}

function isPast(timestamp: string | undefined, nowMs: number): boolean {
  return nowMs >= (parseTimestampMs(timestamp) ?? Infinity);
}

function stepApplying(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const { spec, targets, nowMs } = observation;
  const isLate = isPast(status.deadlineTime, nowMs);
  let blocked: number | undefined;
  let refusal: string | undefined;
  const judged = spec.targets.map((target, index): RolloutTargetStatus => {
    const before = targetStatus(status, target, index);
    if (before.state !== 'Pending') return before;
    const live = targets[index]?.live;
    const wasWritten = hasOurMark(observation.name, before, live);
    const applied = { ...withoutMessage(before), ...(wasWritten && { appliedTime: toTimestamp(nowMs) }) };
    switch (compareImages(target, live)) {
      case 'gone':
        return gone(before);
      case 'foreign':
        return { ...applied, state: 'Contested', message: describeForeign(target, live) };
      case 'after':
        return { ...applied, state: 'Applied' };
      case 'before': {
        // Written and set back before that was on record: writing again would overwrite somebody's decision.
        if (wasWritten) return { ...applied, state: 'Contested', message: describeForeign(target, live) };
        const problem = targets[index]?.writeProblem ?? before.message;
        // The deadline is for writes that are refused. One that a crash prevented is still owed.
        if (isLate && problem !== undefined) {
          refusal ??= `${target.kind} ${target.name}: ${problem}`;
          return { ...before, state: 'Skipped', message: problem };
        }
        blocked ??= index;
        return problem === undefined ? before : { ...before, message: problem };
      }
    }
  });
  const next: ImageRolloutStatus = { ...status, targets: judged };
  if (refusal !== undefined)
    return fail(observation, next, { class: 'Environment', reason: 'WriteRefused', message: refusal });
  const contested = judged.find(({ state }) => state === 'Contested');
  if (contested !== undefined) return failContested(observation, next, contested);
  if (blocked !== undefined) {
    // Each write is put on record before the next one, a refused write once; the caller tries it again with back-off.
    const described = describe(observation, { ...next, message: judged[blocked]?.message ?? status.message });
    return isDeepStrictEqual(described, status)
      ? { kind: 'apply', index: blocked }
      : { kind: 'record', status: described };
  }
  return {
    kind: 'record',
    status: describe(observation, {
      ...next,
      state: 'Verifying',
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

/**
 * The status with the writes that were made and, because of a crash, not recorded. Whoever ends or fails a rollout before
 * it looked at its targets must know them: what is not on record is not set back, and counts as somebody else's later.
 */
function withWrites(observation: RolloutObservation, status: ImageRolloutStatus): ImageRolloutStatus {
  const { spec, targets, nowMs } = observation;
  if (status.claim === undefined) return status;
  const written = spec.targets.map((target, index): RolloutTargetStatus => {
    const before = targetStatus(status, target, index);
    const live = targets[index]?.live;
    if (before.state === 'Pending') {
      const images = compareImages(target, live);
      if (images === 'gone' || !hasOurMark(observation.name, before, live)) return before;
      const applied = { ...withoutMessage(before), appliedTime: toTimestamp(nowMs) };
      if (images === 'after') return { ...applied, state: 'Applied' };
      return { ...applied, state: 'Contested', message: describeForeign(target, live) };
    }
    return before.state === 'Undoing' && compareUndo(target, before, live) === 'after' ? undone(before, nowMs) : before;
  });
  return { ...status, targets: written };
}

function undone(target: RolloutTargetStatus, nowMs: number): RolloutTargetStatus {
  return { ...withoutMessage(target), state: 'Undone', undoTime: toTimestamp(nowMs) };
}

function gone(target: RolloutTargetStatus): RolloutTargetStatus {
  return { ...target, state: 'Gone', message: `${target.kind} ${target.name} was deleted or created anew` };
}

/** What the workload itself says, for when nobody asked its pods. */
function healthOf({ live, health }: ObservedTarget): TargetHealth {
  if (health !== undefined) return health;
  return live?.progress ?? { kind: 'progressing', message: 'not seen yet' };
}

interface Judgement {
  readonly target: RolloutTargetStatus;
  readonly failure?: Verdict;
  readonly isUnproven?: boolean;
  readonly awaitsRun?: boolean;
  /** What its pods complain about, which may pass. */
  readonly complaint?: Verdict;
  /** The run of a CronJob began here, and the deadline counts from it. */
  readonly runStartMs?: number;
}

function stepVerifying(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const { spec, targets, nowMs } = observation;
  const judgements = spec.targets.map((target, index) =>
    judge(observation, status, target, targetStatus(status, target, index), targets[index] ?? {}),
  );
  const failure = worstFailure(status.failure, judgements, nowMs);
  const next: ImageRolloutStatus = {
    ...status,
    targets: judgements.map(({ target }) => target),
    ...(failure !== undefined && { failure }),
  };
  const contested = next.targets?.find(({ state }) => state === 'Contested');
  // One that goes back by itself waits until the others have come to their end, but not for the run of a CronJob.
  const isOver = failure !== undefined || contested !== undefined;
  const isSettled = judgements.every(
    ({ target, awaitsRun }) => target.state !== 'Applied' || (isOver && awaitsRun === true),
  );
  const mayFail = spec.settings.atomic || isSettled;
  // What the image did is known, whatever somebody else did meanwhile.
  if (failure?.class === 'Image' && mayFail) return fail(observation, next, failure);
  if (contested !== undefined && mayFail) return failContested(observation, next, contested);
  if (next.targets?.every(({ state }) => state === 'Gone') === true)
    return finish(observation, 'Aborted', 'every workload is gone', next);
  if (failure !== undefined && mayFail) return fail(observation, next, failure);
  // Well, and not well, over and over: that is how it is.
  const complaint = judgements.find((judgement) => judgement.complaint !== undefined)?.complaint;
  const isInterrupted = status.state === 'Soaking' && complaint !== undefined;
  const interruptions = (status.interruptions ?? 0) + (isInterrupted ? 1 : 0);
  if (isInterrupted && interruptions >= MAX_INTERRUPTIONS) return fail(observation, next, complaint);
  if (!isSettled)
    return keepVerifying(observation, status, { ...next, ...(interruptions > 0 && { interruptions }) }, judgements);
  const settled = judgements.filter(({ target }) => target.state === 'Healthy');
  const isUnproven = settled.some((judgement) => judgement.isUnproven === true);
  const isIdle = settled.every((judgement) => judgement.isUnproven === true);
  // What does not run cannot answer.
  const verified = isIdle ? undefined : stepChecks(observation, next);
  if (verified !== undefined && verified.kind !== 'wait') return verified;
  const soakTime = status.soakTime ?? toTimestamp(nowMs);
  const soakUntilMs = (parseTimestampMs(soakTime) ?? nowMs) + parseDurationMs(spec.settings.soak);
  const mayEnd = verified === undefined && (isIdle || nowMs >= soakUntilMs);
  if (mayEnd) return succeed(observation, next, isUnproven);
  const { awaitsRun: _, ...rest } = next;
  const soaking = describe(observation, {
    ...rest,
    state: 'Soaking',
    soakTime,
    ...(status.state !== 'Soaking' && { deadlineTime: deadlineAfter(observation) }),
    message: `every workload is healthy with ${describeImages(spec)}, and has to stay so until ${toTimestamp(soakUntilMs)}`,
  });
  if (!isDeepStrictEqual(soaking, status)) return { kind: 'record', status: soaking };
  return {
    kind: 'wait',
    wakeAtMs: Math.min(soakUntilMs > nowMs ? soakUntilMs : Infinity, verified?.wakeAtMs ?? Infinity),
  };
}

/** The failure on record or a new one: the image's before the environment's, and the first of its class. */
function worstFailure(
  known: Failure | undefined,
  judgements: readonly Judgement[],
  nowMs: number,
): Failure | undefined {
  const found = judgements.flatMap(({ failure }): Failure[] =>
    failure === undefined ? [] : [{ ...failure, message: cut(failure.message), time: toTimestamp(nowMs) }],
  );
  const all = [...(known === undefined ? [] : [known]), ...found];
  return all.find((failure) => failure.class === 'Image') ?? all[0];
}

function judge(
  { spec, nowMs }: RolloutObservation,
  status: ImageRolloutStatus,
  target: RolloutTarget,
  before: RolloutTargetStatus,
  observed: ObservedTarget,
): Judgement {
  if (before.state !== 'Applied' && before.state !== 'Healthy') return { target: before };
  const images = compareImages(target, observed.live);
  if (images === 'gone') return { target: gone(before) };
  if (images !== 'after')
    return { target: { ...before, state: 'Contested', message: describeForeign(target, observed.live) } };
  // The deadline is for becoming healthy; one that was healthy and is no longer gets another.
  const isLate = status.state !== 'Soaking' && isPast(status.deadlineTime, nowMs);
  const health = healthOf(observed);
  const title = `${target.kind} ${target.name}`;
  const quote = (message: string): string => `${title}: ${message}`;
  switch (health.kind) {
    case 'healthy':
      return { target: withoutMessage({ ...before, state: 'Healthy' }) };
    case 'idle':
      return { target: { ...before, state: 'Healthy', message: health.message }, isUnproven: true };
    case 'paused':
      // Told not to move is no evidence against the image.
      if (!isLate && before.state !== 'Healthy')
        return { target: { ...before, state: 'Applied', message: health.message } };
      return { target: { ...before, state: 'Healthy', message: health.message }, isUnproven: true };
    case 'awaitingRun':
      // A run proved it; that its Job is gone meanwhile changes nothing.
      if (before.state === 'Healthy') return { target: before };
      return { target: { ...before, state: 'Applied', message: health.message }, awaitsRun: true };
    case 'running': {
      if (before.state === 'Healthy') return { target: before };
      const isOverdue = nowMs >= health.startTimeMs + parseDurationMs(spec.settings.progressDeadline);
      if (!isOverdue)
        return { target: { ...before, state: 'Applied', message: health.message }, runStartMs: health.startTimeMs };
      const { failure } = health;
      return {
        target: { ...before, state: 'Failed', message: failure?.message ?? health.message },
        failure: {
          class: failure?.class ?? 'Environment',
          reason: failure?.reason ?? 'ProgressDeadlineExceeded',
          message: quote(failure?.message ?? health.message),
        },
      };
    }
    case 'progressing':
      if (!isLate) return { target: { ...before, state: 'Applied', message: health.message } };
      return {
        target: { ...before, state: 'Failed', message: health.message },
        failure: {
          class: 'Environment',
          reason: 'ProgressDeadlineExceeded',
          message: `not healthy within ${formatDurationMs(parseDurationMs(spec.settings.progressDeadline))}. ${quote(health.message)}`,
        },
      };
    case 'failing':
      if (!isLate && !health.isDefinite)
        return {
          target: { ...before, state: 'Applied', message: health.message },
          complaint: { class: health.class, reason: health.reason, message: quote(health.message) },
        };
      return {
        target: { ...before, state: 'Failed', message: health.message },
        failure: { class: health.class, reason: health.reason, message: quote(health.message) },
      };
  }
}

/** Not everything is healthy: what is still missing, and until when it may be. */
function keepVerifying(
  observation: RolloutObservation,
  status: ImageRolloutStatus,
  next: ImageRolloutStatus,
  judgements: readonly Judgement[],
): RolloutStep {
  const open = judgements.filter(({ target }) => target.state === 'Applied');
  const timed = open.filter((judgement) => judgement.awaitsRun !== true);
  const isTimed = timed.length > 0;
  const starts = timed.flatMap(({ runStartMs }) => (runStartMs === undefined ? [] : [runStartMs]));
  // There is a deadline for becoming healthy again. The soak goes on meanwhile where pods only come and go, as when an
  // autoscaler adds some, and starts over where one that was well is not.
  const isInterrupted = status.state === 'Soaking';
  const { soakTime, awaitsRun: _, deadlineTime, ...rest } = next;
  const isUnwell = open.some((judgement) => judgement.complaint !== undefined);
  const nextDeadline =
    isTimed && starts.length === timed.length
      ? deadlineAfter(observation, Math.max(...starts))
      : isInterrupted || deadlineTime === undefined
        ? deadlineAfter(observation)
        : deadlineTime;
  const missing = open.map(({ target: { kind, name, message } }) => `${kind} ${name}: ${message ?? 'not healthy yet'}`);
  const described = describe(observation, {
    ...rest,
    state: 'Verifying',
    ...(soakTime !== undefined && !isUnwell && { soakTime }),
    ...(isTimed && { deadlineTime: nextDeadline }),
    ...(!isTimed && { awaitsRun: true }),
    message: `${next.failure === undefined ? '' : `${describeReason(next.failure)}. Waiting for the others: `}${missing.join('; ')}`,
  });
  if (!isDeepStrictEqual(described, status)) return { kind: 'record', status: described };
  const wakeAtMs = isTimed ? parseTimestampMs(nextDeadline) : undefined;
  return { kind: 'wait', ...(wakeAtMs !== undefined && { wakeAtMs }) };
}

/**
 * The checks, once every workload is healthy. Undefined: all have passed and none is due. A wait: they do not let it end
 * before then.
 */
function stepChecks(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep | undefined {
  const { spec, checks, nowMs } = observation;
  const wanted = spec.settings.verify ?? [];
  if (wanted.length === 0) return undefined;
  if (checks === undefined) {
    // A Job runs once; the others are asked again as long as the rollout soaks.
    const isDue = (index: number): boolean =>
      wanted[index]?.job === undefined || status.verify?.[index]?.state !== 'Passed';
    return { kind: 'check', indexes: wanted.map((_, index) => index).filter(isDue) };
  }
  const verify = wanted.map((check, index): CheckStatus => {
    const before = status.verify?.[index] ?? { check: titleOfCheck(check), state: 'Pending' as const };
    const outcome = checks[index];
    if (outcome === undefined) return before;
    const { failures, ...rest } = before;
    const message = cut(outcome.message);
    // A figure that changes all the time is no news.
    if (outcome.kind === 'passed')
      return before.state === 'Passed' && failures === undefined ? before : { ...rest, state: 'Passed', message };
    if (outcome.kind === 'failed') {
      const count = (failures ?? 0) + 1;
      const isFinal = count >= MAX_CHECK_FAILURES || outcome.isFinal === true;
      return { ...rest, state: isFinal ? 'Failed' : before.state, failures: count, message };
    }
    return before.state === 'Passed' && failures === undefined ? before : { ...before, message };
  });
  const next: ImageRolloutStatus = { ...status, verify };
  const failed = verify.find(({ state }) => state === 'Failed');
  if (failed !== undefined) {
    const message = `${failed.check}: ${failed.message ?? ''}`;
    return fail(observation, next, { class: 'Image', reason: 'VerifyFailed', message });
  }
  // One that passed and then said no is open as well, until it passes again or said no often enough.
  const open = verify.filter(({ state, failures }) => state === 'Pending' || failures !== undefined);
  const overdue = open.find((check) => nowMs >= checkDeadlineMs(observation, status, check));
  if (overdue !== undefined) {
    const message = `${overdue.check}: ${overdue.message ?? 'no answer'}`;
    return fail(observation, next, { class: 'Environment', reason: 'VerifyUnknown', message });
  }
  if (!isDeepStrictEqual(verify, status.verify)) return { kind: 'record', status: next };
  if (open.length === 0) return undefined;
  const deadlines = open.map((check) => checkDeadlineMs(observation, status, check));
  return { kind: 'wait', wakeAtMs: Math.min(nowMs + CHECK_INTERVAL_MS, ...deadlines) };
}

/** Until when a check may leave its answer open. One that passed before has until after the soak. */
function checkDeadlineMs({ spec, nowMs }: RolloutObservation, status: ImageRolloutStatus, check: CheckStatus): number {
  const deadlineMs = parseTimestampMs(status.deadlineTime) ?? Infinity;
  // Until the soak begins, the deadline is that of the workloads, which may be nearly over when the first answer comes.
  if (check.state === 'Pending') return status.state === 'Soaking' ? deadlineMs : Infinity;
  const { soak, progressDeadline } = spec.settings;
  const soakSinceMs = parseTimestampMs(status.soakTime) ?? nowMs;
  return Math.max(deadlineMs, soakSinceMs + parseDurationMs(soak) + parseDurationMs(progressDeadline));
}

type CheckStatus = NonNullable<ImageRolloutStatus['verify']>[number];

type VerifyCheck = NonNullable<ImageRolloutSpec['settings']['verify']>[number];

/** `http web:80/healthz`, for people. */
export function titleOfCheck({ http, job, prometheus }: VerifyCheck): string {
  if (http !== undefined) return `http ${http.service}:${http.port}${http.path}`.slice(0, 128);
  if (job !== undefined) return 'job';
  return `prometheus ${prometheus?.query ?? ''}`.slice(0, 128);
}

function succeed(observation: RolloutObservation, status: ImageRolloutStatus, isUnproven: boolean): RolloutStep {
  const healthy = (status.targets ?? []).filter(({ state }) => state === 'Healthy');
  const what = `${countOf(healthy.length, 'workload')} ${healthy.length === 1 ? 'runs' : 'run'} ${describeImages(observation.spec)}`;
  if (!isUnproven) return finish(observation, 'Succeeded', what, status);
  const why = healthy
    .filter(({ message }) => message !== undefined)
    .map(({ kind, name, message }) => `${kind} ${name}: ${message ?? ''}`)
    .join('; ');
  return finish(observation, 'Succeeded', `${what}, as yet unproven. ${why}`, { ...status, unproven: true });
}

/** Somebody else's image ends the rollout, and takes the other workloads back with it where they move as one. */
function failContested(
  observation: RolloutObservation,
  status: ImageRolloutStatus,
  { kind, name, message }: RolloutTargetStatus,
): RolloutStep {
  return fail(observation, status, {
    class: 'Foreign',
    reason: 'ForeignChange',
    message: `${kind} ${name}: ${message ?? 'changed by somebody else'}`,
  });
}

/** Puts the failure on record, with what follows from it, before anything is set back. */
function fail(observation: RolloutObservation, status: ImageRolloutStatus, verdict: Verdict): RolloutStep {
  const { spec, nowMs } = observation;
  const { atomic, onFailure } = spec.settings;
  const isForeign = verdict.class === 'Foreign';
  const failure: Failure = {
    class: verdict.class,
    reason: verdict.reason,
    message: cut(verdict.message),
    time: status.failure?.time ?? toTimestamp(nowMs),
  };
  const { message } = failure;
  const goesBack = ({ state }: RolloutTargetStatus): boolean => {
    if (state === 'Failed') return true;
    if (state === 'Applied') return atomic || !isForeign;
    // Where they do not move as one, what has become healthy stays, unless a person rejected it.
    return state === 'Healthy' && (atomic || verdict.reason === 'Rejected');
  };
  const targets = (status.targets ?? []).map((target): RolloutTargetStatus => {
    if (target.state === 'Pending')
      return { ...target, state: 'Skipped', message: 'not written, because the rollout failed before' };
    if (onFailure === 'Hold' || !goesBack(target)) return target;
    if (target.undo !== undefined && target.undo !== 'Blocked') return { ...target, state: 'Undoing' };
    return { ...target, state: 'Failed', message: target.message ?? 'not set back: no image is known to be good here' };
  });
  const { awaitsRun: _, soakTime: __, suspendedTime: ___, ...rest } = status;
  const failed: ImageRolloutStatus = { ...rest, targets, failure };
  const isUndone = targets.some(({ state }) => state === 'Undoing');
  if (isForeign && !isUndone)
    return finish(observation, 'Aborted', `somebody else changed the image. ${message}`, failed);
  if (!isUndone) {
    if (onFailure === 'RollBack' && !targets.some(goesBack))
      return finish(observation, 'RolledBack', `${describeReason(failure)}. Nothing had to be set back`, failed);
    const why =
      onFailure === 'Hold'
        ? 'left as it is, as onFailure says'
        : 'RollbackBlocked: no image is known to be good, so it is left as it is';
    return finish(observation, 'Held', `${describeReason(failure)}. ${why}`, failed);
  }
  return {
    kind: 'record',
    status: describe(observation, {
      ...failed,
      state: 'RollingBack',
      deadlineTime: deadlineAfter(observation),
      message: `${describeReason(failure)}. Setting ${countOf(targets.filter(({ state }) => state === 'Undoing').length, 'workload')} back`,
    }),
  };
}

function describeReason({ class: failureClass, reason, message }: Failure): string {
  const whose =
    failureClass === 'Image' ? 'the image failed' : failureClass === 'Environment' ? 'it could not run' : 'given up';
  return `${whose} (${reason}): ${message}`;
}

function stepRollingBack(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const { spec, targets, nowMs } = observation;
  const isLate = isPast(status.deadlineTime, nowMs);
  let owed: number | undefined;
  let refused: number | undefined;
  const next = spec.targets.map((target, index): RolloutTargetStatus => {
    const before = targetStatus(status, target, index);
    const observed = targets[index] ?? {};
    if (before.state === 'Undoing') {
      const judged = judgeUndoing(observation, target, before, observed, isLate);
      if (judged.state === 'Undoing') {
        if (observed.writeProblem === undefined) owed ??= index;
        else refused ??= index;
      }
      return judged;
    }
    return before.state === 'Undone' ? judgeUndone(target, before, observed, isLate) : before;
  });
  // What was set back has the whole deadline to become healthy, however long nobody was there to do it.
  const isNewlyUndone = next.some(({ state }, index) => state === 'Undone' && status.targets?.[index]?.state !== state);
  const progressed: ImageRolloutStatus = {
    ...status,
    targets: next,
    ...(isNewlyUndone && { deadlineTime: deadlineAfter(observation) }),
  };
  // One whose write is refused lets the others go first.
  const due = owed ?? refused;
  if (due !== undefined) {
    const described = describe(observation, progressed);
    return isDeepStrictEqual(described, status) ? { kind: 'undo', index: due } : { kind: 'record', status: described };
  }
  if (next.some(({ state }) => state === 'Undone')) {
    const open = next.filter(({ state }) => state === 'Undone');
    const waitingFor = open.map(({ kind, name, message }) => `${kind} ${name}: ${message ?? 'not healthy yet'}`);
    const described = describe(observation, {
      ...progressed,
      message: `set back; waiting for ${countOf(open.length, 'workload')} to become healthy. ${waitingFor.join('; ')}`,
    });
    const deadlineMs = parseTimestampMs(progressed.deadlineTime);
    return isDeepStrictEqual(described, status)
      ? { kind: 'wait', ...(deadlineMs !== undefined && { wakeAtMs: deadlineMs }) }
      : { kind: 'record', status: described };
  }
  return settleUndo(observation, progressed);
}

/** A target that has to be set back, and was not, as far as is on record. */
function judgeUndoing(
  observation: RolloutObservation,
  target: RolloutTarget,
  before: RolloutTargetStatus,
  { live, writeProblem }: ObservedTarget,
  isLate: boolean,
): RolloutTargetStatus {
  switch (compareUndo(target, before, live)) {
    case 'gone':
      return gone(before);
    case 'after':
      return undone(before, observation.nowMs);
    case 'foreign':
      return { ...before, state: 'Contested', message: describeForeign(target, live) };
    case 'before': {
      if (writeProblem === undefined) return before;
      if (isLate) return { ...before, state: 'UndoFailed', message: writeProblem };
      return { ...before, message: writeProblem };
    }
  }
}

function judgeUndone(
  target: RolloutTarget,
  before: RolloutTargetStatus,
  observed: ObservedTarget,
  isLate: boolean,
): RolloutTargetStatus {
  const images = compareUndo(target, before, observed.live);
  if (images === 'gone') return gone(before);
  if (images !== 'after') {
    const message =
      images === 'before' ? 'somebody set the failed image again' : describeForeign(target, observed.live);
    return { ...before, state: 'Contested', message };
  }
  const health = healthOf(observed);
  if (health.kind === 'progressing' || health.kind === 'failing') {
    return isLate
      ? { ...before, state: 'UndoFailed', message: health.message }
      : { ...before, state: 'Undone', message: health.message };
  }
  return withoutMessage({ ...before, state: 'Restored' });
}

/** Everything that could be set back was, or cannot be: the result. */
function settleUndo(observation: RolloutObservation, status: ImageRolloutStatus): RolloutStep {
  const of = (state: TargetState): RolloutTargetStatus[] => (status.targets ?? []).filter((it) => it.state === state);
  const quote = (entries: readonly RolloutTargetStatus[]): string =>
    entries.map(({ kind, name, message }) => `${kind} ${name}: ${message ?? ''}`).join('; ');
  const { failure } = status;
  const why = failure === undefined ? 'it failed' : describeReason(failure);
  const unhealthy = of('UndoFailed');
  const restored = `${countOf(of('Restored').length, 'workload')} set back`;
  if (unhealthy.length > 0)
    return finish(observation, 'RollbackFailed', `${why}. ${restored}, but not all. ${quote(unhealthy)}`, status);
  if (failure?.class === 'Foreign') return finish(observation, 'Aborted', `${why}. ${restored}`, status);
  const left = (status.targets ?? []).filter(({ state, undo }) => state === 'Failed' && undo === 'Blocked');
  if (left.length > 0)
    return finish(
      observation,
      'Held',
      `${why}. ${restored}. RollbackBlocked: no image is known to be good for ${quote(left)}`,
      status,
    );
  return finish(observation, 'RolledBack', `${why}. ${restored}`, status);
}

function finish(
  observation: RolloutObservation,
  state: FinalState,
  message: string,
  status: Partial<ImageRolloutStatus> | undefined = observation.status,
): RolloutStep {
  const { suspendedTime: _, awaitsRun: __, ...rest } = status ?? {};
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

function targetStatus(status: ImageRolloutStatus, target: RolloutTarget, index: number): RolloutTargetStatus {
  return status.targets?.[index] ?? { kind: target.kind, name: target.name, state: 'Pending' };
}

function withoutMessage({ message: _, ...rest }: RolloutTargetStatus): RolloutTargetStatus {
  return rest;
}

/** A cut through the middle of a character would come back changed from the API server. */
function cut(message: string): string {
  return message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
}
