// What one host may be asked at a time. All requests to a host, whoever wants them, pass one gate: a budget per second, a
// number at once, a pause per login when the host says so, and a circuit breaker for hosts that are down.
//
// Circuit breaker:
//   closed ──(FAILURES in a row)──▶ open ──(its time is over)──▶ half-open: one request goes through
//     ▲                              ▲                                │
//     └────────── any answer ────────┼────────────────────────────────┤
//                                    └── failed, twice as long (cap) ─┘
// While it is open, requests fail at once with the failure that opened it, so that a status keeps one and the same text.

import { SlipwayError, TransientError } from '../errors.ts';
import type { Clock } from '../time/clock.ts';
import { registryError, type RegistryProblemCode } from './problem.ts';

const FAILURES = 5;
const OPEN_MIN_MS = 10_000;
const OPEN_MAX_MS = 300_000;
const PAUSE_MIN_MS = 10_000;
const PAUSE_MAX_MS = 600_000;

export interface HostGateOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly requestsPerSecond: number;
  readonly concurrency: number;
}

/** What a request that passed the gate came to. */
export type GateOutcome =
  /** The host answered, with whatever it had to say. */
  | { readonly kind: 'answered' }
  /** No answer, or one that says the host is in trouble. */
  | { readonly kind: 'failed'; readonly error: Error }
  /** 429 for this login; `retryAfterMs` absent when the host did not say how long. */
  | { readonly kind: 'limited'; readonly error: Error; readonly retryAfterMs?: number | undefined }
  /** Says nothing about the host: aborted by us, or refused before it was sent. */
  | { readonly kind: 'void' };

interface Waiter {
  readonly loginKey: string;
  readonly grant: () => void;
  readonly refuse: (error: Error) => void;
}

interface Pause {
  readonly untilMs: number;
  readonly strikes: number;
  readonly error: Error;
}

export class HostGate {
  readonly #options: HostGateOptions;
  readonly #waiting = new Set<Waiter>();
  readonly #pauses = new Map<string, Pause>();
  #active = 0;
  #budget: number;
  #refilledMs: number;
  #timer: Disposable | undefined;
  #failures = 0;
  #openUntilMs = 0;
  #lastFailure: Error | undefined;
  #isProbing = false;

  constructor(options: HostGateOptions) {
    this.#options = options;
    this.#budget = this.#capacity;
    this.#refilledMs = options.clock.monotonicMs();
  }

  /** Nothing is under way, waiting or remembered: the gate can be thrown away. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#waiting.size === 0 && this.#failures === 0 && this.#pauses.size === 0;
  }

  /**
   * Resolves when the request may be sent; the caller must then call `leave` exactly once. Rejects with the host's last
   * failure while the circuit is open or the login is paused, and with the signal's reason when it aborts.
   */
  enter(loginKey: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const refusal = this.#refusal(loginKey);
      if (refusal !== undefined) return reject(refusal);
      const settle = (): void => {
        this.#waiting.delete(waiter);
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        settle();
        reject(signal.reason as Error);
      };
      const waiter: Waiter = {
        loginKey,
        grant: () => {
          settle();
          resolve();
        },
        refuse: (error) => {
          settle();
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(waiter);
      this.#pump();
    });
  }

  leave(loginKey: string, outcome: GateOutcome): void {
    this.#active -= 1;
    this.#isProbing = false;
    switch (outcome.kind) {
      case 'answered':
        this.#close();
        this.#pauses.delete(loginKey);
        break;
      case 'limited':
        this.#close();
        this.#pause(loginKey, outcome.error, outcome.retryAfterMs);
        break;
      case 'failed':
        this.#fail(outcome.error);
        break;
      case 'void':
        break;
    }
    this.#pump();
  }

  #pump(): void {
    this.#refill();
    for (const waiter of this.#waiting) {
      const refusal = this.#refusal(waiter.loginKey);
      if (refusal !== undefined) {
        waiter.refuse(refusal);
        continue;
      }
      if (this.#active >= this.#options.concurrency) return;
      if (this.#budget < 1) {
        this.#pumpLater();
        return;
      }
      this.#budget -= 1;
      this.#active += 1;
      this.#isProbing = this.#failures >= FAILURES;
      waiter.grant();
    }
  }

  #pumpLater(): void {
    if (this.#timer !== undefined) return;
    const delayMs = Math.ceil(((1 - this.#budget) * 1_000) / this.#options.requestsPerSecond);
    this.#timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#pump();
    });
  }

  /** One second's worth may go out at once. */
  get #capacity(): number {
    return Math.max(1, Math.ceil(this.#options.requestsPerSecond));
  }

  #refill(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const earned = ((nowMs - this.#refilledMs) * this.#options.requestsPerSecond) / 1_000;
    this.#budget = Math.min(this.#capacity, this.#budget + earned);
    this.#refilledMs = nowMs;
  }

  #refusal(loginKey: string): Error | undefined {
    const nowMs = this.#options.clock.monotonicMs();
    const pause = this.#pauses.get(loginKey);
    if (pause !== undefined && pause.untilMs > nowMs) return withDelay(pause.error, pause.untilMs - nowMs);
    if (this.#failures < FAILURES || this.#lastFailure === undefined) return undefined;
    if (this.#openUntilMs > nowMs) return withDelay(this.#lastFailure, this.#openUntilMs - nowMs);
    return this.#isProbing ? withDelay(this.#lastFailure, OPEN_MIN_MS) : undefined;
  }

  #close(): void {
    this.#failures = 0;
    this.#lastFailure = undefined;
  }

  #fail(error: Error): void {
    this.#failures += 1;
    this.#lastFailure = error;
    if (this.#failures < FAILURES) return;
    const openMs = Math.min(OPEN_MAX_MS, OPEN_MIN_MS * 2 ** Math.min(this.#failures - FAILURES, 16));
    this.#openUntilMs = this.#options.clock.monotonicMs() + this.#jitter(openMs);
  }

  #pause(loginKey: string, error: Error, retryAfterMs: number | undefined): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [key, pause] of this.#pauses) {
      if (key !== loginKey && pause.untilMs + PAUSE_MAX_MS < nowMs) this.#pauses.delete(key);
    }
    const strikes = (this.#pauses.get(loginKey)?.strikes ?? 0) + 1;
    const ownMs = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(strikes - 1, 16));
    this.#pauses.set(loginKey, { untilMs: nowMs + (retryAfterMs ?? this.#jitter(ownMs)), strikes, error });
  }

  /** Up to a fifth more, so that not everything wakes at the same moment; never less than asked. */
  #jitter(durationMs: number): number {
    return durationMs * (1 + 0.2 * this.#options.random());
  }
}

/** The remembered failure, anew: same code and text, with the time that is left. */
function withDelay(error: Error, delayMs: number): Error {
  const retryAfterMs = Math.ceil(delayMs);
  if (error instanceof TransientError) {
    return new TransientError(error.message, { code: error.code, cause: error, retryAfterMs });
  }
  const code = error instanceof SlipwayError ? (error.code as RegistryProblemCode) : 'Unavailable';
  return registryError(code, error.message, { cause: error, retryAfterMs });
}
