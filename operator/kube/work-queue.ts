// Which keys want a worker, and when. It holds keys only, never events: a worker looks at the present state, so a hundred
// changes of one object are one run.

import type { Clock } from '../time/clock.ts';
import { Heap } from './heap.ts';
import type { KubeObserver } from './observer.ts';

export interface WorkQueueOptions {
  /** Names the queue to the observer. */
  readonly name?: string;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Milliseconds before the first retry of a key; doubles with each further one. Default 5. */
  readonly baseDelayMs?: number;
  /** The longest wait between retries of a key. Default 5 minutes. */
  readonly maxDelayMs?: number;
  readonly observer?: Partial<KubeObserver> | undefined;
}

export interface AddOptions {
  /** Higher goes first; the default is 0. Of several requests for a waiting key the highest counts. */
  readonly priority?: number;
  /** Milliseconds from now; absent: as soon as a worker is free. */
  readonly afterMs?: number;
}

export interface RunOptions {
  /** Workers at work at the same time, each on another key. */
  readonly concurrency: number;
  /** Ends the intake: no key is started any more, those being worked on are waited for. */
  readonly signal: AbortSignal;
  /** Handed to the workers, to call off what they are doing. Default: never. */
  readonly abortSignal?: AbortSignal;
}

/** Repeated retries of all keys together: this many at once, then this many a second, so that a common fault makes no storm. */
const RETRY_BURST = 100;
const RETRIES_PER_SECOND = 10;
/** Longer than this no key waits for the others, or ten thousand that fail would take every other one down with them. */
const MAX_SHARED_WAIT_MS = 30_000;

const NEVER = new AbortController().signal;

/** A place in one of the heaps. Stale when its item has got another ticket since. */
interface Ticket<K> {
  readonly key: K;
  readonly priority: number;
  readonly order: number;
  /** Monotonic milliseconds: since when the key is ready, or when it will be. */
  readonly atMs: number;
}

interface Item<K> {
  ready?: Ticket<K> | undefined;
  delayed?: Ticket<K> | undefined;
  isActive: boolean;
}

/**
 * The states of a key:
 * ```
 *               add                     a worker is free
 *   absent ───────────────▶ ready ─────────────────────────▶ active ───────▶ absent
 *      │                    ▲   ▲                              │  │ done
 *      │ add afterMs        │   └───────────── done ───────────┤  │
 *      ▼                    │                                  │ add while active: ready again once done
 *   delayed ────────────────┘ due, or add                      │ add afterMs while active: delayed once done
 *      ▲                                                       ▼
 *      └────────────────────────────────────────────────── delayed
 * ```
 * - One worker per key. A key that is added while it is worked on is worked on once more afterwards.
 * - A key is in here once, however often it was added. Of several delays the earliest counts.
 * - Starting a run clears the key's delay: the worker sees everything there is and says itself when to come back.
 * - Every add is therefore followed by a run that starts later than the add, and no later than its delay if a worker is free.
 */
export class WorkQueue<K extends string> {
  readonly #options: WorkQueueOptions;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #items = new Map<K, Item<K>>();
  readonly #failures = new Map<K, number>();
  readonly #ready = new Heap<Ticket<K>>(
    (a, b) => a.priority > b.priority || (a.priority === b.priority && a.order < b.order),
  );
  readonly #delayed = new Heap<Ticket<K>>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order));
  #order = 0;
  #readyCount = 0;
  #delayedCount = 0;
  #activeCount = 0;
  #timer: { readonly dueMs: number; readonly handle: Disposable } | undefined;
  #tokens = RETRY_BURST;
  #tokensAtMs: number;
  /** Starts as many runs as there are free workers; absent while nobody works. */
  #dispatch: (() => void) | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#baseDelayMs = options.baseDelayMs ?? 5;
    this.#maxDelayMs = options.maxDelayMs ?? 300_000;
    this.#tokensAtMs = options.clock.monotonicMs();
  }

  /** Keys that wait for a worker now; neither delayed ones nor those being worked on. */
  get length(): number {
    return this.#readyCount;
  }

  add(key: K, options: AddOptions = {}): void {
    const { priority = 0, afterMs = 0 } = options;
    if (afterMs > 0) this.#delay(key, priority, this.#options.clock.monotonicMs() + afterMs);
    else this.#makeReady(key, priority);
    this.#dispatch?.();
  }

  /** Adds the key after a delay that doubles with every retry since the last `forget`, and is at least `minMs`. Returns it. */
  retry(key: K, minMs = 0): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const fullMs = Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** failures);
    // At least half of it: the delay must grow, and yet not be the same for keys that failed together.
    const ownMs = fullMs * (0.5 + this.#options.random() / 2);
    // The first retry is free: most conflicts are over by then.
    const afterMs = Math.max(ownMs, minMs, failures === 0 ? 0 : this.#reserveRetry());
    this.add(key, { afterMs });
    return afterMs;
  }

  /** The key has succeeded: its next retry starts from the shortest delay. */
  forget(key: K): void {
    this.#failures.delete(key);
  }

  /**
   * Hands keys to `worker` until the signal aborts; resolves when the last worker has finished. Keys that are left stay
   * in the queue. A worker should not reject; if it does, its key is retried.
   */
  async run(worker: (key: K, signal: AbortSignal) => Promise<void>, options: RunOptions): Promise<void> {
    if (this.#dispatch !== undefined) throw new Error('the work queue is running already');
    const { concurrency, signal, abortSignal = NEVER } = options;
    const drained: PromiseWithResolvers<void> = Promise.withResolvers();
    const settle = (): void => {
      if (signal.aborted && this.#activeCount === 0) drained.resolve();
    };
    const work = async (key: K): Promise<void> => {
      try {
        await worker(key, abortSignal);
      } catch {
        this.retry(key);
      } finally {
        this.#finish(key);
        this.#dispatch?.();
        settle();
      }
    };
    this.#dispatch = () => {
      while (!signal.aborted && this.#activeCount < concurrency) {
        const key = this.#start();
        if (key === undefined) return;
        void work(key);
      }
    };
    signal.addEventListener('abort', settle, { once: true });
    this.#setTimer();
    this.#dispatch();
    settle();
    await drained.promise;
    signal.removeEventListener('abort', settle);
    this.#dispatch = undefined;
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
  }

  #makeReady(key: K, priority: number): void {
    const item = this.#item(key);
    if (item.delayed !== undefined) {
      priority = Math.max(priority, item.delayed.priority);
      this.#dropDelay(item);
    }
    if (item.ready !== undefined && item.ready.priority >= priority) return;
    const before = item.ready;
    const atMs = before?.atMs ?? this.#options.clock.monotonicMs();
    item.ready = { key, priority, order: before?.order ?? this.#order++, atMs };
    if (item.isActive) return;
    if (before === undefined) this.#readyCount += 1;
    this.#ready.push(item.ready);
    this.#reportDepth();
  }

  #delay(key: K, priority: number, dueMs: number): void {
    const item = this.#item(key);
    // It will run before that anyway.
    if (item.ready !== undefined) return;
    const before = item.delayed;
    if (before !== undefined) {
      if (before.atMs <= dueMs && before.priority >= priority) return;
      priority = Math.max(priority, before.priority);
      dueMs = Math.min(dueMs, before.atMs);
    } else {
      this.#delayedCount += 1;
    }
    item.delayed = { key, priority, order: this.#order++, atMs: dueMs };
    this.#delayed.push(item.delayed);
    // Replaced tickets stay behind in the heap; with many short-lived delays they would outgrow the live ones.
    if (this.#delayed.size > 2 * this.#delayedCount + 64) {
      this.#delayed.retain((ticket) => this.#items.get(ticket.key)?.delayed === ticket);
    }
    this.#setTimer();
  }

  /** Takes the next ready key and marks it active. */
  #start(): K | undefined {
    for (let ticket = this.#ready.pop(); ticket !== undefined; ticket = this.#ready.pop()) {
      const item = this.#items.get(ticket.key);
      if (item?.ready !== ticket) continue;
      item.ready = undefined;
      item.isActive = true;
      this.#readyCount -= 1;
      this.#activeCount += 1;
      const { name = '', clock, observer } = this.#options;
      observer?.onQueueWait?.({ queue: name, waitMs: clock.monotonicMs() - ticket.atMs });
      this.#reportDepth();
      return ticket.key;
    }
    return undefined;
  }

  #finish(key: K): void {
    const item = this.#item(key);
    item.isActive = false;
    this.#activeCount -= 1;
    if (item.ready !== undefined) {
      this.#ready.push(item.ready);
      this.#readyCount += 1;
      this.#reportDepth();
    } else if (item.delayed === undefined) {
      this.#items.delete(key);
    }
  }

  #onDue(): void {
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    for (
      let ticket = this.#delayed.peek();
      ticket !== undefined && ticket.atMs <= nowMs;
      ticket = this.#delayed.peek()
    ) {
      this.#delayed.pop();
      if (this.#items.get(ticket.key)?.delayed === ticket) this.#makeReady(ticket.key, ticket.priority);
    }
    this.#setTimer();
    this.#dispatch?.();
  }

  /** Delays only matter while somebody works. */
  #setTimer(): void {
    if (this.#dispatch === undefined) return;
    let next = this.#delayed.peek();
    while (next !== undefined && this.#items.get(next.key)?.delayed !== next) {
      this.#delayed.pop();
      next = this.#delayed.peek();
    }
    if (next?.atMs === this.#timer?.dueMs) return;
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
    if (next === undefined) return;
    const { clock } = this.#options;
    // Rounded up: a timer that fires a fraction too early would be set again at once, and again.
    const delayMs = Math.max(0, Math.ceil(next.atMs - clock.monotonicMs()));
    this.#timer = { dueMs: next.atMs, handle: clock.setTimer(delayMs, () => this.#onDue()) };
  }

  #dropDelay(item: Item<K>): void {
    item.delayed = undefined;
    this.#delayedCount -= 1;
  }

  #item(key: K): Item<K> {
    let item = this.#items.get(key);
    if (item === undefined) {
      item = { isActive: false };
      this.#items.set(key, item);
    }
    return item;
  }

  /** Milliseconds until this retry has a token; takes it. */
  #reserveRetry(): number {
    const nowMs = this.#options.clock.monotonicMs();
    const refilled = this.#tokens + ((nowMs - this.#tokensAtMs) * RETRIES_PER_SECOND) / 1_000;
    const maxDebt = (MAX_SHARED_WAIT_MS * RETRIES_PER_SECOND) / 1_000;
    this.#tokens = Math.max(-maxDebt, Math.min(RETRY_BURST, refilled) - 1);
    this.#tokensAtMs = nowMs;
    if (this.#tokens >= 0) return 0;
    const waitMs = (-this.#tokens * 1_000) / RETRIES_PER_SECOND;
    // At the limit many get the same wait: spread them.
    return waitMs < MAX_SHARED_WAIT_MS ? waitMs : waitMs * (0.5 + this.#options.random() / 2);
  }

  #reportDepth(): void {
    this.#options.observer?.onQueueDepth?.({ queue: this.#options.name ?? '', depth: this.#readyCount });
  }
}
