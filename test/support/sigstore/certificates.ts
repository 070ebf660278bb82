// A certificate authority of our own, which issues what Fulcio does: certificates that live for ten minutes and name a
// subject and the issuer who knows it.
// @see https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md

import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import * as der from './der.ts';

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface IssuedCertificate {
  readonly bytes: Buffer;
  /** The issuer's name, as the certificate spells it. */
  readonly issuerName: Buffer;
  readonly serial: Buffer;
  readonly keys: KeyPair;
}

interface CertificateOptions {
  readonly publicKey: KeyObject;
  readonly subjectName: Buffer;
  readonly extensions: readonly Buffer[];
  readonly start: Date;
  readonly end: Date;
}

export const SHA256 = der.sequence(der.oid('2.16.840.1.101.3.4.2.1'));
export const ECDSA_SHA256 = der.sequence(der.oid('1.2.840.10045.4.3.2'));

const AUTHORITY_START = new Date('2026-01-01T00:00:00Z');
const AUTHORITY_END = new Date('2036-01-01T00:00:00Z');
const LIFETIME_MS = 10 * 60_000;

export const ecKeys = (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-256' });

export function spki(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' });
}

/** Issues certificates under a root of its own. */
export class CertificateAuthority {
  readonly #keys = ecKeys();
  readonly #name: Buffer;
  /** Of the root. */
  readonly bytes: Buffer;

  constructor(name: string) {
    this.#name = distinguishedName(name);
    this.bytes = this.#issue({
      publicKey: this.#keys.publicKey,
      subjectName: this.#name,
      extensions: [
        extension('2.5.29.19', der.sequence(der.yes())),
        extension('2.5.29.15', der.bits(Buffer.from([0x04]), 2)),
      ],
      start: AUTHORITY_START,
      end: AUTHORITY_END,
    });
  }

  /** For someone whom `issuer` knows as `subject`, a URL. */
  issueIdentity({ issuer, subject, start }: { issuer: string; subject: string; start: Date }): IssuedCertificate {
    return this.#issueFor(der.sequence(), start, [
      extension('2.5.29.17', der.sequence(der.implicit(6, subject))),
      extension('1.3.6.1.4.1.57264.1.8', der.utf8(issuer)),
    ]);
  }

  /** For a service, without an identity. */
  issueService(name: string, start: Date): IssuedCertificate {
    return this.#issueFor(distinguishedName(name), start, []);
  }

  #issueFor(subjectName: Buffer, start: Date, extensions: readonly Buffer[]): IssuedCertificate {
    const keys = ecKeys();
    const end = new Date(start.getTime() + LIFETIME_MS);
    const bytes = this.#issue({ publicKey: keys.publicKey, subjectName, extensions, start, end });
    return { bytes, issuerName: this.#name, serial: SERIAL, keys };
  }

  #issue({ publicKey, subjectName, extensions, start, end }: CertificateOptions): Buffer {
    const toBeSigned = der.sequence(
      der.explicit(0, der.integer(2)),
      SERIAL,
      ECDSA_SHA256,
      this.#name,
      der.sequence(der.utcTime(start), der.utcTime(end)),
      subjectName,
      spki(publicKey),
      ...(extensions.length > 0 ? [der.explicit(3, der.sequence(...extensions))] : []),
    );
    return der.sequence(toBeSigned, ECDSA_SHA256, der.bits(sign('sha256', toBeSigned, this.#keys.privateKey)));
  }
}

/** One for all: nothing here is revoked. */
const SERIAL = der.integer(7);

function distinguishedName(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.utf8(commonName))));
}

function extension(id: string, value: Buffer): Buffer {
  return der.sequence(der.oid(id), der.octets(value));
}

export function toPem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
