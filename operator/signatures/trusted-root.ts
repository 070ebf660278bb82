// The authorities and logs that vouch for identities, from Sigstore's trusted_root.json. Read here, because Sigstore's own
// parser of it is in a package that this project does not depend on.
// @see https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto

import { createPublicKey, type KeyObject } from 'node:crypto';
import { toTrustMaterial } from '@sigstore/verify';
import * as z from 'zod';
import { base64, readJson } from './read-json.ts';

export type TrustMaterial = ReturnType<typeof toTrustMaterial>;
type Log = TrustMaterial['tlogs'][number];
type Authority = Parameters<typeof toTrustMaterial>[0]['certificateAuthorities'][number];

const BEGINNING_OF_TIME = new Date(0);
const END_OF_TIME = new Date(8.64e15);

const time = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  .nullish();
const validFor = z.object({ start: time, end: time }).nullish();
const logId = z.object({ keyId: base64 });

const log = z.object({
  baseUrl: z.string().default(''),
  publicKey: z.object({ rawBytes: base64, validFor }),
  logId,
  /** How the log calls itself in what it signs, where that differs. */
  checkpointKeyId: logId.nullish(),
});

const authority = z.object({
  certChain: z.object({ certificates: z.array(z.object({ rawBytes: base64 })).min(1) }),
  validFor,
});

const trustedRoot = z.object({
  mediaType: z.string().startsWith('application/vnd.dev.sigstore.trustedroot'),
  tlogs: z.array(log).default([]),
  ctlogs: z.array(log).default([]),
  certificateAuthorities: z.array(authority).min(1),
  timestampAuthorities: z.array(authority).default([]),
});

/** Throws an Error whose message says what is wrong with it. */
export function parseTrustedRoot(text: string): TrustMaterial {
  const root = readJson('the document', text, trustedRoot, 'InvalidTrust');
  const authorities = toTrustMaterial({
    mediaType: root.mediaType,
    certificateAuthorities: root.certificateAuthorities.map(toAuthority),
    timestampAuthorities: root.timestampAuthorities.map(toAuthority),
    tlogs: [],
    ctlogs: [],
  });
  return { ...authorities, tlogs: root.tlogs.map(toLog), ctlogs: root.ctlogs.map(toLog) };
}

function toLog({ baseUrl, publicKey, logId, checkpointKeyId }: z.output<typeof log>): Log {
  return {
    baseURL: baseUrl,
    logID: (checkpointKeyId ?? logId).keyId,
    publicKey: toKey(publicKey.rawBytes),
    validFor: toRange(publicKey.validFor),
  };
}

function toAuthority({ certChain, validFor }: z.output<typeof authority>): Authority {
  return { certChain, validFor: toRange(validFor), subject: undefined, uri: '', operator: '' };
}

function toRange(range: z.output<typeof validFor>) {
  return { start: range?.start ?? BEGINNING_OF_TIME, end: range?.end ?? END_OF_TIME };
}

function toKey(der: Buffer): KeyObject {
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    // Early roots hold RSA keys in PKCS#1.
    return createPublicKey({ key: der, format: 'der', type: 'pkcs1' });
  }
}
