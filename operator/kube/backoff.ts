// Growing waits between attempts at one thing, spread at random so that many clients do not come back together.

import type { Clock } from '../time/clock.ts';

export interface BackoffOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly baseMs: number;
  readonly maxMs: number;
  /** After this long without a failure the next wait starts from `baseMs` again. */
  readonly resetAfterMs: number;
}

/** `next()` answers how long to wait: anything up to baseMs * 2^n, capped ("full jitter"). */
export class Backoff {
  readonly #options: BackoffOptions;
  #attempts = 0;
  #lastMs = -Infinity;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  next(): number {
    const { clock, random, baseMs, maxMs, resetAfterMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lastMs > resetAfterMs) this.#attempts = 0;
    const delayMs = random() * Math.min(maxMs, baseMs * 2 ** this.#attempts);
    this.#attempts += 1;
    // Counted from the end of the wait, so that a long wait is not taken for two minutes of health.
    this.#lastMs = nowMs + delayMs;
    return delayMs;
  }
}
