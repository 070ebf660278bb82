// The ledger of one policy: per container, the image that Slipway last accepted or wrote. It is kept in
// `status.targets` and brought up to date from the finished rollouts, so it survives a crash between a rollout's end and
// the policy's next status. Whatever differs from the ledger was set by somebody else.

import { MAX_GOOD_IMAGES, type ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import { isSameRepository } from '../../image/reference.ts';
import { isFinished, rolloutNumber, targetImageAfter } from '../../rollout/verdict.ts';
import { readImage, type TargetContainer } from './targets.ts';

export type LedgerEntry = NonNullable<ImagePolicyStatus['targets']>[number];

/** How a container's live image relates to the ledger. */
export type Standing =
  /** Met for the first time: what runs is accepted. */
  | 'adopted'
  /** As the ledger says. */
  | 'known'
  /** An unfinished rollout of this policy is moving it. */
  | 'moving'
  /** Somebody else set it. */
  | 'foreign';

export interface LedgerLine {
  readonly target: TargetContainer;
  readonly standing: Standing;
  /** What the ledger says after this look. */
  readonly entry: LedgerEntry;
}

function isSameDigest(entry: LedgerEntry, { image, container }: TargetContainer): boolean {
  const before = readImage(entry.image);
  if (entry.image === container.image || image?.digest === undefined || before === undefined) return false;
  return isSameRepository(before.repository, image.repository) && (before.digest ?? entry.digest) === image.digest;
}

/** The digest that runs; undefined while neither the image nor the pods tell. */
export function runningDigest({ target, entry }: LedgerLine): Digest | undefined {
  // What the pods told about one image says nothing about another that somebody set since.
  return (
    target.image?.digest ?? (entry.image === target.container.image ? (entry.digest as Digest | undefined) : undefined)
  );
}

/**
 * The lowest image of all lines; `compare` is positive when its first tag is the newer one. An image without a tag is the
 * lowest. Undefined when there is no line. With
 * `takesBack`, a foreign image does not count: what it is to be replaced by does not depend on it.
 */
export function findLowest(
  lines: readonly LedgerLine[],
  compare: (a: string, b: string) => number,
  takesBack: boolean,
): { readonly tag?: string; readonly digest?: Digest } | undefined {
  let lowest: { readonly tag?: string; readonly digest?: Digest } | undefined;
  // The digest is compared with candidates of `spec.image`; the images of companions share its tags alone.
  const inOrder = lines.toSorted((a, b) => a.target.part - b.target.part);
  for (const line of inOrder) {
    const isIgnored = takesBack && line.standing === 'foreign';
    const image = isIgnored ? readImage(line.entry.image) : line.target.image;
    const ownDigest = isIgnored ? (image?.digest ?? (line.entry.digest as Digest | undefined)) : runningDigest(line);
    const digest = line.target.part === 0 ? ownDigest : undefined;
    const tag = image?.tag;
    const least = lowest?.tag;
    if (lowest === undefined || (least !== undefined && (tag === undefined || compare(tag, least) < 0))) {
      lowest = { ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
    }
  }
  return lowest;
}

/** The image of the entry by digest, as far as one is known: what an undo can bring back whatever becomes of the tag. */
export function pinned({ image, digest }: Pick<LedgerEntry, 'image' | 'digest'>): string {
  return digest === undefined || readImage(image)?.digest !== undefined ? image : `${image}@${digest}`;
}

export interface LedgerSources {
  readonly recorded: readonly LedgerEntry[];
  /** All rollouts of the policy, in ascending order of their numbers. */
  readonly rollouts: readonly ImageRollout[];
  /** The digest that the pods of a container run; undefined while they do not agree or do not run. */
  readonly podDigest: (target: TargetContainer) => Digest | undefined;
  /**
   * The image that the policy last decided for, as Slipway writes it: where a container has it, Slipway wrote it, even if
   * the rollout that did so was deleted since.
   */
  readonly decided?: ((target: TargetContainer) => string | undefined) | undefined;
}

/** Reads the ledger. */
export function readLedger(targets: readonly TargetContainer[], sources: LedgerSources): LedgerLine[] {
  return targets.map((target) => readLine(target, sources));
}

function readLine(target: TargetContainer, { recorded, rollouts, podDigest, decided }: LedgerSources): LedgerLine {
  const { workload, container } = target;
  const uid = workload.metadata.uid;
  const identity = { kind: workload.kind, name: workload.metadata.name, uid, container: container.name };
  let entry: LedgerEntry | undefined = recorded.find((line) => line.uid === uid && line.container === container.name);
  let isMoving = false;
  /** What a rollout that only awaits a run has written; it is no result yet. */
  let awaited: string | undefined;
  for (const rollout of rollouts) {
    const index = rollout.spec.targets.findIndex((it) => it.uid === uid);
    const move = rollout.spec.targets[index]?.containers.find(({ name }) => name === container.name);
    if (move === undefined) continue;
    const number = rolloutNumber(rollout);
    if (!isFinished(rollout.status)) {
      if (rollout.status?.awaitsRun === true) awaited = move.to;
      else isMoving = true;
      continue;
    }
    if (number <= (entry?.rollout ?? 0)) continue;
    const before = entry ?? { ...identity, image: move.from };
    const left = targetImageAfter(rollout, index, container.name);
    // Where somebody else wrote exactly what the rollout was to write, it is what was wanted all the same.
    const image = left ?? (container.image === move.to && !isAtFault(rollout) ? move.to : undefined);
    entry = { ...(image === undefined ? before : setImage(before, image)), rollout: number };
    if (isProof(rollout, index)) entry = addGood(entry, move.to);
  }
  if (awaited !== undefined && !isMoving && entry !== undefined) entry = setImage(entry, awaited);
  const isFirstSight = entry === undefined;
  const decidedImage = decided?.(target);
  if (entry !== undefined && entry.image !== decidedImage && container.image === decidedImage)
    entry = setImage(entry, decidedImage);
  entry ??= { ...identity, image: container.image };
  // The same bytes under another name: nothing that matters was changed.
  if (isSameDigest(entry, target)) entry = { ...entry, image: container.image };
  const standing: Standing = isMoving
    ? 'moving'
    : isFirstSight
      ? 'adopted'
      : container.image === entry.image
        ? 'known'
        : 'foreign';
  const isAccepted = standing === 'adopted' || standing === 'known';
  if (isAccepted && entry.digest === undefined && target.image?.digest === undefined) {
    const digest = podDigest(target);
    if (digest !== undefined) entry = { ...entry, digest };
  }
  // What was found running counts as good once it is seen healthy; afterwards only rollouts prove anything.
  const isProven = isAccepted && awaited === undefined && workload.progress.kind === 'healthy';
  if (isProven && entry.good === undefined) entry = addGood(entry, pinned(entry));
  return { target, standing, entry };
}

/** The digest belonged to the image before. */
function setImage(entry: LedgerEntry, image: string): LedgerEntry {
  if (entry.image === image) return entry;
  const { digest: _, ...rest } = entry;
  return { ...rest, image };
}

/** What somebody else set is accepted as it is: a person said so. */
export function acceptForeign(line: LedgerLine): LedgerLine {
  const { target, standing, entry } = line;
  if (standing !== 'foreign') return line;
  return { target, standing: 'known', entry: setImage(entry, target.container.image) };
}

function addGood(entry: LedgerEntry, image: string): LedgerEntry {
  const others = (entry.good ?? []).filter((known) => known !== image);
  return { ...entry, good: [image, ...others].slice(0, MAX_GOOD_IMAGES) };
}

/**
 * Whether the rollout proved its image on this workload: healthy through the soak. Where some of the workloads did not run,
 * theirs says why, and the others are proven all the same.
 */
function isProof({ status }: ImageRollout, index: number): boolean {
  const target = status?.targets?.[index];
  const isUnproven = status?.unproven === true && target?.message !== undefined;
  return status?.state === 'Succeeded' && target?.state === 'Healthy' && !isUnproven;
}

function isAtFault({ status }: ImageRollout): boolean {
  return status?.failure !== undefined;
}
