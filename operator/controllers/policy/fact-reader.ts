// Facts about single images of one repository, read once per look: digests from the TagSource's view, platforms from the
// registry. Several repositories whose images move together are read as if they were one.

import { TerminalError, TransientError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Platform } from '../../image/platform.ts';
import type { Repository } from '../../image/reference.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import type { RepositoryView } from '../../registry/tag-source.ts';
import type { TagFacts } from '../../selection/choose.ts';
import type { Problem } from './observation.ts';

export interface FactReaderOptions {
  /** As the policy spells it. */
  readonly image: string;
  readonly repository: Repository;
  readonly access: RegistryAccess;
  readonly registry: Pick<RegistryClient, 'inspect'>;
  readonly view: () => RepositoryView;
  readonly signal: AbortSignal;
}

/** A worker waits this long for one image: registries that trickle must not hold up the policies of others. */
export const INSPECTION_MS = 5_000;
const TOO_SLOW = `the registry did not send the manifest within ${INSPECTION_MS / 1_000} s`;

interface Inspected {
  readonly platforms: readonly Platform[];
  readonly digests: readonly Digest[];
}

export class FactReader {
  readonly image: string;
  readonly #options: FactReaderOptions;
  readonly #inspected = new Map<Digest, Inspected>();
  readonly #failures = new Map<Digest, string>();

  constructor(options: FactReaderOptions) {
    this.#options = options;
    this.image = options.image;
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
        const platforms = this.#inspected.get(digest.digest)?.platforms;
        return {
          digest: { kind: 'Digest', digest: digest.digest },
          ...(platforms !== undefined && { platforms: platforms.length === 0 ? 'NotAnImage' : platforms }),
        };
      }
    }
  };

  /** Undefined while the view does not know it. */
  digestOf(tag: string): Digest | undefined {
    const digest = this.#options.view().digest(tag);
    return digest.kind === 'known' ? digest.digest : undefined;
  }

  /** The platform manifests of a digest; empty while they were not read. */
  manifestsOf(digest: string): readonly Digest[] {
    return this.#inspected.get(digest as Digest)?.digests ?? [];
  }

  /** Something could not be inspected, and no poll will tell when that changes. */
  get hasFailures(): boolean {
    return this.#failures.size > 0;
  }

  /** Reads the platforms of a digest, once. A failure becomes a fact. */
  async inspect(digest: Digest): Promise<void> {
    const { repository, access, registry, signal } = this.#options;
    if (this.#inspected.has(digest) || this.#failures.has(digest)) return;
    const deadline = AbortSignal.timeout(INSPECTION_MS);
    try {
      const either = AbortSignal.any([signal, deadline]);
      const { platforms } = await registry.inspect(repository, digest, access, either, { withCreated: false });
      this.#inspected.set(digest, {
        platforms: platforms.map(({ platform }) => platform),
        digests: platforms.map((entry) => entry.digest),
      });
    } catch (error) {
      const isLate = deadline.aborted && !signal.aborted;
      this.#failures.set(digest, isLate ? TOO_SLOW : toProblem(error, signal).message);
    }
  }

  /** The same for an image that only helps to recognise others: a failure is no fact about any tag. */
  async inspectIfPossible(digest: Digest): Promise<void> {
    const hadFailed = this.#failures.has(digest);
    await this.inspect(digest);
    if (!hadFailed) this.#failures.delete(digest);
  }
}

/** What a tag is when it has to be there in every repository. The first reader is that of `spec.image`. */
export function combineFacts(readers: readonly FactReader[], tag: string): TagFacts {
  const [first, ...companions] = readers;
  const own = first?.facts(tag) ?? {};
  if (own.digest?.kind !== 'Digest' || companions.length === 0) return own;
  const others = companions.map((reader) => ({ image: reader.image, ...reader.facts(tag) }));
  const missing = others.find(({ digest }) => digest?.kind === 'Gone');
  if (missing !== undefined) return { digest: { kind: 'CompanionGone', image: missing.image } };
  for (const { image, digest } of others) {
    if (digest?.kind === 'Failed') return { digest: { kind: 'Failed', message: `${image}: ${digest.message}` } };
  }
  if (others.some(({ digest }) => digest === undefined)) return {};
  const all = [own, ...others].map(({ platforms }) => platforms);
  if (all.includes('NotAnImage')) return { digest: own.digest, platforms: 'NotAnImage' };
  if (all.includes(undefined)) return { digest: own.digest };
  const lists = all as readonly (readonly Platform[])[];
  return {
    digest: own.digest,
    platforms: (lists[0] ?? []).filter(({ os, architecture }) =>
      lists.every((list) => list.some((offered) => offered.os === os && offered.architecture === architecture)),
    ),
  };
}

/** What went wrong, as a reason not to act. Rethrows what is no problem of the registry, and everything once aborted. */
export function toProblem(error: unknown, signal: AbortSignal): Problem {
  if (!signal.aborted && (error instanceof TransientError || error instanceof TerminalError)) {
    return { code: error.code, message: error.message, stalls: false };
  }
  throw error;
}
