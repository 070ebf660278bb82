// A real single-node Kubernetes 1.36 on a bare Debian machine: API server, controllers, scheduler, kubelet, kube-proxy,
// containerd, DNS and a registry that wants a login, all in a sandbox of their own. Pods run, Services and names resolve,
// images are pulled with pull secrets. Needs root; many clusters can run side by side.

import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent } from 'undici';
import YAML from 'yaml';
import type { Digest } from '../../operator/image/digest.ts';
import { kubeconfigText } from '../support/control-plane.ts';
import { type CommandOptions, type CommandResult, mustRun, runCommand } from '../support/processes.ts';
import { buildImage, type ImageOptions, ImagePusher, ociArchive } from '../support/registries-image.ts';
import {
  parseAccessLog,
  REGISTRY_HTPASSWD,
  REGISTRY_LOGIN,
  registryConfig,
  type RegistryRequest,
  settledAccessLog,
} from '../support/registries.ts';
import { type CertificateAuthority, createAuthority, createSigningKey, openAuthority } from './certificates.ts';
import { createCgroup } from './cgroups.ts';
import { componentCommands, type ComponentName, Components } from './components.ts';
import { startForwarder } from './forwarder.ts';
import {
  API_PORT,
  API_SERVICE_ADDRESS,
  cniConfig,
  CONTAINERD_SOCKET,
  containerdConfig,
  corefile,
  DNS_ADDRESS,
  kubeletConfig,
  kubeProxyConfig,
  NODE_ADDRESS,
  NODE_NAME,
  PAUSE_IMAGE,
  REGISTRY_HOST,
  REGISTRY_NAME,
  REGISTRY_PORT,
  registryHosts,
  SERVICE_RANGE,
} from './node-config.ts';
import { ALL_NAMESPACES, type NamespaceKind, Sandbox } from './sandbox.ts';
import {
  cgroupOf,
  clusterDirectory,
  identityOf,
  isAlive,
  readState,
  removeCluster,
  sweepDeadClusters,
  writeState,
} from './state.ts';
import { ensureTools } from './tools.ts';

export interface ClusterOptions {
  /** Lower-case letters, digits and dashes. Default: a random one. Only one cluster of a name can run. */
  readonly name?: string;
  /** Let the cluster outlive this process; end it with {@link Cluster.stop} of {@link attachCluster}. */
  readonly detached?: boolean;
  /** An `audit.k8s.io/v1` Policy. Default: everything at level Metadata. */
  readonly auditPolicy?: object;
  readonly report?: (line: string) => void;
}

export interface ClusterRegistry {
  /** As images in this cluster are named: `registry.slipway.test:5000`. Resolves in pods, on the node and for builds. */
  readonly host: string;
  /** The same registry from outside the sandbox: `http://127.0.0.1:<port>`. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly logPath: string;
  /** For blobs, manifests, artifacts and moving tags, from outside. */
  readonly pusher: ImagePusher;
  /** What clients asked so far, oldest first, without the traffic of this harness. */
  requests(): Promise<readonly RegistryRequest[]>;
  /** The `.dockerconfigjson` of a pull secret for this registry. */
  dockerConfigJson(): string;
}

export interface BuildOptions {
  readonly contextDirectory: string;
  /** Path of the Dockerfile; default `Dockerfile` in the context. */
  readonly dockerfile?: string;
  /** Where to push it: `acme/web:1.0.0`, below the cluster's registry. */
  readonly image: string;
  readonly buildArgs?: Readonly<Record<string, string>>;
}

export interface Cluster extends AsyncDisposable {
  readonly name: string;
  /** Everything about the cluster: logs of all components, kubeconfigs, certificates. Removed by {@link stop}. */
  readonly directory: string;
  /** The API server from outside, `https://127.0.0.1:<port>`. */
  readonly server: string;
  /** A cluster administrator's kubeconfig for use outside the sandbox: plain kubectl and helm work with it. */
  readonly kubeconfigPath: string;
  /** The same for use inside (`exec`, pods on the host network): it names the node's address. */
  readonly innerKubeconfigPath: string;
  /** The node's address inside; pods reach node, API server (port 6443) and registry (port 5000) there. */
  readonly nodeAddress: string;
  readonly auditLogPath: string;
  readonly registry: ClusterRegistry;
  kubectl(...args: readonly string[]): Promise<CommandResult>;
  /** `kubectl apply --server-side` of these objects; throws with the server's words when it refuses. */
  apply(...objects: readonly object[]): Promise<void>;
  /** A kubeconfig for this user and groups, by client certificate, for use outside. */
  kubeconfigFor(user: string, groups?: readonly string[]): Promise<string>;
  /** Runs a command on the cluster's network, with the machine's own files: node, Services and pods are reachable. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** The command line that does so, for whoever must start it himself. Default: the network only. */
  enter(argv: readonly string[], kinds?: readonly NamespaceKind[]): readonly string[];
  /** Pushes a hand-made image. Returns its digest. */
  pushImage(repository: string, tag: string, image?: ImageOptions): Promise<Digest>;
  /** Builds with buildah and pushes. Returns the digest. */
  buildAndPush(options: BuildOptions): Promise<Digest>;
  /** Kills a component: what a crash or an out-of-memory kill does. Only in the process that started the cluster. */
  killComponent(name: ComponentName, signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again, without waiting until it works. */
  startComponent(name: ComponentName): Promise<void>;
  /** Ends everything and removes every trace. Safe to call twice. */
  stop(): Promise<void>;
}

const CLUSTER_TOOLS = [
  ...(['openssl', 'ip', 'iptables', 'containerd', 'runc', 'cni-plugins', 'buildah'] as const),
  ...(['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'] as const),
  ...(['kubectl', 'coredns', 'distribution', 'pause'] as const),
] as const;

type ToolPaths = Readonly<Record<(typeof CLUSTER_TOOLS)[number], string>>;

/** Starts a cluster: some ten seconds once the programs are on the machine. Removes what dead clusters left behind. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  if (process.getuid?.() !== 0) throw new Error('A cluster needs root: namespaces, mounts and containers are made');
  const tools = await ensureTools(CLUSTER_TOOLS, options.report ? { report: options.report } : {});
  await sweepDeadClusters();

  const name = options.name ?? `test-${randomBytes(4).toString('hex')}`;
  const existing = await readState(name);
  if (existing && (isAlive(existing.init) || isAlive(existing.owner))) {
    throw new Error(`A cluster called ${name} exists: use it, stop it or choose another name`);
  }
  await removeCluster(name);
  await writeState({ name, owner: identityOf(process.pid) });
  try {
    return await launch(name, tools, options);
  } catch (error) {
    await removeCluster(name);
    throw error;
  }
}

/** A running cluster that another process started. Throws when there is none of this name. */
export async function attachCluster(name: string): Promise<Cluster> {
  const state = await readState(name);
  const { init, apiPort, registryPort } = state ?? {};
  if (!init || !isAlive(init) || apiPort === undefined || registryPort === undefined) {
    throw new Error(`No cluster called ${name} is running`);
  }
  const { kubectl, buildah } = await ensureTools(['kubectl', 'buildah']);
  return new NodeCluster({ name, apiPort, registryPort, kubectl, buildah, sandbox: new Sandbox(init.pid) });
}

async function launch(name: string, tools: ToolPaths, options: ClusterOptions): Promise<Cluster> {
  const { detached = false } = options;
  const directory = clusterDirectory(name);
  const authority = await createAuthority(join(directory, 'pki'), 'ca');
  await Promise.all([
    writeCredentials(directory, authority),
    writeConfiguration(directory, name, tools, options),
    createCgroup(cgroupOf(name)),
  ]);
  const sandbox = await Sandbox.start({
    directory,
    init: tools.pause,
    detached,
    address: NODE_ADDRESS,
    routes: [SERVICE_RANGE],
    hosts: `${NODE_ADDRESS} ${NODE_NAME} ${REGISTRY_NAME}`,
  });
  const owner = identityOf(process.pid);
  const init = identityOf(sandbox.pid);
  await writeState({ name, owner, init });
  const targets = [`${NODE_ADDRESS}:${API_PORT}`, `${NODE_ADDRESS}:${REGISTRY_PORT}`];
  const [apiPort = 0, registryPort = 0] = await startForwarder(sandbox, { directory, targets, detached });
  await writeState({ name, owner, init, apiPort, registryPort });
  await writeKubeconfigs(directory, authority, apiPort);

  const commands = componentCommands(directory, tools);
  const components = new Components({ sandbox, directory, commands, detached });
  const { kubectl, buildah } = tools;
  const cluster = new NodeCluster({ name, apiPort, registryPort, kubectl, buildah, sandbox, components });
  await bringUp(cluster, components, sandbox);
  return cluster;
}

/** Starts the components in the order in which they need each other, and waits until pods can run and names resolve. */
async function bringUp(cluster: NodeCluster, components: Components, sandbox: Sandbox): Promise<void> {
  await components.start('etcd', 'containerd', 'kube-apiserver', 'registry');
  const loadsPauseImage = components.until('containerd', async () => {
    const archive = join(cluster.directory, 'pause.tar');
    await sandbox.run(['ctr', `--address=${CONTAINERD_SOCKET}`, '--namespace=k8s.io', 'images', 'import', archive]);
    return true;
  });
  const servesApi = components.until('kube-apiserver', async () => {
    const { code, stderr } = await cluster.kubectl('get', '--raw=/readyz');
    if (code !== 0) throw new Error(stderr);
    return true;
  });
  await Promise.all([loadsPauseImage, servesApi]);
  await components.start('kubelet', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'coredns');
  await cluster.apply(...dnsObjects());
  await components.until('kubelet', async () => {
    const { stdout } = await cluster.kubectl('get', 'node', NODE_NAME, '--output=json');
    const { status } = JSON.parse(stdout) as {
      status: { conditions: readonly { readonly type: string; readonly status: string }[] };
    };
    return status.conditions.some(({ type, status: value }) => type === 'Ready' && value === 'True');
  });
  await components.until('kube-controller-manager', async () => {
    const { code } = await cluster.kubectl('get', 'serviceaccount', 'default');
    return code === 0;
  });
  await components.until('coredns', async () => {
    // Through the Service's address: this shows that kube-proxy works, too.
    const ask = `const { Resolver } = require('node:dns').promises;
      const resolver = new Resolver({ timeout: 500, tries: 10 });
      resolver.setServers(['${DNS_ADDRESS}']);
      resolver.resolve4('kubernetes.default.svc.cluster.local').then(([address]) => console.log(address));`;
    const { stdout, stderr } = await cluster.exec([process.execPath, '--eval', ask]);
    if (stdout.trim() !== API_SERVICE_ADDRESS) throw new Error(`asked for the API's Service: ${stdout}${stderr}`);
    return true;
  });
}

async function writeCredentials(directory: string, authority: CertificateAuthority): Promise<void> {
  const hosts = [
    ...[NODE_ADDRESS, API_SERVICE_ADDRESS, '127.0.0.1', 'localhost', NODE_NAME],
    ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'],
  ];
  await Promise.all([
    authority.issueServer('kube-apiserver', hosts),
    authority.issueClient('kubelet-client', { user: 'kube-apiserver-kubelet-client', groups: ['system:masters'] }),
    createSigningKey(join(directory, 'pki'), 'service-account'),
  ]);
}

async function writeConfiguration(
  directory: string,
  name: string,
  tools: ToolPaths,
  options: ClusterOptions,
): Promise<void> {
  const path = (...parts: readonly string[]): string => join(directory, ...parts);
  const hostsPath = path('certs.d', REGISTRY_HOST);
  for (const folder of [path('config'), path('logs'), path('cni'), path('kubeconfigs'), hostsPath]) {
    await mkdir(folder, { recursive: true });
  }
  const pause = buildImage({
    layers: [[{ path: 'pause', content: await readFile(tools.pause), mode: 0o755 }]],
    platforms: [`linux/${process.arch === 'x64' ? 'amd64' : process.arch}`],
    config: { Entrypoint: ['/pause'], User: '65535:65535' },
    nonce: 'pause',
  });
  const auditPolicy = options.auditPolicy ?? {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [{ level: 'Metadata' }],
  };
  const files: Readonly<Record<string, string | Uint8Array>> = {
    'pause.tar': ociArchive(PAUSE_IMAGE, pause),
    htpasswd: REGISTRY_HTPASSWD,
    'resolv.conf': `nameserver ${NODE_ADDRESS}\n`,
    'cni/10-slipway.conflist': cniConfig(),
    [`certs.d/${REGISTRY_HOST}/hosts.toml`]: registryHosts(),
    'config/containerd.toml': containerdConfig(directory),
    'config/kubelet.yaml': kubeletConfig({
      caPath: path('pki', 'ca.crt'),
      cgroupRoot: cgroupOf(name),
      resolvConf: path('resolv.conf'),
    }),
    'config/kube-proxy.yaml': kubeProxyConfig(path('kubeconfigs', 'kube-proxy')),
    'config/Corefile': corefile(path('kubeconfigs', 'coredns')),
    // What builds may pull: anything, as on a machine that was set up for it.
    'config/policy.json': JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }),
    'config/audit-policy.yaml': YAML.stringify(auditPolicy, { version: '1.1' }),
    'config/registry.yaml': registryConfig({
      address: `${NODE_ADDRESS}:${REGISTRY_PORT}`,
      storage: path('registry'),
      auth: { htpasswd: { realm: 'slipway', path: path('htpasswd') } },
    }),
  };
  for (const [file, content] of Object.entries(files)) await writeFile(path(file), content);
}

async function writeKubeconfigs(directory: string, authority: CertificateAuthority, apiPort: number): Promise<void> {
  const inside = `https://${NODE_ADDRESS}:${API_PORT}`;
  const masters = ['system:masters'];
  const users = {
    admin: { subject: { user: 'admin', groups: masters }, server: `https://127.0.0.1:${apiPort}` },
    'admin-inside': { subject: { user: 'admin', groups: masters }, server: inside },
    'kube-controller-manager': { subject: { user: 'system:kube-controller-manager' }, server: inside },
    'kube-scheduler': { subject: { user: 'system:kube-scheduler' }, server: inside },
    'kube-proxy': { subject: { user: 'system:kube-proxy' }, server: inside },
    kubelet: { subject: { user: `system:node:${NODE_NAME}`, groups: ['system:nodes'] }, server: inside },
    coredns: { subject: { user: 'coredns', groups: masters }, server: inside },
  };
  await Promise.all(
    Object.entries(users).map(async ([name, { subject, server }]) => {
      const pair = await authority.issueClient(`user-${name}`, subject);
      const text = await kubeconfigText(server, authority.certificate, pair);
      await writeFile(join(directory, 'kubeconfigs', name), text, { mode: 0o600 });
    }),
  );
}

/** The DNS Service. CoreDNS runs on the node, not as a pod, so its endpoint is written by hand. */
function dnsObjects(): readonly object[] {
  const metadata = { name: 'kube-dns', namespace: 'kube-system' };
  const ports = ['UDP', 'TCP'].map((protocol) => ({ name: `dns-${protocol.toLowerCase()}`, port: 53, protocol }));
  return [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: DNS_ADDRESS, ports } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'kube-dns' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [NODE_ADDRESS], conditions: { ready: true } }],
      ports,
    },
  ];
}

interface NodeClusterParts {
  readonly name: string;
  readonly apiPort: number;
  readonly registryPort: number;
  readonly kubectl: string;
  readonly buildah: string;
  readonly sandbox: Sandbox;
  /** Absent in a process that did not start the cluster. */
  readonly components?: Components;
}

class NodeCluster implements Cluster {
  readonly name: string;
  readonly directory: string;
  readonly server: string;
  readonly kubeconfigPath: string;
  readonly innerKubeconfigPath: string;
  readonly nodeAddress = NODE_ADDRESS;
  readonly auditLogPath: string;
  readonly registry: ClusterRegistry;
  readonly #parts: NodeClusterParts;
  readonly #dispatcher = new Agent();

  constructor(parts: NodeClusterParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.directory = clusterDirectory(parts.name);
    this.server = `https://127.0.0.1:${parts.apiPort}`;
    this.kubeconfigPath = join(this.directory, 'kubeconfigs', 'admin');
    this.innerKubeconfigPath = join(this.directory, 'kubeconfigs', 'admin-inside');
    this.auditLogPath = join(this.directory, 'audit.log');
    this.registry = this.#describeRegistry();
  }

  kubectl(...args: readonly string[]): Promise<CommandResult> {
    return this.#kubectl(args);
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    const args = ['apply', '--server-side', '--force-conflicts', '--field-manager=test', '-f', '-'];
    const { code, stderr } = await this.#kubectl(args, { input });
    if (code !== 0) throw new Error(`kubectl apply: ${stderr.trim()}`);
  }

  async kubeconfigFor(user: string, groups: readonly string[] = []): Promise<string> {
    const authority = await openAuthority(join(this.directory, 'pki'), 'ca');
    const file = `user-${randomBytes(6).toString('hex')}`;
    const pair = await authority.issueClient(file, { user, groups });
    const path = join(this.directory, 'kubeconfigs', file);
    await writeFile(path, await kubeconfigText(this.server, authority.certificate, pair), { mode: 0o600 });
    return path;
  }

  enter(argv: readonly string[], kinds: readonly NamespaceKind[] = ['net']): readonly string[] {
    return this.#parts.sandbox.enter(argv, kinds);
  }

  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.enter(argv), options);
  }

  pushImage(repository: string, tag: string, image?: ImageOptions): Promise<Digest> {
    return this.registry.pusher.push(repository, tag, image);
  }

  async buildAndPush(options: BuildOptions): Promise<Digest> {
    const { contextDirectory, dockerfile = join(contextDirectory, 'Dockerfile'), image, buildArgs = {} } = options;
    const reference = `${REGISTRY_HOST}/${image}`;
    const login = ['--tls-verify=false', `--creds=${REGISTRY_LOGIN.username}:${REGISTRY_LOGIN.password}`];
    // A store of its own per build: vfs has no locks to share, and nothing of it is worth keeping.
    const store = await mkdtemp(join(this.directory, 'build-'));
    const digestFile = join(store, 'digest');
    const buildah = [this.#parts.buildah, '--storage-driver=vfs', `--root=${store}/root`, `--runroot=${store}/run`];
    const run = (argv: readonly string[]): Promise<string> =>
      mustRun(this.enter([...buildah, ...argv], ALL_NAMESPACES), { timeoutMs: 600_000 });
    try {
      const args = Object.entries(buildArgs).map(([key, value]) => `--build-arg=${key}=${value}`);
      const policy = `--signature-policy=${join(this.directory, 'config', 'policy.json')}`;
      const build = ['build', '--isolation=chroot', '--format=oci', policy, ...login, ...args];
      await run([...build, `--file=${dockerfile}`, `--tag=${reference}`, contextDirectory]);
      await run(['push', policy, ...login, `--digestfile=${digestFile}`, reference]);
      return (await readFile(digestFile, 'utf8')).trim() as Digest;
    } finally {
      await rm(store, { recursive: true, force: true });
    }
  }

  async killComponent(name: ComponentName, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#components().kill(name, signal);
  }

  async startComponent(name: ComponentName): Promise<void> {
    await this.#components().start(name);
  }

  async stop(): Promise<void> {
    await this.#dispatcher.destroy();
    await removeCluster(this.name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #components(): Components {
    if (!this.#parts.components) throw new Error(`Another process started the cluster ${this.name} and its components`);
    return this.#parts.components;
  }

  #kubectl(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const env = { KUBECONFIG: this.kubeconfigPath, HOME: this.directory };
    return runCommand([this.#parts.kubectl, ...args], { ...options, env });
  }

  #describeRegistry(): ClusterRegistry {
    const url = `http://127.0.0.1:${this.#parts.registryPort}`;
    const { username, password } = REGISTRY_LOGIN;
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    const logPath = join(this.directory, 'logs', 'registry.log');
    const dispatcher = this.#dispatcher;
    return {
      host: REGISTRY_HOST,
      url,
      username,
      password,
      logPath,
      pusher: new ImagePusher({ url, dispatcher, authorization: () => `Basic ${auth}` }),
      requests: async () => parseAccessLog(await settledAccessLog(url, logPath, dispatcher)),
      dockerConfigJson: () => JSON.stringify({ auths: { [REGISTRY_HOST]: { username, password, auth } } }),
    };
  }
}
