// Findings that somebody has accepted, for a reason and for a time.

import type { Finding } from '../api/scan-facts.ts';

/** One accepted vulnerability, as it applies to the image in question. */
export interface Exception {
  /** `VulnerabilityException accept-openssl`, or the VEX document that says so. */
  readonly source: string;
  /** Name of the vulnerability; aliases count. */
  readonly id: string;
  /** Only in this package. Absent: in any. */
  readonly package?: string;
  /** From then on it counts again. Absent where the format knows no end. */
  readonly expiresMs?: number;
}

/** The exception that lets the finding pass now: of several the one that lasts longest. Undefined: none does. */
export function findException(
  finding: Finding,
  exceptions: readonly Exception[],
  nowMs: number,
): Exception | undefined {
  let longest: Exception | undefined;
  for (const exception of exceptions) {
    if (!covers(exception, finding) || endOf(exception) <= nowMs) continue;
    if (longest === undefined || endOf(exception) > endOf(longest)) longest = exception;
  }
  return longest;
}

function covers(exception: Exception, { id, aliases, package: name }: Finding): boolean {
  if (exception.package !== undefined && exception.package !== name) return false;
  return exception.id === id || aliases.includes(exception.id);
}

function endOf({ expiresMs = Infinity }: Exception): number {
  return expiresMs;
}
