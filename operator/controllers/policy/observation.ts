// What is known about one policy at one moment: the only input of its decision.

import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import type { Choice } from '../../selection/choose.ts';
import type { LedgerLine } from './ledger.ts';
import type { TargetProblem } from './targets.ts';

/** A reason not to act that is not about a candidate. */
export interface Problem {
  /** PascalCase; becomes the reason of Ready. */
  readonly code: string;
  /** The same text as long as the problem is the same. */
  readonly message: string;
  /** Only a change of the spec helps. */
  readonly stalls: boolean;
}

/** What a complete listing came to. */
export interface TagSummary {
  readonly total: number;
  readonly considered: number;
  readonly rejectedByReason: Readonly<Record<string, number>>;
  /** The most telling examples, at most MAX_REJECTED_EXAMPLES, sorted by tag. */
  readonly rejected: readonly { readonly tag: string; readonly reason: string; readonly message: string }[];
}

export interface PolicyObservation {
  readonly nowMs: number;
  readonly policy: ImagePolicy;
  /** All rollouts of this policy, ascending by number. */
  readonly rollouts: readonly ImageRollout[];
  /** Highest number among the rollouts that carry this policy's name, also those of an earlier policy; 0: there is none. */
  readonly highestNumber: number;
  /** What keeps the registry from being read or the spec from being understood. Absent: all is well. */
  readonly problem?: Problem;
  readonly lines: readonly LedgerLine[];
  readonly targetProblems: readonly TargetProblem[];
  /** The running image that candidates were compared with. Absent when nothing runs, or the tags cannot be compared yet. */
  readonly lowest?: { readonly tag?: string; readonly digest?: Digest };
  /** Absent until the tags were listed (or, for `fixed`, asked for). */
  readonly found?: { readonly tags?: TagSummary; readonly choice: Choice };
  /** Unfinished rollouts of others, by the uid of the workload they move. */
  readonly busy: ReadonlyMap<string, string>;
  /** Whether a candidate ranks above a tag that runs, which is ordered without filter and range. */
  readonly isAbove: (tag: string, other: string) => boolean;
  /** Whether both digests stand for the same image on the required platforms. */
  readonly isSameImage: (candidate: Digest, running: Digest) => boolean;
  readonly followsDigest: boolean;
}
