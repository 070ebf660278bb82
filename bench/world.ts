// The world of the benchmark: a real API server that writes an audit log of the operator's requests, a counting registry,
// and the operator as it ships, each a process of its own. Nothing runs pods: who changes a Deployment's status is us.

import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import YAML from 'yaml';
import { type AuditEvent, type ControlPlane, startControlPlane } from '../test/support/control-plane.ts';
import { installCrds } from '../test/support/operator.ts';
import { mustRun, type RunningProcess, startProcess } from '../test/support/processes.ts';
import { GiveUp, waitFor } from '../test/support/wait.ts';
import { isWrite } from './api-requests.ts';
import type { RegistryCounts, Sighting } from './registry-counts.ts';

const ROOT = join(import.meta.dirname, '..');
const BUNDLE = join(ROOT, 'dist/operator.mjs');
/** As in the Dockerfile. */
const NODE_FLAGS = ['--max-semi-space-size=4', '--max-old-space-size=256'];
const OPERATOR_USER = 'slipway-bench';
const NAMESPACE = 'bench';
/** The shortest that a policy may say. */
export const INTERVAL_MS = 15_000;
/** Objects created at the same time. */
const CREATORS = 24;

/** Only what the operator asks is of interest, and no bodies. */
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', users: [OPERATOR_USER] }, { level: 'None' }],
};

export interface WorldOptions {
  readonly repositories: number;
  readonly tags: number;
  /** The operator writes a CPU profile into this directory when it ends. */
  readonly profileDirectory?: string;
  /** For the operator's Node, in addition to those of the Dockerfile. */
  readonly nodeFlags?: readonly string[];
}

export class World implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly operator: RunningProcess;
  readonly #registryUrl: string;
  readonly #metricsUrl: string;
  readonly #parts: readonly { stop(): Promise<void> }[];

  readonly #audit: AuditEvent[] = [];
  #auditRead = 0;

  private constructor(
    controlPlane: ControlPlane,
    operator: RunningProcess,
    registryUrl: string,
    metricsUrl: string,
    parts: readonly { stop(): Promise<void> }[],
  ) {
    this.controlPlane = controlPlane;
    this.operator = operator;
    this.#registryUrl = registryUrl;
    this.#metricsUrl = metricsUrl;
    this.#parts = parts;
  }

  static async start({ repositories, tags, profileDirectory, nodeFlags = [] }: WorldOptions): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
    const parts: { stop(): Promise<void> }[] = [{ stop: () => rm(directory, { recursive: true, force: true }) }];
    try {
      await buildIfStale();
      const controlPlane = await startControlPlane({ auditPolicy: AUDIT_POLICY });
      parts.unshift(controlPlane);
      const registry = await startProcess({
        name: 'counting-registry',
        command: process.execPath,
        args: [join(import.meta.dirname, 'counting-registry.ts'), `--repositories=${repositories}`, `--tags=${tags}`],
        logPath: join(directory, 'registry.log'),
      });
      parts.unshift(registry);
      await installCrds(controlPlane);
      await controlPlane.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } });
      const port = await fromLog(registry, /^([0-9]+)$/m);

      const configPath = join(directory, 'config.yaml');
      await writeFile(
        configPath,
        YAML.stringify({
          server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 },
          registries: { [`127.0.0.1:${port}`]: { insecure: true, requestsPerSecond: 1_000 } },
        }),
      );
      const kubeconfig = await controlPlane.kubeconfigFor(OPERATOR_USER, ['system:masters']);
      const operator = await startProcess({
        name: 'operator',
        command: process.execPath,
        args: [
          ...NODE_FLAGS,
          ...nodeFlags,
          ...(profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`]),
          BUNDLE,
          `--config=${configPath}`,
          `--kubeconfig=${kubeconfig}`,
        ],
        env: { POD_NAMESPACE: 'default', POD_NAME: 'slipway-bench', MALLOC_ARENA_MAX: '1' },
        logPath: join(directory, 'operator.log'),
      });
      parts.unshift({ stop: () => operator.stop(20_000) });
      const metricsPort = await fromLog(operator, /"metricsPort":([0-9]+)/);
      const world = new World(
        controlPlane,
        operator,
        `http://127.0.0.1:${port}`,
        `http://127.0.0.1:${metricsPort}/metrics`,
        parts,
      );
      await waitFor('the operator leads', async () => (await world.#metrics()).includes('slipway_leader 1'));
      return world;
    } catch (error) {
      for (const part of parts) await part.stop();
      throw error;
    }
  }

  get apiPort(): number {
    return Number(new URL(this.controlPlane.server).port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#parts) await part.stop();
  }

  /** A Deployment per repository that runs its newest version, and a policy that moves it. */
  async createWorkloads(repositories: number, firstHealthy: number): Promise<void> {
    const names = Array.from({ length: repositories }, (_, index) => appName(index));
    await inParallel(names, async (name) => {
      const { tag, digest } = (await this.#askRegistry(`newest?repository=bench/${name}`)) as Record<string, string>;
      const object = this.#deployment(name, `${this.#imageOf(name)}:${tag}@${digest}`);
      await this.#create('/apis/apps/v1', 'deployments', object);
    });
    await inParallel(names.slice(0, firstHealthy), (name) => this.becomeHealthy(name));
    await inParallel(names, (name) => this.#createPolicy(name, name, { targets: [{ kind: 'Deployment', name }] }));
  }

  /** Further policies of the same repositories, which only select. */
  async createObservers(repositories: number, perRepository: number): Promise<void> {
    const pairs = Array.from({ length: repositories * perRepository }, (_, index) => ({
      app: appName(index % repositories),
      number: 2 + Math.floor(index / repositories),
    }));
    await inParallel(pairs, ({ app, number }) => this.#createPolicy(`${app}-p${number}`, app, {}));
  }

  /** What a Deployment's controller writes once every pod is up. */
  async becomeHealthy(name: string): Promise<void> {
    const path = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${name}`;
    const { body } = await this.controlPlane.request('GET', path);
    const status = {
      observedGeneration: body.metadata.generation as number,
      replicas: 1,
      updatedReplicas: 1,
      availableReplicas: 1,
      readyReplicas: 1,
    };
    await this.#request('PATCH', `${path}/status`, { status }, 'application/merge-patch+json');
  }

  /** Waits until this many policies are Ready. */
  async untilReady(policies: number, timeoutMs: number): Promise<void> {
    const probe = async (): Promise<boolean> => {
      if (!this.operator.isRunning()) throw new GiveUp(`The operator has ended:\n${this.operator.logTail()}`);
      const counts = (await this.#metrics()).matchAll(/^slipway_policies\{ready="True",[^}]*\} ([0-9]+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0) === policies;
    };
    await waitFor(`${policies} policies are ready`, probe, { timeoutMs, intervalMs: 250 });
  }

  /** Waits until the operator has written nothing for this long. */
  async untilQuiet(quietMs: number): Promise<void> {
    let writes = -1;
    let sinceMs = performance.now();
    await waitFor(
      'the operator is quiet',
      async () => {
        const now = (await this.requests()).filter(isWrite).length;
        if (now !== writes) {
          writes = now;
          sinceMs = performance.now();
        }
        return performance.now() - sinceMs >= quietMs;
      },
      { timeoutMs: 10 * quietMs + 60_000, intervalMs: 1_000 },
    );
  }

  counts(): Promise<RegistryCounts> {
    return this.#askRegistry('counts') as Promise<RegistryCounts>;
  }

  /** Pushes the next version of the repository. */
  push(index: number): Promise<Sighting> {
    return this.#askRegistry(`push?repository=bench/${appName(index)}`) as Promise<Sighting>;
  }

  async setMode(mode: Readonly<Partial<Record<'token' | 'gzip' | 'etag', boolean>>>): Promise<void> {
    const query = Object.entries(mode).map(([name, value]) => `${name}=${value}`);
    await this.#askRegistry(`mode?${query.join('&')}`);
  }

  /** Every request of the operator that has been answered so far. Reads only what is new: the log grows long. */
  async requests(): Promise<readonly AuditEvent[]> {
    const path = this.controlPlane.auditLogPath ?? '';
    const file = await open(path);
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size - this.#auditRead), {
        position: this.#auditRead,
      });
      // The last line may still be being written.
      const complete = buffer.subarray(0, buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1);
      this.#auditRead += complete.length;
      for (const line of complete.toString('utf8').split('\n')) {
        if (line !== '') this.#audit.push(JSON.parse(line) as AuditEvent);
      }
    } finally {
      await file.close();
    }
    return this.#audit;
  }

  async #metrics(): Promise<string> {
    return (await fetch(this.#metricsUrl)).text();
  }

  async #askRegistry(path: string): Promise<unknown> {
    const answer = await fetch(`${this.#registryUrl}/bench/${path}`);
    if (!answer.ok) throw new Error(`Asking the registry for ${path}: ${answer.status}`);
    return answer.json();
  }

  #deployment(name: string, image: string): object {
    const template = { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'app', image }] } };
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { replicas: 1, selector: { matchLabels: { app: name } }, template },
    };
  }

  #createPolicy(name: string, app: string, rest: object): Promise<void> {
    return this.#create('/apis/slipway.dev/v1alpha1', 'imagepolicies', {
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImagePolicy',
      metadata: { name },
      spec: {
        image: this.#imageOf(app),
        interval: `${INTERVAL_MS / 1_000}s`,
        tags: { semver: { range: '1.x' }, platforms: ['linux/amd64'] },
        ...rest,
      },
    });
  }

  #imageOf(app: string): string {
    return `${new URL(this.#registryUrl).host}/bench/${app}`;
  }

  #create(group: string, plural: string, object: object): Promise<void> {
    return this.#request('POST', `${group}/namespaces/${NAMESPACE}/${plural}`, object);
  }

  async #request(method: string, path: string, body: object, contentType?: string): Promise<void> {
    const answer = await this.controlPlane.request(method, path, body, contentType);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
}

/** Also the name of the Deployment and of the policy that moves it. */
export function appName(index: number): string {
  return `app-${String(index).padStart(5, '0')}`;
}

/** The bundle that is measured is the one of these sources. */
async function buildIfStale(): Promise<void> {
  const builtMs = existsSync(BUNDLE) ? statSync(BUNDLE).mtimeMs : 0;
  const sources = globSync('operator/**/*.ts', { cwd: ROOT });
  if (sources.every((path) => statSync(join(ROOT, path)).mtimeMs < builtMs)) return;
  await mustRun([process.execPath, join(ROOT, 'esbuild.mjs')], { cwd: ROOT });
}

function fromLog(running: RunningProcess, pattern: RegExp): Promise<string> {
  return waitFor(`${running.name} says its port`, () => {
    if (!running.isRunning()) throw new GiveUp(`${running.name} has ended:\n${running.logTail()}`);
    return pattern.exec(readFileSync(running.logPath, 'utf8'))?.[1];
  });
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: CREATORS }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}
