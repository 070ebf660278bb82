// Who is believed, as it is configured, made ready for use. All of it is read before any signature is looked at: a gate
// that was not configured as somebody meant it stays shut, even if another key would have opened it.

import type { KeyObject } from 'node:crypto';
import type { RE2JS } from 're2js';
import { toError } from '../errors.ts';
import { parsePublicKey } from './public-key.ts';
import { compileSubject } from './subject-expression.ts';
import { parseTrustedRoot, type TrustMaterial } from './trusted-root.ts';
import { SignatureError } from './verification.ts';

export interface Trust {
  /** A signature with any of them counts, whatever a transparency log says: no network and no trusted root is needed. */
  readonly keys: readonly {
    /** For people: what messages and records call the key. */
    readonly name: string;
    /** One public key, as in `cosign.pub`. */
    readonly pem: string;
  }[];
  /** A certificate of any of them counts, if the authorities and logs of the trusted root vouch for it. */
  readonly identities: readonly {
    /** Exactly the URL of the OpenID Connect issuer. */
    readonly issuer: string;
    /** An RE2 expression for the whole subject: `https://github.com/acme/.*`. */
    readonly subject: string;
  }[];
  /** A Sigstore `trusted_root.json`. Absent: identities cannot be verified. */
  readonly trustedRoot?: string;
}

export interface TrustedKey {
  readonly name: string;
  readonly key: KeyObject;
}

export interface TrustedIdentity {
  readonly issuer: string;
  readonly subject: RE2JS;
}

/** Trust that can be verified with. */
export interface TrustAnchors {
  readonly keys: readonly TrustedKey[];
  readonly identities: readonly TrustedIdentity[];
  /** Absent when no trusted root is configured. */
  readonly material?: TrustMaterial;
}

/** Throws a SignatureError `InvalidTrust`. */
export function readTrust({ keys, identities, trustedRoot }: Trust): TrustAnchors {
  return {
    keys: keys.map(({ name, pem }) => ({ name, key: read(`the key ${name}`, () => parsePublicKey(pem)) })),
    identities: identities.map(({ issuer, subject }) => ({
      issuer,
      subject: read(`the identity of ${issuer}`, () => compileSubject(subject)),
    })),
    ...(trustedRoot !== undefined && { material: read('the trusted root', () => parseTrustedRoot(trustedRoot)) }),
  };
}

function read<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    throw new SignatureError('InvalidTrust', `${what} cannot be used: ${toError(thrown).message}`, thrown);
  }
}
