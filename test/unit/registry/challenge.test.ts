// WWW-Authenticate as registries send it, and as they should not.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseChallenges } from '../../../operator/registry/challenge.ts';

function read(...headers: string[]) {
  return parseChallenges(headers).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

describe('parseChallenges', () => {
  it.each([
    {
      when: 'Docker Hub asks for a token',
      given: [
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
      ],
      want: [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:library/nginx:pull',
          },
        ],
      ],
    },
    { when: 'it is Basic', given: ['Basic realm="Registry Realm"'], want: [['basic', { realm: 'Registry Realm' }]] },
    { when: 'there are no parameters', given: ['Negotiate'], want: [['negotiate', {}]] },
    {
      when: 'one header holds two challenges',
      given: ['Basic realm="a", Bearer realm="https://x/t",service="s"'],
      want: [
        ['basic', { realm: 'a' }],
        ['bearer', { realm: 'https://x/t', service: 's' }],
      ],
    },
    {
      when: 'there are two headers',
      given: ['Bearer realm="https://x/t"', 'Basic realm="b"'],
      want: [
        ['bearer', { realm: 'https://x/t' }],
        ['basic', { realm: 'b' }],
      ],
    },
    {
      when: 'commas and challenges stand in quotes',
      given: [
        'Basic realm="a, Bearer realm=\\"https://evil/\\", b", Bearer realm="https://x/t",scope="repository:a:pull,push"',
      ],
      want: [
        ['basic', { realm: 'a, Bearer realm="https://evil/", b' }],
        ['bearer', { realm: 'https://x/t', scope: 'repository:a:pull,push' }],
      ],
    },
    {
      when: 'values are not quoted',
      given: ['Bearer realm=x, service=y'],
      want: [['bearer', { realm: 'x', service: 'y' }]],
    },
    {
      when: 'there is space around the equals sign',
      given: ['bearer Realm = "x" , SERVICE="y"'],
      want: [['bearer', { realm: 'x', service: 'y' }]],
    },
    {
      when: 'a challenge carries a token68',
      given: ['NTLM TlRMTVNTUAAC==, Basic realm="x"'],
      want: [
        ['ntlm', {}],
        ['basic', { realm: 'x' }],
      ],
    },
    {
      when: 'a parameter is repeated',
      given: ['Bearer realm="first",realm="second"'],
      want: [['bearer', { realm: 'first' }]],
    },
    { when: 'a quote is not closed', given: ['Bearer realm="https://x/t'], want: [['bearer', {}]] },
    {
      when: 'a parameter comes before any scheme',
      given: ['realm="x", Basic realm="y"'],
      want: [['basic', { realm: 'y' }]],
    },
    { when: 'it is empty', given: ['', ' , ,'], want: [] },
  ])('reads it when $when', ({ given, want }) => {
    expect(read(...given)).toEqual(want);
  });

  it('never throws, whatever comes', () => {
    const pieces = fc.constantFrom(
      'Bearer',
      'Basic',
      'realm',
      '=',
      '"',
      '\\',
      ',',
      ' ',
      '\t',
      'x',
      ';',
      '==',
      '\u0000',
      'é',
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.array(pieces).map((parts) => parts.join('')),
            fc.string(),
          ),
        ),
        (headers) => {
          const challenges = parseChallenges(headers);

          for (const { scheme } of challenges) expect(scheme).toMatch(/^[!#$%&'*+.^_`|~0-9a-z-]+$/);
        },
      ),
    );
  });

  it('takes what it wrote back', () => {
    const parameter = fc.tuple(fc.constantFrom('realm', 'service', 'scope'), fc.stringMatching(/^[ -~]{0,40}$/));
    fc.assert(
      fc.property(fc.uniqueArray(parameter, { selector: ([name]) => name, minLength: 1 }), (parameters) => {
        const header = `Bearer ${parameters.map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`).join(', ')}`;

        expect(read(header)).toEqual([['bearer', Object.fromEntries(parameters)]]);
      }),
    );
  });

  it.each(['Basic realm="', 'Bearer ', '=', ',', '"\\', 'a=b,', '" ,'])(
    'takes linear time on a long run of %j',
    (piece) => {
      const startMs = performance.now();

      parseChallenges(Array.from({ length: 50 }, () => piece.repeat(20_000)));

      expect(performance.now() - startMs).toBeLessThan(1_000);
    },
  );
});
