// What one policy does next, as a pure function of everything that was observed: the new status, at most one rollout to
// start, finished rollouts to forget, and when to look again. Doubt about the registry or the targets changes conditions
// and nothing else.

import { findCondition } from '../../api/conditions.ts';
import type { ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRolloutSpec, RolloutTarget, RolloutTrigger } from '../../api/image-rollout.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { GateWorkload } from '../../gates/gate.ts';
import { judgeCandidate, type GateSummary } from '../../gates/index.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { formatPinnedImage } from '../../image/reference.ts';
import { explainHandover } from '../../rollout/managing-tool.ts';
import { isFinished } from '../../rollout/state-machine.ts';
import type { Workload } from '../../rollout/workloads/workload.ts';
import type { Choice, EligibleTag, Examination } from '../../selection/choose.ts';
import { toTimestamp } from '../../time/duration.ts';
import { findMove, runningDigest, type LedgerLine } from './ledger.ts';
import type { PolicyObservation } from './observation.ts';
import { newStatus } from './status.ts';
import { titleOf } from './targets.ts';

export interface PolicyDecision {
  readonly status: ImagePolicyStatus;
  /** The rollout to create, before the status is written. */
  readonly create?: { readonly name: string; readonly number: number; readonly spec: ImageRolloutSpec };
  /** Names of finished rollouts beyond the history limit. */
  readonly prune: readonly string[];
  /** Absent: nothing changes by the passage of time. */
  readonly lookAgainMs?: number;
}

/** Foreign changes of one container that `Reassert` takes back in an hour; one more is a contest. */
const MAX_REASSERTS_PER_HOUR = 2;
const HOUR_MS = 3_600_000;

export interface Move {
  readonly line: LedgerLine;
  readonly trigger: RolloutTrigger;
}

export interface Candidate {
  readonly eligible: EligibleTag;
  readonly moves: readonly Move[];
  readonly gates: GateSummary;
}

export function decide(observation: PolicyObservation): PolicyDecision {
  const { rollouts, found } = observation;
  let contests = findContests(observation, true);
  let walked = found === undefined ? undefined : walkCandidates(observation, found.choice, contests);
  if (contests.reasserted.size > 0 && walked !== undefined && hasNothing(walked)) {
    // There is nothing to take the foreign image back to: it must not pass for what is wanted.
    contests = findContests(observation, false);
    walked = {};
  }
  const unfinished = rollouts.find((rollout) => !isFinished(rollout.status));
  const canAct =
    observation.problem === undefined &&
    unfinished === undefined &&
    !observation.targetProblems.some(({ stalls }) => stalls);
  const chosen = walked?.chosen;
  const create =
    canAct && chosen !== undefined && chosen.gates.answer === 'Open' && chosen.moves.length > 0
      ? newRollout(observation, chosen)
      : undefined;
  const status = newStatus(observation, { walked, contests, create, unfinished });
  const prune = findPrunable(observation, status, walked);
  const lookAgainMs = findNextLook(observation, status);
  return {
    status,
    ...(create !== undefined && { create }),
    prune,
    ...(lookAgainMs !== undefined && { lookAgainMs }),
  };
}

/**
 * Where nothing runs, candidates are compared with `selected`: until a look with the new one, the registry would be asked
 * for the digests of every candidate that was examined to find it.
 */
function findNextLook(
  { lines, policy, found, nowMs }: PolicyObservation,
  status: ImagePolicyStatus,
): number | undefined {
  const before = policy.status?.selected;
  const after = status.selected;
  const hasMoved = before?.tag !== after?.tag || before?.digest !== after?.digest;
  if (lines.length === 0 && after !== undefined && hasMoved) return 0;
  const nextChangeTimeMs = found?.choice.nextChangeTimeMs;
  return nextChangeTimeMs === undefined ? undefined : nextChangeTimeMs - nowMs;
}

export interface Walked {
  /** The first candidate whose gates are not closed. Absent: none, or doubt came first. */
  readonly chosen?: Candidate;
  /** The best candidate by the order that would move something, whatever its gates say. */
  readonly best?: Candidate;
  /** The registry would not say what a better candidate is. */
  readonly doubt?: Extract<Examination, { kind: 'Waiting' }>;
}

function hasNothing({ chosen, best, doubt }: Walked): boolean {
  return chosen === undefined && best === undefined && doubt === undefined;
}

/** From the best candidate downwards: Closed looks at the next, doubt and Waiting stop. */
function walkCandidates(observation: PolicyObservation, choice: Choice, contests: Contests): Walked {
  let best: Candidate | undefined;
  for (const examination of choice.examined) {
    if (examination.kind === 'Rejected') continue;
    if (examination.kind === 'Waiting') return { ...(best && { best }), doubt: examination };
    const eligible = examination.candidate;
    const moves = findMoves(observation, eligible, contests);
    const gates = judgeCandidate({
      tag: eligible.tag,
      digest: eligible.digest,
      isSuspended: observation.policy.spec.suspend,
      holds: contests.holds,
      workloads: describeWorkloads(observation, eligible, moves),
    });
    const candidate: Candidate = { eligible, moves, gates };
    if (moves.length > 0 || isNews(observation, eligible)) best ??= candidate;
    // What runs already needs no gate to stay.
    if (gates.answer !== 'Closed' || moves.length === 0) return { chosen: candidate, ...(best && { best }) };
  }
  return best === undefined ? {} : { best };
}

/** Without targets, `selected` stands for what runs. */
function isNews({ policy, lines }: PolicyObservation, eligible: EligibleTag): boolean {
  return lines.length === 0 && policy.spec.targets.length === 0 && policy.status?.selected?.digest !== eligible.digest;
}

function findMoves(observation: PolicyObservation, eligible: EligibleTag, contests: Contests): Move[] {
  return observation.lines.flatMap((line): Move[] => {
    if (line.standing === 'moving' || isGone(observation, line)) return [];
    if (contests.reasserted.has(line)) {
      return line.target.image?.digest === eligible.digest ? [] : [{ line, trigger: 'Reassert' }];
    }
    const trigger = moveTrigger(observation, line, eligible);
    return trigger === undefined ? [] : [{ line, trigger }];
  });
}

/** A rollout found the workload gone, and the cache does not know yet. A uid never comes back. */
function isGone({ rollouts }: PolicyObservation, { target }: LedgerLine): boolean {
  return rollouts.some(({ spec, status }) =>
    spec.targets.some(
      ({ uid }, index) => uid === target.workload.metadata.uid && status?.targets?.[index]?.state === 'Gone',
    ),
  );
}

/** Why this container would move to the candidate; undefined when it should stay. */
function moveTrigger(
  observation: PolicyObservation,
  line: LedgerLine,
  eligible: EligibleTag,
): RolloutTrigger | undefined {
  const tag = line.target.image?.tag;
  const digest = runningDigest(line);
  if (digest !== undefined && (digest === eligible.digest || observation.isSameImage(eligible.digest, digest)))
    return undefined;
  if (tag === eligible.tag) return observation.followsDigest && digest !== undefined ? 'NewDigest' : undefined;
  // Only the tag that is gone may be left for a lower one; other targets run tags of their own.
  const isDowngrade = eligible.position === 'Below' && tag === observation.lowest?.tag;
  const isUpgrade = tag === undefined || isDowngrade || observation.isAbove(eligible.tag, tag);
  if (!isUpgrade) return undefined;
  return observation.policy.status?.selected?.digest === eligible.digest ? 'NewTarget' : 'NewTag';
}

export interface Contests {
  /** Foreign changes that are stood back from, as sentences. */
  readonly holds: readonly string[];
  /** At least one was taken back too often. */
  readonly isContested: boolean;
  /** Foreign changes that are taken back. */
  readonly reasserted: ReadonlySet<LedgerLine>;
}

function findContests({ policy, lines, rollouts, nowMs }: PolicyObservation, mayReassert: boolean): Contests {
  const holds: string[] = [];
  const reasserted = new Set<LedgerLine>();
  // A contest does not end by the passage of time.
  const wasContested = findCondition(policy.status?.conditions, 'ManualHold')?.reason === 'FieldContested';
  let isContested = false;
  for (const line of lines) {
    if (line.standing !== 'foreign') continue;
    const { workload, container } = line.target;
    if (policy.spec.rollout.onForeignChange === 'Reassert' && mayReassert) {
      const recent = rollouts.filter(
        (rollout) =>
          isRecentReassert(rollout, nowMs) && rollout.spec.targets.some(({ uid }) => uid === workload.metadata.uid),
      );
      if (!wasContested && recent.length < MAX_REASSERTS_PER_HOUR) {
        reasserted.add(line);
        continue;
      }
      isContested = true;
    }
    const by = container.imageManagers.length > 0 ? container.imageManagers.join(', ') : 'somebody';
    holds.push(
      `${by} changed container ${container.name} of ${titleOf(workload)} from ${line.entry.image} to ${container.image}`,
    );
  }
  return { holds, isContested, reasserted };
}

function describeWorkloads(
  observation: PolicyObservation,
  eligible: EligibleTag,
  moves: readonly Move[],
): GateWorkload[] {
  const seen = new Map<string, GateWorkload>();
  for (const { line } of moves) {
    const { workload } = line.target;
    if (seen.has(workload.metadata.uid)) continue;
    const failed = findFailure(observation, workload, eligible.digest);
    const busyWith = observation.busy.get(workload.metadata.uid);
    const { managedBy, progress } = workload;
    const isUnconsented = managedBy !== undefined && observation.policy.spec.rollout.onForeignChange === undefined;
    seen.set(workload.metadata.uid, {
      title: titleOf(workload),
      ...(busyWith !== undefined && { busyWith }),
      ...(progress.kind === 'paused' && { pausedBecause: progress.message }),
      ...(failed !== undefined && { failedRollout: failed }),
      ...(isUnconsented && {
        managed: `${managedBy.tool} manages it (${managedBy.mark}): ${explainHandover(managedBy.tool)}`,
      }),
    });
  }
  return [...seen.values()];
}

/** The newest failed rollout that took this digest to the workload, unless the policy was edited since. */
function findFailure(
  { policy, rollouts }: PolicyObservation,
  workload: Workload,
  digest: Digest,
): { name: string; message: string } | undefined {
  for (const rollout of rollouts.toReversed()) {
    if (rollout.spec.policy.generation !== policy.metadata.generation) return undefined;
    if (!rollout.spec.images.some((image) => image.digest === digest)) continue;
    for (const { name } of workload.containers) {
      const move = findMove(rollout, workload.metadata.uid, name);
      if (move?.failed === true) return { name: rollout.metadata.name, message: move.message };
    }
  }
  return undefined;
}

function newRollout(observation: PolicyObservation, candidate: Candidate): NonNullable<PolicyDecision['create']> {
  const { policy, highestNumber, nowMs } = observation;
  const { eligible, moves, gates } = candidate;
  const number = Math.max(policy.status?.lastRollout ?? 0, highestNumber) + 1;
  const targets = new Map<
    string,
    { target: Omit<RolloutTarget, 'containers'>; containers: RolloutTarget['containers'] }
  >();
  for (const { line } of moves) {
    const { workload, container } = line.target;
    const { uid, name } = workload.metadata;
    const entry = targets.get(uid) ?? { target: { kind: workload.kind, name, uid }, containers: [] };
    entry.containers.push({
      name: container.name,
      init: container.init,
      from: container.image,
      to: formatPinnedImage(policy.spec.image, eligible.tag, eligible.digest),
    });
    targets.set(uid, entry);
  }
  const triggers = moves.map(({ trigger }) => trigger);
  const trigger =
    (['Reassert', 'NewTag', 'NewDigest', 'NewTarget'] as const).find((it) => triggers.includes(it)) ?? 'NewTag';
  return {
    name: `${policy.metadata.name}-${number}`,
    number,
    spec: {
      policy: { name: policy.metadata.name, uid: policy.metadata.uid, generation: policy.metadata.generation ?? 0 },
      direction: 'Forward',
      trigger,
      images: [{ image: policy.spec.image, tag: eligible.tag, digest: eligible.digest }],
      targets: [...targets.values()].map(({ target, containers }) => ({ ...target, containers })),
      settings: { progressDeadline: policy.spec.rollout.progressDeadline },
      decision: {
        time: toTimestamp(nowMs),
        message: describeDecision(observation, eligible, trigger),
        gates: gates.verdicts.map(({ gate, message }) => ({ gate, answer: 'Open', message })),
      },
    },
  };
}

function describeDecision(
  { lowest, found }: PolicyObservation,
  eligible: EligibleTag,
  trigger: RolloutTrigger,
): string {
  const tags = found?.tags;
  const among = tags === undefined ? '' : `, the best of ${tags.considered} tags that take part (${tags.total} listed)`;
  const running = lowest?.tag ?? (lowest?.digest === undefined ? undefined : shortDigest(lowest.digest));
  const what = `${eligible.tag} at ${shortDigest(eligible.digest)}`;
  switch (trigger) {
    case 'NewTag':
      return eligible.position === 'Below'
        ? `${what}${among}: the running tag ${running ?? ''} is gone from the registry, and downgrade is Allowed`
        : `${what} is newer than ${running ?? 'what runs'}${among}`;
    case 'NewDigest':
      return `${eligible.tag} was pushed again and is now ${shortDigest(eligible.digest)}`;
    case 'NewTarget':
      return `${what} is selected already, and a workload does not run it yet`;
    case 'Reassert':
      return `${what} is selected, and somebody else changed the image (onForeignChange: Reassert)`;
  }
}

function findPrunable(observation: PolicyObservation, status: ImagePolicyStatus, walked: Walked | undefined): string[] {
  const { policy, rollouts, nowMs } = observation;
  const finished = rollouts.filter((rollout) => isFinished(rollout.status));
  const surplus = finished.slice(0, Math.max(0, finished.length - policy.spec.rollout.historyLimit));
  return surplus
    .filter(({ metadata }) => metadata.name !== status.current?.rollout)
    .filter((rollout) => !isRecentReassert(rollout, nowMs))
    .filter((rollout) => !isStillInTheWay(observation, rollout, walked))
    .map(({ metadata }) => metadata.name);
}

/** A failure without which a candidate would be tried again. At most as many as there are candidates. */
function isStillInTheWay(
  { policy, found, problem }: PolicyObservation,
  { spec, status }: ImageRollout,
  walked: Walked | undefined,
): boolean {
  if (status?.state !== 'Held' || spec.policy.generation !== policy.metadata.generation) return false;
  if (found === undefined || problem !== undefined || walked?.doubt !== undefined) return true;
  return found.choice.eligible.some(
    ({ digest, isRunning }) => !isRunning && spec.images.some((image) => image.digest === digest),
  );
}

/** These are counted, so they must not be forgotten while they count. */
function isRecentReassert({ metadata, spec }: ImageRollout, nowMs: number): boolean {
  return spec.trigger === 'Reassert' && nowMs - Date.parse(metadata.creationTimestamp ?? '') < HOUR_MS;
}
