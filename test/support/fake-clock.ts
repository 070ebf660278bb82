// A Clock that only moves when a test says so. `advance` runs due timers one by one in order of their due time and lets
// promise chains settle in between, so a loop of sleeps behaves as it would in real time.

import type { Clock } from '../../operator/time/clock.ts';

interface FakeTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** `2026-01-05T08:00:00Z`, a Monday. */
const START_MS = Date.UTC(2026, 0, 5, 8);

export class FakeClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();

  constructor(startMs: number = START_MS) {
    this.#wallMs = startMs;
  }

  now(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  setTimer(delayMs: number, callback: () => void): Disposable {
    const timer = { dueMs: this.#monotonicMs + Math.max(delayMs, 0), order: this.#order++, callback };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const onAbort = () => {
        timer[Symbol.dispose]();
        reject(signal.reason as Error);
      };
      const timer = this.setTimer(delayMs, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Timers that are set and not yet run: 0 at the end of a test means nothing was left behind. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer is due; absent when none is set. */
  get nextTimerMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.dueMs - this.#monotonicMs;
  }

  /** Moves both clocks forward, running each due timer at its own time. Resolves when what they started has settled. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#monotonicMs + durationMs;
    await settle();
    for (let timer = this.#next(); timer !== undefined && timer.dueMs <= untilMs; timer = this.#next()) {
      this.#moveTo(timer.dueMs);
      this.#timers.delete(timer);
      timer.callback();
      await settle();
    }
    this.#moveTo(untilMs);
  }

  /** Moves both clocks without running any timer, as a stopped process or a blocked event loop does. */
  stall(durationMs: number): void {
    this.#moveTo(this.#monotonicMs + durationMs);
  }

  /** Sets the wall clock forward or back; the monotonic clock and timers do not notice. */
  jump(durationMs: number): void {
    this.#wallMs += durationMs;
  }

  #moveTo(monotonicMs: number): void {
    if (monotonicMs <= this.#monotonicMs) return;
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }

  #next(): FakeTimer | undefined {
    let next: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order)) {
        next = timer;
      }
    }
    return next;
  }
}

/** Lets promise chains of any length run to their next real wait. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
