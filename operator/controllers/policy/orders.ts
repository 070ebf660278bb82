// What is in force for a policy before any tag is looked at: what is in quarantine or rejected, whether it is frozen, what
// is pinned, and what a person has just ended. Pure; every part follows from objects that outlive a restart.

import { findCondition } from '../../api/conditions.ts';
import { MAX_QUARANTINE, MAX_QUARANTINED_DIGESTS, type QuarantineEntry } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import { describeRejection, type MadeDecision } from '../../rollout/decisions.ts';
import { collectEntries, findQuarantine, isLive, type RecognizedImage } from '../../rollout/quarantine.ts';
import { failureOf, isFinished, isFreezing } from '../../rollout/verdict.ts';
import { parseTimestampMs, toTimestamp } from '../../time/duration.ts';
import { runningDigest, type LedgerLine } from './ledger.ts';
import type { PinFact, PolicyObservation } from './observation.ts';
import { readImage, titleOf } from './targets.ts';
import { aliasesOf } from './wanted.ts';

export interface Freeze {
  readonly reason: 'RollbackFailed' | 'Held' | 'FlapGuard';
  readonly message: string;
}

export interface Orders {
  /** Newest first; the released ones that still have to be remembered included. */
  readonly quarantine: readonly QuarantineEntry[];
  /** Digests of quarantines too old to be kept in full, sorted. */
  readonly olderDigests: readonly string[];
  readonly isQuarantineFull: boolean;
  /** Containers that run what a person rejected, with the rejection. */
  readonly rejectedLines: ReadonlyMap<LedgerLine, MadeDecision>;
  readonly freeze?: Freeze;
  /** Up to when a person has ended every freeze; absent when nobody did. */
  readonly resumedTime?: string;
  /** The pin in force, resolved. Absent when there is none or it could not be resolved. */
  readonly pin?: Extract<PinFact, { kind: 'resolved' }>;
  /** The pin is seen for the first time. */
  readonly isNewPin: boolean;
  /** A person ended the hold: foreign images are accepted as they are. */
  readonly acceptsForeign: boolean;
  /** UIDs of decisions that act now and never again. */
  readonly spent: readonly string[];
}

const HOUR_MS = 3_600_000;
/** More undos than this within an hour freeze every policy of the workload. */
const MAX_UNDOS_PER_HOUR = 3;
/** A person's own doing is no flapping. */
const UNCOUNTED_TRIGGERS = new Set(['Pin', 'Unpin', 'Reject', 'Release', 'Retry']);

export function readOrders(observation: PolicyObservation): Orders {
  const { policy, pin, problem } = observation;
  const isUnread = problem?.stalls === true;
  const rejectedLines = isUnread ? new Map<LedgerLine, MadeDecision>() : findRejectedLines(observation);
  const { entries, olderDigests, isFull, released } = readQuarantine(observation, rejectedLines);
  const resolved = pin?.kind === 'resolved' ? pin : undefined;
  const isNewPin = resolved !== undefined && !isRecorded(observation, resolved);
  const resumes = unspentResumes(observation);
  const hold = findCondition(policy.status?.conditions, 'ManualHold');
  const holdSinceMs = parseTimestampMs(hold?.lastTransitionTime);
  const holdResume = holdSinceMs === undefined ? undefined : resumes.findLast(({ timeMs }) => timeMs >= holdSinceMs);
  const { freeze, resume, resumedMs } = readFreeze(observation, resumes, isNewPin);
  // A pin also accepts what somebody set a moment before, which no look has seen yet.
  const acceptsForeign = !isUnread && (holdResume !== undefined || isNewPin);
  const acted = [acceptsForeign ? holdResume : undefined, resume];
  return {
    quarantine: entries,
    olderDigests,
    isQuarantineFull: isFull,
    rejectedLines,
    ...(freeze !== undefined && { freeze }),
    ...(resumedMs > 0 && { resumedTime: toTimestamp(resumedMs) }),
    ...(resolved !== undefined && { pin: resolved }),
    isNewPin,
    acceptsForeign,
    spent: [...new Set([...released, ...acted.flatMap((made) => (made === undefined ? [] : [made.uid]))])],
  };
}

/** Whether an image is held back: by an entry, or by a digest of an older one. */
export function findHold(
  { quarantine, olderDigests }: Orders,
  images: readonly RecognizedImage[],
): QuarantineEntry | 'Older' | undefined {
  const entry = findQuarantine(images, quarantine);
  if (entry !== undefined) return entry;
  return images.some(({ digests }) => digests.some((digest) => olderDigests.includes(digest))) ? 'Older' : undefined;
}

function unspentResumes({ policy, decisions }: PolicyObservation): MadeDecision[] {
  const spent = policy.status?.spentDecisions ?? [];
  return decisions.resumes.filter(({ uid }) => !spent.includes(uid));
}

function isRecorded(
  { policy, images }: PolicyObservation,
  { tag, digests }: { tag?: string; digests: readonly Digest[] },
) {
  const known = policy.status?.pin;
  return (
    known !== undefined &&
    known.tag === tag &&
    known.digest === digests[0] &&
    digests
      .slice(1)
      .every((digest, index) =>
        known.companions?.some((companion) => companion.image === images[index + 1] && companion.digest === digest),
      )
  );
}

function findRejectedLines(observation: PolicyObservation): Map<LedgerLine, MadeDecision> {
  const { lines, decisions } = observation;
  const found = new Map<LedgerLine, MadeDecision>();
  const rejectedOf = (line: LedgerLine): MadeDecision | undefined => {
    const digest = runningDigest(line);
    if (digest === undefined) return undefined;
    for (const [rejected, decision] of decisions.rejections) {
      const isIt = rejected === digest || aliasesOf(observation, line.target.part, rejected).includes(digest);
      if (isIt) return decision;
    }
    return undefined;
  };
  const isOurs = ({ standing }: LedgerLine): boolean => standing === 'known' || standing === 'adopted';
  for (const line of lines) {
    const decision = isOurs(line) ? rejectedOf(line) : undefined;
    if (decision !== undefined) found.set(line, decision);
  }
  const [decision] = [...found].filter(([{ target }]) => target.part === 0).map(([, made]) => made);
  // Companions are one change with the image.
  if (decision !== undefined && observation.images.length > 1) {
    for (const line of lines) if (isOurs(line) && !found.has(line)) found.set(line, decision);
  }
  return found;
}

function readQuarantine(
  observation: PolicyObservation,
  rejectedLines: ReadonlyMap<LedgerLine, MadeDecision>,
): {
  entries: readonly QuarantineEntry[];
  olderDigests: readonly string[];
  isFull: boolean;
  /** The releases that have let an older digest go just now. */
  released: readonly string[];
} {
  const { policy, rollouts, neighbours, decisions, images } = observation;
  const toEntry = (digest: string, tag: string | undefined, made: MadeDecision): QuarantineEntry => ({
    images: [{ image: images[0] ?? '', digests: aliasesOf(observation, 0, digest).slice(0, 32) }],
    ...(tag !== undefined && { tag }),
    cause: 'Rejected',
    message: describeRejection(made).slice(0, 512).toWellFormed(),
    sinceTime: toTimestamp(made.timeMs),
  });
  const running = [...rejectedLines].flatMap(([line, made]): QuarantineEntry[] => {
    const digest = runningDigest(line);
    const { part, image } = line.target;
    return digest === undefined || part !== 0 ? [] : [toEntry(digest, image?.tag, made)];
  });
  // Where the operator died before the status said so, the rollout that went back says what ran.
  const left = rollouts
    .filter(({ spec }) => spec.trigger === 'Reject')
    .flatMap(({ spec }) => spec.targets.flatMap(({ containers }) => containers.map(({ back, from }) => back ?? from)))
    .flatMap((text): QuarantineEntry[] => {
      const image = readImage(text);
      const made = image?.digest === undefined ? undefined : decisions.rejections.get(image.digest);
      return image?.digest === undefined || made === undefined ? [] : [toEntry(image.digest, image.tag, made)];
    });
  const rejected = [...running, ...left];
  const all = collectEntries({
    recorded: policy.status?.quarantine ?? [],
    rollouts: [...rollouts, ...neighbours],
    rejected,
    decisions,
  });
  const overflow = all.slice(MAX_QUARANTINE).filter(isLive);
  const older = new Set([
    ...(policy.status?.quarantined ?? []),
    ...overflow.flatMap((entry) => entry.images.flatMap(({ digests }) => digests)),
  ]);
  // A release acts once: one that has let a rollout go, or has acted here, does so no more.
  const used = new Set([
    ...[...rollouts, ...neighbours].flatMap(({ spec }) => spec.decisions ?? []),
    ...(policy.status?.spentDecisions ?? []),
  ]);
  const released: string[] = [];
  for (const [digest, { uid }] of decisions.releases) {
    if (!used.has(uid) && older.delete(digest)) released.push(uid);
  }
  const sorted = [...older].sort();
  return {
    entries: all.slice(0, MAX_QUARANTINE),
    olderDigests: sorted.slice(0, MAX_QUARANTINED_DIGESTS),
    isFull: sorted.length > MAX_QUARANTINED_DIGESTS,
    released,
  };
}

interface Frozen {
  readonly freeze?: Freeze;
  /** The decision that has ended a freeze just now. */
  readonly resume?: MadeDecision;
  readonly resumedMs: number;
}

function readFreeze(observation: PolicyObservation, resumes: readonly MadeDecision[], isNewPin: boolean): Frozen {
  const before = parseTimestampMs(observation.policy.status?.resumedTime) ?? 0;
  const frozen = findFreeze(observation, before);
  if (frozen === undefined) return { resumedMs: isNewPin ? Math.max(before, observation.nowMs) : before };
  const resume = resumes.findLast(({ timeMs }) => timeMs >= frozen.sinceMs);
  const resumedMs = Math.max(before, resume?.timeMs ?? 0, isNewPin ? observation.nowMs : 0);
  const still = resumedMs > before ? findFreeze(observation, resumedMs) : frozen;
  return {
    ...(still !== undefined && { freeze: still.freeze }),
    ...(resume !== undefined && { resume }),
    resumedMs,
  };
}

function findFreeze(
  { rollouts, neighbours, neighboursResumedMs, lines }: PolicyObservation,
  resumedMs: number,
): { readonly freeze: Freeze; readonly sinceMs: number } | undefined {
  const endMs = ({ status }: ImageRollout): number => parseTimestampMs(status?.endTime) ?? 0;
  const bad = rollouts.findLast((rollout) => isFreezing(rollout) && endMs(rollout) > resumedMs);
  if (bad !== undefined) {
    const { metadata, status } = bad;
    return {
      sinceMs: endMs(bad),
      freeze: {
        reason: status?.state === 'RollbackFailed' ? 'RollbackFailed' : 'Held',
        message: `${metadata.name} ended ${status?.state ?? ''}: ${status?.message ?? ''}. Nothing moves until a person decides: kubectl slipway resume, or a pin`,
      },
    };
  }
  const sinceMs = Math.max(resumedMs, neighboursResumedMs);
  for (const { workload } of new Set(lines.map(({ target }) => target))) {
    const undone = [...rollouts, ...neighbours].filter(
      (rollout) => isCountedUndo(rollout) && rollout.spec.targets.some(({ uid }) => uid === workload.metadata.uid),
    );
    const times = undone.map(endMs).sort((a, b) => a - b);
    const burst = times.findLast(
      (time, index) =>
        index >= MAX_UNDOS_PER_HOUR && time > sinceMs && time - (times[index - MAX_UNDOS_PER_HOUR] ?? 0) < HOUR_MS,
    );
    if (burst !== undefined) {
      return {
        sinceMs: burst,
        freeze: {
          reason: 'FlapGuard',
          message: `${titleOf(workload)} was set back more than ${MAX_UNDOS_PER_HOUR} times within an hour, last at ${toTimestamp(burst)}. Nothing moves it until a person decides: kubectl slipway resume, or a pin`,
        },
      };
    }
  }
  return undefined;
}

function isCountedUndo(rollout: ImageRollout): boolean {
  const failure = failureOf(rollout);
  return (
    isFinished(rollout.status) &&
    (rollout.status?.state === 'RolledBack' || rollout.status?.state === 'RollbackFailed') &&
    failure?.class === 'Image' &&
    failure.reason !== 'Rejected' &&
    !UNCOUNTED_TRIGGERS.has(rollout.spec.trigger)
  );
}
