// What never rolls out again by itself. An entry comes from a rollout that failed through the fault of its image, or from
// a person's rejection of what ran; it ends by a person's release and by nothing else. Entries are kept in the status of
// the policy and, until that is written, read from the rollouts themselves, so a crash in between forgets none.

import type { QuarantineEntry } from '../api/image-policy.ts';
import type { ImageRollout } from '../api/kinds.ts';
import { isSameRepository, parseRepository } from '../image/reference.ts';
import { parseTimestampMs, toTimestamp } from '../time/duration.ts';
import type { Decisions } from './decisions.ts';
import { failureOf, isQuarantining } from './verdict.ts';

const MAX_MESSAGE_LENGTH = 512;

/** An image as quarantine sees it: the digest of the tag and those of its platforms. */
export interface RecognizedImage {
  /** The repository, as the policy writes it. */
  readonly image: string;
  readonly digests: readonly string[];
}

/** What this rollout puts into quarantine; undefined when it puts nothing there. */
export function entryOf(rollout: ImageRollout): QuarantineEntry | undefined {
  const { metadata, spec, status } = rollout;
  const failure = failureOf(rollout);
  if (failure === undefined || !isQuarantining(rollout)) return undefined;
  const brought = spec.images
    .map(({ image, digest, digests }) => ({ image, digests: [...(digests ?? [digest])] }))
    // What is unchanged is innocent.
    .filter(({ digests }) => digests.length > 0);
  const [first] = spec.images;
  if (brought.length === 0) return undefined;
  return {
    images: brought,
    ...(first?.tag !== undefined && { tag: first.tag }),
    cause: failure.class === 'Environment' ? 'Environment' : failure.reason === 'Rejected' ? 'Rejected' : 'Image',
    message: failure.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed(),
    rollout: metadata.name,
    sinceTime: status?.endTime ?? failure.time,
  };
}

/** Whether it is in force: nobody has released it. */
export function isLive(entry: QuarantineEntry): boolean {
  return entry.releasedTime === undefined;
}

/**
 * The entries of one policy, newest first: those on record, those of its rollouts, those for rejected images that ran.
 * A release marks an entry that is older than itself, unless the entry's own rollout already used that release up. A
 * released entry is forgotten when nothing would bring it back.
 */
export function collectEntries(options: {
  readonly recorded: readonly QuarantineEntry[];
  readonly rollouts: readonly ImageRollout[];
  readonly rejected: readonly QuarantineEntry[];
  readonly decisions: Pick<Decisions, 'releases'>;
}): QuarantineEntry[] {
  const { recorded, rollouts, rejected, decisions } = options;
  const entries = new Map<string, QuarantineEntry>();
  for (const entry of recorded) entries.set(keyOf(entry), entry);
  const sources = new Set(rejected.map(keyOf));
  for (const rollout of rollouts) {
    const entry = entryOf(rollout);
    if (entry === undefined) continue;
    sources.add(keyOf(entry));
    const known = entries.get(keyOf(entry));
    entries.set(
      keyOf(entry),
      known?.releasedTime === undefined ? entry : { ...entry, releasedTime: known.releasedTime },
    );
  }
  for (const entry of rejected) if (!entries.has(keyOf(entry))) entries.set(keyOf(entry), entry);
  return [...entries.values()]
    .map((entry) => release(entry, rollouts, decisions))
    .filter((entry) => isLive(entry) || sources.has(keyOf(entry)))
    .sort((a, b) => (a.sinceTime === b.sinceTime ? compare(keyOf(a), keyOf(b)) : compare(b.sinceTime, a.sinceTime)));
}

function release(
  entry: QuarantineEntry,
  rollouts: readonly ImageRollout[],
  { releases }: Pick<Decisions, 'releases'>,
): QuarantineEntry {
  if (!isLive(entry)) return entry;
  const { decisions: usedUp = [], images: moved = [] } =
    rollouts.find(({ metadata }) => metadata.name === entry.rollout)?.spec ?? {};
  // People speak of the whole by the digest of the first image, also where only a companion is held.
  const whole = moved.slice(0, 1).map(({ digest }) => digest);
  const sinceMs = parseTimestampMs(entry.sinceTime) ?? 0;
  for (const digest of [...entry.images.flatMap(({ digests }) => digests), ...whole]) {
    const given = releases.get(digest);
    if (given !== undefined && given.timeMs >= sinceMs && !usedUp.includes(given.uid))
      return { ...entry, releasedTime: toTimestamp(given.timeMs) };
  }
  return entry;
}

/** The entry that holds these images back; undefined when none does. Every image of an entry must be among them. */
export function findQuarantine(
  images: readonly RecognizedImage[],
  entries: readonly QuarantineEntry[],
): QuarantineEntry | undefined {
  return entries.find(
    (entry) =>
      isLive(entry) &&
      entry.images.every((held) =>
        images.some(
          ({ image, digests }) =>
            isSameImageName(image, held.image) && held.digests.some((digest) => digests.includes(digest)),
        ),
      ),
  );
}

/** Two policies may spell one repository differently. */
function isSameImageName(a: string, b: string): boolean {
  return a === b || isSameRepository(parseRepository(a), parseRepository(b));
}

/** One entry per rollout, and one per rejected image. */
function keyOf({ rollout, images }: QuarantineEntry): string {
  return rollout ?? JSON.stringify(images.map(({ image, digests }) => [image, digests[0]]));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
