// What the registry says about one policy's tags, and what the rules make of it: the tags are ranked, the few best are
// looked at more closely, and the tags that stay in use are declared to the TagSource. Nothing here waits for a poll:
// what is not known yet is left out, and the TagSource wakes the policy when it is.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { MAX_REJECTED_EXAMPLES } from '../../api/image-policy.ts';
import type { ImagePolicy } from '../../api/kinds.ts';
import { TerminalError, TransientError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Platform } from '../../image/platform.ts';
import type { Repository } from '../../image/reference.ts';
import { isTag, type Tag } from '../../image/tag.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { formatKey, keyOf } from '../../kube/resource.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import type { RepositoryView, TagSource } from '../../registry/tag-source.ts';
import { chooseCandidate, type Choice, type TagFacts } from '../../selection/choose.ts';
import { summarizeTags } from '../../selection/explain.ts';
import type { Creation } from '../../selection/orders/order.ts';
import { compareRunningTags, MatchMemo, rankTags, rankTagsInSlices, type Ranking } from '../../selection/rank.ts';
import type { TagRules } from '../../selection/tag-rules.ts';
import { parseDurationMs, parseTimestampMs } from '../../time/duration.ts';
import type { AccessResolver } from './access.ts';
import { CreationTimes, type RunningTag } from './creation-times.ts';
import type { PolicyObservation, Problem, TagSummary } from './observation.ts';

export interface TagReaderDeps {
  readonly tagSource: Pick<TagSource, 'observe' | 'forget'>;
  readonly registry: Pick<RegistryClient, 'headManifest' | 'inspect'>;
  readonly access: Pick<AccessResolver, 'resolve' | 'forget'>;
  /** Platforms an image must run on where a policy names none. */
  readonly defaultPlatforms: () => readonly Platform[];
}

/** What is kept of a policy between two looks, only to save work: losing it costs a computation, never a decision. */
export class TagMemory {
  readonly rules: TagRules;
  wants: readonly Tag[] = [];
  ranking: { readonly key: string; readonly ranking: Ranking } | undefined;
  readonly memo = new MatchMemo();
  /** Whether tags can be compared: with `newest`, not before their creation times were read. */
  canCompare: boolean;
  /** Only with `newest`. */
  created: ReadonlyMap<string, Creation> | undefined;
  /** The running tag that the listing no longer has, and the number of the listing in which it was first missing. */
  missing: { readonly tag: string; readonly sequence: number } | undefined;

  constructor(rules: TagRules) {
    this.rules = rules;
    this.canCompare = !rules.needsCreationTimes;
  }

  /** Orders two tags that run, without filter and range: positive when `a` is the newer one. */
  compareRunning(a: string, b: string): number {
    return compareRunningTags(this.rules, a, b, this.created);
  }

  /** Whether the candidate `tag` ranks above `other`, which is ordered without filter and range. */
  isAbove(tag: string, other: string): boolean {
    return rankTags(this.rules, [tag], { current: other, created: this.created }).candidates[0]?.position === 'Above';
  }
}

export interface TagQuestion {
  readonly policy: ImagePolicy;
  readonly repository: Repository;
  readonly memory: TagMemory;
  /** What runs, for the candidates to be compared with. */
  readonly lowest: PolicyObservation['lowest'];
  /** Every tag that runs. */
  readonly running: readonly RunningTag[];
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

export interface TagAnswer {
  readonly problem?: Problem;
  /** Absent while the tags are not known. */
  readonly found?: NonNullable<PolicyObservation['found']>;
  readonly isSameImage: PolicyObservation['isSameImage'];
  /** Look again after this long even if nothing wakes us. Absent: something will. */
  readonly lookAgainMs?: number;
}

/** Each round reads what the one before lacked. */
const MAX_ROUNDS = 8;
/** Rejections that rest on what the registry says about the tag now. */
const IN_USE_ALTHOUGH_REJECTED = new Set(['PlatformMissing', 'NotAnImage', 'TagGone']);
/**
 * Only longer lists are remembered, what the expressions made of each tag and the ranking: a shorter one is ranked again in
 * less than a millisecond, and a ranking that is kept keeps all its tags in memory.
 */
const MEMO_FROM_TAGS = 2_000;
/** Problems that another login or certificate may solve: they are looked up again at every try. */
const ACCESS_CODES = new Set([
  'Unauthorized',
  'Forbidden',
  'RepositoryNotFound',
  'InvalidCaBundle',
  'UntrustedCertificate',
]);
const ACCESS_RETRY_MS = 60_000;
const NEXT_INSPECTIONS_MS = 1_000;
/** A worker waits this long for one image: registries that trickle must not hold up the policies of others. */
const INSPECTION_MS = 5_000;
const TOO_SLOW = `the registry did not send the manifest within ${INSPECTION_MS / 1_000} s`;
const UNKNOWN: TagAnswer = { isSameImage: () => false };

export class TagReader {
  readonly #deps: TagReaderDeps;
  readonly #creationTimes: CreationTimes;

  constructor(deps: TagReaderDeps) {
    this.#deps = deps;
    this.#creationTimes = new CreationTimes(deps.registry);
  }

  forget(policyKey: string): void {
    this.#deps.tagSource.forget(policyKey);
  }

  async read(question: TagQuestion): Promise<TagAnswer> {
    const { policy, repository, memory, lowest, signal } = question;
    const intervalMs = parseDurationMs(policy.spec.interval);
    const access = await this.#resolveAccess(question);
    if ('code' in access) {
      this.forget(formatKey(keyOf(policy)));
      return { ...UNKNOWN, problem: access, lookAgainMs: Math.min(intervalMs, ACCESS_RETRY_MS) };
    }
    const ask = (wants: readonly Tag[]): RepositoryView =>
      this.#deps.tagSource.observe(formatKey(keyOf(policy)), {
        repository,
        access,
        intervalMs,
        listTags: memory.rules.fixedTag === undefined,
        digestsOf: wants,
      });
    let view = ask(memory.wants);
    const refused = this.#noteRefusal(question, view);
    const lookAgain = refused ? { lookAgainMs: intervalMs } : {};
    if (view.listingError !== undefined) {
      const { code, message } = view.listingError;
      return { ...UNKNOWN, problem: { code, message, stalls: false }, ...lookAgain };
    }
    const tags = memory.rules.fixedTag === undefined ? view.listing?.tags : [memory.rules.fixedTag];
    if (tags === undefined) return UNKNOWN;

    const reader = new FactReader({ repository, access, registry: this.#deps.registry, view: () => view, signal });
    let ranking: Ranking;
    try {
      ranking = await this.#rank(question, access, view, tags);
    } catch (error) {
      return { ...UNKNOWN, problem: toProblem(error, signal), lookAgainMs: intervalMs };
    }
    if (ranking.uninspected.length > 0) return { ...UNKNOWN, lookAgainMs: NEXT_INSPECTIONS_MS };
    if (!memory.canCompare) {
      // Which of the running tags is the lowest could not be told before: look again, with what is known now.
      memory.canCompare = true;
      return { ...UNKNOWN, lookAgainMs: 0 };
    }
    let choice = this.#choose(question, ranking, view, reader);
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const before = view;
      memory.wants = tagsInUse(choice, lowest?.tag);
      view = ask(memory.wants);
      // What others asked for already is known at once, and nobody will wake us for it.
      const isNews = choice.lacking.digests.some(
        (tag) => before.digest(tag).kind === 'pending' && view.digest(tag).kind !== 'pending',
      );
      await reader.inspect(choice.lacking.platforms.map(({ digest }) => digest));
      if (!isNews && choice.lacking.platforms.length === 0) break;
      choice = this.#choose(question, ranking, view, reader);
    }
    const summary: TagSummary | undefined =
      memory.rules.fixedTag === undefined
        ? summarizeTags(ranking, choice, { maxExamples: MAX_REJECTED_EXAMPLES })
        : undefined;
    return {
      isSameImage: reader.isSameImage,
      found: { choice, ...(summary !== undefined && { tags: summary }) },
      ...((memory.missing !== undefined || reader.hasFailures) && { lookAgainMs: intervalMs }),
      ...lookAgain,
    };
  }

  async #resolveAccess({ policy, repository, signal }: TagQuestion): Promise<RegistryAccess | Problem> {
    try {
      return await this.#deps.access.resolve(policy, repository, signal);
    } catch (error) {
      if (error instanceof KubeError && error.isForbidden) {
        return { code: 'AccessForbidden', message: error.message, stalls: false };
      }
      if (!(error instanceof TerminalError)) throw error;
      // Whoever repairs it should not have to wait until what was read is old.
      this.#deps.access.forget(policy.metadata.namespace ?? '');
      return { code: error.code, message: error.message, stalls: false };
    }
  }

  /** Whether the registry refuses the login or its certificate; both are then read anew at the next look. */
  #noteRefusal({ policy, memory }: TagQuestion, view: RepositoryView): boolean {
    const problems = memory.wants.flatMap((tag) => {
      const digest = view.digest(tag);
      return digest.kind === 'failed' ? [digest.problem] : [];
    });
    if (view.listingError !== undefined) problems.push(view.listingError);
    const isRefused = problems.some(({ code }) => ACCESS_CODES.has(code));
    if (isRefused) this.#deps.access.forget(policy.metadata.namespace ?? '');
    return isRefused;
  }

  #choose(
    { policy, memory, lowest, nowMs }: TagQuestion,
    ranking: Ranking,
    view: RepositoryView,
    reader: FactReader,
  ): Choice {
    return chooseCandidate(ranking, {
      facts: reader.facts,
      requiredPlatforms: this.#deps.defaultPlatforms(),
      nowMs,
      ...(lowest?.digest !== undefined && { currentDigest: lowest.digest }),
      seen: (policy.status?.seen ?? []).map(({ tag, digest, firstSeenTime }) => ({
        tag,
        digest: digest as Digest,
        firstSeenTimeMs: parseTimestampMs(firstSeenTime) ?? nowMs,
      })),
      isRunningTagGone: isRunningTagGone(memory, view, lowest?.tag),
    });
  }

  /** The ranking of this list, computed anew only when something that it depends on has changed. */
  async #rank(
    question: TagQuestion,
    access: RegistryAccess,
    view: RepositoryView,
    tags: readonly string[],
  ): Promise<Ranking> {
    const { policy, memory, lowest } = question;
    noteMissing(memory, view, lowest?.tag);
    const created = memory.rules.needsCreationTimes
      ? this.#creationTimes.of(question.repository, access, tags, question.running)
      : undefined;
    memory.created = created;
    if (created !== undefined) this.#forgetMoved(question, access, view);
    const watched = policy.status?.seen?.map(({ tag }) => tag) ?? [];
    const key = JSON.stringify([view.listing?.hash ?? tags, lowest?.tag, watched]);
    if (memory.ranking?.key === key && created === undefined) return memory.ranking.ranking;
    const rank = async (): Promise<Ranking> => {
      const slices = rankTagsInSlices(memory.rules, tags, {
        current: lowest?.tag,
        created,
        watched: new Set(watched),
        ...(tags.length > MEMO_FROM_TAGS && { memo: memory.memo }),
      });
      for (;;) {
        const slice = slices.next();
        if (slice.done === true) return slice.value;
        await nextTurn();
      }
    };
    let ranking = await rank();
    const isRunningUnknown = created !== undefined && question.running.some(({ tag }) => !created.has(tag));
    if (ranking.uninspected.length > 0 || isRunningUnknown) {
      const { repository, running, signal } = question;
      await this.#creationTimes.learn(repository, access, ranking.uninspected, running, signal);
      ranking = await rank();
    }
    memory.ranking = tags.length > MEMO_FROM_TAGS ? { key, ranking } : undefined;
    return ranking;
  }

  /** A tag that was pushed again is another image: its creation time says nothing any more. */
  #forgetMoved({ repository, memory }: TagQuestion, access: RegistryAccess, view: RepositoryView): void {
    for (const tag of memory.wants) {
      const digest = view.digest(tag);
      const creation = memory.created?.get(tag);
      if (digest.kind === 'known' && creation !== undefined && creation.digest !== digest.digest) {
        this.#creationTimes.forget(repository, access, tag);
      }
    }
  }
}

interface FactReaderOptions {
  readonly repository: Repository;
  readonly access: RegistryAccess;
  readonly registry: Pick<RegistryClient, 'inspect'>;
  readonly view: () => RepositoryView;
  readonly signal: AbortSignal;
}

/** Facts about single tags: digests from the view, platforms as far as they were read in this look. */
class FactReader {
  readonly #options: FactReaderOptions;
  readonly #platforms = new Map<
    Digest,
    { readonly platforms: readonly Platform[]; readonly digests: readonly Digest[] }
  >();
  readonly #failures = new Map<Digest, string>();

  constructor(options: FactReaderOptions) {
    this.#options = options;
  }

  readonly facts = (tag: string): TagFacts => {
    const digest = this.#options.view().digest(tag);
    switch (digest.kind) {
      case 'pending':
        return {};
      case 'gone':
        return { digest: { kind: 'Gone' } };
      case 'failed':
        return { digest: { kind: 'Failed', message: digest.problem.message } };
      case 'known': {
        const failure = this.#failures.get(digest.digest);
        if (failure !== undefined) return { digest: { kind: 'Failed', message: failure } };
        const platforms = this.#platforms.get(digest.digest)?.platforms;
        return {
          digest: { kind: 'Digest', digest: digest.digest },
          ...(platforms !== undefined && { platforms: platforms.length === 0 ? 'NotAnImage' : platforms }),
        };
      }
    }
  };

  /** Whether the running digest is one of the candidate's platform manifests. */
  readonly isSameImage = (candidate: Digest, running: Digest): boolean =>
    this.#platforms.get(candidate)?.digests.includes(running) === true;

  /** Something could not be inspected, and no poll will tell when that changes. */
  get hasFailures(): boolean {
    return this.#failures.size > 0;
  }

  async inspect(digests: readonly Digest[]): Promise<void> {
    const { repository, access, registry, signal } = this.#options;
    for (const digest of digests) {
      if (this.#platforms.has(digest)) continue;
      const deadline = AbortSignal.timeout(INSPECTION_MS);
      try {
        const either = AbortSignal.any([signal, deadline]);
        const { platforms } = await registry.inspect(repository, digest, access, either, { withCreated: false });
        this.#platforms.set(digest, {
          platforms: platforms.map(({ platform }) => platform),
          digests: platforms.map((entry) => entry.digest),
        });
      } catch (error) {
        const isLate = deadline.aborted && !signal.aborted;
        this.#failures.set(digest, isLate ? TOO_SLOW : toProblem(error, signal).message);
        // The next one would only keep others waiting as well.
        if (isLate) return;
      }
    }
  }
}

function toProblem(error: unknown, signal: AbortSignal): Problem {
  if (!signal.aborted && (error instanceof TransientError || error instanceof TerminalError)) {
    return { code: error.code, message: error.message, stalls: false };
  }
  throw error;
}

/** The tags whose digests are asked for every cycle: what runs, and the candidates that may still come into question. */
function tagsInUse(choice: Choice, current: string | undefined): Tag[] {
  const wanted = new Set<string>();
  if (current !== undefined) wanted.add(current);
  for (const examination of choice.examined) {
    if (examination.kind === 'Waiting') wanted.add(examination.tag);
    if (examination.kind === 'Eligible' && examination.candidate.position !== 'Current')
      wanted.add(examination.candidate.tag);
    // Were its digest forgotten, the next look would ask again and the answer would never come to rest.
    if (examination.kind === 'Rejected' && IN_USE_ALTHOUGH_REJECTED.has(examination.code)) wanted.add(examination.tag);
  }
  return [...wanted].filter(isTag).sort();
}

/** Remembers since which listing the running tag is missing. */
function noteMissing(memory: TagMemory, { listing }: RepositoryView, current: string | undefined): void {
  const isMissing =
    listing !== undefined && current !== undefined && memory.rules.allowsDowngrade && !listing.tags.includes(current);
  if (!isMissing) memory.missing = undefined;
  else if (memory.missing?.tag !== current) memory.missing = { tag: current, sequence: listing.sequence };
}

/** Two complete listings without the running tag, and a direct 404 for it. */
function isRunningTagGone(memory: TagMemory, view: RepositoryView, current: string | undefined): boolean {
  const { missing } = memory;
  return (
    missing !== undefined &&
    missing.tag === current &&
    (view.listing?.sequence ?? 0) > missing.sequence &&
    view.digest(missing.tag).kind === 'gone'
  );
}
