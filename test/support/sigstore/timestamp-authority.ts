// A time-stamp authority of our own.
// @see https://www.rfc-editor.org/rfc/rfc3161
// @see https://www.rfc-editor.org/rfc/rfc5652#section-5

import { createHash, sign } from 'node:crypto';
import { CertificateAuthority, ECDSA_SHA256, SHA256, type IssuedCertificate } from './certificates.ts';
import * as der from './der.ts';

const SIGNED_DATA = der.oid('1.2.840.113549.1.7.2');
const TST_INFO = der.oid('1.2.840.113549.1.9.16.1.4');
const CONTENT_TYPE = der.oid('1.2.840.113549.1.9.3');
const MESSAGE_DIGEST = der.oid('1.2.840.113549.1.9.4');
const POLICY = der.oid('1.3.6.1.4.1.57264.2');

export class TimestampAuthority {
  readonly #certificate: IssuedCertificate;
  /** From its own certificate to the root. */
  readonly chain: readonly Buffer[];

  constructor(start: Date) {
    const authority = new CertificateAuthority('Time root');
    this.#certificate = authority.issueService('Time', start);
    this.chain = [this.#certificate.bytes, authority.bytes];
  }

  /** A TimeStampResp for these bytes, in base64. */
  stamp(bytes: Uint8Array, time: Date): string {
    const imprint = der.sequence(SHA256, der.octets(sha256(bytes)));
    const info = der.sequence(der.integer(1), POLICY, imprint, der.integer(1), der.generalizedTime(time));
    const attributes = [
      der.sequence(CONTENT_TYPE, der.set(TST_INFO)),
      der.sequence(MESSAGE_DIGEST, der.set(der.octets(sha256(info)))),
    ];
    const { issuerName, serial, keys } = this.#certificate;
    const signerInfo = der.sequence(
      der.integer(1),
      der.sequence(issuerName, serial),
      SHA256,
      der.explicit(0, ...attributes),
      ECDSA_SHA256,
      der.octets(sign('sha256', der.set(...attributes), keys.privateKey)),
    );
    const signedData = der.sequence(
      der.integer(3),
      der.set(SHA256),
      der.sequence(TST_INFO, der.explicit(0, der.octets(info))),
      der.set(signerInfo),
    );
    const granted = der.sequence(der.integer(0));
    return der.sequence(granted, der.sequence(SIGNED_DATA, der.explicit(0, signedData))).toString('base64');
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
