import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { KubeConnection } from '../../../operator/kube/connection.ts';
import { createInformer, type Informer, type InformerOptions } from '../../../operator/kube/informer.ts';
import type { KubeObserver } from '../../../operator/kube/observer.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { recordingLogger, type RecordingLogger } from '../../support/recording-logger.ts';
import { errorEvent, ScriptedApiServer, type Reply } from '../../support/scripted-api-server.ts';
import { waitFor } from '../../support/wait.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const configMaps = defineResource<ConfigMap>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });
const at = (name: string, namespace = 'a') => ({ metadata: { namespace, name } });
const key = (name: string, namespace = 'a') => ({ namespace, name });

describe('an informer', () => {
  let server: ScriptedApiServer;
  let connection: KubeConnection;
  let log: RecordingLogger;
  let stop: AbortController;
  let told: string[];
  let relists: string[];
  let watchEnds: string[];
  const running: Promise<void>[] = [];

  beforeEach(async () => {
    server = await ScriptedApiServer.start({ resources: [configMaps] });
    connection = server.connect({ pingIntervalMs: 100 });
    log = recordingLogger();
    stop = new AbortController();
    told = [];
    relists = [];
    watchEnds = [];
  });

  afterEach(async () => {
    stop.abort(new Error('the test is over'));
    await Promise.all(running.splice(0));
    await connection.close();
    await server[Symbol.asyncDispose]();
  });

  const observer: Partial<KubeObserver> = {
    onRelist: ({ reason }) => relists.push(reason),
    onWatchEnd: ({ reason }) => watchEnds.push(reason),
  };

  function build(options: Partial<InformerOptions<ConfigMap, ConfigMap>> = {}): Informer<ConfigMap> {
    const informer = createInformer<ConfigMap>({
      connection,
      resource: configMaps,
      namespaces: 'all',
      freeze: true,
      clock: systemClock,
      // Every jittered wait becomes none.
      random: () => 0,
      log,
      observer,
      ...options,
    });
    informer.onEvent(({ type, object }) => told.push(`${type} ${object.metadata.name}`));
    return informer;
  }

  async function start(options: Partial<InformerOptions<ConfigMap, ConfigMap>> = {}): Promise<Informer<ConfigMap>> {
    const informer = build(options);
    running.push(informer.run(stop.signal));
    await informer.synced(stop.signal);
    await waitFor('the watch is open', () => server.watches.size > 0);
    return informer;
  }

  const has = (informer: Informer<ConfigMap>, name: string) =>
    waitFor(`${name} is cached`, () => informer.cache.get(key(name)));

  it('fills its cache page by page, then follows what changes', async () => {
    for (let index = 0; index < 1_201; index += 1) server.put(configMaps, at(`x${index}`));
    const informer = await start();
    expect(informer.cache.size).toBe(1_201);
    expect(server.requests.filter(({ verb }) => verb === 'list').map(({ query }) => query.get('limit'))).toEqual([
      '500',
      '500',
      '500',
    ]);
    told.length = 0;

    server.put(configMaps, { ...at('x0'), data: { k: 'v' } });
    server.put(configMaps, at('new'));
    server.remove(configMaps, key('x1'));

    await waitFor('all is told', () => told.length === 3);
    expect(told).toEqual(['updated x0', 'added new', 'deleted x1']);
    expect([informer.hasSynced, informer.problem, informer.lastContactAgeMs]).toEqual([true, undefined, 0]);
  });

  it('drops what only the API server and kubectl need, and freezes the rest', async () => {
    server.put(configMaps, {
      metadata: {
        ...at('x').metadata,
        managedFields: [{ manager: 'kubectl' }],
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', mine: 'kept' },
      },
    });

    const informer = await start();

    const cached = informer.cache.get(key('x'));
    expect(cached?.metadata.managedFields).toBeUndefined();
    expect(cached?.metadata.annotations).toEqual({ mine: 'kept' });
    expect(Object.isFrozen(cached?.metadata.annotations)).toBe(true);
  });

  it('watches each of several namespaces, and is synced when all are', async () => {
    server.put(configMaps, at('x', 'a'));
    server.put(configMaps, at('x', 'b'));
    server.put(configMaps, at('x', 'c'));

    const informer = await start({ namespaces: ['a', 'b'] });
    expect(informer.cache.size).toBe(2);

    await waitFor('both watches are open', () => server.watches.size === 2);
    server.put(configMaps, at('y', 'b'));
    await waitFor('the new one is cached', () => informer.cache.get(key('y', 'b')));
  });

  it('is synced at once when it has no namespaces', async () => {
    const informer = build({ namespaces: [] });

    await informer.synced(stop.signal);

    expect(informer.hasSynced).toBe(true);
  });

  it.each([{ how: 'rst' as const }, { how: 'fin' as const }])(
    'goes on from the last event after a $how, without a list',
    async ({ how }) => {
      const informer = await start();
      server.put(configMaps, at('x'));
      await has(informer, 'x');

      server.cut(how);
      server.put(configMaps, at('missed'));

      await has(informer, 'missed');
      expect(told).toEqual(['added x', 'added missed']);
      expect(relists).toEqual(['initial']);
    },
  );

  it('goes on from the last bookmark', async () => {
    await start();
    server.bookmark();
    const version = server.resourceVersion;
    server.put(configMaps, at('x'));
    await waitFor('the event came', () => told.length === 1);
    server.bookmark();
    const latest = server.resourceVersion;
    expect(latest).not.toBe(version);
    // The stream is ordered: what was written before the cut has been read when the next watch asks.
    server.endWatches();

    await waitFor('the next watch is open', () => server.count('watch') === 2);
    expect(server.requests.at(-1)?.query.get('resourceVersion')).toBe(latest);
  });

  it('lists again after ERROR 410, not older than what it has seen, and makes up for what was lost', async () => {
    server.put(configMaps, at('gone'));
    const informer = await start();
    server.put(configMaps, at('x'));
    await has(informer, 'x');
    const seen = server.resourceVersion;

    server.silently(() => {
      server.remove(configMaps, key('gone'));
      server.put(configMaps, at('new'));
    });
    server.compact();
    server.endWatches();

    await has(informer, 'new');
    expect(told).toEqual(['added gone', 'added x', 'deleted gone', 'added new']);
    expect(relists).toEqual(['initial', 'expired']);
    const lists = server.requests.filter(({ verb }) => verb === 'list');
    expect(lists.at(-1)?.query.get('resourceVersion')).toBe(seen);
  });

  it('falls back to the newest list when that version has expired as well', async () => {
    const informer = await start();
    server.put(configMaps, at('x'));
    await has(informer, 'x');
    server.once('list', (reply) => reply.fail(410, 'Expired', 'too old'));
    server.once('watch', (reply) => reply.fail(410, 'Expired', 'too old'));
    server.endWatches();

    await waitFor('it has listed again', () => relists.length === 2);

    const versions = server.requests
      .filter(({ verb }) => verb === 'list')
      .map(({ query }) => query.get('resourceVersion'));
    expect(versions).toEqual([null, expect.any(String), null]);
  });

  it('starts the list over when a page token has expired', async () => {
    for (let index = 0; index < 600; index += 1) server.put(configMaps, at(`x${index}`));
    let pages = 0;
    server.script(({ verb, query }, reply) => {
      if (verb !== 'list' || query.get('continue') === null) return false;
      pages += 1;
      if (pages > 1) return false;
      reply.fail(410, 'Expired', 'the provided continue parameter is too old');
      return true;
    });

    const informer = await start();

    expect(informer.cache.size).toBe(600);
    expect(told).toHaveLength(600);
  });

  it('follows a server that was restored from a backup', async () => {
    const informer = await start();
    server.put(configMaps, at('x'));
    server.put(configMaps, at('lost'));
    await has(informer, 'lost');

    server.silently(() => server.remove(configMaps, key('lost')));
    server.rewind(50);
    server.cut('rst');

    await waitFor('the lost one is gone', () => informer.cache.get(key('lost')) === undefined);
    expect(informer.cache.get(key('x'))?.metadata.resourceVersion).toBe('50');
    expect(relists).toEqual(['initial', 'rewound']);
    server.put(configMaps, at('next'));
    await has(informer, 'next');
  });

  it('resumes after ERROR 500, and lists again when that does not help', async () => {
    const informer = await start();
    server.put(configMaps, at('x'));
    await has(informer, 'x');
    server.once(
      'watch',
      (reply) => {
        reply.stream();
        reply.write(`${errorEvent(500, 'InternalError', 'etcd')}\n`);
      },
      3,
    );
    server.broadcast(`${errorEvent(500, 'InternalError', 'etcd')}\n`);

    await waitFor('it has listed again', () => relists.length === 2);
    await waitFor('the watch is open', () => server.watches.size === 1);

    server.put(configMaps, at('after'));
    await has(informer, 'after');
    expect(relists).toEqual(['initial', 'repeated failure']);
    expect(told).toEqual(['added x', 'added after']);
  });

  it('lists again after a garbled line, for an event was lost', async () => {
    const informer = await start();
    server.silently(() => server.put(configMaps, at('lost')));

    server.broadcast('{"type":"ADDED","object":{"metadata":{"name":"lo\n');

    await has(informer, 'lost');
    expect(relists).toEqual(['initial', 'garbled']);
    expect(watchEnds).toEqual(['garbled']);
  });

  it('resumes after a truncated line, for nothing was lost', async () => {
    const informer = await start();

    server.broadcast('{"type":"ADD');
    server.endWatches();
    server.put(configMaps, at('x'));

    await has(informer, 'x');
    expect(relists).toEqual(['initial']);
    expect(watchEnds).toEqual(['truncated']);
  });

  it('does not make a storm of a server that ends every watch at once', async () => {
    let waits = 0;
    const clock = {
      ...systemClock,
      sleep: (delayMs: number, signal: AbortSignal) => {
        waits += 1;
        return systemClock.sleep(delayMs, signal);
      },
    };
    await start({ clock });
    const remove = server.script(({ verb }, reply) => {
      if (verb !== 'watch') return false;
      reply.stream();
      reply.end();
      return true;
    });
    server.endWatches();

    await waitFor('ten watches have ended', () => server.count('watch') > 10);
    remove();

    expect(waits).toBeGreaterThanOrEqual(10);
    expect(relists).toEqual(['initial']);
  });

  it('waits as long as a throttling server asks, on lists and on watches, and takes it for no failure of the version', async () => {
    const waits: number[] = [];
    const clock = {
      ...systemClock,
      sleep: (delayMs: number, signal: AbortSignal) => {
        waits.push(delayMs);
        return systemClock.sleep(0, signal);
      },
    };
    const throttle = (retryAfter: string) => (reply: Reply) =>
      reply.fail(429, 'TooManyRequests', 'storage is (re)initializing', { 'retry-after': retryAfter });
    server.once('list', throttle('7'));
    server.once('watch', throttle('3'), 5);

    await start({ clock });

    expect(waits).toEqual([7_000, 3_000, 3_000, 3_000, 3_000, 3_000]);
    expect(relists).toEqual(['initial']);
  });

  it('keeps trying while its lists fail, and says why it is not ready', async () => {
    let isBroken = true;
    server.script(({ verb }, reply) => {
      if (verb !== 'list' || !isBroken) return false;
      reply.fail(500, 'InternalError', 'etcdserver: request timed out');
      return true;
    });
    const informer = build();
    running.push(informer.run(stop.signal));
    await waitFor('some lists have failed', () => server.count('list') > 3);
    expect(informer.hasSynced).toBe(false);
    expect(informer.problem).toBe('Listing configmaps: 500 InternalError: etcdserver: request timed out');

    isBroken = false;
    await informer.synced(stop.signal);

    await waitFor('all is well', () => informer.problem === undefined);
  });

  it('keeps trying when its rights are taken away, and says so', async () => {
    const informer = await start();
    let isAllowed = false;
    server.script((_request, reply) => {
      if (isAllowed) return false;
      reply.fail(403, 'Forbidden', 'configmaps is forbidden');
      return true;
    });
    server.endWatches();
    await waitFor('it is refused', () => informer.isForbidden);
    expect(informer.hasSynced).toBe(true);

    isAllowed = true;

    await waitFor('it may again', () => !informer.isForbidden);
    expect(informer.problem).toBeUndefined();
    expect(relists).toEqual(['initial']);
  });

  it('tells for how long it has heard nothing', async () => {
    const informer = await start();
    expect(informer.lastContactAgeMs).toBe(0);

    server.refuse(true);
    server.cut('rst');
    await waitFor('the silence grows', () => informer.lastContactAgeMs > 50);

    server.refuse(false);
    await waitFor('the silence is over', () => informer.lastContactAgeMs === 0);
  });

  it('notices a black hole and comes back on a new connection', async () => {
    const informer = await start();
    server.blackHole();
    server.put(configMaps, at('x'));

    await has(informer, 'x');

    expect(watchEnds).toEqual(['cut']);
    expect(relists).toEqual(['initial']);
  });

  it('keeps cache and other handlers going when a handler throws', async () => {
    const informer = build();
    const heard: string[] = [];
    informer.onEvent(() => {
      throw new Error('bug in a handler');
    });
    informer.onEvent(({ object }) => heard.push(object.metadata.name));
    running.push(informer.run(stop.signal));
    await informer.synced(stop.signal);

    server.put(configMaps, at('x'));
    server.put(configMaps, at('y'));

    await waitFor('the other handler heard all', () => heard.length === 2);
    expect(informer.cache.size).toBe(2);
    expect(log.records.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'An informer handler failed',
      'An informer handler failed',
    ]);
    expect(server.count('list')).toBe(1);
  });

  it('ignores one object that cannot be read and takes the others', async () => {
    server.put(configMaps, { ...at('poison'), data: null });
    server.put(configMaps, { ...at('fine'), data: {} });

    const informer = await start({
      project: (raw) => {
        Object.keys(raw.data as object);
        return raw;
      },
    });

    expect([...informer.cache.list()].map(({ metadata }) => metadata.name)).toEqual(['fine']);
    expect(log.records).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'Ignoring an object that cannot be read' }),
    );
  });

  it('ends promptly when it is stopped, wherever it is', async () => {
    await start();
    stop.abort(new Error('stop'));
    await Promise.all(running.splice(0));

    const hanging = new AbortController();
    server.once('list', () => hanging.abort(new Error('stop')));
    await build().run(hanging.signal);

    await expect(build().synced(hanging.signal)).rejects.toThrow('stop');
  });
});
