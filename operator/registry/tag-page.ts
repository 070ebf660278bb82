// One page of `tags/list`: the whole of it is good, or none of it. A page with a single odd entry is not trusted with the
// rest. Pure.
// @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags

import { isUtf8 } from 'node:buffer';
import { isTag, type Tag } from '../image/tag.ts';
import { registryError } from './problem.ts';

/**
 * The tags of a page, as listed; undefined where the registry wrote `null`, which some do for a repository whose tags are
 * all gone. Throws `InvalidResponse` for everything that is not a list of valid tags.
 */
export function parseTagPage(body: Buffer): readonly Tag[] | undefined {
  if (!isUtf8(body)) throw invalid('is not UTF-8');
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw invalid('is not whole or not JSON', cause);
  }
  if (typeof document !== 'object' || document === null || !('tags' in document)) throw invalid('has no "tags"');
  if ('errors' in document) throw invalid('holds errors');
  const { tags } = document;
  if (tags === null) return undefined;
  if (!Array.isArray(tags)) throw invalid('has "tags" that are not a list');
  if (!tags.every((tag): tag is Tag => typeof tag === 'string' && isTag(tag)))
    throw invalid('holds something that is not a tag');
  return tags;
}

function invalid(why: string, cause?: unknown): Error {
  return registryError('InvalidResponse', `A page of the list ${why}; nothing of the list is used`, { cause });
}
