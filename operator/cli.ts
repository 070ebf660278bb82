// Process entry of the command line: streams, files and the exit code. No logic.

import { readFile } from 'node:fs/promises';
import { runCli } from './cli/program.ts';

// The reader of a pipe may leave early (`slipway select … | head`); that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: (path) => readFile(path, 'utf8'),
});
