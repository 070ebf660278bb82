// All tags of a repository, and what is needed to notice cheaply that nothing has changed. Thousands of these are kept, so
// the tags are held as one text and taken apart only when somebody looks at them.

import { createHash } from 'node:crypto';

/** What is remembered of a page, to recognise it without reading it. */
export interface PageMemory {
  /** The query that fetched it. */
  readonly query: string;
  readonly etag?: string;
  /** Of the decompressed body, base64. */
  readonly bodyHash: string;
  /** Link to the next page as the registry wrote it. Absent on the last page. */
  readonly next?: string;
}

export class TagListing {
  /** SHA-256 over the sorted, distinct tags: equal hashes are equal listings. */
  readonly hash: string;
  readonly size: number;
  readonly pages: readonly PageMemory[];
  readonly #text: string;
  #tags: WeakRef<readonly string[]>;

  constructor(tags: ReadonlySet<string>, pages: readonly PageMemory[]) {
    // The default order of sort() is byte order here: tags are ASCII.
    const sorted = Object.freeze([...tags].sort());
    this.#text = sorted.join('\n');
    this.#tags = new WeakRef(sorted);
    this.size = sorted.length;
    this.hash = createHash('sha256').update(this.#text).digest('hex');
    this.pages = pages;
  }

  /** Distinct, in byte order. */
  get tags(): readonly string[] {
    const known = this.#tags.deref();
    if (known !== undefined) return known;
    const tags = Object.freeze(this.size === 0 ? [] : this.#text.split('\n'));
    this.#tags = new WeakRef(tags);
    return tags;
  }
}

export function hashBody(body: Buffer): string {
  return createHash('sha256').update(body).digest('base64');
}
