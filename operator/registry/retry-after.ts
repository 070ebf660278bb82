// Retry-After, in both forms, brought into sane bounds: a registry may ask us to wait, but not for ever.
// @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3

const MIN_MS = 1_000;
const MAX_MS = 3_600_000;
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Milliseconds to wait, between one second and one hour; undefined when the header is absent or unreadable. */
export function parseRetryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,15}$/.test(text)) return clamp(Number(text) * 1_000);
  if (!HTTP_DATE.test(text)) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : clamp(timeMs - nowMs);
}

function clamp(durationMs: number): number {
  return Math.min(Math.max(durationMs, MIN_MS), MAX_MS);
}
