// Typed calls on plain JSON. One method per thing a controller does; every call has a deadline, every failure is a
// KubeError, and nothing is retried here: the work queue does that.

import type { Clock } from '../time/clock.ts';
import { KubeError, responseToError } from './kube-error.ts';
import type { KubeObserver } from './observer.ts';
import {
  apiVersionOf,
  formatKey,
  keyOf,
  qualifiedName,
  resourcePath,
  type KubeObject,
  type NewObject,
  type ObjectKey,
  type Resource,
} from './resource.ts';
import { abortable, toUnreachable, type Lane, type Transport, type TransportRequest } from './transport.ts';

export { KubeError } from './kube-error.ts';

export interface CallOptions {
  /** Ends the call early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the whole call, answer included. Default 30 s; after it, KubeError `Timeout`. */
  readonly timeoutMs?: number | undefined;
  /**
   * Runs synchronously right before a request leaves; when it throws, nothing is sent and the call rejects with what it
   * threw. May run more than once per call. This is how a fence is put in front of every write.
   */
  readonly beforeSend?: (() => void) | undefined;
}

/** @see https://www.rfc-editor.org/rfc/rfc6902 `path` is a JSON pointer: `~1` for a slash inside a name. */
export type JsonPatchOperation =
  | { readonly op: 'test' | 'replace' | 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export interface ListOptions extends CallOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects per page; absent: everything in one answer. */
  readonly limit?: number | undefined;
  readonly continueToken?: string | undefined;
  /** The answer is at least as new as this. Absent: the newest there is. */
  readonly resourceVersion?: string | undefined;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  /** `continue` is absent on the last page. */
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: 'status' | undefined;
}

export interface DeleteOptions extends CallOptions {
  /** Delete only the object with this uid; another one gives a conflict. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground' | undefined;
}

export interface RawRequest extends CallOptions {
  readonly method: TransportRequest['method'];
  /** Path and query from the server's root: `/version`. */
  readonly path: string;
  /** Sent as JSON; absent: no body. */
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  /** What the request is for, in messages: `Reviewing access`. */
  readonly doing: string;
}

/**
 * Calls to the API server. All reject with KubeError when it answers with an error or not at all.
 *
 * After a write that failed with `isAmbiguous` it is open whether it happened: read before writing again.
 */
export interface KubeClient {
  /** Live, never from a cache. Absent when there is no such object (or no such kind). */
  get<T extends KubeObject>(resource: Resource<T>, key: ObjectKey, options?: CallOptions): Promise<T | undefined>;

  /** One page. */
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<ObjectList<T>>;

  /** All pages, 500 objects each unless `limit` says otherwise, as of one moment. */
  listAll<T extends KubeObject>(
    resource: Resource<T>,
    options?: Omit<ListOptions, 'continueToken'>,
  ): Promise<ObjectList<T>>;

  /** Rejects with KubeError `isAlreadyExists` when the name is taken. `namespace` is '' for a cluster-scoped kind. */
  create<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string,
    object: NewObject<T>,
    options?: CallOptions,
  ): Promise<T>;

  /**
   * The exact compare-and-set: put `test` operations in front. A test that does not hold rejects with KubeError
   * `isFailedTest`; a stale resourceVersion that the patch *writes* rejects with `isConflict`.
   */
  patchJson<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    operations: readonly JsonPatchOperation[],
    options?: PatchOptions,
  ): Promise<T>;

  /** JSON merge patch: null removes, lists are replaced whole. With `metadata.resourceVersion` in the body, stale gives `isConflict`. */
  patchMerge<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    body: Readonly<Record<string, unknown>>,
    options?: PatchOptions,
  ): Promise<T>;

  /** Writes `object.status` if the object is still at `object.metadata.resourceVersion`, else `isConflict`. Send the raw object, whole. */
  replaceStatus<T extends KubeObject>(resource: Resource<T>, object: T, options?: CallOptions): Promise<T>;

  /** Resolves as well when there is no such object. With `uid` or `resourceVersion`, another object gives `isConflict`. */
  delete(resource: Resource, key: ObjectKey, options?: DeleteOptions): Promise<void>;

  /** Anything else, such as a SubjectAccessReview. The answer is the parsed body. */
  raw(request: RawRequest): Promise<unknown>;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const PAGE_SIZE = 500;
const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';

export interface HttpKubeClientOptions {
  readonly transport: Transport;
  readonly lane: Lane;
  /** Recorded in managedFields as the owner of what we write. */
  readonly fieldManager: string;
  readonly clock: Clock;
  readonly observer?: Partial<KubeObserver> | undefined;
}

interface Call {
  readonly method: TransportRequest['method'];
  readonly path: string;
  readonly verb: string;
  /** The plural, for metrics; '' for a raw request. */
  readonly resource: string;
  readonly doing: string;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
}

export class HttpKubeClient implements KubeClient {
  readonly #options: HttpKubeClientOptions;

  constructor(options: HttpKubeClientOptions) {
    this.#options = options;
  }

  async get<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    options: CallOptions = {},
  ): Promise<T | undefined> {
    try {
      return (await this.#call({ ...this.#target('get', 'Getting', resource, key), method: 'GET' }, options)) as T;
    } catch (error) {
      if (error instanceof KubeError && error.isNotFound) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    const query = new URLSearchParams();
    if (options.labelSelector !== undefined) query.set('labelSelector', options.labelSelector);
    if (options.fieldSelector !== undefined) query.set('fieldSelector', options.fieldSelector);
    if (options.limit !== undefined) query.set('limit', String(options.limit));
    if (options.continueToken !== undefined) {
      // A token carries its own resourceVersion; the server refuses both together.
      query.set('continue', options.continueToken);
    } else if (options.resourceVersion !== undefined) {
      // Said outright, because with `limit` the default is Exact, which fails as soon as that version is compacted.
      query.set('resourceVersion', options.resourceVersion);
      query.set('resourceVersionMatch', 'NotOlderThan');
    }
    const path = resourcePath(resource, { namespace: options.namespace });
    const scope = options.namespace === undefined ? '' : ` in ${options.namespace}`;
    const list = await this.#call(
      {
        method: 'GET',
        path: withQuery(path, query),
        verb: 'list',
        resource: resource.plural,
        doing: `Listing ${qualifiedName(resource)}${scope}`,
      },
      options,
    );
    return toObjectList<T>(list);
  }

  async listAll<T extends KubeObject>(
    resource: Resource<T>,
    options: Omit<ListOptions, 'continueToken'> = {},
  ): Promise<ObjectList<T>> {
    const items: T[] = [];
    for (let continueToken: string | undefined; ;) {
      const page: ObjectList<T> = await this.list(resource, { limit: PAGE_SIZE, ...options, continueToken });
      for (const item of page.items) items.push(item);
      continueToken = page.metadata.continue;
      if (continueToken === undefined) return { items, metadata: page.metadata };
    }
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string,
    object: NewObject<T>,
    options: CallOptions = {},
  ): Promise<T> {
    const key = { namespace, name: object.metadata.name };
    const call = this.#target('create', 'Creating', resource, key);
    const metadata = namespace === '' ? object.metadata : { ...object.metadata, namespace };
    return (await this.#call(
      {
        ...call,
        method: 'POST',
        path: withQuery(resourcePath(resource, { namespace }), this.#writeQuery()),
        body: { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata },
      },
      options,
    )) as T;
  }

  async patchJson<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    operations: readonly JsonPatchOperation[],
    options: PatchOptions = {},
  ): Promise<T> {
    return this.#patch(resource, key, operations, JSON_PATCH, options);
  }

  async patchMerge<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    body: Readonly<Record<string, unknown>>,
    options: PatchOptions = {},
  ): Promise<T> {
    return this.#patch(resource, key, body, MERGE_PATCH, options);
  }

  async replaceStatus<T extends KubeObject>(resource: Resource<T>, object: T, options: CallOptions = {}): Promise<T> {
    const key = keyOf(object);
    const path = resourcePath(resource, { ...key, subresource: 'status' });
    return (await this.#call(
      {
        ...this.#target('update', 'Writing the status of', resource, key),
        method: 'PUT',
        path: withQuery(path, this.#writeQuery()),
        body: { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind },
      },
      options,
    )) as T;
  }

  async delete(resource: Resource, key: ObjectKey, options: DeleteOptions = {}): Promise<void> {
    const { uid, resourceVersion, propagationPolicy } = options;
    try {
      await this.#call(
        {
          ...this.#target('delete', 'Deleting', resource, key),
          method: 'DELETE',
          body: {
            apiVersion: 'v1',
            kind: 'DeleteOptions',
            ...(propagationPolicy !== undefined && { propagationPolicy }),
            ...((uid !== undefined || resourceVersion !== undefined) && { preconditions: { uid, resourceVersion } }),
          },
        },
        options,
      );
    } catch (error) {
      if (!(error instanceof KubeError && error.isNotFound)) throw error;
    }
  }

  async raw(request: RawRequest): Promise<unknown> {
    const { method, path, body, contentType, doing } = request;
    return this.#call({ method, path, body, contentType, doing, verb: method.toLowerCase(), resource: '' }, request);
  }

  async #patch<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    body: unknown,
    contentType: string,
    { subresource, ...options }: PatchOptions,
  ): Promise<T> {
    const path = resourcePath(resource, { ...key, ...(subresource !== undefined && { subresource }) });
    const doing = subresource === undefined ? 'Patching' : `Patching the ${subresource} of`;
    return (await this.#call(
      {
        ...this.#target('patch', doing, resource, key),
        method: 'PATCH',
        path: withQuery(path, this.#writeQuery()),
        body,
        contentType,
      },
      options,
    )) as T;
  }

  #target(verb: string, doing: string, resource: Resource, key: ObjectKey): Omit<Call, 'method'> {
    return {
      verb,
      path: resourcePath(resource, key),
      resource: resource.plural,
      doing: `${doing} ${qualifiedName(resource)} ${formatKey(key)}`,
    };
  }

  #writeQuery(): URLSearchParams {
    return new URLSearchParams({ fieldManager: this.#options.fieldManager });
  }

  async #call(call: Call, options: CallOptions): Promise<unknown> {
    const { transport, lane, clock, observer } = this.#options;
    const startMs = clock.monotonicMs();
    let code = 0;
    try {
      return await withDeadline(clock, call.doing, options, async (signal) => {
        const response = await transport.send(lane, {
          method: call.method,
          path: call.path,
          ...(call.body !== undefined && {
            body: JSON.stringify(call.body),
            contentType: call.contentType ?? 'application/json',
          }),
          signal,
          bodyTimeoutMs: 0,
          beforeSend: options.beforeSend,
        });
        code = response.statusCode;
        const body = await abortable(response.body.text(), signal).catch((thrown: unknown) => {
          response.body.destroy();
          throw toUnreachable(thrown, signal);
        });
        if (code >= 400) throw responseToError(call.doing, code, body, firstOf(response.headers['retry-after']));
        return parseBody(call.doing, code, body);
      });
    } catch (error) {
      throw error instanceof KubeError && error.status === 0 ? withContext(call.doing, error) : error;
    } finally {
      observer?.onRequest?.({
        verb: call.verb,
        resource: call.resource,
        code,
        durationMs: clock.monotonicMs() - startMs,
      });
    }
  }
}

/** Runs `work` with a signal that aborts at the deadline or when the caller's does, and leaves no timer behind. */
async function withDeadline<T>(
  clock: Clock,
  doing: string,
  options: CallOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  using _deadline = clock.setTimer(timeoutMs, () => {
    controller.abort(
      new KubeError(`${doing}: no answer within ${timeoutMs / 1_000} s`, { status: 0, reason: 'Timeout' }),
    );
  });
  try {
    return await work(controller.signal);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function withContext(doing: string, error: KubeError): KubeError {
  if (error.message.startsWith(doing)) return error;
  return new KubeError(`${doing}: ${error.message}`, { status: 0, reason: error.reason, cause: error.cause ?? error });
}

function parseBody(doing: string, code: number, body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new KubeError(`${doing}: ${code}, but the body is no JSON: ${body.slice(0, 100)}`, {
      status: 502,
      reason: 'BadBody',
      cause,
    });
  }
}

function toObjectList<T>(list: unknown): ObjectList<T> {
  const { items, metadata } = list as {
    items?: readonly T[] | null;
    metadata?: { resourceVersion?: string; continue?: string };
  };
  if (metadata?.resourceVersion === undefined) {
    throw new KubeError('The API server sent a list without a resourceVersion', { status: 502, reason: 'BadBody' });
  }
  const { resourceVersion, continue: continueToken } = metadata;
  // Go writes an empty token as ''.
  return { items: items ?? [], metadata: { resourceVersion, ...(continueToken && { continue: continueToken }) } };
}

export function withQuery(path: string, query: URLSearchParams): string {
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

export function firstOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
