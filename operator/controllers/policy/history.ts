// Which finished rollouts may be forgotten: those beyond the limit that prove nothing any more.

import type { ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import { isLive } from '../../rollout/quarantine.ts';
import { failureOf, isFinished, isFreezing } from '../../rollout/verdict.ts';
import { parseTimestampMs } from '../../time/duration.ts';
import type { Outcome } from './decide.ts';
import { isRecentReassert } from './moves.ts';
import type { PolicyObservation } from './observation.ts';

export function findPrunable(
  { policy, rollouts, nowMs }: PolicyObservation,
  status: ImagePolicyStatus,
  { orders }: Outcome,
): string[] {
  // What has no room in the status is proven by the rollouts alone.
  if (orders.isQuarantineFull) return [];
  const finished = rollouts.filter((rollout) => isFinished(rollout.status));
  const surplus = finished.slice(0, Math.max(0, finished.length - policy.spec.rollout.historyLimit));
  const inQuarantine = new Set(orders.quarantine.filter(isLive).map(({ rollout }) => rollout));
  const resumedMs = parseTimestampMs(status.resumedTime) ?? 0;
  const isNeeded = (rollout: ImageRollout): boolean =>
    rollout.metadata.name === status.current?.rollout ||
    inQuarantine.has(rollout.metadata.name) ||
    isRecentReassert(rollout, nowMs) ||
    (isFreezing(rollout) && (parseTimestampMs(rollout.status?.endTime) ?? 0) > resumedMs) ||
    isAttempt(rollout, rollouts);
  return surplus.filter((rollout) => !isNeeded(rollout)).map(({ metadata }) => metadata.name);
}

/** Without it, the attempts at its image would be counted anew. */
function isAttempt(rollout: ImageRollout, rollouts: readonly ImageRollout[]): boolean {
  if (failureOf(rollout)?.class !== 'Environment') return false;
  const digest = rollout.spec.images[0]?.digest;
  const last = rollouts.findLast(({ spec }) => spec.images[0]?.digest === digest);
  return last?.metadata.uid === rollout.metadata.uid;
}
