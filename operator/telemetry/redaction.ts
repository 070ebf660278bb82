// Secrets are wrapped once, where they enter, and from then on cannot be printed by accident: not by string
// concatenation, JSON, util.inspect or the logger. Only `reveal()` gives them back, which is easy to find in a review.

import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/** A value that must never be shown. Everything that would print it prints `[redacted]`. */
export class Redacted<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The secret itself. Call it at the last moment, where the secret is sent. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
