// Which digest a person means by a tag, a digest or "previous": looked up in what Slipway has on record about the policy, so
// that a decision is about the very bytes that were seen there.

import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { parseImage } from '../../image/reference.ts';
import { UsageError } from '../context.ts';

export interface KnownImage {
  readonly tag?: string;
  readonly digest: string;
}

const DIGEST = /^sha256:[a-f0-9]{64}$/;

/** Every image of the policy on record, the most telling first. */
export function knownImages(policy: ImagePolicy, rollouts: readonly ImageRollout[]): KnownImage[] {
  const { status } = policy;
  const found: KnownImage[] = [];
  const add = (tag: string | undefined, digest: string | undefined): void => {
    if (digest === undefined || found.some((known) => known.digest === digest && known.tag === tag)) return;
    found.push({ ...(tag !== undefined && { tag }), digest });
  };
  add(status?.candidate?.tag, status?.candidate?.digest);
  add(status?.next?.tag, status?.next?.digest);
  const current = status?.current?.images[0];
  add(current?.tag, current?.digest);
  add(status?.selected?.tag, status?.selected?.digest);
  add(status?.pin?.tag, status?.pin?.digest);
  for (const { tag, images } of status?.quarantine ?? []) add(tag, images[0]?.digests[0]);
  for (const { spec } of rollouts.toReversed()) add(spec.images[0]?.tag, spec.images[0]?.digest);
  for (const image of goodImages(policy)) add(image.tag, image.digest);
  for (const { tag, digest } of status?.seen ?? []) add(tag, digest);
  return found;
}

/** Images that were good on a workload of the policy, the newest first. */
export function goodImages({ status }: ImagePolicy): KnownImage[] {
  return (status?.targets ?? [])
    .flatMap(({ good }) => good ?? [])
    .flatMap((text) => {
      const { tag, digest } = parseImage(text);
      return digest === undefined ? [] : [{ ...(tag !== undefined && { tag }), digest }];
    });
}

/** Throws UsageError when it is not on record, or stands for more than one digest. */
export function resolveReference(
  reference: string,
  policy: ImagePolicy,
  rollouts: readonly ImageRollout[],
): KnownImage {
  if (DIGEST.test(reference)) {
    return knownImages(policy, rollouts).find(({ digest }) => digest === reference) ?? { digest: reference };
  }
  const known = knownImages(policy, rollouts);
  const meant = [...new Set(known.filter(({ tag }) => tag === reference).map(({ digest }) => digest))];
  const [digest] = meant;
  if (digest === undefined) {
    const tags = [...new Set(known.flatMap(({ tag }) => tag ?? []))];
    const others = tags.length === 0 ? '' : ` (it knows ${tags.slice(0, 8).join(', ')})`;
    throw new UsageError(
      `Slipway has no digest of ${reference} on record for ${policy.metadata.name}${others}: give the digest, sha256:…`,
    );
  }
  if (meant.length > 1) {
    throw new UsageError(`${reference} was pushed more than once, so say which you mean: ${meant.join(' or ')}`);
  }
  return { tag: reference, digest };
}

/** The image that ran before what runs now. Throws UsageError when none is on record. */
export function previousImage(policy: ImagePolicy, rollouts: readonly ImageRollout[]): KnownImage {
  const current = policy.status?.current?.images[0]?.digest;
  const held = new Set(
    (policy.status?.quarantine ?? []).flatMap(({ images }) => images.flatMap(({ digests }) => digests)),
  );
  const earlier = [
    ...goodImages(policy),
    ...rollouts
      .toReversed()
      .flatMap(({ spec }) => spec.targets.flatMap(({ containers }) => containers.flatMap(({ back }) => back ?? [])))
      .flatMap((text) => {
        const { tag, digest } = parseImage(text);
        return digest === undefined ? [] : [{ ...(tag !== undefined && { tag }), digest }];
      }),
  ];
  const found = earlier.find(({ digest }) => digest !== current && !held.has(digest));
  if (found !== undefined) return found;
  throw new UsageError(
    `no image that ran before is on record for ${policy.metadata.name}: say which one, with --to <tag or digest>`,
  );
}

/** `v1.2.0 (sha256:0123…)` with the whole digest. */
export function nameImage({ tag, digest }: KnownImage): string {
  return tag === undefined ? digest : `${tag} (${digest})`;
}
