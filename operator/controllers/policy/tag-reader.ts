// What the registry says about one policy's tags, and what the rules make of it: the tags are ranked, the few best are
// looked at more closely, and the tags that stay in use are declared to the TagSource. Nothing here waits for a poll:
// what is not known yet is left out, and the TagSource wakes the policy when it is.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { MAX_REJECTED_EXAMPLES } from '../../api/image-policy.ts';
import type { ImagePolicy } from '../../api/kinds.ts';
import { TerminalError } from '../../errors.ts';
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
import { combineFacts, FactReader, INSPECTION_MS, toProblem } from './fact-reader.ts';
import type { PinFact, PolicyObservation, Problem, TagSummary } from './observation.ts';
import { recordedPin, resolvePin } from './pin.ts';

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
  /** Running images whose tag points elsewhere: whether the registry still has them. */
  readonly gone = new Map<string, { readonly isGone: boolean; readonly checkedMs: number }>();

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

/** An image that runs, and in which of the policy's repositories it is. */
export interface RunningImage {
  readonly part: number;
  readonly tag?: string;
  readonly digest?: Digest;
}

export interface TagQuestion {
  readonly policy: ImagePolicy;
  /** As the policy spells them: `spec.image`, then its companions. */
  readonly images: readonly string[];
  /** The same, parsed. */
  readonly repositories: readonly Repository[];
  readonly memory: TagMemory;
  /** What runs, for the candidates to be compared with. */
  readonly lowest: PolicyObservation['lowest'];
  /** Every image that runs. */
  readonly running: readonly RunningImage[];
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

export interface TagAnswer {
  readonly problem?: Problem;
  /** Absent while the tags are not known. */
  readonly found?: NonNullable<PolicyObservation['found']>;
  readonly companionDigest: PolicyObservation['companionDigest'];
  readonly manifestsOf: PolicyObservation['manifestsOf'];
  readonly isGone: PolicyObservation['isGone'];
  /** Absent when nothing is pinned, or while it is not known. */
  readonly pin?: PinFact;
  /** Look again after this long even if nothing wakes us. Absent: something will. */
  readonly lookAgainMs?: number;
}

/** Each round reads what the one before lacked. */
const MAX_ROUNDS = 8;
/** Rejections that rest on what the registry says about the tag now. */
const IN_USE_ALTHOUGH_REJECTED = new Set(['PlatformMissing', 'NotAnImage', 'TagGone', 'CompanionMissing']);
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
/** An image that no tag points at is asked for this often. */
const GONE_CHECK_MS = 86_400_000;
const MAX_COMPANIONS = 7;
const UNKNOWN: TagAnswer = { companionDigest: () => undefined, manifestsOf: () => [], isGone: () => false };

/** A repository of the policy with its login. */
interface Source {
  readonly image: string;
  readonly repository: Repository;
  readonly access: RegistryAccess;
}

/** Each repository of a policy is watched by a subscriber of its own. */
function subscriberOf(policyKey: string, part: number): string {
  return part === 0 ? policyKey : `${policyKey}#${part}`;
}

/** The policy that a subscriber of the TagSource stands for, as `namespace/name`. */
export function policyKeyOf(subscriber: string): string {
  return subscriber.replace(/#[0-9]+$/, '');
}

function goneKey(part: number, digest: string): string {
  return `${part} ${digest}`;
}

export class TagReader {
  readonly #deps: TagReaderDeps;
  readonly #creationTimes: CreationTimes;

  constructor(deps: TagReaderDeps) {
    this.#deps = deps;
    this.#creationTimes = new CreationTimes(deps.registry);
  }

  /** Ends the policy's interest in every repository. */
  forget(policyKey: string): void {
    this.#forgetFrom(policyKey, 0);
  }

  #forgetFrom(policyKey: string, part: number): void {
    for (let at = part; at <= MAX_COMPANIONS; at += 1) this.#deps.tagSource.forget(subscriberOf(policyKey, at));
  }

  async read(question: TagQuestion): Promise<TagAnswer> {
    const { policy, memory, lowest, signal } = question;
    const policyKey = formatKey(keyOf(policy));
    const intervalMs = parseDurationMs(policy.spec.interval);
    const sources = await this.#openSources(question);
    if ('code' in sources) {
      this.forget(policyKey);
      return { ...UNKNOWN, problem: sources, lookAgainMs: Math.min(intervalMs, ACCESS_RETRY_MS) };
    }
    this.#forgetFrom(policyKey, sources.length);
    const listsTags = memory.rules.fixedTag === undefined;
    const ask = (wants: readonly Tag[]): RepositoryView[] =>
      sources.map(({ repository, access }, part) =>
        this.#deps.tagSource.observe(subscriberOf(policyKey, part), {
          repository,
          access,
          intervalMs,
          listTags: listsTags && part === 0,
          digestsOf: wants,
        }),
      );
    let views = ask(memory.wants);
    const readers = sources.map(
      (source, part) =>
        new FactReader({ ...source, registry: this.#deps.registry, view: () => views[part] as RepositoryView, signal }),
    );
    const view = (): RepositoryView => views[0] as RepositoryView;
    const pin = await this.#readPin(question, sources, readers);
    const known: TagAnswer = {
      companionDigest: (part, tag) => readers[part]?.digestOf(tag),
      manifestsOf: (part, digest) => readers[part]?.manifestsOf(digest) ?? [],
      isGone: (part, digest) => memory.gone.get(goneKey(part, digest))?.isGone === true,
      ...(pin !== undefined && { pin }),
    };
    const refused = this.#noteRefusal(question, views);
    const lookAgain = refused || pin?.kind === 'unresolved' ? { lookAgainMs: intervalMs } : {};
    const { listingError } = view();
    if (listingError !== undefined) {
      const { code, message } = listingError;
      return { ...known, problem: { code, message, stalls: false }, ...lookAgain };
    }
    const tags = listsTags ? view().listing?.tags : [memory.rules.fixedTag as Tag];
    if (tags === undefined) return { ...known, ...lookAgain };

    const access = (sources[0] as Source).access;
    let ranking: Ranking;
    try {
      ranking = await this.#rank(question, access, view(), tags);
    } catch (error) {
      return { ...known, problem: toProblem(error, signal), lookAgainMs: intervalMs };
    }
    if (ranking.uninspected.length > 0) return { ...known, lookAgainMs: NEXT_INSPECTIONS_MS };
    if (!memory.canCompare) {
      // Which of the running tags is the lowest could not be told before: look again, with what is known now.
      memory.canCompare = true;
      return { ...known, lookAgainMs: 0 };
    }
    const choose = (): Choice => this.#choose(question, ranking, view(), (tag) => combineFacts(readers, tag));
    let choice = choose();
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const before = views;
      memory.wants = tagsInUse(choice, lowest?.tag);
      views = ask(memory.wants);
      // What others asked for already is known at once, and nobody will wake us for it.
      const isNews = choice.lacking.digests.some((tag) =>
        views.some(
          (after, part) => before[part]?.digest(tag).kind === 'pending' && after.digest(tag).kind !== 'pending',
        ),
      );
      for (const { tag } of choice.lacking.platforms) {
        for (const reader of readers) {
          const digest = reader.digestOf(tag);
          if (digest !== undefined) await reader.inspect(digest);
        }
      }
      if (!isNews && choice.lacking.platforms.length === 0) break;
      choice = choose();
    }
    await this.#learnRunning(question, sources, readers, views, choice);
    const summary: TagSummary | undefined = listsTags
      ? summarizeTags(ranking, choice, { maxExamples: MAX_REJECTED_EXAMPLES })
      : undefined;
    return {
      ...known,
      found: { choice, ...(summary !== undefined && { tags: summary }) },
      ...((memory.missing !== undefined || readers.some(({ hasFailures }) => hasFailures)) && {
        lookAgainMs: intervalMs,
      }),
      ...lookAgain,
    };
  }

  /** Every repository of the policy with its login. */
  async #openSources(question: TagQuestion): Promise<Source[] | Problem> {
    const sources: Source[] = [];
    for (const [part, repository] of question.repositories.entries()) {
      const access = await this.#resolveAccess(question, repository);
      if ('code' in access) return access;
      sources.push({ image: question.images[part] ?? '', repository, access });
    }
    return sources;
  }

  async #readPin(
    { policy, images, signal }: TagQuestion,
    sources: readonly Source[],
    readers: readonly FactReader[],
  ): Promise<PinFact | undefined> {
    if (policy.spec.pin === undefined) return undefined;
    const fact =
      recordedPin(policy, images) ?? (await resolvePin(policy.spec.pin, sources, this.#deps.registry, signal));
    if (fact.kind === 'resolved') {
      for (const [part, digest] of fact.digests.entries()) await readers[part]?.inspectIfPossible(digest);
    }
    return fact;
  }

  /**
   * What a move would leave behind: its manifests, to tell what a candidate brings in, and whether the registry still has
   * it. As long as its tag points at it, it is there and nothing is asked.
   */
  async #learnRunning(
    { running, memory, nowMs, signal }: TagQuestion,
    sources: readonly Source[],
    readers: readonly FactReader[],
    views: readonly RepositoryView[],
    choice: Choice,
  ): Promise<void> {
    const mayMove = choice.eligible.some(({ isRunning }) => !isRunning);
    for (const { part, tag, digest } of running) {
      const source = sources[part];
      if (digest === undefined || source === undefined) continue;
      const pointed = tag === undefined ? undefined : views[part]?.digest(tag);
      const isThere = pointed === undefined || pointed.kind === 'pending' || pointed.kind === 'failed';
      const key = goneKey(part, digest);
      if (pointed?.kind === 'known' && pointed.digest === digest) memory.gone.delete(key);
      else if (!isThere && (memory.gone.get(key)?.checkedMs ?? -Infinity) + GONE_CHECK_MS <= nowMs) {
        const isGone = await this.#isGone(source, digest, signal);
        if (isGone !== undefined) memory.gone.set(key, { isGone, checkedMs: nowMs });
      }
      if (mayMove && memory.gone.get(key)?.isGone !== true) await readers[part]?.inspectIfPossible(digest);
    }
  }

  /** Undefined: nobody could tell. */
  async #isGone({ repository, access }: Source, digest: Digest, signal: AbortSignal): Promise<boolean | undefined> {
    try {
      const either = AbortSignal.any([signal, AbortSignal.timeout(INSPECTION_MS)]);
      return (await this.#deps.registry.headManifest(repository, digest, access, either)) === undefined;
    } catch (error) {
      if (signal.aborted) throw error;
      return undefined;
    }
  }

  async #resolveAccess({ policy, signal }: TagQuestion, repository: Repository): Promise<RegistryAccess | Problem> {
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
  #noteRefusal({ policy, memory }: TagQuestion, views: readonly RepositoryView[]): boolean {
    const problems = views.flatMap((view) => {
      const digests = memory.wants.map((tag) => view.digest(tag));
      return [
        ...digests.flatMap((digest) => (digest.kind === 'failed' ? [digest.problem] : [])),
        ...(view.listingError === undefined ? [] : [view.listingError]),
      ];
    });
    const isRefused = problems.some(({ code }) => ACCESS_CODES.has(code));
    if (isRefused) this.#deps.access.forget(policy.metadata.namespace ?? '');
    return isRefused;
  }

  #choose(
    { policy, memory, lowest, nowMs }: TagQuestion,
    ranking: Ranking,
    view: RepositoryView,
    facts: (tag: string) => TagFacts,
  ): Choice {
    return chooseCandidate(ranking, {
      facts,
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
    const repository = question.repositories[0] as Repository;
    const running = runningTagsOf(question);
    noteMissing(memory, view, lowest?.tag);
    const created = memory.rules.needsCreationTimes
      ? this.#creationTimes.of(repository, access, tags, running)
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
    const isRunningUnknown = created !== undefined && running.some(({ tag }) => !created.has(tag));
    if (ranking.uninspected.length > 0 || isRunningUnknown) {
      await this.#creationTimes.learn(repository, access, ranking.uninspected, running, question.signal);
      ranking = await rank();
    }
    memory.ranking = tags.length > MEMO_FROM_TAGS ? { key, ranking } : undefined;
    return ranking;
  }

  /** A tag that was pushed again is another image: its creation time says nothing any more. */
  #forgetMoved({ repositories, memory }: TagQuestion, access: RegistryAccess, view: RepositoryView): void {
    const repository = repositories[0] as Repository;
    for (const tag of memory.wants) {
      const digest = view.digest(tag);
      const creation = memory.created?.get(tag);
      if (digest.kind === 'known' && creation !== undefined && creation.digest !== digest.digest) {
        this.#creationTimes.forget(repository, access, tag);
      }
    }
  }
}

/** The tags that run in the repository whose tags are ordered. */
function runningTagsOf({ running }: TagQuestion): RunningTag[] {
  return running.flatMap(({ part, tag, digest }) =>
    part !== 0 || tag === undefined ? [] : [{ tag, ...(digest !== undefined && { digest }) }],
  );
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
