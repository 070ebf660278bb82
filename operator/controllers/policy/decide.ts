// What one policy does next, as a pure function of everything that was observed: the new status, at most one rollout to
// start, finished rollouts and spent decisions to forget, and when to look again. Doubt about the registry or the targets
// changes conditions and nothing else.

import type { ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import { isFinished } from '../../rollout/verdict.ts';
import { findPrunable } from './history.ts';
import { acceptForeign } from './ledger.ts';
import { findContests, findPinMoves, findRejectMoves, type Contests } from './moves.ts';
import { newRollout, type NewRollout } from './new-rollout.ts';
import type { PolicyObservation } from './observation.ts';
import { readOrders, type Orders } from './orders.ts';
import { newStatus } from './status.ts';
import { readImage } from './targets.ts';
import { putBeforeGates, walkCandidates, type Candidate, type Walked } from './walk.ts';

export interface PolicyDecision {
  readonly status: ImagePolicyStatus;
  /** The rollout to create, before the status is written. */
  readonly create?: NewRollout;
  /** Names of finished rollouts beyond the history limit. */
  readonly prune: readonly string[];
  /** Names of ImageDecisions that are long over. */
  readonly forget: readonly string[];
  /** Absent: nothing changes by the passage of time. */
  readonly lookAgainMs?: number;
}

/** Everything that deciding came to, for the status to tell. */
export interface Outcome {
  readonly orders: Orders;
  readonly contests: Contests;
  readonly walked: Walked | undefined;
  /** What a person asked for: a pin, or the way back from what was rejected. Absent: nothing, or it is done. */
  readonly personal: Candidate | undefined;
  /** Containers that run what was rejected and have no good image to go back to. */
  readonly stuck: number;
  readonly create: NewRollout | undefined;
  readonly unfinished: ImageRollout | undefined;
}

export function decide(seen: PolicyObservation): PolicyDecision {
  const accepts = readOrders(seen).acceptsForeign;
  const observation = accepts ? { ...seen, lines: seen.lines.map(acceptForeign) } : seen;
  const outcome = conclude(observation);
  const status = newStatus(observation, outcome);
  const prune = findPrunable(observation, status, outcome);
  const lookAgainMs = findNextLook(observation, outcome, status);
  return {
    status,
    ...(outcome.create !== undefined && { create: outcome.create }),
    prune,
    forget: observation.decisions.obsolete(observation.nowMs),
    ...(lookAgainMs !== undefined && { lookAgainMs }),
  };
}

function conclude(observation: PolicyObservation): Outcome {
  const { policy, rollouts, found, problem, targetProblems } = observation;
  const orders = readOrders(observation);
  let contests = findContests(observation, true);
  let walked = found === undefined ? undefined : walkCandidates(observation, orders, found.choice, contests);
  if (contests.reasserted.size > 0 && policy.spec.pin === undefined && walked !== undefined && hasNothing(walked)) {
    // There is nothing to take the foreign image back to: it must not pass for what is wanted.
    contests = findContests(observation, false);
    walked = {};
  }
  const { personal, stuck } = findPersonal(observation, orders, contests);
  // A CronJob between two runs may be given a newer image.
  const unfinished = rollouts.find(({ status }) => !isFinished(status) && status?.awaitsRun !== true);
  const canStart = problem?.stalls !== true && unfinished === undefined && !targetProblems.some(({ stalls }) => stalls);
  const isAutomatic = personal === undefined && policy.spec.pin === undefined;
  const canChoose = isAutomatic && problem === undefined && !orders.isQuarantineFull;
  const next = personal ?? (canChoose ? walked?.chosen : undefined);
  const create =
    canStart && next !== undefined && next.gates.answer === 'Open' && next.moves.length > 0
      ? newRollout(observation, orders, next)
      : undefined;
  return { orders, contests, walked, personal, stuck, create, unfinished };
}

function hasNothing({ chosen, best, doubt }: Walked): boolean {
  return chosen === undefined && best === undefined && doubt === undefined;
}

/** What a person asked for comes before everything that automation wants. */
function findPersonal(
  observation: PolicyObservation,
  orders: Orders,
  contests: Contests,
): { readonly personal: Candidate | undefined; readonly stuck: number } {
  const { policy, gateRules, images } = observation;
  const none = { personal: undefined, stuck: 0 };
  const isBinding = { isPin: true, enforced: gateRules.enforcedOnPins };
  if (policy.spec.pin !== undefined) {
    if (orders.pin === undefined) return none;
    const { digests } = orders.pin;
    const tag = orders.pin.tag ?? tagOnRecord(observation, digests[0]);
    const wanted = { ...(tag !== undefined && { tag }), digests };
    const moves = findPinMoves(observation, wanted, contests);
    if (moves.length === 0) return none;
    return { personal: putBeforeGates(observation, orders, contests, wanted, moves, isBinding), stuck: 0 };
  }
  const { moves, stuck } = findRejectMoves(observation, orders);
  const [first] = moves;
  if (first === undefined) return { personal: undefined, stuck: stuck.length };
  const tag = readImage(first.to)?.tag;
  const wanted = {
    ...(tag !== undefined && { tag }),
    digests: images.map((_, part) => moves.find(({ line }) => line.target.part === part)?.digest),
  };
  const personal = putBeforeGates(observation, orders, contests, wanted, moves, { isPin: true });
  return { personal, stuck: stuck.length };
}

function findNextLook(
  observation: PolicyObservation,
  { walked, personal }: Outcome,
  status: ImagePolicyStatus,
): number | undefined {
  const { nowMs, found } = observation;
  if (isFirstSelection(observation, status)) return 0;
  const candidates = [personal, walked?.chosen, walked?.best].filter((candidate) => candidate !== undefined);
  const times = candidates
    .flatMap(({ gates }) => gates.verdicts)
    .flatMap(({ untilMs }) => (untilMs === undefined || untilMs <= nowMs ? [] : [untilMs]));
  if (found?.choice.nextChangeTimeMs !== undefined) times.push(found.choice.nextChangeTimeMs);
  return times.length === 0 ? undefined : Math.max(0, Math.min(...times) - nowMs);
}

/**
 * Where nothing runs, candidates are compared with `selected`: until a look with the new one, the registry would be asked
 * for the digests of every candidate that was examined to find it.
 */
function isFirstSelection({ lines, policy }: PolicyObservation, status: ImagePolicyStatus): boolean {
  const before = policy.status?.selected;
  const after = status.selected;
  return lines.length === 0 && (before?.tag !== after?.tag || before?.digest !== after?.digest);
}

/** Under which tag a digest of `spec.image` is known here: without it in the image, the next tags could not be told to be newer. */
function tagOnRecord({ rollouts, lines }: PolicyObservation, digest: Digest | undefined): string | undefined {
  if (digest === undefined) return undefined;
  const moved = rollouts
    .map(({ spec }) => spec.images[0])
    .findLast((image) => image?.digest === digest && image.tag !== undefined);
  if (moved !== undefined) return moved.tag;
  return lines
    .filter(({ target }) => target.part === 0)
    .flatMap(({ entry }) => [entry.image, ...(entry.good ?? [])])
    .map(readImage)
    .find((image) => image?.tag !== undefined && image.digest === digest)?.tag;
}
