import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KubeError } from '../../../operator/kube/client.ts';
import type { KubeConnection } from '../../../operator/kube/connection.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { WatchError, type WatchEvent } from '../../../operator/kube/watch.ts';
import { errorEvent, ScriptedApiServer, type Reply } from '../../support/scripted-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const configMaps = defineResource<KubeObject>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });

const line = (type: string, name: string, resourceVersion: string): string =>
  `${JSON.stringify({ type, object: { metadata: { name, namespace: 'a', uid: `uid-${name}`, resourceVersion } } })}\n`;

describe.each([
  { protocol: 'HTTP/2', http1Only: false },
  { protocol: 'HTTP/1.1', http1Only: true },
])('a watch over $protocol', ({ http1Only }) => {
  let server: ScriptedApiServer;
  let connection: KubeConnection;
  let stop: AbortController;

  beforeEach(async () => {
    server = await ScriptedApiServer.start({ resources: [configMaps], http1Only });
    connection = server.connect({ pingIntervalMs: 100, watchGraceMs: -800 });
    stop = new AbortController();
  });

  afterEach(async () => {
    await connection.close();
    await server[Symbol.asyncDispose]();
  });

  /** What a watch brings until it ends, and how it ends. */
  async function watch(options: { onEvent?: (event: WatchEvent) => void; timeoutSeconds?: number } = {}) {
    const events: string[] = [];
    try {
      const { timeoutSeconds = 300 } = options;
      for await (const event of connection.watch(configMaps, {
        timeoutSeconds,
        resourceVersion: '100',
        signal: stop.signal,
      })) {
        events.push(
          event.type === 'BOOKMARK'
            ? `BOOKMARK ${event.resourceVersion}`
            : `${event.type} ${event.object.metadata.name}`,
        );
        options.onEvent?.(event);
      }
      return { events, error: undefined };
    } catch (error) {
      return { events, error };
    }
  }

  const scripted = (script: (reply: Reply) => void): void =>
    server.once('watch', (reply) => {
      reply.stream();
      script(reply);
    });

  it('asks for bookmarks and an end, from a version on', async () => {
    scripted((reply) => reply.end());

    await watch({ timeoutSeconds: 345 });

    expect(Object.fromEntries(server.requests[0]?.query ?? [])).toEqual({
      watch: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: '345',
      resourceVersion: '100',
    });
  });

  it('reads events however the bytes are cut', async () => {
    scripted((reply) => {
      const text = line('ADDED', 'größe', '101') + line('BOOKMARK', 'b', '105') + line('DELETED', 'größe', '106');
      const bytes = Buffer.from(text);
      let at = 0;
      const send = (): void => {
        if (at >= bytes.length) return reply.end();
        reply.write(bytes.subarray(at, at + 7) as unknown as string);
        at += 7;
        setImmediate(send);
      };
      send();
    });

    const { events, error } = await watch();

    expect(error).toBeUndefined();
    expect(events).toEqual(['ADDED größe', 'BOOKMARK 105', 'DELETED größe']);
  });

  it.each([
    { when: 'no JSON', text: '{"type":"ADDED","object":\n' },
    { when: 'JSON but no event', text: '"hello"\n' },
    { when: 'null', text: 'null\n' },
    { when: 'an event without an object', text: '{"type":"ADDED"}\n' },
    { when: 'an object without a version', text: '{"type":"ADDED","object":{"metadata":{"name":"x","uid":"u"}}}\n' },
    { when: 'an event of an unknown type', text: line('SYNCED', 'x', '101') },
    { when: 'without an end', text: `{"type":"${'x'.repeat(5 * 1024 * 1024)}` },
  ])('ends as garbled at a line that is $when', async ({ text }) => {
    scripted((reply) => {
      reply.write(line('ADDED', 'x', '101'));
      reply.write(text);
    });

    const { events, error } = await watch();

    expect(events).toEqual(['ADDED x']);
    expect(error).toBeInstanceOf(WatchError);
    expect(error).toMatchObject({ kind: 'garbled' });
  });

  it('ends as truncated when the last line breaks off', async () => {
    scripted((reply) => {
      reply.write(line('ADDED', 'x', '101'));
      reply.write('{"type":"MODIFIED","obj');
      reply.end();
    });

    const { events, error } = await watch();

    expect(events).toEqual(['ADDED x']);
    expect(error).toMatchObject({ kind: 'truncated' });
  });

  it.each([
    { code: 410, reason: 'Expired', is: { isExpired: true } },
    { code: 500, reason: 'InternalError', is: { status: 500 } },
  ])('ends with the error of an ERROR $code event', async ({ code, reason, is }) => {
    scripted((reply) => reply.write(`${errorEvent(code, reason, 'sorry')}\n`));

    const { error } = await watch();

    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({ ...is, message: `Watching configmaps: ${code} ${reason}: sorry` });
  });

  it.each([{ code: 403 }, { code: 410 }, { code: 429 }, { code: 500 }])(
    'ends with a refusal by HTTP $code',
    async ({ code }) => {
      server.once('watch', (reply) => reply.fail(code, 'Whatever', 'no', { 'retry-after': '3' }));

      expect((await watch()).error).toMatchObject({ status: code, retryAfterMs: 3_000 });
    },
  );

  it.each([{ how: 'rst' as const }, { how: 'fin' as const }])('ends as cut off at a $how', async ({ how }) => {
    server.put(configMaps, { metadata: { namespace: 'a', name: 'x' } });

    const { events, error } = await watch({ onEvent: () => server.cut(how) });

    expect(events).toEqual(['ADDED x']);
    expect(error).toMatchObject({
      status: 0,
      reason: 'Unreachable',
      message: expect.stringMatching(/^Watching configmaps: No answer/),
    });
  });

  it('ends when nothing comes until after its planned end', async () => {
    scripted(() => undefined);

    // 1 s planned, and 0.8 s of negative patience.
    const { error } = await watch({ timeoutSeconds: 1 });

    expect(error).toMatchObject({ status: 0, message: expect.stringContaining('UND_ERR_BODY_TIMEOUT') });
  });

  it('ends when the server does not answer at all', async () => {
    server.refuse(true);

    expect((await watch()).error).toMatchObject({ status: 0, reason: 'Unreachable' });
  });

  it('ends with the reason of the abort, and closes the stream', async () => {
    const reason = new Error('shutting down');
    const ended = watch();
    await waitFor('the watch is open', () => server.watches.size === 1);

    stop.abort(reason);

    expect((await ended).error).toBe(reason);
    await waitFor('the stream is closed', () => server.watches.size === 0);
  });

  it('closes the stream when the reader leaves', async () => {
    server.put(configMaps, { metadata: { namespace: 'a', name: 'x' } });
    for await (const _event of connection.watch(configMaps, {
      timeoutSeconds: 300,
      resourceVersion: '100',
      signal: stop.signal,
    })) {
      expect(server.watches.size).toBe(1);
      break;
    }

    await waitFor('the stream is closed', () => server.watches.size === 0);
  });
});

describe('a watch on a connection that turned into a black hole', () => {
  it('ends when PINGs are not answered, and the next one has a new connection', async () => {
    await using server = await ScriptedApiServer.start({ resources: [configMaps] });
    const connection = server.connect({ pingIntervalMs: 100 });
    const open = async (): Promise<unknown> => {
      try {
        for await (const _event of connection.watch(configMaps, {
          timeoutSeconds: 300,
          resourceVersion: '100',
          signal: new AbortController().signal,
        }));
        return undefined;
      } catch (error) {
        return error;
      }
    };
    const ended = open();
    await waitFor('the watch is open', () => server.watches.size === 1);
    const openedMs = performance.now();
    await waitFor('several PINGs were answered', () => performance.now() > openedMs + 1_000);
    expect(server.watches.size).toBe(1);
    const beforeMs = performance.now();
    server.blackHole();

    const error = await ended;

    expect(error).toMatchObject({ status: 0, message: expect.stringContaining('no answer to a PING') });
    expect(performance.now() - beforeMs).toBeLessThan(2_000);
    await expect(connection.client.list(configMaps, { timeoutMs: 2_000 })).resolves.toMatchObject({ items: [] });
    await connection.close();
  });
});
