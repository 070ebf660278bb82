import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Digest } from '../../../operator/image/digest.ts';
import { verifyBundle, type BundleInput } from '../../../operator/signatures/bundle.ts';
import type { Trust } from '../../../operator/signatures/trust.ts';
import { digestOf } from '../../support/builders/images.ts';
import { CertificateAuthority, ecKeys, type KeyPair } from '../../support/sigstore/certificates.ts';
import { ISSUER, keyBundle, SIGNED, SigstoreWorld, statement, SUBJECT } from '../../support/sigstore/world.ts';

const FIXTURES = new URL('../../support/fixtures/sigstore/', import.meta.url);
const SIGNED_IMAGE = 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94' as Digest;
const DIGEST = digestOf('web');
const PROVENANCE = { predicateType: 'https://slsa.dev/provenance/v1' };

const fixture = (name: string) => readFileSync(new URL(name, FIXTURES), 'utf8');
const pemOf = ({ publicKey }: KeyPair) => publicKey.export({ format: 'pem', type: 'spki' }).toString();
const trustKeys = (...keys: KeyPair[]): Trust => ({
  keys: keys.map((pair, at) => ({ name: `key-${at}`, pem: pemOf(pair) })),
  identities: [],
});
const verified = (signer: object) => ({ kind: 'verified', signer });
const rejected = (reason: string, says = '') => ({ kind: 'rejected', reason, message: expect.stringContaining(says) });

describe('verifyBundle', () => {
  const keys = ecKeys();
  const verify = (bundle: object, changes: Partial<BundleInput> = {}) =>
    verifyBundle({ bundle: JSON.stringify(bundle), digest: DIGEST, trust: trustKeys(keys), ...changes });

  describe('when cosign has signed with a key', () => {
    const bundle = fixture('bundle/bundle.v0.3.blob');
    const trust: Trust = { keys: [{ name: 'cosign-pub', pem: fixture('cosign.pub') }], identities: [] };

    it('names the key', () => {
      expect(verifyBundle({ bundle, digest: SIGNED_IMAGE, trust })).toEqual(
        verified({ kind: 'key', name: 'cosign-pub' }),
      );
    });

    it('rejects it for another image', () => {
      expect(verifyBundle({ bundle, digest: DIGEST, trust })).toEqual(rejected('AnotherImage', SIGNED_IMAGE));
    });

    it('rejects it when it was changed to name another image', () => {
      const document = JSON.parse(bundle);
      document.dsseEnvelope.payload = Buffer.from(statement(DIGEST)).toString('base64');

      expect(verify(document, { trust })).toEqual(rejected('InvalidSignature', 'cosign-pub'));
    });

    it('rejects it when another key is trusted', () => {
      const other = trustKeys(keys);

      expect(verifyBundle({ bundle, digest: SIGNED_IMAGE, trust: other })).toEqual(rejected('InvalidSignature'));
    });
  });

  describe('when one of several keys has signed', () => {
    it.each<{ when: string; pair: KeyPair; algorithm: string | null }>([
      { when: 'ECDSA P-256', pair: ecKeys(), algorithm: 'sha256' },
      { when: 'ECDSA P-384', pair: generateKeyPairSync('ec', { namedCurve: 'P-384' }), algorithm: 'sha384' },
      {
        when: 'ECDSA P-384 by cosign 2',
        pair: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
        algorithm: 'sha256',
      },
      { when: 'ECDSA P-521', pair: generateKeyPairSync('ec', { namedCurve: 'P-521' }), algorithm: 'sha512' },
      { when: 'Ed25519', pair: generateKeyPairSync('ed25519'), algorithm: null },
      { when: 'RSA', pair: generateKeyPairSync('rsa', { modulusLength: 2048 }), algorithm: 'sha256' },
    ])('finds it: $when', ({ pair, algorithm }) => {
      const bundle = keyBundle(statement(DIGEST), pair.privateKey, { algorithm });

      expect(verify(bundle, { trust: trustKeys(keys, pair) })).toEqual(verified({ kind: 'key', name: 'key-1' }));
      expect(verify(bundle)).toEqual(rejected('InvalidSignature'));
    });
  });

  describe('when the signature is good', () => {
    it('needs nobody else to vouch for a key', () => {
      const bundle = keyBundle(statement(DIGEST), keys.privateKey);
      bundle.verificationMaterial.tlogEntries = new SigstoreWorld().bundle('{}').verificationMaterial.tlogEntries;

      expect(verify(bundle)).toEqual(verified({ kind: 'key', name: 'key-0' }));
    });

    it('takes a statement about several images', () => {
      const { subject } = JSON.parse(statement(DIGEST));
      const payload = statement(DIGEST, { subject: [{ digest: { sha512: 'ab' } }, ...subject] });

      expect(verify(keyBundle(payload, keys.privateKey)).kind).toBe('verified');
    });

    it('takes an attestation only if it is allowed', () => {
      const bundle = keyBundle(statement(DIGEST, PROVENANCE), keys.privateKey);

      expect(verify(bundle)).toEqual(rejected('AnotherPredicate', PROVENANCE.predicateType));
      expect(verify(bundle, { allowAnyPredicate: true }).kind).toBe('verified');
    });

    it('does not take an attestation about another image even then', () => {
      const bundle = keyBundle(statement(digestOf('other'), PROVENANCE), keys.privateKey);

      expect(verify(bundle, { allowAnyPredicate: true })).toEqual(rejected('AnotherImage'));
    });

    it.each([
      { when: 'it is no JSON', payload: 'hello', want: 'Unreadable' },
      { when: 'it is no statement', payload: '{}', want: 'Unreadable' },
      { when: 'it is about nothing', payload: statement(DIGEST, { subject: [] }), want: 'AnotherImage' },
    ])('rejects what it says when $when', ({ payload, want }) => {
      expect(verify(keyBundle(payload, keys.privateKey))).toEqual(rejected(want));
    });
  });

  describe('when it is no bundle to be verified', () => {
    const bundle = keyBundle(statement(DIGEST), keys.privateKey);
    const message = { messageDigest: { algorithm: 'SHA2_256', digest: 'YWJj' }, signature: 'YWJj' };

    it.each<{ when: string; text: string; want: string }>([
      { when: 'nothing', text: '', want: 'Unreadable' },
      { when: 'cut off', text: JSON.stringify(bundle).slice(0, -9), want: 'Unreadable' },
      { when: 'no object', text: 'null', want: 'Unreadable' },
      { when: 'without a signer', text: JSON.stringify({ ...bundle, verificationMaterial: {} }), want: 'Unreadable' },
      { when: 'without a signature', text: JSON.stringify({ ...bundle, dsseEnvelope: undefined }), want: 'Unreadable' },
      {
        when: 'with evidence without end',
        text: JSON.stringify({ ...bundle, verificationMaterial: { tlogEntries: Array(33).fill({}) } }),
        want: 'Unreadable',
      },
      {
        when: 'of another version',
        text: JSON.stringify({ ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' }),
        want: 'Unsupported',
      },
      {
        when: 'over bytes and not over a statement',
        text: JSON.stringify({ ...bundle, dsseEnvelope: undefined, messageSignature: message }),
        want: 'Unsupported',
      },
    ])('rejects it: $when', ({ text, want }) => {
      expect(verifyBundle({ bundle: text, digest: DIGEST, trust: trustKeys(keys) })).toEqual(rejected(want));
    });

    it('rejects what is signed and called no statement, or called so only afterwards', () => {
      const text = keyBundle(statement(DIGEST), keys.privateKey, { payloadType: 'text/plain' });
      const { payloadType } = bundle.dsseEnvelope;

      expect(verify(text)).toEqual(rejected('Unsupported', 'text/plain'));
      expect(verify({ ...text, dsseEnvelope: { ...text.dsseEnvelope, payloadType } })).toEqual(
        rejected('InvalidSignature'),
      );
    });
  });

  describe('when an identity has signed', () => {
    const world = new SigstoreWorld();
    const trust: Trust = {
      keys: [],
      identities: [{ issuer: ISSUER, subject: 'https://github.com/acme/.*' }],
      trustedRoot: world.trustedRoot(),
    };
    const bundle = world.bundle(statement(DIGEST));

    it('names it', () => {
      expect(verify(bundle, { trust })).toEqual(verified({ kind: 'identity', issuer: ISSUER, subject: SUBJECT }));
    });

    it('counts beside a key that is trusted too', () => {
      const both = { ...trust, keys: trustKeys(keys).keys };

      expect(verify(bundle, { trust: both })).toEqual(verified({ kind: 'identity', issuer: ISSUER, subject: SUBJECT }));
      expect(verify(keyBundle(statement(DIGEST), keys.privateKey), { trust: both })).toEqual(
        verified({ kind: 'key', name: 'key-0' }),
      );
    });

    it('takes the word of a log alone, or of a time-stamp authority alone, where the root names no other', () => {
      const logged = { ...trust, trustedRoot: world.trustedRoot({ time: false }) };
      const stamped = { ...trust, trustedRoot: world.trustedRoot({ log: false }) };

      expect(verify(world.bundle(statement(DIGEST), { time: false }), { trust: logged }).kind).toBe('verified');
      expect(verify(world.bundle(statement(DIGEST), { log: false }), { trust: stamped }).kind).toBe('verified');
    });

    it('rejects it without a trusted root', () => {
      const { trustedRoot: _, ...rootless } = trust;

      expect(verify(bundle, { trust: rootless })).toEqual(rejected('NoTrustRoot', 'configure one'));
    });

    it.each<{ when: string; subject: string; issuer?: string }>([
      { when: 'of another owner', subject: 'https://github.com/other/.*' },
      { when: 'of which it has only the beginning', subject: 'https://github.com/acme' },
      { when: 'of another issuer', subject: '.*', issuer: `${ISSUER}/` },
    ])('rejects it when the trusted identity is one $when', ({ subject, issuer = ISSUER }) => {
      const other = { ...trust, identities: [{ issuer, subject }] };

      expect(verify(bundle, { trust: other })).toEqual(rejected('UntrustedSigner', SUBJECT));
    });

    it('rejects it when it was changed', () => {
      const payload = Buffer.from(statement(digestOf('other'))).toString('base64');
      const changed = { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload } };

      expect(verify(changed, { trust })).toEqual(rejected('InvalidSignature'));
    });

    it('rejects it for another image', () => {
      expect(verify(bundle, { trust, digest: digestOf('other') })).toEqual(rejected('AnotherImage', DIGEST));
    });

    it.each<{ when: string; bundle: object; root?: string; want: string }>([
      {
        when: 'nobody vouches',
        bundle: world.bundle(statement(DIGEST), { log: false, time: false }),
        want: 'InvalidEvidence',
      },
      { when: 'the log is silent', bundle: world.bundle(statement(DIGEST), { log: false }), want: 'InvalidEvidence' },
      { when: 'the log is unknown', bundle: new SigstoreWorld().bundle(statement(DIGEST)), want: 'InvalidEvidence' },
      {
        when: 'the entry in the log is about another signature',
        bundle: {
          ...bundle,
          verificationMaterial: {
            ...bundle.verificationMaterial,
            tlogEntries: world.bundle('{}').verificationMaterial.tlogEntries,
          },
        },
        want: 'InvalidEvidence',
      },
      {
        when: 'the certificate had expired',
        bundle: world.bundle(statement(DIGEST), { time: false, signed: new Date(SIGNED.getTime() + 11 * 60_000) }),
        want: 'UntrustedCertificate',
      },
      {
        when: 'somebody else issued the certificate',
        bundle: world.bundle(statement(DIGEST), { authority: new CertificateAuthority('Fulcio') }),
        want: 'UntrustedCertificate',
      },
      {
        when: 'the certificate is in no log',
        bundle,
        root: world.trustedRoot({}, world.certificateLog),
        want: 'UntrustedCertificate',
      },
      {
        when: 'the certificate is none',
        bundle: {
          ...bundle,
          verificationMaterial: { ...bundle.verificationMaterial, certificate: { rawBytes: 'AAAA' } },
        },
        want: 'Unreadable',
      },
    ])('rejects it when $when', ({ bundle: given, root = world.trustedRoot(), want }) => {
      expect(verify(given, { trust: { ...trust, trustedRoot: root } })).toEqual(rejected(want));
    });

    it('reads a root that says null for what it leaves open', () => {
      const root = JSON.parse(world.trustedRoot());
      root.tlogs[0].checkpointKeyId = null;
      root.certificateAuthorities[0].validFor.end = null;

      expect(verify(bundle, { trust: { ...trust, trustedRoot: JSON.stringify(root) } }).kind).toBe('verified');
    });

    it('never throws, and stays about the same image, whichever character is changed', () => {
      const text = JSON.stringify(bundle);
      const other = digestOf('other');
      const position = fc.integer({ min: 0, max: text.length - 1 });

      fc.assert(
        fc.property(position, fc.constantFrom('A', '9', '+', '"', '{', '}', ',', ':', '0'), (at, character) => {
          const changed = text.slice(0, at) + character + text.slice(at + 1);

          expect(verifyBundle({ bundle: changed, digest: other, trust }).kind).toBe('rejected');
        }),
        { numRuns: 300 },
      );
    });

    it('rejects it when only keys are trusted, and says so', () => {
      expect(verify(bundle)).toEqual(rejected('InvalidSignature', 'no identity is trusted'));
    });

    it('rejects a key when only identities are trusted', () => {
      expect(verify(keyBundle(statement(DIGEST), keys.privateKey), { trust })).toEqual(
        rejected('UntrustedSigner', 'no key is trusted'),
      );
    });
  });

  it('rejects everything when nobody is trusted', () => {
    const trust = { keys: [], identities: [] };

    expect(verify(keyBundle(statement(DIGEST), keys.privateKey), { trust })).toEqual(rejected('UntrustedSigner'));
    expect(verify(new SigstoreWorld().bundle(statement(DIGEST)), { trust })).toEqual(rejected('UntrustedSigner'));
  });

  it('keeps a message short, whatever a stranger wrote', () => {
    const result = verify({ ...keyBundle('{}', keys.privateKey), mediaType: '\ud83d\ude00'.repeat(1_000) });

    expect(result).toEqual(rejected('Unsupported'));
    expect(result.kind === 'rejected' && result.message.length).toBeLessThanOrEqual(512);
    expect(result.kind === 'rejected' && result.message.isWellFormed()).toBe(true);
  });
});
