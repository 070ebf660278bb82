// When the images of one repository say they were built, for the order `newest`. Every tag is inspected once; the answers
// are kept by tag, and at most MAX_PER_CYCLE new ones are read at a time.

import { LRUCache } from 'lru-cache';
import { formatRepository, type Repository } from '../../image/reference.ts';
import { isTag } from '../../image/tag.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import type { Creation } from '../../selection/orders/order.ts';

/** Inspections of one policy between two looks at its tags. */
export const MAX_PER_CYCLE = 200;
const MAX_REPOSITORIES = 200;

export class CreationTimes {
  readonly #client: Pick<RegistryClient, 'headManifest' | 'inspect'>;
  readonly #known = new LRUCache<string, Map<string, Creation>>({ max: MAX_REPOSITORIES });

  constructor(client: Pick<RegistryClient, 'headManifest' | 'inspect'>) {
    this.#client = client;
  }

  /** What is known so far. Tags that are no longer listed are forgotten. */
  of(repository: Repository, access: RegistryAccess, listed: readonly string[]): ReadonlyMap<string, Creation> {
    const known = this.#mapOf(repository, access);
    if (known.size > listed.length) {
      const still = new Set(listed);
      for (const tag of known.keys()) if (!still.has(tag)) known.delete(tag);
    }
    return known;
  }

  /**
   * Inspects the first of `tags`, and puts what it finds into the map that `of` returns. An image that states no time
   * counts as built at the epoch, and a tag that is gone by now as well.
   */
  async learn(
    repository: Repository,
    access: RegistryAccess,
    tags: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const known = this.#mapOf(repository, access);
    for (const tag of tags.slice(0, MAX_PER_CYCLE)) {
      if (!isTag(tag)) continue;
      const descriptor = await this.#client.headManifest(repository, tag, access, signal);
      if (descriptor === undefined) {
        known.set(tag, { timeMs: 0, digest: '' });
        continue;
      }
      const facts = await this.#client.inspect(repository, descriptor.digest, access, signal);
      known.set(tag, { timeMs: facts.created ?? 0, digest: descriptor.digest });
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
