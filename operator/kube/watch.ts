// One watch: a long answer of JSON lines, read as it comes. Everything that can be wrong with it ends it with an error
// that says whether the place in the stream is still known (go on from there) or lost (list again).
// @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

import { TransientError } from '../errors.ts';
import type { Clock } from '../time/clock.ts';
import { firstOf, withQuery } from './client.ts';
import { KubeError, responseToError, statusToError, type KubeStatus } from './kube-error.ts';
import type { KubeObserver } from './observer.ts';
import { qualifiedName, resourcePath, type KubeObject, type Resource } from './resource.ts';
import { toUnreachable, type Lane, type Transport } from './transport.ts';

export type WatchEvent<T extends KubeObject = KubeObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  /** Nothing happened up to this version. */
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface WatchOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Events after this version. Absent: first an ADDED for everything there is. */
  readonly resourceVersion?: string | undefined;
  /** When the server is to end the watch. */
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
  /** Called when the server has accepted the watch. */
  readonly onOpen?: (() => void) | undefined;
}

/** Watches one collection. */
export interface Watcher {
  /**
   * Yields events until the server ends the watch as planned. Rejects with KubeError for a refused or broken watch and
   * for an ERROR event, with WatchError for a stream that cannot be read, with the signal's reason on abort. Leaving the
   * loop early closes the stream.
   */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined>;
}

/** `truncated`: the last line broke off, nothing before it is lost. `garbled`: a line was lost, so list again. */
export class WatchError extends TransientError {
  readonly kind: 'truncated' | 'garbled';

  constructor(kind: 'truncated' | 'garbled', message: string, cause?: unknown) {
    super(message, { code: kind === 'truncated' ? 'WatchTruncated' : 'WatchGarbled', cause });
    this.kind = kind;
  }
}

/** etcd takes objects up to 1.5 MiB; a longer line than this is no event. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const DEFAULT_GRACE_MS = 15_000;
/** For the head of the answer. The server may wait 3 s for a resourceVersion that it has not seen yet. */
const OPEN_TIMEOUT_MS = 30_000;
const NEWLINE = 0x0a;

export interface HttpWatcherOptions {
  readonly transport: Transport;
  readonly lane: Lane;
  /** Milliseconds after the planned end at which a watch counts as dead. Default 15 s. */
  readonly graceMs?: number | undefined;
  readonly clock: Clock;
  readonly observer?: Partial<KubeObserver> | undefined;
}

export class HttpWatcher implements Watcher {
  readonly #options: HttpWatcherOptions;

  constructor(options: HttpWatcherOptions) {
    this.#options = options;
  }

  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { clock, observer } = this.#options;
    const doing = `Watching ${qualifiedName(resource)}${options.namespace === undefined ? '' : ` in ${options.namespace}`}`;
    options.signal.throwIfAborted();
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(options.signal.reason);
    options.signal.addEventListener('abort', onAbort, { once: true });
    const startMs = clock.monotonicMs();
    let code = 0;
    using deadline = clock.setTimer(OPEN_TIMEOUT_MS, () => {
      controller.abort(
        new KubeError(`${doing}: no answer within ${OPEN_TIMEOUT_MS / 1_000} s`, { status: 0, reason: 'Timeout' }),
      );
    });
    try {
      const response = await this.#open(resource, options, controller.signal);
      code = response.statusCode;
      if (code !== 200) {
        const body = await response.body.text();
        throw responseToError(doing, code, body, firstOf(response.headers['retry-after']));
      }
      deadline[Symbol.dispose]();
      options.onOpen?.();
      for await (const line of readLines(response.body, doing)) yield parseEvent<T>(line, doing);
    } catch (thrown) {
      if (thrown instanceof TransientError && thrown.message.startsWith(doing)) throw thrown;
      const error = toUnreachable(thrown, controller.signal);
      if (!(error instanceof KubeError)) throw error;
      throw new KubeError(`${doing}: ${error.message}`, { status: 0, reason: error.reason, cause: thrown });
    } finally {
      options.signal.removeEventListener('abort', onAbort);
      // Ends the stream when the consumer has left the loop; without effect when it has ended by itself.
      controller.abort(new Error('The watch is no longer read'));
      observer?.onRequest?.({
        verb: 'watch',
        resource: resource.plural,
        code,
        durationMs: clock.monotonicMs() - startMs,
      });
    }
  }

  #open(resource: Resource, options: WatchOptions, signal: AbortSignal) {
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(options.timeoutSeconds),
    });
    if (options.resourceVersion !== undefined) query.set('resourceVersion', options.resourceVersion);
    if (options.labelSelector !== undefined) query.set('labelSelector', options.labelSelector);
    if (options.fieldSelector !== undefined) query.set('fieldSelector', options.fieldSelector);
    return this.#options.transport.send(this.#options.lane, {
      method: 'GET',
      path: withQuery(resourcePath(resource, { namespace: options.namespace }), query),
      signal,
      bodyTimeoutMs: options.timeoutSeconds * 1_000 + (this.#options.graceMs ?? DEFAULT_GRACE_MS),
    });
  }
}

async function* readLines(chunks: AsyncIterable<Buffer>, doing: string): AsyncGenerator<string, void, undefined> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const part = chunk.subarray(start, end);
      const line = rest.length === 0 ? part : Buffer.concat([...rest, part]);
      rest = [];
      restBytes = 0;
      start = end + 1;
      if (line.length > 0) yield line.toString('utf8');
    }
    if (start === chunk.length) continue;
    rest.push(chunk.subarray(start));
    restBytes += chunk.length - start;
    if (restBytes > MAX_LINE_BYTES) {
      throw new WatchError('garbled', `${doing}: a line of more than ${MAX_LINE_BYTES} bytes`);
    }
  }
  if (restBytes > 0) throw new WatchError('truncated', `${doing}: the last line broke off after ${restBytes} bytes`);
}

/** What a line may hold; nothing of it is sure. */
interface WireEvent {
  readonly type?: unknown;
  readonly object?: {
    readonly metadata?: { readonly name?: unknown; readonly uid?: unknown; readonly resourceVersion?: unknown };
  };
}

function parseEvent<T extends KubeObject>(line: string, doing: string): WatchEvent<T> {
  let event: WireEvent | null;
  try {
    event = JSON.parse(line) as WireEvent | null;
  } catch (cause) {
    throw new WatchError('garbled', `${doing}: a line is no JSON: ${JSON.stringify(line.slice(0, 100))}`, cause);
  }
  if (event?.type === 'ERROR') throw statusToError(doing, 500, (event.object ?? {}) as KubeStatus);
  const { name, uid, resourceVersion } = event?.object?.metadata ?? {};
  if (typeof resourceVersion === 'string' && resourceVersion !== '') {
    switch (event?.type) {
      case 'BOOKMARK':
        return { type: 'BOOKMARK', resourceVersion };
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
        if (typeof name === 'string' && typeof uid === 'string') return { type: event.type, object: event.object as T };
    }
  }
  throw new WatchError('garbled', `${doing}: a line is no event: ${JSON.stringify(line.slice(0, 100))}`);
}
