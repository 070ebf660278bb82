// `tags/list`, every page or an error: half a list is worse than none, because the newest tags are on the last page.
// A listing read before makes the next one cheap: pages that are the same are neither transferred again, where the
// registry answers conditional requests, nor parsed.

import type { Clock } from '../time/clock.ts';
import type { RegistryTarget } from './authenticator.ts';
import { nextLink, resolveNextPage } from './link.ts';
import { registryError } from './problem.ts';
import { failureOf, type RegistryAnswer, type RegistryRequester } from './requester.ts';
import { hashBody, type PageMemory, TagListing } from './tag-listing.ts';
import { parseTagPage } from './tag-page.ts';
import { allHeaders, oneHeader } from './transport.ts';

const PAGE_SIZE = 1_000;
const MAX_RESTARTS = 2;
const ETAG = /^(?:W\/)?"[\x21\x23-\x7e]{0,254}"$/;

interface ListingContext {
  readonly requester: RegistryRequester;
  readonly clock: Clock;
  readonly target: RegistryTarget;
  readonly signal: AbortSignal;
}

/**
 * The complete listing; `previous` itself when every page is as it was then. Throws with a registry problem code, among
 * them `TagListEmpty` and `TagListTruncated`.
 */
export async function listTags(context: ListingContext, previous: TagListing | undefined): Promise<TagListing> {
  let known = previous;
  for (let restarts = 0; restarts <= MAX_RESTARTS; restarts += 1) {
    const result = await readOnce(context, known);
    if (result instanceof TagListing) return result;
    // The list moved under our feet: zot answers 404 when the tag a page starts after is gone. Begin again.
    known = undefined;
  }
  throw registryError('Unavailable', 'The list kept changing while it was read');
}

async function readOnce(context: ListingContext, previous: TagListing | undefined): Promise<TagListing | 'again'> {
  const { limits } = context.requester;
  const startMs = context.clock.monotonicMs();
  const tags = new Set<string>();
  const pages: PageMemory[] = [];
  const seen = new Set<string>();
  /** Bodies that are as they were in `previous`, in case a later page is not. */
  const unread: Buffer[] = [];
  let isSameSoFar = previous !== undefined;
  let hasSkipped = false;
  let idlePages = 0;
  let first: URL | undefined;
  let query = `?n=${PAGE_SIZE}`;

  for (;;) {
    if (pages.length >= limits.tagPages) throw truncated(`more than ${limits.tagPages} pages`);
    if (context.clock.monotonicMs() - startMs > limits.listingMs) {
      throw registryError('Unavailable', `The list could not be read to its end within ${limits.listingMs / 1_000} s`);
    }
    const candidate = isSameSoFar ? previous?.pages[pages.length] : undefined;
    const known = candidate?.query === query ? candidate : undefined;
    const answer = await fetchPage(context, query, known?.etag);
    if (answer.status === 404 && pages.length > 0) return 'again';
    first ??= answer.url;

    let page: PageMemory;
    if (answer.status === 304) {
      if (known?.etag === undefined)
        throw registryError('InvalidResponse', 'The registry answered 304 to an unconditional request');
      page = known;
      hasSkipped = true;
    } else if (answer.status === 200) {
      page = describePage(answer, query);
      if (known !== undefined && known.bodyHash === page.bodyHash && known.next === page.next) {
        unread.push(answer.body);
      } else {
        // Pages that were not transferred this time cannot be read any more.
        if (hasSkipped) return 'again';
        isSameSoFar = false;
        const sizeBefore = tags.size;
        for (const body of [...unread.splice(0), answer.body]) addPage(tags, body, pages.length);
        if (tags.size > limits.tags) throw truncated(`more than ${limits.tags} tags`);
        idlePages = tags.size === sizeBefore ? idlePages + 1 : 0;
        if (idlePages > limits.idlePages) throw truncated('page after page without a new tag');
      }
    } else {
      throw failureOf(context.target, answer);
    }
    pages.push(page);
    if (page.next === undefined) break;

    const next = resolveNextPage(page.next, answer.url, first);
    if ('refused' in next)
      throw registryError('InvalidResponse', `The list cannot be read to its end: ${next.refused}`);
    query = next.url.search;
    if (seen.has(query) || query === `?n=${PAGE_SIZE}`)
      throw registryError('InvalidResponse', 'The list cannot be read to its end: its pages lead in a circle');
    seen.add(query);
  }

  if (isSameSoFar && previous !== undefined) return previous;
  if (tags.size === 0)
    throw registryError('TagListEmpty', 'The list is empty; images stay as they are until it is not');
  return new TagListing(tags, pages);
}

function fetchPage(context: ListingContext, query: string, etag: string | undefined): Promise<RegistryAnswer> {
  const { requester, target, signal } = context;
  return requester.request(
    target,
    {
      method: 'GET',
      path: 'tags/list',
      query,
      verb: 'list',
      headers: {
        accept: 'application/json',
        'accept-encoding': 'gzip',
        ...(etag !== undefined && { 'if-none-match': etag }),
      },
      maxBytes: requester.limits.tagPageBytes,
    },
    signal,
  );
}

function describePage(answer: RegistryAnswer, query: string): PageMemory {
  const next = nextLink(allHeaders(answer.headers, 'link'));
  const etag = oneHeader(answer.headers, 'etag');
  return {
    query,
    bodyHash: hashBody(answer.body),
    ...(next !== undefined && { next }),
    ...(etag !== undefined && ETAG.test(etag) && { etag }),
  };
}

function addPage(tags: Set<string>, body: Buffer, pagesBefore: number): void {
  const page = parseTagPage(body);
  if (page === undefined && pagesBefore > 0) {
    throw registryError('InvalidResponse', 'A later page of the list has "tags": null; nothing of the list is used');
  }
  for (const tag of page ?? []) tags.add(tag);
}

function truncated(why: string): Error {
  return registryError('TagListTruncated', `The list was not read to its end: ${why}; images stay as they are`);
}
