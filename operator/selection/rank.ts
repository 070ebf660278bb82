// The first half of selection: the complete list of tags in, the few best candidates and a reason for every other tag
// out. Pure and linear: one pass, no sorting of the list, no memory per tag but one byte for its reason.

import { isArtifactTag } from './artifact.ts';
import type { Creation, KeyReader, TagOrder } from './orders/order.ts';
import { codeOfNumber, refusal, Refusal, type RejectionCode } from './rejection.ts';
import type { TagRules } from './tag-rules.ts';

/** At most this many candidates above the current tag are asked for their digests. */
export const MAX_EXAMINED = 5;
/** With a minimum age, this many tags above the current one can be waited for at a time. */
export const MAX_SEEN = 50;

/** Where a tag stands to the one that runs. */
export type Position = 'Above' | 'Current' | 'Below';

export interface RankedTag {
  readonly tag: string;
  /** What the order compared: the tag, or what `extract` made of it. */
  readonly value: string;
  readonly position: Position;
  /** The better tag that compares as equal. Equal tags rank by their bytes, so the list's order never matters. */
  readonly tiesWith?: string;
}

export interface RankOptions {
  /** The tag that runs. Absent: none, or it is not known by a tag; then every candidate is above it. */
  readonly current?: string | undefined;
  /**
   * Creation times of inspected tags, for the order `newest` only. The current tag's is needed too, read by its digest
   * where the tag is gone. One that can never be known is given as 0.
   */
  readonly created?: ReadonlyMap<string, Creation> | undefined;
  /** Tags that must stay among the candidates however many better ones there are: those whose age is being watched. */
  readonly watched?: ReadonlySet<string> | undefined;
  /** Makes the next ranking of nearly the same list cheap. */
  readonly memo?: MatchMemo | undefined;
}

/** The list of tags, judged. Holds the list itself; drop it when the next list has been ranked. */
export interface Ranking {
  readonly rules: TagRules;
  readonly tags: readonly string[];
  readonly current?: string;
  /** False: nothing runs, or what runs has no place in this order and counts as the lowest. */
  readonly isCurrentOrdered: boolean;
  /** How many tags took part in the ordering. */
  readonly considered: number;
  /** The best candidates first; all are above the current tag, and the current one closes the list if it qualifies. */
  readonly candidates: readonly RankedTag[];
  /** Candidates that are not above the current tag, best first. Only with `downgrade: Allowed`. */
  readonly fallbacks: readonly RankedTag[];
  /** Tags to inspect for their creation times before anything can be chosen. Only with `newest`. */
  readonly uninspected: readonly string[];
  /** Per tag, in the list's order, a `Refusal.number`; 0 for the current tag where it qualifies. */
  readonly reasons: Uint8Array;
}

/** What a tag is by itself, before it is compared with any other: a value with its key, or no candidate. */
type Reading = { readonly value: string; readonly key: unknown } | Refusal;

/**
 * What the rules made of each tag, kept by the caller between two listings of one repository. It serves one value of
 * TagRules, and is worth its memory for long lists only. Creation times are never remembered here.
 */
export class MatchMemo {
  #rules: TagRules | undefined;
  #readings = new Map<string, Reading>();

  /** The readings under these rules; forgets them when the rules changed or when most of them are of tags gone. */
  readingsFor(rules: TagRules, listLength: number): Map<string, Reading> {
    if (this.#rules !== rules || this.#readings.size > 2 * listLength + 1_000) this.#readings = new Map();
    this.#rules = rules;
    return this.#readings;
  }
}

/** A byte of a tag costs at most as many steps as its expressions have instructions; this many steps are one slice. */
const STEPS_PER_SLICE = 5_000_000;
const STEPS_WITHOUT_EXPRESSION = 10;

const NOT_NEWER = refusal('NotNewer');
const SUPERSEDED = refusal('Superseded');
const CREATION_TIME_UNKNOWN = refusal('CreationTimeUnknown');

/** Judges a complete list of tags. The order of the list does not matter. */
export function rankTags(rules: TagRules, tags: readonly string[], options: RankOptions = {}): Ranking {
  const judge = new Judge(rules, tags, options);
  for (let index = 0; index < tags.length;) index = judge.judgeSlice(index);
  return judge.result();
}

/**
 * The same in slices of some ten milliseconds: yields between them, so that a caller on an event loop can let others run
 * even where a list is long and its expression slow. Returns the ranking.
 */
export function* rankTagsInSlices(
  rules: TagRules,
  tags: readonly string[],
  options: RankOptions = {},
): Generator<undefined, Ranking> {
  const judge = new Judge(rules, tags, options);
  for (let index = 0; index < tags.length;) {
    index = judge.judgeSlice(index);
    if (index < tags.length) yield;
  }
  return judge.result();
}

/** One pass over one list. */
class Judge {
  readonly #rules: TagRules;
  readonly #tags: readonly string[];
  readonly #current: string | undefined;
  readonly #reader: KeyReader<unknown>;
  /** Undefined: every candidate is above. */
  readonly #currentKey: unknown;
  readonly #watched: ReadonlySet<string>;
  readonly #readings: Map<string, Reading> | undefined;
  readonly #stepsPerCharacter: number;
  readonly #reasons: Uint8Array;
  readonly #above: Podium;
  readonly #notAbove: Podium;
  readonly #uninspected = new Set<string>();
  #considered = 0;
  #currentValue: string | undefined;

  constructor(rules: TagRules, tags: readonly string[], options: RankOptions) {
    const { current, created = new Map<string, Creation>(), watched, memo } = options;
    this.#rules = rules;
    this.#tags = tags;
    this.#current = current;
    this.#reader = rules.order.startReading({ created, isMatched: (tag) => typeof match(rules, tag) === 'string' });
    this.#currentKey = current === undefined ? undefined : readCurrentKey(rules, this.#reader, current);
    this.#watched = watched ?? new Set();
    this.#readings = rules.needsCreationTimes ? undefined : memo?.readingsFor(rules, tags.length);
    this.#stepsPerCharacter = costPerCharacter(rules);
    this.#reasons = new Uint8Array(tags.length);
    this.#above = new Podium(rules.order, rules.minimumAgeMs > 0 ? MAX_SEEN + MAX_EXAMINED : MAX_EXAMINED);
    this.#notAbove = new Podium(rules.order, rules.allowsDowngrade ? MAX_EXAMINED : 0);
    // Without its own time what runs would count as the lowest, and an older image could replace it.
    if (rules.needsCreationTimes && current !== undefined && !created.has(current)) this.#uninspected.add(current);
  }

  /** Judges from a position on until a slice's worth of work is done; returns the position to go on from. */
  judgeSlice(from: number): number {
    const tags = this.#tags;
    const stepsPerCharacter = this.#stepsPerCharacter;
    let index = from;
    for (let steps = 0; index < tags.length && steps < STEPS_PER_SLICE; index += 1) {
      const tag = tags[index] ?? '';
      steps += tag.length * stepsPerCharacter;
      this.#reasons[index] = this.#judge(tag);
    }
    return index;
  }

  /** The number of the reason why the tag is not chosen, unless it turns out to be; 0 for the current tag. */
  #judge(tag: string): number {
    if (this.#readings) return this.#judgeFromMemory(tag, this.#readings);
    const value = match(this.#rules, tag);
    if (value instanceof Refusal) return value.number;
    const key: unknown = readKey(this.#rules, this.#reader, value, tag);
    if (key instanceof Refusal) {
      if (key === CREATION_TIME_UNKNOWN) this.#uninspected.add(tag);
      return key.number;
    }
    return this.#place(tag, value, key);
  }

  #judgeFromMemory(tag: string, readings: Map<string, Reading>): number {
    let reading = readings.get(tag);
    if (!reading) {
      const value = match(this.#rules, tag);
      const key: unknown = value instanceof Refusal ? value : readKey(this.#rules, this.#reader, value, tag);
      reading = key instanceof Refusal ? key : { value: value as string, key };
      readings.set(tag, reading);
    }
    return reading instanceof Refusal ? reading.number : this.#place(tag, reading.value, reading.key);
  }

  /** Compares a candidate with the current tag and offers it a place among the best. */
  #place(tag: string, value: string, key: unknown): number {
    this.#considered += 1;
    if (tag === this.#current) {
      this.#currentValue = value;
      return 0;
    }
    if (this.#currentKey === undefined || this.#rules.order.compare(key, this.#currentKey) > 0) {
      this.#above.offer(tag, value, key, this.#watched.size > 0 && this.#watched.has(tag));
      return SUPERSEDED.number;
    }
    this.#notAbove.offer(tag, value, key, false);
    return NOT_NEWER.number;
  }

  result(): Ranking {
    const current = this.#current;
    const candidates = this.#above.ranked('Above');
    if (current !== undefined && this.#currentValue !== undefined) {
      candidates.push({ tag: current, value: this.#currentValue, position: 'Current' });
    }
    return {
      rules: this.#rules,
      tags: this.#tags,
      ...(current !== undefined && { current }),
      isCurrentOrdered: this.#currentKey !== undefined,
      considered: this.#considered,
      candidates,
      fallbacks: this.#notAbove.ranked('Below'),
      uninspected: [...this.#uninspected].sort(),
      reasons: this.#reasons,
    };
  }
}

/**
 * Orders two tags that run, neither of which has to be a candidate: positive when `a` is the newer one. A tag that has no
 * place in the order is the lowest.
 */
export function compareRunningTags(
  rules: TagRules,
  a: string,
  b: string,
  created: ReadonlyMap<string, Creation> = new Map<string, Creation>(),
): number {
  const reader = rules.order.startReading({ created, isMatched: (tag) => typeof match(rules, tag) === 'string' });
  const left = readCurrentKey(rules, reader, a);
  const right = readCurrentKey(rules, reader, b);
  if (left === undefined || right === undefined) return Number(left !== undefined) - Number(right !== undefined);
  return rules.order.compare(left, right);
}

/** The reason at a position of `ranking.tags`; undefined for the current tag. */
export function reasonAt(ranking: Ranking, index: number): RejectionCode | undefined {
  return codeOfNumber(ranking.reasons[index] ?? 0);
}

function costPerCharacter(rules: TagRules): number {
  const expressions = rules.filter ? [rules.filter, ...rules.exclude] : rules.exclude;
  return expressions.reduce((total, { size }) => total + size, STEPS_WITHOUT_EXPRESSION);
}

/** What the order compares, or why the tag does not get that far. */
function match(rules: TagRules, tag: string): string | Refusal {
  if (isArtifactTag(tag)) return refusal('Artifact');
  for (const expression of rules.exclude) if (expression.test(tag)) return refusal('Excluded');
  const { filter, extract } = rules;
  if (!filter) return tag;
  if (!extract) return filter.test(tag) ? tag : refusal('NotMatched');
  const found = filter.match(tag);
  if (!found) return refusal('NotMatched');
  const value = extract(tag, found);
  return value === '' ? refusal('ExtractedEmpty') : value;
}

/**
 * Signs are let through so that orders of numbers can be tried offline. No registry holds such a tag and no workload can
 * name it, so `chooseCandidate` still refuses it.
 */
const PLAUSIBLE_TAG = /^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}$/;
const MAX_TAG_LENGTH = 128;

function readKey(rules: TagRules, reader: KeyReader<unknown>, value: string, tag: string): unknown {
  const key = reader.read(value, tag);
  if (key instanceof Refusal) return key;
  const isPlausible =
    rules.order.provesSpelling && !rules.extract ? tag.length <= MAX_TAG_LENGTH : PLAUSIBLE_TAG.test(tag);
  return isPlausible ? key : refusal('InvalidTag');
}

/** What runs is placed by what the filter extracts from it, or by the whole tag where the filter does not match. */
function readCurrentKey(rules: TagRules, reader: KeyReader<unknown>, current: string): unknown {
  const found = rules.extract && rules.filter?.match(current);
  const extracted = found && rules.extract(current, found);
  const key = extracted ? reader.readCurrent(extracted, current) : undefined;
  return key === undefined ? reader.readCurrent(current, current) : key;
}

interface Entry {
  readonly tag: string;
  readonly value: string;
  readonly key: unknown;
}

/** Keeps the best few of many without sorting the many, and the watched ones beside them. */
class Podium {
  readonly #order: TagOrder<unknown>;
  readonly #places: number;
  readonly #best: Entry[] = [];
  readonly #watched = new Map<string, Entry>();

  constructor(order: TagOrder<unknown>, places: number) {
    this.#order = order;
    this.#places = places;
  }

  offer(tag: string, value: string, key: unknown, isWatched: boolean): void {
    if (this.#places === 0) return;
    const best = this.#best;
    const last = best.length < this.#places ? undefined : best[this.#places - 1];
    if (!isWatched && last && this.#order.compare(key, last.key) < 0) return;
    const entry: Entry = { tag, value, key };
    if (isWatched) this.#watched.set(tag, entry);
    if (last && this.#rank(entry, last) >= 0) return;
    let place = best.length;
    while (place > 0 && this.#rank(entry, best[place - 1] as Entry) < 0) place -= 1;
    // A list may name a tag twice; equals are neighbours, and only the tag itself ranks as equal.
    if (best[place - 1]?.tag === entry.tag) return;
    best.splice(place, 0, entry);
    if (best.length > this.#places) best.pop();
  }

  ranked(position: Position): RankedTag[] {
    const entries = new Map(this.#watched);
    for (const entry of this.#best) entries.set(entry.tag, entry);
    const sorted = [...entries.values()].sort((a, b) => this.#rank(a, b));
    return sorted.map(({ tag, value, key }, index) => {
      const better = sorted.slice(0, index).find((other) => this.#order.compare(other.key, key) === 0);
      return { tag, value, position, ...(better && { tiesWith: better.tag }) };
    });
  }

  /** Negative when `a` comes first. Ties go to the tag that is lower in bytes: `1.2.3` before `1.2.3-debug` and `v1.2.3`. */
  #rank(a: Entry, b: Entry): number {
    const order = this.#order.compare(b.key, a.key);
    return order !== 0 ? order : a.tag === b.tag ? 0 : a.tag < b.tag ? -1 : 1;
  }
}
