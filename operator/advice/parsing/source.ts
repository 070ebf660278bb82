// From the text of a Dockerfile to its instructions and where they begin. dockerfile-ast finds their bounds, the text in
// between is read here: what it says of images, variables and heredocs is not right in all cases.

import { DockerfileParser } from 'dockerfile-ast';

export interface SourceInstruction {
  /** In upper case. */
  readonly keyword: string;
  /** Counted from 1. */
  readonly line: number;
  /** What follows the keyword, on one line: continued lines are joined, comments between them left out. */
  readonly text: string;
  /** The lines of its heredocs, the closing words included. Empty: it has none. */
  readonly heredoc: string;
}

export interface Source {
  readonly escape: string;
  readonly instructions: readonly SourceInstruction[];
}

/** Each attempt takes one look-alike of a heredoc away; a Dockerfile with more of them is read as far as the last. */
const MAX_ATTEMPTS = 16;

/** Lines are those of the text split at `\n`. */
export function readSource(text: string): Source {
  // A lone \r ends a line for dockerfile-ast, but not for BuildKit.
  const lines = text
    .replace(/^\uFEFF/, '')
    .replaceAll('\r\n', '\n')
    .replaceAll('\r', ' ')
    .split('\n');
  let readable = lines;
  for (let attempt = 1; ; attempt += 1) {
    const source = readInstructions(lines, readable);
    const last = source.instructions.at(-1);
    if (attempt === MAX_ATTEMPTS || last === undefined || !isOpen(last)) return source;
    readable = withoutHeredoc(readable, last.line - 1);
  }
}

function readInstructions(lines: readonly string[], readable: readonly string[]): Source {
  const document = DockerfileParser.parse(readable.join('\n'));
  const escape = document.getEscapeCharacter();
  const instructions = document.getInstructions().map((instruction) => {
    const { start, end } = instruction.getRange();
    const own = lines.slice(start.line, end.line + 1);
    own.push((own.pop() ?? '').slice(0, end.character));
    own.unshift((own.shift() ?? '').slice(start.character));
    const { header, rest } = joinContinued(own, escape);
    return {
      keyword: instruction.getKeyword().toUpperCase(),
      line: start.line + 1,
      text: header.replace(/^\S+\s*/, '').trimEnd(),
      heredoc: rest.join('\n'),
    };
  });
  return { escape, instructions };
}

function joinContinued(lines: readonly string[], escape: string) {
  let header = '';
  for (const [index, line] of lines.entries()) {
    if (index > 0 && /^\s*(?:#|$)/.test(line)) continue;
    const trimmed = line.trimEnd();
    if (!trimmed.endsWith(escape)) return { header: header + line, rest: lines.slice(index + 1) };
    header += trimmed.slice(0, -1);
  }
  return { header, rest: [] };
}

/** As dockerfile-ast sees heredocs: a word that begins with `<<`. */
const HEREDOC = /(?:^|\s)<<-?(?!<)(\S+)/g;

/** The text without what opens its heredocs. */
export function withoutHeredocWords(text: string): string {
  return text.replace(HEREDOC, ' ').trim();
}

/** `echo " <<EOF "` opens no heredoc, but dockerfile-ast waits for its end to the end of the file. */
function isOpen({ text, heredoc }: SourceInstruction): boolean {
  const name = [...text.matchAll(HEREDOC)].at(-1)?.[1]?.replace(/^(["'])(.*)\1$/s, '$2');
  return name !== undefined && heredoc !== '' && heredoc.split('\n').at(-1)?.replace(/^\t+/, '') !== name;
}

/** Every position stays where it is. */
function withoutHeredoc(lines: readonly string[], index: number): string[] {
  const last = lines.findIndex((line, at) => at >= index && line.includes('<<'));
  return lines.map((line, at) => (at === last ? line.replaceAll('<<', '__') : line));
}
