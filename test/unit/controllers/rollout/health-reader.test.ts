import { describe, expect, it } from '@jest/globals';
import { HealthReader, type HealthReaderDeps } from '../../../../operator/controllers/rollout/health-reader.ts';
import { KubeError } from '../../../../operator/kube/kube-error.ts';
import type { Pod } from '../../../../operator/rollout/health/pod.ts';
import type { Workload } from '../../../../operator/rollout/workloads/workload.ts';
import { pod, waitingFor } from '../../../support/builders/pods.ts';
import { workload } from '../../../support/builders/workloads.ts';

const FAILED = 'ghcr.io/acme/web:1.1.0';
const BACK = 'ghcr.io/acme/web:1.0.0';
const { signal } = new AbortController();

const ready: Partial<NonNullable<Pod['status']>> = { conditions: [{ type: 'Ready', status: 'True' }] };
const stuck = pod({ name: 'db-1', image: FAILED, container: waitingFor('ImagePullBackOff', 'manifest unknown') });

const db = (more: Partial<Workload> = {}): Workload => ({
  ...workload({
    kind: 'StatefulSet',
    name: 'db',
    podSelector: 'app=db',
    containers: { web: BACK },
    progress: { kind: 'progressing', message: '1 of 2 pods are available' },
  }),
  isOrdered: true,
  ...more,
});

/** The two calls that the reader makes; `refuse` answers a delete. */
function cluster(pods: readonly Pod[], refuse?: KubeError) {
  const deleted: { readonly name: string; readonly uid: string | undefined }[] = [];
  const client: HealthReaderDeps['client'] = {
    list: () => Promise.resolve({ metadata: { resourceVersion: '1' }, items: pods } as never),
    delete(_, { name }, options) {
      deleted.push({ name, uid: options?.uid });
      return refuse === undefined ? Promise.resolve() : Promise.reject(refuse);
    },
  };
  return { client, deleted };
}

function ask(
  client: HealthReaderDeps['client'],
  deleteStuckPods: boolean,
  options: { isActing?: boolean; of?: Workload } = {},
) {
  const { isActing = true, of = db() } = options;
  const reader = new HealthReader({ client, deleteStuckPods });
  return reader.read(
    {
      workload: of,
      images: new Map([['web', BACK]]),
      ...(isActing && { failed: new Map([['web', FAILED]]) }),
      sinceMs: 0,
    },
    signal,
  );
}

describe('HealthReader, when a StatefulSet hangs on the failed image', () => {
  it('deletes the pod that hangs, by its UID, and no other', async () => {
    const others = [
      pod({ name: 'db-0', image: FAILED, status: ready }),
      pod({ name: 'db-2', image: BACK, container: waitingFor('ContainerCreating') }),
      pod({ name: 'db-3', image: FAILED, metadata: { deletionTimestamp: '2026-01-05T08:00:00Z' } }),
    ];
    const { client, deleted } = cluster([...others, stuck]);

    const health = await ask(client, true);

    expect(deleted).toEqual([{ name: 'db-1', uid: 'uid-of-db-1' }]);
    expect(health).toMatchObject({ kind: 'progressing', message: expect.stringContaining('was deleted') });
  });

  it('gives the command where it may not delete', async () => {
    const { client, deleted } = cluster([stuck]);

    const health = await ask(client, false);

    expect(deleted).toEqual([]);
    expect(health).toMatchObject({ message: expect.stringContaining('kubectl delete pod db-1 -n shop') });
  });

  it('says so, and lets the deadline decide, when it is refused', async () => {
    const { client } = cluster(
      [stuck],
      new KubeError('pods "db-1" is forbidden', { status: 403, reason: 'Forbidden' }),
    );

    expect(await ask(client, true)).toMatchObject({
      kind: 'progressing',
      message: expect.stringContaining('forbidden'),
    });
  });

  it('asks again later when the API server is in trouble', async () => {
    const { client } = cluster([stuck], new KubeError('etcd is slow', { status: 503, reason: 'ServiceUnavailable' }));

    await expect(ask(client, true)).rejects.toThrow('etcd is slow');
  });

  it.each<{ when: string; isActing?: boolean; of?: Workload }>([
    { when: 'this replica does not act on the rollout', isActing: false },
    { when: 'its pods start side by side', of: db({ isOrdered: false }) },
    { when: 'it is healthy', of: db({ progress: { kind: 'healthy' } }) },
  ])('deletes nothing when $when', async ({ when: _, ...options }) => {
    const { client, deleted } = cluster([stuck]);

    await ask(client, true, options);

    expect(deleted).toEqual([]);
  });
});

describe('HealthReader', () => {
  it('lets the workload speak for itself when its pods cannot be read', async () => {
    const client: HealthReaderDeps['client'] = {
      ...cluster([]).client,
      list: () => Promise.reject(new KubeError('pods is forbidden', { status: 403, reason: 'Forbidden' })),
    };

    expect(await ask(client, false)).toEqual({ kind: 'progressing', message: '1 of 2 pods are available' });
  });
});
