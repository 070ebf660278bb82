// Who made a signature: one of the trusted keys, or else an identity, if the signature has a certificate.

import type { SignedEntity } from '@sigstore/verify';
import { verifyIdentity } from './identity.ts';
import { isSignedWith } from './public-key.ts';
import type { TrustAnchors } from './trust.ts';
import { SignatureError, type Signer } from './verification.ts';

export interface Signed {
  /** The bytes that were signed. */
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  /** The same with its certificate and evidence, parsed when it comes to that. Absent: made with a bare key. */
  readonly toEntity?: () => SignedEntity;
}

/** Throws a SignatureError. What the message says is to be checked afterwards: before, it is anybody's word. */
export function verifySigner({ message, signature, toEntity }: Signed, anchors: TrustAnchors): Signer {
  const { keys, identities } = anchors;
  // Every key is tried: the hint in a bundle is the signer's word, and what it is made of differs between tools.
  const trusted = keys.find(({ key }) => isSignedWith(key, message, signature));
  if (trusted) return { kind: 'key', name: trusted.name };
  if (toEntity && identities.length > 0) return verifyIdentity(toEntity, anchors);
  if (keys.length === 0) {
    const instead = toEntity ? 'with a certificate, and no identity is trusted' : 'with a key, and no key is trusted';
    throw new SignatureError('UntrustedSigner', `it was made ${instead}`);
  }
  const names = keys.map(({ name }) => name).join(', ');
  const aside = toEntity ? '; its certificate does not count, because no identity is trusted' : '';
  throw new SignatureError(
    'InvalidSignature',
    `it was made with none of the trusted keys (${names}), or changed afterwards${aside}`,
  );
}
