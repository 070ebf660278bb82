// The ledger of one policy: per container, the image that Slipway last accepted or wrote. It is kept in
// `status.targets` and brought up to date from the finished rollouts, so it survives a crash between a rollout's end and
// the policy's next status. Whatever differs from the ledger was set by somebody else.

import type { ImagePolicyStatus } from '../../api/image-policy.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import type { Digest } from '../../image/digest.ts';
import { isSameRepository } from '../../image/reference.ts';
import { isFinished } from '../../rollout/state-machine.ts';
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
  for (const line of lines) {
    const isIgnored = takesBack && line.standing === 'foreign';
    const image = isIgnored ? readImage(line.entry.image) : line.target.image;
    const digest = isIgnored ? (image?.digest ?? (line.entry.digest as Digest | undefined)) : runningDigest(line);
    const tag = image?.tag;
    const least = lowest?.tag;
    if (lowest === undefined || (least !== undefined && (tag === undefined || compare(tag, least) < 0))) {
      lowest = { ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
    }
  }
  return lowest;
}

/** The number at the end of `<policy>-<n>`, or 0 when the name has none. */
export function rolloutNumber(rollout: Pick<ImageRollout, 'metadata'>): number {
  return Number(/-([0-9]{1,15})$/.exec(rollout.metadata.name)?.[1] ?? 0);
}

/** What a rollout did, or will do, to one container; undefined when it does not touch it. */
export function findMove(
  rollout: ImageRollout,
  uid: string,
  container: string,
):
  | {
      readonly from: string;
      readonly to: string;
      readonly wrote: boolean;
      readonly failed: boolean;
      readonly message: string;
    }
  | undefined {
  const index = rollout.spec.targets.findIndex((target) => target.uid === uid);
  const move = rollout.spec.targets[index]?.containers.find(({ name }) => name === container);
  if (move === undefined) return undefined;
  const status = rollout.status?.targets?.[index];
  return {
    from: move.from,
    to: move.to,
    wrote:
      status !== undefined &&
      (status.state === 'Applied' || status.state === 'Healthy' || status.appliedTime !== undefined),
    failed: rollout.status?.state === 'Held' && status?.state === 'Failed',
    message: status?.message ?? rollout.status?.message ?? '',
  };
}

/**
 * Reads the ledger. `rollouts` are all rollouts of the policy, in ascending order of their numbers. `podDigest` tells
 * which digest the pods of a container run, undefined while they do not agree or do not run. `decided` is the image that
 * the policy last decided for, as Slipway writes it: where a container has it, Slipway wrote it, even if the rollout that
 * did so was deleted since.
 */
export function readLedger(
  targets: readonly TargetContainer[],
  recorded: readonly LedgerEntry[],
  rollouts: readonly ImageRollout[],
  podDigest: (target: TargetContainer) => Digest | undefined,
  decided?: string,
): LedgerLine[] {
  return targets.map((target): LedgerLine => {
    const { workload, container } = target;
    const uid = workload.metadata.uid;
    const identity = { kind: workload.kind, name: workload.metadata.name, uid, container: container.name };
    let entry: LedgerEntry | undefined = recorded.find((line) => line.uid === uid && line.container === container.name);
    let isMoving = false;
    for (const rollout of rollouts) {
      const move = findMove(rollout, uid, container.name);
      if (move === undefined) continue;
      const isUnfinished = !isFinished(rollout.status);
      isMoving ||= isUnfinished;
      const number = rolloutNumber(rollout);
      if (isUnfinished || number <= (entry?.rollout ?? 0)) continue;
      // Where somebody else wrote exactly what the rollout was to write, it is what was wanted all the same.
      if (move.wrote || container.image === move.to) entry = { ...identity, image: move.to, rollout: number };
      else entry = { ...(entry ?? { ...identity, image: move.from }), rollout: number };
    }
    const isFirstSight = entry === undefined;
    if (entry !== undefined && entry.image !== decided && container.image === decided) {
      entry = { ...identity, image: decided, ...(entry.rollout !== undefined && { rollout: entry.rollout }) };
    }
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
    if (
      entry.digest === undefined &&
      target.image?.digest === undefined &&
      (standing === 'adopted' || standing === 'known')
    ) {
      const digest = podDigest(target);
      if (digest !== undefined) entry = { ...entry, digest };
    }
    return { target, standing, entry };
  });
}
