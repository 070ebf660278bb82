// Every metric there is, declared once, and the ports of kube/ and registry/ that feed them. Labels take few values: a
// name that comes from outside (a host, a reason) is counted under `other` once there are too many. docs/metrics.md is
// generated from the declarations.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { QUARANTINE_CAUSES } from '../api/image-policy.ts';
import { FINISHED_STATES, type RolloutState } from '../api/image-rollout.ts';
import { RECONCILE_OUTCOMES, RELIST_REASONS, WATCH_END_REASONS, type KubeObserver } from '../kube/observer.ts';
import type { RegistryObserver } from '../registry/observer.ts';
import type { Clock } from '../time/clock.ts';
import type { BuildInfo } from '../version.ts';

export interface MetricDeclaration<L extends string = string> {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels: readonly L[];
  /** Upper bounds of a histogram's buckets, in the unit of its name. */
  readonly buckets?: readonly number[];
}

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const WORK_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120];

function counter<L extends string = never>(name: string, help: string, labels: readonly L[] = []) {
  return { kind: 'counter', name, help, labels } as const;
}

function gauge<L extends string = never>(name: string, help: string, labels: readonly L[] = []) {
  return { kind: 'gauge', name, help, labels } as const;
}

function histogram<L extends string = never>(
  name: string,
  help: string,
  buckets: readonly number[],
  labels: readonly L[] = [],
) {
  return { kind: 'histogram', name, help, labels, buckets } as const;
}

export const METRICS = {
  buildInfo: gauge('slipway_build_info', 'Always 1; the labels say which build runs.', [
    'version',
    'revision',
    'node_version',
  ]),
  leader: gauge('slipway_leader', '1 while this replica holds the Lease and works, else 0.'),
  quarantined: gauge(
    'slipway_quarantined_images',
    'Images in quarantine, by the cause: Image, Environment or Rejected.',
    ['cause'],
  ),
  policies: gauge('slipway_policies', 'ImagePolicies by status and reason of their Ready condition.', [
    'ready',
    'reason',
  ]),
  rollouts: counter('slipway_rollouts_total', 'Rollouts that this replica saw finish, by result.', ['result']),

  registryRequests: counter(
    'slipway_registry_requests_total',
    'Requests to registries and their token servers, by registry host, kind of request and outcome.',
    ['host', 'verb', 'outcome'],
  ),
  registryRateLimited: counter(
    'slipway_registry_rate_limited_total',
    'Requests that a registry answered with 429 Too Many Requests.',
    ['host'],
  ),
  registryReceivedBytes: counter(
    'slipway_registry_received_bytes_total',
    'Bytes of response bodies received from registries, as sent (compressed).',
    ['host'],
  ),
  registryRequestSeconds: histogram(
    'slipway_registry_request_duration_seconds',
    'Time from sending a request to a registry to the end of its answer.',
    REQUEST_SECONDS,
    ['verb'],
  ),
  registryListings: counter('slipway_registry_listings_total', 'Tag lists read, by outcome.', ['host', 'outcome']),
  registryLastListing: gauge(
    'slipway_registry_last_listing_timestamp_seconds',
    'When the last complete tag list of a host was read. Its age is time() minus this.',
    ['host'],
  ),

  reconciles: counter('slipway_reconcile_total', 'Reconciles, by controller and outcome.', ['controller', 'outcome']),
  reconcileSeconds: histogram('slipway_reconcile_duration_seconds', 'Time one reconcile took.', WORK_SECONDS, [
    'controller',
  ]),
  queueDepth: gauge('slipway_queue_depth', 'Objects that wait for a worker now.', ['queue']),
  queueWaitSeconds: histogram(
    'slipway_queue_wait_seconds',
    'Time an object was ready before a worker took it.',
    WORK_SECONDS,
    ['queue'],
  ),

  kubeRequests: counter(
    'slipway_kube_requests_total',
    'Requests to the API server, by verb, resource and HTTP status (0: no answer).',
    ['verb', 'resource', 'code'],
  ),
  kubeRequestSeconds: histogram(
    'slipway_kube_request_duration_seconds',
    'Time a request to the API server took.',
    REQUEST_SECONDS,
    ['verb'],
  ),
  watchEvents: counter('slipway_watch_events_total', 'Events received over watches.', ['resource', 'type']),
  watchEnds: counter(
    'slipway_watch_ends_total',
    'Watches that ended, by reason. timeout is the planned end; everything else is a fault that was recovered from.',
    ['resource', 'reason'],
  ),
  watchRelists: counter('slipway_watch_relists_total', 'Times a whole list was read (again), by reason.', [
    'resource',
    'reason',
  ]),
  watchLastContact: gauge(
    'slipway_watch_last_contact_timestamp_seconds',
    'When a watch last heard from the API server. Its age stays below about two minutes while all is well.',
    ['resource'],
  ),
  cachedObjects: gauge('slipway_cached_objects', 'Objects held in the cache.', ['resource']),
  eventsDropped: counter('slipway_events_dropped_total', 'Kubernetes events that were not recorded, by reason.', [
    'reason',
  ]),
} satisfies Record<string, MetricDeclaration>;

/** A policy as `slipway_policies` counts it. `reason` is a reason constant, never free text. */
export interface PolicyReadiness {
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  /** The cause of each image that it holds in quarantine. Absent: none. */
  readonly quarantined?: readonly string[];
}

export interface MetricsOptions {
  readonly clock: Clock;
  readonly buildInfo: BuildInfo;
  /** `process.version`. */
  readonly nodeVersion: string;
  /** Names of the controllers that will run, so that their series start at 0. */
  readonly controllers: readonly string[];
  /** Also CPU, memory, garbage collection and event loop of this process. */
  readonly includeProcess: boolean;
  /** Hosts told apart; the rest is counted as `other`. Default: 200. */
  readonly maxHosts?: number;
}

const MAX_HOSTS = 200;
const MAX_REASONS = 64;
const MAX_RESOURCES = 64;
const EVENT_DROP_REASONS = ['queue full', 'object too noisy', 'refused'] as const;
const LISTING_OUTCOMES = ['changed', 'unchanged', 'failed'] as const;

/** The usual 10 ms wake an idle process a hundred times a second, which would be half of all that it does. */
const EVENT_LOOP_PRECISION_MS = 100;

/** All metrics of one operator, on a registry of their own. The two observers are handed to kube/ and registry/. */
export class Metrics {
  readonly kube: KubeObserver;
  readonly registry: RegistryObserver;
  readonly #registry = new Registry();
  readonly #rollouts: Counter<'result'>;
  readonly #hosts: LabelValues;
  #policies: () => Iterable<PolicyReadiness> = () => [];

  constructor(options: MetricsOptions) {
    this.#hosts = new LabelValues(options.maxHosts ?? MAX_HOSTS);
    if (options.includeProcess) {
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
    }
    const { version, revision } = options.buildInfo;
    this.#gauge(METRICS.buildInfo).set({ version, revision, node_version: options.nodeVersion }, 1);
    this.#rollouts = this.#counter(METRICS.rollouts);
    for (const result of FINISHED_STATES) this.#rollouts.inc({ result }, 0);
    this.#countPolicies();
    this.kube = this.#observeKube(options.clock, options.controllers);
    this.registry = this.#observeRegistry(options.clock);
  }

  /** Where the policies are counted whenever the metrics are read; usually the informer's cache. */
  countPolicies(source: () => Iterable<PolicyReadiness>): void {
    this.#policies = source;
  }

  /** `result` is one of the finished states. */
  onRolloutFinished(result: RolloutState): void {
    this.#rollouts.inc({ result });
  }

  /** The text format of Prometheus and its content type. */
  async render(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #countPolicies(): void {
    const reasons = new LabelValues(MAX_REASONS);
    const quarantined = new Gauge({
      ...METRICS.quarantined,
      labelNames: METRICS.quarantined.labels,
      registers: [this.#registry],
      collect: () => {
        for (const cause of QUARANTINE_CAUSES) quarantined.set({ cause }, 0);
        for (const { quarantined: causes = [] } of this.#policies())
          for (const cause of causes) quarantined.inc({ cause });
      },
    });
    const policies = new Gauge({
      ...METRICS.policies,
      labelNames: METRICS.policies.labels,
      registers: [this.#registry],
      collect: () => {
        policies.reset();
        for (const { ready, reason } of this.#policies()) policies.inc({ ready, reason: reasons.of(reason) });
      },
    });
  }

  #observeRegistry(clock: Clock): RegistryObserver {
    const requests = this.#counter(METRICS.registryRequests);
    const rateLimited = this.#counter(METRICS.registryRateLimited);
    const receivedBytes = this.#counter(METRICS.registryReceivedBytes);
    const seconds = this.#histogram(METRICS.registryRequestSeconds);
    const listings = this.#counter(METRICS.registryListings);
    const lastListing = this.#gauge(METRICS.registryLastListing);
    const labelOf = (name: string): string =>
      this.#hosts.of(name, (host) => {
        rateLimited.inc({ host }, 0);
        for (const outcome of LISTING_OUTCOMES) listings.inc({ host, outcome }, 0);
      });
    return {
      onRequest: ({ host: name, verb, outcome, bytes, durationMs }) => {
        const host = labelOf(name);
        requests.inc({ host, verb, outcome });
        if (outcome === '429') rateLimited.inc({ host });
        receivedBytes.inc({ host }, bytes);
        seconds.observe({ verb }, durationMs / 1_000);
      },
      onListing: ({ host: name, outcome }) => {
        const host = labelOf(name);
        listings.inc({ host, outcome });
        if (outcome !== 'failed') lastListing.set({ host }, clock.now() / 1_000);
      },
    };
  }

  #observeKube(clock: Clock, controllers: readonly string[]): KubeObserver {
    const requests = this.#counter(METRICS.kubeRequests);
    const requestSeconds = this.#histogram(METRICS.kubeRequestSeconds);
    const watchEvents = this.#counter(METRICS.watchEvents);
    const watchEnds = this.#counter(METRICS.watchEnds);
    const relists = this.#counter(METRICS.watchRelists);
    const lastContact = this.#gauge(METRICS.watchLastContact);
    const cachedObjects = this.#gauge(METRICS.cachedObjects);
    const reconciles = this.#counter(METRICS.reconciles);
    const reconcileSeconds = this.#histogram(METRICS.reconcileSeconds);
    const queueDepth = this.#gauge(METRICS.queueDepth);
    const queueWait = this.#histogram(METRICS.queueWaitSeconds);
    const leader = this.#gauge(METRICS.leader);
    const eventsDropped = this.#counter(METRICS.eventsDropped);
    leader.set(0);
    for (const reason of EVENT_DROP_REASONS) eventsDropped.inc({ reason }, 0);
    for (const controller of controllers) {
      for (const outcome of RECONCILE_OUTCOMES) reconciles.inc({ controller, outcome }, 0);
    }
    const resources = new LabelValues(MAX_RESOURCES);
    const labelOf = (name: string): string =>
      resources.of(name, (resource) => {
        for (const reason of WATCH_END_REASONS) watchEnds.inc({ resource, reason }, 0);
        for (const reason of RELIST_REASONS) relists.inc({ resource, reason }, 0);
      });
    return {
      onRequest: ({ verb, resource, code, durationMs }) => {
        requests.inc({ verb, resource, code });
        requestSeconds.observe({ verb }, durationMs / 1_000);
      },
      onWatchEvent: ({ resource, type }) => {
        watchEvents.inc({ resource, type });
        lastContact.set({ resource }, clock.now() / 1_000);
      },
      onWatchEnd: ({ resource, reason }) => {
        watchEnds.inc({ resource: labelOf(resource), reason });
      },
      onRelist: ({ resource: name, reason }) => {
        const resource = labelOf(name);
        relists.inc({ resource, reason });
        lastContact.set({ resource }, clock.now() / 1_000);
      },
      onCacheSize: ({ resource, objects }) => {
        cachedObjects.set({ resource }, objects);
      },
      onReconcile: ({ controller, outcome, durationMs }) => {
        reconciles.inc({ controller, outcome });
        reconcileSeconds.observe({ controller }, durationMs / 1_000);
      },
      onQueueDepth: ({ queue, depth }) => {
        queueDepth.set({ queue }, depth);
      },
      onQueueWait: ({ queue, waitMs }) => {
        queueWait.observe({ queue }, waitMs / 1_000);
      },
      onLeaderChange: ({ leading }) => {
        leader.set(leading ? 1 : 0);
      },
      onEventDropped: ({ reason }) => {
        eventsDropped.inc({ reason });
      },
    };
  }

  #counter<L extends string>({ name, help, labels }: MetricDeclaration<L>): Counter<L> {
    return new Counter({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  #gauge<L extends string>({ name, help, labels }: MetricDeclaration<L>): Gauge<L> {
    return new Gauge({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  #histogram<L extends string>({ name, help, labels, buckets = [] }: MetricDeclaration<L>): Histogram<L> {
    return new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers: [this.#registry] });
  }
}

/** Values of a label that come from outside: the first `max` are told apart, the rest is `other`. */
class LabelValues {
  readonly #known = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  of(value: string, onFirst?: (label: string) => void): string {
    const label = this.#known.has(value) || this.#known.size < this.#max ? value : 'other';
    if (!this.#known.has(label)) {
      this.#known.add(label);
      onFirst?.(label);
    }
    return label;
  }
}
