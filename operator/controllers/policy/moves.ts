// Which containers would move to an image, and why each of them.

import { findCondition } from '../../api/conditions.ts';
import type { RolloutTrigger } from '../../api/image-rollout.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import type { EligibleTag } from '../../selection/choose.ts';
import { runningDigest, type LedgerLine } from './ledger.ts';
import type { PolicyObservation } from './observation.ts';
import { findHold, type Orders } from './orders.ts';
import { titleOf } from './targets.ts';
import { aliasesOf, digestIn, imageFor, wantedOf, type Wanted } from './wanted.ts';

export interface Move {
  readonly line: LedgerLine;
  readonly trigger: RolloutTrigger;
  /** The image as it will be written: `repository:tag@digest`. */
  readonly to: string;
  readonly digest: Digest;
}

/** Foreign changes of one container that `Reassert` takes back in an hour; one more is a contest. */
const MAX_REASSERTS_PER_HOUR = 2;
const HOUR_MS = 3_600_000;

export interface Contests {
  /** Foreign changes that are stood back from, as sentences. */
  readonly holds: readonly string[];
  /** At least one was taken back too often. */
  readonly isContested: boolean;
  /** Foreign changes that are taken back. */
  readonly reasserted: ReadonlySet<LedgerLine>;
}

export function findContests({ policy, lines, rollouts, nowMs }: PolicyObservation, mayReassert: boolean): Contests {
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

/** These are counted, so they must not be forgotten while they count. */
export function isRecentReassert({ metadata, spec }: ImageRollout, nowMs: number): boolean {
  return spec.trigger === 'Reassert' && nowMs - Date.parse(metadata.creationTimestamp ?? '') < HOUR_MS;
}

/** The moves that automation would make to a candidate. */
export function findMoves(observation: PolicyObservation, eligible: EligibleTag, contests: Contests): Move[] {
  const wanted = wantedOf(observation, eligible);
  return observation.lines.flatMap((line): Move[] => {
    if (line.standing === 'moving' || isLost(observation, line)) return [];
    const trigger = contests.reasserted.has(line)
      ? reassertTrigger(line, wanted)
      : moveTrigger(observation, line, eligible, wanted);
    return trigger === undefined ? [] : moveTo(observation, line, wanted, trigger);
  });
}

/** The moves that a pin asks for. */
export function findPinMoves(observation: PolicyObservation, wanted: Wanted, { reasserted }: Contests): Move[] {
  return observation.lines.flatMap((line): Move[] => {
    if (line.standing === 'moving' || isLost(observation, line)) return [];
    if (reasserted.has(line))
      return reassertTrigger(line, wanted) === undefined ? [] : moveTo(observation, line, wanted, 'Reassert');
    if (line.standing === 'foreign') return [];
    return isRunning(observation, line, wanted) ? [] : moveTo(observation, line, wanted, 'Pin');
  });
}

/** The moves away from what a person rejected, each to the last good image of its own container. */
export function findRejectMoves(
  observation: PolicyObservation,
  orders: Orders,
): { readonly moves: readonly Move[]; readonly stuck: readonly LedgerLine[] } {
  const moves: Move[] = [];
  const stuck: LedgerLine[] = [];
  for (const line of orders.rejectedLines.keys()) {
    if (isLost(observation, line)) continue;
    const to = findGood(observation, orders, line).find((image) => digestIn(image) !== runningDigest(line));
    const digest = to === undefined ? undefined : digestIn(to);
    if (to === undefined || digest === undefined) stuck.push(line);
    else moves.push({ line, trigger: 'Reject', to, digest });
  }
  return { moves, stuck };
}

/** Images that were good on this container and are neither in quarantine nor rejected, the newest first. */
export function findGood(observation: PolicyObservation, orders: Orders, { entry, target }: LedgerLine): string[] {
  return (entry.good ?? []).filter((image) => !isHeld(observation, orders, target.part, digestIn(image)));
}

/** Whether one image, for itself, must not come back. */
export function isHeld(
  observation: PolicyObservation,
  orders: Orders,
  part: number,
  digest: string | undefined,
): boolean {
  if (digest === undefined) return false;
  const digests = aliasesOf(observation, part, digest);
  if (digests.some((alias) => observation.decisions.rejections.has(alias))) return true;
  return findHold(orders, [{ image: observation.images[part] ?? '', digests }]) !== undefined;
}

function moveTo(observation: PolicyObservation, line: LedgerLine, wanted: Wanted, trigger: RolloutTrigger): Move[] {
  const to = imageFor(observation, wanted, line.target.part);
  const digest = wanted.digests[line.target.part];
  return to === undefined || digest === undefined ? [] : [{ line, trigger, to, digest }];
}

/** Whether the container runs these very bytes already. */
function isRunning(observation: PolicyObservation, line: LedgerLine, { digests }: Wanted): boolean {
  const { part } = line.target;
  const wanted = digests[part];
  const running = runningDigest(line);
  return wanted !== undefined && running !== undefined && aliasesOf(observation, part, wanted).includes(running);
}

/** A rollout found the workload gone, and the cache does not know yet. A uid never comes back. */
function isLost({ rollouts }: PolicyObservation, { target }: LedgerLine): boolean {
  return rollouts.some(({ spec, status }) =>
    spec.targets.some(
      ({ uid }, index) => uid === target.workload.metadata.uid && status?.targets?.[index]?.state === 'Gone',
    ),
  );
}

function reassertTrigger({ target }: LedgerLine, { digests }: Wanted): RolloutTrigger | undefined {
  return target.image?.digest === digests[target.part] ? undefined : 'Reassert';
}

/** Why this container would move to the candidate; undefined when it should stay. */
function moveTrigger(
  observation: PolicyObservation,
  line: LedgerLine,
  eligible: EligibleTag,
  wanted: Wanted,
): RolloutTrigger | undefined {
  const tag = line.target.image?.tag;
  if (isRunning(observation, line, wanted)) return undefined;
  if (tag === eligible.tag)
    return observation.followsDigest && runningDigest(line) !== undefined ? 'NewDigest' : undefined;
  // Only the tag that is gone may be left for a lower one; other targets run tags of their own.
  const isDowngrade = eligible.position === 'Below' && tag === observation.lowest?.tag;
  const isUpgrade = tag === undefined || isDowngrade || observation.isAbove(eligible.tag, tag);
  if (!isUpgrade) return undefined;
  return observation.policy.status?.selected?.digest === eligible.digest ? 'NewTarget' : 'NewTag';
}
