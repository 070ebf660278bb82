// What the operator costs while nothing changes, over a window of several poll intervals.

import { setTimeout as delay } from 'node:timers/promises';
import { isRead, isWrite } from './api-requests.ts';
import { cpuSecondsOf } from './process-cost.ts';
import { countOf, countsBetween, totalOf } from './registry-counts.ts';
import { INTERVAL_MS, type World } from './world.ts';

/** Sums over the window. */
export interface IdleCost {
  /** Length of the window in poll intervals. */
  readonly cycles: number;
  readonly lists: number;
  readonly heads: number;
  readonly tokens: number;
  readonly others: number;
  readonly bytes: number;
  readonly writes: number;
  readonly reads: number;
  readonly cpuSeconds: number;
}

export async function measureIdle(world: World, windowMs: number): Promise<IdleCost> {
  const { pid } = world.operator;
  const requestsBefore = (await world.requests()).length;
  const before = await world.counts();
  const start = { atMs: performance.now(), cpu: cpuSecondsOf(pid) };
  await delay(windowMs);
  const after = await world.counts();
  const elapsedMs = performance.now() - start.atMs;
  const cpuSeconds = cpuSecondsOf(pid) - start.cpu;
  const requests = (await world.requests()).slice(requestsBefore);

  const counts = countsBetween(before, after);
  const total = totalOf(counts);
  const lists = countOf(counts, 'list').requests;
  const heads = countOf(counts, 'head').requests;
  const tokens = countOf(counts, 'token').requests + countOf(counts, 'challenge').requests;
  return {
    cycles: elapsedMs / INTERVAL_MS,
    lists,
    heads,
    tokens,
    others: total.requests - lists - heads - tokens,
    bytes: total.bytes,
    writes: requests.filter(isWrite).length,
    reads: requests.filter(isRead).length,
    cpuSeconds,
  };
}
