// Which digest a person means by a tag, a digest or "previous": looked up in what Slipway has on record about the policy, so
// that a decision is about the very bytes that were seen there.

import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { isSameRepository, parseImage, parseRepository } from '../../image/reference.ts';
import { isFinished } from '../../rollout/verdict.ts';
import { UsageError } from '../context.ts';

export interface KnownImage {
  readonly tag?: string;
  /** That of `spec.image`. */
  readonly digest: string;
}

/** The digests of an image and of what moves with it, as far as that is on record. */
export function wholeOf(
  { digest }: KnownImage,
  { status }: ImagePolicy,
  rollouts: readonly ImageRollout[],
): readonly string[] {
  const candidate = status?.candidate?.digest === digest ? status.candidate.companions : undefined;
  const moved = rollouts.findLast(({ spec }) => spec.images[0]?.digest === digest)?.spec.images.slice(1);
  return [...new Set([digest, ...(candidate ?? moved ?? []).map((companion) => companion.digest)])];
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
  // A companion alone may be in quarantine; people and records speak of the whole by the digest of spec.image.
  for (const { tag, images, rollout } of status?.quarantine ?? []) {
    const whole = rollouts.find(({ metadata }) => metadata.name === rollout)?.spec.images[0]?.digest;
    add(tag, whole ?? images.find(({ image }) => isOwn(policy, image))?.digests[0]);
  }
  for (const { spec } of rollouts.toReversed()) add(spec.images[0]?.tag, spec.images[0]?.digest);
  for (const image of goodImages(policy)) add(image.tag, image.digest);
  for (const { tag, digest } of status?.seen ?? []) add(tag, digest);
  return found;
}

/** Images of `spec.image` that were good on a workload of the policy, the newest first. */
export function goodImages(policy: ImagePolicy): KnownImage[] {
  return ownImages(
    policy,
    (policy.status?.targets ?? []).flatMap(({ good }) => good ?? []),
  );
}

/** Those of the repository that the policy follows, by digest; its companions' are left out. */
function ownImages(policy: ImagePolicy, images: readonly string[]): KnownImage[] {
  return images.flatMap((text) => {
    const { repository, tag, digest } = parseImage(text);
    const isUseful = digest !== undefined && isSameRepository(repository, parseRepository(policy.spec.image));
    return isUseful ? [{ ...(tag !== undefined && { tag }), digest }] : [];
  });
}

function isOwn({ spec }: ImagePolicy, image: string): boolean {
  return isSameRepository(parseRepository(image), parseRepository(spec.image));
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

/**
 * The image that ran before the last forward rollout brought, or is bringing, what runs now. Throws UsageError when none is
 * on record, and when it was gone back already: doing it twice must not bring back what was left.
 */
export function previousImage(policy: ImagePolicy, rollouts: readonly ImageRollout[]): KnownImage {
  const { name } = policy.metadata;
  const { pin } = policy.spec;
  const remedy = 'say which one, with --to <tag or digest>';
  if (pin !== undefined)
    throw new UsageError(
      `${name} is pinned to ${pin.tag ?? pin.digest ?? ''} already. If another image is meant, ${remedy}`,
    );
  const last = rollouts.findLast(({ spec, status }) => spec.direction === 'Forward' && status?.state !== 'Aborted');
  if (last?.status?.state === 'RolledBack') {
    const what = last.spec.images[0]?.tag ?? last.metadata.name;
    throw new UsageError(
      `${name} went back from ${what} by itself (${last.metadata.name}). If an older image is meant, ${remedy}`,
    );
  }
  const held = new Set(
    (policy.status?.quarantine ?? []).flatMap(({ images }) => images.flatMap(({ digests }) => digests)),
  );
  const containers = (last?.spec.targets ?? []).flatMap((target) => target.containers);
  const before = [
    ...ownImages(
      policy,
      containers.flatMap(({ back }) => back ?? []),
    ),
    ...ownImages(
      policy,
      containers.flatMap(({ lastGood }) => lastGood ?? []),
    ),
  ];
  const left = new Set(last?.spec.images.map(({ digest }) => digest));
  // While it is on its way, some workloads still run what is meant.
  const isMoving = last !== undefined && !isFinished(last.status);
  const current = isMoving ? undefined : policy.status?.current?.images[0]?.digest;
  const found = [...before, ...goodImages(policy)].find(
    ({ digest }) => digest !== current && !left.has(digest) && !held.has(digest),
  );
  if (found !== undefined) return found;
  throw new UsageError(`no image that ran before is on record for ${name}: ${remedy}`);
}

/** `v1.2.0 (sha256:0123…)` with the whole digest. */
export function nameImage({ tag, digest }: KnownImage): string {
  return tag === undefined ? digest : `${tag} (${digest})`;
}
