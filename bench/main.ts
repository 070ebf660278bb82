// Measures what the operator costs and how soon it acts, against a real API server and a counting registry, and compares
// that with the targets. Exit code 1 when a count misses its target; times never fail.
//   --quick          the default: about five minutes
//   --full           longer windows, more pushes, and the variants: about forty minutes
//   --variants       also idle cycles with tokens, with ETags and without compression
//   --repositories N another number than 1,000
//   --json FILE      also write all figures; - for standard output
//   --cpu-prof DIR   profile the operator

import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { mustRun } from '../test/support/processes.ts';
import { measureIdle, type IdleCost } from './idle.ts';
import { cpuSecondsOf, memoryOf, openFilesOf } from './process-cost.ts';
import { measurePushes } from './pushes.ts';
import { formatTable, missedCounts, type Figure, type Section } from './report.ts';
import { INTERVAL_MS, World } from './world.ts';

interface Plan {
  readonly repositories: number;
  readonly tags: number;
  /** Policies per repository, in addition to the one with a Deployment, in the second half. */
  readonly observers: number;
  readonly emptyMs: number;
  readonly idleMs: number;
  readonly pushes: number;
  readonly pushSpacingMs: number;
  /** Also with tokens, with ETags and without compression. */
  readonly hasVariants: boolean;
}

const QUICK: Plan = {
  repositories: 1_000,
  tags: 1_000,
  observers: 9,
  emptyMs: 10_000,
  idleMs: 2 * INTERVAL_MS,
  pushes: 100,
  pushSpacingMs: 150,
  hasVariants: false,
};

const FULL: Plan = {
  ...QUICK,
  emptyMs: 60_000,
  idleMs: 20 * INTERVAL_MS,
  pushes: 600,
  pushSpacingMs: 1_000,
  hasVariants: true,
};

/** The default of `spec.interval`, for which costs per hour are told. */
const DEFAULT_INTERVAL_S = 300;
/** kB per list: lists of 1,000 tags are ten times that, and compressed they must be well below a third. */
const COMPRESSED_LIST_KB = 3;
/** Intervals vary by a tenth, and a window cuts some polls in two: this share more, and a few, are still the floor. */
const COUNTING_SLACK = 1.03;
const COUNTING_SLACK_REQUESTS = 3;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    json: { type: 'string' },
    variants: { type: 'boolean', default: false },
    repositories: { type: 'string' },
    'cpu-prof': { type: 'string' },
  },
});

const plan: Plan = {
  ...(options.full ? FULL : QUICK),
  ...(options.variants && { hasVariants: true }),
  ...(options.repositories !== undefined && { repositories: Number(options.repositories) }),
};

const started = performance.now();

function say(what: string): void {
  process.stderr.write(`${((performance.now() - started) / 1_000).toFixed(0).padStart(5)} s  ${what}\n`);
}

function count(name: string, value: number, atMost?: number, unit?: string): Figure {
  return { name, value, isCount: true, ...(atMost !== undefined && { atMost }), ...(unit !== undefined && { unit }) };
}

function timed(name: string, value: number, unit: string, atMost?: number): Figure {
  return { name, value, unit, isCount: false, ...(atMost !== undefined && { atMost }) };
}

function idleSection(
  title: string,
  cost: IdleCost,
  limits: { readonly bytes?: number; readonly tokens?: number },
): Section {
  const { repositories } = plan;
  const perCycle = (value: number): number => value / cost.cycles;
  const floor = repositories * COUNTING_SLACK + COUNTING_SLACK_REQUESTS;
  return {
    title: `${title}: per cycle, counted over ${cost.cycles.toFixed(1)} cycles`,
    figures: [
      count('lists', perCycle(cost.lists), floor),
      count('HEADs of tags in use', perCycle(cost.heads), floor),
      count('tokens and challenges', perCycle(cost.tokens), limits.tokens ?? 0),
      count('other registry requests', perCycle(cost.others), 0),
      count('bytes of bodies', perCycle(cost.bytes) / 1e3, limits.bytes, 'kB'),
      count('API writes, Lease apart', perCycle(cost.writes), 0),
      count('API reads, watches apart', perCycle(cost.reads), 0),
      timed('CPU', perCycle(cost.cpuSeconds), 's'),
    ],
  };
}

function cpuPerHour(cost: IdleCost, emptyCpuPerSecond: number): number {
  const perCycle = cost.cpuSeconds / cost.cycles - (emptyCpuPerSecond * INTERVAL_MS) / 1_000;
  return (3_600 / DEFAULT_INTERVAL_S) * Math.max(0, perCycle) + 3_600 * emptyCpuPerSecond;
}

async function measure(): Promise<Section[]> {
  const { repositories, tags } = plan;
  const sections: Section[] = [];
  await using world = await World.start({
    repositories,
    tags,
    ...(options['cpu-prof'] !== undefined && { profileDirectory: options['cpu-prof'] }),
  });
  const { pid } = world.operator;
  await delay(1_000);
  say('The operator leads and has nothing to do');
  const emptyStart = { cpu: cpuSecondsOf(pid), at: performance.now() };
  await delay(plan.emptyMs);
  const emptyCpuPerSecond = (cpuSecondsOf(pid) - emptyStart.cpu) / ((performance.now() - emptyStart.at) / 1_000);

  say(`Creating ${repositories} Deployments with a policy each`);
  const setUpStart = performance.now();
  await world.createWorkloads(repositories, plan.pushes);
  await world.untilReady(repositories, 180_000);
  const setUpSeconds = (performance.now() - setUpStart) / 1_000;
  say('All are ready; waiting for a cycle to pass');
  await world.untilQuiet(INTERVAL_MS);

  say('Measuring idle cycles');
  const one = await measureIdle(world, plan.idleMs);
  const oneFiles = openFilesOf(pid, world.apiPort);
  const oneMemory = memoryOf(pid);
  sections.push(idleSection('One policy per repository', one, { bytes: repositories * COMPRESSED_LIST_KB }));

  if (plan.hasVariants) {
    for (const variant of VARIANTS) {
      say(`Measuring idle cycles ${variant.title}`);
      await world.setMode({ gzip: true, token: false, etag: false, ...variant.mode });
      await world.untilQuiet(1.2 * INTERVAL_MS);
      const cost = await measureIdle(world, plan.idleMs);
      sections.push(idleSection(`One policy per repository, ${variant.title}`, cost, variant.limits(repositories)));
    }
    await world.setMode({ gzip: true, token: false, etag: false });
    await delay(1.2 * INTERVAL_MS);
  }

  say(`Pushing ${plan.pushes} tags`);
  const pushes = await measurePushes(world, { count: plan.pushes, spacingMs: plan.pushSpacingMs, repositories });
  sections.push({
    title: `A push, interval ${INTERVAL_MS / 1_000} s, ${pushes.count} pushes`,
    figures: [
      timed('push → decision, p50', pushes.decision.p50, 'ms'),
      timed('push → decision, p99', pushes.decision.p99, 'ms'),
      timed('push → patched, p50', pushes.patched.p50, 'ms'),
      timed('push → patched, p99', pushes.patched.p99, 'ms'),
      timed('list with the tag → decision, p50', pushes.decisionExcess.p50, 'ms', 7),
      timed('list with the tag → decision, p99', pushes.decisionExcess.p99, 'ms', 100),
      timed('list with the tag → patched, p50', pushes.patchedExcess.p50, 'ms'),
      timed('list with the tag → patched, p99', pushes.patchedExcess.p99, 'ms'),
      count('registry requests per push beyond the cycle', pushes.registryRequests, 4),
      count('API writes per push until healthy, Events apart', pushes.writes),
      ...pushes.writesByTarget.map(([target, writes]) => count(`  ${target}`, writes)),
    ],
  });

  say(`Creating ${repositories * plan.observers} further policies`);
  const moreStart = performance.now();
  await world.createObservers(repositories, plan.observers);
  const policies = repositories * (1 + plan.observers);
  await world.untilReady(policies, 300_000);
  const moreSeconds = (performance.now() - moreStart) / 1_000;
  say('All are ready; waiting for a cycle to pass');
  await world.untilQuiet(INTERVAL_MS);
  say('Measuring idle cycles');
  const ten = await measureIdle(world, plan.idleMs);
  const tenMemory = memoryOf(pid);
  const tenFiles = openFilesOf(pid, world.apiPort);
  sections.push(
    idleSection(`${1 + plan.observers} policies per repository`, ten, { bytes: repositories * COMPRESSED_LIST_KB }),
  );

  sections.push({
    title: 'CPU and memory of the operator',
    figures: [
      timed('CPU per hour without policies', emptyCpuPerSecond * 3_600, 's'),
      timed(`CPU per hour, ${repositories} policies, interval 5m`, cpuPerHour(one, emptyCpuPerSecond), 's'),
      timed(`CPU per hour, ${policies} policies, interval 5m`, cpuPerHour(ten, emptyCpuPerSecond), 's', 20),
      timed(`memory, ${repositories} policies: resident`, oneMemory.residentMib, 'MiB', 100),
      timed(`memory, ${repositories} policies: its own`, oneMemory.anonymousMib, 'MiB'),
      timed(`memory, ${policies} policies: resident`, tenMemory.residentMib, 'MiB', 200),
      timed(`memory, ${policies} policies: its own`, tenMemory.anonymousMib, 'MiB'),
      timed('memory, largest', tenMemory.peakMib, 'MiB'),
      timed(`until ${repositories} new policies are ready, with their creation`, setUpSeconds, 's'),
      timed(`until ${repositories * plan.observers} more are ready, with their creation`, moreSeconds, 's'),
    ],
  });
  sections.push({
    title: 'Connections',
    figures: [
      count(`to the API server, ${repositories} policies`, oneFiles.connections, 6),
      count(`to the API server, ${policies} policies`, tenFiles.connections, 6),
      count(`open descriptors, ${repositories} policies`, oneFiles.descriptors),
      count(`open descriptors, ${policies} policies`, tenFiles.descriptors),
    ],
  });
  return sections;
}

interface Variant {
  readonly title: string;
  readonly mode: Parameters<World['setMode']>[0];
  limits(repositories: number): { readonly bytes?: number; readonly tokens?: number };
}

const VARIANTS: readonly Variant[] = [
  {
    title: 'registry with tokens of 5 minutes',
    mode: { token: true },
    // A challenge and a token per repository and life of a token, renewed a little before its end.
    limits: (repositories) => ({ tokens: 2.2 * repositories * (INTERVAL_MS / 300_000) }),
  },
  { title: 'registry with ETags', mode: { etag: true }, limits: () => ({ bytes: 0 }) },
  {
    title: 'registry without compression',
    mode: { gzip: false },
    limits: (repositories) => ({ bytes: repositories * 15 }),
  },
];

interface SelectionResult {
  readonly scenario: string;
  readonly target: string;
  readonly cpuMs: number;
}

async function selectionSection(): Promise<Section> {
  say('Measuring the selection of 100,000 tags');
  const output = await mustRun([process.execPath, join(import.meta.dirname, 'selection.ts'), '--json']);
  const { results } = JSON.parse(output) as { results: SelectionResult[] };
  return {
    title: 'Selection of 100,000 tags, CPU',
    figures: results.map(({ scenario, target, cpuMs }) => {
      const limit = /^<= ([0-9]+) ms$/.exec(target)?.[1];
      return timed(scenario, cpuMs, 'ms', limit === undefined ? undefined : Number(limit));
    }),
  };
}

const load = loadavg()[0] ?? 0;
const sections = [...(await measure()), await selectionSection()];
const missed = missedCounts(sections);
const machine = { cores: cpus().length, model: cpus()[0]?.model ?? '', node: process.version, loadBefore: load };

const report = JSON.stringify(
  { benchmark: 'operator', mode: options.full ? 'full' : 'quick', plan, machine, sections, missedCounts: missed },
  null,
  2,
);
if (options.json === '-') console.log(report);
else {
  console.log(`${machine.cores} cores, Node ${machine.node}, load before ${load.toFixed(1)}\n`);
  console.log(formatTable(sections));
  if (options.json !== undefined) await writeFile(options.json, `${report}\n`);
}
if (missed.length > 0) {
  console.error(`${missed.length} counts miss their target: ${missed.map(({ name }) => name).join('; ')}`);
  process.exitCode = 1;
}
