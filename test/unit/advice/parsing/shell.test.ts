import { describe, expect, it } from '@jest/globals';
import { splitCommands } from '../../../../operator/advice/parsing/shell.ts';

describe('splitCommands', () => {
  it.each([
    { given: 'a b && c; d | e || f & g', want: ['a b', 'c', 'd', 'e', 'f', 'g'] },
    { given: 'a 2>&1 >/dev/null &> x b', want: ['a 2>&1 >/dev/null &> x b'] },
    { given: `a "b && c" 'd;e' f\\ g`, want: ['a b && c d;e f g'] },
    { given: 'a $(b; c | d) `e; f` ${g:-h i}', want: ['a $(b; c | d) `e; f` ${g:-h i}'] },
    { given: 'if ! a; then b; else c; fi', want: ['a', 'b', 'c', 'fi'] },
    { given: '(a; b)\n# c; d\ne # f', want: ['a', 'b', 'e'] },
    { given: 'A=1 B="x y" sudo -E /usr/bin/a', want: ['a'] },
    { given: `bash -ec "a && b"`, want: ['bash -ec a && b', 'a', 'b'] },
    { given: 'a \\\n  b', want: ['a b'] },
    { given: '"open; to the end', want: ['open; to the end'] },
    { given: '', want: [] },
  ])('splits $given', ({ given, want }) => {
    expect(splitCommands(given).map(({ name, args }) => [name, ...args].join(' '))).toEqual(want);
  });

  it('keeps what is assigned before a command or exported', () => {
    expect(splitCommands('A=1 b; export C="x y" D').map(({ assignments }) => assignments)).toEqual([
      [['A', '1']],
      [['C', 'x y']],
    ]);
  });
});
