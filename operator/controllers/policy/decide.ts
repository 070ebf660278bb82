// What one policy does next, as a pure function of everything that was observed: the new status, at most one rollout to
// start, finished rollouts to forget, and when to look again. Doubt about the registry or the targets changes conditions
// and nothing else.

import { updateConditions, type ConditionClaim } from '../../api/conditions.ts';
import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { MAX_REJECTED_EXAMPLES, type GateAnswer, type ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRolloutSpec, RolloutTarget, RolloutTrigger } from '../../api/image-rollout.ts';
import { judgeCandidate, type GateSummary } from '../../gates/index.ts';
import type { GateWorkload } from '../../gates/gate.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { formatPinnedImage } from '../../image/reference.ts';
import { isFinished } from '../../rollout/state-machine.ts';
import { explainHandover } from '../../rollout/workloads/managing-tool.ts';
import type { Workload } from '../../rollout/workloads/workload.ts';
import type { Choice, EligibleTag, Examination } from '../../selection/choose.ts';
import { toTimestamp } from '../../time/duration.ts';
import { findMove, rolloutNumber, type LedgerLine } from './ledger.ts';
import { titleOf, type TargetProblem } from './targets.ts';

/** A reason not to act that is not about a candidate. */
export interface Problem {
  /** PascalCase; becomes the reason of Ready. */
  readonly code: string;
  /** The same text as long as the problem is the same. */
  readonly message: string;
  /** Only a change of the spec helps. */
  readonly stalls: boolean;
}

/** What a complete listing came to. */
export interface TagSummary {
  readonly total: number;
  readonly considered: number;
  readonly rejectedByReason: Readonly<Record<string, number>>;
  /** The most telling examples, at most MAX_REJECTED_EXAMPLES, sorted by tag. */
  readonly rejected: readonly { readonly tag: string; readonly reason: string; readonly message: string }[];
}

export interface PolicyObservation {
  readonly nowMs: number;
  readonly policy: ImagePolicy;
  /** All rollouts of this policy, ascending by number. */
  readonly rollouts: readonly ImageRollout[];
  /** What keeps the registry from being read or the spec from being understood. Absent: all is well. */
  readonly problem?: Problem;
  readonly lines: readonly LedgerLine[];
  readonly targetProblems: readonly TargetProblem[];
  /** The running image that candidates were compared with; both absent when nothing runs. */
  readonly lowest?: { readonly tag?: string; readonly digest?: Digest };
  /** Absent until the tags were listed (or, for `fixed`, asked for). */
  readonly found?: { readonly tags?: TagSummary; readonly choice: Choice };
  /** Unfinished rollouts of others, by the uid of the workload they move. */
  readonly busy: ReadonlyMap<string, string>;
  /** Whether the tag ranks above another one, both without filter and range. */
  readonly isAbove: (tag: string, other: string) => boolean;
  /** Whether both digests stand for the same image on the required platforms. */
  readonly isSameImage: (candidate: Digest, running: Digest) => boolean;
  readonly followsDigest: boolean;
}

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

interface Move {
  readonly line: LedgerLine;
  readonly trigger: RolloutTrigger;
}

interface Candidate {
  readonly eligible: EligibleTag;
  readonly moves: readonly Move[];
  readonly gates: GateSummary;
}

export function decide(observation: PolicyObservation): PolicyDecision {
  const { policy, rollouts, nowMs, found } = observation;
  const contests = findContests(observation);
  const walked = found === undefined ? undefined : walkCandidates(observation, found.choice, contests);
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
  const prune = findPrunable(observation, status);
  return {
    status,
    ...(create !== undefined && { create }),
    prune,
    ...(found?.choice.nextChangeTimeMs !== undefined && { lookAgainMs: found.choice.nextChangeTimeMs - nowMs }),
  };
}

interface Walked {
  /** The first candidate whose gates are not closed. Absent: none, or doubt came first. */
  readonly chosen?: Candidate;
  /** The best candidate by the order that would move something, whatever its gates say. */
  readonly best?: Candidate;
  /** The registry would not say what a better candidate is. */
  readonly doubt?: Extract<Examination, { kind: 'Waiting' }>;
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
    if (line.standing === 'moving') return [];
    if (contests.reasserted.has(line)) return [{ line, trigger: 'Reassert' }];
    const trigger = moveTrigger(observation, line, eligible);
    return trigger === undefined ? [] : [{ line, trigger }];
  });
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
  const isUpgrade = tag === undefined || eligible.position === 'Below' || observation.isAbove(eligible.tag, tag);
  if (!isUpgrade) return undefined;
  return observation.policy.status?.selected?.digest === eligible.digest ? 'NewTarget' : 'NewTag';
}

export function runningDigest(line: LedgerLine): Digest | undefined {
  return line.target.image?.digest ?? (line.entry.digest as Digest | undefined);
}

interface Contests {
  /** Foreign changes that are stood back from, as sentences. */
  readonly holds: readonly string[];
  /** At least one was taken back too often. */
  readonly isContested: boolean;
  /** Foreign changes that are taken back. */
  readonly reasserted: ReadonlySet<LedgerLine>;
}

function findContests({ policy, lines, rollouts, nowMs }: PolicyObservation): Contests {
  const holds: string[] = [];
  const reasserted = new Set<LedgerLine>();
  let isContested = false;
  for (const line of lines) {
    if (line.standing !== 'foreign') continue;
    const { workload, container } = line.target;
    if (policy.spec.rollout.onForeignChange === 'Reassert') {
      const recent = rollouts.filter(
        ({ metadata, spec }) =>
          spec.trigger === 'Reassert' &&
          nowMs - Date.parse(metadata.creationTimestamp ?? '') < HOUR_MS &&
          spec.targets.some(({ uid }) => uid === workload.metadata.uid),
      );
      if (recent.length < MAX_REASSERTS_PER_HOUR) {
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
  const { policy, rollouts, nowMs } = observation;
  const { eligible, moves, gates } = candidate;
  const number = Math.max(policy.status?.lastRollout ?? 0, ...rollouts.map(rolloutNumber)) + 1;
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

// ---------------------------------------------------------------------------------------------------------------------
// Status

interface Outcome {
  readonly walked: Walked | undefined;
  readonly contests: Contests;
  readonly create: PolicyDecision['create'];
  readonly unfinished: ImageRollout | undefined;
}

function newStatus(observation: PolicyObservation, outcome: Outcome): ImagePolicyStatus {
  const { policy, found, lines, problem } = observation;
  const before = policy.status;
  const generation = policy.metadata.generation ?? 0;
  // Until the tags are known, what was known stays: a restart must not rewrite a single status.
  const isKnown = found !== undefined && problem === undefined && outcome.walked?.doubt === undefined;
  const candidate = isKnown ? describeCandidate(observation, outcome) : before?.candidate;
  const selected = isKnown ? describeSelected(observation, outcome) : before?.selected;
  const current =
    describeCurrent(observation) ??
    (lines.length === 0 && policy.spec.targets.length > 0 ? before?.current : undefined);
  const tags = isKnown && found.tags !== undefined ? describeTags(found.tags) : before?.tags;
  const seen = found === undefined ? before?.seen : describeSeen(found.choice);
  const lastRollout = outcome.create?.number ?? highestNumber(observation);
  const draft: Omit<ImagePolicyStatus, 'conditions'> = {
    observedGeneration: generation,
    ...(candidate !== undefined && { candidate }),
    ...(selected !== undefined && { selected }),
    ...(current !== undefined && { current }),
    ...(lines.length > 0 && { targets: lines.map(({ entry }) => entry) }),
    ...(tags !== undefined && { tags }),
    ...(seen !== undefined && seen.length > 0 && { seen }),
    ...(lastRollout > 0 && { lastRollout }),
  };
  const claims = claimConditions(observation, outcome, draft);
  return {
    ...draft,
    conditions: updateConditions(before?.conditions, claims ?? keepConditions(before), {
      generation,
      nowMs: observation.nowMs,
    }),
  };
}

function keepConditions(before: ImagePolicyStatus | undefined): ConditionClaim[] {
  return (before?.conditions ?? []).map(({ type, status, reason, message }) => ({
    type: type as ConditionClaim['type'],
    status,
    reason,
    message,
  }));
}

function highestNumber({ policy, rollouts }: PolicyObservation): number {
  return Math.max(policy.status?.lastRollout ?? 0, ...rollouts.map(rolloutNumber));
}

function describeCandidate(
  { policy, nowMs }: PolicyObservation,
  { walked, create }: Outcome,
): ImagePolicyStatus['candidate'] {
  const best = walked?.best;
  if (best === undefined) return undefined;
  const { tag, digest } = best.eligible;
  const closed = best.gates.verdicts.filter(({ answer }) => answer !== 'Open');
  const before = policy.status?.candidate;
  const waitingFor = closed.map((verdict): GateAnswer => {
    const earlier =
      before?.digest === digest
        ? before.waitingFor?.find(
            ({ gate, answer, reason }) =>
              gate === verdict.gate && answer === verdict.answer && reason === verdict.reason,
          )
        : undefined;
    return { ...verdict, sinceTime: earlier?.sinceTime ?? toTimestamp(nowMs) };
  });
  if (policy.spec.targets.length === 0 && waitingFor.length === 0 && create === undefined) return undefined;
  return {
    tag,
    digest,
    ...(waitingFor.length > 0 && { waiting: waitingFor.map(({ gate }) => gate).join(', '), waitingFor }),
  };
}

function describeSelected({ policy }: PolicyObservation, { walked, contests }: Outcome): ImagePolicyStatus['selected'] {
  const chosen = walked?.chosen;
  const isOpen =
    chosen !== undefined &&
    (chosen.gates.answer === 'Open' || (chosen.moves.length === 0 && contests.holds.length === 0));
  return isOpen ? { tag: chosen.eligible.tag, digest: chosen.eligible.digest } : policy.status?.selected;
}

function describeCurrent({ policy, lines, lowest, rollouts, nowMs }: PolicyObservation): ImagePolicyStatus['current'] {
  if (lines.length === 0 || lowest === undefined) return undefined;
  const image = {
    image: policy.spec.image,
    ...(lowest.tag !== undefined && { tag: lowest.tag }),
    ...(lowest.digest !== undefined && { digest: lowest.digest }),
  };
  const before = policy.status?.current;
  const beforeImage = before?.images[0];
  const bringer = rollouts
    .toReversed()
    .find(
      ({ spec, status }) =>
        isFinished(status) && spec.images.some(({ tag, digest }) => tag === lowest.tag && digest === lowest.digest),
    );
  const isSame = beforeImage?.tag === image.tag && beforeImage?.digest === image.digest;
  return {
    images: [image],
    sinceTime:
      isSame && before?.sinceTime !== undefined ? before.sinceTime : (bringer?.status?.startTime ?? toTimestamp(nowMs)),
    ...(bringer !== undefined && { rollout: bringer.metadata.name }),
  };
}

function describeTags({ total, considered, rejectedByReason, rejected }: TagSummary): ImagePolicyStatus['tags'] {
  return {
    total,
    considered,
    ...(Object.keys(rejectedByReason).length > 0 && { rejectedByReason: { ...rejectedByReason } }),
    ...(rejected.length > 0 && { rejected: rejected.slice(0, MAX_REJECTED_EXAMPLES) }),
  };
}

function describeSeen({ seen }: Choice): NonNullable<ImagePolicyStatus['seen']> {
  return seen.map(({ tag, digest, firstSeenTimeMs }) => ({ tag, digest, firstSeenTime: toTimestamp(firstSeenTimeMs) }));
}

/** Undefined: nothing new is known, so the conditions stay. */
function claimConditions(
  observation: PolicyObservation,
  outcome: Outcome,
  draft: Omit<ImagePolicyStatus, 'conditions'>,
): ConditionClaim[] | undefined {
  const { policy, problem, targetProblems } = observation;
  const claims: ConditionClaim[] = [];
  const { holds, isContested } = outcome.contests;
  if (holds.length > 0) {
    claims.push({
      type: 'ManualHold',
      status: 'True',
      reason: isContested ? 'FieldContested' : 'ForeignChange',
      message: `${holds.join('; ')}. Slipway stands back until that image is set back.`,
    });
  }
  const notReady = (reason: string, message: string): ConditionClaim[] => [
    ...claims,
    { type: 'Ready', status: 'False', reason, message },
  ];
  const stalled = (reason: string, message: string): ConditionClaim[] => [
    ...notReady(reason, message),
    { type: 'Stalled', status: 'True', reason, message },
  ];
  const reconciling = (reason: string, message: string): ConditionClaim[] => [
    ...notReady(reason, message),
    { type: 'Reconciling', status: 'True', reason, message },
  ];

  if (problem?.stalls === true) return stalled(problem.code, problem.message);
  const stalling = targetProblems.filter(({ stalls }) => stalls);
  if (stalling[0] !== undefined) return stalled(stalling[0].reason, sentences(stalling));
  const starting = outcome.create?.name ?? outcome.unfinished?.metadata.name;
  if (starting !== undefined) {
    const image = (outcome.create?.spec ?? outcome.unfinished?.spec)?.images[0];
    return reconciling('RollingOut', `${starting} is moving the workloads to ${image?.tag ?? ''}`);
  }
  if (problem !== undefined) return notReady(problem.code, problem.message);
  if (observation.found === undefined) {
    const isNew = policy.status?.observedGeneration !== policy.metadata.generation;
    return isNew ? reconciling('Listing', `listing the tags of ${policy.spec.image}`) : undefined;
  }
  const doubt = outcome.walked?.doubt;
  if (doubt !== undefined) {
    if (doubt.message !== undefined)
      return notReady('CandidateUnreadable', `${doubt.tag} could not be read: ${doubt.message}`);
    const isNew = policy.status?.observedGeneration !== policy.metadata.generation;
    return isNew ? reconciling('Resolving', `asking the registry about ${doubt.tag}`) : undefined;
  }
  const consent = outcome.walked?.best?.gates.verdicts.find(({ reason }) => reason === 'ManagedByGitOps');
  if (consent !== undefined) return stalled('ManagedByGitOps', consent.message);
  if (holds.length > 0) return notReady('ManualHold', `stands back: ${holds.join('; ')}`);
  const waiting = draft.candidate?.waitingFor ?? [];
  if (waiting.length > 0) {
    const isClosed = waiting.some(({ answer }) => answer === 'Closed');
    const why = waiting.map(({ message }) => message).join('; ');
    return isClosed
      ? notReady('CandidateRejected', `${draft.candidate?.tag ?? ''} does not roll out: ${why}`)
      : notReady('Waiting', `${draft.candidate?.tag ?? ''} waits: ${why}`);
  }
  if (targetProblems[0] !== undefined) return notReady(targetProblems[0].reason, sentences(targetProblems));
  return claims.concat(claimRest(observation, draft));
}

/** Nothing is in the way and nothing is on its way: is what runs what should run? */
function claimRest(observation: PolicyObservation, draft: Omit<ImagePolicyStatus, 'conditions'>): ConditionClaim {
  const { policy, rollouts, found } = observation;
  const running = draft.current?.images[0];
  const last = rollouts.findLast(({ metadata }) => metadata.name === draft.current?.rollout);
  if (last?.status?.state === 'Held') {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'RolloutFailed',
      message: `${last.metadata.name}: ${last.status.message ?? 'failed'}`,
    };
  }
  const name = running?.tag ?? (running?.digest === undefined ? undefined : shortDigest(running.digest));
  if (draft.selected === undefined || (found?.choice.eligible.length === 0 && draft.current === undefined)) {
    const total = draft.tags?.total;
    return {
      type: 'Ready',
      status: 'False',
      reason: 'NoTagQualifies',
      message:
        total === undefined
          ? `no tag of ${policy.spec.image} qualifies`
          : `none of ${total} tags of ${policy.spec.image} qualifies${describeReasons(draft.tags?.rejectedByReason)}`,
    };
  }
  if (policy.spec.targets.length === 0) {
    return {
      type: 'Ready',
      status: 'True',
      reason: 'Selected',
      message: `${draft.selected.tag} is selected; there are no targets to move`,
    };
  }
  const suffix = policy.spec.suspend ? '; the policy is suspended' : '';
  return {
    type: 'Ready',
    status: 'True',
    reason: policy.spec.suspend ? 'Suspended' : 'UpToDate',
    message: `${name ?? 'an image'} runs, and no tag that qualifies is newer${suffix}`,
  };
}

function describeReasons(byReason: Readonly<Record<string, number>> | undefined): string {
  const parts = Object.entries(byReason ?? {}).map(([reason, count]) => `${count} ${reason}`);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}

function sentences(problems: readonly TargetProblem[]): string {
  return problems.map(({ message }) => message).join('; ');
}

function findPrunable({ policy, rollouts }: PolicyObservation, status: ImagePolicyStatus): string[] {
  const finished = rollouts.filter((rollout) => isFinished(rollout.status));
  const surplus = finished.slice(0, Math.max(0, finished.length - policy.spec.rollout.historyLimit));
  return surplus.map(({ metadata }) => metadata.name).filter((name) => name !== status.current?.rollout);
}
