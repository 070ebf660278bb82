import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { readDockerfile, rootBase } from '../../../../operator/advice/parsing/dockerfile.ts';
import { declarationsOf, mountsOf } from '../../../../operator/advice/parsing/instruction.ts';
import { formatRepository } from '../../../../operator/image/reference.ts';
import { NOW_MS } from '../advise.ts';

interface Expected {
  readonly file: string;
  readonly args: Readonly<Record<string, string>>;
  readonly target: string | null;
  /** Absent where it cannot be told. */
  readonly runtimeBase?: string;
}

const FIXTURES = new URL('../../../support/fixtures/dockerfiles/', import.meta.url);
const EXPECTED = JSON.parse(readFileSync(new URL('expected.json', FIXTURES), 'utf8')) as readonly Expected[];

function read(text: string) {
  return readDockerfile(text, { hasDockerignore: true, nowMs: NOW_MS });
}

/** As expected.json writes it. */
function baseOf(text: string): string | undefined {
  const base = rootBase(read(text).shipped);
  if (base?.kind !== 'image') return base?.kind === 'scratch' ? 'scratch' : undefined;
  const { repository, tag, digest } = base.image;
  const suffix = digest === undefined ? `:${tag ?? 'latest'}` : `${tag === undefined ? '' : `:${tag}`}@${digest}`;
  return repository.host === 'docker.io' || base.text.startsWith(repository.host)
    ? `${formatRepository(repository)}${suffix}`
    : base.text;
}

describe('readDockerfile', () => {
  const plain = EXPECTED.filter(({ args, target }) => target === null && Object.keys(args).length === 0);

  // Patterns such as %%-* are not resolved.
  it.each(plain.filter(({ file }) => !file.startsWith('03-')))('finds the base of $file', ({ file, runtimeBase }) => {
    expect(baseOf(readFileSync(new URL(file, FIXTURES), 'utf8'))).toBe(runtimeBase);
  });

  it('does not know a base that it cannot resolve', () => {
    expect(rootBase(read('ARG A=b-c\nFROM debian:${A%%-*}').shipped)).toEqual({ kind: 'unknown' });
  });

  it.each([
    { when: 'the stage declares it', given: 'ARG V=1\nFROM a:1\nARG V\nUSER $V', want: '1' },
    { when: 'the stage gives its own value', given: 'ARG V=1\nFROM a:1\nARG V=2\nUSER $V', want: '2' },
    { when: 'the stage does not declare it', given: 'ARG V=1\nFROM a:1\nUSER $V', want: undefined },
    { when: 'ENV has it too', given: 'FROM a:1\nENV V=3\nARG V=2\nUSER $V', want: '3' },
    { when: 'the stage below has it', given: 'FROM a:1 AS b\nENV V=4\nFROM B\nUSER $V', want: '4' },
    { when: 'another stage has it', given: 'FROM a:1 AS b\nENV V=4\nFROM c:1\nUSER $V', want: undefined },
    { when: 'the same ENV sets it anew', given: 'FROM a:1\nENV V=1\nENV V=2 W=$V\nUSER $W', want: '1' },
  ])('knows the value of an argument when $when', ({ given, want }) => {
    expect(read(given).stages.at(-1)!.instructions.at(-1)!.words).toEqual([expect.objectContaining({ value: want })]);
  });

  it.each([
    { when: 'there is a plain RUN', given: 'RUN a && b', want: ['a', 'b'] },
    { when: 'the words are JSON', given: 'RUN ["/bin/a", "b && c"]', want: ['a'] },
    { when: 'JSON is not well-formed', given: "RUN ['a']", want: ['[a]'] },
    { when: 'a comment stands between', given: 'RUN a && \\\n  # x && y\n\n  b', want: ['a', 'b'] },
    { when: 'a heredoc is the script', given: 'RUN <<EOF\na\nb\nEOF', want: ['a', 'b', 'EOF'] },
    { when: 'a shell reads the heredoc', given: 'RUN /bin/bash -ex <<"EOF"\na\nEOF', want: ['a', 'EOF'] },
    { when: 'another reads it', given: 'RUN python3 <<EOF\na\nEOF', want: ['python3'] },
    { when: 'another is named in it', given: 'RUN <<EOF\n#!/usr/bin/env python3\na\nEOF', want: [] },
    { when: 'flags come first', given: 'RUN --network=none --mount=type=cache,target=/x a', want: ['a'] },
  ])('finds the commands when $when', ({ given, want }) => {
    const { instructions } = read(`FROM a:1\n${given}\nUSER x`).stages[0]!;

    expect(instructions.map(({ keyword }) => keyword)).toEqual(['RUN', 'USER']);
    expect(instructions[0]!.commands.map(({ name }) => name)).toEqual(want);
  });

  it.each(['RUN echo " <<EOF "', "RUN a \\\n && echo ' <<EOF ' \\\n && b", 'RUN echo " <<A " && echo " <<B "'])(
    'reads on after what only looks like a heredoc: %j',
    (run) => {
      expect(read(`FROM a:1\n${run}\nUSER x`).stages[0]!.instructions.at(-1)).toMatchObject({ keyword: 'USER' });
    },
  );
});

describe('mountsOf', () => {
  it('takes the flag apart', () => {
    const run = read('FROM a:1\nARG F=b\nRUN --mount=type=bind,from=$F,target=/x=y c').stages[0]!.instructions[1]!;

    expect(mountsOf(run).map((mount) => Object.fromEntries(mount))).toEqual([
      { type: 'bind', from: 'b', target: '/x=y' },
    ]);
  });
});

describe('declarationsOf', () => {
  it.each([
    {
      given: 'ENV A=1 B="x y"',
      want: [
        ['A', '1'],
        ['B', 'x y'],
      ],
    },
    { given: 'ENV "A"=1', want: [['"A"', '1']] },
    { given: 'ENV A x y', want: [['A', 'x y']] },
    { given: 'ENV A=$B', want: [['A', undefined]] },
    {
      given: 'ARG A B=1',
      want: [
        ['A', undefined],
        ['B', '1'],
      ],
    },
    { given: 'LABEL A=1', want: [] },
  ])('reads $given', ({ given, want }) => {
    const [instruction] = read(`FROM a:1\n${given}`).stages[0]!.instructions;

    expect(declarationsOf(instruction!).map(({ name, value }) => [name, value])).toEqual(want);
  });
});
