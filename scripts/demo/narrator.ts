// The voice of the demo: says what is about to happen, shows the commands a user would type with what they print, and
// keeps the list of what was shown and how long that took.

import { formatDurationMs } from '../../operator/time/duration.ts';

export interface Voice {
  readonly out: { write(text: string): unknown };
  readonly isColoured: boolean;
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
}

export class Narrator {
  readonly #voice: Voice;
  readonly #startedMs: number;
  readonly #shown: { readonly text: string; readonly tookMs: number }[] = [];
  #lastMs: number;

  constructor(voice: Voice) {
    this.#voice = voice;
    this.#startedMs = voice.now();
    this.#lastMs = this.#startedMs;
  }

  title(text: string): void {
    this.#write(`\n${this.#paint(1, text)}\n`);
  }

  say(text: string): void {
    this.#write(`  ${text}\n`);
  }

  progress(text: string): void {
    this.#write(`  ${this.#paint(2, `· ${text}`)}\n`);
  }

  /** A command as a user would type it, and what it prints. */
  command(line: string, output: string): void {
    this.#write(`\n  ${this.#paint(36, `$ ${line}`)}\n`);
    for (const text of output.trimEnd().split('\n')) this.#write(text === '' ? '\n' : `    ${text}\n`);
    this.#write('\n');
  }

  /** Something that was promised and has just been seen. */
  shown(text: string): void {
    const nowMs = this.#voice.now();
    const tookMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    this.#shown.push({ text, tookMs });
    this.#write(`  ${this.#tick} ${text}  ${this.#paint(2, `(${formatDurationMs(tookMs)})`)}\n`);
  }

  /** Everything that was shown, each with the time since the one before. */
  summary(): void {
    this.title(`Shown in ${formatDurationMs(this.#voice.now() - this.#startedMs)}:`);
    for (const { text, tookMs } of this.#shown) {
      this.#write(`  ${this.#tick} ${this.#paint(2, formatDurationMs(tookMs).padStart(5))}  ${text}\n`);
    }
  }

  failure(text: string): void {
    this.#write(`\n${this.#paint(31, '✗')} ${text}\n`);
  }

  get #tick(): string {
    return this.#paint(32, '✓');
  }

  #paint(code: number, text: string): string {
    return this.#voice.isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  }

  #write(text: string): void {
    this.#voice.out.write(text);
  }
}
