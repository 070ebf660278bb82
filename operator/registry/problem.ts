// What can go wrong with a registry, as a code for programs and a sentence for people. Sentences hold nothing that changes
// from one attempt to the next (no times, counters, addresses or request ids), because they end up in a status and an
// unchanged problem must not cause a write. They never quote what the registry wrote, except its error code.

import { STATUS_CODES } from 'node:http';
import { SlipwayError, TerminalError, TransientError } from '../errors.ts';

export const REGISTRY_PROBLEM_CODES = [
  /** The registry or its token server wants a login, or another one. */
  'Unauthorized',
  'Forbidden',
  'RepositoryNotFound',
  /** The repository is there, the digest or tag asked for is not. */
  'ManifestNotFound',
  'RateLimited',
  /** Network failure, timeout or 5xx. */
  'Unavailable',
  /** An answer that is malformed, contradictory or larger than a sane one. */
  'InvalidResponse',
  /** A complete listing without a single tag: possible, but never acted upon. */
  'TagListEmpty',
  /** More tags or pages than we are willing to read. */
  'TagListTruncated',
  /** The host has an address that it may not have: see HostConfig.allowPrivate. */
  'BlockedAddress',
  'RedirectRefused',
  /** The registry sends its users to a token server that nobody allowed: see HostConfig.tokenHosts. */
  'TokenHostRefused',
  'UntrustedCertificate',
  'InvalidCaBundle',
] as const;
export type RegistryProblemCode = (typeof REGISTRY_PROBLEM_CODES)[number];

export interface RegistryProblem {
  readonly code: RegistryProblemCode;
  /** A sentence for people; the same text as long as the problem is the same. */
  readonly message: string;
  /** Wall-clock time in milliseconds before which the registry asked not to be asked again. Absent: it did not say. */
  readonly retryAtMs?: number;
}

const TRANSIENT: ReadonlySet<RegistryProblemCode> = new Set([
  'RateLimited',
  'Unavailable',
  'InvalidResponse',
  'TagListEmpty',
]);

/** A failure as an error: TransientError where waiting may help, TerminalError where somebody must change something. */
export function registryError(
  code: RegistryProblemCode,
  message: string,
  options: { readonly cause?: unknown; readonly retryAfterMs?: number | undefined } = {},
): TransientError | TerminalError {
  const { cause, retryAfterMs } = options;
  return TRANSIENT.has(code)
    ? new TransientError(message, { code, cause, retryAfterMs })
    : new TerminalError(message, { code, cause });
}

/** The same failure with what was being done put before it: `Listing tags of ghcr.io/acme/web: …`. */
export function whileDoing(subject: string, thrown: unknown): unknown {
  if (!(thrown instanceof SlipwayError)) return thrown;
  const message = `${subject}: ${thrown.message}`;
  return thrown instanceof TransientError
    ? new TransientError(message, { code: thrown.code, cause: thrown, retryAfterMs: thrown.retryAfterMs })
    : new TerminalError(message, { code: thrown.code, cause: thrown });
}

/** What a RegistryClient threw, as a value for a view. An error that is none of ours is a bug and reads as Unavailable. */
export function toProblem(thrown: unknown, nowMs: number): RegistryProblem {
  if (!(thrown instanceof SlipwayError) || !isProblemCode(thrown.code)) {
    return { code: 'Unavailable', message: 'The registry could not be read because of an internal error; see the log' };
  }
  const retryAfterMs = thrown instanceof TransientError ? thrown.retryAfterMs : undefined;
  return {
    code: thrown.code,
    message: thrown.message,
    ...(retryAfterMs !== undefined && { retryAtMs: nowMs + retryAfterMs }),
  };
}

function isProblemCode(code: string): code is RegistryProblemCode {
  return (REGISTRY_PROBLEM_CODES as readonly string[]).includes(code);
}

/** `404 Not Found`. */
export function describeStatus(status: number): string {
  const text = STATUS_CODES[status];
  return text === undefined ? String(status) : `${status} ${text}`;
}
