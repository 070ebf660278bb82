// The verdict on an image that runs. A change of the vulnerability data alone may turn it bad, and back again the next day,
// so it counts epochs of the data instead of scans: one bad epoch is announced, the second in a row (or the first, if a
// finding is known to be exploited) may be acted upon once the grace is over, and it takes two good ones to forget.
//
//   Pass ──Fail──▶ Fail (1 epoch: announced) ──Fail, next epoch──▶ Fail (2: acted upon after the grace)
//    ▲                    │  ▲                                          │
//    └── Pass, 2 epochs ──┘  └───────── Fail ── Pass, 1 epoch ◀─────────┘
//
// Unknown changes nothing: the last verdict stays in force.

import type { Finding } from '../api/scan-facts.ts';
import type { Verdict } from './verdict.ts';

export interface RunningState {
  readonly verdict: 'Pass' | 'Fail';
  /** What the verdict is about beside the data: the digest, the rules, the exceptions. */
  readonly basis: string;
  /** The state of the vulnerability data that was last counted, and when. */
  readonly epoch: string;
  readonly epochMs: number;
  /** Epochs in a row that failed, up to 2. */
  readonly failedEpochs: number;
  /** Epochs in a row that passed since it failed, up to 1: the second clears it. */
  readonly passedEpochs: number;
  /** Absent: it passes. */
  readonly failing?: {
    readonly sinceMs: number;
    /** Nothing is done before. */
    readonly graceUntilMs: number;
    /** A finding is known to be exploited: one epoch is enough. */
    readonly isExploited: boolean;
  };
}

export interface RunningObservation {
  readonly basis: string;
  readonly verdict: Verdict;
  readonly epoch: string;
  /** The scanner names its data. Where it does not, the end of the scan stands in, and only one in twelve hours counts. */
  readonly isEpochKnown: boolean;
  readonly nowMs: number;
  /** By the severity of the worst finding. */
  readonly grace: { readonly criticalMs: number; readonly otherMs: number };
}

const EPOCHS_TO_ACT = 2;
const EPOCHS_TO_CLEAR = 2;
const LEAST_BETWEEN_UNKNOWN_EPOCHS_MS = 12 * 3_600_000;

/** Undefined: nothing is known yet. The same object when nothing has changed. */
export function stepRunning(
  before: RunningState | undefined,
  observation: RunningObservation,
): RunningState | undefined {
  const { basis, verdict, epoch, nowMs } = observation;
  if (verdict.kind === 'Unknown') return before?.basis === basis ? before : undefined;
  // Other rules, another image, an exception: that is a decision and no whim of the data.
  if (before === undefined || before.basis !== basis) return start(observation, verdict);
  if (!isNextEpoch(before, observation)) return before;
  const counted = { ...before, epoch, epochMs: nowMs };
  if (verdict.kind === 'Fail') {
    return {
      ...counted,
      verdict: 'Fail',
      failedEpochs: before.failing === undefined ? 1 : Math.min(before.failedEpochs + 1, EPOCHS_TO_ACT),
      passedEpochs: 0,
      failing: fail(before.failing, verdict.blocking, observation),
    };
  }
  if (before.failing === undefined) return { ...counted, verdict: 'Pass' };
  const passedEpochs = before.passedEpochs + 1;
  if (passedEpochs < EPOCHS_TO_CLEAR) return { ...counted, failedEpochs: 0, passedEpochs };
  const { failing: _, ...cleared } = counted;
  return { ...cleared, verdict: 'Pass', failedEpochs: 0, passedEpochs: 0 };
}

/** Whether something may be done about it now, beyond telling. */
export function mayEnforce({ failing, failedEpochs }: RunningState, nowMs: number): boolean {
  if (failing === undefined || failedEpochs === 0 || nowMs < failing.graceUntilMs) return false;
  return failing.isExploited || failedEpochs >= EPOCHS_TO_ACT;
}

function start(observation: RunningObservation, verdict: Exclude<Verdict, { readonly kind: 'Unknown' }>): RunningState {
  const { basis, epoch, nowMs } = observation;
  const isBad = verdict.kind === 'Fail';
  return {
    verdict: verdict.kind,
    basis,
    epoch,
    epochMs: nowMs,
    failedEpochs: isBad ? 1 : 0,
    passedEpochs: 0,
    ...(isBad && { failing: fail(undefined, verdict.blocking, observation) }),
  };
}

function isNextEpoch(before: RunningState, { epoch, isEpochKnown, nowMs }: RunningObservation): boolean {
  if (epoch === before.epoch) return false;
  return isEpochKnown || nowMs - before.epochMs >= LEAST_BETWEEN_UNKNOWN_EPOCHS_MS;
}

/** The grace begins at the first sight, and a worse finding may only shorten it. */
function fail(
  before: RunningState['failing'],
  blocking: readonly Finding[],
  { nowMs, grace }: RunningObservation,
): NonNullable<RunningState['failing']> {
  const isCritical = blocking.some(({ severity }) => severity === 'Critical');
  const graceUntilMs = nowMs + (isCritical ? grace.criticalMs : grace.otherMs);
  return {
    sinceMs: before?.sinceMs ?? nowMs,
    graceUntilMs: Math.min(graceUntilMs, before?.graceUntilMs ?? Infinity),
    isExploited: blocking.some(({ knownExploited }) => knownExploited === true),
  };
}
