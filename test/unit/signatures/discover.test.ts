import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import type { Digest } from '../../../operator/image/digest.ts';
import { isTag } from '../../../operator/image/tag.ts';
import {
  legacyTag,
  listBundleManifests,
  listBundles,
  listLegacySignatures,
} from '../../../operator/signatures/discover.ts';
import { digestOf } from '../../support/builders/images.ts';

const FIXTURES = new URL('../../support/fixtures/sigstore/', import.meta.url);
const DIGEST = digestOf('bundle');
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

// What has a digest is not called .json: a formatter must not touch it.
const located = (blob: string) => ({ digest: digestOf(blob), sizeBytes: Buffer.byteLength(blob) });
const fixture = (name: string) => readFileSync(new URL(name, FIXTURES), 'utf8');
const unreadable = expect.objectContaining({ reason: 'Unreadable' });

describe('legacyTag', () => {
  it('is the tag cosign writes', () => {
    const [written, digest] = /:((sha256-[0-9a-f]+)\.sig)/.exec(fixture('legacy/tag.txt'))?.slice(1) ?? [];
    const tag = legacyTag(digest?.replace('-', ':') as Digest);

    expect(tag).toBe(written);
    expect(isTag(tag)).toBe(true);
  });
});

describe('listBundleManifests', () => {
  const referrer = (changes: object = {}) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: DIGEST,
    size: 944,
    artifactType: BUNDLE,
    annotations: { 'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1' },
    ...changes,
  });
  const attestation = { annotations: { 'dev.sigstore.bundle.predicateType': 'https://slsa.dev/provenance/v1' } };
  const list = (entries: readonly unknown[], allowAnyPredicate = false) =>
    listBundleManifests(JSON.stringify({ manifests: entries }), { allowAnyPredicate }).length;

  it('finds what cosign attached', () => {
    const manifest = fixture('bundle/referrer-manifest.blob');

    expect(listBundleManifests(fixture('bundle/referrers-index.json'))).toEqual([located(manifest)]);
  });

  it.each<{ when: string; entry: unknown; want: number }>([
    { when: 'an SBOM', entry: referrer({ artifactType: 'application/spdx+json' }), want: 0 },
    { when: 'an artifact without a type', entry: referrer({ artifactType: undefined }), want: 0 },
    { when: 'an attestation', entry: referrer(attestation), want: 0 },
    { when: 'a bundle that does not say what it says', entry: referrer({ annotations: undefined }), want: 1 },
    { when: 'a digest of another kind', entry: referrer({ digest: 'sha512:00' }), want: 0 },
    { when: 'no descriptor', entry: null, want: 0 },
  ])('lists $want of $when, and what is beside it', ({ entry, want }) => {
    expect(list([entry, referrer()])).toBe(want + 1);
  });

  it('lists attestations if asked for', () => {
    expect(list([referrer(attestation), referrer()], true)).toBe(2);
  });

  it('lists nothing where nothing refers to the image', () => {
    expect(list([])).toBe(0);
  });

  it.each(['', '<html>', '[]', '{}', '{"manifests":{}}'])('refuses %j', (text) => {
    expect(() => listBundleManifests(text)).toThrow(unreadable);
  });
});

describe('listBundles', () => {
  it('finds the layer', () => {
    const bundle = fixture('bundle/bundle.v0.3.blob');

    expect(listBundles(fixture('bundle/referrer-manifest.blob'))).toEqual([located(bundle)]);
  });
});

describe('listLegacySignatures', () => {
  const layer = (annotations?: object) => ({
    mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
    digest: DIGEST,
    size: 245,
    annotations,
  });
  const list = (...layers: readonly unknown[]) => listLegacySignatures(JSON.stringify({ layers }));

  it('finds what cosign attached', () => {
    expect(listLegacySignatures(fixture('legacy/sig-manifest.json'))).toEqual([
      { ...located(fixture('legacy/payload.blob')), signature: expect.stringMatching(/^MEQCIGm7/) },
    ]);
  });

  it('hands over what proves a signature', () => {
    const annotations = {
      'dev.cosignproject.cosign/signature': 'signature',
      'dev.sigstore.cosign/certificate': 'certificate',
      'dev.sigstore.cosign/bundle': 'bundle',
      'dev.sigstore.cosign/chain': 'chain',
      'dev.sigstore.cosign/rfc3161timestamp': 'timestamp',
    };

    expect(list(layer(annotations))).toEqual([
      {
        digest: DIGEST,
        sizeBytes: 245,
        signature: 'signature',
        certificate: 'certificate',
        bundle: 'bundle',
        timestamp: 'timestamp',
      },
    ]);
  });

  it('leaves out what has no signature, and empty annotations', () => {
    const signature = { 'dev.cosignproject.cosign/signature': 'signature', 'dev.sigstore.cosign/certificate': '' };

    expect(list(layer(), layer({}), { ...layer(signature), mediaType: 'application/json' }, layer(signature))).toEqual([
      { digest: DIGEST, sizeBytes: 245, signature: 'signature' },
    ]);
  });

  it('refuses what is no manifest', () => {
    expect(() => listLegacySignatures('{}')).toThrow(unreadable);
  });
});
