// An image that a policy may want its workloads to run: one digest for each of its repositories, with the tag they share.

import { isDigest, type Digest } from '../../image/digest.ts';
import { formatPinnedImage } from '../../image/reference.ts';
import type { RecognizedImage } from '../../rollout/quarantine.ts';
import type { EligibleTag } from '../../selection/choose.ts';
import type { PolicyObservation } from './observation.ts';
import { readImage } from './targets.ts';

export interface Wanted {
  /** Absent when a digest was pinned. */
  readonly tag?: string;
  /** One for each of the policy's images; undefined where a companion's is not known. */
  readonly digests: readonly (Digest | undefined)[];
}

export function wantedOf({ images, companionDigest }: PolicyObservation, { tag, digest }: EligibleTag): Wanted {
  return { tag, digests: images.map((_, part) => (part === 0 ? digest : companionDigest(part, tag))) };
}

/** The digest of `spec.image`, by which people and records speak of the whole. */
export function primaryDigest({ digests }: Wanted): Digest | undefined {
  return digests[0];
}

/** What Slipway writes for a container of this part; undefined where the digest is not known. */
export function imageFor({ images }: PolicyObservation, { tag, digests }: Wanted, part: number): string | undefined {
  const digest = digests[part];
  return digest === undefined ? undefined : formatPinnedImage(images[part] ?? '', tag, digest);
}

/** All digests that stand for an image: its own and those of its platforms. */
export function aliasesOf({ manifestsOf }: PolicyObservation, part: number, digest: string): string[] {
  return [...new Set([digest, ...manifestsOf(part, digest)])];
}

export function recognize(observation: PolicyObservation, { digests }: Wanted): RecognizedImage[] {
  return digests.flatMap((digest, part) =>
    digest === undefined
      ? []
      : [{ image: observation.images[part] ?? '', digests: aliasesOf(observation, part, digest) }],
  );
}

/** The digest that an image names; undefined when it names none. */
export function digestIn(image: string): Digest | undefined {
  const digest = readImage(image)?.digest;
  return digest !== undefined && isDigest(digest) ? digest : undefined;
}
