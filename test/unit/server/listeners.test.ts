import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Router } from 'express';
import { serveHealth, type HealthCheck } from '../../../operator/server/health.ts';
import { listen, type Listener } from '../../../operator/server/listener.ts';
import { serveMetrics } from '../../../operator/server/metrics.ts';
import { silentLogger } from '../../../operator/telemetry/logger.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { waitFor } from '../../support/wait.ts';

const LOCAL = { port: 0, listenAddress: '127.0.0.1', log: silentLogger };

const started: Listener[] = [];

function owned<L extends Listener>(listener: L): L {
  started.push(listener);
  return listener;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((listener) => listener.close(0)));
});

function get(listener: Listener, path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${listener.port}${path}`, {
    ...init,
    headers: { Connection: 'close', ...(init.headers as Record<string, string> | undefined) },
  });
}

function check(name: string, ok: boolean, message?: string): HealthCheck {
  return { name, check: () => ({ ok, ...(message !== undefined && { message }) }) };
}

describe('serveHealth', () => {
  const serve = (live: readonly HealthCheck[], ready: readonly HealthCheck[]) =>
    serveHealth({ ...LOCAL, live, ready }).then(owned);

  it.each([
    { when: 'all is well', path: '/readyz', status: 200, text: 'ok' },
    {
      when: 'asked for details',
      path: '/readyz?verbose',
      status: 200,
      text: '[+]caches ok: 3 synced\n[+]shutdown ok\nreadyz check passed\n',
    },
    {
      when: 'the message is empty',
      path: '/livez/quiet?verbose',
      status: 200,
      text: '[+]quiet ok\nlivez check passed\n',
    },
    { when: 'asked for one check', path: '/readyz/caches', status: 200, text: 'ok' },
    {
      when: 'a liveness check failed',
      path: '/livez',
      status: 503,
      text: '[-]loop failed: stuck for 20s\n[+]quiet ok\nlivez check failed\n',
    },
    { when: 'the failed check is left out', path: '/livez?exclude=loop', status: 200, text: 'ok' },
    { when: 'the check is unknown', path: '/livez/other', status: 404, text: 'Not found\n' },
    { when: 'the path is unknown', path: '/healthz', status: 404, text: 'Not found\n' },
  ])('answers like the API server when $when', async ({ path, status, text }) => {
    const listener = await serve(
      [check('loop', false, 'stuck\nfor 20s'), check('quiet', true, '')],
      [check('caches', true, '3 synced')],
    );

    const response = await get(listener, path);

    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toBe(text);
  });

  it('answers JSON to whoever asks for it', async () => {
    const listener = await serve([], [check('caches', false, 'not synced')]);

    const response = await get(listener, '/readyz', { headers: { Accept: 'application/json' } });

    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      ok: false,
      checks: [
        { name: 'caches', ok: false, message: 'not synced' },
        { name: 'shutdown', ok: true },
      ],
    });
  });

  it('asks its checks anew each time', async () => {
    let ok = false;
    const listener = await serve([], [{ name: 'caches', check: () => ({ ok }) }]);

    expect((await get(listener, '/readyz')).status).toBe(503);
    ok = true;
    expect((await get(listener, '/readyz')).status).toBe(200);
  });

  it('takes a check that throws as failed', async () => {
    const throws: HealthCheck = {
      name: 'caches',
      check: () => {
        throw new Error('no cache');
      },
    };
    const listener = await serve([], [throws]);

    const response = await get(listener, '/readyz');

    expect(response.status).toBe(503);
    expect(await response.text()).toContain('[-]caches failed: no cache\n');
  });

  it('is alive but not ready once it shuts down', async () => {
    const listener = await serve([], []);

    listener.beginShutdown();

    const ready = await get(listener, '/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('[-]shutdown failed: shutting down\n');
    expect((await get(listener, '/livez')).status).toBe(200);
  });
});

describe('serveMetrics', () => {
  it('serves what the source renders', async () => {
    const render = async () => ({
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      text: 'slipway_leader 1\n',
    });
    const listener = owned(await serveMetrics({ ...LOCAL, metrics: { render } }));

    const response = await get(listener, '/metrics');

    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toBe('slipway_leader 1\n');
  });

  it('renders once for scrapers that ask together', async () => {
    let renders = 0;
    const { promise: release, resolve: letGo } = Promise.withResolvers<undefined>();
    const render = async () => {
      renders += 1;
      await release;
      return { contentType: 'text/plain', text: `rendered ${renders}` };
    };
    const listener = owned(await serveMetrics({ ...LOCAL, metrics: { render } }));
    const socket = connect(listener.port, '127.0.0.1');
    let received = '';
    socket.setEncoding('utf8').on('data', (text: string) => (received += text));
    // Pipelined in one write, so that all five have arrived when the first one renders.
    socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5));
    await waitFor('the first scrape to render', () => renders === 1);

    letGo(undefined);

    await waitFor('five answers', () => received.split('rendered ').length === 6);
    socket.destroy();
    expect(received.match(/rendered \d/g)).toEqual(Array(5).fill('rendered 1'));
    expect(await (await get(listener, '/metrics')).text()).toBe('rendered 2');
  });

  it('answers 500 without details when rendering fails, and logs them', async () => {
    const log = recordingLogger();
    const render = () => Promise.reject(new Error('secret detail'));
    const listener = owned(await serveMetrics({ ...LOCAL, log, metrics: { render } }));

    const response = await get(listener, '/metrics');

    expect(response.status).toBe(500);
    expect(await response.text()).toBe('Internal error\n');
    expect(log.records).toMatchObject([{ level: 'error', fields: { path: '/metrics' } }]);
  });
});

describe('listen', () => {
  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('refuses %s', async (method) => {
    const listener = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    const response = await get(listener, '/livez', { method });

    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
  });

  it('answers HEAD without a body', async () => {
    const listener = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    const response = await get(listener, '/livez', { method: 'HEAD' });

    expect(response.status).toBe(200);
    expect(await response.text()).toBe('');
  });

  it('sets headers that keep browsers out, and none that names the server', async () => {
    const listener = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    const { headers } = await get(listener, '/livez');

    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('etag')).toBeNull();
  });

  it('answers 400 to a malformed path', async () => {
    const listener = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    expect((await get(listener, '/livez/%E0%A4%A')).status).toBe(400);
  });

  it('refuses headers beyond its limit', async () => {
    const listener = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    expect((await get(listener, '/livez', { headers: { 'X-Long': 'x'.repeat(10_000) } })).status).toBe(431);
  });

  it('names port and listener when the port is taken', async () => {
    const { port } = owned(await serveHealth({ ...LOCAL, live: [], ready: [] }));

    const second = serveMetrics({ ...LOCAL, port, metrics: { render: () => Promise.reject(new Error('unused')) } });

    await expect(second).rejects.toMatchObject({
      code: 'ListenFailed',
      message: expect.stringMatching(new RegExp(`^Listening on port ${port} for metrics: .*EADDRINUSE`)),
    });
  });

  it('lets a request in flight end before it closes', async () => {
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<undefined>();
    const { promise: release, resolve: letGo } = Promise.withResolvers<undefined>();
    const routes = Router();
    routes.get('/slow', async (_request, response) => {
      arrive(undefined);
      await release;
      response.end('done');
    });
    const listener = owned(await listen(routes, { ...LOCAL, name: 'test' }));
    const answer = get(listener, '/slow');
    await arrived;

    const closed = listener.close(30_000);
    await expect(get(listener, '/slow')).rejects.toThrow();
    letGo(undefined);

    expect(await (await answer).text()).toBe('done');
    await closed;
  });

  it('cuts requests that do not end in time', async () => {
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<undefined>();
    const routes = Router();
    routes.get('/endless', () => {
      arrive(undefined);
    });
    const listener = owned(await listen(routes, { ...LOCAL, name: 'test' }));
    const answer = get(listener, '/endless').catch((thrown: unknown) => thrown);
    await arrived;

    await listener.close(10);

    expect(await answer).toMatchObject({ name: 'TypeError', message: 'fetch failed' });
  });

  it('can be closed twice', async () => {
    const listener = await listen(Router(), { ...LOCAL, name: 'test' });

    await listener.close(0);

    await expect(listener.close(0)).resolves.toBeUndefined();
  });
});
