// What is known about one policy at one moment: the only input of its decision.

import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import type { Decisions } from '../../rollout/decisions.ts';
import type { Choice } from '../../selection/choose.ts';
import type { WindowAnswer } from '../../time/windows.ts';
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

/** What became of `spec.pin`: resolved to digests once, or why not. */
export type PinFact =
  | {
      readonly kind: 'resolved';
      readonly tag?: string;
      /** One for each of the policy's images. */ readonly digests: readonly Digest[];
    }
  | { readonly kind: 'unresolved'; readonly message: string };

/** What must hold before a rollout, as the policy and the operator's configuration ask together; the stricter wins. */
export interface GateRules {
  readonly approval?: { readonly required: number; readonly validForMs: number };
  /** Gates that pins must pass as well. */
  readonly enforcedOnPins: readonly string[];
}

export interface PolicyObservation {
  readonly nowMs: number;
  readonly policy: ImagePolicy;
  /** The repositories as the policy spells them: `spec.image`, then its companions. */
  readonly images: readonly string[];
  /** All rollouts of this policy, ascending by number. */
  readonly rollouts: readonly ImageRollout[];
  /** Rollouts of other policies that name one of these workloads. */
  readonly neighbours: readonly ImageRollout[];
  /** Up to when a person ended every freeze of a policy that shares one of these workloads; 0: nobody did. */
  readonly neighboursResumedMs: number;
  /** Highest number among the rollouts that carry this policy's name, also those of an earlier policy; 0: there is none. */
  readonly highestNumber: number;
  readonly decisions: Decisions;
  readonly gateRules: GateRules;
  /** What the maintenance windows say now. Absent: there are none. */
  readonly window?: WindowAnswer;
  /** What keeps the registry from being read or the spec from being understood. Absent: all is well. */
  readonly problem?: Problem;
  readonly lines: readonly LedgerLine[];
  readonly targetProblems: readonly TargetProblem[];
  /** The running image that candidates were compared with. Absent when nothing runs, or the tags cannot be compared yet. */
  readonly lowest?: { readonly tag?: string; readonly digest?: Digest };
  /** Absent until the tags were listed (or, for `fixed`, asked for). */
  readonly found?: { readonly tags?: TagSummary; readonly choice: Choice };
  /** Absent when nothing is pinned, or while it is not known. */
  readonly pin?: PinFact;
  /** Unfinished rollouts of others, by the uid of the workload they move. */
  readonly busy: ReadonlyMap<string, string>;
  /** Whether a candidate ranks above a tag that runs, which is ordered without filter and range. */
  readonly isAbove: (tag: string, other: string) => boolean;
  /** The digest of a tag in the repository of a companion; `part` counts from 1. Undefined while unknown. */
  readonly companionDigest: (part: number, tag: string) => Digest | undefined;
  /** The platform manifests of a digest, as far as they were read; empty while unknown. */
  readonly manifestsOf: (part: number, digest: string) => readonly Digest[];
  /** Running images that the registry no longer has, so that nothing can bring them back. */
  readonly isGone: (part: number, digest: string) => boolean;
  readonly followsDigest: boolean;
  /** How long the second attempt waits after the first failed for the sake of the environment. */
  readonly environmentRetryMs: number;
}
