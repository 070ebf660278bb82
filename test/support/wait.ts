// Waiting for a condition with a deadline, instead of sleeping: a test goes on as soon as the world is as it should be,
// and says what it last saw when it never gets there.

import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /** Milliseconds until the wait fails. Default 30 000. */
  readonly timeoutMs?: number;
  /** Milliseconds between two probes. Default 50. */
  readonly intervalMs?: number;
  /** Ends the wait early; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Thrown by a probe when what is awaited can never come true: the wait ends at once with this error. */
export class GiveUp extends Error {
  override readonly name = 'GiveUp';
}

type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>;

/**
 * Calls `probe` until it returns something truthy, and resolves with that. A probe that throws counts as "not yet",
 * unless it throws {@link GiveUp}.
 * Throws when the deadline passes; `what` names the awaited state ("the API server is ready"), the last error is the cause.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<Truthy<T>> {
  const { timeoutMs = 30_000, intervalMs = 50, signal } = options;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value as Truthy<T>;
      lastError = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      lastError = error;
    }
    signal?.throwIfAborted();
    if (performance.now() >= deadline) {
      const last = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`Waited ${timeoutMs} ms in vain until ${what}${last}`, { cause: lastError });
    }
    await delay(intervalMs, undefined, signal ? { signal } : {});
  }
}
