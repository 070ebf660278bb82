// Process entry of the operator: options in, signals in, exit code out.

import { readFileSync } from 'node:fs';
import { CONFIG_USAGE, loadConfig, type Config } from './config.ts';
import { TerminalError, toError } from './errors.ts';
import { createOperator } from './operator.ts';
import { createLogger } from './telemetry/logger.ts';
import { systemClock } from './time/clock.ts';
import { buildInfo } from './version.ts';

const EXIT_USAGE = 2;

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) return print(CONFIG_USAGE);
  if (argv.includes('--version')) return print(`slipway ${buildInfo.version} (${buildInfo.revision})`);
  let config: Config;
  try {
    config = loadConfig({ argv, env: process.env, readFile: (path) => readFileSync(path, 'utf8') });
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return EXIT_USAGE;
  }
  const log = createLogger({ level: config.log.level });
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => stop.abort(new Error(`Received ${signal}`)));
  }
  // An error that nobody awaited leaves us in a state that nobody thought of: stop, and let a fresh process take over.
  process.on('unhandledRejection', (reason) => {
    log.error('Unhandled rejection', { err: toError(reason) });
    process.exitCode = 1;
    stop.abort(toError(reason));
  });
  try {
    const operator = await createOperator(config, {
      clock: systemClock,
      random: Math.random,
      log,
      includeProcessMetrics: true,
    });
    log.info('Starting', { ...buildInfo, healthPort: operator.healthPort, metricsPort: operator.metricsPort });
    await operator.run(stop.signal);
    return 0;
  } catch (error) {
    log.error('Ending after a failure', { err: toError(error) });
    return 1;
  }
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

process.exitCode = (await main(process.argv.slice(2))) || process.exitCode;
