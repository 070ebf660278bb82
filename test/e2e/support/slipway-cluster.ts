// A node cluster on which Slipway runs as users run it: the image of the Dockerfile, installed by the chart, two replicas
// that elect a leader. Nothing plays a part of Kubernetes here, and the audit log is the witness of every write.

import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { findCondition } from '../../../operator/api/conditions.ts';
import type { WorkloadKind } from '../../../operator/api/image-policy.ts';
import type { ImagePolicy, ImageRollout } from '../../../operator/api/kinds.ts';
import type { KubeObject } from '../../../operator/api/object.ts';
import { buildOperatorImage } from '../../../scripts/image/operator-image.ts';
import { startCluster, type Cluster } from '../../cluster/cluster.ts';
import { ensureTools } from '../../cluster/tools.ts';
import { CHART, helm, setFlags } from '../../support/chart.ts';
import type { AuditEvent } from '../../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY, type Violation } from '../../support/monitor/monitor.ts';
import type { ImageOptions } from '../../support/registries-image.ts';
import { waitFor } from '../../support/wait.ts';

/** The first start on a machine builds every program and the image. */
export const STARTS_WITHIN_MS = 1_800_000;
/** Namespace of the operator. */
export const SYSTEM = 'slipway-system';
/** Namespace of the workloads; like the operator's it enforces the restricted Pod Security standard. */
export const SHOP = 'shop';

const LEASE = 'slipway-operator';
const ACCOUNT = `system:serviceaccount:${SYSTEM}:slipway`;
const PULL_SECRETS = [{ name: 'registry-login' }];
const WITHIN = { timeoutMs: 90_000, intervalMs: 200 };
const WRITES = ['create', 'update', 'patch', 'delete', 'deletecollection'];

export interface Pod extends KubeObject {
  readonly status?: {
    readonly phase?: string;
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly imageID: string;
  readonly ready: boolean;
  readonly restartCount: number;
}

/** A request of one of the operator's replicas that writes something, as the API server saw it. */
export interface Write {
  readonly verb: string;
  /** `deployments`, `imagepolicies/status` */
  readonly resource: string;
  readonly name: string;
  readonly code: number;
  /** Of the replica that asked. */
  readonly pod: string;
  /** When the request came in and when it was answered, in milliseconds since the epoch. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Images that a patch sets, in its order. */
  readonly images: readonly string[];
}

export interface WorkloadOptions {
  readonly kind?: WorkloadKind;
  /** By container name. */
  readonly containers: Readonly<Record<string, ContainerOptions>>;
  readonly initContainers?: Readonly<Record<string, ContainerOptions>>;
  /** Merged into the workload's spec. */
  readonly spec?: object;
}

export interface ContainerOptions {
  readonly image: string;
  /** Default: the image's own, a web server. With a command there is no readiness probe. */
  readonly command?: readonly string[];
  /** false: a program that ends, without a readiness probe. Default: true. */
  readonly isServer?: boolean;
  /** CPU request. Default: none. */
  readonly cpu?: string;
}

export class SlipwayCluster implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #busybox: Buffer;

  private constructor(cluster: Cluster, busybox: Buffer) {
    this.cluster = cluster;
    this.#busybox = busybox;
  }

  /** A cluster with its two namespaces and pull secrets, and without Slipway. */
  static async start(): Promise<SlipwayCluster> {
    const busybox = await readFile((await ensureTools(['busybox'])).busybox);
    const cluster = await startCluster({ auditPolicy: MONITOR_AUDIT_POLICY });
    const login = { '.dockerconfigjson': cluster.registry.dockerConfigJson() };
    const world = new SlipwayCluster(cluster, busybox);
    try {
      for (const name of [SYSTEM, SHOP]) {
        await cluster.apply(
          {
            apiVersion: 'v1',
            kind: 'Namespace',
            metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
          },
          {
            apiVersion: 'v1',
            kind: 'Secret',
            metadata: { name: 'registry-login', namespace: name },
            type: 'kubernetes.io/dockerconfigjson',
            stringData: login,
          },
        );
      }
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  /** Builds and pushes the image and installs the chart; returns when two replicas are ready. */
  async install(values: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const { host, url, username, password } = this.cluster.registry;
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
    const flags = setFlags({
      'image.repository': `${host}/slipway/operator`,
      'image.digest': digest,
      imagePullSecrets: PULL_SECRETS,
      'config.registries': { [host]: { allowPrivate: true, insecure: true } },
      ...values,
    });
    const install = ['install', 'slipway', CHART, '--namespace', SYSTEM, '--wait', '--timeout=120s', ...flags];
    const { code, stderr } = await helm(install, this.cluster.kubeconfigPath);
    if (code !== 0) throw new Error(`helm install: ${stderr.trim()}\n${await this.operatorLog()}`);
  }

  /** The repository as manifests name it. */
  image(name: string): string {
    return `${this.cluster.registry.host}/acme/${name}`;
  }

  /** Pushes a small web server with one page, or with `script` a program that runs it. Returns the digest. */
  push(name: string, tag: string, script?: string, page = `${name} ${tag}\n`): Promise<string> {
    const shell = ['/bin/busybox', 'sh', '-c', script ?? ''];
    const server = ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'];
    const image: ImageOptions = {
      layers: [
        [{ path: 'bin/busybox', content: this.#busybox, mode: 0o755 }],
        [{ path: 'www/index.html', content: page }],
      ],
      config: { Entrypoint: script === undefined ? server : shell, User: '1000:1000' },
    };
    return this.cluster.pushImage(`acme/${name}`, tag, image);
  }

  /** Creates workloads by name, as their owner would. */
  async deploy(workloads: Readonly<Record<string, WorkloadOptions>>, namespace = SHOP): Promise<void> {
    await this.cluster.apply(...Object.entries(workloads).map(([name, options]) => workload(name, options, namespace)));
  }

  /** Starts a run of a CronJob, as people do who do not wait for its time. */
  async runNow(cronJob: string, suffix = 'now'): Promise<void> {
    const create = ['-n', SHOP, 'create', 'job', `${cronJob}-${suffix}`, `--from=cronjob/${cronJob}`];
    const { code, stderr } = await this.cluster.kubectl(...create);
    if (code !== 0) throw new Error(stderr.trim());
  }

  /**
   * Creates policies by name; each follows 1.x, asking every 15 seconds, and its rollouts do not soak, unless its spec says
   * otherwise.
   */
  async follow(
    specs: Readonly<Record<string, { readonly rollout?: object; readonly [field: string]: unknown }>>,
    namespace = SHOP,
  ): Promise<void> {
    await this.cluster.apply(
      ...Object.entries(specs).map(([name, { rollout, ...spec }]) => ({
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImagePolicy',
        metadata: { name, namespace },
        spec: {
          interval: '15s',
          rollout: { soak: '0s', ...rollout },
          registry: { imagePullSecrets: PULL_SECRETS },
          tags: { semver: { range: '1.x' } },
          ...spec,
        },
      })),
    );
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.cluster.kubectl('get', ...args, '-o', 'json');
    if (code !== 0) throw new Error(stderr.trim());
    return JSON.parse(stdout) as T;
  }

  policy(name: string): Promise<ImagePolicy> {
    return this.get('-n', SHOP, 'imagepolicies.slipway.dev', name);
  }

  async rollouts(policy: string, namespace = SHOP): Promise<ImageRollout[]> {
    const { items } = await this.get<{ items: ImageRollout[] }>('-n', namespace, 'imagerollouts.slipway.dev');
    return items.filter(({ spec }) => spec.policy.name === policy);
  }

  /** Pods of a workload that are not being deleted. */
  async pods(name: string): Promise<Pod[]> {
    const { items } = await this.get<{ items: Pod[] }>('-n', SHOP, 'pods', '-l', `app=${name}`);
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  /** Waits until Ready of the policy has this reason. */
  async settled(name: string, reason: string): Promise<ImagePolicy> {
    return this.until(`policy ${name} is ${reason}`, async () => {
      const policy = await this.policy(name);
      return findCondition(policy.status?.conditions, 'Ready')?.reason === reason ? policy : undefined;
    });
  }

  /** Waits until the policy's rollout of this tag is in one of these states. */
  async rollout(policy: string, tag: string, ...states: readonly string[]): Promise<ImageRollout> {
    return this.until(`the rollout of ${policy}:${tag} is ${states.join(' or ')}`, async () => {
      const found = (await this.rollouts(policy)).find(({ spec }) => spec.images[0]?.tag === tag);
      return found !== undefined && states.includes(found.status?.state ?? '') ? found : undefined;
    });
  }

  /** Waits, and when it is in vain, says how policies and rollouts are and what the operator logged. */
  async until<T>(what: string, probe: () => T | Promise<T>): Promise<Exclude<T, false | 0 | '' | null | undefined>> {
    try {
      return await waitFor(what, probe, WITHIN);
    } catch (error) {
      const { stdout } = await this.cluster.kubectl('-n', SHOP, 'get', 'slpol,slroll', '-o', 'wide');
      throw new Error(`${(error as Error).message}\n${stdout}\n${await this.operatorLog()}`, { cause: error });
    }
  }

  async operatorPods(): Promise<Pod[]> {
    const { items } = await this.get<{ items: Pod[] }>('-n', SYSTEM, 'pods', '-l', 'app.kubernetes.io/name=slipway');
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  /** Who holds the Lease: `<pod>_<random>`; absent when nobody does. */
  async holder(): Promise<string | undefined> {
    const { spec } = await this.get<{ spec?: { holderIdentity?: string } }>('-n', SYSTEM, 'lease', LEASE);
    return spec?.holderIdentity === '' ? undefined : spec?.holderIdentity;
  }

  /** Waits until some replica other than `previous` leads. */
  async leader(previous?: string): Promise<{ readonly holder: string; readonly pod: Pod }> {
    return this.until(`a replica${previous === undefined ? '' : ` other than ${previous}`} leads`, async () => {
      const holder = await this.holder();
      if (holder === undefined || holder === previous) return undefined;
      const pod = (await this.operatorPods()).find(({ metadata }) => metadata.name === holder.split('_')[0]);
      return pod === undefined ? undefined : { holder, pod };
    });
  }

  /** What the operator wrote or tried to write so far, the Lease apart, oldest first. */
  async writes(): Promise<Write[]> {
    return toWrites(await this.#auditEvents());
  }

  /** Writes of exactly this image to workloads that the API server took. */
  async imageWrites(image: string): Promise<Write[]> {
    return (await this.writes()).filter(({ images, code }) => code < 300 && images.includes(image));
  }

  /** What the monitor finds in everything that has happened; failures are expected to have come to their end. */
  async violations(): Promise<Violation[]> {
    const { registry } = this.cluster;
    const { host, password } = registry;
    const events = (await this.#auditLines()).map((line) => JSON.parse(line) as AuditEvent);
    return findViolations(events, { secrets: [password], registry: { host, requests: await registry.requests() } });
  }

  async operatorLog(): Promise<string> {
    const { stdout } = await this.cluster.kubectl(
      ...['-n', SYSTEM, 'logs', '-l', 'app.kubernetes.io/name=slipway', '--tail=40', '--prefix'],
    );
    return stdout;
  }

  stop(): Promise<void> {
    return this.cluster.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #auditEvents(): Promise<AuditEvent[]> {
    // Most lines are others'.
    return (await this.#auditLines())
      .filter((line) => line.includes(`"username":"${ACCOUNT}"`))
      .map((line) => JSON.parse(line) as AuditEvent)
      .filter(({ user }) => user.username === ACCOUNT);
  }

  async #auditLines(): Promise<string[]> {
    const text = await readFile(this.cluster.auditLogPath, 'utf8');
    // The last line may still be being written.
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter(Boolean);
  }
}

/** The process of a pod that runs this program, as the machine numbers it. */
export function processOf(pod: Pod, program: string): number {
  const { uid } = pod.metadata;
  const found = readdirSync('/proc').filter((entry) => {
    if (!/^[0-9]+$/.test(entry)) return false;
    try {
      return (
        readFileSync(`/proc/${entry}/cgroup`, 'utf8').includes(`pod${uid}`) &&
        readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(program)
      );
    } catch {
      return false; // It has ended meanwhile.
    }
  });
  const [pid] = found;
  if (pid === undefined || found.length > 1) throw new Error(`${found.length} processes of pod ${pod.metadata.name}`);
  return Number(pid);
}

interface JsonPatchOperation {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

function toWrites(events: readonly AuditEvent[]): Write[] {
  return events
    .filter(({ verb, objectRef }) => WRITES.includes(verb) && objectRef?.resource !== 'leases')
    .map(({ verb, objectRef, responseStatus, user, requestObject, ...event }) => {
      const { extra } = user as { extra?: Readonly<Record<string, readonly string[]>> };
      const operations = Array.isArray(requestObject) ? (requestObject as JsonPatchOperation[]) : [];
      return {
        verb,
        resource: [objectRef?.resource, objectRef?.subresource].filter(Boolean).join('/'),
        name: objectRef?.name ?? '',
        code: responseStatus?.code ?? 0,
        pod: extra?.['authentication.kubernetes.io/pod-name']?.[0] ?? '',
        startedAtMs: Date.parse(event.requestReceivedTimestamp),
        endedAtMs: Date.parse(event.stageTimestamp),
        images: operations
          .filter(({ op, path }) => op === 'replace' && path.endsWith('/image'))
          .map(({ value }) => String(value)),
      };
    })
    .sort((one, other) => one.startedAtMs - other.startedAtMs);
}

/** As the restricted Pod Security standard wants it. */
export function podSpec({ containers, initContainers = {} }: Omit<WorkloadOptions, 'kind' | 'spec'>): object {
  return {
    imagePullSecrets: PULL_SECRETS,
    terminationGracePeriodSeconds: 1,
    initContainers: Object.entries(initContainers).map(toContainer),
    containers: Object.entries(containers).map(toContainer),
  };
}

function workload(name: string, options: WorkloadOptions, namespace: string): object {
  const { kind = 'Deployment', spec } = options;
  const template = {
    metadata: { labels: { app: name } },
    spec: { ...podSpec(options), ...(kind === 'CronJob' && { restartPolicy: 'Never' }) },
  };
  return {
    apiVersion: kind === 'CronJob' ? 'batch/v1' : 'apps/v1',
    kind,
    metadata: { name, namespace },
    spec:
      kind === 'CronJob'
        ? { schedule: '* * * * *', jobTemplate: { spec: { template } }, ...spec }
        : {
            selector: { matchLabels: { app: name } },
            template,
            ...(kind === 'StatefulSet' && { serviceName: name }),
            ...spec,
          },
  };
}

function toContainer([name, { image, command, isServer = true, cpu }]: readonly [string, ContainerOptions]): object {
  return {
    name,
    image,
    ...(command !== undefined && { command }),
    ...(command === undefined &&
      isServer && { readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } }),
    ...(cpu !== undefined && { resources: { requests: { cpu } } }),
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: {
      allowPrivilegeEscalation: false,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
}
