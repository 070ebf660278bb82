import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TerminalError } from '../../../operator/errors.ts';
import type { Digest } from '../../../operator/image/digest.ts';
import {
  formatPinnedImage,
  formatRepository,
  isSameRepository,
  parseImage,
  parseRepository,
} from '../../../operator/image/reference.ts';
import { digestOf } from '../../support/builders/images.ts';

const DIGEST = digestOf('image');

function errorOf(action: () => unknown): TerminalError {
  try {
    action();
  } catch (error) {
    if (error instanceof TerminalError) return error;
    throw error;
  }
  throw new Error('it did not throw');
}

describe('parseRepository', () => {
  it.each([
    // Docker Hub's short names are completed, and its other names are one.
    { given: 'nginx', want: 'docker.io/library/nginx' },
    { given: 'acme/web', want: 'docker.io/acme/web' },
    { given: 'acme/team/web', want: 'docker.io/acme/team/web' },
    { given: 'docker.io/nginx', want: 'docker.io/library/nginx' },
    { given: 'docker.io/library/nginx', want: 'docker.io/library/nginx' },
    { given: 'index.docker.io/acme/web', want: 'docker.io/acme/web' },
    { given: 'registry-1.docker.io/library/nginx', want: 'docker.io/library/nginx' },
    { given: 'registry.hub.docker.com/library/nginx', want: 'docker.io/library/nginx' },
    { given: 'Docker.IO/acme/web', want: 'docker.io/acme/web' },
    // What names a host: a dot, a port, or localhost.
    { given: 'ghcr.io/acme/web', want: 'ghcr.io/acme/web' },
    { given: 'GHCR.io/acme/web', want: 'ghcr.io/acme/web' },
    { given: 'localhost/web', want: 'localhost/web' },
    { given: 'localhost:5000/web', want: 'localhost:5000/web' },
    { given: 'registry:5000/web', want: 'registry:5000/web' },
    { given: 'registry/web', want: 'docker.io/registry/web' },
    { given: 'my-registry.example.com:8443/a/b/c', want: 'my-registry.example.com:8443/a/b/c' },
    { given: '10.0.0.1:5000/web', want: '10.0.0.1:5000/web' },
    { given: '[::1]:5000/web', want: '[::1]:5000/web' },
    { given: '[FE80::1]/web', want: '[fe80::1]/web' },
    {
      given: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/web',
      want: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/web',
    },
    { given: 'europe-docker.pkg.dev/project/repo/web', want: 'europe-docker.pkg.dev/project/repo/web' },
    // Separators inside a component.
    { given: 'ghcr.io/acme/web_app', want: 'ghcr.io/acme/web_app' },
    { given: 'ghcr.io/acme/web__app', want: 'ghcr.io/acme/web__app' },
    { given: 'ghcr.io/acme/web--app', want: 'ghcr.io/acme/web--app' },
    { given: 'ghcr.io/acme/web.app-2', want: 'ghcr.io/acme/web.app-2' },
    { given: 'docker.io', want: 'docker.io/library/docker.io' },
  ])('reads $given as $want', ({ given, want }) => {
    expect(formatRepository(parseRepository(given))).toBe(want);
  });

  it.each([
    { given: '', says: 'host/path' },
    { given: 'https://ghcr.io/acme/web', says: 'leave out the scheme' },
    { given: 'HTTP://ghcr.io/acme/web', says: 'leave out the scheme' },
    { given: 'oci://ghcr.io/acme/web', says: 'leave out the scheme' },
    { given: 'user:secret@ghcr.io/acme/web', says: 'without credentials' },
    { given: 'user@ghcr.io/acme/web', says: 'without credentials' },
    { given: `ghcr.io/acme/web@${DIGEST}`, says: 'without a digest' },
    { given: 'ghcr.io/acme/web:1.0.0', says: 'without a tag' },
    { given: 'nginx:1.27', says: 'without a tag' },
    { given: 'localhost:5000', says: 'without a tag' },
    { given: 'ghcr.io/Acme/web', says: 'lower case' },
    { given: 'Nginx', says: 'lower case' },
    { given: 'ghcr.io/', says: 'host/path' },
    { given: '/web', says: 'host/path' },
    { given: 'ghcr.io//web', says: 'host/path' },
    { given: 'ghcr.io/acme/web/', says: 'host/path' },
    { given: 'ghcr.io/acme/../web', says: 'host/path' },
    { given: 'ghcr.io/acme/we b', says: 'host/path' },
    { given: 'ghcr.io/acme/web\n', says: 'host/path' },
    { given: ' nginx', says: 'host/path' },
    { given: 'ghcr.io/acme/web___app', says: 'host/path' },
    { given: 'ghcr.io/acme/web..app', says: 'host/path' },
    { given: 'ghcr.io/acme/-web', says: 'host/path' },
    { given: 'ghcr.io/acme/web-', says: 'host/path' },
    { given: 'ghcr.io/acme/wéb', says: 'host/path' },
    { given: 'ghcr.io/acme/web%2f', says: 'host/path' },
    { given: 'ghcr.io/acme/web?tag=1', says: 'host/path' },
    { given: 'ghcr.io/acme/web#1', says: 'host/path' },
    { given: '-bad.example/web', says: 'host is malformed' },
    { given: 'a..b/web', says: 'host is malformed' },
    { given: 'ghcr.io:99999/web', says: 'host is malformed' },
    { given: 'ghcr.io:/web', says: 'host is malformed' },
    { given: 'ghcr.io:port/web', says: 'host is malformed' },
    { given: 'a.1/web', says: 'host is malformed' },
    { given: '256.1.1.1/web', says: 'host is malformed' },
    { given: '0x7f.1/web', says: 'host is malformed' },
    { given: '010.0.0.1:5000/web', says: 'host is malformed' },
    { given: '[:::]/web', says: 'host is malformed' },
    { given: '[::1/web', says: 'host is malformed' },
    { given: '::1/web', says: 'host is malformed' },
    { given: '[::1]x/web', says: 'host is malformed' },
    { given: `ghcr.io/${'a'.repeat(248)}`, says: 'longer than 255' },
  ])('refuses $given and says what to do', ({ given, says }) => {
    const error = errorOf(() => parseRepository(given));

    expect(error.code).toBe('InvalidImage');
    expect(error.message).toContain(says);
    expect(error.message).toContain(JSON.stringify(given));
  });

  it('takes the longest name that a registry may have', () => {
    expect(parseRepository(`ghcr.io/${'a'.repeat(247)}`).path).toHaveLength(247);
  });
});

describe('parseImage', () => {
  it.each([
    { given: 'nginx', repository: 'docker.io/library/nginx', tag: undefined, digest: undefined },
    { given: 'nginx:1.27', repository: 'docker.io/library/nginx', tag: '1.27', digest: undefined },
    { given: `nginx@${DIGEST}`, repository: 'docker.io/library/nginx', tag: undefined, digest: DIGEST },
    { given: `nginx:1.27@${DIGEST}`, repository: 'docker.io/library/nginx', tag: '1.27', digest: DIGEST },
    { given: 'localhost:5000/web', repository: 'localhost:5000/web', tag: undefined, digest: undefined },
    { given: 'localhost:5000/web:1', repository: 'localhost:5000/web', tag: '1', digest: undefined },
    { given: `[::1]:5000/web:1@${DIGEST}`, repository: '[::1]:5000/web', tag: '1', digest: DIGEST },
    { given: 'ghcr.io/acme/web:_Odd.Tag-1', repository: 'ghcr.io/acme/web', tag: '_Odd.Tag-1', digest: undefined },
    { given: 'localhost:5000', repository: 'docker.io/library/localhost', tag: '5000', digest: undefined },
  ])('reads $given', ({ given, repository, tag, digest }) => {
    const image = parseImage(given);

    expect(formatRepository(image.repository)).toBe(repository);
    expect(image.tag).toBe(tag);
    expect(image.digest).toBe(digest);
    expect(Object.values(image)).not.toContain(undefined);
  });

  it.each([
    { given: '' },
    { given: 'nginx:' },
    { given: 'nginx@' },
    { given: ':1.27' },
    { given: 'nginx:-1' },
    { given: 'nginx:.1' },
    { given: `nginx:${'1'.repeat(129)}` },
    { given: 'nginx:1 27' },
    { given: 'nginx@sha256:abc' },
    { given: `nginx@${DIGEST.toUpperCase()}` },
    { given: `nginx@${DIGEST}0` },
    { given: `nginx@${DIGEST}@${DIGEST}` },
    { given: `nginx@sha512:${'a'.repeat(128)}` },
    { given: 'https://nginx:1' },
    { given: 'user:secret@ghcr.io/acme/web:1' },
    { given: '${IMAGE}' },
  ])('refuses $given', ({ given }) => {
    expect(errorOf(() => parseImage(given)).code).toBe('InvalidImage');
  });
});

describe('isSameRepository', () => {
  it.each([
    { a: 'nginx', b: 'index.docker.io/library/nginx', want: true },
    { a: 'GHCR.io/acme/web', b: 'ghcr.io/acme/web', want: true },
    { a: 'ghcr.io/acme/web', b: 'ghcr.io/acme/web2', want: false },
    { a: 'localhost:5000/web', b: 'localhost:5001/web', want: false },
  ])('$a and $b: $want', ({ a, b, want }) => {
    expect(isSameRepository(parseRepository(a), parseRepository(b))).toBe(want);
  });
});

describe('formatPinnedImage', () => {
  it('spells the repository as the user did', () => {
    expect(formatPinnedImage('nginx', '1.27', DIGEST)).toBe(`nginx:1.27@${DIGEST}`);
  });
});

describe('image references, whatever they are', () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,8}(([._]|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
  const host = fc.oneof(
    fc.constantFrom(
      'ghcr.io',
      'GHCR.io',
      'localhost',
      'localhost:5000',
      'docker.io',
      'index.docker.io',
      '[::1]:5000',
      '10.1.2.3:80',
    ),
    fc.domain(),
    fc.tuple(fc.domain(), fc.integer({ min: 1, max: 65_535 })).map(([name, port]) => `${name}:${port}`),
  );
  const repository = fc
    .tuple(fc.option(host), fc.array(component, { minLength: 1, maxLength: 4 }))
    .map(([name, path]) => (name === null ? path.join('/').replaceAll('.', '-') : [name, ...path].join('/')))
    .filter((text) => text.length < 200);
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
  const digest = fc.string({ maxLength: 10 }).map((seed): Digest => digestOf(seed));
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({
      unit: fc.constantFrom('a', 'A', '0', '.', '-', '_', '/', ':', '@', '[', ']', ' ', '\n', '%', 'sha256:'),
    }),
    fc.tuple(repository, fc.string()).map(([start, end]) => start + end),
  );

  it('stay the same when they are written out and read again', () => {
    fc.assert(
      fc.property(repository, (text) => {
        const once = parseRepository(text);

        expect(parseRepository(formatRepository(once))).toEqual(once);
      }),
    );
  });

  it('come back from the form in which they are written into workloads', () => {
    fc.assert(
      fc.property(repository, tag, digest, (text, someTag, someDigest) => {
        expect(parseImage(formatPinnedImage(text, someTag, someDigest))).toEqual({
          repository: parseRepository(text),
          tag: someTag,
          digest: someDigest,
        });
      }),
    );
  });

  it('are either read, into parts that are safe in a URL, or refused with a TerminalError', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const parse of [(it: string) => parseImage(it).repository, parseRepository]) {
          try {
            const { host: parsedHost, path } = parse(text);
            expect(parsedHost).toMatch(/^[a-z0-9.:[\]-]+$/);
            expect(path).toMatch(/^[a-z0-9._/-]+$/);
            expect(path).not.toMatch(/^\/|\/\/|\.\.|\/$/);
            expect(new URL(`https://${parsedHost}/v2/${path}/tags/list`).pathname).toBe(`/v2/${path}/tags/list`);
          } catch (error) {
            if (error instanceof TerminalError) expect(error.code).toBe('InvalidImage');
            else throw error;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('are read in linear time', () => {
    for (const text of [
      `${'a-'.repeat(200_000)}/x`,
      `ghcr.io/${'a__'.repeat(100_000)}`,
      'a.'.repeat(200_000),
      `${'['.repeat(300_000)}/x`,
    ]) {
      const startMs = performance.now();

      expect(() => parseImage(text)).toThrow(TerminalError);

      expect(performance.now() - startMs).toBeLessThan(1_000);
    }
  });
});
