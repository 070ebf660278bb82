// A Sigstore of our own: who issues certificates, who logs signatures, who stamps time, and the trusted root that names
// them; and signers who use it.

import { sign, type KeyObject } from 'node:crypto';
import type { Digest } from '../../../operator/image/digest.ts';
import { CertificateAuthority, spki, toPem } from './certificates.ts';
import { TimestampAuthority } from './timestamp-authority.ts';
import { TransparencyLog } from './transparency-log.ts';

export const ISSUER = 'https://token.actions.githubusercontent.com';
export const SUBJECT = 'https://github.com/acme/web/.github/workflows/release.yaml@refs/heads/main';
export const SIGNED = new Date('2026-05-06T09:20:30Z');

const START = '2026-01-01T00:00:00Z';
const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** Which of its parts a root names, or a signature has the word of. Default: all. */
export interface Parts {
  readonly log?: boolean;
  readonly time?: boolean;
}

export interface SigningOptions extends Parts {
  readonly subject?: string;
  /** When it was signed. Default: as soon as the certificate was issued. */
  readonly signed?: Date;
  /** Who issued the certificate. Default: the one of the trusted root. */
  readonly authority?: CertificateAuthority;
}

export class SigstoreWorld {
  readonly authority = new CertificateAuthority('Fulcio');
  readonly log = new TransparencyLog();
  readonly time = new TimestampAuthority(SIGNED);

  /** JSON, as in `trusted_root.json`. */
  trustedRoot({ log = true, time = true }: Parts = {}, changes: object = {}): string {
    return JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: log ? [this.#logInstance(this.log)] : [],
      certificateAuthorities: [toAuthority([this.authority.bytes])],
      timestampAuthorities: time ? [toAuthority(this.time.chain)] : [],
      ctlogs: [],
      ...changes,
    });
  }

  /** As if a log for certificates were demanded. */
  get certificateLog(): object {
    return { ctlogs: [this.#logInstance(new TransparencyLog())] };
  }

  /** A bundle of an identity, as an object. */
  bundle(payload: string, options: SigningOptions = {}) {
    const { certificate, signed } = this.#certify(options);
    const signature = sign('sha256', toSignedBytes(payload), certificate.keys.privateKey);
    const logged = this.log.logEnvelope(Buffer.from(payload), signature, signed);
    return {
      ...bundleOf(payload, signature),
      verificationMaterial: {
        certificate: { rawBytes: certificate.bytes.toString('base64') },
        tlogEntries: options.log === false ? [] : [this.log.toBundleEntry(logged)],
        timestampVerificationData: {
          rfc3161Timestamps: options.time === false ? [] : [{ signedTimestamp: this.time.stamp(signature, signed) }],
        },
      },
    };
  }

  /** A legacy signature of an identity, as its annotations. */
  legacy(payload: Uint8Array, options: SigningOptions = {}) {
    const { certificate, signed } = this.#certify(options);
    const signature = sign('sha256', payload, certificate.keys.privateKey);
    const stamp = JSON.stringify({ SignedRFC3161Timestamp: this.time.stamp(signature, signed) });
    return {
      signature: signature.toString('base64'),
      certificate: toPem(certificate.bytes),
      ...(options.log !== false && { bundle: this.log.toAnnotation(this.log.logFile(payload, signature, signed)) }),
      ...(options.time !== false && { timestamp: stamp }),
    };
  }

  #certify({ subject = SUBJECT, signed = SIGNED, authority = this.authority }: SigningOptions) {
    return { certificate: authority.issueIdentity({ issuer: ISSUER, subject, start: SIGNED }), signed };
  }

  #logInstance(log: TransparencyLog) {
    return {
      baseUrl: log.url,
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: spki(log.publicKey).toString('base64'),
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        validFor: { start: START },
      },
      logId: { keyId: log.id.toString('base64') },
    };
  }
}

/** A bundle signed with a bare key, as an object. `algorithm` as in `crypto.sign`. */
export function keyBundle(
  payload: string,
  privateKey: KeyObject,
  { algorithm = 'sha256', payloadType = PAYLOAD_TYPE }: { algorithm?: string | null; payloadType?: string } = {},
) {
  return {
    ...bundleOf(payload, sign(algorithm, toSignedBytes(payload, payloadType), privateKey), payloadType),
    verificationMaterial: { publicKey: { hint: 'whatever' }, tlogEntries: [] as unknown[] },
  };
}

/** An in-toto statement about an image, as JSON; a plain signature unless told otherwise. */
export function statement(digest: Digest, changes: object = {}): string {
  return JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'ghcr.io/acme/web', digest: { sha256: digest.slice('sha256:'.length) } }],
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
    ...changes,
  });
}

/** A payload in "simple signing". */
export function simpleSigning(digest: string, type = 'cosign container image signature'): Buffer {
  const critical = {
    identity: { 'docker-reference': 'ghcr.io/acme/web' },
    image: { 'docker-manifest-digest': digest },
    type,
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

function bundleOf(payload: string, signature: Buffer, payloadType = PAYLOAD_TYPE) {
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    dsseEnvelope: {
      payload: Buffer.from(payload).toString('base64'),
      payloadType,
      signatures: [{ keyid: '', sig: signature.toString('base64') }],
    },
  };
}

function toSignedBytes(payload: string, payloadType = PAYLOAD_TYPE): Buffer {
  return Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${Buffer.byteLength(payload)} ${payload}`);
}

function toAuthority(certificates: readonly Buffer[]) {
  return {
    subject: { organization: 'example.com', commonName: 'example' },
    uri: 'https://example.com',
    certChain: { certificates: certificates.map((bytes) => ({ rawBytes: bytes.toString('base64') })) },
    validFor: { start: START },
  };
}
