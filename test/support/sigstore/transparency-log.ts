// A Rekor of our own with room for one entry, in both of the ways it vouches for one: the promise it signs at once, and the
// proof that the entry is in its tree.
// @see https://github.com/sigstore/rekor/blob/main/types.md
// @see https://github.com/transparency-dev/formats/blob/main/log/README.md

import { createHash, sign, type KeyObject } from 'node:crypto';
import { ecKeys, spki } from './certificates.ts';

const HOST = 'rekor.example.com';

export interface LogEntry {
  readonly body: Buffer;
  readonly kindVersion: { readonly kind: string; readonly version: string };
  readonly integratedSeconds: number;
}

export class TransparencyLog {
  readonly #keys = ecKeys();
  readonly url = `https://${HOST}`;

  get publicKey(): KeyObject {
    return this.#keys.publicKey;
  }

  get id(): Buffer {
    return sha256(spki(this.publicKey));
  }

  /** A signature in an envelope. */
  logEnvelope(payload: Uint8Array, signature: Uint8Array, time: Date): LogEntry {
    const spec = {
      payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
      signatures: [{ signature: Buffer.from(signature).toString('base64') }],
    };
    return entry('dsse', spec, time);
  }

  /** A signature of a file. */
  logFile(file: Uint8Array, signature: Uint8Array, time: Date): LogEntry {
    const spec = {
      data: { hash: { algorithm: 'sha256', value: sha256(file).toString('hex') } },
      signature: { content: Buffer.from(signature).toString('base64') },
    };
    return entry('hashedrekord', spec, time);
  }

  /** The "signed entry timestamp", in base64. */
  promise({ body, integratedSeconds }: LogEntry): string {
    // Canonical JSON: keys in order, no spaces.
    const promised = {
      body: body.toString('base64'),
      integratedTime: integratedSeconds,
      logID: this.id.toString('hex'),
      logIndex: 0,
    };
    return sign('sha256', Buffer.from(JSON.stringify(promised)), this.#keys.privateKey).toString('base64');
  }

  /** As in `verificationMaterial.tlogEntries` of a bundle. */
  toBundleEntry(logged: LogEntry) {
    // The tree of one entry is the hash of its leaf.
    const root = sha256(Buffer.concat([Buffer.from([0]), logged.body])).toString('base64');
    const note = `${HOST}\n1\n${root}\n`;
    const signature = sign('sha256', Buffer.from(note), this.#keys.privateKey);
    const signed = Buffer.concat([this.id.subarray(0, 4), signature]).toString('base64');
    return {
      logIndex: '0',
      logId: { keyId: this.id.toString('base64') },
      kindVersion: logged.kindVersion,
      integratedTime: String(logged.integratedSeconds),
      inclusionPromise: { signedEntryTimestamp: this.promise(logged) },
      inclusionProof: {
        logIndex: '0',
        rootHash: root,
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 ${HOST} ${signed}\n` },
      },
      canonicalizedBody: logged.body.toString('base64'),
    };
  }

  /** As in the annotation `dev.sigstore.cosign/bundle`. */
  toAnnotation(logged: LogEntry): string {
    return JSON.stringify({
      SignedEntryTimestamp: this.promise(logged),
      Payload: {
        body: logged.body.toString('base64'),
        integratedTime: logged.integratedSeconds,
        logIndex: 0,
        logID: this.id.toString('hex'),
      },
    });
  }
}

function entry(kind: string, spec: unknown, time: Date): LogEntry {
  const version = '0.0.1';
  return {
    body: Buffer.from(JSON.stringify({ apiVersion: version, kind, spec })),
    kindVersion: { kind, version },
    integratedSeconds: time.getTime() / 1000,
  };
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
