// A call to the API server that did not succeed, with what the server said. Always transient: rights, schemas, quotas and
// namespaces change without any change of our own input, so no answer of the server is final.

import { TransientError } from '../errors.ts';

/** The parts of `metav1.Status` that are read. */
export interface KubeStatus {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  };
}

interface KubeErrorOptions {
  readonly status: number;
  readonly reason: string;
  readonly details?: KubeStatus['details'];
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** `reason` is Kubernetes's own (`Conflict`), or `Unreachable` or `Timeout` (status 0) when no answer came; it is also the `code`. */
export class KubeError extends TransientError {
  /** The HTTP status, 0 when no answer came. */
  readonly status: number;
  readonly reason: string;
  readonly #details: KubeStatus['details'];

  constructor(message: string, options: KubeErrorOptions) {
    super(message, { code: options.reason, retryAfterMs: options.retryAfterMs, cause: options.cause });
    this.status = options.status;
    this.reason = options.reason;
    this.#details = options.details;
  }

  /** The object has moved on since the resourceVersion, or away from the preconditions, that the write named. */
  get isConflict(): boolean {
    return this.status === 409 && this.reason !== 'AlreadyExists';
  }

  get isAlreadyExists(): boolean {
    return this.status === 409 && this.reason === 'AlreadyExists';
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }

  get isForbidden(): boolean {
    return this.status === 403;
  }

  get isUnauthorized(): boolean {
    return this.status === 401;
  }

  /** The object breaks its schema or a rule, or a `test` of a JSON patch failed. */
  get isInvalid(): boolean {
    return this.status === 422;
  }

  /**
   * A `test` of a JSON patch did not hold (or its path does not exist): read the object again and decide anew. The server
   * does not say so in words; what gives it away is a 422 that names no field.
   */
  get isFailedTest(): boolean {
    return this.status === 422 && !(this.#details?.causes ?? []).some((cause) => cause.field !== undefined);
  }

  /** The resourceVersion or continue token is too old for the server: list again. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }

  /** The resourceVersion is newer than anything the server has: it lags, or it was restored from a backup. */
  get isTooLargeResourceVersion(): boolean {
    return (
      (this.#details?.causes ?? []).some((cause) => cause.reason === 'ResourceVersionTooLarge') ||
      (this.status === 504 && this.message.includes('Too large resource version'))
    );
  }

  get isThrottled(): boolean {
    return this.status === 429;
  }

  /** Whether a write may have happened although it failed: read before doing it again. */
  get isAmbiguous(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

/** The error for a `Status` the server sent. `doing` says what was being done: `Listing pods`. */
export function statusToError(doing: string, httpStatus: number, status: KubeStatus, retryAfter?: string): KubeError {
  const code = status.code ?? httpStatus;
  const reason = status.reason !== undefined && status.reason !== '' ? status.reason : reasonOf(code);
  return new KubeError(`${doing}: ${code} ${reason}${status.message ? `: ${status.message}` : ''}`, {
    status: code,
    reason,
    details: status.details,
    retryAfterMs: retryAfterMs(retryAfter) ?? secondsToMs(status.details?.retryAfterSeconds),
  });
}

/** The error for an HTTP answer that is no success. A body that is no `Status` (a proxy's page) is quoted in short. */
export function responseToError(doing: string, httpStatus: number, body: string, retryAfter?: string): KubeError {
  const status = parseStatus(body) ?? { message: body.slice(0, 200).replaceAll(/\s+/g, ' ').trim() };
  return statusToError(doing, httpStatus, { ...status, code: httpStatus }, retryAfter);
}

function parseStatus(body: string): KubeStatus | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed !== 'object' || parsed === null || !('kind' in parsed) || parsed.kind !== 'Status')
      return undefined;
    return parsed as KubeStatus;
  } catch {
    return undefined;
  }
}

/** The API server sends seconds; a proxy in front of it may send a date, which is left to our own back-off. */
function retryAfterMs(header: string | undefined): number | undefined {
  return header !== undefined && /^[0-9]{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}

function secondsToMs(seconds: number | undefined): number | undefined {
  return seconds !== undefined && seconds > 0 ? seconds * 1_000 : undefined;
}

function reasonOf(code: number): string {
  switch (code) {
    case 400:
      return 'BadRequest';
    case 401:
      return 'Unauthorized';
    case 403:
      return 'Forbidden';
    case 404:
      return 'NotFound';
    case 409:
      return 'Conflict';
    case 410:
      return 'Gone';
    case 415:
      return 'UnsupportedMediaType';
    case 422:
      return 'Invalid';
    case 429:
      return 'TooManyRequests';
    case 500:
      return 'InternalError';
    case 503:
      return 'ServiceUnavailable';
    case 504:
      return 'Timeout';
    default:
      return 'Unknown';
  }
}
