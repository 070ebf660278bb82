// Puts a query to Prometheus and compares the one number that it gives with a threshold. No number is no verdict.
// @see https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries

import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import type { ImageRolloutSpec } from '../../api/image-rollout.ts';
import { toError } from '../../errors.ts';
import type { Check, CheckOutcome } from './check.ts';

type Verify = NonNullable<ImageRolloutSpec['settings']['verify']>[number];

/** Of the operator's configuration. */
export interface PrometheusServer {
  readonly url: string;
  readonly bearerTokenFile?: string;
  readonly caPem?: string;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1_048_576;

export function prometheusCheck(
  { query, threshold }: NonNullable<Verify['prometheus']>,
  server: PrometheusServer | undefined,
): Check {
  return {
    async run(_rollout, signal): Promise<CheckOutcome> {
      if (server === undefined)
        return { kind: 'unknown', message: "the operator's configuration names no Prometheus: set prometheus.url" };
      let body: unknown;
      try {
        body = await ask(server, query, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        return { kind: 'unknown', message: `Prometheus did not answer: ${toError(error).message}` };
      }
      return compare(body, threshold);
    },
  };
}

async function ask(server: PrometheusServer, query: string, signal: AbortSignal): Promise<unknown> {
  const url = `${server.url.replace(/\/$/, '')}/api/v1/query?query=${encodeURIComponent(query)}`;
  const token =
    server.bearerTokenFile === undefined ? undefined : (await readFile(server.bearerTokenFile, 'utf8')).trim();
  const agent = new Agent({
    connect: { timeout: TIMEOUT_MS, ...(server.caPem !== undefined && { ca: server.caPem }) },
  });
  try {
    const answer = await request(url, {
      dispatcher: agent,
      headers: { accept: 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      signal: AbortSignal.any([signal, AbortSignal.timeout(2 * TIMEOUT_MS)]),
    });
    let text = '';
    for await (const chunk of answer.body.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > MAX_BYTES) throw new Error('the answer is too long');
    }
    if (answer.statusCode >= 500 || answer.statusCode === 401 || answer.statusCode === 403)
      throw new Error(`status ${answer.statusCode}`);
    return JSON.parse(text);
  } finally {
    await agent.destroy();
  }
}

/** Exported for its table of cases. */
export function compare(body: unknown, threshold: string): CheckOutcome {
  const answer = body as {
    readonly status?: string;
    readonly error?: string;
    readonly data?: { readonly resultType?: string; readonly result?: unknown };
  };
  if (answer.status !== 'success')
    return { kind: 'unknown', message: `the query failed: ${answer.error ?? 'no reason given'}` };
  const value = readNumber(answer.data);
  if (typeof value === 'string') return { kind: 'unknown', message: value };
  const [, operator = '', wanted = ''] = /^(<=|>=|==|!=|<|>) ?(-?[0-9.]+)$/.exec(threshold) ?? [];
  const limit = Number(wanted);
  const holds: Readonly<Record<string, boolean>> = {
    '<': value < limit,
    '<=': value <= limit,
    '>': value > limit,
    '>=': value >= limit,
    '==': value === limit,
    '!=': value !== limit,
  };
  const shown = Number(value.toPrecision(4));
  return { kind: holds[operator] === true ? 'passed' : 'failed', message: `${shown}, wanted ${threshold}` };
}

/** The one number, or why there is none. */
function readNumber(data: { readonly resultType?: string; readonly result?: unknown } | undefined): number | string {
  const result = data?.result;
  if (data?.resultType === 'scalar' && Array.isArray(result)) return toNumber(result[1]);
  if (data?.resultType !== 'vector' || !Array.isArray(result))
    return 'the query gives no number: make it an instant vector';
  if (result.length === 0) return 'the query finds no series';
  if (result.length > 1)
    return `the query gives ${result.length} series: aggregate them to one, for example with sum()`;
  const [sample] = result as readonly { readonly value?: readonly unknown[] }[];
  return toNumber(sample?.value?.[1]);
}

function toNumber(text: unknown): number | string {
  const value = Number(text);
  return Number.isFinite(value) ? value : `the query gives ${String(text)}, which is no number`;
}
