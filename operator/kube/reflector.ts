// Keeps a sink in step with one collection on the server: lists it once, then watches, and finds its way back from
// everything that can end a watch.
// @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

import { toError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { Backoff } from './backoff.ts';
import { KubeError, type KubeClient } from './client.ts';
import type { KubeObserver, RelistReason, WatchEndReason } from './observer.ts';
import { compareResourceVersions, qualifiedName, type KubeObject, type Resource } from './resource.ts';
import { WatchError, type Watcher } from './watch.ts';

/** Takes what the reflector reads. `R` is a listed object in the form the sink wants to keep it. */
export interface ReflectorSink<T extends KubeObject, R> {
  prepare(raw: T): R;
  /** A complete list as of `version`; `rewound` when the server's versions have gone back (a restored backup). */
  replace(listed: readonly R[], version: string, options: { readonly rewound: boolean }): void;
  observe(type: 'ADDED' | 'MODIFIED' | 'DELETED', raw: T): void;
  /** Nothing more happened up to `version`. */
  advance(version: string): void;
}

export interface ReflectorOptions<T extends KubeObject, R> {
  readonly connection: { readonly client: Pick<KubeClient, 'list'> } & Watcher;
  readonly resource: Resource<T>;
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly sink: ReflectorSink<T, R>;
  /** Called once, when the sink has taken the first whole list. */
  readonly onSynced?: (() => void) | undefined;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly observer?: Partial<KubeObserver> | undefined;
}

const PAGE_SIZE = 500;
const LIST_TIMEOUT_MS = 60_000;
const MIN_WATCH_SECONDS = 300;
const MAX_WATCH_SECONDS = 600;
/** A watch that ends cleanly sooner than this is a fault: without a wait it would become a storm of reconnects. */
const MIN_HEALTHY_MS = 10_000;
/** So many server errors in a row, without an event between them, and the version we resume from is suspected. */
const MAX_SERVER_ERRORS = 3;

/** Where to go on: from the version of the last event, or with a list of a certain freshness. */
type Next =
  | { readonly kind: 'watch'; readonly from: string }
  | { readonly kind: 'list'; readonly reason: RelistReason; readonly notOlderThan?: string };

/**
 * ```
 *   list (newest) ──all pages──▶ watch ──planned end, cut, truncated──▶ watch, from the last version
 *                                  │ 410, garbled line, repeated 5xx
 *                                  ▼
 *        list (not older than the last version) ──▶ watch
 *                                  │ 410
 *                                  ▼
 *                           list (newest) ──▶ watch
 *   version too large for the server (it lags, or was restored): list (newest), replace everything
 *   any failure: wait, longer each time (0.8 s · 2^n up to 30 s, at random), then the same again; 429: as long as asked
 * ```
 */
export class Reflector<T extends KubeObject, R> {
  readonly #options: ReflectorOptions<T, R>;
  readonly #backoff: Backoff;
  readonly #log: Logger;
  #synced = false;
  #watching = false;
  #lastContactMs: number;
  #problem: KubeError | undefined;
  #serverErrors = 0;
  #lastVersion = '';

  constructor(options: ReflectorOptions<T, R>) {
    const { clock, random, resource, namespace } = options;
    this.#options = options;
    this.#backoff = new Backoff({ clock, random, baseMs: 800, maxMs: 30_000, resetAfterMs: 120_000 });
    this.#log = options.log.child({ resource: qualifiedName(resource), ...(namespace !== undefined && { namespace }) });
    this.#lastContactMs = clock.monotonicMs();
  }

  /** Whether a whole list has been read. */
  get hasSynced(): boolean {
    return this.#synced;
  }

  /**
   * Milliseconds since the server last gave a sign of life here; 0 while a watch is open, because the transport closes
   * one whose peer is dead.
   */
  get lastContactAgeMs(): number {
    return this.#watching ? 0 : this.#options.clock.monotonicMs() - this.#lastContactMs;
  }

  /** The latest failure, absent while all is well. */
  get problem(): KubeError | undefined {
    return this.#problem;
  }

  /** Resolves when the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let next: Next = { kind: 'list', reason: 'initial' };
    for (;;) {
      try {
        next = next.kind === 'list' ? await this.#list(next, signal) : await this.#watch(next.from, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        const { then, delayMs } = this.#afterFailure(next, thrown);
        next = then;
        await this.#options.clock.sleep(delayMs, signal).catch(() => undefined);
      }
      if (signal.aborted) return;
    }
  }

  async #list(plan: Next & { readonly kind: 'list' }, signal: AbortSignal): Promise<Next> {
    const { connection, resource, namespace, labelSelector, fieldSelector, sink, clock, observer } = this.#options;
    const startMs = clock.monotonicMs();
    const listed: R[] = [];
    let version = '';
    let continueToken: string | undefined;
    do {
      const page = await connection.client.list(resource, {
        namespace,
        labelSelector,
        fieldSelector,
        limit: PAGE_SIZE,
        continueToken,
        resourceVersion: plan.notOlderThan,
        signal,
        timeoutMs: LIST_TIMEOUT_MS,
      });
      this.#contact();
      for (const item of page.items) listed.push(sink.prepare(item));
      version = page.metadata.resourceVersion;
      continueToken = page.metadata.continue;
    } while (continueToken !== undefined);
    const rewound = plan.reason === 'rewound' && compareResourceVersions(version, this.#lastVersion) < 0;
    sink.replace(listed, version, { rewound });
    this.#lastVersion = version;
    if (!this.#synced) {
      this.#synced = true;
      this.#options.onSynced?.();
    }
    this.#problem = undefined;
    const durationMs = clock.monotonicMs() - startMs;
    observer?.onRelist?.({ resource: resource.plural, reason: plan.reason, objects: listed.length, durationMs });
    this.#log.debug('Listed', { reason: plan.reason, objects: listed.length, resourceVersion: version, durationMs });
    return { kind: 'watch', from: version };
  }

  async #watch(from: string, signal: AbortSignal): Promise<Next> {
    const { connection, resource, namespace, labelSelector, fieldSelector, sink, clock, random, observer } =
      this.#options;
    let openedMs = clock.monotonicMs();
    try {
      const events = connection.watch(resource, {
        namespace,
        labelSelector,
        fieldSelector,
        resourceVersion: from,
        timeoutSeconds: MIN_WATCH_SECONDS + Math.floor(random() * (MAX_WATCH_SECONDS - MIN_WATCH_SECONDS)),
        signal,
        onOpen: () => {
          openedMs = clock.monotonicMs();
          this.#watching = true;
          this.#problem = undefined;
        },
      });
      for await (const event of events) {
        this.#serverErrors = 0;
        if (event.type === 'BOOKMARK') {
          this.#lastVersion = event.resourceVersion;
          sink.advance(event.resourceVersion);
        } else {
          sink.observe(event.type, event.object);
          this.#lastVersion = event.object.metadata.resourceVersion;
        }
        observer?.onWatchEvent?.({ resource: resource.plural, type: event.type });
      }
      this.#serverErrors = 0;
    } finally {
      if (this.#watching) this.#contact();
      this.#watching = false;
    }
    if (clock.monotonicMs() - openedMs < MIN_HEALTHY_MS) {
      throw new KubeError(`Watching ${qualifiedName(resource)}: it ended at once`, {
        status: 0,
        reason: 'Unreachable',
      });
    }
    observer?.onWatchEnd?.({ resource: resource.plural, reason: 'timeout' });
    return { kind: 'watch', from: this.#lastVersion };
  }

  #afterFailure(failed: Next, thrown: unknown): { readonly then: Next; readonly delayMs: number } {
    const error = toError(thrown);
    const then = this.#nextAfter(failed, error);
    const throttledMs = error instanceof KubeError && error.isThrottled ? error.retryAfterMs : undefined;
    const isExpiry = then.kind === 'list' && then !== failed;
    // One relist after an expired version is how the protocol works; only its failure is worth a growing wait.
    const delayMs =
      throttledMs === undefined
        ? this.#backoff.next()
        : throttledMs + this.#options.random() * Math.min(throttledMs, 1_000);
    if (failed.kind === 'watch') {
      this.#options.observer?.onWatchEnd?.({ resource: this.#options.resource.plural, reason: watchEndReason(error) });
    }
    if (error instanceof KubeError && !isExpiry) this.#problem = error;
    const level = error instanceof KubeError || error instanceof WatchError ? 'warn' : 'error';
    this.#log[isExpiry ? 'info' : level](isExpiry ? 'Listing again' : 'Lost touch with the API server', {
      err: error,
      delayMs: Math.round(delayMs),
    });
    return { then, delayMs };
  }

  #nextAfter(failed: Next, error: Error): Next {
    if (error instanceof WatchError) {
      return error.kind === 'garbled' ? this.#relist('garbled') : { kind: 'watch', from: this.#lastVersion };
    }
    const known = error instanceof KubeError ? error : undefined;
    if (known?.isTooLargeResourceVersion) return { kind: 'list', reason: 'rewound' };
    if (failed.kind === 'list') return known?.isExpired ? { kind: 'list', reason: 'expired' } : failed;
    if (known?.isExpired) return this.#relist('expired');
    if (known === undefined || known.status >= 500) {
      this.#serverErrors += 1;
      if (this.#serverErrors >= MAX_SERVER_ERRORS) {
        this.#serverErrors = 0;
        return this.#relist('repeated failure');
      }
    }
    return { kind: 'watch', from: this.#lastVersion };
  }

  /** Not older than what we have seen: a server that lags behind must not take us back in time. */
  #relist(reason: RelistReason): Next {
    return { kind: 'list', reason, notOlderThan: this.#lastVersion };
  }

  #contact(): void {
    this.#lastContactMs = this.#options.clock.monotonicMs();
  }
}

function watchEndReason(error: Error): WatchEndReason {
  if (error instanceof WatchError) return error.kind;
  if (!(error instanceof KubeError) || error.status === 0) return 'cut';
  if (error.isExpired) return 'expired';
  return error.isThrottled ? 'throttled' : 'refused';
}
