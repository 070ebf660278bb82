// The control plane that other integration tests stand on: it starts, behaves like Kubernetes, and leaves nothing behind.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../support/control-plane.ts';
import { waitFor } from '../../support/wait.ts';

const STARTS_WITHIN_MS = 900_000; // The first start on a machine builds kube-apiserver and etcd.

const DEPLOYMENT = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: 'registry.example.com/acme/web:1.0.0' }] },
    },
  },
};

/** Pids of all processes whose command line mentions this directory. */
function processesIn(directory: string): readonly string[] {
  return readdirSync('/proc')
    .filter((entry) => /^[0-9]+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory);
      } catch {
        return false;
      }
    });
}

describe('startControlPlane', () => {
  describe('when started with a controller manager and auditing', () => {
    let controlPlane: ControlPlane;

    beforeAll(async () => {
      controlPlane = await startControlPlane({ controllerManager: true, audit: true });
    }, STARTS_WITHIN_MS);

    afterAll(() => controlPlane.stop());

    it('moves Deployments to pods', async () => {
      await controlPlane.apply(DEPLOYMENT);

      const pods = await waitFor('two pods exist', async () => {
        const { body } = await controlPlane.request('GET', '/api/v1/namespaces/default/pods');
        return body.items.length === 2 && body.items;
      });

      expect(pods[0].spec.containers[0].image).toBe('registry.example.com/acme/web:1.0.0');
    }, 60_000);

    it('deletes a namespace with everything in it', async () => {
      await controlPlane.kubectl('create', 'namespace', 'short-lived');

      const deleted = await controlPlane.kubectl('delete', 'namespace', 'short-lived', '--timeout=30s');

      expect(deleted).toMatchObject({ code: 0, stderr: '' });
    }, 60_000);

    it('authorises users of a client certificate by RBAC', async () => {
      const kubeconfig = await controlPlane.kubeconfigFor('alice', ['readers']);
      const before = await controlPlane.kubectl('--kubeconfig', kubeconfig, 'get', 'pods');
      await controlPlane.kubectl('create', 'rolebinding', 'readers', '--clusterrole=view', '--group=readers');

      const after = await waitFor('alice may read pods', async () => {
        const result = await controlPlane.kubectl('--kubeconfig', kubeconfig, 'get', 'pods');
        return result.code === 0 && result;
      });

      expect(before.stderr).toContain('User "alice" cannot list resource "pods"');
      expect(after.code).toBe(0);
    }, 60_000);

    it('writes who did what to the audit log', async () => {
      await controlPlane.kubectl('create', 'configmap', 'audited');

      const event = await waitFor('the write is in the audit log', async () =>
        (await controlPlane.auditEvents()).find((e) => e.verb === 'create' && e.objectRef?.name === 'audited'),
      );

      expect(event).toMatchObject({
        user: { username: 'admin' },
        objectRef: { resource: 'configmaps', namespace: 'default' },
        responseStatus: { code: 201 },
      });
    }, 60_000);

    it('keeps its address and objects over a killed API server', async () => {
      await controlPlane.kubectl('create', 'configmap', 'survivor');
      const { server } = controlPlane;
      await controlPlane.killApiServer();
      const whileDown = await controlPlane.kubectl('get', 'configmap', 'survivor', '--request-timeout=2s');
      await controlPlane.startApiServer();

      const afterwards = await controlPlane.kubectl('get', 'configmap', 'survivor', '--output=name');

      expect(whileDown.code).not.toBe(0);
      expect(afterwards.stdout.trim()).toBe('configmap/survivor');
      expect(controlPlane.server).toBe(server);
    }, 120_000);
  });

  it(
    'runs twice side by side and leaves neither process nor file behind',
    async () => {
      const [one, other] = await Promise.all([startControlPlane(), startControlPlane()]);
      await one.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'mine', namespace: 'default' } });
      const elsewhere = await other.request('GET', '/api/v1/namespaces/default/configmaps/mine');
      const running = [...processesIn(one.directory), ...processesIn(other.directory)];

      await Promise.all([one.stop(), other.stop()]);

      expect(elsewhere.status).toBe(404);
      expect(running.length).toBeGreaterThanOrEqual(4);
      expect([...processesIn(one.directory), ...processesIn(other.directory)]).toEqual([]);
      expect([existsSync(one.directory), existsSync(other.directory)]).toEqual([false, false]);
    },
    STARTS_WITHIN_MS,
  );

  it('says why the API server refuses to start, and leaves nothing behind', async () => {
    const starting = startControlPlane({ extraApiServerFlags: ['--no-such-flag'] });

    await expect(starting).rejects.toThrow('unknown flag: --no-such-flag');
  }, 60_000);
});
