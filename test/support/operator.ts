// The operator in this process, against a real API server: what a test of the whole loop starts and stops.

import { readFile } from 'node:fs/promises';
import YAML from 'yaml';
import { KINDS } from '../../operator/api/kinds.ts';
import { parseConfig, type Config } from '../../operator/config.ts';
import { createOperator } from '../../operator/operator.ts';
import { silentLogger, type Logger } from '../../operator/telemetry/logger.ts';
import { systemClock } from '../../operator/time/clock.ts';
import type { ControlPlane } from './control-plane.ts';
import { waitFor } from './wait.ts';

export interface TestOperatorOptions {
  readonly kubeconfigPath: string;
  /** The configuration file, as an object. */
  readonly config?: object;
  readonly podName?: string;
  readonly log?: Logger;
  /** False: return as soon as the listeners are open. Default: true. */
  readonly untilReady?: boolean;
}

export interface TestOperator extends AsyncDisposable {
  readonly healthUrl: string;
  readonly metricsUrl: string;
  /** Stops in order, as on SIGTERM. Safe to call twice. */
  stop(): Promise<void>;
}

/** Installs the CRDs and waits until they are served. */
export async function installCrds(controlPlane: ControlPlane): Promise<void> {
  const crds = await Promise.all(
    KINDS.map(
      async ({ plural }) =>
        YAML.parse(await readFile(new URL(`../../crds/${plural}.yaml`, import.meta.url), 'utf8')) as object,
    ),
  );
  await controlPlane.apply(...crds);
  for (const { plural } of KINDS) {
    await waitFor(`${plural} are served`, async () => {
      const { status } = await controlPlane.request('GET', `/apis/slipway.dev/v1alpha1/${plural}?limit=1`);
      return status === 200;
    });
  }
}

/** Runs an operator and waits until it is ready, unless told not to. */
export async function startOperator(options: TestOperatorOptions): Promise<TestOperator> {
  const file = {
    server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 },
    // A busy machine may keep this process from renewing for seconds; a clean stop gives the lease back at once anyway.
    leaderElection: { leaseDuration: '60s', renewDeadline: '50s', retryPeriod: '1s' },
    ...options.config,
  };
  const config: Config = {
    ...parseConfig(YAML.stringify(file), 'test configuration'),
    kubeconfigPath: options.kubeconfigPath,
    replica: { namespace: 'default', podName: options.podName ?? 'slipway-test' },
  };
  const stopping = new AbortController();
  const operator = await createOperator(config, {
    clock: systemClock,
    random: Math.random,
    log: options.log ?? silentLogger,
    includeProcessMetrics: false,
  });
  const running = operator.run(stopping.signal);
  const failed = running.then(
    () => undefined,
    (error: unknown) => error,
  );
  const healthUrl = `http://127.0.0.1:${operator.healthPort}`;
  if (options.untilReady !== false)
    await waitFor('the operator is ready', async () => (await fetch(`${healthUrl}/readyz`)).ok);
  const stop = async (): Promise<void> => {
    stopping.abort(new Error('the test stops the operator'));
    const error = await failed;
    if (error !== undefined) throw error as Error;
  };
  return {
    healthUrl,
    metricsUrl: `http://127.0.0.1:${operator.metricsPort}/metrics`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
