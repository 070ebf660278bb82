import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileExpression } from '../../../operator/selection/expression.ts';
import { compileExtract } from '../../../operator/selection/extract.ts';

function extract(filter: string, template: string, tag: string): string | undefined {
  const expression = compileExpression(filter);
  const extractor = compileExtract(template, expression);
  const match = expression.match(tag);
  return match && extractor(tag, match);
}

describe('compileExtract', () => {
  const DATED = '^(?P<branch>[a-z]+)-(?P<day>[0-9]+)(?:-(?P<build>[0-9]+))?$';

  it.each([
    { template: '$day', tag: 'main-20260131', want: '20260131' },
    { template: '$2', tag: 'main-20260131', want: '20260131' },
    { template: '${day}.${build}', tag: 'main-20260131-7', want: '20260131.7' },
    { template: '$day.$build', tag: 'main-20260131-7', want: '20260131.7' },
    { template: '$day.0', tag: 'main-20260131', want: '20260131.0' },
    { template: '${2}0', tag: 'main-5', want: '50' },
    { template: '$build', tag: 'main-5', want: '' },
    { template: '$0', tag: 'main-5', want: 'main-5' },
    { template: '$$day', tag: 'main-5', want: '$day' },
    { template: 'constant', tag: 'main-5', want: 'constant' },
    { template: 'a$', tag: 'main-5', want: 'a$' },
    { template: '$-$', tag: 'main-5', want: '$-$' },
    { template: '${', tag: 'main-5', want: '${' },
  ])('builds $want from $template and $tag', ({ template, tag, want }) => {
    expect(extract(DATED, template, tag)).toBe(want);
  });

  it('takes the first match where the filter is not anchored', () => {
    expect(extract('[0-9]+', '$0', 'a12b34')).toBe('12');
  });

  it.each([
    { template: '$nope', says: 'its groups are $x, $1' },
    { template: '$2', says: 'its groups are $x, $1' },
    { template: '$1x', says: 'write ${1}' },
    { template: '${1x}', says: 'write ${1}' },
  ])('refuses $template, whose group does not exist', ({ template, says }) => {
    expect(() => extract('(?P<x>.)', template, 'a')).toThrow(says);
  });

  it('says how to add a group where the filter has none', () => {
    expect(() => extract('a', '$1', 'a')).toThrow('(?P<version>.*)');
  });

  it('never throws anything but a sentence, whatever the template', () => {
    const filter = compileExpression('(?P<a>[a-z]+)-([0-9]+)');
    const piece = fc.constantFrom('$', '$$', '$a', '${a}', '${', '}', '$1', '$2', '$9', '1', 'a', '-', ' ');

    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const template = pieces.join('');
        let text: string;
        try {
          text = compileExtract(template, filter)('main-7', filter.match('main-7') ?? []);
        } catch (thrown) {
          expect((thrown as Error).message).toContain(JSON.stringify(template));
          return;
        }
        if (!template.includes('$')) expect(text).toBe(template);
      }),
    );
  });
});
