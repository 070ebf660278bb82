import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareDecimals, parseDecimal, type Decimal } from '../../../../operator/selection/orders/numerical.ts';
import { rankTags, reasonAt } from '../../../../operator/selection/rank.ts';
import { compileTagRules } from '../../../../operator/selection/tag-rules.ts';

function read(text: string): Decimal {
  const decimal = parseDecimal(text);
  if (!decimal) throw new Error(`${text} is no decimal`);
  return decimal;
}

describe('parseDecimal', () => {
  it.each([
    '0',
    '7',
    '007',
    '-7',
    '+7',
    '1.5',
    '.5',
    '5.',
    '-0',
    '123456789012345678901234567890.000000000000000000001',
  ])('reads %s', (text) => {
    expect(parseDecimal(text)).toBeDefined();
  });

  it.each(['', '.', '-', '+.', '1e5', '0x10', '1_000', '1,5', '1.2.3', '1a', 'b', ' 1', 'Infinity', 'NaN', '--1'])(
    'does not read %j',
    (text) => {
      expect(parseDecimal(text)).toBeUndefined();
    },
  );
});

describe('compareDecimals', () => {
  it.each([
    { a: '7', b: '007' },
    { a: '1.50', b: '1.5' },
    { a: '-0', b: '0' },
    { a: '.5', b: '0.5' },
    { a: '5.', b: '5' },
  ])('finds $a and $b equal', ({ a, b }) => {
    expect(compareDecimals(read(a), read(b))).toBe(0);
  });

  it.each([
    { less: '-2', more: '-1' },
    { less: '-1', more: '0' },
    { less: '9', more: '10' },
    { less: '1.09', more: '1.1' },
    { less: '-1.1', more: '-1.09' },
    { less: '9007199254740992', more: '9007199254740993' },
    { less: '0.10000000000000000001', more: '0.10000000000000000002' },
  ])('finds $less below $more', ({ less, more }) => {
    expect(compareDecimals(read(less), read(more))).toBeLessThan(0);
    expect(compareDecimals(read(more), read(less))).toBeGreaterThan(0);
  });

  it('agrees with exact arithmetic', () => {
    const SCALE = 6;
    const scaled = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
    const spell = (value: bigint): string => {
      const digits = String(value < 0n ? -value : value).padStart(SCALE + 1, '0');
      return `${value < 0n ? '-' : ''}${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`;
    };

    fc.assert(
      fc.property(scaled, scaled, (a, b) => {
        const want = a < b ? -1 : a > b ? 1 : 0;
        expect(Math.sign(compareDecimals(read(spell(a)), read(spell(b))))).toBe(want);
      }),
    );
  });
});

describe('numerical', () => {
  it('passes over a tag that is no number and goes on', () => {
    const ranking = rankTags(compileTagRules({ numerical: {} }), ['0', '1a', 'b']);

    expect(ranking.candidates.map(({ tag }) => tag)).toEqual(['0']);
    expect([1, 2].map((index) => reasonAt(ranking, index))).toEqual(['NotNumeric', 'NotNumeric']);
  });
});
