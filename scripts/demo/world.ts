// Where the demo plays: a cluster with Slipway installed from its chart and a registry that wants a login. Either a
// cluster of the demo's own, or the one that kubectl points at.

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import { startCluster, type Cluster } from '../../test/cluster/cluster.ts';
import { ensureTools } from '../../test/cluster/tools.ts';
import { mustRun, runCommand, type CommandResult } from '../../test/support/processes.ts';
import { ImagePusher, type ImageOptions } from '../../test/support/registries-image.ts';
import { waitFor } from '../../test/support/wait.ts';
import { buildOperatorImage } from '../image/operator-image.ts';
import type { Narrator } from './narrator.ts';

export const SYSTEM_NAMESPACE = 'slipway-system';
export const LEASE = 'slipway-operator';
const ROOT = join(import.meta.dirname, '../..');

/** A registry as the demo pushes to it and as the cluster pulls from it; often two addresses of one thing. */
interface Registry {
  /** In image names: `registry.example:5000/demo`. */
  readonly prefix: string;
  readonly host: string;
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly isPlainHttp: boolean;
}

export interface World {
  /** Namespace of the apps, the demo's own. */
  readonly namespace: string;
  /** Present when the cluster is the demo's own: only then its audit log can be read. */
  readonly cluster?: Cluster;
  /** `image('web')` is the repository as manifests name it. */
  image(name: string): string;
  push(name: string, tag: string, image?: ImageOptions): Promise<string>;
  kubectl(...args: readonly string[]): Promise<CommandResult>;
  /** Runs kubectl, prints it as typed and what it answers. */
  show(...args: readonly string[]): Promise<string>;
  apply(...objects: readonly object[]): Promise<void>;
  get<T>(...args: readonly string[]): Promise<T>;
  policy(name: string): Promise<ImagePolicy>;
  rollouts(policy: string): Promise<ImageRollout[]>;
  /** The pod that holds the Lease. */
  leader(): Promise<string>;
  /** For manifests of the demo's namespace. */
  readonly pullSecret: object;
  /** What users should do with a world that stays. */
  readonly farewell: readonly string[];
  operatorLog(): Promise<string>;
  close(): Promise<void>;
}

/** Builds everything up to an installed, ready operator. */
export async function createWorld(
  narrator: Narrator,
  options: { readonly keep: boolean; readonly useCurrent: boolean },
): Promise<World> {
  const report = (line: string): void => narrator.progress(line);
  narrator.title('A cluster');
  const tools = await ensureTools(['kubectl', 'helm', 'busybox'], { report });
  const cluster = options.useCurrent ? undefined : await ownCluster(narrator, options.keep, report);
  const registry = cluster === undefined ? givenRegistry() : registryOf(cluster);
  const env = cluster === undefined ? {} : { KUBECONFIG: cluster.kubeconfigPath };
  const directory = await mkdtemp(join(tmpdir(), 'slipway-demo-'));
  const namespace = cluster === undefined ? `slipway-demo-${randomBytes(3).toString('hex')}` : 'shop';
  try {
    narrator.title('Slipway, from its Dockerfile and its chart');
    const image = await installOperator({ narrator, registry, helm: tools.helm, env, report });
    return new DemoWorld({ narrator, cluster, registry, env, directory, namespace, tools, image });
  } catch (error) {
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function ownCluster(narrator: Narrator, keep: boolean, report: (line: string) => void): Promise<Cluster> {
  const started = performance.now();
  const cluster = await startCluster({
    report,
    ...(keep && { detached: true, name: 'demo' }),
    auditPolicy: {
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived'],
      rules: [
        { level: 'Request', verbs: ['patch'], resources: [{ group: 'apps', resources: ['deployments'] }] },
        { level: 'None' },
      ],
    },
  });
  narrator.shown(
    `a real Kubernetes runs (etcd, API server, controllers, scheduler, kubelet, containerd, DNS) with a registry that wants a login, after ${Math.round((performance.now() - started) / 1_000)} s`,
  );
  return cluster;
}

function registryOf({ registry }: Cluster): Registry {
  const { host, url, username, password } = registry;
  return { prefix: `${host}/demo`, host, url, username, password, isPlainHttp: true };
}

/** For CLUSTER=current: a registry that both this machine and the cluster reach. */
function givenRegistry(): Registry {
  const prefix = process.env['REGISTRY'];
  const login = process.env['REGISTRY_LOGIN'] ?? '';
  if (prefix === undefined || !login.includes(':')) {
    throw new Error(
      'CLUSTER=current needs REGISTRY=host/path, which this machine and the cluster can reach, and REGISTRY_LOGIN=user:password',
    );
  }
  const host = prefix.split('/')[0] ?? prefix;
  const isPlainHttp = process.env['REGISTRY_PLAIN_HTTP'] === '1';
  return {
    prefix,
    host,
    url: `${isPlainHttp ? 'http' : 'https'}://${host}`,
    username: login.slice(0, login.indexOf(':')),
    password: login.slice(login.indexOf(':') + 1),
    isPlainHttp,
  };
}

interface Installation {
  readonly narrator: Narrator;
  readonly registry: Registry;
  readonly helm: string;
  readonly env: Readonly<Record<string, string>>;
  readonly report: (line: string) => void;
}

async function installOperator({ narrator, registry, helm, env, report }: Installation): Promise<string> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const image = await buildOperatorImage({ version, revision: 'demo', report });
  const path = registry.prefix.slice(registry.host.length + 1);
  const digest = await image.push({
    reference: `${new URL(registry.url).host}/${path}/slipway:${version}`,
    credentials: `${registry.username}:${registry.password}`,
    plainHttp: registry.isPlainHttp,
  });
  narrator.shown(`the image is built and pushed: ${Math.round(image.sizeBytes / 1e6)} MB, non-root, read-only`);
  await kubectlApply(env, [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: SYSTEM_NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    pullSecret(SYSTEM_NAMESPACE, registry),
  ]);
  const values = {
    image: { repository: `${registry.prefix}/slipway`, digest },
    imagePullSecrets: [{ name: 'registry-login' }],
    config: {
      registries: { [registry.host]: { allowPrivate: true, insecure: registry.isPlainHttp } },
      leaderElection: { leaseDuration: '6s', renewDeadline: '4s', retryPeriod: '1s' },
    },
  };
  const chart = join(ROOT, 'charts/slipway');
  await mustRun(
    [
      helm,
      'upgrade',
      '--install',
      'slipway',
      chart,
      '--namespace',
      SYSTEM_NAMESPACE,
      '--wait',
      '--timeout=180s',
      '--values=-',
    ],
    { env, input: JSON.stringify(values), timeoutMs: 240_000 },
  );
  narrator.shown(
    'helm installed it into a namespace that enforces the restricted Pod Security standard; two replicas are ready',
  );
  return digest;
}

function pullSecret(namespace: string, registry: Registry): object {
  const auth = Buffer.from(`${registry.username}:${registry.password}`).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'registry-login', namespace },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [registry.host]: { auth } } }) },
  };
}

async function kubectlApply(env: Readonly<Record<string, string>>, objects: readonly object[]): Promise<void> {
  const { kubectl } = await ensureTools(['kubectl']);
  await mustRun([kubectl, 'apply', '--server-side', '-f', '-'], {
    env,
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
  });
}

interface Parts {
  readonly narrator: Narrator;
  readonly cluster: Cluster | undefined;
  readonly registry: Registry;
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly namespace: string;
  readonly tools: Readonly<Record<'kubectl' | 'busybox', string>>;
  readonly image: string;
}

class DemoWorld implements World {
  readonly namespace: string;
  readonly cluster?: Cluster;
  readonly #parts: Parts;
  readonly #pusher: ImagePusher;
  #hasPlugin = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.namespace = parts.namespace;
    if (parts.cluster !== undefined) this.cluster = parts.cluster;
    const { url, username, password } = parts.registry;
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    this.#pusher = new ImagePusher({ url, authorization: () => authorization });
  }

  image(name: string): string {
    return `${this.#parts.registry.prefix}/${name}`;
  }

  /** By default a small web server that answers with its own tag. */
  async push(name: string, tag: string, image?: ImageOptions): Promise<string> {
    const { registry, tools } = this.#parts;
    const path = `${registry.prefix.slice(registry.host.length + 1)}/${name}`;
    const busybox = await readFile(tools.busybox);
    return this.#pusher.push(path, tag, {
      layers: [
        [{ path: 'bin/busybox', content: busybox, mode: 0o755 }],
        [{ path: 'www/index.html', content: `${name} ${tag}\n` }],
      ],
      config: { Entrypoint: ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'], User: '1000:1000' },
      ...image,
    });
  }

  async kubectl(...args: readonly string[]): Promise<CommandResult> {
    if (args[0] === 'slipway') await this.#installPlugin();
    const path = `${this.#parts.directory}:${process.env['PATH'] ?? ''}`;
    return runCommand([this.#parts.tools.kubectl, ...args], { env: { ...this.#parts.env, PATH: path } });
  }

  async show(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(...args);
    this.#parts.narrator.command(`kubectl ${args.join(' ')}`, stdout + stderr);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with exit code ${code}`);
    return stdout;
  }

  async apply(...objects: readonly object[]): Promise<void> {
    await kubectlApply(this.#parts.env, objects);
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.kubectl('-n', this.namespace, 'get', ...args, '-o', 'json');
    if (code !== 0) throw new Error(stderr.trim());
    return JSON.parse(stdout) as T;
  }

  policy(name: string): Promise<ImagePolicy> {
    return this.get('imagepolicies.slipway.dev', name);
  }

  async rollouts(policy: string): Promise<ImageRollout[]> {
    const { items } = await this.get<{ items: ImageRollout[] }>('imagerollouts.slipway.dev');
    return items.filter(({ spec }) => spec.policy.name === policy);
  }

  async leader(): Promise<string> {
    return waitFor('a replica leads', async () => {
      const { stdout } = await this.kubectl(
        '-n',
        SYSTEM_NAMESPACE,
        'get',
        'lease',
        LEASE,
        '-o',
        'jsonpath={.spec.holderIdentity}',
      );
      return stdout.split('_')[0];
    });
  }

  get farewell(): readonly string[] {
    const { cluster } = this.#parts;
    return cluster === undefined
      ? [`kubectl delete namespace ${this.namespace}`, `helm uninstall slipway --namespace ${SYSTEM_NAMESPACE}`]
      : [
          `export KUBECONFIG=${cluster.kubeconfigPath}`,
          `kubectl -n ${this.namespace} get slipway`,
          `make cluster-down CLUSTER_NAME=${cluster.name}    # to end it`,
        ];
  }

  async operatorLog(): Promise<string> {
    const { stdout } = await this.kubectl(
      '-n',
      SYSTEM_NAMESPACE,
      'logs',
      '-l',
      'app.kubernetes.io/name=slipway',
      '--tail=30',
      '--prefix',
    );
    return stdout;
  }

  async close(): Promise<void> {
    const { cluster, directory } = this.#parts;
    await rm(directory, { recursive: true, force: true });
    if (cluster !== undefined) return cluster.stop();
    await this.kubectl('delete', 'namespace', this.namespace, '--wait=false');
    const { helm } = await ensureTools(['helm']);
    await mustRun([helm, 'uninstall', 'slipway', '--namespace', SYSTEM_NAMESPACE], { env: this.#parts.env });
  }

  /** `kubectl slipway` is the bundled command line under the name that kubectl looks for. */
  async #installPlugin(): Promise<void> {
    if (this.#hasPlugin) return;
    this.#hasPlugin = true;
    const plugin = join(this.#parts.directory, 'kubectl-slipway');
    await mustRun(['node', join(ROOT, 'esbuild.mjs')], { cwd: ROOT });
    await writeFile(plugin, `#!/bin/sh\nexec ${process.execPath} ${join(ROOT, 'dist/slipway.mjs')} "$@"\n`, {
      mode: 0o755,
    });
    await symlink(plugin, join(this.#parts.directory, 'slipway'));
  }

  /** For manifests of the demo's namespace. */
  get pullSecret(): object {
    return pullSecret(this.namespace, this.#parts.registry);
  }
}
