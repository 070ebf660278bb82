// The registry client: listing tags, resolving and reading manifests, of any registry that speaks OCI distribution. Callers
// get a complete, verified answer or an error with a registry problem code; how to log in, wait, page and follow is inside.
// @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md

import { LRUCache } from 'lru-cache';
import type { Digest } from '../image/digest.ts';
import { formatRepository, type Repository } from '../image/reference.ts';
import type { Tag } from '../image/tag.ts';
import type { Logger } from '../telemetry/logger.ts';
import { silentLogger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { loginKey, type RegistryTarget } from './authenticator.ts';
import type { RegistryAccess } from './credential.ts';
import { type ResolveHost, systemResolver } from './guarded-connect.ts';
import type { HostsConfig } from './hosts.ts';
import { type ImageFacts, inspectImage } from './image-facts.ts';
import { DEFAULT_LIMITS, type RegistryLimits } from './limits.ts';
import { listTags } from './list-tags.ts';
import type { Descriptor } from './manifest.ts';
import { type FetchedManifest, getManifest, headManifest } from './manifests.ts';
import { type RegistryObserver, silentObserver } from './observer.ts';
import { whileDoing } from './problem.ts';
import { RegistryRequester } from './requester.ts';
import type { TagListing } from './tag-listing.ts';

export type { RegistryAccess } from './credential.ts';

export interface RegistryClientOptions {
  readonly hosts: HostsConfig;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly userAgent: string;
  readonly observer?: RegistryObserver;
  readonly log?: Logger;
  /** Default: DEFAULT_LIMITS, each. */
  readonly limits?: Partial<RegistryLimits>;
  /** Default: the system's resolver. */
  readonly resolve?: ResolveHost;
}

export interface InspectOptions {
  /** False spares two requests per platform of an index, and `created` is absent then. Default: true. */
  readonly withCreated?: boolean;
}

const MAX_FACTS = 5_000;

export class RegistryClient {
  readonly #requester: RegistryRequester;
  readonly #clock: Clock;
  readonly #observer: RegistryObserver;
  readonly #log: Logger;
  /** By repository, digest and login: facts are shared only by those who may read them. */
  readonly #facts = new LRUCache<string, { readonly facts: ImageFacts; readonly hasCreated: boolean }>({
    max: MAX_FACTS,
  });

  constructor(options: RegistryClientOptions) {
    this.#clock = options.clock;
    this.#observer = options.observer ?? silentObserver;
    this.#log = options.log ?? silentLogger;
    this.#requester = new RegistryRequester({
      hosts: options.hosts,
      clock: options.clock,
      random: options.random,
      userAgent: options.userAgent,
      observer: this.#observer,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      resolve: options.resolve ?? systemResolver(),
    });
  }

  /** Every tag of every page, distinct and in byte order; never empty. */
  async listTags(repository: Repository, access: RegistryAccess, signal: AbortSignal): Promise<readonly string[]> {
    const listing = await this.listTagsSince(repository, access, undefined, signal);
    return listing.tags;
  }

  /** The same as a TagListing, which makes the next one cheaper. Equal hashes mean that nothing has changed. */
  async listTagsSince(
    repository: Repository,
    access: RegistryAccess,
    previous: TagListing | undefined,
    signal: AbortSignal,
  ): Promise<TagListing> {
    const target = this.#requester.target(repository, access);
    const startMs = this.#clock.monotonicMs();
    const report = (outcome: 'changed' | 'unchanged' | 'failed', tags: number): void =>
      this.#observer.onListing({
        host: repository.host,
        repository: formatRepository(repository),
        outcome,
        tags,
        durationMs: this.#clock.monotonicMs() - startMs,
      });
    try {
      const listing = await listTags({ requester: this.#requester, clock: this.#clock, target, signal }, previous);
      report(listing.hash === previous?.hash ? 'unchanged' : 'changed', listing.size);
      return listing;
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      report('failed', 0);
      this.#log.debug('Listing tags failed', { repository: formatRepository(repository), err: thrown });
      throw whileDoing(`Listing tags of ${formatRepository(repository)}`, thrown);
    }
  }

  /** What a tag or digest names now. Undefined when it is gone; a repository that is gone is an error. */
  async headManifest(
    repository: Repository,
    reference: Tag | Digest,
    access: RegistryAccess,
    signal: AbortSignal,
  ): Promise<Descriptor | undefined> {
    return this.#reading(repository, reference, access, signal, (context) => headManifest(context, reference));
  }

  /** The manifest or index, its bytes verified. Throws `ManifestNotFound` when it is gone. */
  async getManifest(
    repository: Repository,
    reference: Tag | Digest,
    access: RegistryAccess,
    signal: AbortSignal,
  ): Promise<FetchedManifest> {
    return this.#reading(repository, reference, access, signal, (context) => getManifest(context, reference));
  }

  /** Platforms and build time of an image. Asked once per digest and login, then remembered. */
  async inspect(
    repository: Repository,
    digest: Digest,
    access: RegistryAccess,
    signal: AbortSignal,
    options: InspectOptions = {},
  ): Promise<ImageFacts> {
    const { withCreated = true } = options;
    const key = JSON.stringify([
      formatRepository(repository),
      digest,
      loginKey(this.#requester.target(repository, access)),
      access.caPem ?? '',
    ]);
    const known = this.#facts.get(key);
    if (known !== undefined && (known.hasCreated || !withCreated)) return known.facts;
    const facts = await this.#reading(repository, digest, access, signal, (context) =>
      inspectImage(context, digest, withCreated),
    );
    this.#facts.set(key, { facts, hasCreated: withCreated });
    return facts;
  }

  /** Breaks off what is under way and closes all connections. */
  close(): Promise<void> {
    return this.#requester.close();
  }

  async #reading<T>(
    repository: Repository,
    reference: Tag | Digest,
    access: RegistryAccess,
    signal: AbortSignal,
    read: (context: { requester: RegistryRequester; target: RegistryTarget; signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    try {
      return await read({ requester: this.#requester, target: this.#requester.target(repository, access), signal });
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      const separator = reference.startsWith('sha256:') ? '@' : ':';
      throw whileDoing(`Reading ${formatRepository(repository)}${separator}${reference}`, thrown);
    }
  }
}
