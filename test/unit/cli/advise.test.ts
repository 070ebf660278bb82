import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { DOCKERFILE_RULES } from '../../../operator/advice/advise-dockerfile.ts';
import { run } from './run.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const SOUND = `FROM alpine@${DIGEST}\nCOPY app /app\nUSER 1000\nENTRYPOINT ["/app"]\n`;
const LAX = 'FROM debian:latest\nENV API_TOKEN=hunter2\nCOPY . /app\nCMD ["/app/run"]\n';

describe('slipway advise', () => {
  it.each(['.', './', 'Dockerfile'])('names what to change, with file and line: --dockerfile %s', async (path) => {
    const { stdout, exitCode } = await run(['advise', '--dockerfile', path], { files: { Dockerfile: LAX } });

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^Dockerfile:1: \w+: .*debian:latest/m);
    expect(stdout).toMatch(/^Dockerfile:2: High: .*API_TOKEN/m);
    expect(stdout).toMatch(/^Dockerfile:3: .*\.dockerignore/m);
    expect(stdout).not.toContain('hunter2');
  });

  it.each(['app/.dockerignore', 'app/Dockerfile.dockerignore'])('knows %s', async (dockerignore) => {
    const { stdout } = await run(['advise', '--dockerfile', 'app'], {
      files: { 'app/Dockerfile': LAX, [dockerignore]: 'node_modules\n' },
    });

    expect(stdout).toContain('app/Dockerfile:1');
    expect(stdout).not.toContain('.dockerignore');
  });

  it('says when there is nothing to advise', async () => {
    const files = { Dockerfile: SOUND };

    expect((await run(['advise', '--dockerfile', '.'], { files })).stdout).toBe('Dockerfile: nothing to advise\n');
    expect((await run(['advise', '--dockerfile', '.', '-o', 'json'], { files })).stdout).toBe('[]\n');
  });

  it.each([
    { failOn: 'High', dockerfile: LAX, want: 1 },
    { failOn: 'Info', dockerfile: SOUND, want: 0 },
  ])('ends with $want at --fail-on $failOn', async ({ failOn, dockerfile, want }) => {
    const { exitCode } = await run(['advise', '--dockerfile', '.', '--fail-on', failOn], {
      files: { Dockerfile: dockerfile },
    });

    expect(exitCode).toBe(want);
  });

  it('has every rule in the docs, and no other', () => {
    const page = readFileSync(new URL('../../../docs/how-to/advise-on-a-dockerfile.md', import.meta.url), 'utf8');
    const documented = [...page.matchAll(/^\| `([a-z-]+)` \| (\w+) \|/gm)].map(([, id, severity]) => ({
      id,
      severity,
    }));

    expect(documented).toEqual(DOCKERFILE_RULES.map(({ id, severity }) => ({ id, severity })));
  });

  it('writes SARIF', async () => {
    const { stdout } = await run(['advise', '--dockerfile', '.', '-o', 'sarif'], { files: { Dockerfile: LAX } });

    expect(JSON.parse(stdout)).toMatchObject({ version: '2.1.0', runs: [{ tool: { driver: { name: 'Slipway' } } }] });
  });

  it.each([
    { when: 'there is no such file', args: ['advise', '--dockerfile', 'nowhere'], says: 'nowhere' },
    { when: 'nothing is named', args: ['advise'], says: '--dockerfile' },
  ])('complains when $when', async ({ args, says }) => {
    expect(await run(args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(says) });
  });
});
