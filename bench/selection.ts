// What selection costs on a repository of 100,000 tags (B4 of the performance targets): one pass over the whole list, every
// tag given a reason. `node bench/selection.ts` prints a table, `--json` the same as JSON. Medians of several runs, after a
// warm-up, with freshly built strings each time, as a registry's answer would bring. `cpuMs` is what the thread itself
// worked: on a busy machine the wall clock says more about the neighbours.

import { parseArgs } from 'node:util';
import { MatchMemo, rankTags, type Ranking } from '../operator/selection/rank.ts';
import type { TagRulesInput } from '../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../operator/selection/tag-rules.ts';

const TAG_COUNT = 100_000;
const RUNS = 9;
const WARM_UPS = 3;

/** Numbers that look random and are the same in every run. */
function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7f_ff_ff_ff;
    return Math.floor((state / 0x80_00_00_00) * below);
  };
}

type MakeTag = (random: (below: number) => number, index: number) => string;

const hex = (random: (below: number) => number, digits: number): string =>
  Array.from({ length: digits }, () => random(16).toString(16)).join('');

const versionTag: MakeTag = (random) => `v${random(40)}.${random(200)}.${random(1_000)}`;
const buildTag: MakeTag = (random) => `main-${hex(random, 10)}-${1_600_000_000 + random(100_000_000)}`;
const dateTag: MakeTag = (random) => `20${10 + random(17)}-${10 + random(3)}-${10 + random(19)}-${hex(random, 6)}`;
const junkTag: MakeTag = (random) => `feature_${hex(random, 12)}`;

interface Scenario {
  readonly name: string;
  readonly target: string;
  readonly rules: TagRulesInput;
  readonly current: string;
  readonly makeTag: MakeTag;
  /** The same list once more with 1 % of its tags replaced. */
  readonly isRepeat?: boolean;
}

const BUILD_RULES: TagRulesInput = {
  filter: '^(?P<branch>[a-z0-9._-]+)-(?P<sha>[a-f0-9]{7,40})-(?P<ts>[0-9]{10})$',
  extract: '$ts',
  numerical: {},
};

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'semver',
    target: '<= 20 ms',
    rules: { semver: { range: '>=1.2.0 <30' } },
    current: 'v29.1.0',
    makeTag: versionTag,
  },
  {
    name: 'semver, nothing runs yet',
    target: '<= 20 ms',
    rules: { semver: { range: '*' } },
    current: '',
    makeTag: versionTag,
  },
  {
    name: 'filter + extract + numerical',
    target: '<= 500 ms',
    rules: BUILD_RULES,
    current: 'main-0000000-1690000000',
    makeTag: buildTag,
  },
  {
    name: 'the same, 1 % of the list changed',
    target: '<= 50 ms',
    rules: BUILD_RULES,
    current: 'main-0000000-1690000000',
    makeTag: buildTag,
    isRepeat: true,
  },
  {
    name: 'filter + numerical',
    target: '-',
    rules: { filter: '^[0-9]+$', numerical: {} },
    current: '5',
    makeTag: (random) => String(random(1e9)),
  },
  { name: 'alphabetical', target: '-', rules: { alphabetical: {} }, current: '2026-01-01', makeTag: dateTag },
  {
    name: 'alphabetical, one exclusion',
    target: '-',
    rules: { alphabetical: {}, exclude: ['-debug$'] },
    current: '2026-01-01',
    makeTag: dateTag,
  },
];

/** 90 % tags of the kind, 10 % others. */
function makeTags(makeTag: MakeTag, seed: number, count = TAG_COUNT): string[] {
  const random = randomSource(seed);
  return Array.from({ length: count }, (_, index) => (index % 10 === 0 ? junkTag : makeTag)(random, index));
}

/** New strings with the same characters, as if parsed from an answer. */
function received(tags: readonly string[]): string[] {
  return JSON.parse(JSON.stringify(tags)) as string[];
}

function measure({ rules, current, makeTag, isRepeat = false }: Scenario) {
  const compiled = compileTagRules(rules);
  const tags = makeTags(makeTag, 1);
  const durationsMs: number[] = [];
  const cpuMs: number[] = [];
  let ranking: Ranking | undefined;
  for (let run = -WARM_UPS; run < RUNS; run += 1) {
    const memo = isRepeat ? new MatchMemo() : undefined;
    const options = { ...(current !== '' && { current }), memo };
    if (isRepeat) rankTags(compiled, received(tags), options);
    const fresh = isRepeat ? makeTags(makeTag, 100 + run, TAG_COUNT / 100) : [];
    const list = received([...fresh, ...tags.slice(fresh.length)]);
    const cpuBefore = process.threadCpuUsage();
    const start = process.hrtime.bigint();
    ranking = rankTags(compiled, list, options);
    const durationMs = Number(process.hrtime.bigint() - start) / 1e6;
    const { user, system } = process.threadCpuUsage(cpuBefore);
    if (run < 0) continue;
    durationsMs.push(durationMs);
    cpuMs.push((user + system) / 1e3);
  }
  durationsMs.sort((a, b) => a - b);
  cpuMs.sort((a, b) => a - b);
  const middle = Math.floor(RUNS / 2);
  return {
    medianMs: round(durationsMs[middle] ?? NaN),
    fastestMs: round(durationsMs[0] ?? NaN),
    slowestMs: round(durationsMs.at(-1) ?? NaN),
    cpuMs: round(cpuMs[middle] ?? NaN),
    considered: ranking?.considered ?? 0,
  };
}

const round = (value: number): number => Math.round(value * 10) / 10;

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
const results = SCENARIOS.map((scenario) => ({
  scenario: scenario.name,
  target: scenario.target,
  ...measure(scenario),
}));
if (values.json) {
  console.log(JSON.stringify({ benchmark: 'selection', tags: TAG_COUNT, runs: RUNS, results }, null, 2));
} else {
  console.log(`Selection of ${TAG_COUNT.toLocaleString('en')} tags, median of ${RUNS} runs`);
  console.table(results);
}
