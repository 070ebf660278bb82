// Programs that tests start: each has a log file, an end that can be awaited, and a death bound to ours. The kernel kills
// them when the process that started them dies (parent death signal), so a crashed test run leaves nothing behind.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface ProcessOptions {
  /** Names the program in error messages. */
  readonly name: string;
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to the environment of this process; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Standard output and error are appended here. */
  readonly logPath: string;
  /**
   * True for a program that must outlive this process (a cluster started from the command line): it gets a session of
   * its own and no parent death signal. Whoever starts it must record the pid.
   */
  readonly detached?: boolean;
  /** Open file descriptors of this process that it inherits as 3, 4, ... */
  readonly descriptors?: readonly number[];
}

export interface ProcessEnd {
  /** Absent when a signal ended it. */
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  /** Resolves when the process has ended; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  isRunning(): boolean;
  /** The last lines of the log, for error messages. */
  logTail(lines?: number): string;
  kill(signal: NodeJS.Signals): void;
  /** Sends SIGTERM, after `graceMs` (default 5 000) SIGKILL, and resolves when the process is gone. */
  stop(graceMs?: number): Promise<void>;
}

/** Starts a program; rejects when it cannot be executed at all. That it works is for the caller to find out. */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { name, command, args = [], logPath, detached = false } = options;
  const argv = detached ? [command, ...args] : ['setpriv', '--pdeathsig', 'KILL', '--', command, ...args];
  const log = openSync(logPath, 'a');
  let child: ChildProcess;
  try {
    child = spawn(argv[0] as string, argv.slice(1), {
      stdio: ['ignore', log, log, ...(options.descriptors ?? [])],
      env: { ...process.env, ...options.env },
      detached,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    await once(child, 'spawn');
  } catch (error) {
    throw new Error(`Starting ${name}: ${String(error)}`, { cause: error });
  } finally {
    closeSync(log);
  }
  if (detached) child.unref();

  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ ...(code === null ? {} : { code }), ...(signal === null ? {} : { signal }) });
    });
  });
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    name,
    pid: child.pid as number,
    logPath,
    ended,
    isRunning,
    logTail: (lines = 20) => tailOf(logPath, lines),
    kill: (signal) => {
      child.kill(signal);
    },
    stop: async (graceMs = 5000) => {
      if (!isRunning()) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

export interface CommandResult {
  /** 128 + n when signal n ended it, as shells count. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to the standard input, which is then closed. */
  readonly input?: string | Uint8Array;
  /** Milliseconds until the command is killed. Default 120 000. */
  readonly timeoutMs?: number;
}

/** Runs a command to its end and returns what it said; a non-zero exit is a value, not an error. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const child = spawn(argv[0] as string, argv.slice(1), {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    timeout: options.timeoutMs ?? 120_000,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A command that ends without reading its input breaks the pipe; its exit code tells the story.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return {
    code: code ?? (signal === null ? 1 : 137),
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: Buffer.concat(stderr).toString('utf8'),
  };
}

/** Like {@link runCommand}, but throws with the command's own words when it fails. Returns its standard output. */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(argv, options);
  if (result.code !== 0) {
    const said = (result.stderr || result.stdout).trim().slice(-2000);
    throw new Error(`${argv.join(' ')}: exit code ${result.code}: ${said}`);
  }
  return result.stdout;
}

/** The last lines of a file, or a remark when there is none. */
export function tailOf(path: string, lines = 20): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return `(no log at ${path})`;
  }
}
