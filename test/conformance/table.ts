// Reads a conformance table and turns its cases into tests. A case that has no counterpart in Slipway is left out by name,
// with the reason beside it; a name that leaves out nothing is an error, so the lists cannot rot.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';

export interface Case<Input, Expected> {
  readonly name: string;
  readonly input: Input;
  readonly expect: Expected;
}

interface Group {
  readonly source: { readonly repo: string; readonly test: string; readonly licence: string };
  readonly cases: readonly Case<unknown, unknown>[];
}

/** Names of cases, each with the reason why it is not run. */
export type LeftOut = Readonly<Record<string, string>>;

export function describeTable(
  file: string,
  runners: Readonly<Record<string, { readonly run: (given: never) => void; readonly leftOut?: LeftOut }>>,
): void {
  const text = readFileSync(new URL(`tables/${file}`, import.meta.url), 'utf8');
  const { groups } = JSON.parse(text) as { readonly groups: readonly Group[] };

  describe(file, () => {
    it('is run group by group, none forgotten', () => {
      expect(groups.map(({ source }) => source.test).sort()).toEqual(Object.keys(runners).sort());
    });

    for (const { source, cases } of groups) {
      const { run, leftOut = {} } = runners[source.test] ?? { run: () => expect('a runner').toBe('given') };
      describe(`${source.repo}: ${source.test}`, () => {
        it('leaves out only cases that exist', () => {
          const names = new Set(cases.map(({ name }) => name));
          expect(Object.keys(leftOut).filter((name) => !names.has(name))).toEqual([]);
        });

        it.each(
          cases
            .filter(({ name }) => !(name in leftOut))
            .map((given, index) => ({ given, title: `${index + 1}: ${given.name}` })),
        )('$title', ({ given }) => run(given as never));
      });
    }
  });
}
