import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KubeError } from '../../../operator/kube/client.ts';
import type { KubeConnection } from '../../../operator/kube/connection.ts';
import type { Credential } from '../../../operator/kube/credentials.ts';
import { fenced } from '../../../operator/kube/fence.ts';
import { NotLeaderError } from '../../../operator/kube/lease.ts';
import type { KubeObserver } from '../../../operator/kube/observer.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { ScriptedApiServer } from '../../support/scripted-api-server.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const configMaps = defineResource<ConfigMap>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });
const key = { namespace: 'a', name: 'x' };

describe('KubeClient', () => {
  let server: ScriptedApiServer;
  let connection: KubeConnection;
  const calls: Parameters<KubeObserver['onRequest']>[0][] = [];

  beforeEach(async () => {
    calls.length = 0;
    server = await ScriptedApiServer.start({ resources: [configMaps] });
    connection = server.connect({ userAgent: 'slipway/1.2.3', observer: { onRequest: (call) => calls.push(call) } });
  });

  afterEach(async () => {
    await connection.close();
    await server[Symbol.asyncDispose]();
  });

  const last = () => server.requests.at(-1);

  it('creates with the kind and the namespace filled in, as its own field manager', async () => {
    const created = await connection.client.create(configMaps, 'a', { metadata: { name: 'x' }, data: { k: 'v' } });

    expect(created.metadata).toMatchObject({ namespace: 'a', name: 'x', resourceVersion: expect.any(String) });
    expect(last()).toMatchObject({ method: 'POST', path: '/api/v1/namespaces/a/configmaps' });
    expect(last()?.query.get('fieldManager')).toBe('slipway');
    expect(last()?.headers).toMatchObject({ 'user-agent': 'slipway/1.2.3', authorization: 'Bearer test' });
    expect(JSON.parse(last()?.body ?? '')).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap', data: { k: 'v' } });
  });

  it('answers nothing for an object that does not exist', async () => {
    await expect(connection.client.get(configMaps, key)).resolves.toBeUndefined();
    expect(calls).toMatchObject([{ verb: 'get', resource: 'configmaps', code: 404 }]);
  });

  it.each([
    { when: 'a JSON patch of an object', subresource: undefined, path: '/api/v1/namespaces/a/configmaps/x' },
    {
      when: 'a JSON patch of a status',
      subresource: 'status' as const,
      path: '/api/v1/namespaces/a/configmaps/x/status',
    },
  ])('sends $when', async ({ subresource, path }) => {
    server.once('patch', (reply) => reply.send(200, { metadata: key }));
    const operations = [{ op: 'remove' as const, path: '/data' }];

    await connection.client.patchJson(configMaps, key, operations, { subresource });

    expect(last()).toMatchObject({ method: 'PATCH', path });
    expect(last()?.headers['content-type']).toBe('application/json-patch+json');
    expect(JSON.parse(last()?.body ?? '')).toEqual(operations);
  });

  it('sends a merge patch, which locks by the version it names', async () => {
    const read = server.put(configMaps, { metadata: key });
    const body = { metadata: { resourceVersion: read.metadata.resourceVersion }, data: { k: 'v' } };

    await expect(connection.client.patchMerge(configMaps, key, body)).resolves.toMatchObject({ data: { k: 'v' } });
    expect(last()?.headers['content-type']).toBe('application/merge-patch+json');

    await expect(connection.client.patchMerge(configMaps, key, body)).rejects.toMatchObject({ isConflict: true });
  });

  it('writes a status only over the version that was read', async () => {
    const read = server.put(configMaps, { metadata: key }) as ConfigMap;
    server.put(configMaps, { metadata: key });

    const error = await connection.client.replaceStatus(configMaps, read).catch((thrown: unknown) => thrown);

    expect(last()).toMatchObject({ method: 'PUT', path: '/api/v1/namespaces/a/configmaps/x/status' });
    expect(error).toMatchObject({
      isConflict: true,
      message: expect.stringMatching(/^Writing the status of configmaps a\/x: 409 Conflict/),
    });
  });

  it('deletes with preconditions, and is content when there is nothing to delete', async () => {
    server.put(configMaps, { metadata: key });

    await connection.client.delete(configMaps, key, { uid: 'uid-1', propagationPolicy: 'Background' });
    expect(JSON.parse(last()?.body ?? '')).toMatchObject({
      preconditions: { uid: 'uid-1' },
      propagationPolicy: 'Background',
    });

    await expect(connection.client.delete(configMaps, key)).resolves.toBeUndefined();
  });

  it('reads all pages of a list', async () => {
    for (let index = 0; index < 7; index += 1)
      server.put(configMaps, { metadata: { namespace: 'a', name: `x${index}` } });

    const { items } = await connection.client.listAll(configMaps, { limit: 3 });

    expect(items).toHaveLength(7);
    expect(server.requests.map(({ query }) => query.get('continue'))).toEqual([null, '3', '6']);
  });

  it('asks for a freshness in so many words, and never together with a page token', async () => {
    await connection.client.list(configMaps, { limit: 5, resourceVersion: '90' });
    expect(last()?.query.get('resourceVersionMatch')).toBe('NotOlderThan');

    await connection.client.list(configMaps, { limit: 5, resourceVersion: '90', continueToken: '0' });
    expect(last()?.query.get('resourceVersion')).toBeNull();
  });

  it('gives up at the deadline, even when only the body hangs', async () => {
    server.once('get', () => undefined);
    const hung = await connection.client.get(configMaps, key, { timeoutMs: 50 }).catch((thrown: unknown) => thrown);
    expect(hung).toMatchObject({ status: 0, reason: 'Timeout', isAmbiguous: true });

    server.once('get', (reply) => {
      reply.stream();
      reply.write('{"metadata":');
    });
    const half = await connection.client.get(configMaps, key, { timeoutMs: 50 }).catch((thrown: unknown) => thrown);
    expect(half).toMatchObject({ status: 0, reason: 'Timeout' });
  });

  it("rejects with the caller's reason when he aborts", async () => {
    const controller = new AbortController();
    const reason = new Error('shutting down');
    server.once('get', () => controller.abort(reason));

    await expect(connection.client.get(configMaps, key, { signal: controller.signal })).rejects.toBe(reason);
    await expect(connection.client.get(configMaps, key, { signal: controller.signal })).rejects.toBe(reason);
  });

  it('says that a write whose answer was lost may have happened', async () => {
    server.once('create', (reply) => reply.destroy());

    const error = await connection.client
      .create(configMaps, 'a', { metadata: { name: 'x' } })
      .catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({ status: 0, reason: 'Unreachable', isAmbiguous: true });
    expect((error as Error).message).toMatch(/^Creating configmaps a\/x: No answer from the API server: /);
  });

  it('reports an answer that is no JSON', async () => {
    server.once('get', (reply) => reply.send(200, '<html>login</html>'));

    await expect(connection.client.get(configMaps, key)).rejects.toMatchObject({ reason: 'BadBody' });
  });

  it('passes on what a throttling server asks for', async () => {
    server.once('list', (reply) =>
      reply.fail(429, 'TooManyRequests', 'storage is (re)initializing', { 'retry-after': '1' }),
    );

    await expect(connection.client.list(configMaps)).rejects.toMatchObject({ isThrottled: true, retryAfterMs: 1_000 });
  });

  it('needs at most four connections for 1,000 calls at once', async () => {
    server.put(configMaps, { metadata: key });

    await Promise.all(Array.from({ length: 1_000 }, () => connection.client.get(configMaps, key)));

    expect(server.connections).toBeLessThanOrEqual(4);
  });

  it('uses HTTP/2, and HTTP/1.1 where that is all there is', async () => {
    await connection.client.get(configMaps, key);
    expect(last()?.httpVersion).toBe('2.0');

    await using old = await ScriptedApiServer.start({ resources: [configMaps], http1Only: true });
    old.put(configMaps, { metadata: key });
    const oldConnection = old.connect();
    await Promise.all(Array.from({ length: 1_000 }, () => oldConnection.client.get(configMaps, key)));
    await oldConnection.close();

    expect(old.requests.at(-1)?.httpVersion).toBe('1.1');
    expect(old.connections).toBeLessThanOrEqual(4);
  });

  it('lets a call through while watches hold more streams than one connection has', async () => {
    const stop = new AbortController();
    const ended = Array.from({ length: 149 }, async () => {
      for await (const _event of connection.watch(configMaps, {
        timeoutSeconds: 300,
        resourceVersion: '100',
        signal: stop.signal,
      }));
    });
    while (server.watches.size < 149) await new Promise((resolve) => setImmediate(resolve));

    await expect(connection.client.get(configMaps, key, { timeoutMs: 5_000 })).resolves.toBeUndefined();
    await expect(connection.leaseClient.get(configMaps, key, { timeoutMs: 5_000 })).resolves.toBeUndefined();

    stop.abort(new Error('enough'));
    const outcomes = await Promise.allSettled(ended);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    expect(server.connections).toBeLessThanOrEqual(6);
  });

  describe('when the server refuses the credential', () => {
    const withCredentials = (tokens: string[]): KubeConnection => {
      let present = 0;
      return server.connect({
        credentials: {
          current: (): Promise<Credential> =>
            Promise.resolve({ headers: { authorization: `Bearer ${tokens[present]}` }, tls: { ca: server.ca } }),
          renew: () => {
            present += 1;
          },
        },
      });
    };
    const refuseOldToken = (): void =>
      void server.script(({ headers }, reply) => {
        if (headers['authorization'] === 'Bearer new') return false;
        reply.fail(401, 'Unauthorized', 'Unauthorized');
        return true;
      });

    it('tries once more with a fresh one', async () => {
      refuseOldToken();
      server.put(configMaps, { metadata: key });
      const renewing = withCredentials(['old', 'new']);

      await expect(renewing.client.get(configMaps, key)).resolves.toMatchObject({ metadata: key });

      await renewing.close();
    });

    it('does not go on trying', async () => {
      refuseOldToken();
      const renewing = withCredentials(['old', 'old', 'old', 'old']);

      await expect(renewing.client.get(configMaps, key)).rejects.toMatchObject({ isUnauthorized: true });
      expect(server.requests).toHaveLength(2);

      await renewing.close();
    });
  });

  it('opens new connections for a new certificate, without breaking what runs on the old ones', async () => {
    let servername = 'localhost';
    const rotating = server.connect({
      credentials: {
        current: () => Promise.resolve({ headers: {}, tls: { ca: server.ca, servername, rejectUnauthorized: false } }),
        renew: () => undefined,
      },
    });
    const slow = Promise.withResolvers<() => void>();
    server.once('get', (reply) => slow.resolve(() => reply.send(200, { metadata: key })));
    const running = rotating.client.get(configMaps, key);
    const answer = await slow.promise;

    servername = 'other.example';
    await rotating.client.list(configMaps);
    answer();

    await expect(running).resolves.toMatchObject({ metadata: key });
    expect(server.connections).toBe(2);
    await rotating.close();
  });

  it('trusts nobody but the authority it was given', async () => {
    const strict = server.connect({
      credentials: { current: () => Promise.resolve({ headers: {}, tls: {} }), renew: () => undefined },
    });

    await expect(strict.client.get(configMaps, key)).rejects.toMatchObject({ reason: 'Unreachable' });

    await strict.close();
  });

  it('fails what is under way when it is closed, and everything after', async () => {
    server.once('get', () => void connection.close());

    await expect(connection.client.get(configMaps, key)).rejects.toMatchObject({ status: 0 });
    await expect(connection.client.get(configMaps, key)).rejects.toMatchObject({ reason: 'Closed' });
  });

  describe('fenced', () => {
    const elector = (isLeader: () => boolean) => ({
      assertLeader: () => {
        if (!isLeader()) throw new NotLeaderError('not now');
      },
    });

    it('lets the leader write and everybody read', async () => {
      const leader = fenced(
        connection.client,
        elector(() => true),
      );
      await leader.create(configMaps, 'a', { metadata: { name: 'x' } });
      const standby = fenced(
        connection.client,
        elector(() => false),
      );

      await expect(standby.get(configMaps, key)).resolves.toMatchObject({ metadata: key });
      await expect(standby.list(configMaps)).resolves.toMatchObject({ items: [{}] });
      await expect(standby.raw({ method: 'GET', path: '/api/v1/configmaps', doing: 'Asking' })).resolves.toBeDefined();
    });

    it('stops every kind of write of a standby before a request leaves', async () => {
      const standby = fenced(
        connection.client,
        elector(() => false),
      );
      const read = server.put(configMaps, { metadata: key }) as ConfigMap;
      const writes = [
        () => standby.create(configMaps, 'a', { metadata: { name: 'y' } }),
        () => standby.patchJson(configMaps, key, []),
        () => standby.patchMerge(configMaps, key, {}),
        () => standby.replaceStatus(configMaps, read),
        () => standby.delete(configMaps, key),
        () => standby.raw({ method: 'POST', path: '/api/v1/namespaces/a/configmaps', body: {}, doing: 'Posting' }),
      ];

      for (const write of writes) await expect(write()).rejects.toBeInstanceOf(NotLeaderError);
      expect(server.requests).toHaveLength(0);
    });

    it('looks again after everything that can wait, right before the request leaves', async () => {
      let isLeader = true;
      const credential = Promise.withResolvers<Credential>();
      const waiting = server.connect({ credentials: { current: () => credential.promise, renew: () => undefined } });
      const write = fenced(
        waiting.client,
        elector(() => isLeader),
      ).create(configMaps, 'a', { metadata: { name: 'x' } });

      isLeader = false;
      credential.resolve({ headers: {}, tls: { ca: server.ca } });

      await expect(write).rejects.toBeInstanceOf(NotLeaderError);
      expect(server.requests).toHaveLength(0);
      await waiting.close();
    });
  });

  it('leaves no timer and no listener behind', async () => {
    const controller = new AbortController();
    let timers = 0;
    const counting = server.connect({
      clock: {
        ...systemClock,
        setTimer: (delayMs, callback) => {
          timers += 1;
          const timer = systemClock.setTimer(delayMs, callback);
          return {
            [Symbol.dispose]: () => {
              timers -= 1;
              timer[Symbol.dispose]();
            },
          };
        },
      },
    });
    await counting.client.get(configMaps, key, { signal: controller.signal });
    await counting.close();
    while (timers > 0) await new Promise((resolve) => setImmediate(resolve));

    expect(timers).toBe(0);
  });

  it('is told apart from other errors by its class', async () => {
    await expect(connection.client.patchMerge(configMaps, key, {})).rejects.toBeInstanceOf(KubeError);
  });
});
