import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect, type KubeConnection } from '../../../operator/kube/connection.ts';
import { createInformer, type Informer } from '../../../operator/kube/informer.ts';
import { LeaderElector } from '../../../operator/kube/lease.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { waitFor } from '../../support/wait.ts';

const widgets = defineResource<KubeObject>({ group: 'example.org', version: 'v1', kind: 'Widget', plural: 'widgets' });
const configMaps = defineResource<KubeObject>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });
const NAMESPACE = 'default';

let server: ControlPlane;
let connection: KubeConnection;

beforeAll(async () => {
  server = await startControlPlane();
  await server.apply({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.example.org' },
    spec: {
      group: 'example.org',
      scope: 'Namespaced',
      names: { kind: 'Widget', plural: 'widgets' },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        },
      ],
    },
  });
  connection = await connect({ kubeconfigPath: server.kubeconfigPath });
  await waitFor('widgets are served', () => connection.client.list(widgets));
}, 600_000);

afterAll(async () => {
  await connection.close();
  await server.stop();
});

describe.each([{ resource: widgets }, { resource: configMaps }])('an informer of $resource.plural', ({ resource }) => {
  it.each([{ signal: 'SIGKILL' as const }, { signal: 'SIGTERM' as const }])(
    'catches up after the API server got a $signal and was started again',
    async ({ signal }) => {
      const stop = new AbortController();
      const log = recordingLogger();
      const relists: string[] = [];
      const informer: Informer<KubeObject> = createInformer({
        connection,
        resource,
        namespaces: 'all',
        clock: systemClock,
        random: Math.random,
        log,
        observer: { onRelist: ({ reason }) => relists.push(reason) },
      });
      const deleted: string[] = [];
      informer.onEvent(({ type, object }) => {
        if (type === 'deleted') deleted.push(object.metadata.name);
      });
      const running = informer.run(stop.signal);
      await informer.synced(stop.signal);
      const prefix = `${resource.plural}-${signal.toLowerCase()}`;
      const key = (name: string) => ({ namespace: NAMESPACE, name: `${prefix}-${name}` });
      const create = (name: string) =>
        connection.client.create(resource, NAMESPACE, { metadata: { name: key(name).name } });
      await create('before');
      await create('doomed');
      await waitFor('both are seen', () => informer.cache.get(key('before')) && informer.cache.get(key('doomed')));

      await server.killApiServer(signal);
      await waitFor('the loss is noticed', () => informer.lastContactAgeMs > 0);
      await server.startApiServer();
      // Calls may be throttled at first, while storage is initialised.
      await waitFor('an object is deleted', () => connection.client.delete(resource, key('doomed')).then(() => true));
      await waitFor('an object is created', () => create('after'));

      await waitFor('the new one is seen', () => informer.cache.get(key('after')), { timeoutMs: 60_000 });
      await waitFor('the deleted one is gone', () => informer.cache.get(key('doomed')) === undefined);
      expect(informer.cache.get(key('before'))).toBeDefined();
      expect(deleted).toEqual([key('doomed').name]);
      // At most one relist per restart, and no line that asks somebody to look.
      expect(relists.length).toBeLessThanOrEqual(2);
      expect(log.records.filter(({ level }) => level === 'error')).toEqual([]);
      await waitFor('all is well', () => informer.problem === undefined && informer.lastContactAgeMs === 0);
      stop.abort(new Error('enough'));
      await running;
    },
    180_000,
  );
});

describe('a leader', () => {
  it('outlasts a restart that is shorter than its deadline, and steps down in a longer one', async () => {
    const stop = new AbortController();
    const leads = Promise.withResolvers<number>();
    const elector = new LeaderElector({
      client: connection.leaseClient,
      namespace: NAMESPACE,
      name: 'restart',
      identity: 'one',
      leaseDurationMs: 20_000,
      renewDeadlineMs: 16_000,
      retryPeriodMs: 1_000,
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
    });
    const outcome = elector.run({ signal: stop.signal, onStarted: (epoch) => leads.resolve(epoch) }).then(
      () => 'ended',
      (error: unknown) => error,
    );
    await leads.promise;

    await server.killApiServer('SIGKILL');
    await server.startApiServer();
    const sinceMs = performance.now();
    await waitFor('the old deadline has passed', () => performance.now() - sinceMs > 17_000, { timeoutMs: 40_000 });
    expect(elector.isLeader()).toBe(true);

    await server.killApiServer('SIGKILL');
    const error = await outcome;
    expect(error).toMatchObject({ code: 'NotLeader' });
    expect(elector.isLeader()).toBe(false);
    await server.startApiServer();
  }, 180_000);
});
