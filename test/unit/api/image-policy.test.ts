import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { SEMVER_RANGE } from '../../../operator/api/image-policy.ts';
import { parseRange } from '../../../operator/selection/semver/range.ts';

const acceptedByServer = RE2JS.compile(SEMVER_RANGE);

function isReadable(range: string): boolean {
  try {
    parseRange(range);
    return true;
  } catch {
    return false;
  }
}

const number = fc.oneof(fc.nat({ max: 30 }).map(String), fc.constantFrom('x', 'X', '*'));
const version = fc
  .tuple(
    fc.constantFrom('', 'v'),
    fc.array(number, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '-rc.1', '-alpha', '-0', '-a-b'),
    fc.constantFrom('', '+b1'),
  )
  .map(([v, parts, prerelease, build]) => `${v}${parts.join('.')}${prerelease}${build}`);
const piece = fc.oneof(
  version,
  fc.constantFrom(
    '>',
    '<',
    '>=',
    '<=',
    '=>',
    '=<',
    '=',
    '!=',
    '~',
    '~>',
    '^',
    ' ',
    '  ',
    ',',
    ', ',
    ' - ',
    '||',
    ' || ',
  ),
);

describe('SEMVER_RANGE', () => {
  it('lets through whatever selection can read', () => {
    let readable = 0;
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 9 }), (pieces) => {
        const range = pieces.join('');
        if (!isReadable(range)) return;
        readable += 1;
        expect([range, acceptedByServer.test(range)]).toEqual([range, true]);
      }),
      { numRuns: 3_000 },
    );
    expect(readable).toBeGreaterThan(100);
  });

  it.each(['latest', 'not a range', '', '1.2.3.4', '>>1', '1.x ||', ',1', '^', 'v', '1.x; rm', '1.2.x-'])(
    'refuses %j, which selection cannot read either',
    (range) => {
      expect({ server: acceptedByServer.test(range), selection: isReadable(range) }).toEqual({
        server: false,
        selection: false,
      });
    },
  );
});
