// Reads lists of tags in the forms in which people have them.

import type { Creation } from '../selection/orders/order.ts';
import { parseTimestampMs } from '../time/duration.ts';
import { UsageError } from './context.ts';

export interface TagList {
  readonly tags: readonly string[];
  /** Creation times, where the list states them. */
  readonly created: ReadonlyMap<string, Creation>;
}

/** One tag per line, or JSON: an array, or an object with `tags`. Throws UsageError. */
export function readTags(text: string): TagList {
  const trimmed = text.trim();
  if (!trimmed.startsWith('[') && !trimmed.startsWith('{')) {
    const tags = trimmed.split(/\r?\n/).map((line) => line.trim());
    return { tags: tags.filter((tag) => tag !== ''), created: new Map() };
  }
  try {
    return toTagList(JSON.parse(trimmed));
  } catch (thrown) {
    if (thrown instanceof UsageError) throw thrown;
    throw new UsageError(`the list of tags is not JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** The same from a parsed value. An entry is a tag or `{ tag, created?, digest? }`. Throws UsageError. */
export function toTagList(value: unknown): TagList {
  const list: unknown = isObject(value) ? value['tags'] : value;
  if (!Array.isArray(list)) throw new UsageError('tags must be a list, or an object with a list called tags');
  const created = new Map<string, Creation>();
  const tags = list.map((entry: unknown, index): string => {
    if (typeof entry === 'string') return entry;
    const tag = isObject(entry) ? entry['tag'] : undefined;
    if (!isObject(entry) || typeof tag !== 'string') {
      throw new UsageError(`tags[${index}] must be a tag or {"tag": …, "created": …}`);
    }
    const timeMs = typeof entry['created'] === 'string' ? parseTimestampMs(entry['created']) : undefined;
    const digest = typeof entry['digest'] === 'string' ? entry['digest'] : `unknown digest of ${tag}`;
    if (timeMs !== undefined) created.set(tag, { timeMs, digest });
    return tag;
  });
  return { tags, created };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
