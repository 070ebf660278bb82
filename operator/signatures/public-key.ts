// Public keys that signatures may be made with, and whether one was.
// @see https://github.com/sigstore/architecture-docs/blob/main/algorithm-registry.md

import { createPublicKey, verify, type KeyObject } from 'node:crypto';

const PEM_LABEL = /-----BEGIN ([A-Z0-9 ]+)-----/g;
const MIN_RSA_BITS = 2048;

/** What an EC key signs digests of. Before version 3, cosign knew SHA-256 only, whatever the curve. */
const CURVE_DIGESTS: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ['sha256'],
  secp384r1: ['sha384', 'sha256'],
  secp521r1: ['sha512', 'sha256'],
};

/** Throws an Error whose message says what is wrong with the key. */
export function parsePublicKey(pem: string): KeyObject {
  const [label, ...more] = Array.from(pem.matchAll(PEM_LABEL), ([, found]) => found ?? '');
  if (label === undefined) throw new Error('it is not in PEM: it begins with -----BEGIN PUBLIC KEY-----');
  if (more.length > 0) throw new Error('it holds more than one key: give each a name of its own');
  // Node.js would derive the public key from a private one, and one that signs must not lie around where it is verified.
  if (!/^(?:RSA )?PUBLIC KEY$/.test(label)) throw new Error(`it is a ${label}, and a PUBLIC KEY is needed`);
  const key = decode(pem);
  if (digestsOf(key).length === 0) {
    throw new Error(`only ECDSA (P-256, P-384, P-521), Ed25519 and RSA from ${MIN_RSA_BITS} bits are accepted`);
  }
  return key;
}

function decode(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (thrown) {
    throw new Error('it cannot be decoded: copy it once more, unchanged', { cause: thrown });
  }
}

export function isSignedWith(key: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  return digestsOf(key).some((digest) => verify(digest, message, key, signature));
}

/** Empty: such keys are not accepted. */
function digestsOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly (string | null)[] {
  switch (asymmetricKeyType) {
    case 'ed25519':
      return [null];
    case 'ec':
      return CURVE_DIGESTS[asymmetricKeyDetails?.namedCurve ?? ''] ?? [];
    case 'rsa':
      return (asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS ? [] : ['sha256'];
    default:
      return [];
  }
}
