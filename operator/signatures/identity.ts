// Identities: a certificate that lived for minutes says who signed, and a transparency log or a time-stamp authority proves
// that it was within these minutes.
// @see https://docs.sigstore.dev/cosign/verifying/verify/

import { createPublicKey } from 'node:crypto';
import { VerificationError, Verifier, type SignedEntity } from '@sigstore/verify';
import { toError } from '../errors.ts';
import type { TrustAnchors, TrustedIdentity } from './trust.ts';
import type { TrustMaterial } from './trusted-root.ts';
import { SignatureError, type Signer } from './verification.ts';

type Identity = Extract<Signer, { kind: 'identity' }>;

/** Throws a SignatureError. */
export function verifyIdentity(toEntity: () => SignedEntity, { material, identities }: TrustAnchors): Identity {
  if (!material) {
    throw new SignatureError(
      'NoTrustRoot',
      'it was made with a certificate, which takes a trusted root to verify: configure one, or a key',
    );
  }
  const identity = proveIdentity(toEntity, material);
  if (identities.some((trusted) => isCovered(identity, trusted))) return identity;
  throw new SignatureError(
    'UntrustedSigner',
    `it was made by ${identity.subject}, of whom ${identity.issuer} knows, and that is none of the trusted identities`,
  );
}

function isCovered({ issuer, subject }: Identity, trusted: TrustedIdentity): boolean {
  return issuer === trusted.issuer && trusted.subject.testExact(subject);
}

/** Whom the certificate names, once everything about it is proven. */
function proveIdentity(toEntity: () => SignedEntity, material: TrustMaterial): Identity {
  try {
    const entity = toEntity();
    assertSignature(entity);
    const { identity } = toVerifier(material).verify(entity);
    const issuer = identity?.extensions?.issuer;
    const subject = identity?.subjectAlternativeName;
    if (issuer && subject) return { kind: 'identity', issuer, subject };
  } catch (thrown) {
    if (thrown instanceof SignatureError) throw thrown;
    if (thrown instanceof VerificationError) throw toSignatureError(thrown);
    // The packages throw whatever comes of malformed DER and of missing fields, TypeErrors included.
    throw new SignatureError(
      'Unreadable',
      `its certificate or evidence is malformed: ${toError(thrown).message}`,
      thrown,
    );
  }
  throw new SignatureError('UntrustedSigner', 'its certificate names no issuer and subject');
}

/** What the root lists is demanded: a log for certificates, one for signatures. The time must always be proven. */
function toVerifier(material: TrustMaterial): Verifier {
  return new Verifier(material, {
    ctlogThreshold: Math.min(1, material.ctlogs.length),
    tlogThreshold: Math.min(1, material.tlogs.length),
    timestampThreshold: 1,
  });
}

/** First of all, because of a changed payload the verifier would say that the log knows another one. */
function assertSignature({ key, signature }: SignedEntity): void {
  if (key.$case !== 'certificate') throw new SignatureError('Unreadable', 'it has no certificate');
  const publicKey = createPublicKey({ key: key.certificate.publicKey, format: 'der', type: 'spki' });
  if (signature.verifySignature(publicKey)) return;
  throw new SignatureError('InvalidSignature', 'it was not made with its certificate, or changed afterwards');
}

function toSignatureError(error: VerificationError): SignatureError {
  switch (error.code) {
    case 'CERTIFICATE_ERROR':
      return new SignatureError(
        'UntrustedCertificate',
        `its certificate does not come from the trusted root: ${error.message}`,
        error,
      );
    case 'SIGNATURE_ERROR':
      return new SignatureError('InvalidSignature', error.message, error);
    default:
      return new SignatureError('InvalidEvidence', `what should vouch for it does not: ${error.message}`, error);
  }
}
