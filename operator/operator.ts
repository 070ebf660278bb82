// The whole operator, put together: the only place that knows every concrete class. Reads from top to bottom like a list.

import { findCondition } from './api/conditions.ts';
import { FIELD_MANAGER, type ImageDecision, type ImageRollout } from './api/kinds.ts';
import type { Config } from './config.ts';
import { NodePlatforms, projectNode } from './controllers/node-platforms.ts';
import { AccessResolver } from './controllers/policy/access.ts';
import { GateRulesReader } from './controllers/policy/gate-rules.ts';
import {
  DECISIONS_BY_POLICY,
  PolicyObserver,
  POLICIES_BY_TARGET,
  ROLLOUTS_BY_POLICY,
  WORKLOADS_BY_NAMESPACE,
} from './controllers/policy/observe.ts';
import { projectPolicy, type CachedPolicy } from './controllers/policy/projection.ts';
import { PolicyReconciler } from './controllers/policy/reconciler.ts';
import { policyKeyOf, TagReader } from './controllers/policy/tag-reader.ts';
import { targetIndexKeys } from './controllers/policy/targets.ts';
import { imageDecisions, imagePolicies, imageRollouts, nodes } from './controllers/resources.ts';
import { HealthReader } from './controllers/rollout/health-reader.ts';
import { ROLLOUTS_BY_TARGET, RolloutReconciler } from './controllers/rollout/reconciler.ts';
import { wire } from './controllers/wiring.ts';
import { resourceOf, type WorkloadKinds } from './controllers/workload-kinds.ts';
import { connect, type KubeConnection } from './kube/connection.ts';
import { Controller } from './kube/controller.ts';
import { EventRecorder } from './kube/events.ts';
import { fenced } from './kube/fence.ts';
import { createInformer, type Informer } from './kube/informer.ts';
import { KubeError } from './kube/kube-error.ts';
import { LeaderElector } from './kube/lease.ts';
import { Manager } from './kube/manager.ts';
import { parseKey, type KubeObject } from './kube/resource.ts';
import { WorkQueue } from './kube/work-queue.ts';
import { RegistryClient } from './registry/client.ts';
import { TagSource } from './registry/tag-source.ts';
import { createChecks } from './rollout/checks/index.ts';
import { isLive } from './rollout/quarantine.ts';
import { customKind } from './rollout/workloads/custom-kind.ts';
import { workloadTypes } from './rollout/workloads/index.ts';
import { toWorkload, type Workload } from './rollout/workloads/workload.ts';
import { serveHealth } from './server/health.ts';
import { serveMetrics } from './server/metrics.ts';
import type { Logger } from './telemetry/logger.ts';
import { Metrics } from './telemetry/metrics.ts';
import type { Clock } from './time/clock.ts';
import { buildInfo } from './version.ts';

export interface OperatorDeps {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Also report CPU, memory and event loop of this process. */
  readonly includeProcessMetrics: boolean;
}

export interface Operator {
  /** Port of /livez and /readyz. */
  readonly healthPort: number;
  readonly metricsPort: number;
  /** Works until the signal aborts, then stops in order. Rejects when a part fails for good or the lead is lost. */
  run(signal: AbortSignal): Promise<void>;
}

/** A policy with a long tag list on a slow registry may take this long; everything else is far quicker. */
const POLICY_TIMEOUT_MS = 120_000;
const ROLLOUT_TIMEOUT_MS = 60_000;

/** Connects, builds all parts and opens the listeners. Nothing is watched and nothing written before `run`. */
export async function createOperator(config: Config, deps: OperatorDeps): Promise<Operator> {
  const { clock, random, log } = deps;
  const { namespaces } = config;

  const metrics = new Metrics({
    clock,
    buildInfo,
    nodeVersion: process.version,
    controllers: ['policy', 'rollout'],
    includeProcess: deps.includeProcessMetrics,
  });
  const connection = await connect({
    kubeconfigPath: config.kubeconfigPath,
    context: config.kubeContext,
    userAgent: config.userAgent,
    fieldManager: FIELD_MANAGER,
    observer: metrics.kube,
    clock,
  });

  const common = { connection, namespaces, clock, random, log, observer: metrics.kube };
  const policies = createInformer<KubeObject, CachedPolicy>({
    ...common,
    resource: imagePolicies,
    project: projectPolicy,
    indexes: { [POLICIES_BY_TARGET]: targetIndexKeys },
  });
  const rollouts = createInformer<ImageRollout>({
    ...common,
    resource: imageRollouts,
    indexes: {
      [ROLLOUTS_BY_POLICY]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.policy.name}`],
      [ROLLOUTS_BY_TARGET]: ({ spec }) => spec.targets.map(({ uid }) => uid),
    },
  });
  const decisions = createInformer<ImageDecision>({
    ...common,
    resource: imageDecisions,
    indexes: { [DECISIONS_BY_POLICY]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.policy}`] },
  });
  const workloadInformers: Informer<Workload>[] = [];
  /** Of configured kinds, the CRD may come later or never: nothing waits for them. */
  const lateInformers: Informer<Workload>[] = [];
  const workloads: WorkloadKinds = new Map(
    [...Object.values(workloadTypes), ...config.workloadKinds.map(customKind)].map((type) => {
      const resource = resourceOf(type);
      const informer = createInformer<KubeObject, Workload>({
        ...common,
        resource,
        project: (raw) => toWorkload(type, raw),
        indexes: { [WORKLOADS_BY_NAMESPACE]: ({ metadata }) => [metadata.namespace] },
      });
      (type.kind in workloadTypes ? workloadInformers : lateInformers).push(informer);
      return [type.kind, { type, resource, cache: informer.cache, isServed: () => informer.hasSynced }];
    }),
  );
  const nodeInformer = (await mayListNodes(connection))
    ? createInformer({ ...common, namespaces: 'all', resource: nodes, project: projectNode })
    : undefined;
  const platforms = new NodePlatforms(nodeInformer?.cache, config.defaultPlatforms);

  const identity = `${config.replica.podName}_${Math.floor(random() * 2 ** 48).toString(36)}`;
  const elector = new LeaderElector({
    client: connection.leaseClient,
    namespace: config.replica.namespace,
    name: config.leaderElection.leaseName,
    identity,
    ...config.leaderElection,
    clock,
    random,
    log,
    observer: metrics.kube,
  });
  const client = fenced(connection.client, elector);
  const events = new EventRecorder({
    client,
    reportingController: 'slipway.dev/operator',
    reportingInstance: config.replica.podName,
    clock,
    random,
    log,
    observer: metrics.kube,
  });

  const registry = new RegistryClient({
    hosts: config.registries,
    clock,
    random,
    userAgent: config.userAgent,
    observer: metrics.registry,
    log,
  });
  const tagSource = new TagSource({
    client: registry,
    clock,
    random,
    onChange: (subscriber) => policyController.enqueue(parseKey(policyKeyOf(subscriber))),
    log,
  });

  const policyReconciler = new PolicyReconciler({
    client,
    policies: policies.cache,
    rollouts: rollouts.cache,
    events,
    observer: new PolicyObserver({
      client: connection.client,
      policies: policies.cache,
      rollouts: rollouts.cache,
      decisions: decisions.cache,
      rolloutsOf: (uid) => rollouts.cache.byIndex(ROLLOUTS_BY_TARGET, uid),
      workloads,
      tags: new TagReader({
        tagSource,
        registry,
        access: new AccessResolver({ client: connection.client, clock }),
        defaultPlatforms: () => platforms.required,
      }),
      gateRules: new GateRulesReader({ required: config.requiredGates, client: connection.client, clock }),
      environmentRetryMs: config.rollout.environmentRetryMs,
      clock,
    }),
  });
  const rolloutReconciler = new RolloutReconciler({
    client,
    rollouts: rollouts.cache,
    policies: policies.cache,
    workloads,
    decisions: decisions.cache,
    health: new HealthReader({ client, deleteStuckPods: config.rollout.deleteStuckPods }),
    checksOf: ({ spec }) => createChecks(spec.settings.verify ?? [], { client, prometheus: config.prometheus }),
    maxInFlight: config.limits.rollouts,
    wake: (key) => rolloutController.enqueue(key, { priority: 100 }),
    claimant: () => ({ holder: identity, epoch: elector.epoch ?? 0 }),
    events,
    clock,
    onFinished: ({ status }) => {
      if (status !== undefined) metrics.onRolloutFinished(status.state);
    },
  });

  const queue = (name: string) => new WorkQueue<string>({ name, clock, random, observer: metrics.kube });
  const policyController = new Controller({
    name: 'policy',
    reconcile: (key, context) => policyReconciler.reconcile(key, context),
    queue: queue('policy'),
    concurrency: config.limits.policyReconciles,
    reconcileTimeoutMs: POLICY_TIMEOUT_MS,
    clock,
    log,
    observer: metrics.kube,
  });
  const rolloutController = new Controller({
    name: 'rollout',
    reconcile: (key, context) => rolloutReconciler.reconcile(key, context),
    queue: queue('rollout'),
    concurrency: config.limits.rolloutReconciles,
    reconcileTimeoutMs: ROLLOUT_TIMEOUT_MS,
    clock,
    log,
    observer: metrics.kube,
  });
  const lookAtAllPolicies = (): void => {
    for (const { metadata } of policies.cache.list()) {
      policyController.enqueue({ namespace: metadata.namespace ?? '', name: metadata.name });
    }
  };
  wire({
    policies,
    decisions,
    rollouts,
    workloads: [...workloadInformers, ...lateInformers],
    policyController,
    rolloutController,
  });
  platforms.onChange(() => lookAtAllPolicies());
  nodeInformer?.onEvent(() => platforms.refresh());
  metrics.countPolicies(() => readinessOf(policies.cache.list()));

  const manager = new Manager({
    servers: lateInformers.map((informer) => ({
      name: informer.resource,
      run: async (signal) => {
        informer.synced(signal).then(lookAtAllPolicies, () => undefined);
        await informer.run(signal);
      },
    })),
    informers: [
      policies,
      decisions,
      rollouts,
      ...workloadInformers,
      ...(nodeInformer === undefined ? [] : [nodeInformer]),
    ],
    controllers: [policyController, rolloutController],
    leaderTasks: [{ name: 'tag source', run: (signal) => tagSource.run(signal) }],
    elector,
    events,
    log,
    clock,
    gracefulShutdownMs: config.shutdownGracePeriodMs,
  });

  const { listenAddress, healthPort, metricsPort } = config.server;
  const health = await serveHealth({
    port: healthPort,
    listenAddress,
    log,
    live: [{ name: 'process', check: () => ({ ok: true }) }],
    ready: [
      {
        name: 'caches',
        check: () => {
          const { ok, reasons } = manager.ready();
          return { ok, message: reasons.join('; ') };
        },
      },
    ],
  });
  const metricsListener = await serveMetrics({ port: metricsPort, listenAddress, log, metrics });

  return {
    healthPort: health.port,
    metricsPort: metricsListener.port,
    async run(signal) {
      const beginShutdown = (): void => health.beginShutdown();
      signal.addEventListener('abort', beginShutdown, { once: true });
      try {
        await manager.run(signal);
      } finally {
        signal.removeEventListener('abort', beginShutdown);
        await Promise.all([health.close(), metricsListener.close(), registry.close()]);
        await connection.close();
      }
    },
  };
}

/** Only an outright refusal counts as no: everything else is the informer's to wait for. */
async function mayListNodes({ client }: KubeConnection): Promise<boolean> {
  try {
    await client.list(nodes, { limit: 1 });
    return true;
  } catch (error) {
    return !(error instanceof KubeError && error.isForbidden);
  }
}

function* readinessOf(
  policies: Iterable<CachedPolicy>,
): Generator<{ ready: 'True' | 'False' | 'Unknown'; reason: string; quarantined: readonly string[] }> {
  for (const { status } of policies) {
    const ready = findCondition(status?.conditions, 'Ready');
    const quarantined = (status?.quarantine ?? []).filter(isLive).map(({ cause }) => cause);
    yield { ready: ready?.status ?? 'Unknown', reason: ready?.reason ?? 'New', quarantined };
  }
}
