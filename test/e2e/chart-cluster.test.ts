import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import { buildOperatorImage } from '../../scripts/image/operator-image.ts';
import { startCluster, type Cluster } from '../cluster/cluster.ts';
import { ensureTools } from '../cluster/tools.ts';
import { CHART, helm, setFlags, type Values } from '../support/chart.ts';
import type { AuditEvent } from '../support/control-plane.ts';
import { waitFor } from '../support/wait.ts';

jest.setTimeout(240_000);

const STARTS_WITHIN_MS = 1_800_000; // The first start on a machine builds every program and the image.
const SYSTEM = 'slipway-system';
const ACCOUNT = `system:serviceaccount:${SYSTEM}:slipway`;
const SLOW = { timeoutMs: 90_000, intervalMs: 250 };

let cluster: Cluster;
let values: Values;
let newerChart: string | undefined;
let busybox: Buffer;

async function mustHelm(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await helm([...args, '--namespace', SYSTEM], cluster.kubeconfigPath);
  if (code !== 0) {
    const pods = await cluster.kubectl('-n', SYSTEM, 'describe', 'pods');
    const log = await cluster.kubectl('-n', SYSTEM, 'logs', '-l', 'app.kubernetes.io/name=slipway', '--tail=20');
    throw new Error(`helm ${args[0] ?? ''}: ${stderr.trim()}\n${pods.stdout.slice(-3_000)}\n${log.stdout}`);
  }
  return stdout;
}

async function get<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await cluster.kubectl('get', ...args, '-o', 'json');
  if (code !== 0) throw new Error(stderr.trim());
  return JSON.parse(stdout) as T;
}

const pushWeb = (tag: string): Promise<string> =>
  cluster.pushImage('acme/web', tag, {
    layers: [
      [{ path: 'bin/busybox', content: busybox, mode: 0o755 }],
      [{ path: 'www/index.html', content: `web ${tag}\n` }],
    ],
    config: { Entrypoint: ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'], User: '1000:1000' },
  });

const imageOfWeb = async (): Promise<string | undefined> =>
  (await get<{ spec: { template: { spec: { containers: { image: string }[] } } } }>('-n', 'shop', 'deployment', 'web'))
    .spec.template.spec.containers[0]?.image;

/** Requests of the operator's account that the API server forbade. */
async function forbidden(): Promise<string[]> {
  const lines = (await readFile(cluster.auditLogPath, 'utf8')).split('\n').filter(Boolean);
  // The last line may still be being written.
  const events = lines.slice(0, -1).map((line) => JSON.parse(line) as AuditEvent);
  const own = events.filter(({ user }) => user.username === ACCOUNT);
  expect(own.length).toBeGreaterThan(10);
  return [
    ...new Set(
      own
        .filter(({ responseStatus }) => responseStatus?.code === 403)
        .map(({ verb, objectRef }) => `${verb} ${objectRef?.resource ?? ''}`),
    ),
  ];
}

/** The chart as a later release might be: one more field in the CRD of ImagePolicy. */
async function chartWithNewField(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-chart-'));
  await cp(CHART, folder, { recursive: true });
  const path = join(folder, 'templates', 'crds', 'imagepolicies.yaml');
  const text = await readFile(path, 'utf8');
  const field = '                suspend:\n';
  if (text.split(field).length !== 2) throw new Error('Expected spec.suspend once in the CRD');
  const added = `                note:\n                  type: string\n                  maxLength: 64\n                  description: Added later.\n`;
  await writeFile(path, text.replace(field, `${added}${field}`));
  return folder;
}

beforeAll(async () => {
  busybox = await readFile((await ensureTools(['busybox'])).busybox);
  cluster = await startCluster();
  const { host, url, username, password } = cluster.registry;
  const image = await buildOperatorImage({
    version: '0.1.0',
    revision: 'local',
    report: (line) => process.stderr.write(`${line}\n`),
  });
  const digest = await image.push({
    reference: `${new URL(url).host}/slipway/operator:0.1.0`,
    credentials: `${username}:${password}`,
    plainHttp: true,
  });
  const login = { '.dockerconfigjson': cluster.registry.dockerConfigJson() };
  for (const namespace of [SYSTEM, 'shop']) {
    await cluster.apply(
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'registry-login', namespace },
        type: 'kubernetes.io/dockerconfigjson',
        stringData: login,
      },
    );
  }
  values = {
    'image.repository': `${host}/slipway/operator`,
    'image.digest': digest,
    imagePullSecrets: [{ name: 'registry-login' }],
    'config.registries': { [host]: { allowPrivate: true, insecure: true } },
  };
}, STARTS_WITHIN_MS);

afterAll(async () => {
  if (newerChart !== undefined) await rm(newerChart, { recursive: true, force: true });
  await cluster.stop();
}, 60_000);

describe('the chart on a real cluster', () => {
  it('installs into a namespace that enforces the restricted standard, for one namespace and without nodes', async () => {
    await mustHelm(
      ...['install', 'slipway', CHART, '--wait', '--timeout=120s'],
      ...setFlags({ ...values, watchNamespaces: ['shop'], 'rbac.nodes': false }),
    );

    const { items } = await get<{ items: { status: { phase: string; containerStatuses: { ready: boolean }[] } }[] }>(
      ...['-n', SYSTEM, 'pods'],
    );
    expect(items.map(({ status }) => [status.phase, status.containerStatuses[0]?.ready])).toEqual([
      ['Running', true],
      ['Running', true],
    ]);
  });

  it('moves a workload with the rights of that Role, and asks for nothing beyond it', async () => {
    await pushWeb('v1.0.0');
    await cluster.apply(
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web', namespace: 'shop' },
        spec: {
          replicas: 1,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: {
              imagePullSecrets: [{ name: 'registry-login' }],
              terminationGracePeriodSeconds: 1,
              containers: [
                {
                  name: 'web',
                  image: `${cluster.registry.host}/acme/web:v1.0.0`,
                  readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
                  securityContext: {
                    allowPrivilegeEscalation: false,
                    runAsNonRoot: true,
                    capabilities: { drop: ['ALL'] },
                    seccompProfile: { type: 'RuntimeDefault' },
                  },
                },
              ],
            },
          },
        },
      },
      {
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImagePolicy',
        metadata: { name: 'web', namespace: 'shop' },
        spec: {
          image: `${cluster.registry.host}/acme/web`,
          interval: '15s',
          registry: { imagePullSecrets: [{ name: 'registry-login' }], serviceAccountName: 'default' },
          tags: { semver: { range: '1.x' } },
          targets: [{ kind: 'Deployment', name: 'web' }],
        },
      },
    );
    await waitFor(
      'v1.0.0 is adopted',
      async () => (await get<ImagePolicy>('-n', 'shop', 'slpol', 'web')).status?.current?.images[0]?.tag === 'v1.0.0',
      SLOW,
    );

    const digest = await pushWeb('v1.1.0');
    const rollout = await waitFor(
      'the rollout has succeeded',
      async () => {
        const { items } = await get<{ items: ImageRollout[] }>('-n', 'shop', 'slroll');
        return items.find(({ status }) => status?.state === 'Succeeded');
      },
      SLOW,
    );

    expect(rollout.metadata.name).toBe('web-1');
    expect(await imageOfWeb()).toBe(`${cluster.registry.host}/acme/web:v1.1.0@${digest}`);
    // Whether it may read nodes is found out by asking once.
    expect(await forbidden()).toEqual(['list nodes']);
    const events = await get<{ items: { reportingController: string }[] }>('-n', 'shop', 'events.events.k8s.io');
    expect(events.items.some(({ reportingController }) => reportingController === 'slipway.dev/operator')).toBe(true);
  });

  it('upgrades to all namespaces and over a field that was added, without touching policies, rollouts or workloads', async () => {
    const before = {
      policy: (await get<ImagePolicy>('-n', 'shop', 'slpol', 'web')).metadata.uid,
      image: await imageOfWeb(),
    };

    newerChart = await chartWithNewField();
    await mustHelm('upgrade', 'slipway', newerChart, '--wait', '--timeout=120s', ...setFlags(values));
    await waitFor(
      'the new field is kept',
      async () => {
        await cluster.kubectl('-n', 'shop', 'patch', 'slpol', 'web', '--type=merge', '-p', '{"spec":{"note":"kept"}}');
        const { spec } = await get<{ spec: { note?: string } }>('-n', 'shop', 'slpol', 'web');
        return spec.note === 'kept';
      },
      SLOW,
    );
    const digest = await pushWeb('v1.2.0');
    await waitFor(
      'the new release moves the workload',
      async () => (await imageOfWeb()) === `${cluster.registry.host}/acme/web:v1.2.0@${digest}`,
      SLOW,
    );

    expect((await get<ImagePolicy>('-n', 'shop', 'slpol', 'web')).metadata.uid).toBe(before.policy);
    expect(before.image).toContain(':v1.1.0@sha256:');
    const { items } = await get<{ items: ImageRollout[] }>('-n', 'shop', 'slroll');
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual(['web-1', 'web-2']);
    expect(await forbidden()).toEqual(['list nodes']);
  });

  it('goes without a trace but the CRDs, the policies and the history, and leaves the workload as it is', async () => {
    const image = await imageOfWeb();

    await mustHelm('uninstall', 'slipway', '--wait', '--timeout=120s');
    await waitFor(
      'its pods are gone',
      async () => (await get<{ items: unknown[] }>('-n', SYSTEM, 'pods')).items.length === 0,
      SLOW,
    );

    expect(await imageOfWeb()).toBe(image);
    expect((await get<{ items: unknown[] }>('-n', 'shop', 'slpol,slroll')).items).toHaveLength(3);
    const left = await cluster.kubectl(
      ...['get', 'clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding'],
      ...['-l', 'app.kubernetes.io/part-of=slipway', '-o', 'name'],
    );
    expect(left.stdout).toBe('');
  });
});
