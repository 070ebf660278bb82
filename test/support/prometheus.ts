// A real Prometheus for tests, which scrapes one target several times a second.

import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import YAML from 'yaml';
import { ensureTools } from '../cluster/tools.ts';
import { freePort } from './ports.ts';
import { startProcess } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

export interface TestPrometheus extends AsyncDisposable {
  readonly url: string;
  /** Sets a gauge, and returns when Prometheus knows it. */
  set(name: string, value: number): Promise<void>;
}

export async function startPrometheus(): Promise<TestPrometheus> {
  const { prometheus: program } = await ensureTools(['prometheus']);
  const directory = mkdtempSync(join(tmpdir(), 'slipway-prometheus-'));
  const gauges = new Map<string, number>();
  const target = createServer((_request, response) => {
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end([...gauges].map(([name, value]) => `${name} ${value}\n`).join(''));
  });
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  const { port: targetPort } = target.address() as AddressInfo;
  await writeFile(
    join(directory, 'prometheus.yaml'),
    YAML.stringify({
      global: { scrape_interval: '200ms', scrape_timeout: '200ms' },
      scrape_configs: [{ job_name: 'test', static_configs: [{ targets: [`127.0.0.1:${targetPort}`] }] }],
    }),
  );
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const running = await startProcess({
    name: 'prometheus',
    command: program,
    args: [
      `--config.file=${join(directory, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    logPath: join(directory, 'prometheus.log'),
  });
  const stop = async (): Promise<void> => {
    await running.stop(2_000);
    target.closeAllConnections();
    await new Promise((resolve) => target.close(resolve));
    rmSync(directory, { recursive: true, force: true });
  };
  const read = async (query: string): Promise<string | undefined> => {
    const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { data } = (await answer.json()) as { data: { result: readonly { value: readonly [number, string] }[] } };
    return data.result[0]?.value[1];
  };
  try {
    await waitFor('Prometheus is ready', async () => {
      if (!running.isRunning()) throw new GiveUp(`Prometheus has ended:\n${running.logTail()}`);
      return (await fetch(`${url}/-/ready`)).ok;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    async set(name, value) {
      gauges.set(name, value);
      await waitFor(`${name} is ${value}`, async () => (await read(name)) === String(value));
    },
    [Symbol.asyncDispose]: stop,
  };
}
