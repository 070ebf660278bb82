// Objects of one kind as the reflector last saw them, reduced to what is needed, findable by key and by index. The cache
// knows up to which version it is complete; that alone makes read-your-writes safe.

import {
  compareResourceVersions,
  formatKey,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ObjectMeta,
} from './resource.ts';

/** What a cached object must keep of its metadata. */
export interface Projection {
  readonly metadata: Pick<ObjectMeta, 'name' | 'namespace' | 'uid' | 'resourceVersion'>;
}

export interface Cache<P extends Projection> {
  get(key: ObjectKey): P | undefined;
  list(): Iterable<P>;
  /** Objects whose index function gave `value`. Throws for an index that was not declared. */
  byIndex(index: string, value: string): readonly P[];
  readonly size: number;
  /**
   * Read-your-writes: takes the server's answer to our own write, raw, so that the next reconcile sees it. Without effect
   * when the cache already knows that version or a later fate of the object, including its deletion. Handlers hear of it.
   * In an informer with a selector only objects that are already cached are taken, for the selector is the server's to judge.
   */
  applyWrite(raw: KubeObject): void;
}

export interface CacheEvent<P extends Projection> {
  readonly type: 'added' | 'updated' | 'deleted';
  /** The new state; of a deleted object the last one known. */
  readonly object: P;
  /** The state before, when the cache had one. */
  readonly previous?: P;
  /** From the first list after the start: everything that exists, not news. */
  readonly initial: boolean;
  /** We wrote it ourselves, and heard of it by `applyWrite`. An answer that is slower than the watch is not told apart. */
  readonly isOwn?: true;
}

interface PutOptions extends Pick<CacheEvent<never>, 'initial' | 'isOwn'> {
  readonly force: boolean;
}

export interface ObjectCacheOptions<T extends KubeObject, P extends Projection> {
  readonly project: (raw: T) => P;
  readonly indexes: Readonly<Record<string, (object: P) => readonly string[]>>;
  /** The namespaces that are watched one by one, or 'all'. */
  readonly namespaces: 'all' | readonly string[];
  readonly selective: boolean;
  readonly freeze: boolean;
  readonly onEvent: (event: CacheEvent<P>) => void;
  /** A projection or an index threw: this object stays as it was. */
  readonly onUnreadable: (key: ObjectKey, error: unknown) => void;
}

/** A listed object: `object` is absent when it could not be projected. */
export interface Listed<P extends Projection> {
  readonly key: string;
  readonly object: P | undefined;
}

interface Entry<P extends Projection> {
  readonly object: P;
  /** Index name and value, joined. */
  readonly terms: readonly string[];
}

/** A scope is what one watch covers: a namespace, or '' for all of them. */
export class ObjectCache<T extends KubeObject, P extends Projection> implements Cache<P> {
  readonly #options: ObjectCacheOptions<T, P>;
  readonly #entries = new Map<string, Entry<P>>();
  readonly #index = new Map<string, Set<string>>();
  /** Per scope, the version up to which the cache has seen everything. Absent until the first list. */
  readonly #positions = new Map<string, string>();

  constructor(options: ObjectCacheOptions<T, P>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: ObjectKey): P | undefined {
    return this.#entries.get(formatKey(key))?.object;
  }

  *list(): Iterable<P> {
    for (const { object } of this.#entries.values()) yield object;
  }

  byIndex(index: string, value: string): readonly P[] {
    if (!Object.hasOwn(this.#options.indexes, index)) throw new Error(`no index ${JSON.stringify(index)} is declared`);
    const found: P[] = [];
    for (const key of this.#index.get(termOf(index, value)) ?? []) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) found.push(entry.object);
    }
    return found;
  }

  applyWrite(raw: KubeObject): void {
    const namespace = raw.metadata.namespace ?? '';
    const position = this.#positions.get(this.#options.namespaces === 'all' ? '' : namespace);
    // Up to its position the cache has seen every change, so an answer from before holds nothing new: an object that is
    // not here then was deleted since.
    if (position === undefined || compareResourceVersions(raw.metadata.resourceVersion, position) <= 0) return;
    const { key, object } = this.prepare(raw as T);
    if (object === undefined || (this.#options.selective && !this.#entries.has(key))) return;
    this.#put(key, object, { force: false, initial: false, isOwn: true });
  }

  /** The version a watch of this scope goes on from. */
  position(scope: string): string | undefined {
    return this.#positions.get(scope);
  }

  /** Projects a raw object, so that a list need not hold on to it. */
  prepare(raw: T): Listed<P> {
    const key = keyOf(raw);
    try {
      const object = this.#options.project(raw);
      if (this.#options.freeze) deepFreeze(object);
      return { key: formatKey(key), object };
    } catch (error) {
      this.#options.onUnreadable(key, error);
      return { key: formatKey(key), object: undefined };
    }
  }

  /**
   * Takes a complete list of the scope as of `version`. Objects that are gone, or were created anew under the same name,
   * get the delete event that no watch delivered. What our own writes made newer than the list stays, unless `force`
   * says that the server has gone back in time.
   */
  replace(scope: string, listed: readonly Listed<P>[], version: string, options: { readonly force: boolean }): void {
    const initial = !this.#positions.has(scope);
    this.#positions.set(scope, version);
    const present = new Set(listed.map(({ key }) => key));
    for (const [key, { object }] of this.#entries) {
      if (present.has(key) || (scope !== '' && object.metadata.namespace !== scope)) continue;
      if (options.force || compareResourceVersions(object.metadata.resourceVersion, version) <= 0)
        this.#remove(key, object);
    }
    for (const { key, object } of listed) {
      if (object !== undefined) this.#put(key, object, { force: options.force, initial });
    }
  }

  /** Takes one event of the scope's watch. */
  observe(scope: string, type: 'ADDED' | 'MODIFIED' | 'DELETED', raw: T): void {
    this.advance(scope, raw.metadata.resourceVersion);
    const { key, object } = this.prepare(raw);
    if (type !== 'DELETED') {
      if (object !== undefined) this.#put(key, object, { force: false, initial: false });
      return;
    }
    const cached = this.#entries.get(key)?.object.metadata;
    if (cached === undefined) return;
    // Our own write may have put in the next object of this name already.
    const isNext =
      cached.uid !== raw.metadata.uid &&
      compareResourceVersions(cached.resourceVersion, raw.metadata.resourceVersion) > 0;
    if (!isNext) this.#remove(key, object);
  }

  /** The scope has been seen up to `version`. */
  advance(scope: string, version: string): void {
    this.#positions.set(scope, version);
  }

  #put(key: string, object: P, how: PutOptions): void {
    const before = this.#entries.get(key);
    const terms = this.#termsOf(object);
    if (terms === undefined) return;
    const { force: _, ...told } = how;
    if (before === undefined) {
      this.#store(key, { object, terms });
      this.#options.onEvent({ type: 'added', object, ...told });
      return;
    }
    const previous = before.object;
    const age = compareResourceVersions(object.metadata.resourceVersion, previous.metadata.resourceVersion);
    if (age === 0 || (age < 0 && !how.force)) return;
    if (object.metadata.uid !== previous.metadata.uid) {
      this.#remove(key, undefined);
      this.#put(key, object, how);
      return;
    }
    this.#dropTerms(key, before.terms);
    this.#store(key, { object, terms });
    this.#options.onEvent({ type: 'updated', object, previous, ...told });
  }

  #remove(key: string, last: P | undefined): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#dropTerms(key, entry.terms);
    this.#options.onEvent({ type: 'deleted', object: last ?? entry.object, previous: entry.object, initial: false });
  }

  #store(key: string, entry: Entry<P>): void {
    this.#entries.set(key, entry);
    for (const term of entry.terms) {
      const keys = this.#index.get(term);
      if (keys === undefined) this.#index.set(term, new Set([key]));
      else keys.add(key);
    }
  }

  #dropTerms(key: string, terms: readonly string[]): void {
    for (const term of terms) {
      const keys = this.#index.get(term);
      if (keys?.delete(key) && keys.size === 0) this.#index.delete(term);
    }
  }

  #termsOf(object: P): readonly string[] | undefined {
    try {
      return Object.entries(this.#options.indexes).flatMap(([index, valuesOf]) =>
        valuesOf(object).map((value) => termOf(index, value)),
      );
    } catch (error) {
      this.#options.onUnreadable(keyOf(object), error);
      return undefined;
    }
  }
}

function termOf(index: string, value: string): string {
  return `${index}\0${value}`;
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
}
