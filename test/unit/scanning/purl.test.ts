import { describe, expect, it } from '@jest/globals';
import { coversPurl, packageNameOf, parsePurl, type PackageUrl } from '../../../operator/scanning/purl.ts';

const purl = (text: string): PackageUrl => parsePurl(text)!;

describe('parsePurl', () => {
  it.each<{ text: string; want: Partial<PackageUrl> }>([
    {
      text: 'pkg:deb/debian/tar@1.34%2Bdfsg-1.2?arch=amd64&distro=debian-12.10',
      want: {
        type: 'deb',
        namespace: 'debian',
        name: 'tar',
        version: '1.34+dfsg-1.2',
        qualifiers: { arch: 'amd64', distro: 'debian-12.10' },
      },
    },
    { text: 'pkg:deb/debian/tar@1.34+dfsg?v=1+2', want: { version: '1.34+dfsg', qualifiers: { v: '1+2' } } },
    { text: 'pkg:npm/%40acme/web@1.0.0#lib', want: { namespace: '@acme', name: 'web', version: '1.0.0' } },
    { text: 'pkg:npm/@acme/web', want: { namespace: '@acme', name: 'web' } },
    { text: 'pkg:npm/@web', want: { namespace: '', name: '@web' } },
    { text: 'pkg://NPM//undici@6.21.0', want: { type: 'npm', namespace: '', name: 'undici' } },
    {
      text: 'pkg:oci/web@sha256%3Aab?repository_url=registry.example.com%2Fshop%2Fweb&=x&tag=',
      want: { name: 'web', version: 'sha256:ab', qualifiers: { repository_url: 'registry.example.com/shop/web' } },
    },
    { text: 'pkg:golang/k8s.io/api@v1', want: { namespace: 'k8s.io', name: 'api' } },
  ])('reads $text', ({ text, want }) => {
    expect(parsePurl(text)).toMatchObject(want);
  });

  it('leaves the version out when there is none', () => {
    expect(parsePurl('pkg:npm/undici@')).not.toHaveProperty('version');
  });

  it.each(['', 'libssl3', 'https://example.com/web', 'pkg:deb', 'pkg:deb/', 'pkg:deb//', 'pkg:deb/%E0%A4%A', 'pkg:/x'])(
    'is undefined for %j',
    (text) => {
      expect(parsePurl(text)).toBeUndefined();
    },
  );
});

describe('coversPurl', () => {
  const found = purl('pkg:deb/debian/tar@1.34%2Bdfsg?arch=amd64&distro=debian-12.10');

  it.each([
    { pattern: 'pkg:deb/debian/tar', want: true },
    { pattern: 'pkg:deb/debian/tar@1.34+dfsg', want: true },
    { pattern: 'pkg:deb/debian/tar?arch=amd64', want: true },
    { pattern: 'pkg:deb/debian/tar@1.35', want: false },
    { pattern: 'pkg:deb/debian/tar?arch=arm64', want: false },
    { pattern: 'pkg:deb/debian/tar?constructor=amd64', want: false },
    { pattern: 'pkg:deb/ubuntu/tar', want: false },
    { pattern: 'pkg:deb/debian/tar2', want: false },
    { pattern: 'pkg:apk/debian/tar', want: false },
  ])('is $want for $pattern', ({ pattern, want }) => {
    expect(coversPurl(purl(pattern), found)).toBe(want);
  });
});

describe('packageNameOf', () => {
  it.each([
    ['pkg:deb/debian/libssl3@3', 'libssl3'],
    ['pkg:apk/wolfi/curl', 'curl'],
    ['pkg:npm/%40acme/web@1', '@acme/web'],
    ['pkg:maven/org.acme/web@1', 'org.acme:web'],
    ['pkg:golang/golang.org/x/net@v1', 'golang.org/x/net'],
    ['pkg:pypi/requests', 'requests'],
  ])('names %s as scanners do', (text, want) => {
    expect(packageNameOf(purl(text))).toBe(want);
  });
});
