// Digests, tags and platforms.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TerminalError } from '../../../operator/errors.ts';
import { isDigest, parseDigest, shortDigest } from '../../../operator/image/digest.ts';
import { formatPlatform, normalizePlatform, parsePlatform } from '../../../operator/image/platform.ts';
import { isTag } from '../../../operator/image/tag.ts';

const HEX = 'a'.repeat(64);

describe('isDigest', () => {
  it.each([
    { given: `sha256:${HEX}`, want: true },
    { given: `sha256:${HEX.toUpperCase()}`, want: false },
    { given: `sha256:${HEX}a`, want: false },
    { given: `sha256:${HEX.slice(1)}`, want: false },
    { given: `sha256:${HEX}\n`, want: false },
    { given: ` sha256:${HEX}`, want: false },
    { given: HEX, want: false },
    { given: `sha512:${HEX}${HEX}`, want: false },
    { given: '', want: false },
  ])('$given: $want', ({ given, want }) => {
    expect(isDigest(given)).toBe(want);
    expect(parseDigest(given)).toBe(want ? given : undefined);
  });
});

describe('parseDigest', () => {
  it('has none of nothing', () => {
    expect(parseDigest(undefined)).toBeUndefined();
  });
});

describe('shortDigest', () => {
  it('has twelve characters, with or without the algorithm', () => {
    const hex = '0123456789abcdef'.repeat(4);

    expect(shortDigest(`sha256:${hex}`)).toBe('0123456789ab');
    expect(shortDigest(hex)).toBe('0123456789ab');
  });
});

describe('isTag', () => {
  it.each([
    { given: 'latest', want: true },
    { given: '1.2.3', want: true },
    { given: '_', want: true },
    { given: 'A-b_c.1', want: true },
    { given: 'x'.repeat(128), want: true },
    { given: 'x'.repeat(129), want: false },
    { given: '', want: false },
    { given: '.1', want: false },
    { given: '-1', want: false },
    { given: '1+build', want: false },
    { given: '1/2', want: false },
    { given: '1\n', want: false },
    { given: 'é', want: false },
  ])('$given: $want', ({ given, want }) => {
    expect(isTag(given)).toBe(want);
  });
});

describe('parsePlatform', () => {
  it.each([
    { given: 'linux/amd64', want: 'linux/amd64' },
    { given: 'Linux/AMD64', want: 'linux/amd64' },
    { given: 'linux/x86_64', want: 'linux/amd64' },
    { given: 'linux/x86-64', want: 'linux/amd64' },
    { given: 'linux/amd64/v1', want: 'linux/amd64' },
    { given: 'linux/amd64/v3', want: 'linux/amd64/v3' },
    { given: 'linux/aarch64', want: 'linux/arm64' },
    { given: 'linux/arm64/v8', want: 'linux/arm64' },
    { given: 'linux/arm64/V8', want: 'linux/arm64' },
    { given: 'linux/aarch64/v8', want: 'linux/arm64' },
    { given: 'linux/arm64/v9', want: 'linux/arm64/v9' },
    { given: 'linux/arm', want: 'linux/arm' },
    { given: 'linux/arm/v7', want: 'linux/arm' },
    { given: 'linux/arm/v6', want: 'linux/arm/v6' },
    { given: 'windows/amd64', want: 'windows/amd64' },
    { given: 'linux/s390x', want: 'linux/s390x' },
  ])('reads $given as $want', ({ given, want }) => {
    expect(formatPlatform(parsePlatform(given))).toBe(want);
  });

  it.each(['', 'linux', 'linux/', '/amd64', 'linux/arm/v7/x'])('refuses %j', (given) => {
    expect(() => parsePlatform(given)).toThrow(TerminalError);
    expect(() => parsePlatform(given)).toThrow(/linux\/amd64/);
  });

  it('reads what it writes', () => {
    const part = fc.stringMatching(/^[A-Za-z0-9_.]{1,8}$/);
    fc.assert(
      fc.property(
        part,
        fc.oneof(part, fc.constantFrom('amd64', 'arm', 'ARM64', 'aarch64')),
        fc.option(fc.oneof(part, fc.constantFrom('v1', 'V8', 'v7', '')), { nil: undefined }),
        (os, arch, variant) => {
          const platform = normalizePlatform(os, arch, variant);

          expect(parsePlatform(formatPlatform(platform))).toEqual(platform);
        },
      ),
    );
  });
});
