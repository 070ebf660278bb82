import { generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import type { Digest } from '../../../operator/image/digest.ts';
import { listLegacySignatures } from '../../../operator/signatures/discover.ts';
import { verifyLegacySignature } from '../../../operator/signatures/legacy.ts';
import type { Trust } from '../../../operator/signatures/trust.ts';
import { digestOf } from '../../support/builders/images.ts';
import { ecKeys, type KeyPair } from '../../support/sigstore/certificates.ts';
import { ISSUER, SIGNED, SigstoreWorld, simpleSigning, SUBJECT } from '../../support/sigstore/world.ts';

const FIXTURES = new URL('../../support/fixtures/sigstore/', import.meta.url);
const SIGNED_IMAGE = 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94' as Digest;
const DIGEST = digestOf('web');

const trustKey = ({ publicKey }: KeyPair): Trust => ({
  keys: [{ name: 'ours', pem: publicKey.export({ format: 'pem', type: 'spki' }).toString() }],
  identities: [],
});
const verified = (signer: object) => ({ kind: 'verified', signer });
const rejected = (reason: string, says = '') => ({ kind: 'rejected', reason, message: expect.stringContaining(says) });

describe('verifyLegacySignature', () => {
  describe('when cosign has signed with a key', () => {
    const read = (name: string) => readFileSync(new URL(name, FIXTURES));
    const payload = read('legacy/payload.blob');
    const trust: Trust = { keys: [{ name: 'cosign-pub', pem: read('cosign.pub').toString() }], identities: [] };
    const [found] = listLegacySignatures(read('legacy/sig-manifest.json').toString());
    const signature = found?.signature ?? '';

    it('names the key', () => {
      expect(verifyLegacySignature({ payload, signature, digest: SIGNED_IMAGE, trust })).toEqual(
        verified({ kind: 'key', name: 'cosign-pub' }),
      );
    });

    it('rejects it for another image', () => {
      expect(verifyLegacySignature({ payload, signature, digest: DIGEST, trust })).toEqual(
        rejected('AnotherImage', SIGNED_IMAGE),
      );
    });

    it('rejects it when it was changed to name another image', () => {
      const changed = simpleSigning(DIGEST);

      expect(verifyLegacySignature({ payload: changed, signature, digest: DIGEST, trust })).toEqual(
        rejected('InvalidSignature', 'cosign-pub'),
      );
    });
  });

  describe('when a key of our own has signed', () => {
    const keys = ecKeys();
    const verify = (payload: Buffer) =>
      verifyLegacySignature({
        payload,
        signature: sign('sha256', payload, keys.privateKey).toString('base64'),
        digest: DIGEST,
        trust: trustKey(keys),
      });

    it.each<{ when: string; pair: KeyPair; algorithm: string | null }>([
      { when: 'ECDSA', pair: ecKeys(), algorithm: 'sha256' },
      { when: 'Ed25519', pair: generateKeyPairSync('ed25519'), algorithm: null },
      { when: 'RSA', pair: generateKeyPairSync('rsa', { modulusLength: 2048 }), algorithm: 'sha256' },
    ])('knows it: $when', ({ pair, algorithm }) => {
      const payload = simpleSigning(DIGEST);
      const signature = sign(algorithm, payload, pair.privateKey).toString('base64');

      expect(verifyLegacySignature({ payload, signature, digest: DIGEST, trust: trustKey(pair) })).toEqual(
        verified({ kind: 'key', name: 'ours' }),
      );
    });

    it.each([
      { when: 'no JSON', payload: Buffer.from('hello') },
      { when: 'no payload of a signature', payload: Buffer.from('{"critical":{}}') },
      { when: 'a payload of another kind', payload: simpleSigning(DIGEST, 'atomic container signature') },
    ])('rejects $when', ({ payload }) => {
      expect(verify(payload)).toEqual(rejected('Unreadable'));
    });

    it.each([
      { when: 'not in base64', signature: '%', want: 'Unreadable' },
      { when: 'empty', signature: '', want: 'InvalidSignature' },
      { when: 'of no key', signature: 'AAAA', want: 'InvalidSignature' },
    ])('rejects a signature that is $when', ({ signature, want }) => {
      expect(
        verifyLegacySignature({ payload: simpleSigning(DIGEST), signature, digest: DIGEST, trust: trustKey(keys) }),
      ).toEqual(rejected(want));
    });
  });

  describe('when an identity has signed', () => {
    const world = new SigstoreWorld();
    const trust: Trust = {
      keys: [],
      identities: [{ issuer: ISSUER, subject: 'https://github\\.com/acme/.*' }],
      trustedRoot: world.trustedRoot(),
    };
    const payload = simpleSigning(DIGEST);
    const signed = world.legacy(payload);
    const verify = (changes: object) =>
      verifyLegacySignature({ payload, digest: DIGEST, trust, ...signed, ...changes });

    it('names it', () => {
      expect(verify({})).toEqual(verified({ kind: 'identity', issuer: ISSUER, subject: SUBJECT }));
    });

    it('takes the word of Rekor alone', () => {
      const { timestamp: _, ...logged } = signed;

      expect(verifyLegacySignature({ payload, digest: DIGEST, trust, ...logged }).kind).toBe('verified');
    });

    it('takes the word of a time-stamp authority alone, where the root names no log', () => {
      const { bundle: _, ...stamped } = signed;
      const root = world.trustedRoot({ log: false });

      expect(
        verifyLegacySignature({ payload, digest: DIGEST, trust: { ...trust, trustedRoot: root }, ...stamped }).kind,
      ).toBe('verified');
    });

    it.each<{ when: string; changes: object; want: string }>([
      { when: 'it was changed', changes: { payload: simpleSigning(digestOf('other')) }, want: 'InvalidSignature' },
      { when: 'it is about another image', changes: { digest: digestOf('other') }, want: 'AnotherImage' },
      {
        when: 'there is no trusted root',
        changes: { trust: { ...trust, trustedRoot: undefined } },
        want: 'NoTrustRoot',
      },
      { when: 'nobody vouches', changes: { bundle: undefined, timestamp: undefined }, want: 'InvalidEvidence' },
      {
        when: 'Rekor promised something else',
        changes: { bundle: world.log.toAnnotation(world.log.logFile(payload, Buffer.from('x'), SIGNED)) },
        want: 'InvalidEvidence',
      },
      {
        when: 'Rekor promised it for another time',
        changes: { bundle: signed.bundle?.replace(/("integratedTime":\d+)\d/, '$19') },
        want: 'InvalidEvidence',
      },
      { when: 'the promise is no JSON', changes: { bundle: '{' }, want: 'Unreadable' },
      {
        when: 'the time-stamp is malformed',
        changes: { timestamp: '{"SignedRFC3161Timestamp":"AAAA"}' },
        want: 'Unreadable',
      },
      { when: 'the certificate is malformed', changes: { certificate: 'x' }, want: 'Unreadable' },
      {
        when: 'the certificate is that of somebody else',
        changes: { certificate: world.legacy(payload).certificate },
        want: 'InvalidSignature',
      },
    ])('rejects it when $when', ({ changes, want }) => {
      expect(verify(changes)).toEqual(rejected(want));
    });
  });
});
