// What a finished or failing rollout means to everybody else: whether it is over, why it failed, what that holds back, and
// which image it left behind.

import {
  FINISHED_STATES,
  MAX_ATTEMPTS,
  type ImageRolloutSpec,
  type ImageRolloutStatus,
  type RolloutState,
  type TargetState,
} from '../api/image-rollout.ts';

/** A rollout as its verdict needs it. */
export interface JudgedRollout {
  readonly spec: ImageRolloutSpec;
  /** Absent until it is claimed. */
  readonly status?: ImageRolloutStatus;
}

/** States in which a failure counts against what was rolled out. */
const FAILED_STATES: readonly RolloutState[] = ['RollingBack', ...FINISHED_STATES];

/** The image is there and, unless `undoTime` says so, was not set back. */
const WRITTEN_STATES: readonly TargetState[] = ['Applied', 'Healthy', 'Failed', 'Undoing', 'UndoFailed'];

export function isFinished(status: Pick<ImageRolloutStatus, 'state'> | undefined): boolean {
  return status !== undefined && FINISHED_STATES.includes(status.state);
}

/** Why it failed; undefined when it did not, or when somebody else's change ended it. */
export function failureOf({ status }: JudgedRollout): NonNullable<ImageRolloutStatus['failure']> | undefined {
  return status !== undefined && FAILED_STATES.includes(status.state) && status.failure?.class !== 'Foreign'
    ? status.failure
    : undefined;
}

/** Whether its images never roll out again by themselves: through their fault, or at the last attempt. */
export function isQuarantining(rollout: JudgedRollout): boolean {
  const failure = failureOf(rollout);
  return failure?.class === 'Image' || (failure?.class === 'Environment' && rollout.spec.attempt >= MAX_ATTEMPTS);
}

/** Whether its end stops every further move until a person decides. */
export function isFreezing({ status }: JudgedRollout): boolean {
  return status?.state === 'RollbackFailed' || status?.state === 'Held';
}

/**
 * The image that Slipway last wrote or accepted on a container of this target, by what is on record. Undefined when it left
 * the container as it was.
 */
export function targetImageAfter(
  { spec, status }: JudgedRollout,
  index: number,
  container: string,
): string | undefined {
  const change = spec.targets[index]?.containers.find(({ name }) => name === container);
  const target = status?.targets?.[index];
  if (change === undefined || target === undefined) return undefined;
  if (target.undoTime !== undefined || target.state === 'Undone' || target.state === 'Restored') {
    return target.undo === 'LastGood' ? change.lastGood : change.back;
  }
  const isWritten = target.appliedTime !== undefined || WRITTEN_STATES.includes(target.state);
  return isWritten ? change.to : undefined;
}

/** The number at the end of `<policy>-<n>`, or 0 when the name has none. */
export function rolloutNumber(rollout: { readonly metadata: { readonly name: string } }): number {
  return Number(/-([0-9]{1,15})$/.exec(rollout.metadata.name)?.[1] ?? 0);
}
