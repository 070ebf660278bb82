import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { adviseDockerfile } from '../../../operator/advice/advise-dockerfile.ts';
import { formatAdvice } from '../../../operator/advice/format.ts';
import { NOW_MS } from './advise.ts';

/** Pieces of which Dockerfiles are made, and what parsers trip over. */
const piece = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('\n', '\n', ' ', '\\\n', ' # c\n', '\r\n', '\r', '\t') },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      ...[
        'FROM ',
        '\nFROM node',
        ' AS x',
        '\nRUN ',
        '\nCOPY ',
        '\nADD ',
        '\nUSER root',
        '\nENV ',
        '\nARG ',
        '\nONBUILD ',
      ],
      ...['apt-get update', 'apk add gcc', 'pip install -r x', 'npm ci', '--from=', '--mount=type=cache,from=', ' . .'],
      ...[
        'TOKEN=',
        'PASSWORD ',
        '=',
        ':latest',
        '@sha256:',
        'https://a:b@c/',
        '<<EOF',
        '\nEOF\n',
        '<<-"E"',
        '# escape=`\n',
      ],
    ),
  },
  { weight: 3, arbitrary: fc.constantFrom(...Array.from('\\`"\'$(){}[]<>|&;:@=,.-#/\0\uFEFF\u2028\uD800')) },
  { weight: 2, arbitrary: fc.constantFrom('${', '${A:-', '${A:+', '$A', '$(', '`', '["', '"]', '{{') },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
);
const dockerfile = fc.oneof(
  { weight: 5, arbitrary: fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
);

describe('adviseDockerfile', () => {
  it('reads any text, and points at lines that are there', () => {
    fc.assert(
      fc.property(dockerfile, fc.option(fc.string(), { nil: undefined }), (text, dockerignore) => {
        const advice = adviseDockerfile({ dockerfile: text, dockerignore, fileName: 'Dockerfile', nowMs: NOW_MS });

        const count = text.split('\n').length;
        for (const { location } of advice) {
          const line = location !== undefined && 'line' in location ? location.line : 0;
          expect(line).toBeGreaterThanOrEqual(1);
          expect(line).toBeLessThanOrEqual(count);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives advice that every format can hold', () => {
    fc.assert(
      fc.property(dockerfile, fc.string({ unit: 'binary' }), (text, fileName) => {
        const advice = adviseDockerfile({ dockerfile: text, fileName, nowMs: NOW_MS });

        const lines = formatAdvice(advice, 'text').split('\n');
        expect(lines).toHaveLength(Math.max(1, advice.length));
        expect(() => JSON.parse(formatAdvice(advice, 'sarif')) as unknown).not.toThrow();
      }),
      { numRuns: 500 },
    );
  });

  it('does not take long for variables that double', () => {
    const text = Array.from({ length: 200 }, (_, index) => `ARG A${index + 1}=x$A${index}$A${index}`).join('\n');

    expect(() =>
      adviseDockerfile({ dockerfile: `ARG A0=x\n${text}\nFROM $A200`, fileName: 'Dockerfile', nowMs: NOW_MS }),
    ).not.toThrow();
  });
});
