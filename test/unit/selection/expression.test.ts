import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileExpression } from '../../../operator/selection/expression.ts';

describe('compileExpression', () => {
  it('matches anywhere in the tag', () => {
    expect(compileExpression('b+').test('abbc')).toBe(true);
  });

  it('knows groups by number and by either spelling of a name', () => {
    const expression = compileExpression('(?P<a>.)(?<b>.)(.)');

    expect(expression.groupCount).toBe(3);
    expect({ ...expression.groupNames }).toEqual({ a: 1, b: 2 });
  });

  it('gives offsets of the groups, -1 for one that took no part', () => {
    expect(Array.from(compileExpression('a(b)?(c)').match('xac') ?? [])).toEqual([1, 3, -1, -1, 2, 3]);
  });

  it.each(['(?!x)', '(?<=x)y', '(a)\\1', 'a**', '[z-a]', 'a{1001}', '(', '\\', '(?P<n>a)(?P<n>b)'])(
    'refuses %s with a sentence',
    (source) => {
      expect(() => compileExpression(source)).toThrow(/is not an RE2 expression/);
    },
  );

  it.each(['(?:a{0,400}){0,2}(?:b{0,400}){0,2}', '[a-z]{999}[0-9]{999}', '(?i)(?:\\pL|\\d|-){0,900}$'])(
    'refuses %s, which is too costly',
    (source) => {
      expect(() => compileExpression(source)).toThrow(/too costly/);
    },
  );

  it.each(['^[a-f0-9]{7,40}$', '^(?P<b>[a-z0-9._-]+)-(?P<s>[a-f0-9]{64})-(?P<t>[0-9]{10})$', '(?i)^release/.*'])(
    'accepts %s, as people write it',
    (source) => {
      expect(() => compileExpression(source)).not.toThrow();
    },
  );

  it('needs time in proportion to the tag for an expression that ruins a backtracking engine', () => {
    const expression = compileExpression('^(?:a+)+$');

    expect(expression.test(`${'a'.repeat(100_000)}!`)).toBe(false);
  });

  it('agrees with itself on whether a tag matches, and never throws anything but a sentence', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '[ab]',
      '(a|b)',
      '(?P<n>a*)',
      'b?',
      '+',
      '*',
      '{2}',
      '(',
      ')',
      '^',
      '$',
      '\\d',
      '|',
    );

    fc.assert(
      fc.property(fc.array(atom, { maxLength: 7 }), fc.stringMatching(/^[ab1]{0,8}$/), (atoms, tag) => {
        const source = atoms.join('');
        let expression;
        try {
          expression = compileExpression(source);
        } catch (thrown) {
          expect((thrown as Error).message).toContain(JSON.stringify(source));
          return;
        }
        expect(expression.match(tag) !== undefined).toBe(expression.test(tag));
      }),
    );
  });
});
