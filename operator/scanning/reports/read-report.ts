// The first steps with any report: bytes to JSON within limits, checked by a schema that takes only what is needed and
// lets everything else pass, because scanners add fields all the time.

import * as z from 'zod';
import { toError } from '../../errors.ts';
import { toTimestamp } from '../../time/duration.ts';
import { ReportError } from '../report-error.ts';

/** Longer reports are refused unread. */
export const MAX_REPORT_BYTES = 128 * 1024 * 1024;
/** More findings than any image has; what says so is no scanner. */
export const MAX_FINDINGS = 200_000;

/** `what`: the format, for messages. Throws a ReportError. */
export function readReport<Schema extends z.ZodType>(what: string, body: string, schema: Schema): z.output<Schema> {
  if (body.trim() === '') throw new ReportError('Empty', `${what}: there is nothing in it`);
  if (body.length > MAX_REPORT_BYTES)
    throw new ReportError('TooLarge', `${what}: longer than ${MAX_REPORT_BYTES / 1024 / 1024} MiB`);
  let document: unknown;
  try {
    document = JSON.parse(body);
  } catch (thrown) {
    const kind = body.trimStart().startsWith('<') ? 'a page of markup, no report' : 'no JSON, or cut off';
    throw new ReportError('Unreadable', `${what}: ${kind}`, toError(thrown));
  }
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new ReportError(
    'Unreadable',
    `${what}: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'not as expected'}`,
  );
}

/** A list that scanners write as null, or not at all, when it is empty. */
export function listOf<Schema extends z.ZodType>(item: Schema) {
  return z
    .array(item)
    .nullish()
    .transform((list) => list ?? []);
}

/** Throws when there are more findings than can be. */
export function limitFindings<T>(what: string, findings: readonly T[]): readonly T[] {
  if (findings.length <= MAX_FINDINGS) return findings;
  throw new ReportError('TooLarge', `${what}: ${findings.length} findings`);
}

/** A text of limited length; undefined for an empty one, and for none. */
export function textOf(text: string | null | undefined, maxLength: number): string | undefined {
  const trimmed = text?.trim().slice(0, maxLength).toWellFormed();
  return trimmed === '' ? undefined : trimmed;
}

/** The end of the year 9999, beyond which a time has no RFC 3339 form. */
const LAST_MS = 253_402_300_799_000;

/** RFC 3339 in UTC without fractions; undefined for none, for one that is no time, and for the year 1, which stands for none. */
export function timeOf(text: string | number | null | undefined): string | undefined {
  if (text === null || text === undefined) return undefined;
  const ms = typeof text === 'number' ? text * 1000 : Date.parse(text);
  if (!Number.isFinite(ms) || ms <= 0 || ms > LAST_MS) return undefined;
  return toTimestamp(ms);
}
