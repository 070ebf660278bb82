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

/**
 * What filter and extract made of each tag, kept by the caller between two listings of one repository under one value of
 * TagRules. Worth its memory for long lists only.
 */
export class MatchMemo {
  #rules: TagRules | undefined;
  #values = new Map<string, string | Refusal>();

  /** The remembered values for these rules; forgets them when the rules changed or when most of them are of tags gone. */
  valuesFor(rules: TagRules, listLength: number): Map<string, string | Refusal> {
    if (this.#rules !== rules || this.#values.size > 2 * listLength + 1_000) this.#values = new Map();
    this.#rules = rules;
    return this.#values;
  }
}

/** A byte of a tag costs at most as many steps as its expressions have instructions; this many steps are one slice. */
const STEPS_PER_SLICE = 5_000_000;
const STEPS_WITHOUT_EXPRESSION = 10;

/** Judges a complete list of tags. The order of the list does not matter. */
export function rankTags(rules: TagRules, tags: readonly string[], options: RankOptions = {}): Ranking {
  const ranker = rankTagsInSlices(rules, tags, options);
  for (;;) {
    const step = ranker.next();
    if (step.done) return step.value;
  }
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
  const { current, created = new Map<string, Creation>(), watched, memo } = options;
  const reader = rules.order.startReading({ created, isMatched: (tag) => typeof match(rules, tag) === 'string' });
  const currentKey: unknown = current === undefined ? undefined : readCurrentKey(rules, reader, current);
  const above = new Podium(rules.order, rules.minimumAgeMs > 0 ? MAX_SEEN + MAX_EXAMINED : MAX_EXAMINED);
  const notAbove = new Podium(rules.order, rules.allowsDowngrade ? MAX_EXAMINED : 0);
  const values = memo?.valuesFor(rules, tags.length);
  const reasons = new Uint8Array(tags.length);
  const notNewer = refusal('NotNewer').number;
  const superseded = refusal('Superseded').number;
  const stepsPerCharacter = costPerCharacter(rules);
  const uninspected = new Set<string>();
  // Without its own time what runs would count as the lowest, and an older image could replace it.
  if (rules.needsCreationTimes && current !== undefined && !created.has(current)) uninspected.add(current);
  let considered = 0;
  let currentValue: string | undefined;
  let steps = 0;

  for (let index = 0; index < tags.length; index += 1) {
    const tag = tags[index] ?? '';
    const value = values ? matchOnce(rules, tag, values) : match(rules, tag);
    steps += tag.length * stepsPerCharacter;
    if (steps > STEPS_PER_SLICE) {
      steps = 0;
      yield;
    }
    const key: unknown = typeof value === 'string' ? readKey(reader, value, tag) : value;
    if (key instanceof Refusal) {
      reasons[index] = key.number;
      if (key.code === 'CreationTimeUnknown') uninspected.add(tag);
      continue;
    }
    considered += 1;
    const entry: Entry = { tag, value: value as string, key };
    if (tag === current) {
      currentValue = entry.value;
    } else if (currentKey === undefined || rules.order.compare(key, currentKey) > 0) {
      reasons[index] = superseded;
      above.offer(entry, watched?.has(tag) === true);
    } else {
      reasons[index] = notNewer;
      notAbove.offer(entry, false);
    }
  }

  const candidates = above.ranked('Above');
  if (current !== undefined && currentValue !== undefined) {
    candidates.push({ tag: current, value: currentValue, position: 'Current' });
  }
  return {
    rules,
    tags,
    ...(current !== undefined && { current }),
    isCurrentOrdered: currentKey !== undefined,
    considered,
    candidates,
    fallbacks: notAbove.ranked('Below'),
    uninspected: [...uninspected].sort(),
    reasons,
  };
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

function matchOnce(rules: TagRules, tag: string, values: Map<string, string | Refusal>): string | Refusal {
  const known = values.get(tag);
  if (known !== undefined) return known;
  const value = match(rules, tag);
  values.set(tag, value);
  return value;
}

/**
 * Signs are let through so that orders of numbers can be tried offline. No registry holds such a tag and no workload can
 * name it, so `chooseCandidate` still refuses it.
 */
const PLAUSIBLE_TAG = /^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}$/;

function readKey(reader: KeyReader<unknown>, value: string, tag: string): unknown {
  const key = reader.read(value, tag);
  return key instanceof Refusal || PLAUSIBLE_TAG.test(tag) ? key : refusal('InvalidTag');
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

  offer(entry: Entry, isWatched: boolean): void {
    if (isWatched) this.#watched.set(entry.tag, entry);
    const best = this.#best;
    const last = best.at(-1);
    if (best.length === this.#places && (!last || this.#rank(entry, last) >= 0)) return;
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
