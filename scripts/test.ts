// The whole test run: checks, then jest by stage, in the order of their cost. It goes on after a failure, so that one run
// tells everything, and ends with one line that counts all of it. `node scripts/test.ts unit e2e` runs just those stages.

import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { runCommand } from './test/command.ts';
import { Leftovers } from './test/leftovers.ts';
import { formatStages, formatTally, sum, tallyCheck, tallyJest, type StageOutcome } from './test/tally.ts';

const root = join(import.meta.dirname, '..');
const MINUTE_MS = 60_000;

interface Check {
  readonly kind: 'check';
  readonly name: string;
  /** A script of package.json. */
  readonly script: string;
  readonly deadlineMs: number;
}

interface JestRun {
  readonly kind: 'jest';
  readonly name: string;
  readonly folders: readonly string[];
  /** Test files at the same time. */
  readonly workers: number;
  readonly testTimeoutMs: number;
  readonly deadlineMs: number;
  /** Needs the programs that test/cluster builds. */
  readonly usesTools: boolean;
}

type Stage = Check | JestRun;

const STAGES: readonly Stage[] = [
  { kind: 'check', name: 'format', script: 'lint:format', deadlineMs: 5 * MINUTE_MS },
  { kind: 'check', name: 'lint', script: 'lint:code', deadlineMs: 10 * MINUTE_MS },
  { kind: 'check', name: 'types', script: 'lint:types', deadlineMs: 5 * MINUTE_MS },
  { kind: 'check', name: 'layers', script: 'lint:layers', deadlineMs: 5 * MINUTE_MS },
  { kind: 'check', name: 'unused', script: 'lint:unused', deadlineMs: 5 * MINUTE_MS },
  { kind: 'check', name: 'verify', script: 'verify', deadlineMs: 5 * MINUTE_MS },
  {
    kind: 'jest',
    name: 'unit',
    folders: ['test/unit', 'test/conformance'],
    workers: 2,
    testTimeoutMs: 15_000,
    deadlineMs: 10 * MINUTE_MS,
    usesTools: false,
  },
  {
    kind: 'jest',
    name: 'contract',
    folders: ['test/contract'],
    workers: 2,
    testTimeoutMs: MINUTE_MS,
    deadlineMs: 10 * MINUTE_MS,
    usesTools: true,
  },
  {
    kind: 'jest',
    name: 'integration',
    folders: ['test/integration'],
    workers: 2,
    testTimeoutMs: 2 * MINUTE_MS,
    deadlineMs: 20 * MINUTE_MS,
    usesTools: true,
  },
  {
    kind: 'jest',
    name: 'e2e',
    folders: ['test/e2e'],
    workers: 1,
    testTimeoutMs: 5 * MINUTE_MS,
    deadlineMs: 30 * MINUTE_MS,
    usesTools: true,
  },
];

const TOOLS: Check = { kind: 'check', name: 'tools', script: 'tools', deadlineMs: 60 * MINUTE_MS };

const JEST = [
  'node',
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
] as const;

/** Jest only warns of these, and kills what hangs; here they fail the stage. */
const OPEN_HANDLES = /failed to exit gracefully|did not exit one second after/;

function hasTests(stage: JestRun): boolean {
  return (
    globSync(
      stage.folders.map((folder) => `${folder}/**/*.test.ts`),
      { cwd: root },
    ).length > 0
  );
}

/** The chosen stages, those without a test left out, the build of the tools put before the first that needs them. */
function plan(names: readonly string[]): readonly Stage[] {
  const unknown = names.filter((name) => !STAGES.some((stage) => stage.name === name));
  if (unknown.length > 0) {
    throw new Error(`No stage ${unknown.join(', ')}: there are ${STAGES.map(({ name }) => name).join(', ')}`);
  }
  const chosen = STAGES.filter(({ name }) => names.length === 0 || names.includes(name)).filter(
    (stage) => stage.kind === 'check' || hasTests(stage),
  );
  const first = chosen.findIndex((stage) => stage.kind === 'jest' && stage.usesTools);
  return first === -1 ? chosen : chosen.toSpliced(first, 0, TOOLS);
}

interface RunContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly folder: string;
  readonly signal: AbortSignal;
}

async function runCheck(stage: Check, { env, signal }: RunContext): Promise<Omit<StageOutcome, 'name' | 'durationMs'>> {
  const { deadlineMs } = stage;
  const exitCode = await runCommand(['node', '--run', stage.script], { cwd: root, env, deadlineMs, signal });
  return { ...tallyCheck(exitCode), notes: exitCode === 124 ? ['stopped at its deadline'] : [] };
}

async function runJest(
  stage: JestRun,
  { env, folder, signal }: RunContext,
): Promise<Omit<StageOutcome, 'name' | 'durationMs'>> {
  const outputFile = join(folder, `${stage.name}.json`);
  const openHandles: string[] = [];
  const exitCode = await runCommand(
    [
      ...JEST,
      '--ci',
      '--json',
      `--outputFile=${outputFile}`,
      `--testTimeout=${stage.testTimeoutMs}`,
      ...(stage.workers === 1 ? ['--runInBand'] : [`--maxWorkers=${stage.workers}`]),
      ...stage.folders,
    ],
    {
      cwd: root,
      env,
      deadlineMs: stage.deadlineMs,
      signal,
      onLine: (line) => {
        if (OPEN_HANDLES.test(line)) openHandles.push(line);
      },
    },
  );
  const json = await readFile(outputFile, 'utf8').catch(() => undefined);
  const { notes, ...tally } = tallyJest(json, exitCode);
  if (exitCode === 124) return { ...tally, failed: tally.failed + 1, notes: [...notes, 'stopped at its deadline'] };
  if (openHandles.length === 0) return { ...tally, notes };
  return {
    ...tally,
    failed: tally.failed + 1,
    notes: [...notes, 'jest had to be forced to exit: something is left open'],
  };
}

async function runStage(stage: Stage, context: RunContext): Promise<StageOutcome> {
  console.log(`\n── ${stage.name} ${'─'.repeat(60 - stage.name.length)}`);
  const startMs = performance.now();
  const outcome = await (stage.kind === 'check' ? runCheck(stage, context) : runJest(stage, context));
  return { name: stage.name, durationMs: performance.now() - startMs, ...outcome };
}

async function findLeftovers(leftovers: Leftovers): Promise<StageOutcome> {
  const startMs = performance.now();
  const notes = await leftovers.find();
  return { name: 'cleanliness', durationMs: performance.now() - startMs, ...tallyCheck(notes.length), notes };
}

async function main(): Promise<void> {
  const stages = plan(process.argv.slice(2));
  const interrupt = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupt.abort());
  const leftovers = await Leftovers.begin();
  const folder = await mkdtemp(join(tmpdir(), 'slipway-results-'));
  const context: RunContext = {
    env: {
      ...process.env,
      ...leftovers.environment,
      // Several of the checks keep their compiled code, by default in a temporary folder that nobody removes.
      NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/node'),
      ...(isatty(2) && { FORCE_COLOR: '1' }),
      PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
    },
    folder,
    signal: interrupt.signal,
  };
  const outcomes: StageOutcome[] = [];
  try {
    for (const stage of stages) {
      if (interrupt.signal.aborted) break;
      outcomes.push(await runStage(stage, context));
    }
    outcomes.push(await findLeftovers(leftovers));
  } finally {
    await leftovers.clean();
    await rm(folder, { recursive: true, force: true });
  }
  const total = sum(outcomes);
  console.log(`\n${formatStages(outcomes)}\n\n${formatTally(total)}`);
  process.exitCode = interrupt.signal.aborted ? 130 : total.failed > 0 ? 1 : 0;
}

await main();
