// Runs the command line in the test's own process.

import { PassThrough, Writable } from 'node:stream';
import { runCli } from '../../../operator/cli/program.ts';

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

class Collector extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

/** `files` by path; every other path does not exist. */
export async function run(
  args: readonly string[],
  input: { readonly files?: Readonly<Record<string, string>>; readonly stdin?: string } = {},
): Promise<CliResult> {
  const { files = {}, stdin = '' } = input;
  const [out, err] = [new Collector(), new Collector()];
  const exitCode = await runCli(args, {
    stdin: new PassThrough().end(stdin),
    stdout: out,
    stderr: err,
    readFile: (path) => {
      const text = files[path];
      return text === undefined ? Promise.reject(new Error('no such file')) : Promise.resolve(text);
    },
  });
  return { exitCode, stdout: out.text, stderr: err.text };
}
