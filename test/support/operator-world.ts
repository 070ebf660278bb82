// A real API server and a real registry for tests of the whole operator. Nobody runs workloads here: the test plays the
// controllers by writing workload status, so it decides what becomes healthy and when.

import { findCondition } from '../../operator/api/conditions.ts';
import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import type { Condition } from '../../operator/api/schema.ts';
import type { AuditEvent, ControlPlane } from './control-plane.ts';
import type { TestRegistry } from './registries.ts';
import { waitFor } from './wait.ts';

export type Kind = 'Deployment' | 'StatefulSet' | 'DaemonSet' | 'CronJob';

const PATHS: Readonly<Record<Kind, string>> = {
  Deployment: '/apis/apps/v1',
  StatefulSet: '/apis/apps/v1',
  DaemonSet: '/apis/apps/v1',
  CronJob: '/apis/batch/v1',
};

export interface WorkloadOptions {
  readonly kind?: Kind;
  readonly containers: Readonly<Record<string, string>>;
  readonly initContainers?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: object;
}

/** One namespace and everything a test does in it. */
export class Shop {
  readonly namespace: string;
  readonly #controlPlane: ControlPlane;

  constructor(controlPlane: ControlPlane, namespace: string) {
    this.#controlPlane = controlPlane;
    this.namespace = namespace;
  }

  static async open(controlPlane: ControlPlane, namespace: string): Promise<Shop> {
    await controlPlane.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    return new Shop(controlPlane, namespace);
  }

  /** Creates or changes a workload, as a user with kubectl would. */
  async deploy(name: string, options: WorkloadOptions): Promise<void> {
    const { kind = 'Deployment', containers, initContainers = {}, labels, annotations, spec } = options;
    const list = (of: Readonly<Record<string, string>>) =>
      Object.entries(of).map(([container, image]) => ({ name: container, image }));
    const template = {
      metadata: { labels: { app: name } },
      spec: {
        ...(kind === 'CronJob' && { restartPolicy: 'Never' }),
        initContainers: list(initContainers),
        containers: list(containers),
      },
    };
    await this.#controlPlane.apply({
      apiVersion: PATHS[kind].slice('/apis/'.length),
      kind,
      metadata: { name, namespace: this.namespace, ...(labels && { labels }), ...(annotations && { annotations }) },
      spec:
        kind === 'CronJob'
          ? { schedule: '0 0 1 1 *', jobTemplate: { spec: { template } }, ...spec }
          : {
              ...(kind !== 'DaemonSet' && { replicas: 1 }),
              ...(kind === 'StatefulSet' && { serviceName: name }),
              selector: { matchLabels: { app: name } },
              template,
              ...spec,
            },
    });
    await this.becomeHealthy(name, kind);
  }

  /** What the workload's controller writes once every pod is up. */
  async becomeHealthy(name: string, kind: Kind = 'Deployment'): Promise<void> {
    if (kind === 'CronJob') return;
    const { metadata, spec } = await this.workload(name, kind);
    const count = (spec.replicas as number | undefined) ?? 1;
    const observed = { observedGeneration: metadata.generation as number };
    const status =
      kind === 'DaemonSet'
        ? {
            ...observed,
            desiredNumberScheduled: 1,
            currentNumberScheduled: 1,
            updatedNumberScheduled: 1,
            numberAvailable: 1,
            numberReady: 1,
            numberMisscheduled: 0,
          }
        : { ...observed, replicas: count, updatedReplicas: count, availableReplicas: count, readyReplicas: count };
    await this.request('PATCH', `${this.path(kind, name)}/status`, { status }, 'application/merge-patch+json');
  }

  /** Everything in the namespace becomes healthy as soon as it was changed, until disposed. */
  playControllers(...workloads: readonly (readonly [string, Kind])[]): Disposable {
    let isOver = false;
    const play = async (): Promise<void> => {
      while (!isOver) {
        for (const [name, kind] of workloads) {
          const { metadata, status } = await this.workload(name, kind);
          if (metadata.generation !== status?.observedGeneration) await this.becomeHealthy(name, kind);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    play().catch(() => undefined);
    return {
      [Symbol.dispose]: () => {
        isOver = true;
      },
    };
  }

  /** A policy whose rollouts do not soak, unless it says otherwise. */
  async policy(name: string, spec: object): Promise<void> {
    const { rollout, ...rest } = spec as { readonly rollout?: object };
    await this.#controlPlane.apply({
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImagePolicy',
      metadata: { name, namespace: this.namespace },
      spec: { interval: '15s', ...rest, rollout: { soak: '0s', ...rollout } },
    });
  }

  async readPolicy(name: string): Promise<ImagePolicy> {
    return (await this.request('GET', `${this.api}/imagepolicies/${name}`)) as ImagePolicy;
  }

  async readRollouts(policy: string): Promise<ImageRollout[]> {
    const { items } = (await this.request('GET', `${this.api}/imagerollouts`)) as { items: ImageRollout[] };
    return items.filter(({ spec }) => spec.policy.name === policy);
  }

  /** Waits until Ready has this reason and the status speaks about the current spec; returns the whole policy. */
  async settled(name: string, reason: string, timeoutMs = 30_000): Promise<ImagePolicy> {
    let last: Condition | undefined;
    try {
      return await waitFor(
        `policy ${name} is ${reason}`,
        async () => {
          const policy = await this.readPolicy(name);
          last = findCondition(policy.status?.conditions, 'Ready');
          return last?.reason === reason && last.observedGeneration === policy.metadata.generation ? policy : undefined;
        },
        { timeoutMs },
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; it is ${last?.reason ?? 'without Ready'}: ${last?.message ?? ''}`, {
        cause: error,
      });
    }
  }

  async rolledOut(policy: string, count: number, state = 'Succeeded', timeoutMs = 30_000): Promise<ImageRollout[]> {
    let seen: ImageRollout[] = [];
    try {
      return await waitFor(
        `${count} rollouts of ${policy} are ${state}`,
        async () => {
          seen = await this.readRollouts(policy);
          return seen.length === count && seen.every(({ status }) => status?.state === state) ? seen : undefined;
        },
        { timeoutMs },
      );
    } catch (error) {
      throw new Error(
        `${(error as Error).message}; there are ${JSON.stringify(seen.map(({ metadata, status }) => [metadata.name, status?.state, status?.message]))}`,
        { cause: error },
      );
    }
  }

  async images(name: string, kind: Kind = 'Deployment'): Promise<Record<string, string>> {
    const { spec } = await this.workload(name, kind);
    const pod = (kind === 'CronJob' ? spec.jobTemplate.spec.template.spec : spec.template.spec) as {
      containers: { name: string; image: string }[];
      initContainers?: { name: string; image: string }[];
    };
    return Object.fromEntries(
      [...(pod.initContainers ?? []), ...pod.containers].map(({ name: container, image }) => [container, image]),
    );
  }

  /** `kubectl set image`, as this manager. */
  async setImage(name: string, container: string, image: string, manager = 'kubectl-set'): Promise<void> {
    await this.request(
      'PATCH',
      `${this.path('Deployment', name)}?fieldManager=${manager}`,
      { spec: { template: { spec: { containers: [{ name: container, image }] } } } },
      'application/strategic-merge-patch+json',
    );
  }

  // The shape of a workload depends on its kind; a test reads the field it asks about.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async workload(name: string, kind: Kind = 'Deployment'): Promise<any> {
    return this.request('GET', this.path(kind, name));
  }

  async remove(path: string): Promise<void> {
    await this.request('DELETE', path.startsWith('/') ? path : `${this.api}/${path}`);
  }

  path(kind: Kind, name: string): string {
    return `${PATHS[kind]}/namespaces/${this.namespace}/${kind.toLowerCase()}s/${name}`;
  }

  get api(): string {
    return `/apis/slipway.dev/v1alpha1/namespaces/${this.namespace}`;
  }

  async request(method: string, path: string, body?: object, contentType?: string): Promise<unknown> {
    const answer = await this.#controlPlane.request(method, path, body, contentType);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as unknown;
  }
}

/** An operator's configuration that lets it reach this registry on loopback. */
export function reaching(...registries: readonly Pick<TestRegistry, 'host'>[]): object {
  return {
    registries: Object.fromEntries(registries.map(({ host }) => [host, { insecure: true, allowPrivate: true }])),
  };
}

/** Writes of the operator that reached the API server, the Lease and events apart. */
export function writesOf(events: readonly AuditEvent[], namespace?: string): AuditEvent[] {
  return events.filter(
    ({ verb, userAgent, objectRef, responseStatus }) =>
      userAgent?.startsWith('slipway/') === true &&
      ['create', 'update', 'patch', 'delete'].includes(verb) &&
      !['leases', 'events'].includes(objectRef?.resource ?? '') &&
      (responseStatus?.code ?? 500) < 300 &&
      (namespace === undefined || objectRef?.namespace === namespace),
  );
}
