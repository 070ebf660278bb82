import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { readTrust, type Trust } from '../../../operator/signatures/trust.ts';
import { ecKeys } from '../../support/sigstore/certificates.ts';
import { ISSUER, SigstoreWorld } from '../../support/sigstore/world.ts';

const { publicKey, privateKey } = ecKeys();
const PEM = publicKey.export({ format: 'pem', type: 'spki' }).toString();
const NOBODY: Trust = { keys: [], identities: [] };

const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
const unusual = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey;
const invalid = (says: string) =>
  expect.objectContaining({ reason: 'InvalidTrust', message: expect.stringContaining(says) });

describe('readTrust', () => {
  it('has no trusted root unless there is one', () => {
    const world = new SigstoreWorld();

    expect(readTrust(NOBODY)).toEqual({ keys: [], identities: [] });
    expect(readTrust({ ...NOBODY, trustedRoot: world.trustedRoot() }).material?.tlogs).toHaveLength(1);
  });

  it('reads a PEM with text around it', () => {
    const trust = { ...NOBODY, keys: [{ name: 'ours', pem: `# since May\n\n${PEM}\n` }] };

    expect(readTrust(trust).keys[0]?.key.equals(publicKey)).toBe(true);
  });

  it.each<{ when: string; pem: string; says: string }>([
    { when: 'nothing', pem: '', says: 'not in PEM' },
    { when: 'cut off', pem: PEM.slice(0, 60), says: 'the key ours' },
    { when: 'two keys', pem: PEM + PEM, says: 'more than one key' },
    {
      when: 'a private key',
      pem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      says: 'a PUBLIC KEY is needed',
    },
    { when: 'a weak key', pem: weak.export({ format: 'pem', type: 'spki' }).toString(), says: '2048 bits' },
    { when: 'an unusual curve', pem: unusual.export({ format: 'pem', type: 'spki' }).toString(), says: 'P-256' },
  ])('refuses a key that is $when', ({ pem, says }) => {
    expect(() => readTrust({ ...NOBODY, keys: [{ name: 'ours', pem }] })).toThrow(invalid(says));
  });

  it.each([
    { when: 'not RE2', subject: '(?=x)', says: 'not an RE2 expression' },
    { when: 'too long', subject: 'x'.repeat(257), says: 'at most 256' },
    { when: 'too costly', subject: '[a-z]{999}[0-9]{999}', says: 'too costly' },
  ])('refuses a subject that is $when', ({ subject, says }) => {
    expect(() => readTrust({ ...NOBODY, identities: [{ issuer: ISSUER, subject }] })).toThrow(invalid(says));
  });

  it.each<{ when: string; trustedRoot: string; says: string }>([
    { when: 'no JSON', trustedRoot: '<html>', says: 'no JSON' },
    {
      when: 'a configuration for signers',
      trustedRoot: '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}',
      says: 'mediaType',
    },
    {
      when: 'without authorities',
      trustedRoot: new SigstoreWorld().trustedRoot({}, { certificateAuthorities: [] }),
      says: 'certificateAuthorities',
    },
    {
      when: 'with a key that is none',
      trustedRoot: new SigstoreWorld().trustedRoot(
        {},
        { tlogs: [{ publicKey: { rawBytes: 'AAAA' }, logId: { keyId: 'AAAA' } }] },
      ),
      says: 'the trusted root cannot be used',
    },
  ])('refuses a trusted root that is $when', ({ trustedRoot, says }) => {
    expect(() => readTrust({ ...NOBODY, trustedRoot })).toThrow(invalid(says));
  });
});
