// The voice of the demo: says what is about to happen, shows the commands a user would type with what they print, and
// keeps the list of what was shown.

import { formatDurationMs } from '../../operator/time/duration.ts';

const isColoured = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: number, text: string): string => (isColoured ? `\x1b[${code}m${text}\x1b[0m` : text);

export class Narrator {
  readonly #startedMs = performance.now();
  readonly #shown: string[] = [];

  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  title(text: string): void {
    process.stdout.write(`\n${paint(1, text)}\n`);
  }

  say(text: string): void {
    process.stdout.write(`  ${text}\n`);
  }

  progress(text: string): void {
    process.stdout.write(`  ${paint(2, `· ${text}`)}\n`);
  }

  /** A command as a user would type it, and what it prints. */
  command(line: string, output: string): void {
    process.stdout.write(`\n  ${paint(36, `$ ${line}`)}\n`);
    for (const text of output.trimEnd().split('\n')) process.stdout.write(`    ${text}\n`);
    process.stdout.write('\n');
  }

  /** Something that was promised and has just been seen. */
  shown(text: string): void {
    this.#shown.push(text);
    process.stdout.write(`  ${paint(32, '✓')} ${text}  ${paint(2, `(${formatDurationMs(this.elapsedMs)})`)}\n`);
  }

  summary(): void {
    this.title(`Shown in ${formatDurationMs(this.elapsedMs)}:`);
    for (const text of this.#shown) process.stdout.write(`  ${paint(32, '✓')} ${text}\n`);
  }

  failure(error: Error): void {
    process.stderr.write(`\n${paint(31, '✗')} ${error.message}\n`);
  }
}
