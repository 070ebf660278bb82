import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareVersions, parseVersion, type Version } from '../../../../operator/selection/semver/version.ts';

const identifier = fc.oneof(
  fc.nat({ max: 12 }).map(String),
  fc.constantFrom('alpha', 'beta', 'rc', '1a', 'a-b', '-', '99999999999999999999'),
);
const number = fc.oneof(
  fc.nat({ max: 3 }).map(String),
  fc.constantFrom('007', '123456789012345', '9007199254740993', '9007199254740992'),
);
const versionText = fc
  .record({
    v: fc.constantFrom('', 'v'),
    numbers: fc.tuple(number, number, number),
    prerelease: fc.array(identifier, { maxLength: 3 }),
  })
  .map(
    ({ v, numbers, prerelease }) =>
      `${v}${numbers.join('.')}${prerelease.length > 0 ? `-${prerelease.join('.')}` : ''}`,
  );

function read(text: string): Version {
  const version = parseVersion(text);
  if (!version) throw new Error(`${text} is no version`);
  return version;
}

describe('parseVersion', () => {
  it.each([
    { text: '1.2.3', want: { major: 1, minor: 2, patch: 3, prerelease: '' } },
    { text: 'v1.2.3', want: { major: 1, minor: 2, patch: 3, prerelease: '' } },
    { text: '2026.01.09', want: { major: 2026, minor: 1, patch: 9, prerelease: '' } },
    { text: '1.2.3-rc.1+build.01', want: { major: 1, minor: 2, patch: 3, prerelease: 'rc.1' } },
    { text: '1.2.9007199254740993', want: { major: 1, minor: 2, patch: 9007199254740993n, prerelease: '' } },
    { text: '1.2.0000000000000000000003', want: { major: 1, minor: 2, patch: 3, prerelease: '' } },
    { text: '1.2.123456789012', want: { major: 1, minor: 2, patch: 123456789012, prerelease: '' } },
  ])('reads $text', ({ text, want }) => {
    expect(parseVersion(text)).toEqual(want);
  });

  it.each([
    '',
    'v',
    '1',
    '1.2',
    '1.2.',
    '.1.2',
    '1..2',
    '1.2.3.4',
    '1.2.3p',
    'V1.2.3',
    'vv1.2.3',
    ' 1.2.3',
    '1.2.3 ',
    '1.2.3-',
    '1.2.3-a..b',
    '1.2.3-01',
    '1.2.3+',
    '1.2.3+a+b',
    '1.2.3-a_b',
    '-1.2.3',
    '1.2.x',
    'latest',
  ])('does not read %j', (text) => {
    expect(parseVersion(text)).toBeUndefined();
  });

  it.each([
    { text: '1', least: 1 as const, want: '1.0.0' },
    { text: 'v1.2', least: 1 as const, want: '1.2.0' },
    { text: '1.2-rc.1', least: 2 as const, want: '1.2.0' },
  ])('reads $text where $least numbers do', ({ text, least, want }) => {
    const version = parseVersion(text, least);

    expect(version && [version.major, version.minor, version.patch].join('.')).toBe(want);
    expect(parseVersion(text)).toBeUndefined();
  });

  it('never throws, whatever the text', () => {
    const text = fc.oneof(fc.string({ maxLength: 40 }), fc.stringMatching(/^[v0-9.+a-z-]{0,30}$/));

    fc.assert(
      fc.property(text, (any) => {
        const strict = parseVersion(any);
        if (strict) expect(parseVersion(any, 1)).toEqual(strict);
      }),
    );
  });
});

describe('compareVersions', () => {
  it('follows the example of the specification', () => {
    const ascending = [
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
    ];

    expect(ascending.toReversed().sort((a, b) => compareVersions(read(a), read(b)))).toEqual(ascending);
  });

  it('is exact beyond the integers of a double', () => {
    expect(compareVersions(read('1.0.9007199254740993'), read('1.0.9007199254740992'))).toBeGreaterThan(0);
    expect(compareVersions(read('1.0.0-9007199254740993'), read('1.0.0-9007199254740992'))).toBeGreaterThan(0);
    expect(compareVersions(read('1.0.9007199254740993'), read('1.0.2'))).toBeGreaterThan(0);
    expect(compareVersions(read('1.0.18014398509481986'), read('1.0.018014398509481986'))).toBe(0);
  });

  it('is a total order: antisymmetric and transitive', () => {
    fc.assert(
      fc.property(versionText, versionText, versionText, (x, y, z) => {
        const [a, b, c] = [read(x), read(y), read(z)];

        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        expect(compareVersions(a, a)).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });
});
