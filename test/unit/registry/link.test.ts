// Link headers and the rule where a next page may be.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nextLink, resolveNextPage } from '../../../operator/registry/link.ts';

describe('nextLink', () => {
  it.each([
    { when: 'it is relative', given: ['</v2/a/tags/list?n=1&last=x>; rel="next"'], want: '/v2/a/tags/list?n=1&last=x' },
    { when: 'the relation is not quoted', given: ['</p?last=x>;rel=next'], want: '/p?last=x' },
    { when: 'the case differs', given: ['</p>; REL="NEXT"'], want: '/p' },
    { when: 'there are several relations', given: ['</p>; rel="last next"'], want: '/p' },
    { when: 'another link comes first', given: ['</first>; rel="first", </next>; rel="next"'], want: '/next' },
    { when: 'it is in a second header', given: ['</first>; rel="first"', '</next>; rel="next"'], want: '/next' },
    { when: 'the URL holds commas and semicolons', given: ['</p?last=a,b;c>; rel="next"'], want: '/p?last=a,b;c' },
    { when: 'a quoted parameter pretends', given: ['</p>; title="; rel=next"; rel="prev"'], want: undefined },
    { when: 'the first rel counts', given: ['</p>; rel="prev"; rel="next"'], want: undefined },
    { when: 'there is no relation', given: ['</p>'], want: undefined },
    { when: 'it is cut off', given: ['</p; rel="next"'], want: undefined },
    { when: 'there is none', given: [], want: undefined },
  ])('reads it when $when', ({ given, want }) => {
    expect(nextLink(given)).toBe(want);
  });

  it('never throws, whatever comes', () => {
    const pieces = fc.constantFrom('<', '>', ';', ',', 'rel', '=', 'next', '"', '\\', ' ', '/x?y');
    fc.assert(
      fc.property(fc.array(fc.array(pieces).map((parts) => parts.join(''))), (headers) => {
        expect(['string', 'undefined']).toContain(typeof nextLink(headers));
      }),
    );
  });

  it.each(['<', '<>', '<a>;', '<a>; rel="', '","', ';rel=x', '<a>;"\\'])(
    'takes linear time on a long run of %j',
    (piece) => {
      const startMs = performance.now();

      nextLink(Array.from({ length: 50 }, () => piece.repeat(20_000)));

      expect(performance.now() - startMs).toBeLessThan(1_000);
    },
  );
});

describe('resolveNextPage', () => {
  const first = new URL('https://ghcr.io/v2/acme/web/tags/list?n=1000');

  it.each([
    ['/v2/acme/web/tags/list?n=1000&last=v1', 'https://ghcr.io/v2/acme/web/tags/list?n=1000&last=v1'],
    ['?last=v1', 'https://ghcr.io/v2/acme/web/tags/list?last=v1'],
    ['https://ghcr.io/v2/acme/web/tags/list?last=v1', 'https://ghcr.io/v2/acme/web/tags/list?last=v1'],
    ['https://GHCR.io:443/v2/acme/web/tags/list?last=v1#x', 'https://ghcr.io/v2/acme/web/tags/list?last=v1'],
  ])('follows %s', (link, want) => {
    const next = resolveNextPage(link, first, first);

    expect('url' in next && next.url.href).toBe(want);
  });

  it.each([
    ['https://evil.example/v2/acme/web/tags/list?last=v1', 'another host'],
    ['//evil.example/v2/acme/web/tags/list', 'another host'],
    ['http://ghcr.io/v2/acme/web/tags/list?last=v1', 'another host, port or scheme'],
    ['https://ghcr.io:8443/v2/acme/web/tags/list', 'another host, port'],
    ['https://ghcr.io.evil.example/v2/acme/web/tags/list', 'another host'],
    ['/v2/acme/other/tags/list?last=v1', 'another path'],
    ['/v2/acme/web/../other/tags/list', 'another path'],
    ['/admin', 'another path'],
    ['https://user:pass@ghcr.io/v2/acme/web/tags/list', 'login'],
    ['file:///etc/passwd', 'another host'],
    ['https://', 'not a URL'],
  ])('does not follow %s', (link, why) => {
    const next = resolveNextPage(link, first, first);

    expect('refused' in next && next.refused).toContain(why);
  });

  it('never leads away from the first page', () => {
    fc.assert(
      fc.property(fc.oneof(fc.webUrl({ withQueryParameters: true }), fc.string(), fc.webPath()), (link) => {
        const next = resolveNextPage(link, first, first);

        if ('url' in next) expect(next.url.origin + next.url.pathname).toBe(first.origin + first.pathname);
      }),
    );
  });
});
