// The way to a cluster: reads the kubeconfig (or the pod's service account) and opens the three sets of connections that
// everything in this process shares.

import type { KubeConfig } from '@kubernetes/client-node';
import { TerminalError, toError } from '../errors.ts';
import { systemClock, type Clock } from '../time/clock.ts';
import { HttpKubeClient, type KubeClient } from './client.ts';
import { kubeConfigCredentials, type Credentials } from './credentials.ts';
import type { KubeObserver } from './observer.ts';
import { checkProxyUrl } from './proxy.ts';
import { Transport } from './transport.ts';
import { HttpWatcher, type Watcher } from './watch.ts';

export interface ConnectOptions {
  /** Absent: $KUBECONFIG, ~/.kube/config, or the pod's service account, the first that exists. */
  readonly kubeconfigPath?: string | undefined;
  /** A context of the kubeconfig; absent: its current one. */
  readonly context?: string | undefined;
  /** `slipway/1.2.3` */
  readonly userAgent?: string | undefined;
  /** Recorded in managedFields as the owner of what is written. Absent: the user agent up to its slash. */
  readonly fieldManager?: string | undefined;
  readonly observer?: Partial<KubeObserver> | undefined;
  readonly clock?: Clock | undefined;
}

/** Everything that talks to one cluster. Calls, watches and the Lease use connections of their own. */
export interface KubeConnection extends Watcher {
  readonly client: KubeClient;
  /** For the leader election alone, so that no amount of other traffic delays a renewal. */
  readonly leaseClient: KubeClient & Watcher;
  /** `https://host:port` */
  readonly server: string;
  /** The namespace of the kubeconfig's context or of the pod; `default` when neither names one. */
  readonly namespace: string;
  /** Ends all connections at once. Calls and watches under way fail. */
  close(): Promise<void>;
}

/** Throws TerminalError `NoKubernetes` or `InvalidKubeconfig` with what to do. Does not talk to the server yet. */
export async function connect(options: ConnectOptions = {}): Promise<KubeConnection> {
  const { KubeConfig } = await import('./client-node.ts');
  const kubeConfig = new KubeConfig();
  try {
    if (options.kubeconfigPath === undefined) kubeConfig.loadFromDefault();
    else kubeConfig.loadFromFile(options.kubeconfigPath);
  } catch (thrown) {
    const where = options.kubeconfigPath ?? 'the kubeconfig';
    throw new TerminalError(`Reading ${where}: ${toError(thrown).message}`, {
      code: 'InvalidKubeconfig',
      cause: thrown,
    });
  }
  return connectWith(kubeConfig, options);
}

/** As `connect`, with a kubeconfig that is already loaded. */
export async function connectWith(
  kubeConfig: KubeConfig,
  options: Omit<ConnectOptions, 'kubeconfigPath'> = {},
): Promise<KubeConnection> {
  if (options.context !== undefined) {
    if (kubeConfig.getContextObject(options.context) === null) {
      const known = kubeConfig.getContexts().map((context) => context.name);
      throw new TerminalError(
        `The kubeconfig has no context ${JSON.stringify(options.context)}; it has ${known.join(', ') || 'none'}`,
        { code: 'InvalidKubeconfig' },
      );
    }
    kubeConfig.setCurrentContext(options.context);
  }
  const cluster = kubeConfig.getCurrentCluster();
  // client-node falls back to this address when it finds nothing at all.
  if (cluster === null || (cluster.server === 'http://localhost:8080' && !cluster.skipTLSVerify)) {
    throw new TerminalError(
      'No Kubernetes cluster is configured: set KUBECONFIG, name a kubeconfig with a current context, or run in a pod',
      { code: 'NoKubernetes' },
    );
  }
  if (cluster.proxyUrl !== undefined) checkProxyUrl(cluster.proxyUrl);
  const clock = options.clock ?? systemClock;
  return openConnection({
    server: cluster.server,
    proxyUrl: cluster.proxyUrl,
    namespace: kubeConfig.getContextObject(kubeConfig.getCurrentContext())?.namespace || 'default',
    credentials: await kubeConfigCredentials(kubeConfig, clock),
    userAgent: options.userAgent,
    fieldManager: options.fieldManager,
    observer: options.observer,
    clock,
  });
}

export interface OpenOptions {
  readonly server: string;
  readonly proxyUrl?: string | undefined;
  readonly namespace?: string | undefined;
  readonly credentials: Credentials;
  readonly userAgent?: string | undefined;
  readonly fieldManager?: string | undefined;
  readonly observer?: Partial<KubeObserver> | undefined;
  readonly clock: Clock;
  /** Overrides how often connections are checked for life. */
  readonly pingIntervalMs?: number | undefined;
  /** Overrides how much later than planned a watch may end by itself before it counts as dead. */
  readonly watchGraceMs?: number | undefined;
}

/** A connection to a known server with known credentials: what `connect` ends in, and what tests start from. */
export function openConnection(options: OpenOptions): KubeConnection {
  const { clock, observer, userAgent = 'slipway' } = options;
  const fieldManager = options.fieldManager ?? userAgent.replace(/\/.*$/, '');
  const transport = new Transport({
    server: options.server,
    proxyUrl: options.proxyUrl,
    credentials: options.credentials,
    userAgent,
    pingIntervalMs: options.pingIntervalMs,
    clock,
  });
  const { watchGraceMs } = options;
  const watcher = new HttpWatcher({ transport, lane: 'watches', graceMs: watchGraceMs, clock, observer });
  const leaseWatcher = new HttpWatcher({ transport, lane: 'lease', graceMs: watchGraceMs, clock, observer });
  const leaseClient = new HttpKubeClient({ transport, lane: 'lease', fieldManager, clock, observer });
  return {
    client: new HttpKubeClient({ transport, lane: 'calls', fieldManager, clock, observer }),
    leaseClient: Object.assign(leaseClient, { watch: leaseWatcher.watch.bind(leaseWatcher) }),
    watch: watcher.watch.bind(watcher),
    server: options.server,
    namespace: options.namespace ?? 'default',
    close: () => transport.close(),
  };
}
