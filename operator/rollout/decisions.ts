// What people have decided about one policy, read from its ImageDecisions in the order in which they were made. Pure:
// which decisions are in force follows from the objects and the time, and from nothing that was remembered.

import type { ImageDecision } from '../api/kinds.ts';
import { parseTimestampMs } from '../time/duration.ts';

/** A decision as it is used; `timeMs` is when the API server accepted it. */
export interface MadeDecision {
  readonly uid: string;
  readonly name: string;
  readonly by: string;
  readonly timeMs: number;
  readonly reason?: string;
}

export interface Approval extends MadeDecision {
  /** When it stops counting. */
  readonly untilMs: number;
}

export interface Decisions {
  /** Rejections in force, by digest. */
  readonly rejections: ReadonlyMap<string, MadeDecision>;
  /** The newest release of each digest. */
  readonly releases: ReadonlyMap<string, MadeDecision>;
  /** Ascending by time. */
  readonly resumes: readonly MadeDecision[];
  /** Approvals of the digest that count now: one per person, the one that lasts longest. Ascending by name of the person. */
  approvals(digest: string, validForMs: number, nowMs: number): readonly Approval[];
  /** Names of decisions that are long over and in whose absence nothing changes. Sorted. */
  obsolete(nowMs: number): readonly string[];
}

/** Approvals last a year at most; everything else acts at once. */
const KEEP_MS = 400 * 86_400_000;

/** `decisions` may be in any order and must all be about the same policy. */
export function readDecisions(decisions: readonly ImageDecision[]): Decisions {
  const ordered = decisions.filter(({ metadata }) => metadata.deletionTimestamp === undefined).sort(byCreation);
  const rejections = new Map<string, MadeDecision>();
  const releases = new Map<string, MadeDecision>();
  const approvals = new Map<string, (MadeDecision & { readonly expiresMs: number })[]>();
  const resumes: MadeDecision[] = [];
  for (const { metadata, spec } of ordered) {
    const made: MadeDecision = {
      uid: metadata.uid,
      name: metadata.name,
      by: spec.by,
      timeMs: creationMs(metadata.creationTimestamp),
      ...(spec.reason !== undefined && { reason: spec.reason }),
    };
    const { digest } = spec;
    if (spec.decision === 'Resume') resumes.push(made);
    if (digest === undefined) continue;
    if (spec.decision === 'Reject') {
      rejections.set(digest, made);
      approvals.delete(digest);
    }
    if (spec.decision === 'Release') {
      releases.set(digest, made);
      rejections.delete(digest);
    }
    if (spec.decision === 'Approve') {
      const expiresMs = parseTimestampMs(spec.expirationTime) ?? Infinity;
      approvals.set(digest, [...(approvals.get(digest) ?? []), { ...made, expiresMs }]);
    }
  }
  return {
    obsolete(nowMs) {
      const isOld = ({ metadata }: ImageDecision): boolean => creationMs(metadata.creationTimestamp) + KEEP_MS < nowMs;
      const isOver = ({ spec }: ImageDecision): boolean => {
        const isVoided = spec.digest !== undefined && !rejections.has(spec.digest);
        if (spec.decision === 'Reject') return isVoided;
        // A release goes after the rejections that it voids.
        if (spec.decision === 'Release')
          return !ordered.some((other) => other.spec.decision === 'Reject' && other.spec.digest === spec.digest);
        const untilMs = parseTimestampMs(spec.expirationTime);
        return spec.decision === 'Resume' || untilMs === undefined || untilMs < nowMs;
      };
      return ordered
        .filter((it) => isOld(it) && isOver(it))
        .map(({ metadata }) => metadata.name)
        .sort();
    },
    rejections,
    releases,
    resumes,
    approvals(digest, validForMs, nowMs) {
      const byPerson = new Map<string, Approval>();
      for (const { expiresMs, ...made } of approvals.get(digest) ?? []) {
        const untilMs = Math.min(expiresMs, made.timeMs + validForMs);
        if (untilMs > nowMs && untilMs > (byPerson.get(made.by)?.untilMs ?? 0))
          byPerson.set(made.by, { ...made, untilMs });
      }
      return [...byPerson.values()].sort((a, b) => (a.by < b.by ? -1 : 1));
    },
  };
}

function byCreation(a: ImageDecision, b: ImageDecision): number {
  const difference = creationMs(a.metadata.creationTimestamp) - creationMs(b.metadata.creationTimestamp);
  return difference === 0 ? (a.metadata.name < b.metadata.name ? -1 : 1) : difference;
}

function creationMs(timestamp: string | undefined): number {
  return parseTimestampMs(timestamp) ?? 0;
}

/** For people: who rejected it, and why. */
export function describeRejection({ by, reason }: MadeDecision): string {
  return reason === undefined ? `rejected by ${by}` : `rejected by ${by}: ${reason}`;
}
