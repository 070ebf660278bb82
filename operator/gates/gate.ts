// A gate answers one question about a candidate: may it move now? Open, Waiting (it may open by itself) or Closed (not
// for this candidate). A gate never does I/O: everything it judges by is in its input.

import type { GateAnswer } from '../api/image-policy.ts';

/** One workload that would move, as a gate needs to know it. */
export interface GateWorkload {
  /** `Deployment web`. */
  readonly title: string;
  /** Another unfinished rollout that moves it. Absent when none does. */
  readonly busyWith?: string;
  /** Why it would not move: paused and the like. Absent when it would. */
  readonly pausedBecause?: string;
  /** What a tool that manages it would do, and how to consent. Absent when there is no such tool, or consent was given. */
  readonly managed?: string;
}

export interface GateInput {
  readonly nowMs: number;
  /** Absent when a digest was pinned. */
  readonly tag?: string;
  readonly digest: string;
  readonly isSuspended: boolean;
  /** What holds the candidate back for good: when and why, as a sentence. Absent: nothing does. */
  readonly quarantined?: string;
  /** Who rejected it and why, as a sentence. Absent: nobody did. */
  readonly rejected?: string;
  /** The pin that automation waits for, as a sentence. Absent when nothing is pinned, or this is what is pinned. */
  readonly pinned?: string;
  /** Absent when no approval is asked for. `digests`: what has to be approved, shortened. `by`: who approved all of it. */
  readonly approval?: {
    readonly required: number;
    readonly digests: readonly string[];
    readonly by: readonly { readonly person: string; readonly untilMs: number }[];
  };
  /** What the maintenance windows say. Absent when there are none. */
  readonly window?:
    | { readonly isOpen: true; readonly untilMs?: number }
    | { readonly isOpen: false; readonly opensMs?: number; readonly againMs?: number; readonly because: string };
  /** When the cooldown after the last rollout ends. Absent when none is on. */
  readonly cooldownUntilMs?: number;
  /** An earlier attempt that failed for the sake of the environment, and when the next is due. Absent: there was none. */
  readonly retry?: { readonly rollout: string; readonly attempt: number; readonly dueMs: number };
  /** Why the policy is frozen, as a sentence. Absent when it is not. */
  readonly frozen?: string;
  /** Foreign changes that are held, each as a sentence. */
  readonly holds: readonly string[];
  readonly workloads: readonly GateWorkload[];
}

export type GateVerdict = Omit<GateAnswer, 'sinceTime'> & {
  /** When the answer may be another one by the passage of time alone. Absent: never. */
  readonly untilMs?: number;
};

export interface Gate {
  readonly name: string;
  /** Whether a pin has to pass it. A pin skips the others, and the record says so. */
  readonly bindsPins?: true;
  judge(input: GateInput): Omit<GateVerdict, 'gate'>;
}

export const open = (message: string, untilMs?: number): Omit<GateVerdict, 'gate'> => ({
  answer: 'Open',
  reason: 'Open',
  message: fit(message),
  ...(untilMs !== undefined && { untilMs }),
});

export const waiting = (reason: string, message: string, untilMs?: number): Omit<GateVerdict, 'gate'> => ({
  answer: 'Waiting',
  reason,
  message: fit(message),
  ...(untilMs !== undefined && { untilMs }),
});

export const closed = (reason: string, message: string): Omit<GateVerdict, 'gate'> => ({
  answer: 'Closed',
  reason,
  message: fit(message),
});

const MAX_MESSAGE_LENGTH = 1024;

/** A cut through the middle of a character would come back changed from the API server. */
function fit(message: string): string {
  return message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
}
