// A real Kubernetes API for integration tests: etcd and kube-apiserver 1.36 on loopback, optionally the controller manager.
// No root, no nodes: objects are validated, admitted, watched and authorised by the real server, but no pod ever runs.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import YAML from 'yaml';
import {
  type CertificateAuthority,
  createAuthority,
  createSigningKey,
  type KeyPair,
  type Subject,
} from '../cluster/certificates.ts';
import { ensureTools } from '../cluster/tools.ts';
import { freePort } from './ports.ts';
import { type CommandOptions, type CommandResult, type RunningProcess, runCommand, startProcess } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

export interface ControlPlaneOptions {
  /**
   * Also run kube-controller-manager: Deployments get ReplicaSets and pods, owners are garbage collected, namespaces can
   * be deleted, service accounts exist. Without it, ServiceAccount admission is off, so that pods can be created.
   */
  readonly controllerManager?: boolean;
  /** Write an audit log of every request, at level Metadata unless `auditPolicy` says otherwise. */
  readonly audit?: boolean;
  /** An `audit.k8s.io/v1` Policy. Implies `audit`. */
  readonly auditPolicy?: object;
  /** Admission plug-ins beyond the server's defaults. */
  readonly admissionPlugins?: readonly string[];
  /** Further flags of kube-apiserver; they win over the ones given here. */
  readonly extraApiServerFlags?: readonly string[];
}

export interface AuditEvent {
  readonly auditID: string;
  readonly stage: string;
  readonly requestURI: string;
  readonly verb: string;
  readonly user: { readonly username: string; readonly groups?: readonly string[] };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly apiGroup?: string;
  };
  readonly responseStatus?: { readonly code: number; readonly reason?: string };
  readonly requestObject?: unknown;
  readonly responseObject?: unknown;
  readonly requestReceivedTimestamp: string;
  readonly stageTimestamp: string;
}

export interface ControlPlane extends AsyncDisposable {
  /** `https://127.0.0.1:<port>`; stays the same over {@link startApiServer}. */
  readonly server: string;
  /** A kubeconfig of a cluster administrator (client certificate, group system:masters). */
  readonly kubeconfigPath: string;
  /** The authority that signed the server's certificate, PEM. */
  readonly ca: string;
  /** A bearer token of the same administrator. */
  readonly adminToken: string;
  /** Removed by {@link stop}. For files of the test that should go with it. */
  readonly directory: string;
  /** Absent unless asked for. */
  readonly auditLogPath?: string;
  /** The audit log so far, ResponseComplete events and watches at ResponseStarted. Empty unless auditing was asked for. */
  auditEvents(): Promise<readonly AuditEvent[]>;
  /** A kubeconfig for this user and groups, by client certificate. What they may do is up to RBAC objects. */
  kubeconfigFor(user: string, groups?: readonly string[]): Promise<string>;
  /** Runs kubectl as the administrator. A failure is a value. `input` goes to `-f -`. */
  kubectl(...args: readonly string[]): Promise<CommandResult>;
  /** `kubectl apply --server-side -f -` of these objects; throws with the server's words when it refuses. */
  apply(...objects: readonly object[]): Promise<void>;
  /** A request as the administrator, for what kubectl cannot say. Returns status code and parsed body. */
  request(method: string, path: string, body?: unknown, contentType?: string): Promise<RawAnswer>;
  /** Sends the API server a signal and waits for its end: SIGKILL cuts every connection, SIGTERM ends politely. */
  killApiServer(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts the API server again after {@link killApiServer}, on the same port and data, and waits until it is ready. */
  startApiServer(): Promise<void>;
  /** Stops everything and removes all files. Safe to call twice. */
  stop(): Promise<void>;
}

export interface RawAnswer {
  readonly status: number;
  // The answer is whatever the server says; a test reads the field it asks about.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}

const METADATA_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
};

const ADMIN: Subject = { user: 'admin', groups: ['system:masters'] };
const READY_MS = 90_000;

/** Starts an API server of its own for one test file, ready in a few seconds. Many can run side by side. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const tools = await ensureTools([
    ...(['openssl', 'etcd', 'kube-apiserver', 'kubectl'] as const),
    ...(options.controllerManager ? (['kube-controller-manager'] as const) : []),
  ] as const);
  const controlPlane = new LocalControlPlane(options, tools);
  try {
    await controlPlane.start();
    return controlPlane;
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

// Directories of control planes that are running, so that an exit without stop() leaves no files either.
const directories = new Set<string>();
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

class LocalControlPlane implements ControlPlane {
  readonly directory = mkdtempSync(join(tmpdir(), 'slipway-control-plane-'));
  readonly adminToken = randomBytes(24).toString('hex');
  readonly kubeconfigPath = join(this.directory, 'admin.kubeconfig');
  readonly auditLogPath?: string;
  readonly #options: ControlPlaneOptions;
  readonly #tools: Readonly<Partial<Record<string, string>>>;
  readonly #users = new Map<string, Promise<string>>();
  #authority: CertificateAuthority | undefined;
  #serviceAccountKey: Awaited<ReturnType<typeof createSigningKey>> | undefined;
  #serverCertificate: KeyPair | undefined;
  #port = 0;
  #etcd: RunningProcess | undefined;
  #apiServer: RunningProcess | undefined;
  #controllerManager: RunningProcess | undefined;
  #agent: Agent | undefined;

  constructor(options: ControlPlaneOptions, tools: Readonly<Partial<Record<string, string>>>) {
    directories.add(this.directory);
    this.#options = options;
    this.#tools = tools;
    if (options.audit || options.auditPolicy) this.auditLogPath = join(this.directory, 'audit.log');
  }

  get server(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get ca(): string {
    return this.#must(this.#authority).certificate;
  }

  async start(): Promise<void> {
    const etcdStarts = this.#startEtcd();
    await Promise.all([this.#writeCredentials(), etcdStarts]);
    // Another process may take the port between the choice and the start.
    for (let attempt = 1; ; attempt += 1) {
      this.#port = await freePort();
      try {
        await this.startApiServer();
        break;
      } catch (error) {
        const log = this.#apiServer?.logTail(200) ?? '';
        if (attempt === 5 || !log.includes('address already in use')) throw error;
      }
    }
    await this.#writeKubeconfig(this.kubeconfigPath, ADMIN);
    await waitFor('the default namespace exists', async () => {
      const { status } = await this.request('GET', '/api/v1/namespaces/default');
      return status === 200;
    });
    if (this.#options.controllerManager) await this.#startControllerManager();
  }

  async startApiServer(): Promise<void> {
    if (this.#apiServer?.isRunning()) throw new Error('The API server is running already');
    const server = await startProcess({
      name: 'kube-apiserver',
      command: this.#must(this.#tools['kube-apiserver']),
      args: this.#apiServerFlags(),
      logPath: join(this.directory, 'kube-apiserver.log'),
      cwd: this.directory,
    });
    this.#apiServer = server;
    await this.#untilReady(server, () => this.request('GET', '/readyz'));
  }

  async killApiServer(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const server = this.#must(this.#apiServer);
    server.kill(signal);
    await server.ended;
  }

  async auditEvents(): Promise<readonly AuditEvent[]> {
    if (this.auditLogPath === undefined) return [];
    const text = await readFile(this.auditLogPath, 'utf8').catch(() => '');
    // The last line may still be being written.
    const complete = text.slice(0, text.lastIndexOf('\n') + 1);
    return complete
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as AuditEvent);
  }

  kubeconfigFor(user: string, groups: readonly string[] = []): Promise<string> {
    const key = JSON.stringify([user, groups]);
    const known = this.#users.get(key);
    if (known) return known;
    const path = join(this.directory, `user-${this.#users.size}.kubeconfig`);
    const written = this.#writeKubeconfig(path, { user, groups }).then(() => path);
    this.#users.set(key, written);
    return written;
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

  async request(method: string, path: string, body?: unknown, contentType = 'application/json'): Promise<RawAnswer> {
    this.#agent ??= new Agent({ connect: { ca: this.ca } });
    const answer = await request(`${this.server}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: {
        authorization: `Bearer ${this.adminToken}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': contentType }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headersTimeout: 10_000,
    });
    const text = await answer.body.text();
    const isJson = String(answer.headers['content-type']).includes('json');
    return { status: answer.statusCode, body: isJson && text !== '' ? (JSON.parse(text) as unknown) : text };
  }

  async stop(): Promise<void> {
    // All of it is about to be thrown away: nothing needs a polite end, and the API server would take seconds for it.
    for (const running of [this.#controllerManager, this.#apiServer, this.#etcd]) {
      if (!running?.isRunning()) continue;
      running.kill('SIGKILL');
      await running.ended;
    }
    await this.#agent?.destroy();
    this.#agent = undefined;
    rmSync(this.directory, { recursive: true, force: true });
    directories.delete(this.directory);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #startEtcd(): Promise<void> {
    const socket = join(this.directory, 'etcd.sock');
    // The advertised addresses are never dialled: there is one member and one client, and it knows the socket.
    const nowhere = 'http://127.0.0.1:1';
    this.#etcd = await startProcess({
      name: 'etcd',
      command: this.#must(this.#tools['etcd']),
      args: [
        '--name=test',
        `--data-dir=${join(this.directory, 'etcd')}`,
        `--listen-client-urls=unix://${socket}`,
        `--advertise-client-urls=${nowhere}`,
        `--listen-peer-urls=unix://${join(this.directory, 'etcd-peer.sock')}`,
        `--initial-advertise-peer-urls=${nowhere}`,
        `--initial-cluster=test=${nowhere}`,
        // A lone member elects itself; the default makes it wait a second for others.
        '--heartbeat-interval=10',
        '--election-timeout=100',
        '--unsafe-no-fsync',
        '--logger=zap',
        '--log-level=warn',
      ],
      logPath: join(this.directory, 'etcd.log'),
      cwd: this.directory,
    });
  }

  async #writeCredentials(): Promise<void> {
    const directory = join(this.directory, 'pki');
    const [authority, serviceAccountKey] = await Promise.all([
      createAuthority(directory, 'ca'),
      mkdir(directory, { recursive: true }).then(() => createSigningKey(directory, 'service-account')),
    ]);
    this.#authority = authority;
    this.#serviceAccountKey = serviceAccountKey;
    this.#serverCertificate = await authority.issueServer('kube-apiserver', [
      '127.0.0.1',
      '10.96.0.1',
      'localhost',
      'kubernetes.default.svc',
    ]);
    await writeFile(join(this.directory, 'tokens.csv'), `${this.adminToken},admin,admin,"system:masters"\n`);
    if (this.auditLogPath !== undefined) {
      const policy = this.#options.auditPolicy ?? METADATA_POLICY;
      await writeFile(join(this.directory, 'audit-policy.yaml'), YAML.stringify(policy, { version: '1.1' }));
    }
  }

  #apiServerFlags(): readonly string[] {
    const authority = this.#must(this.#authority);
    const certificate = this.#must(this.#serverCertificate);
    const serviceAccountKey = this.#must(this.#serviceAccountKey);
    const { controllerManager = false, admissionPlugins = [], extraApiServerFlags = [] } = this.#options;
    return [
      `--etcd-servers=unix://${join(this.directory, 'etcd.sock')}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${this.#port}`,
      `--tls-cert-file=${certificate.certPath}`,
      `--tls-private-key-file=${certificate.keyPath}`,
      `--client-ca-file=${authority.certPath}`,
      `--token-auth-file=${join(this.directory, 'tokens.csv')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${serviceAccountKey.publicPath}`,
      `--service-account-signing-key-file=${serviceAccountKey.privatePath}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      // The reconciler refuses loopback addresses, and nobody reaches this server through its Service.
      '--endpoint-reconciler-type=none',
      '--authorization-mode=Node,RBAC',
      '--profiling=false',
      ...(controllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
      ...(admissionPlugins.length > 0 ? [`--enable-admission-plugins=${admissionPlugins.join(',')}`] : []),
      ...(this.auditLogPath === undefined
        ? []
        : [
            `--audit-log-path=${this.auditLogPath}`,
            `--audit-policy-file=${join(this.directory, 'audit-policy.yaml')}`,
            '--audit-log-mode=blocking',
            '--audit-log-maxsize=1024',
          ]),
      ...extraApiServerFlags,
    ];
  }

  async #startControllerManager(): Promise<void> {
    const authority = this.#must(this.#authority);
    const kubeconfig = join(this.directory, 'controller-manager.kubeconfig');
    await this.#writeKubeconfig(kubeconfig, { user: 'system:kube-controller-manager' });
    this.#controllerManager = await startProcess({
      name: 'kube-controller-manager',
      command: this.#must(this.#tools['kube-controller-manager']),
      args: [
        `--kubeconfig=${kubeconfig}`,
        `--service-account-private-key-file=${this.#must(this.#serviceAccountKey).privatePath}`,
        `--root-ca-file=${authority.certPath}`,
        '--use-service-account-credentials',
        '--leader-elect=false',
        '--secure-port=0',
        // The defaults of 20 and 30 make a test of many Deployments wait for the client's own limit.
        '--kube-api-qps=500',
        '--kube-api-burst=1000',
      ],
      logPath: join(this.directory, 'kube-controller-manager.log'),
      cwd: this.directory,
    });
    await this.#untilReady(this.#controllerManager, () =>
      this.request('GET', '/api/v1/namespaces/default/serviceaccounts/default'),
    );
  }

  async #untilReady(running: RunningProcess, probe: () => Promise<RawAnswer>): Promise<void> {
    await waitFor(
      `${running.name} is ready`,
      async () => {
        if (!running.isRunning()) throw new GiveUp(`${running.name} ended before it was ready:\n${running.logTail()}`);
        const { status, body } = await probe();
        if (status !== 200) throw new Error(`${status} ${JSON.stringify(body).slice(0, 500)}`);
        return true;
      },
      { timeoutMs: READY_MS },
    );
  }

  async #writeKubeconfig(path: string, subject: Subject): Promise<void> {
    const name = `client-${path.slice(path.lastIndexOf('/') + 1)}`;
    const pair = await this.#must(this.#authority).issueClient(name, subject);
    await writeFile(path, await kubeconfigText(this.server, this.ca, pair), { mode: 0o600 });
  }

  #kubectl(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const env = { KUBECONFIG: this.kubeconfigPath, HOME: this.directory };
    return runCommand([this.#must(this.#tools['kubectl']), ...args], { ...options, env });
  }

  #must<T>(value: T | undefined): T {
    if (value === undefined) throw new Error('The control plane has not been started');
    return value;
  }
}

/** The text of a kubeconfig that logs in to `server` with this client certificate, everything inline. */
export async function kubeconfigText(server: string, ca: string, pair: KeyPair): Promise<string> {
  const base64 = async (path: string): Promise<string> => (await readFile(path)).toString('base64');
  return YAML.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [
      {
        name: 'test',
        user: {
          'client-certificate-data': await base64(pair.certPath),
          'client-key-data': await base64(pair.keyPath),
        },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  });
}
