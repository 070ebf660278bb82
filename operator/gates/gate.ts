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
  /** The last rollout to exactly this digest, when that failed. */
  readonly failedRollout?: { readonly name: string; readonly message: string };
  /** What a tool that manages it would do, and how to consent. Absent when there is no such tool, or consent was given. */
  readonly managed?: string;
}

export interface GateInput {
  readonly tag: string;
  readonly digest: string;
  readonly isSuspended: boolean;
  /** Foreign changes that are held, each as a sentence. */
  readonly holds: readonly string[];
  readonly workloads: readonly GateWorkload[];
}

export type GateVerdict = Omit<GateAnswer, 'sinceTime'>;

export interface Gate {
  readonly name: string;
  /** Whether this policy asks the gate at all; the record names those that it does not. */
  judge(input: GateInput): Omit<GateVerdict, 'gate'>;
}

export const open = (message: string): Omit<GateVerdict, 'gate'> => ({ answer: 'Open', reason: 'Open', message });
