// Go-style durations as the API writes them: `90s`, `5m`, `1h30m`. Days are left out on purpose: neither Go nor CEL
// reads `d`.

import { TerminalError } from '../errors.ts';

const UNIT_MS = { h: 3_600_000, m: 60_000, s: 1_000 } as const;
const SHAPE = /^(?:[0-9]+(?:h|m|s))+$/;

/** Milliseconds of a duration such as `1h30m`. Throws TerminalError `InvalidDuration` for anything else. */
export function parseDurationMs(text: string): number {
  let totalMs = SHAPE.test(text) ? 0 : NaN;
  for (const [, amount, unit] of text.matchAll(/([0-9]+)(h|m|s)/g)) {
    totalMs += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  if (!Number.isSafeInteger(totalMs)) {
    throw new TerminalError(`${JSON.stringify(text)} is not a duration: write for example 90s, 5m or 1h30m`, {
      code: 'InvalidDuration',
    });
  }
  return totalMs;
}

/** A duration for people, in at most two units: `2h5m`, `3m20s`, `45s`. */
export function formatDurationMs(durationMs: number): string {
  const totalSeconds = Math.max(0, Math.round(durationMs / 1_000));
  const hours = Math.floor(totalSeconds / 3_600);
  const minutes = Math.floor((totalSeconds % 3_600) / 60);
  const seconds = totalSeconds % 60;
  if (hours > 0) return minutes > 0 ? `${hours}h${minutes}m` : `${hours}h`;
  if (minutes > 0) return seconds > 0 ? `${minutes}m${seconds}s` : `${minutes}m`;
  return `${seconds}s`;
}

/** A timestamp as Kubernetes writes `metav1.Time`: whole seconds, `2026-01-02T03:04:05Z`. */
export function toTimestamp(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}

/** Milliseconds since the epoch of an RFC 3339 timestamp, or undefined when it is absent or unreadable. */
export function parseTimestampMs(timestamp: string | undefined): number | undefined {
  if (timestamp === undefined) return undefined;
  const timeMs = Date.parse(timestamp);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}
