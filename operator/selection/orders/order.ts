// What an order of tags is. Adding one: a file here, a line in index.ts, a member of `spec.tags`.

import type { Refusal } from '../rejection.ts';

/** When an image was built, as it says itself. */
export interface Creation {
  readonly timeMs: number;
  /** Which image it is, by digest: tells two names of one image from two images of one second. */
  readonly digest: string;
}

/** What an order may look at besides the tag. */
export interface ReadingContext {
  /** Creation times by tag; a tag without an entry has not been inspected yet. */
  readonly created: ReadonlyMap<string, Creation>;
  /** Whether the tag gets past the exclusions and the filter. */
  readonly isMatched: (tag: string) => boolean;
}

/** Turns values into keys. `value` is what `extract` made of the tag, or the tag itself. */
export interface KeyReader<Key> {
  /** The key of a candidate, or why it cannot be one. */
  read(value: string, tag: string): Key | Refusal;
  /**
   * The key of what runs now. Its range, variant and the like are not asked: an image may run that is no candidate.
   * Undefined where it has no place in this order.
   */
  readCurrent(value: string, tag: string): Key | undefined;
}

export interface TagOrder<Key> {
  startReading(context: ReadingContext): KeyReader<Key>;
  /** Positive when `a` is the newer one, zero when they tie. */
  compare(a: Key, b: Key): number;
  /** Whether a value that has a key is made of characters that a tag can have. */
  readonly provesSpelling: boolean;
  /** What it takes to be considered, to follow "wanted:" in a sentence. */
  readonly wanted: string;
}

export type Direction = 'Ascending' | 'Descending';
