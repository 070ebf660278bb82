// What a signature says, read only once it is known who says it: an in-toto statement in a bundle, or cosign's older "simple
// signing". Either names the image by its digest; where the image lies is left aside, because images are copied.
// @see https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
// @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md

import * as z from 'zod';
import type { Digest } from '../image/digest.ts';
import { readJson } from './read-json.ts';
import { SignatureError } from './verification.ts';

/** The predicate of a statement that says no more than that the image was signed. */
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
/** More than any statement has that is about one image. */
const MAX_SUBJECTS = 1_024;

const statement = z.object({
  _type: z.enum(['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1']),
  predicateType: z.string(),
  subject: z.array(z.object({ digest: z.object({ sha256: z.string().optional() }) })).max(MAX_SUBJECTS),
});

const simpleSigning = z.object({
  critical: z.object({
    // Signed as well, so that no other document can be passed off as this one.
    type: z.literal('cosign container image signature'),
    image: z.object({ 'docker-manifest-digest': z.string() }),
  }),
});

export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

export interface Expectation {
  readonly digest: Digest;
  /** Whether provenance, SBOMs and the like count as well as a plain signature does. */
  readonly allowAnyPredicate: boolean;
}

/** Throws a SignatureError unless the statement says what is expected about the image. */
export function assertStatement({ payloadType, payload }: Envelope, { digest, allowAnyPredicate }: Expectation): void {
  if (payloadType !== PAYLOAD_TYPE)
    throw new SignatureError('Unsupported', `it signs ${payloadType}, no in-toto statement`);
  const { predicateType, subject } = readJson('the statement', decode(payload), statement);
  assertImage(
    subject.flatMap(({ digest: { sha256 } }) => (sha256 === undefined ? [] : [`sha256:${sha256}`])),
    digest,
  );
  if (predicateType === SIGN_PREDICATE || allowAnyPredicate) return;
  throw new SignatureError('AnotherPredicate', `it is an attestation (${predicateType}), no plain signature`);
}

/** Throws a SignatureError unless the payload is about the image. */
export function assertSimpleSigning(payload: Uint8Array, digest: Digest): void {
  const { critical } = readJson('the payload', decode(payload), simpleSigning);
  assertImage([critical.image['docker-manifest-digest']], digest);
}

function assertImage(signed: readonly string[], digest: Digest): void {
  if (signed.includes(digest)) return;
  throw new SignatureError('AnotherImage', `it is about ${signed[0] ?? 'no image'}, and not about ${digest}`);
}

function decode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
