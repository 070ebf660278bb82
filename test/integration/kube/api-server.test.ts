import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { connect, type KubeConnection } from '../../../operator/kube/connection.ts';
import { EventRecorder } from '../../../operator/kube/events.ts';
import { createInformer } from '../../../operator/kube/informer.ts';
import { LeaderElector, leases, type Lease } from '../../../operator/kube/lease.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { BlackHole } from '../../support/black-hole.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { waitFor } from '../../support/wait.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

interface Deployment extends KubeObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { name: string; image: string }[] } };
  };
}

interface KubeEvent extends KubeObject {
  readonly reason: string;
  readonly note: string;
  readonly reportingController: string;
  readonly series?: { readonly count: number };
}

const configMaps = defineResource<ConfigMap>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });
const events = defineResource<KubeEvent>({ group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events' });
const deployments = defineResource<Deployment>({
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
});
const NAMESPACE = 'default';

jest.setTimeout(60_000);

let server: ControlPlane;
let connection: KubeConnection;

beforeAll(async () => {
  server = await startControlPlane({ audit: true });
  connection = await connect({ kubeconfigPath: server.kubeconfigPath, userAgent: 'slipway/test' });
}, 600_000);

afterAll(async () => {
  await connection.close();
  await server.stop();
});

describe('compare-and-set', () => {
  const key = { namespace: NAMESPACE, name: 'web' };
  const containers = '/spec/template/spec/containers';

  beforeAll(async () => {
    const labels = { app: 'web' };
    await connection.client.create(deployments, NAMESPACE, {
      metadata: { name: 'web' },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: 'web:1' }] } },
      },
    } as never);
  });

  const swap = (from: string, to: string) => [
    { op: 'test' as const, path: `${containers}/0/name`, value: 'web' },
    { op: 'test' as const, path: `${containers}/0/image`, value: from },
    { op: 'replace' as const, path: `${containers}/0/image`, value: to },
  ];

  it('swaps the image that was expected, in our name', async () => {
    const after = await connection.client.patchJson(deployments, key, swap('web:1', 'web:2'));

    expect(after.spec.template.spec.containers[0]?.image).toBe('web:2');
    expect(after.metadata.managedFields?.map(({ manager }) => manager)).toContain('slipway');
  });

  it.each([
    { when: 'another image is there', operations: swap('web:1', 'web:3') },
    {
      when: 'the path does not exist',
      operations: [{ op: 'test' as const, path: `${containers}/7/name`, value: 'web' }],
    },
  ])('is a failed test when $when, and changes nothing', async ({ operations }) => {
    const before = await connection.client.get(deployments, key);

    await expect(connection.client.patchJson(deployments, key, operations)).rejects.toMatchObject({
      status: 422,
      isFailedTest: true,
      isConflict: false,
    });
    expect((await connection.client.get(deployments, key))?.metadata.resourceVersion).toBe(
      before?.metadata.resourceVersion,
    );
  });

  it('tells an invalid object from a failed test', async () => {
    const operations = [{ op: 'replace' as const, path: `${containers}/0/name`, value: 'Not A Name' }];

    await expect(connection.client.patchJson(deployments, key, operations)).rejects.toMatchObject({
      isInvalid: true,
      isFailedTest: false,
    });
  });

  it('is a conflict when a version is written that is not the present one', async () => {
    const stale = { metadata: { resourceVersion: '1' }, spec: { replicas: 2 } };

    await expect(connection.client.patchMerge(deployments, key, stale)).rejects.toMatchObject({ isConflict: true });
    await expect(
      connection.client.patchJson(deployments, key, [{ op: 'replace', path: '/metadata/resourceVersion', value: '1' }]),
    ).rejects.toMatchObject({ isConflict: true });
    const read = await connection.client.get(deployments, key);
    await expect(
      connection.client.replaceStatus(deployments, {
        ...read,
        metadata: { ...read?.metadata, resourceVersion: '1' },
      } as Deployment),
    ).rejects.toMatchObject({ isConflict: true });
  });

  it('deletes only the object that was meant', async () => {
    await expect(connection.client.delete(deployments, key, { uid: 'another' })).rejects.toMatchObject({
      isConflict: true,
    });
    const uid = (await connection.client.get(deployments, key))?.metadata.uid;

    await connection.client.delete(deployments, key, { uid });

    await expect(connection.client.get(deployments, key)).resolves.toBeUndefined();
    await expect(connection.client.delete(deployments, key)).resolves.toBeUndefined();
  });

  it('names what exists already, and what cannot be', async () => {
    await connection.client.create(configMaps, NAMESPACE, { metadata: { name: 'taken' } });

    await expect(
      connection.client.create(configMaps, NAMESPACE, { metadata: { name: 'taken' } }),
    ).rejects.toMatchObject({
      isAlreadyExists: true,
    });
    await expect(connection.client.create(configMaps, 'nowhere', { metadata: { name: 'x' } })).rejects.toMatchObject({
      isNotFound: true,
    });
    const unserved = defineResource({ group: 'example.org', version: 'v1', kind: 'Nothing', plural: 'nothings' });
    await expect(connection.client.list(unserved)).rejects.toMatchObject({ isNotFound: true });
  });
});

describe('an informer', () => {
  it('follows a collection of several pages, and shows our own writes at once', async () => {
    const { client } = connection;
    const create = (name: string) => client.create(configMaps, NAMESPACE, { metadata: { name }, data: { k: '0' } });
    await Promise.all(Array.from({ length: 620 }, (_, index) => create(`many-${index}`)));
    const stop = new AbortController();
    const told: string[] = [];
    const informer = createInformer({
      connection,
      resource: configMaps,
      namespaces: [NAMESPACE],
      indexes: { value: ({ data }) => (data?.['k'] === undefined ? [] : [data['k']]) },
      freeze: true,
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
    });
    informer.onEvent(({ type, object, initial }) => {
      if (!initial) told.push(`${type} ${object.metadata.name}`);
    });
    const running = informer.run(stop.signal);
    await informer.synced(stop.signal);
    expect(informer.cache.byIndex('value', '0')).toHaveLength(620);

    const key = { namespace: NAMESPACE, name: 'many-7' };
    informer.cache.applyWrite(await client.patchMerge(configMaps, key, { data: { k: '1' } }));
    expect(informer.cache.byIndex('value', '1').map(({ metadata }) => metadata.name)).toEqual(['many-7']);

    await client.delete(configMaps, { namespace: NAMESPACE, name: 'many-8' });
    await waitFor(
      'the deletion is seen',
      () => informer.cache.size === informer.cache.byIndex('value', '0').length + 1 + others(),
    );
    await create('late');
    await waitFor('the new one is seen', () => informer.cache.get({ namespace: NAMESPACE, name: 'late' }));

    expect(told).toEqual(['updated many-7', 'deleted many-8', 'added late']);
    stop.abort(new Error('enough'));
    await running;

    /** Objects of other tests, which have no data. */
    function others(): number {
      return [...informer.cache.list()].filter(({ data }) => data === undefined).length;
    }
  });

  it('keeps one idle watch open for longer than clients with a read timeout do', async () => {
    const stop = new AbortController();
    const log = recordingLogger();
    const informer = createInformer({
      connection,
      resource: leases,
      namespaces: ['kube-public'],
      clock: systemClock,
      random: Math.random,
      log,
    });
    const running = informer.run(stop.signal);
    await informer.synced(stop.signal);
    const sinceMs = performance.now();

    await waitFor('40 s of silence have passed', () => performance.now() - sinceMs > 40_000, {
      timeoutMs: 60_000,
      intervalMs: 500,
    });

    expect(log.records.filter(({ level }) => level !== 'debug')).toEqual([]);
    expect(informer.lastContactAgeMs).toBe(0);
    stop.abort(new Error('enough'));
    await running;
    const watches = (await server.auditEvents()).filter(
      ({ verb, objectRef }) =>
        verb === 'watch' && objectRef?.namespace === 'kube-public' && objectRef.resource === 'leases',
    );
    expect(new Set(watches.map(({ auditID }) => auditID)).size).toBe(1);
  }, 90_000);

  it('finds out within 15 s that its connection has become a black hole, and catches up', async () => {
    await using front = await BlackHole.start(server);
    const kubeconfigPath = await front.writeKubeconfig(join(server.directory, 'through-the-front.kubeconfig'));
    const own = await connect({ kubeconfigPath });
    const stop = new AbortController();
    const informer = createInformer({
      connection: own,
      resource: configMaps,
      namespaces: [NAMESPACE],
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
    });
    const running = informer.run(stop.signal);
    await informer.synced(stop.signal);
    await waitFor('the watch is open', () => informer.lastContactAgeMs === 0);

    front.swallow();
    const sinceMs = performance.now();
    await connection.client.create(configMaps, NAMESPACE, { metadata: { name: 'unseen' } });
    await waitFor('it is seen', () => informer.cache.get({ namespace: NAMESPACE, name: 'unseen' }));

    expect(performance.now() - sinceMs).toBeLessThan(15_000);
    stop.abort(new Error('enough'));
    await running;
    await own.close();
  });

  it('waits for the rights it lacks, says so, and goes on when it gets them', async () => {
    const limited = await connect({ kubeconfigPath: await server.kubeconfigFor('carol') });
    const stop = new AbortController();
    const informer = createInformer({
      connection: limited,
      resource: configMaps,
      namespaces: [NAMESPACE],
      clock: systemClock,
      random: () => 0.1,
      log: recordingLogger(),
    });
    const running = informer.run(stop.signal);
    await waitFor('it is refused', () => informer.isForbidden);
    expect(informer.problem).toMatch(/^Listing configmaps in default: 403 Forbidden: .*User "carol" cannot list/);

    await server.apply(
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'Role',
        metadata: { name: 'reader', namespace: NAMESPACE },
        rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'watch'] }],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: 'reader', namespace: NAMESPACE },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ kind: 'User', name: 'carol' }],
      },
    );
    await waitFor('it has synced', () => informer.hasSynced && informer.problem === undefined);

    stop.abort(new Error('enough'));
    await running;
    await limited.close();
  });
});

describe('a Lease', () => {
  const elector = (name: string, identity: string, own: KubeConnection = connection) =>
    new LeaderElector({
      client: own.leaseClient,
      namespace: NAMESPACE,
      name,
      identity,
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
    });

  it('has one winner of twenty, as its first holder and as its next', async () => {
    for (const round of ['first', 'next']) {
      const stop = new AbortController();
      const leaders: string[] = [];
      const first = Promise.withResolvers<string>();
      const runs = Array.from({ length: 20 }, (_, index) => {
        const identity = `${round}-${index}`;
        return elector('contended', identity).run({
          signal: stop.signal,
          onStarted: () => {
            leaders.push(identity);
            first.resolve(identity);
          },
        });
      });
      const winner = await first.promise;
      const lease = (await connection.client.get(leases, { namespace: NAMESPACE, name: 'contended' })) as Lease;

      expect(lease.spec?.holderIdentity).toBe(winner);
      expect(lease.spec?.leaseTransitions).toBe(round === 'first' ? 0 : 1);
      // Everybody else has had his chance by now: candidates look every 2.4 s.
      const sinceMs = performance.now();
      await waitFor('all have looked', () => performance.now() - sinceMs > 3_000);
      expect(leaders).toEqual([winner]);
      stop.abort(new Error('enough'));
      await Promise.all(runs);
    }
  });

  it('passes on within a second when it is given back, one epoch later', async () => {
    const one = new AbortController();
    const two = new AbortController();
    const oneLeads = Promise.withResolvers<number>();
    const twoLeads = Promise.withResolvers<number>();
    const oneRun = elector('handover', 'one').run({
      signal: one.signal,
      onStarted: (epoch) => oneLeads.resolve(epoch),
    });
    expect(await oneLeads.promise).toBe(0);
    const standby = elector('handover', 'two');
    const twoRun = standby.run({ signal: two.signal, onStarted: (epoch) => twoLeads.resolve(epoch) });
    await waitFor('the standby watches', async () =>
      (await server.auditEvents()).some(
        ({ verb, requestURI }) => verb === 'watch' && requestURI.includes('metadata.name%3Dhandover'),
      ),
    );

    const sinceMs = performance.now();
    one.abort(new Error('enough'));
    await oneRun;

    expect(await twoLeads.promise).toBe(1);
    expect(performance.now() - sinceMs).toBeLessThan(1_000);
    expect(standby.isLeader()).toBe(true);
    two.abort(new Error('enough'));
    await twoRun;
  });

  it('is renewed, and lost to whoever takes it by force', async () => {
    const stop = new AbortController();
    const leads = Promise.withResolvers<AbortSignal>();
    const holder = elector('stolen', 'one');
    const outcome = holder.run({ signal: stop.signal, onStarted: (_epoch, signal) => leads.resolve(signal) }).then(
      () => 'ended',
      (error: unknown) => error,
    );
    const leaderSignal = await leads.promise;
    const key = { namespace: NAMESPACE, name: 'stolen' };
    const first = await connection.client.get(leases, key);
    await waitFor(
      'it is renewed',
      async () => (await connection.client.get(leases, key))?.spec?.renewTime !== first?.spec?.renewTime,
    );

    await connection.client.patchMerge(leases, key, { spec: { holderIdentity: 'thief' } });

    expect(await outcome).toMatchObject({ code: 'NotLeader', message: 'The Lease is now held by "thief"' });
    expect([holder.isLeader(), leaderSignal.aborted]).toEqual([false, true]);
  });
});

describe('EventRecorder', () => {
  it('writes events that kubectl shows, and counts repetitions', async () => {
    const subject = await connection.client.create(configMaps, NAMESPACE, { metadata: { name: 'subject' } });
    const clock = new FakeClock(Date.now());
    const recorder = new EventRecorder({
      client: connection.client,
      reportingController: 'slipway.dev/operator',
      reportingInstance: 'slipway-0',
      clock,
      random: Math.random,
      log: recordingLogger(),
    });
    const regarding = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      namespace: NAMESPACE,
      name: 'subject',
      uid: subject.metadata.uid,
    };
    const note = { type: 'Warning' as const, reason: 'GateClosed', message: 'x'.repeat(3_000), action: 'Promote' };

    recorder.record(regarding, note);
    await recorder.flush(new AbortController().signal);
    for (let count = 0; count < 4; count += 1) recorder.record(regarding, note);
    await recorder.flush(new AbortController().signal);

    const { items } = await connection.client.list(events, {
      namespace: NAMESPACE,
      fieldSelector: 'reason=GateClosed',
    });
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({ reportingController: 'slipway.dev/operator', series: { count: 5 } });
    const shown = await server.kubectl('events', '--for', 'configmap/subject', '-n', NAMESPACE);
    expect(shown.stdout).toContain('GateClosed');
  });
});

describe('connections', () => {
  it('are at most six for a thousand calls, many watches and a Lease', async () => {
    const { pid } = process;
    const before = await establishedTo(new URL(server.server).port, pid);
    const own = await connect({ kubeconfigPath: server.kubeconfigPath });
    const stop = new AbortController();
    let open = 0;
    const watches = Array.from({ length: 90 }, async () => {
      const options = {
        namespace: NAMESPACE,
        timeoutSeconds: 300,
        signal: stop.signal,
        onOpen: () => void (open += 1),
      };
      for await (const event of own.watch(configMaps, options)) if (event.type === 'BOOKMARK') break;
    });
    await waitFor('all watches are open', () => open === 90);

    for (let batch = 0; batch < 20; batch += 1) {
      await Promise.all(
        Array.from({ length: 50 }, () => own.client.get(configMaps, { namespace: NAMESPACE, name: 'taken' })),
      );
    }
    await own.leaseClient.get(leases, { namespace: NAMESPACE, name: 'contended' });

    expect((await establishedTo(new URL(server.server).port, pid)) - before).toBeLessThanOrEqual(6);
    stop.abort(new Error('enough'));
    await Promise.allSettled(watches);
    await own.close();
  });
});

/** TCP connections of this process to a port on loopback, read from /proc. */
async function establishedTo(port: string, pid: number): Promise<number> {
  const { readdir, readFile, readlink } = await import('node:fs/promises');
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  const inodes = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
  const hexPort = Number(port).toString(16).toUpperCase().padStart(4, '0');
  const rows = (await readFile('/proc/net/tcp', 'utf8')).trim().split('\n').slice(1);
  return rows.filter((row) => {
    const columns = row.trim().split(/\s+/);
    return columns[2]?.endsWith(`:${hexPort}`) === true && columns[3] === '01' && inodes.has(columns[9]);
  }).length;
}
