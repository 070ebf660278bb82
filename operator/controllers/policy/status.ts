// What a policy's status says after one look: what was found, what waits and why, in sentences for people. The same
// observation always gives the same status, so an idle policy is never written.

import { updateConditions, type ConditionClaim } from '../../api/conditions.ts';
import type { GateAnswer, ImagePolicyStatus } from '../../api/image-policy.ts';
import { MAX_REJECTED_EXAMPLES, MAX_SPENT_DECISIONS } from '../../api/image-policy.ts';
import { shortDigest } from '../../image/digest.ts';
import { isFinished, rolloutNumber } from '../../rollout/verdict.ts';
import { isComplete, type Choice } from '../../selection/choose.ts';
import { toTimestamp } from '../../time/duration.ts';
import type { Outcome } from './decide.ts';
import { runningDigest } from './ledger.ts';
import { isHeld } from './moves.ts';
import type { PolicyObservation, TagSummary } from './observation.ts';
import { titleOf, type TargetProblem } from './targets.ts';
import { describePin, type Candidate } from './walk.ts';
import { digestIn, primaryDigest } from './wanted.ts';

export function newStatus(observation: PolicyObservation, outcome: Outcome): ImagePolicyStatus {
  const { policy, found, problem } = observation;
  const before = policy.status;
  const generation = policy.metadata.generation ?? 0;
  // Until the tags are known, what was known stays: a restart must not rewrite a single status.
  const isKnown = found !== undefined && problem === undefined && outcome.walked?.doubt === undefined;
  const candidate =
    isKnown || outcome.unfinished !== undefined ? describeCandidate(observation, outcome) : before?.candidate;
  const next = isKnown ? describeNext(observation, outcome) : before?.next;
  const selected = describeSelected(observation, outcome, isKnown);
  // A spec that cannot be understood names no targets: what is known of them must outlast it, or a hold would end by it.
  const isUnread = problem?.stalls === true;
  const current =
    describeCurrent(observation) ?? (isUnread || policy.spec.targets.length > 0 ? before?.current : undefined);
  const targets = isUnread ? before?.targets : describeTargets(observation, outcome);
  const { quarantine, olderDigests, resumedTime } = outcome.orders;
  const pin = describePinned(observation, outcome);
  const spent = [...(before?.spentDecisions ?? []), ...outcome.orders.spent].slice(-MAX_SPENT_DECISIONS);
  // A reason that waits for an answer would be replaced by the answer: what was known stays until then.
  const tags =
    isKnown && isComplete(found.choice) && found.tags !== undefined ? describeTags(found.tags) : before?.tags;
  const seen = found === undefined ? before?.seen : describeSeen(found.choice);
  const lastRollout = outcome.create?.number ?? highestNumber(observation);
  const draft: Omit<ImagePolicyStatus, 'conditions'> = {
    observedGeneration: generation,
    ...(candidate !== undefined && { candidate }),
    ...(next !== undefined && { next }),
    ...(selected !== undefined && { selected }),
    ...(current !== undefined && { current }),
    ...(targets !== undefined && targets.length > 0 && { targets }),
    ...(tags !== undefined && { tags }),
    ...(seen !== undefined && seen.length > 0 && { seen }),
    ...(quarantine.length > 0 && { quarantine: [...quarantine] }),
    ...(olderDigests.length > 0 && { quarantined: [...olderDigests] }),
    ...(pin !== undefined && { pin }),
    ...(resumedTime !== undefined && { resumedTime }),
    ...(spent.length > 0 && { spentDecisions: spent }),
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
  { policy, images, nowMs }: PolicyObservation,
  { walked, create, unfinished }: Outcome,
): ImagePolicyStatus['candidate'] {
  const moving = unfinished?.spec.images[0];
  if (moving !== undefined) {
    const companions = unfinished?.spec.images.slice(1).map(({ image, digest }) => ({ image, digest })) ?? [];
    return {
      ...(moving.tag !== undefined && { tag: moving.tag }),
      digest: moving.digest,
      ...(companions.length > 0 && { companions }),
    };
  }
  const best = walked?.best;
  if (best === undefined) return undefined;
  const waitingFor = describeGates(best, policy.status?.candidate, nowMs);
  if (policy.spec.targets.length === 0 && waitingFor.length === 0 && create === undefined) return undefined;
  const companions = images
    .map((image, part) => ({ image, digest: best.wanted.digests[part] }))
    .slice(1)
    .flatMap(({ image, digest }) => (digest === undefined ? [] : [{ image, digest }]));
  return {
    ...nameOf(best),
    ...(companions.length > 0 && { companions }),
    ...(waitingFor.length > 0 && { waiting: waitingFor.map(({ gate }) => gate).join(', '), waitingFor }),
  };
}

function nameOf({ wanted }: Candidate): { readonly tag?: string; readonly digest?: string } {
  const digest = primaryDigest(wanted);
  return { ...(wanted.tag !== undefined && { tag: wanted.tag }), ...(digest !== undefined && { digest }) };
}

/** The gates that are not open, each with the time since when it says the same about this digest. */
function describeGates(
  { gates, wanted }: Candidate,
  before: ImagePolicyStatus['candidate'] | ImagePolicyStatus['next'],
  nowMs: number,
): GateAnswer[] {
  return gates.verdicts
    .filter(({ answer }) => answer !== 'Open')
    .map(({ untilMs: _, ...verdict }): GateAnswer => {
      const isSame = ({ gate, answer, reason }: GateAnswer): boolean =>
        gate === verdict.gate && answer === verdict.answer && reason === verdict.reason;
      const earlier = before?.digest === primaryDigest(wanted) ? before?.waitingFor?.find(isSame) : undefined;
      return { ...verdict, sinceTime: earlier?.sinceTime ?? toTimestamp(nowMs) };
    });
}

/** An older candidate that stands in for one that is held back. */
function describeNext(
  { policy, nowMs }: PolicyObservation,
  { walked, unfinished }: Outcome,
): ImagePolicyStatus['next'] {
  const chosen = walked?.chosen;
  if (unfinished !== undefined || chosen === undefined || chosen.moves.length === 0) return undefined;
  if (walked?.best === undefined || primaryDigest(walked.best.wanted) === primaryDigest(chosen.wanted))
    return undefined;
  const waitingFor = describeGates(chosen, policy.status?.next, nowMs);
  return { ...nameOf(chosen), ...(waitingFor.length > 0 && { waitingFor }) };
}

function describeSelected(
  observation: PolicyObservation,
  { walked, contests, unfinished, orders, create }: Outcome,
  isKnown: boolean,
): ImagePolicyStatus['selected'] {
  const { policy, lines } = observation;
  const before = policy.status?.selected;
  const pinned = orders.pin;
  if (pinned?.tag !== undefined) return { tag: pinned.tag, digest: pinned.digests[0] ?? '' };
  const kept =
    before === undefined || !isHeld(observation, orders, 0, before.digest) ? before : runningSelection(observation);
  // What is on its way was selected before it left, and moves nothing now: that opens no gate.
  if (!isKnown || unfinished !== undefined) return kept;
  if (create?.spec.trigger === 'Reject') {
    const [image] = create.spec.images;
    return image?.tag === undefined ? undefined : { tag: image.tag, digest: image.digest };
  }
  const chosen = walked?.chosen;
  const isRunning = lines.length > 0 && chosen?.moves.length === 0 && contests.holds.length === 0;
  const isOpen = chosen !== undefined && (chosen.gates.answer === 'Open' || isRunning);
  const digest = chosen === undefined ? undefined : primaryDigest(chosen.wanted);
  return isOpen && chosen.wanted.tag !== undefined && digest !== undefined ? { tag: chosen.wanted.tag, digest } : kept;
}

/** What runs, when that is good: what stands in for a selection that went into quarantine. */
function runningSelection(observation: PolicyObservation): ImagePolicyStatus['selected'] {
  const line = observation.lines.find(({ target, standing }) => target.part === 0 && standing !== 'foreign');
  const tag = line?.target.image?.tag;
  const digest = line === undefined ? undefined : runningDigest(line);
  return tag === undefined || digest === undefined ? undefined : { tag, digest };
}

function describePinned(
  { policy, images, pin, nowMs }: PolicyObservation,
  { orders }: Outcome,
): ImagePolicyStatus['pin'] {
  if (policy.spec.pin === undefined) return undefined;
  if (orders.pin === undefined) return pin === undefined ? policy.status?.pin : undefined;
  const { tag, digests } = orders.pin;
  const companions = digests.slice(1).map((digest, index) => ({ image: images[index + 1] ?? '', digest }));
  return {
    ...(tag !== undefined && { tag }),
    ...(digests[0] !== undefined && { digest: digests[0] }),
    ...(companions.length > 0 && { companions }),
    sinceTime: orders.isNewPin ? toTimestamp(nowMs) : (policy.status?.pin?.sinceTime ?? toTimestamp(nowMs)),
  };
}

function describeCurrent({
  images,
  policy,
  lines,
  lowest,
  rollouts,
  nowMs,
}: PolicyObservation): ImagePolicyStatus['current'] {
  if (lines.length === 0 || lowest === undefined) return undefined;
  const running = images.flatMap((image, part) => {
    const ofPart = lines.filter(({ target }) => target.part === part);
    const line = ofPart.find(({ target }) => target.image?.tag === lowest.tag) ?? ofPart[0];
    if (line === undefined && part > 0) return [];
    const tag = part === 0 ? lowest.tag : line?.target.image?.tag;
    const digest = part === 0 ? lowest.digest : line && runningDigest(line);
    return [{ image, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) }];
  });
  const before = policy.status?.current;
  const bringer = rollouts
    .toReversed()
    .find(
      ({ spec, status }) =>
        isFinished(status) &&
        status?.failure === undefined &&
        spec.images.some(({ tag, digest }) => tag === lowest.tag && digest === lowest.digest),
    );
  const isSame = before?.images[0]?.tag === running[0]?.tag && before?.images[0]?.digest === running[0]?.digest;
  return {
    images: running,
    sinceTime:
      isSame && before?.sinceTime !== undefined ? before.sinceTime : (bringer?.status?.startTime ?? toTimestamp(nowMs)),
    ...(bringer !== undefined && { rollout: bringer.metadata.name }),
  };
}

function describeTargets(
  { lines }: PolicyObservation,
  { walked, contests }: Outcome,
): NonNullable<ImagePolicyStatus['targets']> {
  const wanted = walked?.chosen?.wanted.digests;
  return lines.map((line) => {
    const { target, entry } = line;
    const digest = wanted?.[target.part];
    // Where a foreign image would be taken back, and is exactly what is wanted, it is accepted instead.
    if (!contests.reasserted.has(line) || digest === undefined || target.image?.digest !== digest) return entry;
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
      message: `${holds.join('; ')}. Slipway stands back until that image is set back, or a person accepts it: kubectl slipway resume`,
    });
  }
  const { freeze } = outcome.orders;
  if (freeze !== undefined) claims.push({ type: 'Frozen', status: 'True', ...freeze });
  const gone = describeGone(observation, outcome);
  if (gone !== undefined) {
    claims.push({ type: 'RollbackUnavailable', status: 'True', reason: 'ImageGone', message: gone });
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
  if (outcome.orders.isQuarantineFull) {
    return stalled(
      'QuarantineFull',
      'the quarantine holds as many images as it can: release some with kubectl slipway release, or delete and create the policy',
    );
  }
  const starting = outcome.create?.name ?? outcome.unfinished?.metadata.name;
  if (starting !== undefined) {
    const image = (outcome.create?.spec ?? outcome.unfinished?.spec)?.images[0];
    const what = image?.tag ?? shortDigest(image?.digest ?? '');
    return outcome.unfinished?.status?.state === 'RollingBack'
      ? reconciling('RollingBack', `${starting} failed with ${what} and sets the workloads back`)
      : reconciling('RollingOut', `${starting} is moving the workloads to ${what}`);
  }
  const personal = claimPersonal(observation, outcome, draft);
  if (personal !== undefined) {
    const { reason, message } = personal;
    if (personal.kind === 'ready') return claims.concat({ type: 'Ready', status: 'True', reason, message });
    return personal.kind === 'stalled' ? stalled(reason, message) : notReady(reason, message);
  }
  if (freeze !== undefined) return stalled('Frozen', freeze.message);
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

interface PersonalClaim {
  readonly kind: 'ready' | 'waiting' | 'stalled';
  readonly reason: string;
  readonly message: string;
}

/** How it stands with what a person asked for: a pin, or the way back from what was rejected. */
function claimPersonal(
  { policy, pin, lines }: PolicyObservation,
  { orders, contests, personal, stuck }: Outcome,
  draft: Omit<ImagePolicyStatus, 'conditions'>,
): PersonalClaim | undefined {
  const asked = policy.spec.pin;
  if (asked !== undefined && pin?.kind === 'unresolved')
    return { kind: 'stalled', reason: 'PinUnresolved', message: `${pin.message}. Nothing is moved` };
  if (orders.freeze !== undefined || contests.holds.length > 0) return undefined;
  if (personal !== undefined) {
    const shut = personal.gates.verdicts.filter(({ answer }) => answer !== 'Open');
    const why = shut.map(({ message }) => message).join('; ');
    const consent = shut.find(({ reason }) => reason === 'ManagedByGitOps');
    if (consent !== undefined) return { kind: 'stalled', reason: consent.reason, message: consent.message };
    const what = personal.wanted.tag ?? shortDigest(primaryDigest(personal.wanted) ?? '');
    return { kind: 'waiting', reason: 'Waiting', message: `${what} waits: ${why}` };
  }
  if (stuck > 0) {
    const [made] = orders.rejectedLines.values();
    return {
      kind: 'stalled',
      reason: 'RollbackBlocked',
      message: `${draft.current?.images[0]?.tag ?? 'what runs'} was rejected${made === undefined ? '' : ` by ${made.by}`}, and no earlier image is known to be good: pin one with kubectl slipway pin`,
    };
  }
  if (asked === undefined || orders.pin === undefined || lines.length === 0) return undefined;
  const suspended = policy.spec.suspend ? '; the policy is suspended' : '';
  return { kind: 'ready', reason: 'Pinned', message: `${describePin(asked)}${suspended}` };
}

/** The images that an undo of the next move would bring back, as far as they are gone from the registry. */
function describeGone({ lines, isGone }: PolicyObservation, { orders }: Outcome): string | undefined {
  const gone = lines.flatMap((line) => {
    const { part, workload, container } = line.target;
    const running = runningDigest(line);
    const good = line.entry.good?.[0];
    const digests = [running, good === undefined ? undefined : digestIn(good)];
    const isLost = digests.some((digest) => digest !== undefined && isGone(part, digest));
    return isLost ? [`${container.image} of ${titleOf(workload)}`] : [];
  });
  if (gone.length === 0 || orders.freeze !== undefined) return undefined;
  return `the registry no longer has ${[...new Set(gone)].slice(0, 5).join(', ')}: after the next rollout nothing could bring it back. Push it again, or keep it from being deleted`;
}

/** Nothing is in the way and nothing is on its way: is what runs what should run? */
function claimRest(observation: PolicyObservation, draft: Omit<ImagePolicyStatus, 'conditions'>): ConditionClaim {
  const { policy, found } = observation;
  const running = draft.current?.images[0];
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
