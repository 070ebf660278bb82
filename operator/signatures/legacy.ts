// Signatures as cosign attached them before version 3, and kpack does: a payload in "simple signing" as a layer, the
// signature and what proves it in the layer's annotations. With a certificate it is turned into a bundle of the oldest
// version, which holds the same, so that one verifier judges both.
// @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md

import { createHash, X509Certificate } from 'node:crypto';
import { BUNDLE_V01_MEDIA_TYPE, bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, type SignedEntity } from '@sigstore/verify';
import * as z from 'zod';
import type { Digest } from '../image/digest.ts';
import { base64, readJson } from './read-json.ts';
import { verifySigner } from './signer.ts';
import { assertSimpleSigning } from './statement.ts';
import { readTrust, type Trust } from './trust.ts';
import { SignatureError, toVerification, type Verification } from './verification.ts';

export interface LegacySignature {
  /** `dev.cosignproject.cosign/signature`: the signature of the payload, in base64. */
  readonly signature: string;
  /** `dev.sigstore.cosign/certificate`, in PEM. Absent: signed with a bare key. */
  readonly certificate?: string;
  /** `dev.sigstore.cosign/bundle`: JSON of what Rekor promised. Absent: the signature was not logged. */
  readonly bundle?: string;
  /** `dev.sigstore.cosign/rfc3161timestamp`: JSON. Absent: no time-stamp authority was asked. */
  readonly timestamp?: string;
}

export interface LegacyInput extends LegacySignature {
  /** The layer's bytes; whoever fetched them has checked that they are what its digest says. */
  readonly payload: Uint8Array;
  /** The image that must be what was signed. */
  readonly digest: Digest;
  readonly trust: Trust;
}

const promise = z.object({
  SignedEntryTimestamp: z.base64(),
  Payload: z.object({
    body: base64,
    integratedTime: z.int(),
    logIndex: z.int(),
    logID: z.hex(),
  }),
});
const entryBody = z.object({ kind: z.string(), apiVersion: z.string() });
const signedTimestamp = z.object({ SignedRFC3161Timestamp: z.base64() });

/** Never throws for what the signature or the trust is like: that is a rejection. */
export function verifyLegacySignature({ payload, digest, trust, ...annotations }: LegacyInput): Verification {
  return toVerification(() => {
    const anchors = readTrust(trust);
    const signature = base64.safeParse(annotations.signature);
    if (!signature.success) throw new SignatureError('Unreadable', 'the signature is not in base64');
    const { certificate } = annotations;
    const signer = verifySigner(
      {
        message: payload,
        signature: signature.data,
        ...(certificate !== undefined && { toEntity: () => toEntity(payload, { ...annotations, certificate }) }),
      },
      anchors,
    );
    assertSimpleSigning(payload, digest);
    return signer;
  });
}

function toEntity(
  payload: Uint8Array,
  { signature, certificate, bundle, timestamp }: LegacySignature & { readonly certificate: string },
): SignedEntity {
  const document = {
    mediaType: BUNDLE_V01_MEDIA_TYPE,
    verificationMaterial: {
      x509CertificateChain: { certificates: [{ rawBytes: new X509Certificate(certificate).raw.toString('base64') }] },
      tlogEntries: bundle === undefined ? [] : [toLogEntry(bundle)],
      timestampVerificationData: { rfc3161Timestamps: timestamp === undefined ? [] : [toTimestamp(timestamp)] },
    },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: createHash('sha256').update(payload).digest('base64') },
      signature,
    },
  };
  return toSignedEntity(bundleFromJSON(document), Buffer.from(payload));
}

function toLogEntry(text: string) {
  const { SignedEntryTimestamp, Payload } = readJson('what Rekor promised', text, promise);
  const { kind, apiVersion } = readJson('the entry in Rekor', Payload.body.toString('utf8'), entryBody);
  return {
    logIndex: String(Payload.logIndex),
    logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: String(Payload.integratedTime),
    inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
    canonicalizedBody: Payload.body.toString('base64'),
  };
}

function toTimestamp(text: string) {
  return { signedTimestamp: readJson('the time-stamp', text, signedTimestamp).SignedRFC3161Timestamp };
}
