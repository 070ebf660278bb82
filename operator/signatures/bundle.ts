// Signatures as cosign attaches them since version 3: a Sigstore bundle with an in-toto statement in a DSSE envelope.
// @see https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
// @see https://github.com/secure-systems-lab/dsse/blob/master/protocol.md

import {
  bundleFromJSON,
  isBundleWithDsseEnvelope,
  ValidationError,
  type BundleWithDsseEnvelope,
} from '@sigstore/bundle';
import { toSignedEntity } from '@sigstore/verify';
import * as z from 'zod';
import { toError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { readJson } from './read-json.ts';
import { verifySigner, type Signed } from './signer.ts';
import { assertStatement, type Envelope } from './statement.ts';
import { readTrust, type Trust } from './trust.ts';
import { SignatureError, toVerification, type Verification } from './verification.ts';

/** Of the bundle, of the artifact that holds it, and of its layer. */
export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** Each is checked, and with those before it; a signer needs one or two. */
const MAX_EVIDENCE = 32;

const evidence = z.array(z.unknown()).max(MAX_EVIDENCE).nullish();
const bundleShape = z.looseObject({
  mediaType: z.string(),
  verificationMaterial: z.looseObject({
    tlogEntries: evidence,
    timestampVerificationData: z.looseObject({ rfc3161Timestamps: evidence }).nullish(),
  }),
});

export interface BundleInput {
  /** JSON, as it lies in the registry. */
  readonly bundle: string;
  /** The image that must be what was signed. */
  readonly digest: Digest;
  readonly trust: Trust;
  /** Whether any in-toto statement about the image counts, and not only a plain signature. Default: false. */
  readonly allowAnyPredicate?: boolean;
}

/** Never throws for what the bundle or the trust is like: that is a rejection. */
export function verifyBundle({ bundle, digest, trust, allowAnyPredicate = false }: BundleInput): Verification {
  return toVerification(() => {
    const anchors = readTrust(trust);
    const parsed = parseBundle(bundle);
    const signer = verifySigner(toSigned(parsed), anchors);
    assertStatement(parsed.content.dsseEnvelope, { digest, allowAnyPredicate });
    return signer;
  });
}

function parseBundle(text: string): BundleWithDsseEnvelope {
  const document = readJson('the bundle', text, bundleShape);
  if (document.mediaType !== BUNDLE_MEDIA_TYPE)
    throw new SignatureError('Unsupported', `it is ${document.mediaType}; only ${BUNDLE_MEDIA_TYPE} is supported`);
  const bundle = fromJson(document);
  if (isBundleWithDsseEnvelope(bundle)) return bundle;
  // A signature of the manifest's own bytes, which are not here; cosign signs images with statements.
  throw new SignatureError('Unsupported', 'the bundle holds no DSSE envelope');
}

function fromJson(document: unknown) {
  try {
    return bundleFromJSON(document);
  } catch (thrown) {
    const why = thrown instanceof ValidationError ? thrown.fields.join(', ') : toError(thrown).message;
    throw new SignatureError('Unreadable', `the bundle is not as expected: ${why}`, thrown);
  }
}

function toSigned(bundle: BundleWithDsseEnvelope): Signed {
  const { dsseEnvelope } = bundle.content;
  const [signature] = dsseEnvelope.signatures;
  const isCertified = bundle.verificationMaterial.content.$case !== 'publicKey';
  return {
    message: toSignedBytes(dsseEnvelope),
    signature: signature?.sig ?? new Uint8Array(),
    ...(isCertified && { toEntity: () => toSignedEntity(bundle) }),
  };
}

/** DSSE's pre-authentication encoding. */
function toSignedBytes({ payloadType, payload }: Envelope): Uint8Array {
  const typeBytes = Buffer.byteLength(payloadType);
  return Buffer.concat([Buffer.from(`DSSEv1 ${typeBytes} ${payloadType} ${payload.length} `), payload]);
}
