// The node cluster that other end-to-end tests stand on: pods really run, pull with a login, find each other, and nothing
// is left when it stops, not even after the process that started it was killed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { cgroupOf, clusterDirectory, isAlive, readState, sweepDeadClusters } from '../cluster/state.ts';
import { ensureTools } from '../cluster/tools.ts';
import { waitFor } from '../support/wait.ts';

const STARTS_WITHIN_MS = 1_800_000; // The first start on a machine builds every program.

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

interface Traces {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  readonly hasDirectory: boolean;
}

const NO_TRACES: Traces = { processes: [], mounts: [], cgroups: [], hasDirectory: false };

/** Everything on the machine that belongs to the cluster: by its folder, its cgroups and its network. */
function tracesOf(name: string, networkNamespace: string): Traces {
  const directory = clusterDirectory(name);
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  const link = (path: string): string => {
    try {
      return readlinkSync(path);
    } catch {
      return '';
    }
  };
  const pids = readdirSync('/proc').filter((entry) => /^[0-9]+$/.test(entry));
  const isOurs = (pid: string): boolean =>
    read(`/proc/${pid}/cmdline`).includes(directory) ||
    read(`/proc/${pid}/cgroup`).includes(`/${cgroupOf(name)}/`) ||
    link(`/proc/${pid}/ns/net`) === networkNamespace;
  const folders = (path: string): readonly string[] => (existsSync(path) ? readdirSync(path) : []);
  return {
    processes: pids.filter(isOurs),
    mounts: read('/proc/mounts')
      .split('\n')
      .filter((line) => line.includes(directory)),
    cgroups: ['', ...folders('/sys/fs/cgroup')].filter((tree) =>
      existsSync(`/sys/fs/cgroup/${tree}/${cgroupOf(name)}`),
    ),
    hasDirectory: existsSync(directory),
  };
}

async function networkNamespaceOf(name: string): Promise<string> {
  const state = await readState(name);
  return readlinkSync(`/proc/${state?.init?.pid}/ns/net`);
}

describe('startCluster', () => {
  let cluster: Cluster;
  let busybox: Buffer;

  beforeAll(async () => {
    busybox = await readFile((await ensureTools(['busybox'])).busybox);
    cluster = await startCluster();
    await cluster.apply(
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'shop', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'registry-login', namespace: 'shop' },
        type: 'kubernetes.io/dockerconfigjson',
        stringData: { '.dockerconfigjson': cluster.registry.dockerConfigJson() },
      },
    );
  }, STARTS_WITHIN_MS);

  afterAll(() => cluster.stop(), 60_000);

  const webImage = () => ({
    layers: [
      [
        { path: 'bin/busybox', content: busybox, mode: 0o755 },
        ...['sh', 'wget', 'nslookup'].map((name) => ({ path: `bin/${name}`, link: 'busybox' })),
        { path: 'www/index.html', content: 'ahoy' },
      ],
    ],
    config: { Entrypoint: ['/bin/busybox', 'httpd', '-f', '-v', '-p', '8080', '-h', '/www'], User: '1000:1000' },
  });

  const web = (image: string, pullSecrets: readonly string[]) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          imagePullSecrets: pullSecrets.map((name) => ({ name })),
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'web',
              image,
              readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
              securityContext: RESTRICTED,
            },
          ],
        },
      },
    },
  });

  describe('when a Deployment runs an image from the registry that wants a login', () => {
    let digest: string;

    beforeAll(async () => {
      digest = await cluster.pushImage('acme/web', '1.0.0', webImage());
      await cluster.apply(web(`${cluster.registry.host}/acme/web:1.0.0`, ['registry-login']), {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web', namespace: 'shop' },
        spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
      });
      const rolledOut = await cluster.kubectl('-n', 'shop', 'rollout', 'status', 'deployment/web', '--timeout=60s');
      expect(rolledOut).toMatchObject({ code: 0 });
    }, 90_000);

    it('runs that digest in every pod', async () => {
      const { stdout } = await cluster.kubectl(
        ...['-n', 'shop', 'get', 'pods', '--output=jsonpath={.items[*].status.containerStatuses[0].imageID}'],
      );

      expect(stdout.split(' ')).toEqual([1, 2].map(() => `${cluster.registry.host}/acme/web@${digest}`));
    });

    it('pulled it with the login, after having been asked for it', async () => {
      const requests = await cluster.registry.requests();

      const pulls = requests.filter(({ path }) => path.startsWith('/v2/acme/web/manifests/1.0.0'));
      expect(pulls.map(({ status }) => status)).toEqual(expect.arrayContaining([401, 200]));
      expect(pulls[0]?.userAgent).toMatch(/^containerd\//);
    });

    it.each([{ name: 'web' }, { name: 'web.shop' }, { name: 'web.shop.svc.cluster.local' }])(
      'reaches its Service from a pod as $name',
      async ({ name }) => {
        const result = await cluster.kubectl(
          ...['-n', 'shop', 'exec', 'deployment/web', '--', 'wget', '-q', '-O', '-', `http://${name}/`],
        );

        expect(result).toEqual({ code: 0, stdout: 'ahoy', stderr: '' });
      },
      30_000,
    );

    it('reaches the registry and the API server from a pod', async () => {
      const fromPod = (url: string) =>
        cluster.kubectl('-n', 'shop', 'exec', 'deployment/web', '--', 'wget', '-q', '-O', '-', url);

      const registry = await fromPod(`http://${cluster.registry.host}/v2/`);
      const api = await fromPod('http://kubernetes.default.svc:443/version');

      expect(registry.stderr).toContain('401 Unauthorized');
      // The server's own answer to plain http: busybox's https does not check anything anyway.
      expect(api.stderr).toContain('400 Bad Request');
    }, 30_000);

    it('shows the logs of a pod', async () => {
      const logs = await waitFor('the probe was logged', async () => {
        const { stdout } = await cluster.kubectl('-n', 'shop', 'logs', 'deployment/web');
        return stdout.includes('response:200') && stdout;
      });

      expect(logs).toContain('10.244.0.1');
    }, 30_000);

    it('reaches the Service from outside by a command on the network of the cluster', async () => {
      const { stdout: address } = await cluster.kubectl(
        ...['-n', 'shop', 'get', 'service', 'web', '--output=jsonpath={.spec.clusterIP}'],
      );

      const answer = await cluster.exec([
        ...[process.execPath, '--eval', `fetch('http://${address}/').then((a) => a.text()).then(console.log)`],
      ]);

      expect(answer.stdout.trim()).toBe('ahoy');
    }, 30_000);

    it('recovers from a killed API server while pods run on', async () => {
      await cluster.killComponent('kube-apiserver');
      const whileDown = await cluster.kubectl('get', 'nodes', '--request-timeout=2s');
      await cluster.startComponent('kube-apiserver');

      const afterwards = await waitFor('the API server is back', async () => {
        const { stdout } = await cluster.kubectl('-n', 'shop', 'get', 'deployment', 'web', '--output=json');
        return stdout !== '' && (JSON.parse(stdout) as { status: { readyReplicas: number } });
      });

      expect(whileDown.code).not.toBe(0);
      expect(afterwards.status.readyReplicas).toBe(2);
    }, 60_000);
  });

  it('refuses pods that break the Pod Security level of their namespace', async () => {
    const result = await cluster.kubectl('-n', 'shop', 'run', 'root', '--image=acme/web', '--privileged');

    expect(result.stderr).toContain('violates PodSecurity "restricted:latest"');
  }, 30_000);

  it('does not pull without the login', async () => {
    await cluster.pushImage('acme/private', '1.0.0', webImage());
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'no-login', namespace: 'shop' },
      spec: {
        containers: [{ name: 'it', image: `${cluster.registry.host}/acme/private:1.0.0`, securityContext: RESTRICTED }],
      },
    };
    await cluster.apply(pod);

    const reason = await waitFor('the pull fails', async () => {
      const { stdout } = await cluster.kubectl(
        ...['-n', 'shop', 'get', 'pod', 'no-login'],
        '--output=jsonpath={.status.containerStatuses[0].state.waiting.message}',
      );
      return stdout.includes('401') && stdout;
    });

    expect(reason).toContain('Unauthorized');
  }, 60_000);

  it('builds a Dockerfile, with arguments and a base image from its own registry, and pushes it', async () => {
    await cluster.pushImage('acme/base', '1', webImage());
    const context = await mkdtemp(join(tmpdir(), 'slipway-build-'));
    try {
      const dockerfile = [
        'ARG BASE',
        'FROM ${BASE}',
        'USER 0',
        'RUN echo built > /www/built.html',
        'LABEL made=here',
        '',
      ];
      await writeFile(join(context, 'Dockerfile'), dockerfile.join('\n'));

      const digest = await cluster.buildAndPush({
        contextDirectory: context,
        image: 'acme/built:2.0.0',
        buildArgs: { BASE: `${cluster.registry.host}/acme/base:1` },
      });

      expect(await cluster.registry.pusher.resolve('acme/built', '2.0.0')).toBe(digest);
    } finally {
      await rm(context, { recursive: true });
    }
  }, 120_000);

  it('logs who did what in the audit log', async () => {
    const kubeconfig = await cluster.kubeconfigFor('mallory', ['pirates']);
    await cluster.kubectl('--kubeconfig', kubeconfig, 'get', 'secrets', '--all-namespaces');

    const line = await waitFor('the attempt is logged', async () =>
      (await readFile(cluster.auditLogPath, 'utf8')).split('\n').find((each) => each.includes('"mallory"')),
    );

    expect(JSON.parse(line)).toMatchObject({ verb: 'list', responseStatus: { code: 403 } });
  }, 30_000);

  it('leaves nothing of a second cluster when that stops, and the first one as it is', async () => {
    const second = await startCluster();
    const network = await networkNamespaceOf(second.name);
    const whileRunning = tracesOf(second.name, network);

    await second.stop();

    expect(whileRunning.processes.length).toBeGreaterThan(10);
    expect(tracesOf(second.name, network)).toEqual(NO_TRACES);
    expect(await cluster.kubectl('get', '--raw=/readyz')).toMatchObject({ code: 0, stdout: 'ok' });
  }, 120_000);

  it('leaves nothing of a cluster whose starter was killed, once swept', async () => {
    const name = `killed-${process.pid}`;
    const script = `
      const { startCluster } = await import(${JSON.stringify(join(import.meta.dirname, '../cluster/cluster.ts'))});
      await startCluster({ name: '${name}' });
      console.log('started');
      setInterval(() => undefined, 1000);`;
    const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(starter.stdout, 'data');
    const network = await networkNamespaceOf(name);
    const state = await readState(name);
    const runningBefore = isAlive(state?.init);

    starter.kill('SIGKILL');
    await once(starter, 'exit');
    await waitFor('the sandbox died with it', () => !isAlive(state?.init));
    const swept = await sweepDeadClusters();

    expect(runningBefore).toBe(true);
    expect(swept).toContain(name);
    expect(tracesOf(name, network)).toEqual(NO_TRACES);
  }, 120_000);
});
