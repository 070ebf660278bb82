// From text to a checked document. Schemas take only what is needed and let everything else pass.

import * as z from 'zod';
import { toError } from '../errors.ts';
import { SignatureError, type RejectionReason } from './verification.ts';

/** Longer documents are refused unread: an attestation may carry a whole SBOM, a signature is a few thousand. */
const MAX_LENGTH = 16 * 1024 * 1024;

/** Bytes in a JSON document. */
export const base64 = z.base64().transform((text) => Buffer.from(text, 'base64'));

/** `what`: the document, for messages. Throws a SignatureError, `Unreadable` unless told otherwise. */
export function readJson<Schema extends z.ZodType>(
  what: string,
  text: string,
  schema: Schema,
  reason: RejectionReason = 'Unreadable',
): z.output<Schema> {
  if (text.length > MAX_LENGTH)
    throw new SignatureError(reason, `${what} is longer than ${MAX_LENGTH / 1024 / 1024} MiB`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (thrown) {
    throw new SignatureError(reason, `${what} is no JSON, or cut off`, toError(thrown));
  }
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new SignatureError(
    reason,
    `${what} is not as expected: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'malformed'}`,
  );
}
