// Conditions: the types, the reasons, and how a list of them changes. Ready is always there; the others only while they
// are true, as kstatus expects.
// @see https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

import { toTimestamp } from '../time/duration.ts';
import type { Condition } from './schema.ts';

export const CONDITION_TYPES = [
  'Ready',
  'Reconciling',
  'Stalled',
  'ManualHold',
  'Frozen',
  'RollbackUnavailable',
] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

/** What a reconciler concludes; the time and generation are added when it is recorded. */
export interface ConditionClaim {
  readonly type: ConditionType;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

const MAX_MESSAGE_LENGTH = 4096;

/**
 * The new list of conditions. A condition that is not claimed is gone; `lastTransitionTime` moves only when the status
 * does, so that an unchanged state is an unchanged object.
 */
export function updateConditions(
  previous: readonly Condition[] | undefined,
  claims: readonly ConditionClaim[],
  options: { readonly generation: number; readonly nowMs: number },
): Condition[] {
  return claims
    .map((claim): Condition => {
      const before = previous?.find((condition) => condition.type === claim.type);
      return {
        type: claim.type,
        status: claim.status,
        observedGeneration: options.generation,
        lastTransitionTime: before?.status === claim.status ? before.lastTransitionTime : toTimestamp(options.nowMs),
        reason: claim.reason,
        // A cut through the middle of a character would come back changed from the API server.
        message: claim.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed(),
      };
    })
    .sort(
      (a, b) => CONDITION_TYPES.indexOf(a.type as ConditionType) - CONDITION_TYPES.indexOf(b.type as ConditionType),
    );
}

export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: ConditionType,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(conditions: readonly Condition[] | undefined, type: ConditionType): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
