import { execFile } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { COMMANDS } from '../../../operator/cli/commands.ts';
import { run } from './run.ts';

const NAMES = COMMANDS.map((define) => define({} as never).name());

describe('runCli', () => {
  it('lists every command with --help', async () => {
    const { exitCode, stdout, stderr } = await run(['--help']);

    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  it.each(NAMES)('shows examples with %s --help', async (name) => {
    const { exitCode, stdout } = await run([name, '--help']);

    expect(stdout).toContain(`Examples:\n  slipway ${name}`);
    expect(exitCode).toBe(0);
  });

  it.each([
    { when: 'the command is unknown', args: ['selct'] },
    { when: 'an option is unknown', args: ['version', '--wide'] },
    { when: 'a value is not one of the choices', args: ['version', '-o', 'yaml'] },
    { when: 'a required option is missing', args: ['validate'] },
  ])('exits with 2 and says so on stderr when $when', async ({ args }) => {
    const { exitCode, stdout, stderr } = await run(args);

    expect(exitCode).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('--help');
  });

  it('prints the version as text and as JSON', async () => {
    expect((await run(['version'])).stdout).toMatch(/^slipway \S+ \(\S+\)\n$/);
    expect(JSON.parse((await run(['version', '-o', 'json'])).stdout)).toEqual({
      version: expect.any(String),
      revision: expect.any(String),
    });
  });
});

describe('slipway as a process', () => {
  const ENTRY = new URL('../../../operator/cli.ts', import.meta.url).pathname;

  function start(args: readonly string[], stdin = ''): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      const child = execFile(process.execPath, [ENTRY, ...args], (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      });
      child.stdin?.end(stdin);
    });
  }

  it('reads standard input and hands back the exit code', async () => {
    const line = JSON.stringify({ policy: { tags: { numerical: {} } }, tags: ['1', '2'] });

    const good = await start(['select', '--batch'], `${line}\n`);
    const bad = await start(['select', '--batch'], `${line}\nnonsense\n`);

    expect(JSON.parse(good.stdout)).toMatchObject({ selected: '2' });
    expect(good).toMatchObject({ code: 0, stderr: '' });
    expect(bad.code).toBe(1);
    expect(bad.stdout.split('\n')).toHaveLength(3);
  });
});
