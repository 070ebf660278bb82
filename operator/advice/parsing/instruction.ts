// One instruction: its flags, its words, and for a RUN the commands.
// @see https://docs.docker.com/reference/dockerfile/

import { splitCommands, toCommands, type Command } from './shell.ts';
import { withoutHeredocWords, type SourceInstruction } from './source.ts';
import { expandWord, splitWords, type WordContext } from './words.ts';

export interface Word {
  /** As written, quotes included. */
  readonly raw: string;
  /** Absent: holds a variable of which nobody knows the value. */
  readonly value: string | undefined;
}

export interface Flag {
  /** In lower case, without its hyphens. */
  readonly name: string;
  /** Absent: holds a variable of which nobody knows the value. */
  readonly value: string | undefined;
}

export interface Instruction {
  /** In upper case. */
  readonly keyword: string;
  readonly line: number;
  readonly flags: readonly Flag[];
  /** After the flags. None for a RUN, which has commands. */
  readonly words: readonly Word[];
  /** Of a RUN. */
  readonly commands: readonly Command[];
  /** All of it, heredocs included, for a look whether something is mentioned. */
  readonly text: string;
}

export function readInstruction(source: SourceInstruction, context: WordContext): Instruction {
  const { keyword, line } = source;
  const { flags, rest } = splitFlags(source);
  return {
    keyword,
    line,
    flags: flags.map(({ name, raw }) => ({ name, value: expandWord(raw, context) })),
    words: keyword === 'RUN' ? [] : readWords(rest, context.escape).map(toWord),
    commands: keyword === 'RUN' ? readCommands(rest, source.heredoc) : [],
    text: `${source.text}\n${source.heredoc}`,
  };

  function toWord(raw: string): Word {
    return { raw, value: expandWord(raw, context) };
  }
}

const FLAG = /^--([a-zA-Z][a-zA-Z-]*)(?:=(\S*))?(?:\s+|$)/;

function splitFlags({ text }: SourceInstruction) {
  const flags: { readonly name: string; readonly raw: string }[] = [];
  let rest = text;
  for (let found = FLAG.exec(rest); found !== null; found = FLAG.exec(rest)) {
    flags.push({ name: found[1]?.toLowerCase() ?? '', raw: found[2] ?? '' });
    rest = rest.slice(found[0].length);
  }
  return { flags, rest };
}

function readWords(text: string, escape: string): readonly string[] {
  return parseWordList(text) ?? splitWords(text, escape);
}

/** The JSON form. Absent: it is not in that form, as when somebody wrote single quotes. */
function parseWordList(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every((word) => typeof word === 'string') ? list : undefined;
  } catch {
    return undefined;
  }
}

/** Shells that read the script which a heredoc hands to them. */
const SHELL_CALL = /^(?:(?:\/usr)?\/bin\/)?(?:sh|bash|ash|dash)(?:\s+-[a-z]+)*$/;

function readCommands(text: string, heredoc: string): readonly Command[] {
  const list = parseWordList(text);
  if (list !== undefined) return toCommands(list);
  const call = withoutHeredocWords(text);
  if (heredoc === '' || (call !== '' && !SHELL_CALL.test(call))) return splitCommands(text);
  return /^#!(?!.*\b(?:ba|da|a)?sh\b)/.test(heredoc) ? [] : splitCommands(heredoc);
}

/** `NAME=value` pairs of an ARG or ENV. `raw` keeps the variables of the value; absent: an ARG without default. */
export interface Declaration {
  readonly name: string;
  readonly raw: string | undefined;
  readonly value: string | undefined;
}

export function declarationsOf({ keyword, words }: Instruction): readonly Declaration[] {
  if (keyword !== 'ARG' && keyword !== 'ENV') return [];
  const [first, ...rest] = words;
  if (keyword === 'ENV' && first !== undefined && !first.raw.includes('=')) {
    // The old form: ENV NAME all the rest.
    const isKnown = rest.every(({ value }) => value !== undefined);
    return [
      {
        name: first.raw,
        raw: rest.map(({ raw }) => raw).join(' '),
        value: isKnown ? rest.map(({ value }) => value).join(' ') : undefined,
      },
    ];
  }
  return words.map(({ raw, value }) => {
    const equals = raw.indexOf('=');
    if (equals === -1) return { name: raw, raw: undefined, value: undefined };
    return { name: raw.slice(0, equals), raw: raw.slice(equals + 1), value: value?.slice(value.indexOf('=') + 1) };
  });
}

export function hasFlag({ flags }: Instruction, flagName: string): boolean {
  return flags.some(({ name }) => name === flagName);
}

/** Values of a flag such as `--from`, as far as they are known. */
export function flagValues({ flags }: Instruction, flagName: string): readonly string[] {
  return flags.flatMap(({ name, value }) => (name === flagName && value !== undefined ? [value] : []));
}

/** `type=cache,target=/root/.npm` as pairs. */
export function mountsOf(instruction: Instruction): readonly ReadonlyMap<string, string>[] {
  return flagValues(instruction, 'mount').map(
    (value) =>
      new Map(
        value.split(',').map((part) => {
          const [name = '', ...rest] = part.split('=');
          return [name.trim().toLowerCase(), rest.join('=')] as const;
        }),
      ),
  );
}
