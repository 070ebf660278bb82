// Runs one command of the test run in a process group of its own, so that it can be ended with everything it started.

import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

export interface CommandOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Sees every line of stderr. */
  readonly onLine?: (line: string) => void;
  /** Where stderr goes. Default: our own. */
  readonly stderr?: Writable;
}

/** Exit code; 124 when the deadline passed, as of timeout(1), and 130 when the run was interrupted. */
export async function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<number> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ['ignore', 'inherit', options.onLine === undefined ? 'inherit' : 'pipe'],
    detached: true,
  });
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    (options.stderr ?? process.stderr).write(text);
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) options.onLine?.(line);
  });
  let forced: number | undefined;
  const force = (exitCode: number): void => {
    forced ??= exitCode;
    endGroup(child.pid, 'SIGTERM');
    setTimeout(endGroup, 5_000, child.pid, 'SIGKILL').unref();
  };
  const deadline = setTimeout(force, options.deadlineMs, 124);
  const onAbort = (): void => {
    force(130);
  };
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        resolve(forced ?? code ?? 1);
      });
    });
  } finally {
    clearTimeout(deadline);
    options.signal.removeEventListener('abort', onAbort);
  }
}

function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone.
  }
}
