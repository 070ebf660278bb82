// The record of a move, written before anything moves: what, where, why, by whose leave, and what an undo would bring back.

import {
  MAX_ATTEMPTS,
  ROLLOUT_TRIGGERS,
  type ImageRolloutSpec,
  type RolloutTarget,
  type RolloutTrigger,
} from '../../api/image-rollout.ts';
import { shortDigest } from '../../image/digest.ts';
import { describeRejection } from '../../rollout/decisions.ts';
import { findQuarantine } from '../../rollout/quarantine.ts';
import { toTimestamp } from '../../time/duration.ts';
import { pinned, runningDigest, type LedgerLine } from './ledger.ts';
import { findGood, isHeld, type Move } from './moves.ts';
import type { PolicyObservation } from './observation.ts';
import { findHold, type Orders } from './orders.ts';
import { readImage } from './targets.ts';
import type { Candidate } from './walk.ts';
import { aliasesOf, digestIn, recognize, type Wanted } from './wanted.ts';

export interface NewRollout {
  readonly name: string;
  readonly number: number;
  readonly spec: ImageRolloutSpec;
}

/** `moves` of the candidate is not empty. */
export function newRollout(observation: PolicyObservation, orders: Orders, candidate: Candidate): NewRollout {
  const { policy, highestNumber, nowMs } = observation;
  const { moves, gates } = candidate;
  const number = Math.max(policy.status?.lastRollout ?? 0, highestNumber) + 1;
  const release = findRelease(observation, orders, candidate.wanted);
  const trigger = chooseTrigger(observation, candidate, release !== undefined);
  const { rollout, pin } = policy.spec;
  // Whatever moves while an image is pinned moves to it, also where a foreign change is taken back.
  const isPersons = pin !== undefined || trigger === 'Reject';
  const message = describeDecision(observation, orders, candidate, trigger);
  const images = describeImages(observation, moves, candidate.wanted);
  const decisions = [...(release === undefined ? [] : [release]), ...findOverruled(observation, images)].slice(0, 16);
  return {
    name: `${policy.metadata.name}-${number}`,
    number,
    spec: {
      policy: { name: policy.metadata.name, uid: policy.metadata.uid, generation: policy.metadata.generation ?? 0 },
      direction: trigger === 'Reject' || (pin !== undefined && isBackward(observation, moves)) ? 'Back' : 'Forward',
      trigger,
      attempt: Math.min(candidate.attempt, MAX_ATTEMPTS),
      ...(pin !== undefined && {
        pin: {
          ...(pin.tag !== undefined && { tag: pin.tag }),
          ...(pin.digest !== undefined && { digest: pin.digest }),
        },
      }),
      ...(decisions.length > 0 && { decisions }),
      images,
      targets: describeTargets(observation, orders, moves),
      settings: {
        progressDeadline: rollout.progressDeadline,
        soak: rollout.soak,
        onFailure: isPersons ? 'Hold' : rollout.onFailure,
        atomic: rollout.atomic,
        ...(rollout.verify !== undefined && { verify: rollout.verify }),
      },
      decision: {
        time: toTimestamp(nowMs),
        message: message.slice(0, 1024).toWellFormed(),
        gates: [
          ...gates.verdicts.map(({ gate, message: evidence }) => ({
            gate,
            answer: 'Open' as const,
            message: evidence,
          })),
          ...gates.notEnforced.map((gate) => ({
            gate,
            answer: 'NotEnforced' as const,
            message:
              trigger === 'Reject' ? 'not asked: a person rejected what ran' : 'not asked: a person pinned the image',
          })),
        ],
      },
    },
  };
}

/** The release that lets an image out of quarantine once more; undefined when it needs none, or it is used up. */
function findRelease(observation: PolicyObservation, { quarantine }: Orders, wanted: Wanted): string | undefined {
  const images = recognize(observation, wanted);
  const held = findQuarantine(
    images,
    quarantine.map(({ releasedTime: _, ...entry }) => entry),
  );
  if (held === undefined) return undefined;
  const used = new Set(observation.rollouts.flatMap(({ spec }) => spec.decisions ?? []));
  return images
    .flatMap(({ digests }) => digests)
    .map((digest) => observation.decisions.releases.get(digest)?.uid)
    .find((uid) => uid !== undefined && !used.has(uid));
}

/** Rejections that were known when a person pinned the image all the same: they do not end this rollout. */
function findOverruled(
  { decisions: { rejections } }: PolicyObservation,
  images: ImageRolloutSpec['images'],
): readonly string[] {
  const made = images.flatMap(({ digest, digests = [] }) => [digest, ...digests].map((it) => rejections.get(it)?.uid));
  return [...new Set(made.filter((uid) => uid !== undefined))];
}

function chooseTrigger(
  { rollouts }: PolicyObservation,
  { moves, attempt }: Candidate,
  isReleased: boolean,
): RolloutTrigger {
  const triggers = new Set(moves.map(({ trigger }) => trigger));
  const first = (['Pin', 'Reject', 'Reassert'] as const).find((it) => triggers.has(it));
  if (first !== undefined) return first;
  if (isReleased) return 'Release';
  if (attempt > 1) return 'Retry';
  if (rollouts.at(-1)?.spec.trigger === 'Pin') return 'Unpin';
  return ROLLOUT_TRIGGERS.find((it) => triggers.has(it)) ?? 'NewTag';
}

/** Whether a pinned tag is one that ran before what runs now. */
function isBackward({ isAbove }: PolicyObservation, moves: readonly Move[]): boolean {
  return moves.some(({ line, to }) => {
    const running = line.target.image?.tag;
    const wanted = readImage(to)?.tag;
    return running !== undefined && wanted !== undefined && running !== wanted && isAbove(running, wanted);
  });
}

/** Every image of the change, and by which digests it would be recognised in quarantine. */
function describeImages(
  observation: PolicyObservation,
  moves: readonly Move[],
  wanted: Wanted,
): ImageRolloutSpec['images'] {
  const distinct = new Map<string, ImageRolloutSpec['images'][number]>();
  const add = (part: number, tag: string | undefined, digest: string): void => {
    const image = observation.images[part] ?? '';
    const key = `${image}@${digest}`;
    if (distinct.has(key)) return;
    const left = new Set(
      moves
        .filter(({ line }) => line.target.part === part)
        .map(({ line }) => runningDigest(line))
        .flatMap((running) => (running === undefined ? [] : aliasesOf(observation, part, running))),
    );
    const isMoved = moves.some((move) => move.line.target.part === part && move.digest === digest);
    distinct.set(key, {
      image,
      ...(tag !== undefined && { tag }),
      digest,
      digests: isMoved
        ? aliasesOf(observation, part, digest)
            .filter((alias) => !left.has(alias))
            .slice(0, 32)
        : [],
    });
  };
  for (const [part, digest] of wanted.digests.entries()) if (digest !== undefined) add(part, wanted.tag, digest);
  for (const { line, to, digest } of moves) add(line.target.part, readImage(to)?.tag, digest);
  return [...distinct.values()].slice(0, 8);
}

function describeTargets(observation: PolicyObservation, orders: Orders, moves: readonly Move[]): RolloutTarget[] {
  const targets = new Map<string, RolloutTarget>();
  for (const move of moves) {
    const { workload, container } = move.line.target;
    const { uid, name } = workload.metadata;
    const target = targets.get(uid) ?? { kind: workload.kind, name, uid, containers: [] };
    const back = findBack(observation, orders, move);
    const lastGood = findGood(observation, orders, move.line).find((image) => digestIn(image) !== move.digest);
    target.containers.push({
      name: container.name,
      init: container.init,
      from: container.image,
      to: move.to,
      ...(back !== undefined && { back }),
      ...(lastGood !== undefined && { lastGood }),
    });
    targets.set(uid, target);
  }
  return [...targets.values()];
}

/** What restores the image before; undefined when it must not come back, or would not be another one. */
function findBack(observation: PolicyObservation, orders: Orders, { line, digest, to }: Move): string | undefined {
  const running = runningDigest(line);
  if (running === digest || isHeldAsWhole(observation, orders, line)) return undefined;
  const image = pinned({ image: line.target.container.image, ...(running !== undefined && { digest: running }) });
  const isUnknown = running === undefined && readImage(image)?.tag === readImage(to)?.tag;
  return isUnknown ? undefined : image;
}

function isHeldAsWhole(observation: PolicyObservation, orders: Orders, line: LedgerLine): boolean {
  if (isHeld(observation, orders, line.target.part, runningDigest(line))) return true;
  const all = observation.lines.flatMap((other) => {
    const digest = runningDigest(other);
    const { part } = other.target;
    return digest === undefined
      ? []
      : [{ image: observation.images[part] ?? '', digests: aliasesOf(observation, part, digest) }];
  });
  const hold = findHold(orders, all);
  return hold !== undefined && hold !== 'Older' && hold.images.length > 1;
}

function describeDecision(
  { lowest, found, policy }: PolicyObservation,
  { rejectedLines }: Orders,
  { eligible, wanted, attempt }: Candidate,
  trigger: RolloutTrigger,
): string {
  const tags = found?.tags;
  const among = tags === undefined ? '' : `, the best of ${tags.considered} tags that take part (${tags.total} listed)`;
  const running = lowest?.tag ?? (lowest?.digest === undefined ? undefined : shortDigest(lowest.digest));
  const digest = shortDigest(wanted.digests[0] ?? '');
  const what = wanted.tag === undefined ? digest : `${wanted.tag} at ${digest}`;
  switch (trigger) {
    case 'NewTag':
      return eligible?.position === 'Below'
        ? `${what}${among}: the running tag ${running ?? ''} is gone from the registry, and downgrade is Allowed`
        : `${what} is newer than ${running ?? 'what runs'}${among}`;
    case 'NewDigest':
      return `${what}: the tag was pushed again`;
    case 'NewTarget':
      return `${what} is selected already, and a workload does not run it yet`;
    case 'Reassert':
      return `${what} is selected, and somebody else changed the image (onForeignChange: Reassert)`;
    case 'Pin':
      return `${what} is pinned${policy.spec.pin?.reason === undefined ? '' : `: ${policy.spec.pin.reason}`}`;
    case 'Unpin':
      return `${what} is the best tag now that nothing is pinned${among}`;
    case 'Reject': {
      const [made] = rejectedLines.values();
      return `${running ?? 'what ran'} was ${made === undefined ? 'rejected' : describeRejection(made)}; ${what} is the last good image`;
    }
    case 'Release':
      return `${what} was released from quarantine for one more attempt`;
    case 'Retry':
      return `${what}, attempt ${attempt}: the last one failed for reasons outside of the image`;
  }
}
