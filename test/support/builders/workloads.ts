// Workloads: raw objects as a real API server writes them (a field whose value is zero is absent where the Go type says
// omitempty), and their projections.

import type { WorkloadKind } from '../../../operator/api/image-policy.ts';
import type { KubeObject, ManagedFieldsEntry } from '../../../operator/api/object.ts';
import type { Workload, WorkloadContainer } from '../../../operator/rollout/workloads/workload.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Container name → image, in order. */
export type Images = Readonly<Record<string, string>>;

export interface WorkloadObjectOptions {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly managedFields?: readonly ManagedFieldsEntry[];
  readonly containers?: Images;
  readonly initContainers?: Images;
  /** Laid over the default spec, the pod template excepted. */
  readonly spec?: Json;
  /** Replaces the default status, which is that of a healthy workload. */
  readonly status?: Json;
}

export interface WorkloadObject extends KubeObject {
  readonly spec: Json;
  readonly status: Json;
}

const WEB: Images = { web: 'ghcr.io/acme/web:1.0.0' };

function toList(images: Images): { readonly name: string; readonly image: string }[] {
  return Object.entries(images).map(([name, image]) => ({ name, image, imagePullPolicy: 'IfNotPresent' }));
}

function podTemplate({ containers = WEB, initContainers }: WorkloadObjectOptions): Json {
  return {
    metadata: { labels: { app: 'web' } },
    spec: {
      containers: toList(containers),
      ...(initContainers !== undefined && { initContainers: toList(initContainers) }),
      restartPolicy: 'Always',
    },
  };
}

function workloadObject(
  apiVersion: string,
  kind: WorkloadKind,
  options: WorkloadObjectOptions,
  spec: Json,
  status: Json,
): WorkloadObject {
  const { name = 'web', namespace = 'shop', labels, annotations, managedFields, generation = 1 } = options;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      namespace,
      uid: options.uid ?? `uid-of-${name}`,
      resourceVersion: options.resourceVersion ?? '1000',
      generation,
      ...(labels !== undefined && { labels }),
      ...(annotations !== undefined && { annotations }),
      ...(managedFields !== undefined && { managedFields }),
    },
    spec: { ...spec, ...options.spec },
    status: options.status ?? status,
  };
}

/** Two healthy replicas of generation 1. */
export function deploymentObject(options: WorkloadObjectOptions = {}): WorkloadObject {
  return workloadObject(
    'apps/v1',
    'Deployment',
    options,
    {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: podTemplate(options),
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    },
    { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
  );
}

/** Three healthy replicas of generation 1. */
export function statefulSetObject(options: WorkloadObjectOptions = {}): WorkloadObject {
  return workloadObject(
    'apps/v1',
    'StatefulSet',
    options,
    {
      replicas: 3,
      serviceName: 'web',
      selector: { matchLabels: { app: 'web' } },
      template: podTemplate(options),
      podManagementPolicy: 'OrderedReady',
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
    },
    {
      observedGeneration: 1,
      replicas: 3,
      readyReplicas: 3,
      availableReplicas: 3,
      currentReplicas: 3,
      updatedReplicas: 3,
      currentRevision: 'web-5d4f8c7b9',
      updateRevision: 'web-5d4f8c7b9',
      collisionCount: 0,
    },
  );
}

/** Healthy on two nodes, generation 1. */
export function daemonSetObject(options: WorkloadObjectOptions = {}): WorkloadObject {
  return workloadObject(
    'apps/v1',
    'DaemonSet',
    options,
    {
      selector: { matchLabels: { app: 'web' } },
      template: podTemplate(options),
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
    },
    {
      observedGeneration: 1,
      currentNumberScheduled: 2,
      desiredNumberScheduled: 2,
      numberAvailable: 2,
      numberMisscheduled: 0,
      numberReady: 2,
      updatedNumberScheduled: 2,
    },
  );
}

/** Runs every night; has run. */
export function cronJobObject(options: WorkloadObjectOptions = {}): WorkloadObject {
  return workloadObject(
    'batch/v1',
    'CronJob',
    options,
    {
      schedule: '0 4 * * *',
      suspend: false,
      concurrencyPolicy: 'Allow',
      jobTemplate: { spec: { template: podTemplate(options) } },
    },
    { lastScheduleTime: '2026-01-05T04:00:00Z' },
  );
}

export interface WorkloadOptions {
  readonly kind?: WorkloadKind;
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly rollout?: string;
  readonly containers?: Images;
  readonly initContainers?: Images;
  /** Who owns every image field. */
  readonly imageManagers?: readonly string[];
  readonly progress?: Workload['progress'];
  readonly podSelector?: string;
  readonly managedBy?: Workload['managedBy'];
}

/** The projection of a healthy Deployment `shop/web` with one container. */
export function workload(options: WorkloadOptions = {}): Workload {
  const { kind = 'Deployment', name = 'web', rollout, podSelector, managedBy, imageManagers = ['kubectl'] } = options;
  const read = (images: Images, init: boolean): WorkloadContainer[] =>
    Object.entries(images).map(([container, image], index) => ({ name: container, init, index, image, imageManagers }));
  return {
    kind,
    metadata: {
      name,
      namespace: options.namespace ?? 'shop',
      uid: options.uid ?? `uid-of-${name}`,
      resourceVersion: options.resourceVersion ?? '1000',
      generation: options.generation ?? 1,
      labels: options.labels ?? {},
    },
    ...(rollout !== undefined && { rollout }),
    hasAnnotations: rollout !== undefined,
    containers: [...read(options.initContainers ?? {}, true), ...read(options.containers ?? WEB, false)],
    progress: options.progress ?? { kind: 'healthy' },
    ...(podSelector !== undefined && { podSelector }),
    ...(managedBy !== undefined && { managedBy }),
  };
}
