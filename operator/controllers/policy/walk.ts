// From the best candidate downwards: each is put before the gates. Closed looks at the next one, doubt and Waiting stop,
// unless an older candidate was approved by name.

import type { ImagePolicySpec } from '../../api/image-policy.ts';
import type { GateInput, GateWorkload } from '../../gates/gate.ts';
import { judgeCandidate, type GateSummary, type JudgeOptions } from '../../gates/index.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { describeRejection } from '../../rollout/decisions.ts';
import { explainHandover } from '../../rollout/managing-tool.ts';
import { failureOf, isFinished, isQuarantining } from '../../rollout/verdict.ts';
import type { Choice, EligibleTag, Examination } from '../../selection/choose.ts';
import { parseDurationMs, parseTimestampMs } from '../../time/duration.ts';
import { findMoves, type Contests, type Move } from './moves.ts';
import type { PolicyObservation } from './observation.ts';
import { findHold, type Orders } from './orders.ts';
import { titleOf } from './targets.ts';
import { primaryDigest, recognize, wantedOf, type Wanted } from './wanted.ts';

export interface Candidate {
  readonly wanted: Wanted;
  /** Absent when a person named the image. */
  readonly eligible?: EligibleTag;
  readonly moves: readonly Move[];
  readonly gates: GateSummary;
  /** Which attempt it would be. */
  readonly attempt: number;
}

export interface Walked {
  /** The first candidate whose gates are not closed. Absent: none, or doubt came first. */
  readonly chosen?: Candidate;
  /** The best candidate by the order that would move something, whatever its gates say. */
  readonly best?: Candidate;
  /** The registry would not say what a better candidate is. */
  readonly doubt?: Extract<Examination, { kind: 'Waiting' }>;
}

export function walkCandidates(
  observation: PolicyObservation,
  orders: Orders,
  choice: Choice,
  contests: Contests,
): Walked {
  let best: Candidate | undefined;
  let waiting: Candidate | undefined;
  const result = (chosen: Candidate | undefined): Walked => ({
    ...(chosen && { chosen }),
    ...(best && { best }),
  });
  for (const examination of choice.examined) {
    if (examination.kind === 'Rejected') continue;
    if (examination.kind === 'Waiting') {
      if (waiting !== undefined) return result(waiting);
      return { ...(best && { best }), doubt: examination };
    }
    const eligible = examination.candidate;
    const moves = findMoves(observation, eligible, contests);
    const candidate = putBeforeGates(observation, orders, contests, wantedOf(observation, eligible), moves);
    const judged: Candidate = { ...candidate, eligible };
    if (moves.length > 0 || isNews(observation, eligible)) best ??= judged;
    // What runs already needs no gate to stay.
    if (moves.length === 0 && !isNews(observation, eligible)) return result(waiting ?? judged);
    if (waiting !== undefined) {
      if (judged.gates.answer === 'Open' && isApproved(observation, judged)) return result(judged);
      continue;
    }
    if (judged.gates.answer === 'Open') return result(judged);
    if (judged.gates.answer === 'Waiting') waiting = judged;
  }
  return result(waiting);
}

/** Without targets, `selected` stands for what runs. */
function isNews({ policy, lines }: PolicyObservation, eligible: EligibleTag): boolean {
  return lines.length === 0 && policy.spec.targets.length === 0 && policy.status?.selected?.digest !== eligible.digest;
}

function isApproved(observation: PolicyObservation, { wanted, moves }: Candidate): boolean {
  const { required = 1 } = observation.gateRules.approval ?? {};
  return findApprovers(observation, digestsToApprove(wanted, moves)).length >= required;
}

/** That of the whole, by which people speak of it, and those of the companions that would move. */
function digestsToApprove({ digests }: Wanted, moves: readonly Move[]): readonly Digest[] {
  const moving = new Set(moves.map(({ line }) => line.target.part));
  return digests.flatMap((digest, part) =>
    digest !== undefined && (part === 0 || moving.size === 0 || moving.has(part)) ? [digest] : [],
  );
}

/** Who approved every one of these digests, and until when that counts. */
function findApprovers(
  { decisions, gateRules, nowMs }: PolicyObservation,
  digests: readonly Digest[],
): { readonly person: string; readonly untilMs: number }[] {
  const { validForMs = Infinity } = gateRules.approval ?? {};
  const [first = [], ...others] = digests.map((digest) => decisions.approvals(digest, validForMs, nowMs));
  return first.flatMap(({ by, untilMs }) => {
    const also = others.map((approvals) => approvals.find((approval) => approval.by === by)?.untilMs);
    return also.every((otherMs) => otherMs !== undefined) ? [{ person: by, untilMs: Math.min(untilMs, ...also) }] : [];
  });
}

/** Asks every gate about an image. */
export function putBeforeGates(
  observation: PolicyObservation,
  orders: Orders,
  contests: Contests,
  wanted: Wanted,
  moves: readonly Move[],
  options: JudgeOptions = {},
): Candidate {
  const retry = findRetry(observation, wanted);
  const input = describe(observation, orders, contests, wanted, moves, retry, options);
  return { wanted, moves, gates: judgeCandidate(input, options), attempt: retry?.attempt ?? 1 };
}

function describe(
  observation: PolicyObservation,
  orders: Orders,
  contests: Contests,
  wanted: Wanted,
  moves: readonly Move[],
  retry: GateInput['retry'],
  { isPin = false }: JudgeOptions,
): GateInput {
  const { nowMs, policy, window, gateRules, decisions } = observation;
  const toApprove = digestsToApprove(wanted, moves);
  const digest = primaryDigest(wanted) ?? '';
  const quarantined = describeHold(observation, orders, wanted);
  const rejection = recognize(observation, wanted)
    .flatMap(({ digests }) => digests)
    .map((alias) => decisions.rejections.get(alias))
    .find((made) => made !== undefined);
  const { approval } = gateRules;
  const cooldownUntilMs = findCooldown(observation);
  return {
    nowMs,
    ...(wanted.tag !== undefined && { tag: wanted.tag }),
    digest,
    isSuspended: policy.spec.suspend,
    ...(quarantined !== undefined && { quarantined }),
    ...(rejection !== undefined && { rejected: describeRejection(rejection) }),
    ...(policy.spec.pin !== undefined && !isPin && { pinned: describePin(policy.spec.pin) }),
    ...(approval !== undefined && {
      approval: {
        required: approval.required,
        digests: toApprove.map(shortDigest),
        by: findApprovers(observation, toApprove),
      },
    }),
    ...(window !== undefined && { window }),
    ...(cooldownUntilMs !== undefined && { cooldownUntilMs }),
    ...(retry !== undefined && { retry }),
    ...(orders.freeze !== undefined && { frozen: orders.freeze.message }),
    holds: contests.holds,
    workloads: describeWorkloads(observation, moves),
  };
}

export function describePin({ tag, digest, reason }: NonNullable<ImagePolicySpec['pin']>): string {
  const what = tag ?? shortDigest(digest ?? '');
  const why = reason === undefined ? '' : ` (${reason})`;
  return `${what} is pinned${why}, and automation waits until spec.pin is removed: kubectl slipway unpin`;
}

function describeHold(observation: PolicyObservation, orders: Orders, wanted: Wanted): string | undefined {
  const hold = findHold(orders, recognize(observation, wanted));
  if (hold === undefined) return undefined;
  const remedy = 'It may be tried again after: kubectl slipway release';
  if (hold === 'Older') return `in quarantine since long ago. ${remedy}`;
  const by = hold.rollout === undefined ? '' : ` by ${hold.rollout}`;
  const under = hold.tag === undefined || hold.tag === wanted.tag ? '' : ` as ${hold.tag}`;
  const why = hold.message === undefined ? '' : `: ${hold.message}`;
  return `in quarantine since ${hold.sinceTime}${under}${by}${why}. ${remedy}`;
}

/** The end of the pause after the last rollout that automation started. */
function findCooldown({ policy, rollouts, nowMs }: PolicyObservation): number | undefined {
  const cooldownMs = parseDurationMs(policy.spec.rollout.cooldown);
  if (cooldownMs === 0) return undefined;
  const last = rollouts.findLast(
    ({ spec, status }) =>
      // One that was given up while it waited has moved nothing.
      spec.direction === 'Forward' && spec.trigger !== 'Pin' && isFinished(status) && status?.claim !== undefined,
  );
  const endMs = parseTimestampMs(last?.status?.endTime);
  return endMs === undefined || endMs + cooldownMs <= nowMs ? undefined : endMs + cooldownMs;
}

const RETRY_FACTOR = 3;

/** The next attempt at an image whose last one failed for the sake of the environment. */
function findRetry({ rollouts, environmentRetryMs, decisions }: PolicyObservation, wanted: Wanted): GateInput['retry'] {
  const digest = primaryDigest(wanted) ?? '';
  const last = rollouts.findLast(
    ({ spec, status }) => spec.images[0]?.digest === digest && isFinished(status) && status?.state !== 'Aborted',
  );
  if (last === undefined || isQuarantining(last) || failureOf(last)?.class !== 'Environment') return undefined;
  const endMs = parseTimestampMs(last.status?.endTime) ?? 0;
  if ((decisions.releases.get(digest)?.timeMs ?? -1) >= endMs) return undefined;
  const { attempt } = last.spec;
  return {
    rollout: last.metadata.name,
    attempt: attempt + 1,
    dueMs: endMs + environmentRetryMs * RETRY_FACTOR ** (attempt - 1),
  };
}

function describeWorkloads(observation: PolicyObservation, moves: readonly Move[]): GateWorkload[] {
  const seen = new Map<string, GateWorkload>();
  for (const { line } of moves) {
    const { workload } = line.target;
    if (seen.has(workload.metadata.uid)) continue;
    const busyWith = observation.busy.get(workload.metadata.uid);
    const { managedBy, progress } = workload;
    const isUnconsented = managedBy !== undefined && observation.policy.spec.rollout.onForeignChange === undefined;
    seen.set(workload.metadata.uid, {
      title: titleOf(workload),
      ...(busyWith !== undefined && { busyWith }),
      ...(progress.kind === 'paused' && { pausedBecause: progress.message }),
      ...(isUnconsented && {
        managed: `${managedBy.tool} manages it (${managedBy.mark}): ${explainHandover(managedBy.tool)}`,
      }),
    });
  }
  return [...seen.values()];
}
