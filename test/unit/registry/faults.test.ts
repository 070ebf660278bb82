// What a registry can do wrong with one request (R1, R2): each becomes a code and a sentence that stays the same, within a
// bounded time, and others do not suffer.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import type { Tag } from '../../../operator/image/tag.ts';
import { sendJson } from '../../support/scripted-registry.ts';
import { createClient, never, rejection, startPair } from './client-fixture.ts';

const v1 = 'v1' as Tag;
/** Far below what a test may take, and above undici's resolution of a second. */
const SHORT = { connectMs: 1_000, idleMs: 1_000, exchangeMs: 2_500 };

/** A server that does with each connection what the test says; connections end with it. */
async function withRawServer(onSocket: (socket: Socket) => void, run: (host: string) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await run(`127.0.0.1:${(server.address() as { port: number }).port}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }
}

describe('an answer', () => {
  it.each([
    { status: 400, code: 'InvalidResponse' },
    { status: 403, code: 'Forbidden' },
    { status: 404, code: 'RepositoryNotFound' },
    { status: 418, code: 'InvalidResponse' },
    { status: 429, code: 'RateLimited' },
    { status: 500, code: 'Unavailable' },
    { status: 502, code: 'Unavailable' },
    { status: 503, code: 'Unavailable' },
    { status: 599, code: 'Unavailable' },
  ])('of $status is $code', async ({ status, code }) => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (
        sendJson(response, status, { errors: [{ code: 'OOPS', message: 'request 4711 at 12:00' }] }),
        true
      ),
    );

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error.code).toBe(code);
    expect(error.message).toContain(`answered ${status}`);
    expect(error.message).not.toContain('4711');
  });

  it('that is an HTML page is called that, and not quoted', async () => {
    const { client, registry, repository } = await startPair();
    registry.script(
      (_, response) => (
        response.writeHead(502, { 'content-type': 'text/html' }).end(`<html>${'<script>x</script>'.repeat(5_000)}`),
        true
      ),
    );

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error.message).toBe(
      `Listing tags of ${repository.host}/acme/web: ${repository.host} answered 502 Bad Gateway (an HTML page, not a registry)`,
    );
  });

  it('with an endless error body is read only in part', async () => {
    const { client, registry, repository, requests } = await startPair();
    registry.script((_, response) => {
      response.writeHead(500);
      const pump = (): void => {
        while (response.write(Buffer.alloc(65_536, 'x')));
        if (!response.destroyed) response.once('drain', pump);
      };
      pump();
      return true;
    });

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
    expect(requests.at(-1)?.bytes).toBeLessThan(300_000);
  });

  it.each([
    { header: '7', wantMs: 7_000 },
    { header: new Date(Date.now() + 3_600_000).toUTCString(), wantMs: 3_600_000 },
    { header: undefined, wantMs: undefined },
  ])('of 429 and of 503 says how long to wait: $header', async ({ header, wantMs }) => {
    for (const status of [429, 503]) {
      const { client, registry, repository } = await startPair();
      registry.script(
        (_, response) => (
          response.writeHead(status, header === undefined ? {} : { 'retry-after': header }).end(),
          true
        ),
      );

      const { retryAfterMs } = await rejection(client.listTags(repository, {}, never));

      if (wantMs === undefined) expect(retryAfterMs).toBeUndefined();
      else expect(Math.abs((retryAfterMs ?? 0) - wantMs)).toBeLessThan(5_000);
    }
  });

  it('of 429 keeps the next requests from being sent, with the same text', async () => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (response.writeHead(429, { 'retry-after': '60' }).end(), true));
    const first = await rejection(client.listTags(repository, {}, never));

    const second = await rejection(client.listTags(repository, {}, never));

    expect(second).toMatchObject({ code: 'RateLimited', message: first.message });
    expect(second.retryAfterMs).toBeGreaterThan(50_000);
    expect(registry.requests).toHaveLength(1);
  });
});

describe('a host that is down', () => {
  it('is left alone after five failures, with the same text', async () => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (response.writeHead(500).end(), true));
    const messages = new Set<string>();

    for (let at = 0; at < 20; at += 1) messages.add((await rejection(client.listTags(repository, {}, never))).message);

    expect(messages.size).toBe(1);
    expect(registry.requests).toHaveLength(5);
  });

  it('does not open the circuit for other hosts', async () => {
    const { client, registry, repository } = await startPair();
    registry.script((_, response) => (response.writeHead(500).end(), true));
    for (let at = 0; at < 6; at += 1) await rejection(client.listTags(repository, {}, never));
    const other = await startPair({ client: {} });
    other.registry.setTags('acme/web', ['a']);

    expect(await other.client.listTags(other.repository, {}, never)).toEqual(['a']);
  });

  it.each([
    { when: 'refuses connections', host: '127.0.0.1:1', names: {}, message: 'refused the connection' },
    { when: 'has no name', host: 'nowhere.test:1', names: {}, message: 'is not known to the name server' },
  ])('is Unavailable when it $when', async ({ host, names, message }) => {
    const { client } = createClient({ hosts: { [host]: { insecure: true } }, names });

    await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining(message) as unknown,
    });
  });

  it('is Unavailable when it breaks every connection off', async () => {
    await withRawServer(
      (socket) => socket.once('data', () => socket.resetAndDestroy()),
      async (host) => {
        const { client } = createClient({ hosts: { [host]: { insecure: true } } });

        await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({
          code: 'Unavailable',
          message: expect.stringContaining('broke the connection off') as unknown,
        });
      },
    );
  });
});

describe('a connection that the server closed while it was idle', () => {
  it('costs a second try and nothing else', async () => {
    const { client, registry, repository } = await startPair();
    registry.setTags('acme/web', ['a']);
    await client.listTags(repository, {}, never);
    let isFirst = true;
    registry.script((_, response) => {
      if (!isFirst) return false;
      isFirst = false;
      response.socket?.destroy();
      return true;
    });

    expect(await client.listTags(repository, {}, never)).toEqual(['a']);
  });
});

describe('a server that sends a body after HEAD', () => {
  it('does not get the next answer wrong', async () => {
    const { client, registry, repository } = await startPair();
    const digest = registry.push('acme/web', 'v1');
    const other = registry.push('acme/web', 'v2');
    registry.script(({ method, reference }, response) => {
      if (method !== 'HEAD') return false;
      const name = reference === 'v1' ? digest : other;
      response.socket?.write(
        `HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nDocker-Content-Digest: ${name}\r\nContent-Length: 20\r\n\r\n{"schemaVersion": 2}`,
      );
      return true;
    });

    for (let at = 0; at < 5; at += 1) {
      expect((await client.headManifest(repository, v1, {}, never))?.digest).toBe(digest);
      expect((await client.headManifest(repository, 'v2' as Tag, {}, never))?.digest).toBe(other);
    }
  });
});

describe('a registry that is slow (R2)', () => {
  it('is given up when it never answers', async () => {
    const { client, registry, repository, requests } = await startPair({ client: { limits: SHORT } });
    registry.script(() => true);

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
    expect(requests.at(-1)?.outcome).toBe('timeout');
  });

  it('is given up when it stops in the middle of a body', async () => {
    const { client, registry, repository, requests } = await startPair({ client: { limits: SHORT } });
    registry.script((_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{"tags":["a"');
      return true;
    });

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining('stopped in the middle') as unknown,
    });
    expect(requests.at(-1)?.outcome).toBe('timeout');
  });

  it('is given up when it sends a byte now and then (slow-loris)', async () => {
    const { client, registry, repository, requests } = await startPair({ client: { limits: SHORT } });
    registry.script((_, response) => {
      response.writeHead(200, { 'content-length': 1_000_000 });
      const timer = setInterval(() => response.write(' '), 100);
      response.on('close', () => clearInterval(timer));
      return true;
    });

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error).toMatchObject({ code: 'Unavailable', message: expect.stringContaining('within 2.5 s') as unknown });
    expect(requests.at(-1)?.outcome).toBe('timeout');
  });

  it('is given up when it sends its headers byte by byte', async () => {
    await withRawServer(
      (socket) =>
        socket.on('data', (chunk) => {
          // Not to the TLS greeting: that is to fail, so that the client speaks plain HTTP.
          if (chunk[0] === 0x16) return socket.end('HTTP/1.0 400 Bad Request\r\n\r\n');
          socket.write('HTTP/1.1 200 OK\r\nX-Slow: ');
          const timer = setInterval(() => socket.write('x'), 100);
          return socket.on('close', () => clearInterval(timer));
        }),
      async (host) => {
        const { client } = createClient({ hosts: { [host]: { insecure: true } }, limits: SHORT });

        await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
      },
    );
  });

  it('is given up when it accepts and never speaks TLS', async () => {
    await withRawServer(
      () => undefined,
      async (host) => {
        const { client } = createClient({ hosts: { [host]: { allowPrivate: true } }, limits: SHORT });

        await expect(client.listTags({ host, path: 'x' }, {}, never)).rejects.toMatchObject({ code: 'Unavailable' });
      },
    );
  });

  it('is given up when its name server never answers', async () => {
    const { client } = createClient({ limits: SHORT, resolve: () => new Promise(() => undefined) });

    await expect(client.listTags({ host: 'slow.example', path: 'x' }, {}, never)).rejects.toMatchObject({
      code: 'Unavailable',
    });
  });

  it('does not slow down another one (I11)', async () => {
    const slow = await startPair();
    slow.registry.script(() => true);
    const { client, registry } = await startPair({ client: { hosts: { [slow.registry.host]: { insecure: true } } } });
    registry.push('acme/web', 'v1');
    const controller = new AbortController();
    const stuck = Array.from({ length: 50 }, () =>
      rejection(client.headManifest(slow.repository, v1, {}, controller.signal)),
    );

    for (let at = 0; at < 20; at += 1)
      await client.headManifest({ host: registry.host, path: 'acme/web' }, v1, {}, never);

    expect(await slow.registry.connections()).toBeLessThanOrEqual(8);
    controller.abort(new Error('enough'));
    await Promise.all(stuck);
  });
});
