// What a command may touch: streams and files, given from outside so that tests run commands in their own process.

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';

/** Everything outside the process. `stdout` decides by itself whether it is a terminal. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** The text of a file; rejects as `node:fs` does. */
  readonly readFile: (path: string) => Promise<string>;
}

/** Exit codes, the same for every command. */
export const EXIT = {
  ok: 0,
  /** The command did its work and the answer is no: a manifest is invalid, a policy is refused. */
  refused: 1,
  /** The command could not do its work: wrong usage, an unreadable file. */
  failed: 2,
} as const;

/** What one run of the program shares. A command sets `exitCode` where it is not 0. */
export interface CliContext extends CliIo {
  exitCode: number;
}

/** A command of `slipway`: one file each, registered in commands.ts. */
export type CommandDefinition = (context: CliContext) => Command;

/** The caller's mistake; the message is all that is printed. */
export class UsageError extends Error {}

/** A file's text, or that of standard input for `-`. Throws UsageError where it cannot be read. */
export async function readInput(path: string, context: CliContext): Promise<string> {
  try {
    return path === '-' ? await text(context.stdin) : await context.readFile(path);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new UsageError(`cannot read ${path}: ${why}`);
  }
}

/** Writes and waits while the reader is slower. */
export async function print(stream: Writable, line: string): Promise<void> {
  if (!stream.write(`${line}\n`)) await once(stream, 'drain');
}
