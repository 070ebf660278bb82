// What a policy's status says after one look: what was found, what waits and why, in sentences for people. The same
// observation always gives the same status, so an idle policy is never written.

import { updateConditions, type ConditionClaim } from '../../api/conditions.ts';
import type { GateAnswer, ImagePolicyStatus } from '../../api/image-policy.ts';
import { MAX_REJECTED_EXAMPLES } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import { shortDigest } from '../../image/digest.ts';
import { isFinished } from '../../rollout/state-machine.ts';
import { isComplete, type Choice } from '../../selection/choose.ts';
import { toTimestamp } from '../../time/duration.ts';
import type { Contests, PolicyDecision, Walked } from './decide.ts';
import { rolloutNumber } from './ledger.ts';
import type { PolicyObservation, TagSummary } from './observation.ts';
import type { TargetProblem } from './targets.ts';

/** What deciding came to, for the status to tell. */
export interface Outcome {
  readonly walked: Walked | undefined;
  readonly contests: Contests;
  readonly create: PolicyDecision['create'];
  readonly unfinished: ImageRollout | undefined;
}

export function newStatus(observation: PolicyObservation, outcome: Outcome): ImagePolicyStatus {
  const { policy, found, problem } = observation;
  const before = policy.status;
  const generation = policy.metadata.generation ?? 0;
  // Until the tags are known, what was known stays: a restart must not rewrite a single status.
  const isKnown = found !== undefined && problem === undefined && outcome.walked?.doubt === undefined;
  const candidate =
    isKnown || outcome.unfinished !== undefined ? describeCandidate(observation, outcome) : before?.candidate;
  const selected = isKnown ? describeSelected(observation, outcome) : before?.selected;
  // A spec that cannot be understood names no targets: what is known of them must outlast it, or a hold would end by it.
  const isUnread = problem?.stalls === true;
  const current =
    describeCurrent(observation) ?? (isUnread || policy.spec.targets.length > 0 ? before?.current : undefined);
  const targets = isUnread ? before?.targets : describeTargets(observation, outcome);
  // A reason that waits for an answer would be replaced by the answer: what was known stays until then.
  const tags =
    isKnown && isComplete(found.choice) && found.tags !== undefined ? describeTags(found.tags) : before?.tags;
  const seen = found === undefined ? before?.seen : describeSeen(found.choice);
  const lastRollout = outcome.create?.number ?? highestNumber(observation);
  const draft: Omit<ImagePolicyStatus, 'conditions'> = {
    observedGeneration: generation,
    ...(candidate !== undefined && { candidate }),
    ...(selected !== undefined && { selected }),
    ...(current !== undefined && { current }),
    ...(targets !== undefined && targets.length > 0 && { targets }),
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
  { walked, create, unfinished }: Outcome,
): ImagePolicyStatus['candidate'] {
  const moving = unfinished?.spec.images[0];
  if (moving !== undefined) return { tag: moving.tag, digest: moving.digest };
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

function describeSelected(
  { policy, lines }: PolicyObservation,
  { walked, contests, unfinished }: Outcome,
): ImagePolicyStatus['selected'] {
  // What is on its way was selected before it left, and moves nothing now: that opens no gate.
  if (unfinished !== undefined) return policy.status?.selected;
  const chosen = walked?.chosen;
  const isRunning = lines.length > 0 && chosen?.moves.length === 0 && contests.holds.length === 0;
  const isOpen = chosen !== undefined && (chosen.gates.answer === 'Open' || isRunning);
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

function describeTargets(
  { lines }: PolicyObservation,
  { walked, contests }: Outcome,
): NonNullable<ImagePolicyStatus['targets']> {
  const wanted = walked?.chosen?.eligible.digest;
  return lines.map((line) => {
    const { target, entry } = line;
    // Where a foreign image would be taken back, and is exactly what is wanted, it is accepted instead.
    if (!contests.reasserted.has(line) || wanted === undefined || target.image?.digest !== wanted) return entry;
    const { digest: _, ...rest } = entry;
    return { ...rest, image: target.container.image };
  });
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
