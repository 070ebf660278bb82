import { spawn } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { runCommand } from '../../../scripts/test/command.ts';
import { Leftovers } from '../../../scripts/test/leftovers.ts';
import { formatStages, formatTally, sum, tallyCheck, tallyJest } from '../../../scripts/test/tally.ts';
import { waitFor } from '../../support/wait.ts';

const JEST = {
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  numRuntimeErrorTestSuites: 0,
};

describe('tallyJest', () => {
  it.each([
    { when: 'all pass', result: {}, exitCode: 0, want: { passed: 3, failed: 0, skipped: 0 } },
    { when: 'one fails', result: { numFailedTests: 1 }, exitCode: 1, want: { passed: 3, failed: 1, skipped: 0 } },
    {
      when: 'some are skipped',
      result: { numPendingTests: 2, numTodoTests: 1 },
      exitCode: 0,
      want: { passed: 3, failed: 0, skipped: 3 },
    },
    {
      when: 'a file cannot be loaded',
      result: { numRuntimeErrorTestSuites: 2 },
      exitCode: 1,
      want: { passed: 3, failed: 2, skipped: 0 },
    },
    { when: 'jest fails on its own', result: {}, exitCode: 7, want: { passed: 3, failed: 1, skipped: 0 } },
    { when: 'nothing runs', result: { numPassedTests: 0 }, exitCode: 0, want: { passed: 0, failed: 1, skipped: 0 } },
  ])('counts when $when', ({ result, exitCode, want }) => {
    expect(tallyJest(JSON.stringify({ ...JEST, ...result }), exitCode)).toMatchObject(want);
  });

  it.each([{ json: undefined }, { json: '' }, { json: '{"numPassed' }, { json: 'null' }, { json: '{}' }])(
    'counts a failure for the result $json',
    ({ json }) => {
      expect(tallyJest(json, 0)).toMatchObject({ passed: 0, failed: 1, notes: ['jest ended without a result'] });
    },
  );
});

describe('formatTally', () => {
  it.each([
    { tallies: [tallyCheck(0), tallyCheck(2), { passed: 5, failed: 1, skipped: 0 }], want: '6 passed, 2 failed' },
    { tallies: [{ passed: 5, failed: 0, skipped: 2 }], want: '5 passed, 0 failed, 2 skipped' },
    { tallies: [], want: '0 passed, 0 failed' },
  ])('sums up to $want', ({ tallies, want }) => {
    expect(formatTally(sum(tallies))).toBe(want);
  });
});

describe('formatStages', () => {
  it('lines stages up and puts notes beneath', () => {
    const text = formatStages([
      { name: 'lint', durationMs: 1_234, passed: 1, failed: 0, skipped: 0, notes: [] },
      { name: 'integration', durationMs: 61_000, passed: 9, failed: 1, skipped: 0, notes: ['stopped at its deadline'] },
    ]);

    expect(text).toBe(
      [
        '✓ lint            1.2 s  1 passed, 0 failed',
        '✗ integration    61.0 s  9 passed, 1 failed',
        '    stopped at its deadline',
      ].join('\n'),
    );
  });
});

function commandLine(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
}

describe('runCommand', () => {
  const run = (script: string, options: Partial<Parameters<typeof runCommand>[1]> = {}) =>
    runCommand([process.execPath, '-e', script], {
      cwd: import.meta.dirname,
      env: process.env,
      deadlineMs: 10_000,
      stderr: new PassThrough().resume(),
      signal: new AbortController().signal,
      ...options,
    });

  it('gives the exit code', async () => {
    expect(await run('process.exit(3)')).toBe(3);
  });

  it('shows every line of stderr to the caller', async () => {
    const lines: string[] = [];

    await run('console.error("one\\ntwo")', { onLine: (line) => lines.push(line) });

    expect(lines).toEqual(['one', 'two']);
  });

  it('ends a command and its children at the deadline', async () => {
    const script = `
      const child = require('node:child_process').spawn('sleep', ['600'], { stdio: 'ignore' });
      console.error(child.pid);
      setInterval(() => 0, 1000)`;
    let childId = 0;

    const exitCode = await run(script, { deadlineMs: 500, onLine: (line) => (childId = Number(line)) });

    expect(exitCode).toBe(124);
    expect(childId).toBeGreaterThan(0);
    // Where nobody fetches orphans it stays as a zombie, which has no command line.
    await waitFor('the child has ended', async () => (await commandLine(childId)) === '');
  });

  it('ends a command when it is interrupted', async () => {
    const interrupt = new AbortController();

    const exitCode = await run('console.error("up"); setInterval(() => 0, 1000)', {
      signal: interrupt.signal,
      onLine: () => {
        interrupt.abort();
      },
    });

    expect(exitCode).toBe(130);
  });

  it('rejects when there is no such program', async () => {
    const options = { cwd: '/', env: {}, deadlineMs: 1_000, signal: new AbortController().signal };

    await expect(runCommand(['/nowhere/program'], options)).rejects.toThrow('ENOENT');
  });
});

describe('Leftovers', () => {
  const toClean: Leftovers[] = [];

  async function begin(): Promise<Leftovers> {
    const leftovers = await Leftovers.begin();
    toClean.push(leftovers);
    return leftovers;
  }

  afterEach(async () => {
    for (const leftovers of toClean.splice(0)) await leftovers.clean();
  });

  it('finds nothing when nothing was left', async () => {
    expect(await (await begin()).find(0)).toEqual([]);
  });

  it('finds a process that ran away, and ends it', async () => {
    const leftovers = await begin();
    const child = spawn('sleep', ['600'], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, ...leftovers.environment },
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));

    expect(await leftovers.find(0)).toEqual([`process ${child.pid} still runs: sleep 600`]);

    await leftovers.clean();
    await ended;
    expect(await leftovers.find(0)).toEqual([]);
  });

  it('leaves the processes of another run alone', async () => {
    const [mine, other] = [await begin(), await begin()];
    const child = spawn('sleep', ['600'], { stdio: 'ignore', env: { ...process.env, ...other.environment } });
    const ended = new Promise((resolve) => child.once('exit', resolve));

    expect(await mine.find(0)).toEqual([]);

    child.kill();
    await ended;
  });

  it('finds a temporary file, and removes it', async () => {
    const leftovers = await begin();
    const folder = join(leftovers.environment['TMPDIR'] ?? '', 'state');
    await mkdir(folder);

    expect(await leftovers.find(0)).toEqual([`temporary file ${folder} was not removed`]);

    await leftovers.clean();
    expect(await leftovers.find(0)).toEqual([]);
  });
});
