// Nobody who writes an image name or answers a request can send Slipway to a place it should not ask, or make it show a
// login there. One test per line of the table of precedents (R7, I12).

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Tag } from '../../../operator/image/tag.ts';
import { admitRegistryHop } from '../../../operator/registry/hop-rules.ts';
import { type HostConfig, resolveEndpoint } from '../../../operator/registry/hosts.ts';
import { type CertificateAuthority, createAuthority, type KeyPair } from '../../cluster/certificates.ts';
import { basic, LOGIN, type ScriptedRegistry, sendJson } from '../../support/scripted-registry.ts';
import { createClient, loginFor, never, rejection, startPair, startRegistry } from './client-fixture.ts';

const v1 = 'v1' as Tag;
const REFUSING_NAMES = {
  'ten.example': ['10.0.0.5'],
  'loopback.example': ['127.0.0.1'],
  'six.example': ['::1'],
  'metadata.example': ['169.254.169.254'],
  'zero.example': ['0.0.0.0'],
  'mapped.example': ['::ffff:10.0.0.5'],
  'ula.example': ['fd00::1'],
} as const;

let directory: string;
let authority: CertificateAuthority;
let keys: KeyPair;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-ssrf-'));
  authority = await createAuthority(directory, 'test-ca');
  keys = await authority.issueServer('server', ['127.0.0.1', 'registry.test', 'auth.test', 'other.test', 'blobs.test']);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Registries with TLS under names of their own, all on loopback, and a client whose configuration lists what is given. */
async function startNamed(
  hosts: (registry: ScriptedRegistry, other: ScriptedRegistry) => Readonly<Record<string, HostConfig>>,
) {
  const registry = await startRegistry({ tls: keys, auth: 'bearer' });
  const other = await startRegistry({ tls: keys, auth: 'bearer' });
  const { client } = createClient({
    hosts: hosts(registry, other),
    names: {
      'registry.test': ['127.0.0.1'],
      'other.test': ['127.0.0.1'],
      'auth.test': ['127.0.0.1'],
      'blobs.test': ['127.0.0.1'],
      ...REFUSING_NAMES,
    },
  });
  const host = `registry.test:${registry.port}`;
  return {
    client,
    registry,
    other,
    repository: { host, path: 'acme/web' },
    access: { credential: loginFor(host), caPem: authority.certificate },
  };
}

describe('the host of an image', () => {
  it.each([
    '10.0.0.1',
    '127.0.0.1:1',
    '169.254.169.254',
    '[::1]:1',
    '[::ffff:10.0.0.1]:1',
    '[fd00:ec2::254]:1',
    '0.0.0.0',
    '192.168.1.1',
    '2130706433:1',
  ])('may not be %s unless the operator lists it', async (host) => {
    const { client } = createClient();

    await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'BlockedAddress' });
  });

  it.each(Object.keys(REFUSING_NAMES))('may not resolve to a blocked address: %s', async (host) => {
    const { client } = createClient({ names: REFUSING_NAMES });

    await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'BlockedAddress' });
  });

  it('may be private when the operator lists it with allowPrivate', async () => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.push('acme/web', 'v1');
    registry.realm = `https://${repository.host}/token`;

    expect(await client.listTags(repository, access, never)).toEqual(['v1']);
  });

  it('may never be a metadata service, even when it is listed', async () => {
    const { client } = createClient({
      hosts: { '169.254.169.254': { insecure: true }, 'metadata.example': { allowPrivate: true } },
      names: REFUSING_NAMES,
    });

    for (const host of ['169.254.169.254', 'metadata.example']) {
      await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'BlockedAddress' });
    }
  });

  it('is connected to at the very address that was judged (DNS rebinding)', async () => {
    const registry = await startRegistry({ tls: keys });
    registry.push('acme/web', 'v1');
    const host = `registry.test:${registry.port}`;
    let lookUps = 0;
    const { client } = createClient({
      hosts: { [host]: { allowPrivate: true } },
      // Whoever asks a second time is sent elsewhere.
      resolve: () => Promise.resolve([{ address: (lookUps += 1) === 1 ? '127.0.0.1' : '10.0.0.5', family: 4 }]),
    });

    expect(await client.listTags({ host, path: 'acme/web' }, { caPem: authority.certificate }, never)).toEqual(['v1']);
    expect(lookUps).toBe(1);
  });

  it('is reached by those of its addresses that are allowed, and by no other', async () => {
    const registry = await startRegistry({ tls: keys });
    registry.push('acme/web', 'v1');
    const host = `registry.test:${registry.port}`;
    const { client } = createClient({
      hosts: { [host]: { allowPrivate: true } },
      names: { 'registry.test': ['169.254.169.254', '0.0.0.0', '127.0.0.1'] },
    });

    expect(await client.listTags({ host, path: 'acme/web' }, { caPem: authority.certificate }, never)).toEqual(['v1']);
  });

  it('is never asked in plain HTTP unless it is listed as insecure', async () => {
    const registry = await startRegistry();
    const { client } = createClient({ hosts: { [registry.host]: { allowPrivate: true } } });

    await expect(client.listTags({ host: registry.host, path: 'x' }, {}, never)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining('does not speak HTTPS') as unknown,
    });
    expect(registry.requests).toEqual([]);
  });
});

describe('certificates', () => {
  it.each([
    { when: 'nobody vouches for it', access: () => ({}) },
    { when: 'another authority vouches for it', access: () => ({ caPem: otherAuthority.certificate }) },
  ])('are refused when $when', async ({ access }) => {
    const registry = await startRegistry({ tls: keys });
    const { client } = createClient({ hosts: { [registry.host]: { allowPrivate: true } } });

    await expect(client.listTags({ host: registry.host, path: 'x' }, access(), never)).rejects.toMatchObject({
      code: 'UntrustedCertificate',
    });
    expect(registry.requests).toEqual([]);
  });

  let otherAuthority: CertificateAuthority;
  beforeAll(async () => {
    otherAuthority = await createAuthority(directory, 'other-ca');
  });

  it('are refused when they are for another name', async () => {
    const registry = await startRegistry({ tls: keys });
    const host = `stranger.test:${registry.port}`;
    const { client } = createClient({
      hosts: { [host]: { allowPrivate: true } },
      names: { 'stranger.test': ['127.0.0.1'] },
    });

    const error = await rejection(client.listTags({ host, path: 'x' }, { caPem: authority.certificate }, never));

    expect(error).toMatchObject({
      code: 'UntrustedCertificate',
      message: expect.stringContaining('another name') as unknown,
    });
  });

  it("are accepted when the operator's configuration or the policy brings the authority", async () => {
    const registry = await startRegistry({ tls: keys });
    registry.push('acme/web', 'v1');
    const byOperator = createClient({
      hosts: { [registry.host]: { allowPrivate: true, caPem: authority.certificate } },
    });
    const byPolicy = createClient({ hosts: { [registry.host]: { allowPrivate: true } } });

    for (const [client, access] of [
      [byOperator.client, {}],
      [byPolicy.client, { caPem: authority.certificate }],
    ] as const) {
      expect(await client.listTags({ host: registry.host, path: 'acme/web' }, access, never)).toEqual(['v1']);
    }
  });

  it('brought by one policy are not trusted for another', async () => {
    const registry = await startRegistry({ tls: keys });
    registry.push('acme/web', 'v1');
    const { client } = createClient({ hosts: { [registry.host]: { allowPrivate: true } } });
    const repository = { host: registry.host, path: 'acme/web' };
    await client.listTags(repository, { caPem: authority.certificate }, never);

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'UntrustedCertificate' });
  });

  it('are not looked at for a host listed as insecure', async () => {
    const registry = await startRegistry({ tls: keys });
    registry.push('acme/web', 'v1');
    const { client } = createClient({ hosts: { [registry.host]: { insecure: true } } });

    expect(await client.listTags({ host: registry.host, path: 'acme/web' }, {}, never)).toEqual(['v1']);
  });

  it.each(['', 'not PEM', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
    'that are not PEM are an error: %j',
    async (caPem) => {
      const { client } = createClient();

      await expect(client.listTags({ host: 'ghcr.io', path: 'x' }, { caPem }, never)).rejects.toMatchObject({
        code: 'InvalidCaBundle',
      });
    },
  );
});

describe('the realm of a token', () => {
  it.each([
    'https://other.test/token',
    'https://ten.example/token',
    'https://169.254.169.254/latest/meta-data',
    'https://localhost/token',
    'https://[::1]/token',
    'https://registry.test.evil.example/token',
    'http://other.test/token',
    'https://user:pass@registry.test/token',
  ])('may not lead to %s', async (realm) => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.realm = realm;

    await expect(client.listTags(repository, access, never)).rejects.toMatchObject({ code: 'TokenHostRefused' });
  });

  it('may not be plain HTTP, on the same host either', async () => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.realm = `http://registry.test:${registry.port}/token`;

    await expect(client.listTags(repository, access, never)).rejects.toMatchObject({ code: 'TokenHostRefused' });
  });

  it('may not be on another port of the same host', async () => {
    const { client, registry, other, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.realm = `https://registry.test:${other.port}/token`;

    await expect(client.listTags(repository, access, never)).rejects.toMatchObject({ code: 'TokenHostRefused' });
    expect(other.requests).toEqual([]);
  });

  it.each(['nonsense', ''])('must be a URL: %j', async (realm) => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.realm = realm;

    await expect(client.listTags(repository, access, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });

  it('may be on the same host', async () => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.push('acme/web', 'v1');
    registry.realm = `https://registry.test:${registry.port}/token`;

    expect(await client.listTags(repository, access, never)).toEqual(['v1']);
  });

  it('may be on a host that the operator lists in tokenHosts', async () => {
    const { client, registry, other, repository, access } = await startNamed((own, { port }) => ({
      [`registry.test:${own.port}`]: { allowPrivate: true, tokenHosts: [`auth.test:${port}`] },
    }));
    registry.realm = `https://auth.test:${other.port}/token`;
    registry.script(
      ({ authorization }, response) =>
        authorization === 'Bearer theirs' && (sendJson(response, 200, { tags: ['a'] }), true),
    );
    other.script(
      ({ authorization }, response) =>
        authorization === basic(LOGIN) && (sendJson(response, 200, { token: 'theirs' }), true),
    );

    expect(await client.listTags(repository, access, never)).toEqual(['a']);
  });

  it('falls back to Basic where that is offered too', async () => {
    const { client, registry, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.script(({ authorization }, response) => {
      if (authorization === basic(LOGIN)) sendJson(response, 200, { tags: ['a'] });
      else sendJson(response, 401, {}, { 'www-authenticate': 'Bearer realm="https://other.test/", Basic realm="x"' });
      return true;
    });

    expect(await client.listTags(repository, access, never)).toEqual(['a']);
  });
});

describe('a redirect of the token server', () => {
  it('is judged like the realm itself', async () => {
    const { client, registry, other, repository, access } = await startNamed(({ port }) => ({
      [`registry.test:${port}`]: { allowPrivate: true },
    }));
    registry.realm = `https://registry.test:${registry.port}/token`;
    registry.script(
      ({ kind }, response) =>
        kind === 'token' &&
        (response.writeHead(307, { location: `https://other.test:${other.port}/token` }).end(), true),
    );

    await expect(client.listTags(repository, access, never)).rejects.toMatchObject({ code: 'TokenHostRefused' });
    expect(other.requests).toEqual([]);
  });

  it('does not take the login to another listed host', async () => {
    const { client, registry, other, repository, access } = await startNamed((own, { port }) => ({
      [`registry.test:${own.port}`]: { allowPrivate: true, tokenHosts: [`auth.test:${port}`] },
    }));
    registry.realm = `https://registry.test:${registry.port}/token`;
    registry.script(
      ({ kind }, response) =>
        kind === 'token' &&
        (response.writeHead(302, { location: `https://auth.test:${other.port}/token` }).end(), true),
    );

    await rejection(client.listTags(repository, access, never));

    expect(other.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});

describe('a Link to the next page', () => {
  it.each([
    (other: ScriptedRegistry) => `${other.url}/v2/acme/web/tags/list?last=a`,
    (other: ScriptedRegistry) => `//${other.host}/v2/acme/web/tags/list?last=a`,
    () => '/v2/acme/secret/tags/list?last=a',
    () => '/v2/acme/web/tags/../../secret/tags/list',
    () => 'https://169.254.169.254/v2/acme/web/tags/list',
  ])('is not followed away from the listing (%#)', async (makeLink) => {
    const { client, registry, repository } = await startPair();
    const other = await startRegistry();
    registry.script(
      (_, response) => (sendJson(response, 200, { tags: ['a'] }, { link: `<${makeLink(other)}>; rel="next"` }), true),
    );

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
    expect(registry.requests).toHaveLength(1);
    expect(other.requests).toEqual([]);
  });
});

describe('a redirect of the registry', () => {
  async function startRedirecting(
    location: (other: ScriptedRegistry, registry: ScriptedRegistry) => string,
    hosts: Readonly<Record<string, HostConfig>> = {},
  ) {
    const registry = await startRegistry({ tls: keys, auth: 'basic' });
    const other = await startRegistry({ tls: keys });
    const host = `registry.test:${registry.port}`;
    const { client } = createClient({
      names: { 'registry.test': ['127.0.0.1'], 'blobs.test': ['127.0.0.1'], ...REFUSING_NAMES },
      hosts: { [host]: { allowPrivate: true }, [`blobs.test:${other.port}`]: { allowPrivate: true }, ...hosts },
    });
    registry.script(({ kind, authorization, url }, response) => {
      if (kind !== 'manifest' || authorization === undefined || url.includes('back')) return false;
      response.writeHead(307, { location: location(other, registry) }).end();
      return true;
    });
    return {
      client,
      registry,
      other,
      repository: { host, path: 'acme/web' },
      access: { credential: loginFor(host), caPem: authority.certificate },
    };
  }

  it('does not take the login to another host', async () => {
    const { client, registry, other, repository, access } = await startRedirecting(
      ({ port }) => `https://blobs.test:${port}/v2/acme/web/manifests/v1`,
    );
    other.push('acme/web', 'v1');

    await client.headManifest(repository, v1, access, never);

    expect(registry.requests.at(-1)?.authorization).toBe(basic(LOGIN));
    expect(other.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
    expect(Object.keys(other.requests[0]?.headers ?? {})).not.toEqual(
      expect.arrayContaining(['cookie', 'proxy-authorization']),
    );
  });

  it('does not give the login back when a later hop leads home', async () => {
    const { client, registry, other, repository, access } = await startRedirecting(
      ({ port }) => `https://blobs.test:${port}/away`,
    );
    other.script(
      ({ url }, response) =>
        url === '/away' &&
        (response
          .writeHead(302, { location: `https://registry.test:${registry.port}/v2/acme/web/manifests/v1?back` })
          .end(),
        true),
    );

    await rejection(client.headManifest(repository, v1, access, never));

    const back = registry.requests.filter(({ url }) => url.endsWith('?back'));
    expect(back.length).toBeGreaterThan(0);
    expect(back.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('keeps the login on the same host, port and scheme', async () => {
    const { client, registry, repository, access } = await startRedirecting(() => '/v2/acme/web/manifests/v1?back');
    const digest = registry.push('acme/web', 'v1');

    expect((await client.headManifest(repository, v1, access, never))?.digest).toBe(digest);
  });

  it.each([
    {
      when: 'to plain HTTP',
      location: (other: ScriptedRegistry) => `http://blobs.test:${other.port}/`,
      code: 'RedirectRefused',
    },
    {
      when: 'to plain HTTP on the same host',
      location: (_: ScriptedRegistry, registry: ScriptedRegistry) => `http://registry.test:${registry.port}/`,
      code: 'RedirectRefused',
    },
    {
      when: 'to a metadata service',
      location: () => 'https://169.254.169.254/latest/meta-data',
      code: 'BlockedAddress',
    },
    { when: 'to a name of a metadata service', location: () => 'https://metadata.example/', code: 'BlockedAddress' },
    { when: 'to loopback', location: () => 'https://[::1]/', code: 'BlockedAddress' },
    { when: 'to a cluster address', location: () => 'https://10.96.0.1/api/v1/secrets', code: 'BlockedAddress' },
    { when: 'to a private name', location: () => 'https://ten.example/', code: 'BlockedAddress' },
    { when: 'to a file', location: () => 'file:///etc/passwd', code: 'RedirectRefused' },
    {
      when: 'with a login in it',
      location: (other: ScriptedRegistry) => `https://a:b@blobs.test:${other.port}/`,
      code: 'RedirectRefused',
    },
    { when: 'to nonsense', location: () => 'https://', code: 'RedirectRefused' },
  ])('is refused $when', async ({ location, code }) => {
    const { client, other, repository, access } = await startRedirecting(location);

    await expect(client.headManifest(repository, v1, access, never)).rejects.toMatchObject({ code });
    expect(other.requests).toEqual([]);
  });

  it('is refused from HTTPS to plain HTTP, also on a host listed as insecure', async () => {
    const registry = await startRegistry({ tls: keys });
    const { client } = createClient({ hosts: { [registry.host]: { insecure: true } } });
    registry.script(
      ({ kind }, response) =>
        kind === 'list' && (response.writeHead(307, { location: `http://${registry.host}/x` }).end(), true),
    );

    await expect(client.listTags({ host: registry.host, path: 'x' }, {}, never)).rejects.toMatchObject({
      code: 'RedirectRefused',
    });
  });

  it('does not lead from a registry out in the world into the cluster, also not to hosts that are listed', async () => {
    const { client, other, repository, access } = await startRedirecting(
      ({ port }) => `https://blobs.test:${port}/`,
      {},
    );
    await rejection(client.headManifest(repository, v1, access, never));
    expect(other.requests.length).toBeGreaterThan(0);
    other.requests.length = 0;
    const hosts = new Map([[`blobs.test:${other.port}`, { allowPrivate: true }]]);

    const rules = admitRegistryHop(
      resolveEndpoint('ghcr.io', hosts),
      hosts,
      new URL(`https://blobs.test:${other.port}/`),
    );

    expect(rules).toEqual({ allowsPrivate: false, verifies: true });
  });

  it.each([
    { when: 'it loops', next: (at: number) => `?${at % 2}` },
    { when: 'it goes on and on', next: (at: number) => `?${at}` },
  ])('is followed five times at most when $when', async ({ next }) => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (response.writeHead(302, { location: next(registry.requests.length) }).end(), true),
    );

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'RedirectRefused' });
    expect(registry.requests).toHaveLength(6);
  });
});

describe('compressed bodies', () => {
  it.each([
    { when: 'a gzip bomb', body: () => gzipSync(Buffer.alloc(64 * 1024 * 1024, 'a')), encoding: 'gzip' },
    {
      when: 'a bomb below the size limit, by its ratio',
      body: () => gzipSync(Buffer.from(`{"tags":["a"],"x":"${'a'.repeat(7_000_000)}"}`)),
      encoding: 'gzip',
    },
    { when: 'nested encodings', body: () => gzipSync(gzipSync('{"tags":["a"]}')), encoding: 'gzip, gzip' },
    { when: 'brotli', body: () => Buffer.from('x'), encoding: 'br' },
    { when: 'deflate', body: () => Buffer.from('x'), encoding: 'deflate' },
    { when: 'gzip that is none', body: () => Buffer.from('{"tags":["a"]}'), encoding: 'gzip' },
    { when: 'gzip that is cut off', body: () => gzipSync('{"tags":["a"]}').subarray(0, -6), encoding: 'gzip' },
  ])('are refused: $when', async ({ body, encoding }) => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (response.writeHead(200, { 'content-encoding': encoding }).end(body()), true));

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });
});

describe('a port that nobody meant for HTTP', () => {
  it('gets nothing but a request line, and its answer is not HTTP', async () => {
    const server = createServer((socket) =>
      socket
        .on('error', () => undefined)
        .resume()
        .end('SSH-2.0-OpenSSH_9.2\r\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const host = `127.0.0.1:${(server.address() as { port: number }).port}`;
    const { client } = createClient({ hosts: { [host]: { insecure: true } } });

    await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });

    await new Promise((resolve) => server.close(resolve));
  });
});
