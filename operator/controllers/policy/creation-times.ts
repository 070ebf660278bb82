// When the images of one repository say they were built, for the order `newest`. Every tag is inspected once; the answers
// are kept by tag, and at most MAX_PER_CYCLE new ones are read at a time.

import { LRUCache } from 'lru-cache';
import { SlipwayError, TransientError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { formatRepository, type Repository } from '../../image/reference.ts';
import { isTag, type Tag } from '../../image/tag.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import type { Creation } from '../../selection/orders/order.ts';

/** Inspections of one policy between two looks at its tags. */
export const MAX_PER_CYCLE = 200;
const MAX_REPOSITORIES = 200;
const UNKNOWN: Creation = { timeMs: 0, digest: '' };
const UNREADABLE_CODES = new Set(['InvalidResponse', 'ManifestNotFound']);

/** A tag that runs, and its digest as far as that is known. */
export interface RunningTag {
  readonly tag: string;
  readonly digest?: Digest;
}

export class CreationTimes {
  readonly #client: Pick<RegistryClient, 'headManifest' | 'inspect'>;
  readonly #known = new LRUCache<string, Map<string, Creation>>({ max: MAX_REPOSITORIES });

  constructor(client: Pick<RegistryClient, 'headManifest' | 'inspect'>) {
    this.#client = client;
  }

  /** What is known so far. Tags that are neither listed nor running are forgotten. */
  of(
    repository: Repository,
    access: RegistryAccess,
    listed: readonly string[],
    running: readonly RunningTag[],
  ): ReadonlyMap<string, Creation> {
    const known = this.#mapOf(repository, access);
    if (known.size > listed.length) {
      const still = new Set([...listed, ...running.map(({ tag }) => tag)]);
      for (const tag of known.keys()) if (!still.has(tag)) known.delete(tag);
    }
    return known;
  }

  /**
   * Inspects the running tags that are not known, and the first of `tags`, and puts what it finds into the map that `of`
   * returns. A candidate that states no time, is gone by now or cannot be read counts as built at the epoch. What runs
   * must be known: it is read by its digest, also where its tag is gone, and the error of that is thrown.
   */
  async learn(
    repository: Repository,
    access: RegistryAccess,
    tags: readonly string[],
    running: readonly RunningTag[],
    signal: AbortSignal,
  ): Promise<void> {
    const known = this.#mapOf(repository, access);
    const isRunning = new Set(running.map(({ tag }) => tag));
    for (const { tag, digest } of running) {
      if (known.has(tag) || !isTag(tag)) continue;
      const found = digest ?? (await this.#client.headManifest(repository, tag, access, signal))?.digest;
      if (found === undefined) {
        throw new TransientError(`${tag} runs, its tag is gone, and no pod tells its digest: its age is unknown`, {
          code: 'RunningImageUnknown',
        });
      }
      const { created } = await this.#client.inspect(repository, found, access, signal);
      known.set(tag, { timeMs: created ?? 0, digest: found });
    }
    for (const tag of tags.filter((candidate) => !isRunning.has(candidate)).slice(0, MAX_PER_CYCLE)) {
      if (isTag(tag)) known.set(tag, await this.#inspect(repository, access, tag, signal));
    }
  }

  async #inspect(repository: Repository, access: RegistryAccess, tag: Tag, signal: AbortSignal): Promise<Creation> {
    try {
      const descriptor = await this.#client.headManifest(repository, tag, access, signal);
      if (descriptor === undefined) return UNKNOWN;
      const { created } = await this.#client.inspect(repository, descriptor.digest, access, signal);
      return { timeMs: created ?? 0, digest: descriptor.digest };
    } catch (error) {
      // One image that nobody can read must not keep all others from being chosen.
      if (error instanceof SlipwayError && UNREADABLE_CODES.has(error.code)) return UNKNOWN;
      throw error;
    }
  }

  /** A tag was found at another digest: its old time says nothing any more. */
  forget(repository: Repository, access: RegistryAccess, tag: string): void {
    this.#mapOf(repository, access).delete(tag);
  }

  #mapOf(repository: Repository, access: RegistryAccess): Map<string, Creation> {
    const key = `${formatRepository(repository)} ${access.credential?.key ?? ''}`;
    const known = this.#known.get(key) ?? new Map<string, Creation>();
    this.#known.set(key, known);
    return known;
  }
}
