// How soon a pushed tag becomes a decision (the ImageRollout is stored) and a change (the Deployment is patched). Where the
// registry is polled, most of that is waiting for the poll, so the time since the first list with the tag is told as well.

import { setTimeout as delay } from 'node:timers/promises';
import type { AuditEvent } from '../test/support/control-plane.ts';
import { waitFor } from '../test/support/wait.ts';
import { isWrite } from './api-requests.ts';
import { countOf, countsBetween, totalOf } from './registry-counts.ts';
import { appName, INTERVAL_MS, type World } from './world.ts';

/** Milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
}

export interface PushCost {
  readonly count: number;
  readonly decision: Spread;
  readonly patched: Spread;
  /** Since the first list with the tag had been sent. */
  readonly decisionExcess: Spread;
  readonly patchedExcess: Spread;
  /** Per push, beyond the lists and HEADs of every cycle. */
  readonly registryRequests: number;
  /** Per push, until the rollout has succeeded. */
  readonly writes: number;
  /** The same by verb and resource, `patch deployments`, most first. */
  readonly writesByTarget: readonly (readonly [target: string, writes: number])[];
}

export interface PushOptions {
  readonly count: number;
  readonly spacingMs: number;
  readonly repositories: number;
}

/** Pushes to `count` different repositories, whose Deployments must be healthy. */
export async function measurePushes(world: World, options: PushOptions): Promise<PushCost> {
  const count = Math.min(options.count, options.repositories);
  const requestsBefore = (await world.requests()).length;
  const before = await world.counts();
  for (let index = 0; index < count; index += 1) {
    await world.push(index);
    await delay(options.spacingMs);
  }
  const since = async (): Promise<readonly AuditEvent[]> => (await world.requests()).slice(requestsBefore);
  const events = await waitFor(
    'every push has reached its Deployment',
    async () => {
      const seen = await since();
      return patchesOf(seen).size === count ? seen : undefined;
    },
    { timeoutMs: 4 * INTERVAL_MS, intervalMs: 500 },
  );
  for (let index = 0; index < count; index += 1) await world.becomeHealthy(appName(index));
  await world.untilQuiet(3_000);
  const writes = (await since()).filter((event) => isWrite(event) && event.objectRef?.resource !== 'events');

  const counts = countsBetween(before, await world.counts());
  const usual = countOf(counts, 'list').requests + countOf(counts, 'list').requests;
  const decided = firstTimes(events, ({ verb, objectRef }) =>
    verb === 'create' && objectRef?.resource === 'imagerollouts'
      ? /^app-[0-9]+/.exec(objectRef.name ?? '')?.[0]
      : undefined,
  );
  const patched = patchesOf(events);
  const samples = counts.sightings.map(({ repository, pushedMs, listedMs = NaN }) => {
    const app = repository.slice('bench/'.length);
    const decidedMs = decided.get(app) ?? NaN;
    const patchedMs = patched.get(app) ?? NaN;
    return {
      decision: decidedMs - pushedMs,
      patched: patchedMs - pushedMs,
      decisionExcess: decidedMs - listedMs,
      patchedExcess: patchedMs - listedMs,
    };
  });
  return {
    count,
    decision: spreadOf(samples.map(({ decision }) => decision)),
    patched: spreadOf(samples.map((sample) => sample.patched)),
    decisionExcess: spreadOf(samples.map(({ decisionExcess }) => decisionExcess)),
    patchedExcess: spreadOf(samples.map(({ patchedExcess }) => patchedExcess)),
    registryRequests: Math.max(0, totalOf(counts).requests - usual) / count,
    writes: writes.length / count,
    writesByTarget: tally(writes.map(targetOf)).map(([target, total]) => [target, total / count]),
  };
}

function targetOf({ verb, objectRef }: AuditEvent): string {
  return [verb, [objectRef?.resource, objectRef?.subresource].filter(Boolean).join('/')].join(' ');
}

function tally(words: readonly string[]): [word: string, count: number][] {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function patchesOf(events: readonly AuditEvent[]): Map<string, number> {
  return firstTimes(events, ({ verb, objectRef }) =>
    verb === 'patch' && objectRef?.resource === 'deployments' ? objectRef.name : undefined,
  );
}

/** When the API server had answered the first request about each name, in milliseconds of the wall clock. */
function firstTimes(
  events: readonly AuditEvent[],
  nameOf: (event: AuditEvent) => string | undefined,
): Map<string, number> {
  const times = new Map<string, number>();
  for (const event of events) {
    const name = nameOf(event);
    if (name !== undefined && (event.responseStatus?.code ?? 500) < 300 && !times.has(name)) {
      times.set(name, toMs(event.stageTimestamp));
    }
  }
  return times;
}

/** Microseconds count here, and Date drops them. */
function toMs(timestamp: string): number {
  const fraction = /\.([0-9]+)Z$/.exec(timestamp)?.[1] ?? '0';
  return Date.parse(timestamp.replace(/\.[0-9]+Z$/, 'Z')) + Number(`0.${fraction}`) * 1_000;
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
