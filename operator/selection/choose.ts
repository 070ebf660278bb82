// The second half of selection: what the registry says about the few best candidates in, the choice out. Pure: it names
// the facts it lacks, the caller fetches them and asks again. Doubt about a candidate stops the walk down, because an older
// tag must not roll out only because a newer one could not be read.

import type { Digest } from '../image/digest.ts';
import { formatPlatform, type Platform } from '../image/platform.ts';
import { isTag } from '../image/tag.ts';
import { MAX_EXAMINED, MAX_SEEN, type RankedTag, type Ranking } from './rank.ts';
import type { RejectionCode } from './rejection.ts';

/** What a HEAD of the tag said. `Failed`: no answer that says anything about the tag. */
export type DigestFact =
  | {
      readonly kind: 'Digest';
      readonly digest: Digest;
      /** As the registry's own API states it. */ readonly pushedTimeMs?: number;
    }
  | { readonly kind: 'Gone' }
  /** A companion, which is named, has no such tag. */
  | { readonly kind: 'CompanionGone'; readonly image: string }
  | { readonly kind: 'Failed'; readonly message: string };

export interface TagFacts {
  /** Absent: not asked yet. */
  readonly digest?: DigestFact | undefined;
  /** Platforms of that digest. Absent: not inspected yet. `NotAnImage`: a chart, an SBOM or another artifact. */
  readonly platforms?: readonly Platform[] | 'NotAnImage' | undefined;
}

/** When a tag was first seen at a digest; an entry of `status.seen`. */
export interface SeenTag {
  readonly tag: string;
  readonly digest: Digest;
  readonly firstSeenTimeMs: number;
}

export interface ChooseOptions {
  readonly facts: (tag: string) => TagFacts;
  /** Platforms an image must have where the rules name none. Empty: any will do, and nothing is inspected. */
  readonly requiredPlatforms: readonly Platform[];
  readonly nowMs: number;
  /** Digest that runs under `ranking.current`. Absent: unknown. */
  readonly currentDigest?: Digest | undefined;
  readonly seen?: readonly SeenTag[] | undefined;
  /** True after two complete listings without the running tag and a direct 404 for it. Only then may a tag be lower. */
  readonly isRunningTagGone?: boolean | undefined;
}

/** A tag with the one digest that scan, approval and rollout will carry. */
export interface EligibleTag extends RankedTag {
  readonly digest: Digest;
  /** The digest is the one that runs: nothing is to be written, and nothing below it is to be looked at. */
  readonly isRunning: boolean;
}

/** What was found out about one candidate. */
export type Examination =
  | { readonly kind: 'Eligible'; readonly candidate: EligibleTag }
  | {
      readonly kind: 'Waiting';
      readonly tag: string;
      readonly lacks: 'Digest' | 'Platforms';
      /** Why it could not be read. */ readonly message?: string;
    }
  | {
      readonly kind: 'Rejected';
      readonly tag: string;
      readonly code: RejectionCode;
      readonly missingPlatforms?: readonly string[];
      readonly missingImage?: string;
      /** When the tag becomes old enough, unless it moves. */
      readonly oldEnoughTimeMs?: number;
    };

export interface Choice {
  /** The best candidate, and every better one is known to be unusable. Absent: none, or facts are lacking. */
  readonly chosen?: EligibleTag;
  /** The usable candidates, best first, for gates that close on the best. Not complete while facts are lacking. */
  readonly eligible: readonly EligibleTag[];
  /** Every candidate that was looked at, best first. */
  readonly examined: readonly Examination[];
  /** Facts to fetch before asking again. */
  readonly lacking: {
    /** Tags to HEAD. */
    readonly digests: readonly string[];
    /** Digests whose platforms are to be read, each with its tag. */
    readonly platforms: readonly { readonly tag: string; readonly digest: Digest }[];
    /** Tags to inspect for their creation times, then rank again. */
    readonly creationTimes: readonly string[];
  };
  /** When the choice can change without any new fact, because a tag becomes old enough. */
  readonly nextChangeTimeMs?: number;
  /** The new `status.seen`, sorted by tag. Empty without a minimum age. */
  readonly seen: readonly SeenTag[];
}

/** The best usable candidate as far as the facts go. Ask again when what is lacking has been fetched. */
export function chooseCandidate(ranking: Ranking, options: ChooseOptions): Choice {
  const walk = new Walk(ranking, options);
  if (ranking.uninspected.length === 0) {
    walk.down(ranking.candidates);
    if (options.isRunningTagGone === true && walk.isWithoutResult) walk.down(ranking.fallbacks);
  }
  return walk.result();
}

/** Whether nothing is lacking: asking again would change nothing. */
export function isComplete({ lacking }: Choice): boolean {
  return lacking.digests.length + lacking.platforms.length + lacking.creationTimes.length === 0;
}

class Walk {
  readonly #ranking: Ranking;
  readonly #options: ChooseOptions;
  readonly #minimumAgeMs: number;
  readonly #requiredPlatforms: readonly Platform[];
  readonly #seen: Map<string, SeenTag>;
  readonly #examined: Examination[] = [];
  readonly #eligible: EligibleTag[] = [];
  #examinedCount = 0;
  /** The best candidate that no doubt stands above. */
  #chosen: EligibleTag | undefined;
  #isInDoubt = false;

  constructor(ranking: Ranking, options: ChooseOptions) {
    this.#ranking = ranking;
    this.#options = options;
    this.#minimumAgeMs = ranking.rules.minimumAgeMs;
    this.#requiredPlatforms = ranking.rules.platforms ?? options.requiredPlatforms;
    const reachable =
      options.isRunningTagGone === true ? [...ranking.candidates, ...ranking.fallbacks] : ranking.candidates;
    const watched = new Set(reachable.map(({ tag }) => tag));
    const kept = this.#minimumAgeMs > 0 ? (options.seen ?? []).filter(({ tag }) => watched.has(tag)) : [];
    this.#seen = new Map(kept.map((entry) => [entry.tag, entry]));
  }

  get isWithoutResult(): boolean {
    return this.#eligible.length === 0 && !this.#isInDoubt;
  }

  down(candidates: readonly RankedTag[]): void {
    for (const candidate of candidates) {
      const examination = this.#examine(candidate);
      this.#examined.push(examination);
      if (examination.kind === 'Waiting') this.#isInDoubt = true;
      if (examination.kind !== 'Eligible') continue;
      this.#eligible.push(examination.candidate);
      if (!this.#isInDoubt) this.#chosen ??= examination.candidate;
      if (examination.candidate.isRunning) return;
    }
  }

  #examine(candidate: RankedTag): Examination {
    const { tag, position } = candidate;
    const { facts, currentDigest } = this.#options;
    if (!isTag(tag)) return { kind: 'Rejected', tag, code: 'InvalidTag' };
    const isCurrent = position === 'Current';
    if (isCurrent && !this.#ranking.rules.followsDigest && currentDigest !== undefined) {
      return { kind: 'Eligible', candidate: { ...candidate, digest: currentDigest, isRunning: true } };
    }
    const { digest: fact, platforms } = facts(tag);
    if (fact?.kind === 'Gone') {
      this.#seen.delete(tag);
      return { kind: 'Rejected', tag, code: 'TagGone' };
    }
    if (fact?.kind === 'CompanionGone') {
      return { kind: 'Rejected', tag, code: 'CompanionMissing', missingImage: fact.image };
    }
    const isRunning = fact?.kind === 'Digest' && fact.digest === currentDigest;
    if (isRunning) this.#seen.delete(tag);
    // What runs is exempt, and whether the current tag was moved only a HEAD can tell.
    const isAgeAsked = this.#minimumAgeMs > 0 && !isRunning && !(isCurrent && fact?.kind !== 'Digest');
    const tooYoung = isAgeAsked ? this.#checkAge(tag, fact) : undefined;
    if (tooYoung) return tooYoung;

    if (!isCurrent) {
      this.#examinedCount += 1;
      if (this.#examinedCount > MAX_EXAMINED) return { kind: 'Rejected', tag, code: 'NotExamined' };
    }
    if (!fact) return { kind: 'Waiting', tag, lacks: 'Digest' };
    if (fact.kind === 'Failed') return { kind: 'Waiting', tag, lacks: 'Digest', message: fact.message };
    const eligible: Examination = { kind: 'Eligible', candidate: { ...candidate, digest: fact.digest, isRunning } };
    if (isRunning || this.#requiredPlatforms.length === 0) return eligible;
    if (platforms === undefined) return { kind: 'Waiting', tag, lacks: 'Platforms' };
    if (platforms === 'NotAnImage') return { kind: 'Rejected', tag, code: 'NotAnImage' };
    const missing = this.#requiredPlatforms.filter(
      (required) => !platforms.some((offered) => canRun(required, offered)),
    );
    if (missing.length === 0) return eligible;
    return { kind: 'Rejected', tag, code: 'PlatformMissing', missingPlatforms: missing.map(formatPlatform) };
  }

  /**
   * Undefined when the tag is old enough as far as is known. A young tag costs no further requests: its digest is asked
   * for when it is new and again when it is old enough; if it moved in between, its age starts again.
   */
  #checkAge(tag: string, fact: DigestFact | undefined): Examination | undefined {
    const { nowMs } = this.#options;
    const entry = this.#seen.get(tag);
    if (fact?.kind === 'Digest') {
      const known = entry?.digest === fact.digest ? entry : undefined;
      if (!entry && this.#seen.size >= MAX_SEEN) return { kind: 'Rejected', tag, code: 'SeenFull' };
      const sighting = known ?? { tag, digest: fact.digest, firstSeenTimeMs: nowMs };
      this.#seen.set(tag, sighting);
      return this.#tooYoung(tag, fact.pushedTimeMs ?? sighting.firstSeenTimeMs);
    }
    if (entry) return this.#tooYoung(tag, entry.firstSeenTimeMs);
    if (this.#seen.size >= MAX_SEEN) return { kind: 'Rejected', tag, code: 'SeenFull' };
    // A tag that cannot be read cannot be old; it must not hold up those that are.
    if (fact?.kind === 'Failed') return { kind: 'Rejected', tag, code: 'Pending' };
    return { kind: 'Waiting', tag, lacks: 'Digest' };
  }

  #tooYoung(tag: string, sinceTimeMs: number): Examination | undefined {
    const oldEnoughTimeMs = sinceTimeMs + this.#minimumAgeMs;
    if (oldEnoughTimeMs <= this.#options.nowMs) return undefined;
    return { kind: 'Rejected', tag, code: 'TooYoung', oldEnoughTimeMs };
  }

  result(): Choice {
    const ripening = this.#examined.flatMap((examination) =>
      examination.kind === 'Rejected' && examination.oldEnoughTimeMs !== undefined ? [examination.oldEnoughTimeMs] : [],
    );
    const waiting = this.#examined.filter((examination) => examination.kind === 'Waiting');
    return {
      ...(this.#chosen && { chosen: this.#chosen }),
      eligible: this.#eligible,
      examined: this.#examined,
      lacking: {
        digests: waiting.filter(({ lacks }) => lacks === 'Digest').map(({ tag }) => tag),
        platforms: waiting.flatMap(({ tag, lacks }) => {
          const fact = this.#options.facts(tag).digest;
          return lacks === 'Platforms' && fact?.kind === 'Digest' ? [{ tag, digest: fact.digest }] : [];
        }),
        creationTimes: this.#ranking.uninspected,
      },
      ...(ripening.length > 0 && { nextChangeTimeMs: Math.min(...ripening) }),
      seen: [...this.#seen.values()].sort((a, b) => (a.tag < b.tag ? -1 : 1)),
    };
  }
}

const DEFAULT_VARIANTS: Readonly<Record<string, number>> = { arm: 7, arm64: 8, amd64: 1 };

/** Whether a node of the required platform runs an image of the offered one: the same, or an older variant of it. */
function canRun(required: Platform, offered: Platform): boolean {
  if (required.os !== offered.os || required.architecture !== offered.architecture) return false;
  if (required.variant === offered.variant) return true;
  const generation = (variant: string | undefined): number =>
    variant === undefined
      ? (DEFAULT_VARIANTS[required.architecture] ?? NaN)
      : Number(/^v([0-9]+)$/.exec(variant)?.[1] ?? NaN);
  return generation(offered.variant) <= generation(required.variant);
}
