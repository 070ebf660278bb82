// What every registry that Slipway reads from must be like, as one suite: real registries run it with each way of logging
// in, over HTTP and HTTPS.

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Digest } from '../../../operator/image/digest.ts';
import { formatPlatform } from '../../../operator/image/platform.ts';
import type { Tag } from '../../../operator/image/tag.ts';
import { RegistryClient } from '../../../operator/registry/client.ts';
import type { RegistryAccess } from '../../../operator/registry/credential.ts';
import { selectCredential } from '../../../operator/registry/pull-secret.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { buildImage } from '../../support/registries-image.ts';
import type { RegistryAuth, RegistryOptions, TestRegistry } from '../../support/registries.ts';

const TAG_COUNT = 25;
const PAGED_TAG_COUNT = 1_205;

export interface RegistryTraits {
  /** Whether it splits long lists into pages. */
  readonly pages: boolean;
}

const never = new AbortController().signal;

/** Runs the suite against what `start` starts, with and without TLS and with each way of logging in. */
export function describeRegistryContract(
  name: string,
  start: (options: RegistryOptions) => Promise<TestRegistry>,
  traits: RegistryTraits,
): void {
  const combinations: readonly (readonly [RegistryAuth, boolean])[] = [
    ['none', false],
    ['none', true],
    ['basic', false],
    ['basic', true],
    ['token', false],
    ['token', true],
  ];
  describe.each(combinations)(`${name}, login: %s, TLS: %s`, (auth, tls) => {
    const cleanUps: (() => Promise<void>)[] = [];
    let registry: TestRegistry;
    let client: RegistryClient;
    let access: RegistryAccess;
    let digests: Map<string, Digest>;
    let index: Digest;
    const created = new Date('2026-01-02T03:04:05Z');

    beforeAll(async () => {
      registry = await start({ auth, tls });
      cleanUps.push(() => registry.stop());
      const tokenHosts = registry.tokenServer === undefined ? [] : [new URL(registry.tokenServer.realm).host];
      client = new RegistryClient({
        hosts: new Map([
          [
            registry.host,
            { ...(tls ? { allowPrivate: true } : { insecure: true }), tokenHosts, requestsPerSecond: 1_000 },
          ],
        ]),
        clock: systemClock,
        random: Math.random,
        userAgent: 'slipway-contract/1',
      });
      cleanUps.push(() => client.close());
      access = accessTo(registry, registry.password);
      digests = new Map();
      const image = await registry.push('acme/web', 'v0', { created });
      digests.set('v0', image);
      for (let at = 1; at < TAG_COUNT; at += 1) digests.set(`v${at}`, await registry.retag('acme/web', 'v0', `v${at}`));
      index = await registry.push('acme/web', 'multi', { platforms: ['linux/amd64', 'linux/arm64/v8'], created });
      digests.set('multi', index);
    }, 300_000);

    afterAll(async () => {
      for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
    });

    function accessTo(host: TestRegistry, password: string): RegistryAccess {
      const dockerConfigJson = JSON.stringify({
        auths: { [`https://${host.host}`]: { username: host.username, password } },
      });
      const credential = selectCredential({ host: host.host, path: 'acme/web' }, [
        { uid: password, resourceVersion: '1', name: 'pull', dockerConfigJson },
      ]);
      return {
        ...(auth !== 'none' && credential !== undefined && { credential }),
        ...(host.ca !== undefined && { caPem: host.ca }),
      };
    }

    const repository = () => ({ host: registry.host, path: 'acme/web' });

    it('lists every tag, sorted', async () => {
      expect(await client.listTags(repository(), access, never)).toEqual([...digests.keys()].sort());
    });

    it('resolves tags', async () => {
      for (const tag of ['v0', 'v7', 'multi']) {
        expect((await client.headManifest(repository(), tag as Tag, access, never))?.digest).toBe(digests.get(tag));
      }
    });

    it('resolves digests', async () => {
      expect(await client.headManifest(repository(), index, access, never)).toMatchObject({ digest: index });
    });

    it('says that a tag is not there', async () => {
      expect(await client.headManifest(repository(), 'nowhere' as Tag, access, never)).toBeUndefined();
    });

    it('says that a repository is not there', async () => {
      const nowhere = { ...repository(), path: 'acme/nowhere' };

      await expect(client.listTags(nowhere, access, never)).rejects.toMatchObject({ code: 'RepositoryNotFound' });
    });

    it('shows the platforms and the build time of an index and of a single image', async () => {
      const ofIndex = await client.inspect(repository(), index, access, never);
      const ofImage = await client.inspect(repository(), digests.get('v0') ?? index, access, never);

      expect(ofIndex.platforms.map(({ platform }) => formatPlatform(platform))).toEqual(['linux/amd64', 'linux/arm64']);
      expect(ofImage.platforms.map(({ platform }) => formatPlatform(platform))).toEqual(['linux/amd64']);
      expect([ofIndex.created, ofImage.created]).toEqual([created.getTime(), created.getTime()]);
    });

    it('sees tags come, move and go', async () => {
      const moving = { host: registry.host, path: 'acme/moving' };
      const first = await registry.push('acme/moving', 'v1');
      const before = await client.listTagsSince(moving, access, undefined, never);
      expect(await client.listTagsSince(moving, access, before, never)).toBe(before);

      const second = await registry.push('acme/moving', 'v2');
      await registry.retag('acme/moving', 'v2', 'v1');
      const after = await client.listTagsSince(moving, access, before, never);

      expect([before.tags, after.tags]).toEqual([['v1'], ['v1', 'v2']]);
      expect(first).not.toBe(second);
      expect((await client.headManifest(moving, 'v1' as Tag, access, never))?.digest).toBe(second);

      await registry.deleteTag('acme/moving', 'v1');
      expect((await client.listTagsSince(moving, access, after, never)).tags).toEqual(['v2']);
      expect(await client.headManifest(moving, 'v1' as Tag, access, never)).toBeUndefined();
    });

    it('costs one request per answer once it knows the way in', async () => {
      await client.listTags(repository(), access, never);
      const before = (await ownRequests()).length;

      await client.listTags(repository(), access, never);
      await client.headManifest(repository(), 'v0' as Tag, access, never);

      expect((await ownRequests()).slice(before).map(({ method, status }) => `${method} ${status}`)).toEqual([
        'GET 200',
        'HEAD 200',
      ]);
    });

    if (auth !== 'none') {
      it.each([
        { when: 'without a login', password: undefined },
        { when: 'with a wrong one', password: 'wrong' },
      ])('refuses to answer $when', async ({ password }) => {
        const wrong =
          password === undefined
            ? { ...(registry.ca !== undefined && { caPem: registry.ca }) }
            : accessTo(registry, password);

        await expect(client.listTags(repository(), wrong, never)).rejects.toMatchObject({ code: 'Unauthorized' });
        await expect(client.headManifest(repository(), 'v0' as Tag, wrong, never)).rejects.toMatchObject({
          code: 'Unauthorized',
        });
      });
    }

    if (tls) {
      it('is not trusted without its authority', async () => {
        const { caPem: _, ...untrusting } = access;

        await expect(client.listTags(repository(), untrusting, never)).rejects.toMatchObject({
          code: 'UntrustedCertificate',
        });
      });
    }

    if (auth === 'none' && !tls) {
      it(`lists ${PAGED_TAG_COUNT} tags, ${traits.pages ? 'page by page' : 'all at once'}`, async () => {
        const target = { host: registry.host, path: 'acme/many' };
        const names = Array.from({ length: PAGED_TAG_COUNT }, (_, at) => `v${at}`);
        const { blobs, manifests } = buildImage();
        for (const { bytes, descriptor } of blobs)
          await registry.pusher.pushBlob('acme/many', bytes, descriptor.mediaType);
        // One after the other: docker-registry answers 500 to some of several writers of one manifest.
        for (const name of names) {
          for (const { bytes, descriptor } of manifests)
            await registry.pusher.pushManifest('acme/many', bytes, descriptor.mediaType, name);
        }
        const before = (await ownRequests()).length;

        expect(await client.listTags(target, access, never)).toEqual(names.sort());

        expect((await ownRequests()).length - before).toBe(traits.pages ? 2 : 1);
      }, 120_000);
    }

    async function ownRequests() {
      return (await registry.requests()).filter(({ userAgent }) => userAgent === 'slipway-contract/1');
    }
  });
}
