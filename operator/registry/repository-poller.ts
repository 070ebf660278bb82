// Keeps one repository's tags and wanted digests fresh for everyone who watches it with the same login, with one listing
// per interval and one HEAD per distinct tag, and says who has to look again.
//
//   idle ──start──▶ polling ──done──▶ waiting ──timer, hint, new want──▶ polling
//                      │ hint while polling: once more, right after
//   any ──stop──▶ idle: what was known is forgotten, because it may be old when polling starts again
//
// A poll lists the tags (if anyone wants them), then asks for the digests. While the listing fails, only digests of those
// who do not need a listing are asked for: the others cannot act anyway. A tag wanted for the first time does not wait for
// the next poll.

import { SlipwayError, TransientError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { Repository } from '../image/reference.ts';
import { formatRepository } from '../image/reference.ts';
import type { Tag } from '../image/tag.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import type { RegistryClient } from './client.ts';
import type { RegistryAccess } from './credential.ts';
import { type RegistryProblem, toProblem } from './problem.ts';
import type { TagListing } from './tag-listing.ts';

/** What one subscriber wants of a repository. */
export interface RepositoryWants {
  readonly repository: Repository;
  readonly access: RegistryAccess;
  /** The shortest of all subscribers counts. */
  readonly intervalMs: number;
  /** False for those who follow a fixed tag: then nothing is listed for them. */
  readonly listTags: boolean;
  readonly digestsOf: readonly Tag[];
}

/** What a tag is known to name. */
export type DigestView =
  /** Not asked yet. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'known'; readonly digest: Digest; readonly mediaType: string; readonly checkedTimeMs: number }
  /** The repository is there and does not have the tag; `confirmations` counts direct answers in a row that said so. */
  | { readonly kind: 'gone'; readonly confirmations: number }
  /** The last attempt failed; `lastDigest` is what it named before, if it was known. */
  | { readonly kind: 'failed'; readonly problem: RegistryProblem; readonly lastDigest?: Digest };

/** Everything one subscriber may see, as it is now: a view does not change any more. */
export interface RepositoryView {
  /** The last complete listing; it stays while later ones fail. Absent: none yet, or none wanted. */
  readonly listing?: {
    /** Distinct, in byte order, never empty. */
    readonly tags: readonly string[];
    /** Equal hashes are equal lists. */
    readonly hash: string;
    readonly completedTimeMs: number;
    /** Complete listings of this repository by this process so far, unchanged ones included. */
    readonly sequence: number;
  };
  /** Set while the newest listing failed. */
  readonly listingError?: RegistryProblem;
  digest(tag: string): DigestView;
}

export interface PollerOptions {
  readonly client: Pick<RegistryClient, 'listTagsSince' | 'headManifest'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly repository: Repository;
  readonly access: RegistryAccess;
  readonly onChange: (subscriber: string) => void;
}

const PENDING: DigestView = { kind: 'pending' };
/** Intervals vary by this much, so that repositories drift apart. */
const JITTER = 0.1;
const BACKOFF_MIN_MS = 5_000;
/** Hints come in bursts; polls they cause are at least this far apart. */
const HINT_SPACING_MS = 1_000;
/** Beyond this many, further confirmations that a tag is gone tell nobody anything new. */
const CONFIRMATIONS_THAT_MATTER = 2;

export class RepositoryPoller {
  readonly #options: PollerOptions;
  readonly #subscribers = new Map<string, RepositoryWants>();
  readonly #digests = new Map<Tag, DigestView>();
  readonly #asking = new Set<Tag>();
  #listing: TagListing | undefined;
  #completedTimeMs = 0;
  #sequence = 0;
  #listingError: RegistryProblem | undefined;
  #hasTriedListing = false;
  #life: AbortController | undefined;
  #poll: Promise<void> | undefined;
  #timer: Disposable | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #startedMs = Number.NEGATIVE_INFINITY;
  #polls = 0;
  #failures = 0;
  #wantsAnother = false;

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  get isUnwatched(): boolean {
    return this.#subscribers.size === 0;
  }

  get repository(): Repository {
    return this.#options.repository;
  }

  start(): void {
    if (this.#life !== undefined) return;
    this.#life = new AbortController();
    this.#schedule(0);
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#life?.abort(new TransientError('Polling has stopped', { code: 'Stopped' }));
    this.#life = undefined;
    this.#clearTimer();
    const poll = this.#poll;
    this.#forgetAll();
    await poll;
  }

  subscribe(subscriber: string, wants: RepositoryWants): void {
    this.#subscribers.set(subscriber, wants);
    if (this.#life === undefined || this.#poll !== undefined) {
      this.#askForNewTags();
      return;
    }
    if (this.#polls === 0 || (wants.listTags && !this.#hasTriedListing)) {
      this.#schedule(0);
      return;
    }
    this.#askForNewTags();
    const dueMs = this.#startedMs + this.#intervalMs;
    if (dueMs < this.#dueMs && this.#failures === 0) this.#schedule(dueMs - this.#options.clock.monotonicMs());
  }

  unsubscribe(subscriber: string): void {
    this.#subscribers.delete(subscriber);
  }

  /** Something may have changed: poll now, but not more often than hints deserve. */
  hint(): void {
    if (this.#life === undefined) return;
    if (this.#poll !== undefined) {
      this.#wantsAnother = true;
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    const dueMs = Math.max(nowMs, this.#startedMs + HINT_SPACING_MS);
    if (dueMs < this.#dueMs) this.#schedule(dueMs - nowMs);
  }

  view(wants: RepositoryWants): RepositoryView {
    const digests = new Map<string, DigestView>(wants.digestsOf.map((tag) => [tag, this.#digests.get(tag) ?? PENDING]));
    const listing = wants.listTags ? this.#listing : undefined;
    const listingError = wants.listTags ? this.#listingError : undefined;
    return {
      ...(listing !== undefined && { listing: toListingView(listing, this.#completedTimeMs, this.#sequence) }),
      ...(listingError !== undefined && { listingError }),
      digest: (tag) => digests.get(tag) ?? PENDING,
    };
  }

  get #intervalMs(): number {
    let shortest = Number.POSITIVE_INFINITY;
    for (const { intervalMs } of this.#subscribers.values()) shortest = Math.min(shortest, intervalMs);
    return shortest;
  }

  #schedule(delayMs: number): void {
    this.#clearTimer();
    const { clock } = this.#options;
    this.#dueMs = clock.monotonicMs() + delayMs;
    this.#timer = clock.setTimer(delayMs, () => {
      this.#clearTimer();
      this.#startPoll();
    });
  }

  #clearTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  #startPoll(): void {
    const life = this.#life;
    if (life === undefined || this.#poll !== undefined) return;
    this.#startedMs = this.#options.clock.monotonicMs();
    this.#polls += 1;
    this.#wantsAnother = false;
    this.#poll = this.#pollOnce(life.signal).then(
      (problems) => this.#finishPoll(life, problems),
      (thrown: unknown) => {
        if (life.signal.aborted) return;
        this.#options.log.error('Polling a repository failed in an unforeseen way', {
          repository: formatRepository(this.repository),
          err: thrown,
        });
        this.#finishPoll(life, [toProblem(thrown, this.#options.clock.now())]);
      },
    );
  }

  #finishPoll(life: AbortController, problems: readonly RegistryProblem[]): void {
    if (life.signal.aborted) return;
    this.#poll = undefined;
    this.#failures = problems.length === 0 ? 0 : this.#failures + 1;
    this.#dropUnwanted();
    this.#schedule(this.#wantsAnother || this.#lacksListing ? HINT_SPACING_MS : this.#delayAfter(problems));
  }

  /** A subscriber who wants the list came while a poll without one was under way. */
  get #lacksListing(): boolean {
    return this.#wantsListing && !this.#hasTriedListing;
  }

  get #wantsListing(): boolean {
    for (const { listTags } of this.#subscribers.values()) if (listTags) return true;
    return false;
  }

  #delayAfter(problems: readonly RegistryProblem[]): number {
    const { random, clock } = this.#options;
    const intervalMs = this.#intervalMs;
    const jitter = 1 + JITTER * (2 * random() - 1);
    // After a start everybody polls at once: the second poll comes earlier by chance, and from then on they are spread.
    const spread = this.#polls === 1 ? 0.5 + 0.5 * random() : 1;
    if (problems.length === 0) return intervalMs * jitter * spread;
    const backoffMs = problems.some(isPassing)
      ? Math.min(intervalMs, BACKOFF_MIN_MS * 2 ** Math.min(this.#failures - 1, 20))
      : intervalMs;
    const askedMs = Math.max(0, ...problems.map(({ retryAtMs }) => (retryAtMs ?? 0) - clock.now()));
    return Math.max(backoffMs * jitter, askedMs * (1 + JITTER * random()));
  }

  async #pollOnce(signal: AbortSignal): Promise<readonly RegistryProblem[]> {
    const hasListing = !this.#wantsListing || (await this.#list(signal));
    signal.throwIfAborted();
    await Promise.all(this.#wantedTags(hasListing).map((tag) => this.#askDigest(tag, signal)));
    const failed = [...this.#digests.values()].flatMap((view) => (view.kind === 'failed' ? [view.problem] : []));
    return this.#wantsListing && this.#listingError !== undefined ? [this.#listingError, ...failed] : failed;
  }

  /** False when it failed. */
  async #list(signal: AbortSignal): Promise<boolean> {
    const { client, clock, repository, access } = this.#options;
    const before = { hash: this.#listing?.hash, error: this.#listingError };
    this.#hasTriedListing = true;
    try {
      const listing = await client.listTagsSince(repository, access, this.#listing, signal);
      signal.throwIfAborted();
      this.#listing = listing;
      this.#completedTimeMs = clock.now();
      this.#sequence += 1;
      this.#listingError = undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      this.#listingError = this.#noteProblem(thrown);
    }
    const hasChanged = before.hash !== this.#listing?.hash || !isSameProblem(before.error, this.#listingError);
    if (hasChanged) this.#wake(({ listTags }) => listTags);
    return this.#listingError === undefined;
  }

  async #askDigest(tag: Tag, signal: AbortSignal): Promise<void> {
    if (this.#asking.has(tag)) return;
    this.#asking.add(tag);
    const before = this.#digests.get(tag) ?? PENDING;
    let after: DigestView;
    try {
      const { client, clock, repository, access } = this.#options;
      const descriptor = await client.headManifest(repository, tag, access, signal);
      after =
        descriptor === undefined
          ? { kind: 'gone', confirmations: before.kind === 'gone' ? before.confirmations + 1 : 1 }
          : { kind: 'known', digest: descriptor.digest, mediaType: descriptor.mediaType, checkedTimeMs: clock.now() };
    } catch (thrown) {
      if (signal.aborted) return;
      const lastDigest =
        before.kind === 'known' ? before.digest : before.kind === 'failed' ? before.lastDigest : undefined;
      after = { kind: 'failed', problem: this.#noteProblem(thrown), ...(lastDigest !== undefined && { lastDigest }) };
    } finally {
      if (!signal.aborted) this.#asking.delete(tag);
    }
    if (signal.aborted) return;
    this.#digests.set(tag, after);
    if (!isSameDigestView(before, after)) this.#wake(({ digestsOf }) => digestsOf.includes(tag));
  }

  /** Tags that somebody wants and nobody has asked for yet. */
  #askForNewTags(): void {
    const signal = this.#life?.signal;
    if (signal === undefined || this.#polls === 0) return;
    for (const tag of this.#wantedTags(true)) {
      if (!this.#digests.has(tag) && !this.#asking.has(tag)) void this.#askForNewTag(tag, signal);
    }
  }

  /** A failure that may pass does not wait for the end of the interval. */
  async #askForNewTag(tag: Tag, signal: AbortSignal): Promise<void> {
    await this.#askDigest(tag, signal);
    const view = this.#digests.get(tag);
    if (signal.aborted || this.#poll !== undefined || view?.kind !== 'failed' || !isPassing(view.problem)) return;
    const { clock } = this.#options;
    const askedMs = (view.problem.retryAtMs ?? 0) - clock.now();
    const delayMs = Math.min(Math.max(BACKOFF_MIN_MS, askedMs), this.#intervalMs);
    if (clock.monotonicMs() + delayMs < this.#dueMs) this.#schedule(delayMs);
  }

  #wantedTags(withThoseWhoList: boolean): readonly Tag[] {
    const tags = new Set<Tag>();
    for (const { listTags, digestsOf } of this.#subscribers.values()) {
      if (withThoseWhoList || !listTags) for (const tag of digestsOf) tags.add(tag);
    }
    return [...tags];
  }

  #dropUnwanted(): void {
    const wanted = new Set(this.#wantedTags(true));
    for (const tag of this.#digests.keys()) if (!wanted.has(tag)) this.#digests.delete(tag);
    if (this.#wantsListing) return;
    this.#listing = undefined;
    this.#listingError = undefined;
    this.#hasTriedListing = false;
  }

  #wake(concerns: (wants: RepositoryWants) => boolean): void {
    for (const [subscriber, wants] of [...this.#subscribers]) if (concerns(wants)) this.#options.onChange(subscriber);
  }

  #noteProblem(thrown: unknown): RegistryProblem {
    const { log, clock } = this.#options;
    const repository = formatRepository(this.repository);
    if (thrown instanceof SlipwayError)
      log.debug('Asking a registry failed', { repository, code: thrown.code, reason: thrown.message });
    else log.error('Asking a registry failed in an unforeseen way', { repository, err: thrown });
    return toProblem(thrown, clock.now());
  }

  #forgetAll(): void {
    this.#digests.clear();
    this.#asking.clear();
    this.#listing = undefined;
    this.#listingError = undefined;
    this.#hasTriedListing = false;
    this.#poll = undefined;
    this.#polls = 0;
    this.#failures = 0;
    this.#wantsAnother = false;
    this.#startedMs = Number.NEGATIVE_INFINITY;
  }
}

function toListingView(
  listing: TagListing,
  completedTimeMs: number,
  sequence: number,
): NonNullable<RepositoryView['listing']> {
  return {
    get tags() {
      return listing.tags;
    },
    hash: listing.hash,
    completedTimeMs,
    sequence,
  };
}

/** Whether trying again before the interval is over may help. */
function isPassing({ code }: RegistryProblem): boolean {
  return code === 'Unavailable' || code === 'RateLimited';
}

function isSameProblem(a: RegistryProblem | undefined, b: RegistryProblem | undefined): boolean {
  return a?.code === b?.code && a?.message === b?.message;
}

/** Whether nothing has changed that a subscriber would act upon. */
function isSameDigestView(a: DigestView, b: DigestView): boolean {
  if (a.kind === 'known' && b.kind === 'known') return a.digest === b.digest && a.mediaType === b.mediaType;
  if (a.kind === 'failed' && b.kind === 'failed') return isSameProblem(a.problem, b.problem);
  if (a.kind === 'gone' && b.kind === 'gone') return b.confirmations > CONFIRMATIONS_THAT_MATTER;
  return false;
}
