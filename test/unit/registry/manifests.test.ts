// Manifests, digests and what an image is: nothing is believed that the bytes do not say (R8, R9).

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SlipwayError } from '../../../operator/errors.ts';
import type { Digest } from '../../../operator/image/digest.ts';
import { formatPlatform } from '../../../operator/image/platform.ts';
import type { Tag } from '../../../operator/image/tag.ts';
import { parseManifest } from '../../../operator/registry/manifest.ts';
import { buildImage, MEDIA_TYPES } from '../../support/registries-image.ts';
import { sendJson } from '../../support/scripted-registry.ts';
import { loginFor, never, rejection, startPair } from './client-fixture.ts';

const v1 = 'v1' as Tag;
const OTHER = `sha256:${'0'.repeat(64)}` as Digest;

describe('RegistryClient.headManifest', () => {
  it('resolves a tag with one request and no body', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');

    const descriptor = await client.headManifest(repository, v1, {}, never);

    expect(descriptor).toMatchObject({ digest, mediaType: MEDIA_TYPES.oci.manifest });
    expect(descriptor?.sizeBytes).toBeGreaterThan(100);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  it('says that a tag is gone (R1, R8)', async () => {
    const { client, registry, repository } = await startPair();
    registry.push('acme/web', 'v2');

    expect(await client.headManifest(repository, v1, {}, never)).toBeUndefined();
  });

  it.each([
    {
      when: 'the repository is gone',
      status: 404,
      body: { errors: [{ code: 'NAME_UNKNOWN' }] },
      code: 'RepositoryNotFound',
    },
    { when: 'the 404 does not say what is missing', status: 404, body: {}, code: 'RepositoryNotFound' },
    {
      when: 'Harbor does not find the repository',
      status: 404,
      body: { errors: [{ code: 'NOT_FOUND', message: 'repository a not found' }] },
      code: 'RepositoryNotFound',
    },
    { when: 'it answers 403', status: 403, body: {}, code: 'Forbidden' },
    { when: 'it answers 500', status: 500, body: {}, code: 'Unavailable' },
    { when: 'it answers 410', status: 410, body: {}, code: 'InvalidResponse' },
  ])('does not say that a tag is gone when $when', async ({ status, body, code }) => {
    const { client, registry, repository } = await startPair();
    registry.script(({ kind }, response) => kind === 'manifest' && (sendJson(response, status, body), true));

    await expect(client.headManifest(repository, v1, {}, never)).rejects.toMatchObject({ code });
  });

  it('does not say that a tag is gone when an HTML page says 404', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (response.writeHead(404, { 'content-type': 'text/html' }).end('<html>Not here</html>'), true),
    );

    const error = await rejection(client.headManifest(repository, v1, {}, never));

    expect(error).toMatchObject({
      code: 'RepositoryNotFound',
      message: expect.stringContaining('(an HTML page, not a registry)') as unknown,
    });
  });

  it("understands Harbor's word for a missing tag", async () => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (
        sendJson(response, 404, { errors: [{ code: 'NOT_FOUND', message: 'artifact acme/web:v1 not found' }] }),
        true
      ),
    );

    expect(await client.headManifest(repository, v1, {}, never)).toBeUndefined();
  });

  it.each([
    { when: 'names no digest', headers: { 'content-type': MEDIA_TYPES.oci.manifest } },
    {
      when: 'names a digest of another kind',
      headers: { 'content-type': MEDIA_TYPES.oci.manifest, 'docker-content-digest': 'sha512:abc' },
    },
    {
      when: 'names two digests',
      headers: { 'content-type': MEDIA_TYPES.oci.manifest, 'docker-content-digest': [OTHER, OTHER.replace('0', '1')] },
    },
    { when: 'names no media type', headers: { 'docker-content-digest': OTHER } },
    {
      when: 'names a media type that is not a manifest',
      headers: { 'docker-content-digest': OTHER, 'content-type': 'text/html' },
    },
  ])('reads and hashes the manifest when the answer $when', async ({ headers }) => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    registry.script(({ method }, response) => method === 'HEAD' && (response.writeHead(200, headers).end(), true));

    expect((await client.headManifest(repository, v1, {}, never))?.digest).toBe(digest);
  });

  it.each([400, 405])('reads the manifest when HEAD answers %i', async (status) => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    registry.script(({ method }, response) => method === 'HEAD' && (response.writeHead(status).end(), true));

    expect((await client.headManifest(repository, v1, {}, never))?.digest).toBe(digest);
  });

  it('refuses an answer for another digest than was asked for (R9)', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    registry.script(
      (_, response) => (
        response.writeHead(200, { 'docker-content-digest': OTHER, 'content-type': MEDIA_TYPES.oci.manifest }).end(),
        true
      ),
    );

    await expect(client.headManifest(repository, digest, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });
});

describe('RegistryClient.getManifest', () => {
  it('returns a verified manifest', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1', { annotations: { a: 'b' } });

    const { descriptor, manifest } = await client.getManifest(repository, v1, {}, never);

    expect(descriptor.digest).toBe(digest);
    expect(manifest).toMatchObject({
      kind: 'image',
      annotations: { a: 'b' },
      config: { mediaType: MEDIA_TYPES.oci.config },
    });
  });

  it.each([
    { when: 'the header names another digest', reference: 'tag', header: OTHER },
    { when: 'the bytes are not those of the digest', reference: 'digest', header: undefined },
  ])('refuses a lie: $when (R9)', async ({ reference, header }) => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    const other = buildImage().manifests[0];
    registry.script((_, response) => {
      response.writeHead(200, {
        'content-type': MEDIA_TYPES.oci.manifest,
        ...(header && { 'docker-content-digest': header }),
      });
      response.end(other?.bytes);
      return true;
    });

    const reading = client.getManifest(repository, reference === 'tag' ? v1 : digest, {}, never);

    await expect(reading).rejects.toMatchObject({
      code: 'InvalidResponse',
      message: expect.stringContaining('other content') as unknown,
    });
  });

  it('refuses a body that ends before its announced length (R9)', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(({ kind }, response) => {
      if (kind !== 'manifest') return false;
      response.writeHead(200, { 'content-type': MEDIA_TYPES.oci.manifest, 'content-length': 1_000 });
      response.write('{"schemaVersion":2');
      setImmediate(() => response.destroy());
      return true;
    });

    await expect(client.getManifest(repository, v1, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
  });

  it('refuses a manifest that is too large (R4)', async () => {
    const { client, registry, repository } = await startPair();
    registry.put('acme/web', `{"x":"${'x'.repeat(4 * 1024 * 1024)}"}`, MEDIA_TYPES.oci.manifest, 'v1');

    await expect(client.getManifest(repository, v1, {}, never)).rejects.toMatchObject({
      code: 'InvalidResponse',
      message: expect.stringContaining('4 MiB') as unknown,
    });
  });
});

describe('RegistryClient.inspect', () => {
  it('lists platforms with their digests and the newest build time', async () => {
    const { client, registry, repository } = await startPair();
    const created = new Date('2026-01-02T03:04:05Z');
    const digest = registry.push('acme/web', 'v1', { platforms: ['linux/amd64', 'linux/arm64/v8'], created });

    const facts = await client.inspect(repository, digest, {}, never);

    expect(facts.platforms.map(({ platform }) => formatPlatform(platform))).toEqual(['linux/amd64', 'linux/arm64']);
    expect(facts).toMatchObject({ digest, mediaType: MEDIA_TYPES.oci.index, created: created.getTime() });
  });

  it('reads the platform of a single image', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1', { platforms: ['linux/arm64'], mediaTypes: 'docker' });

    const facts = await client.inspect(repository, digest, {}, never);

    expect(facts.platforms).toEqual([{ platform: { os: 'linux', architecture: 'arm64' }, digest }]);
    expect(facts).not.toHaveProperty('created');
  });

  it('takes the epoch for no build time, as reproducible builds write it', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1', { created: new Date(0) });

    expect(await client.inspect(repository, digest, {}, never)).not.toHaveProperty('created');
  });

  it('leaves out attestations', async () => {
    const { client, registry, repository } = await startPair();
    const { manifests } = buildImage();
    const [image] = manifests;
    registry.push('acme/web', 'v1');
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.index,
      manifests: [
        { ...image?.descriptor, platform: { os: 'linux', architecture: 'amd64' } },
        {
          ...image?.descriptor,
          platform: { os: 'unknown', architecture: 'unknown' },
          annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
        },
      ],
    };
    const digest = registry.put('acme/web', JSON.stringify(index), MEDIA_TYPES.oci.index);

    const facts = await client.inspect(repository, digest, {}, never, { withCreated: false });

    expect(facts.platforms.map(({ platform }) => formatPlatform(platform))).toEqual(['linux/amd64']);
    expect(registry.requests).toHaveLength(1);
  });

  it('has no platforms for what is not an image, such as a chart', async () => {
    const { client, registry, repository } = await startPair();
    const chart = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.manifest,
      config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: OTHER, size: 2 },
      layers: [],
    };
    const digest = registry.put('acme/web', JSON.stringify(chart), MEDIA_TYPES.oci.manifest);

    expect((await client.inspect(repository, digest, {}, never)).platforms).toEqual([]);
  });

  it('fails when the index names a platform that is not there (R9)', async () => {
    const { client, registry, repository } = await startPair();
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] });
    for (const { bytes, descriptor } of image.manifests) registry.put('acme/web', bytes, descriptor.mediaType);
    registry.deleteContent('acme/web', image.manifests[1]?.descriptor.digest ?? '');

    await expect(client.inspect(repository, image.top.digest, {}, never)).rejects.toMatchObject({
      code: 'InvalidResponse',
    });
  });

  it('fails when a configuration is other than its digest says (R9)', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    const { manifest } = await client.getManifest(repository, digest, {}, never);
    const size = manifest.kind === 'image' ? (manifest.config.sizeBytes ?? 0) : 0;
    const other = '{"os":"linux","architecture":"riscv64"}'.padEnd(size);
    registry.script(({ kind }, response) => kind === 'blob' && (response.end(other), true));

    await expect(client.inspect(repository, digest, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });

  it('follows a blob to where it is stored', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    registry.script(({ kind, url, reference }, response) => {
      if (kind !== 'blob' || url.includes('moved')) return false;
      response.writeHead(307, { location: `/v2/acme/web/blobs/${reference}?moved` }).end();
      return true;
    });

    expect((await client.inspect(repository, digest, {}, never)).platforms).toHaveLength(1);
  });

  it('asks once per digest and login', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1', { platforms: ['linux/amd64', 'linux/arm64'] });
    const login = { credential: loginFor(registry.host) };
    await client.inspect(repository, digest, {}, never);
    const before = registry.requests.length;

    await client.inspect(repository, digest, {}, never);
    await client.inspect(repository, digest, {}, never, { withCreated: false });
    expect(registry.requests.length).toBe(before);

    await client.inspect(repository, digest, login, never);
    expect(registry.requests.length).toBeGreaterThan(before);
  });
});

describe('parseManifest', () => {
  const config = { mediaType: MEDIA_TYPES.oci.config, digest: OTHER, size: 2 };
  const image = { schemaVersion: 2, mediaType: MEDIA_TYPES.oci.manifest, config, layers: [] };
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.oci.index, manifests: [] };

  it('takes the media type from the registry where the document has none', () => {
    const { mediaType: _, ...without } = image;

    expect(parseManifest(Buffer.from(JSON.stringify(without)), `${MEDIA_TYPES.oci.manifest}; charset=utf-8`).kind).toBe(
      'image',
    );
  });

  it('ignores where layers claim to be found elsewhere', () => {
    const layers = [{ ...config, urls: ['http://169.254.169.254/'] }];

    expect(JSON.stringify(parseManifest(Buffer.from(JSON.stringify({ ...image, layers })), undefined))).not.toContain(
      '169.254',
    );
  });

  it.each([
    { when: 'the media types contradict each other (CVE-2021-41190)', given: image, type: MEDIA_TYPES.oci.index },
    {
      when: 'it is an index and an image at once (CVE-2021-41190)',
      given: { ...image, manifests: [] },
      type: MEDIA_TYPES.oci.manifest,
    },
    { when: 'an index has layers', given: { ...index, layers: [] }, type: MEDIA_TYPES.oci.index },
    {
      when: 'an index is called an image',
      given: { ...index, mediaType: MEDIA_TYPES.oci.manifest },
      type: MEDIA_TYPES.oci.manifest,
    },
    { when: 'an image is called an index', given: { ...image, mediaType: MEDIA_TYPES.oci.index }, type: undefined },
    { when: 'there is no media type at all', given: { ...image, mediaType: undefined }, type: undefined },
    { when: 'the media type is unknown', given: { ...image, mediaType: 'text/plain' }, type: 'text/plain' },
    { when: 'the media type is a number', given: { ...image, mediaType: 5 }, type: undefined },
    {
      when: 'it is of the first schema',
      given: { schemaVersion: 1, fsLayers: [] },
      type: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
    },
    {
      when: 'a digest is malformed',
      given: { ...image, config: { ...config, digest: 'sha256:../../etc' } },
      type: undefined,
    },
    {
      when: 'a digest is of another kind',
      given: { ...image, config: { ...config, digest: `sha512:${'0'.repeat(128)}` } },
      type: undefined,
    },
    { when: 'a size is negative', given: { ...image, config: { ...config, size: -1 } }, type: undefined },
    { when: 'a size is text', given: { ...image, config: { ...config, size: '2' } }, type: undefined },
    { when: 'layers are missing', given: { ...image, layers: undefined }, type: undefined },
    { when: 'layers are an object', given: { ...image, layers: {} }, type: undefined },
    { when: 'there are too many layers', given: { ...image, layers: Array(10_001).fill(config) }, type: undefined },
    {
      when: 'a platform is malformed',
      given: { ...index, manifests: [{ ...config, platform: { os: 1, architecture: 'amd64' } }] },
      type: undefined,
    },
    { when: 'it is a list', given: [image], type: MEDIA_TYPES.oci.manifest },
    { when: 'it is null', given: null, type: MEDIA_TYPES.oci.manifest },
  ])('refuses it when $when', ({ given, type }) => {
    expect(() => parseManifest(Buffer.from(JSON.stringify(given)), type)).toThrow(
      expect.objectContaining({ code: 'InvalidResponse' }),
    );
  });

  it('throws nothing but our own errors', () => {
    const anyFields = fc.record(
      {
        schemaVersion: fc.anything(),
        mediaType: fc.anything(),
        manifests: fc.anything(),
        layers: fc.anything(),
        config: fc.anything(),
        annotations: fc.anything(),
      },
      { requiredKeys: [] },
    );
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      anyFields.map((fields) =>
        JSON.stringify({ ...index, ...fields }, (_, value: unknown) => (typeof value === 'bigint' ? 1 : value)),
      ),
    );
    fc.assert(
      fc.property(body, fc.option(fc.string(), { nil: undefined }), (text, type) => {
        try {
          parseManifest(Buffer.from(text), type);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SlipwayError);
        }
      }),
    );
  });

  it('survives deep nesting', () => {
    const deep = `{"manifests":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;

    expect(() => parseManifest(Buffer.from(deep), MEDIA_TYPES.oci.index)).toThrow(SlipwayError);
  });
});
