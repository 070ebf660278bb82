// Listing tags: all pages or an error (R3 to R6).

import { describe, expect, it } from '@jest/globals';
import { sendJson } from '../../support/scripted-registry.ts';
import { createClient, loginFor, never, rejection, startPair } from './client-fixture.ts';

describe('RegistryClient.listTags', () => {
  it('returns distinct tags in byte order, however the registry lists them (R6)', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (sendJson(response, 200, { tags: ['v2', 'V1', 'latest', '_x', 'v10', 'v2'] }), true),
    );

    const tags = await client.listTags(repository, {}, never);

    expect(tags).toEqual(['V1', '_x', 'latest', 'v10', 'v2']);
  });

  it('follows every page', async () => {
    const { client, registry, repository } = await startPair();
    const all = Array.from({ length: 95 }, (_, at) => `v${String(at).padStart(3, '0')}`);
    registry.setTags('acme/web', all);
    registry.pageSize = 10;

    const tags = await client.listTags(repository, {}, never);

    expect(tags).toEqual(all);
    expect(registry.count('list')).toBe(10);
  });

  it('follows the link of a page that is short or empty', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(({ query }, response) => {
      const last = query.get('last');
      const [tags, next] = last === null ? [['a'], 'a'] : last === 'a' ? [[], 'b'] : [['c'], undefined];
      sendJson(response, 200, { tags }, next === undefined ? {} : { link: `<?last=${next}>; rel="next"` });
      return true;
    });

    expect(await client.listTags(repository, {}, never)).toEqual(['a', 'c']);
  });

  it.each([
    { when: 'page 2 answers 500', status: 500, code: 'Unavailable' },
    { when: 'page 2 answers 403', status: 403, code: 'Forbidden' },
    { when: 'page 2 answers 429', status: 429, code: 'RateLimited' },
    { when: 'page 2 answers 204', status: 204, code: 'InvalidResponse' },
  ])('returns nothing at all when $when', async ({ status, code }) => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;
    registry.script(({ query }, response) => query.has('last') && (response.writeHead(status).end(), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code });
  });

  it.each([
    { when: 'it is cut off', body: '{"tags":["c"' },
    { when: 'its tags are null', body: '{"tags":null}' },
    { when: 'a tag is a number', body: '{"tags":["c",4]}' },
    { when: 'it is an error with status 200', body: '{"errors":[{"code":"UNKNOWN"}]}' },
  ])('returns nothing at all when page 2 is garbage: $when (R3)', async ({ body }) => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;
    registry.script(({ query }, response) => query.has('last') && (response.end(body), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });

  it.each([{ tags: [] }, { tags: null }])('calls %j an empty list, which is never acted upon', async (document) => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (sendJson(response, 200, document), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'TagListEmpty' });
  });

  it('starts again when a tag vanishes between pages, as zot answers 404 then (R5)', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;
    let hasVanished = false;
    registry.script(({ query }, response) => {
      if (!query.has('last') || hasVanished) return false;
      hasVanished = true;
      registry.deleteTag('acme/web', 'b');
      sendJson(response, 404, { errors: [{ code: 'NAME_UNKNOWN' }] });
      return true;
    });

    expect(await client.listTags(repository, {}, never)).toEqual(['a', 'c']);
  });

  it('gives up, and does not say that the repository is gone, when pages keep vanishing (R5)', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;
    registry.script(({ query }, response) => query.has('last') && (sendJson(response, 404, {}), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
    expect(registry.count('list')).toBe(6);
  });

  it.each([
    { when: 'a page leads to itself', link: '<?n=1000>; rel="next"' },
    { when: 'pages lead in a circle', link: '<?last=a>; rel="next"' },
  ])('notices that $when (R4)', async ({ link }) => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (sendJson(response, 200, { tags: ['a'] }, { link }), true));

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error).toMatchObject({ code: 'InvalidResponse', message: expect.stringContaining('circle') as unknown });
    expect(registry.count('list')).toBeLessThan(4);
  });

  it('ends an endless chain of pages that bring nothing new (R4)', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (
        sendJson(response, 200, { tags: ['a'] }, { link: `<?last=${registry.requests.length}>; rel="next"` }),
        true
      ),
    );

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'TagListTruncated' });
    expect(registry.count('list')).toBeLessThan(20);
  });

  it('ends an endless chain of pages with new tags, and says so (R4)', async () => {
    const { client, registry, repository } = await startPair({ client: { limits: { tagPages: 30 } } });
    registry.script((_, response) => {
      const at = registry.requests.length;
      sendJson(response, 200, { tags: [`t${at}`] }, { link: `<?last=${at}>; rel="next"` });
      return true;
    });

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'TagListTruncated' });
    expect(registry.count('list')).toBe(30);
  });

  it('refuses more tags than it is willing to keep (R4)', async () => {
    const { client, registry, repository } = await startPair({ client: { limits: { tags: 99 } } });
    registry.setTags(
      'acme/web',
      Array.from({ length: 100 }, (_, at) => `v${at}`),
    );

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'TagListTruncated' });
  });

  it('reads 100,000 tags (R4)', async () => {
    const { client, registry, repository } = await startPair();
    registry.compresses = true;
    registry.pageSize = 100_000;
    registry.script(({ kind }, response) => {
      if (kind !== 'list') return false;
      sendJson(response, 200, { tags: Array.from({ length: 100_000 }, (_, at) => `main-${at}`) });
      return true;
    });

    expect(await client.listTags(repository, {}, never)).toHaveLength(100_000);
  });

  it('refuses a page that is too large (R4)', async () => {
    const { client, registry, repository } = await startPair({ client: { limits: { tagPageBytes: 10_000 } } });
    registry.setTags(
      'acme/web',
      Array.from({ length: 1_000 }, (_, at) => `version-${at}`),
    );

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });

  it('says that a repository is not there (R1)', async () => {
    const { client, repository } = await startPair();

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error.code).toBe('RepositoryNotFound');
    expect(error.message).toBe(
      `Listing tags of ${repository.host}/acme/web: ${repository.host} answered 404 Not Found (NAME_UNKNOWN); check the name of the image`,
    );
  });

  it('reports each listing and each request', async () => {
    const { client, registry, repository, listings, requests } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;

    await client.listTags(repository, {}, never);
    await rejection(client.listTags({ ...repository, path: 'acme/none' }, {}, never));

    expect(listings).toMatchObject([
      { host: registry.host, repository: `${registry.host}/acme/web`, outcome: 'changed', tags: 3 },
      { outcome: 'failed', tags: 0 },
    ]);
    expect(requests.filter(({ outcome }) => outcome !== 'network')).toMatchObject([
      { host: registry.host, verb: 'list', outcome: '2xx' },
      { verb: 'list', outcome: '2xx' },
      { verb: 'list', outcome: '404' },
    ]);
    expect(requests.at(-1)?.bytes).toBeGreaterThan(10);
  });

  it('ends with the reason of the signal, and reports no failure', async () => {
    const { client, registry, repository, listings } = await startPair();
    const controller = new AbortController();
    const reason = new Error('enough');
    registry.script(() => {
      controller.abort(reason);
      return true;
    });

    expect(await rejection(client.listTags(repository, {}, controller.signal))).toBe(reason);
    expect(listings).toEqual([]);
  });
});

describe('RegistryClient.listTagsSince', () => {
  it('returns the previous listing itself when no page has changed', async () => {
    const { client, registry, repository, listings } = await startPair();
    registry.setTags('acme/web', ['a', 'b', 'c']);
    registry.pageSize = 2;

    const before = await client.listTagsSince(repository, {}, undefined, never);
    const after = await client.listTagsSince(repository, {}, before, never);

    expect(after).toBe(before);
    expect(listings.map(({ outcome }) => outcome)).toEqual(['changed', 'unchanged']);
  });

  it('has the same hash when only the order has changed', async () => {
    const { client, registry, repository } = await startPair();
    let tags = ['a', 'b', 'c'];
    registry.script((_, response) => (sendJson(response, 200, { tags }), true));
    const before = await client.listTagsSince(repository, {}, undefined, never);
    tags = ['c', 'a', 'b'];

    const after = await client.listTagsSince(repository, {}, before, never);

    expect(after.hash).toBe(before.hash);
    expect(after.tags).toEqual(['a', 'b', 'c']);
  });

  it.each([{ hasEtags: false }, { hasEtags: true }])(
    'sees a change on the last page, the first, and in the number of pages (ETags: $hasEtags)',
    async ({ hasEtags }) => {
      const { client, registry, repository } = await startPair();
      registry.hasEtags = hasEtags;
      registry.pageSize = 2;
      let listing;
      for (const tags of [
        ['b', 'c', 'd'],
        ['b', 'c', 'e'],
        ['a', 'c', 'e'],
        ['a', 'c'],
        ['a', 'c', 'e', 'f', 'g'],
        ['a'],
      ]) {
        registry.setTags('acme/web', tags);

        listing = await client.listTagsSince(repository, {}, listing, never);

        expect(listing.tags).toEqual(tags);
      }
    },
  );

  it('transfers nothing again where the registry answers conditional requests', async () => {
    const { client, registry, repository, requests } = await startPair();
    registry.hasEtags = true;
    registry.setTags('acme/web', ['a', 'b', 'c', 'd']);
    registry.pageSize = 2;
    const before = await client.listTagsSince(repository, {}, undefined, never);
    requests.length = 0;

    const after = await client.listTagsSince(repository, {}, before, never);

    expect(after).toBe(before);
    expect(requests).toMatchObject([
      { outcome: '304', bytes: 0 },
      { outcome: '304', bytes: 0 },
    ]);
  });

  it('does not accept a 304 that it did not ask for', async () => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (response.writeHead(304).end(), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });

  it('lets a list be compressed', async () => {
    const { client, registry, repository, requests } = await startPair();
    registry.compresses = true;
    registry.setTags(
      'acme/web',
      Array.from({ length: 1_000 }, (_, at) => `version-${at}`),
    );

    expect(await client.listTags(repository, {}, never)).toHaveLength(1_000);
    expect(requests.at(-1)?.bytes).toBeLessThan(6_000);
  });

  it('keeps the tags readable after they were collected', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['b', 'a']);
    const listing = await client.listTagsSince(repository, {}, undefined, never);

    expect(listing.tags).toEqual(['a', 'b']);
    expect(listing.size).toBe(2);
  });
});

describe('a client', () => {
  it('opens no more connections than it has requests at once', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a']);

    for (let at = 0; at < 30; at += 1) await client.listTags(repository, {}, never);

    expect(await registry.connections()).toBeLessThanOrEqual(2);
  });

  it('says who it is', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a']);

    await client.listTags(repository, {}, never);

    expect(registry.requests.at(-1)?.headers['user-agent']).toBe('slipway-test/1');
  });

  it('asks a mirror instead', async () => {
    const { registry } = await startPair();
    const { client } = createClient({
      hosts: { 'docker.io': { mirror: registry.host }, [registry.host]: { insecure: true } },
    });
    registry.setTags('library/nginx', ['1.29']);

    expect(await client.listTags({ host: 'docker.io', path: 'library/nginx' }, {}, never)).toEqual(['1.29']);
  });

  it('shows no login to a mirror, also when it asks for one', async () => {
    const { registry } = await startPair({ auth: 'basic' });
    const { client } = createClient({
      hosts: { 'docker.io': { mirror: registry.host }, [registry.host]: { insecure: true } },
    });
    const access = { credential: loginFor('docker.io') };

    const error = await rejection(client.listTags({ host: 'docker.io', path: 'library/nginx' }, access, never));

    expect(error).toMatchObject({ code: 'Unauthorized', message: expect.stringContaining('mirrors') as unknown });
    expect(registry.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});
