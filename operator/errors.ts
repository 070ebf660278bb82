// The two kinds of failure a reconciler can meet. Transient: the same call may work later, so back off. Terminal: only
// a changed input helps, so tell the user and wait. A closed gate or a skipped tag is a value, never an error.

import { inspect } from 'node:util';

interface SlipwayErrorOptions {
  readonly code: string;
  readonly cause?: unknown;
}

/** Common base: `code` is a stable PascalCase token that may become a condition reason. */
export abstract class SlipwayError extends Error {
  readonly code: string;

  constructor(message: string, options: SlipwayErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
  }
}

/** The same call may succeed later. `retryAfterMs` is what the other side asked for, absent when it did not say. */
export class TransientError extends SlipwayError {
  readonly retryAfterMs?: number;

  constructor(message: string, options: SlipwayErrorOptions & { readonly retryAfterMs?: number | undefined }) {
    super(message, options);
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}

/** Only a change of spec, configuration or rights helps. The message names the field and the remedy. */
export class TerminalError extends SlipwayError {}

/** Any thrown value as an Error, so that callers can read `message` and `cause`. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  // Not String() for objects: it says `[object Object]`, and throws for one without a prototype.
  return new Error(typeof thrown === 'object' && thrown !== null ? inspect(thrown, { depth: 1 }) : String(thrown));
}
