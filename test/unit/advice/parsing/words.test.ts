import { describe, expect, it } from '@jest/globals';
import { expandWord, splitWords } from '../../../../operator/advice/parsing/words.ts';

const VALUES = new Map([
  ['A', 'one'],
  ['EMPTY', ''],
]);
const context = { escape: '\\', lookUp: (name: string) => VALUES.get(name) };

describe('splitWords', () => {
  it.each([
    { given: 'a  b\tc', want: ['a', 'b', 'c'] },
    { given: `A="x y" 'b c'`, want: ['A="x y"', "'b c'"] },
    { given: String.raw`a\ b c`, want: [String.raw`a\ b`, 'c'] },
    { given: `"open to the end`, want: ['"open to the end'] },
    { given: '  ', want: [] },
  ])('splits $given', ({ given, want }) => {
    expect(splitWords(given, '\\')).toEqual(want);
  });
});

describe('expandWord', () => {
  it.each([
    { word: 'a$A-b', want: 'aone-b' },
    { word: '${A}b', want: 'oneb' },
    { word: `"$A"'$A'`, want: 'one$A' },
    { word: String.raw`\$A`, want: '$A' },
    { word: '${NONE:-two}', want: 'two' },
    { word: '${EMPTY:-two}', want: 'two' },
    { word: '${EMPTY-two}', want: '' },
    { word: '${A:+two}', want: 'two' },
    { word: '${EMPTY:+two}', want: '' },
    { word: '${NONE:-${A}}', want: 'one' },
    { word: '${NONE:+two}', want: undefined },
    { word: '$NONE', want: undefined },
    { word: 'a${A%%-*}', want: undefined },
    { word: '${A', want: undefined },
    { word: '$', want: undefined },
  ])('makes $want of $word', ({ word, want }) => {
    expect(expandWord(word, context)).toBe(want);
  });

  it('gives up on defaults within defaults', () => {
    expect(expandWord(`${'${N:-'.repeat(5_000)}x${'}'.repeat(5_000)}`, context)).toBeUndefined();
  });
});
