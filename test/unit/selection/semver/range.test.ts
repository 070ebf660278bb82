import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseRange } from '../../../../operator/selection/semver/range.ts';
import { parseVersion } from '../../../../operator/selection/semver/version.ts';

function includes(range: string, version: string, withPrereleases = false): boolean {
  const parsed = parseVersion(version);
  if (!parsed) throw new Error(`${version} is no version`);
  return parseRange(range).includes(parsed, withPrereleases);
}

describe('parseRange', () => {
  // The peers' tables run in test/conformance; these are the differences from npm that surprise people, and the corners.
  it.each([
    { range: '=1.2', version: '1.2.9', want: true },
    { range: '1.2', version: '1.2.9', want: true },
    { range: '1.2.3', version: '1.2.4', want: false },
    { range: '>1', version: '1.9.0', want: false },
    { range: '>1', version: '2.0.0', want: true },
    { range: '<=1', version: '1.9.0', want: true },
    { range: '<=1.2', version: '1.3.0', want: false },
    { range: '!=1.2', version: '1.2.9', want: false },
    { range: '~1', version: '1.9.0', want: true },
    { range: '^0.2', version: '0.3.0', want: false },
    { range: '^0.0.3', version: '0.0.4', want: false },
    { range: '^*', version: '7.0.0', want: true },
    { range: '*', version: '7.0.0', want: true },
    { range: '1.2 - 1.4', version: '1.4.9', want: true },
    { range: '1.2 - 1.4.1', version: '1.4.2', want: false },
    { range: '1.x || >=3 <3.1', version: '3.0.5', want: true },
    { range: '1.x||3 - 4', version: '1.0.0', want: true },
    { range: '>=2, 1 - 3', version: '2.5.0', want: true },
    { range: ' >=1.2.0\t<2 ', version: '1.9.9', want: true },
    { range: 'v1.x', version: 'v1.2.3', want: true },
    { range: '>=1.0.0+build', version: '1.0.0', want: true },
    { range: '>=1.0.9007199254740993', version: '1.0.9007199254740992', want: false },
    { range: '<2', version: '2.0.0-rc.1', want: false },
    { range: '>=1.0.0-0', version: '1.5.0-rc.1', want: true },
    { range: '>=1.0.0-0 || 3.x', version: '3.1.0-rc.1', want: true },
    { range: '<1.0.0-0 || 3.x', version: '3.1.0-rc.1', want: false },
  ])('$range on $version is $want', ({ range, version, want }) => {
    expect(includes(range, version)).toBe(want);
  });

  it('lets prereleases in everywhere when asked', () => {
    expect(includes('1.x', '1.5.0-rc.1')).toBe(false);
    expect(includes('1.x', '1.5.0-rc.1', true)).toBe(true);
    expect(includes('1.x', '2.0.0-rc.1', true)).toBe(false);
    expect(includes('<2', '2.0.0-rc.1', true)).toBe(true);
  });

  it.each([
    { range: '', says: 'a version is missing' },
    { range: '   ', says: 'a version is missing' },
    { range: '1.x ||', says: 'a version is missing' },
    { range: '1.x,', says: 'a version is missing' },
    { range: '>=', says: 'cannot read ">="' },
    { range: '>= bar', says: 'cannot read ">= bar"' },
    { range: '1.2.3.4', says: 'cannot read ".4"' },
    { range: '1.0.0p', says: 'cannot read "p"' },
    { range: '1x', says: 'cannot read "x"' },
    { range: '==1.0', says: 'cannot read' },
    { range: '>1<2', says: 'cannot read "<2"' },
    { range: '1 | 2', says: 'cannot read "| 2"' },
    { range: '1.0.0-01', says: 'cannot read' },
    { range: '>1 - 2', says: 'cannot read' },
    { range: '1 - >2', says: 'cannot read' },
    { range: '1.'.repeat(200), says: 'at most 256' },
  ])('refuses $range with a sentence', ({ range, says }) => {
    expect(() => parseRange(range)).toThrow(says);
  });

  it('never throws anything but a sentence, and answers for every version, whatever the text', () => {
    const piece = fc.constantFrom(
      '1',
      '0',
      'x',
      '*',
      '.',
      '-',
      ' ',
      ',',
      '||',
      '>',
      '<',
      '=',
      '!',
      '~',
      '^',
      'v',
      'rc.1',
      '+b',
    );
    const version = parseVersion('1.2.3-rc.1');

    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
          fc.string(),
        ),
        (text) => {
          let range;
          try {
            range = parseRange(text);
          } catch (thrown) {
            expect((thrown as Error).message).toMatch(/is not a version range|at most 256/);
            return;
          }
          // What is in without prereleases is in with them.
          if (version && range.includes(version, false)) expect(range.includes(version, true)).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('is the union of its groups and the intersection of their terms', () => {
    const bound = fc
      .tuple(
        fc.constantFrom('', '=', '!=', '>', '<', '>=', '<=', '~', '^'),
        fc.constantFrom('1', '1.2', '1.2.3', '0.x', '2.0.0'),
      )
      .map((parts) => parts.join(''));
    const versions = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)).map((numbers) => numbers.join('.'));

    fc.assert(
      fc.property(bound, bound, versions, (a, b, version) => {
        expect(includes(`${a} ${b}`, version)).toBe(includes(a, version) && includes(b, version));
        expect(includes(`${a}||${b}`, version)).toBe(includes(a, version) || includes(b, version));
      }),
    );
  });
});
