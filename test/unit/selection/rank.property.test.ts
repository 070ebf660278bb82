import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Creation } from '../../../operator/selection/orders/order.ts';
import { rankTags, reasonAt, type Ranking } from '../../../operator/selection/rank.ts';
import type { TagRulesInput } from '../../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';

const tag = fc.oneof(
  fc
    .tuple(fc.constantFrom('', 'v'), fc.nat(3), fc.nat(3), fc.nat(3), fc.constantFrom('', '-rc.1', '-alpine', '-debug'))
    .map(([v, a, b, c, suffix]) => `${v}${a}.${b}.${c}${suffix}`),
  fc.nat(30).map(String),
  fc.nat(9).map((n) => `main-${n}`),
  fc.constantFrom('latest', '1.2', '007', 'buildcache', '..', 'a b', `sha256-${'0'.repeat(64)}.sig`),
);
const tags = fc.array(tag, { maxLength: 25 });
const current = fc.option(tag, { nil: undefined });

const order: fc.Arbitrary<TagRulesInput> = fc.oneof(
  fc
    .record({ range: fc.constantFrom('*', '1.x', '>=1.1', '^1.2 || 3.x'), prerelease: fc.boolean() })
    .map((semver) => ({ semver })),
  fc.constant({ semver: { range: '*', variant: 'alpine' } }),
  fc.constantFrom('Ascending' as const, 'Descending' as const).map((direction) => ({ numerical: { direction } })),
  fc.constantFrom('Ascending' as const, 'Descending' as const).map((direction) => ({ alphabetical: { direction } })),
  fc.constant({ newest: {} }),
  fc.constant({ fixed: { tag: 'latest' } }),
);
const selecting: fc.Arbitrary<TagRulesInput> = fc.oneof(
  fc.constant({}),
  fc.constant({ filter: '^v?(?P<x>[0-9.]+)', extract: '$x' }),
  fc.constant({ filter: '^main-([0-9]+)$', extract: '$1' }),
  fc.constant({ exclude: ['-debug$', '^v'] }),
);
const rules = fc
  .tuple(order, selecting, fc.constantFrom('Never' as const, 'Allowed' as const))
  .map(([a, b, downgrade]) => compileTagRules({ ...a, ...b, downgrade }));

/** Some time for every tag, the same in every run; neighbours share one now and then. */
const created: ReadonlyMap<string, Creation> = new Proxy(new Map<string, Creation>(), {
  get(_, property) {
    if (property === 'get') return (key: string) => ({ timeMs: key.length % 5, digest: `d${key.length % 3}` });
    if (property === 'has') return () => true;
    return function* () {
      yield* [];
    };
  },
});

function reasonsByTag(ranking: Ranking): Map<string, string | undefined> {
  return new Map(ranking.tags.map((name, index) => [name, reasonAt(ranking, index)]));
}

describe('rankTags', () => {
  it('does not depend on the order of the list', () => {
    fc.assert(
      fc.property(rules, tags, current, fc.infiniteStream(fc.nat()), (compiled, list, running, random) => {
        const shuffled = list
          .map((name) => ({ name, key: random.next().value }))
          .sort((a, b) => a.key - b.key)
          .map(({ name }) => name);

        const one = rankTags(compiled, list, { current: running, created });
        const other = rankTags(compiled, shuffled, { current: running, created });

        expect(other.candidates).toEqual(one.candidates);
        expect(other.fallbacks).toEqual(one.fallbacks);
        expect(reasonsByTag(other)).toEqual(new Map([...reasonsByTag(one)]));
      }),
      { numRuns: 500 },
    );
  });

  it('never places a candidate below or level with the current tag', () => {
    fc.assert(
      fc.property(rules, tags, tag, (compiled, list, running) => {
        const reader = compiled.order.startReading({ created, isMatched: () => true });
        const ranking = rankTags(compiled, list, { current: running, created });
        if (!ranking.isCurrentOrdered) return;
        const found = compiled.filter?.match(running);
        const extracted = (found && compiled.extract?.(running, found)) ?? running;
        const currentKey: unknown = reader.readCurrent(extracted, running) ?? reader.readCurrent(running, running);

        for (const { tag: name, value, position } of ranking.candidates) {
          const difference = compiled.order.compare(reader.read(value, name), currentKey);
          if (position === 'Above') expect(difference).toBeGreaterThan(0);
          else expect(name).toBe(running);
        }
        for (const { tag: name, value } of ranking.fallbacks) {
          expect(compiled.order.compare(reader.read(value, name), currentKey)).toBeLessThanOrEqual(0);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is not moved by a tag that is rejected', () => {
    fc.assert(
      fc.property(rules, tags, tag, current, (compiled, list, extra, running) => {
        fc.pre(!list.includes(extra));
        const longer = rankTags(compiled, [...list, extra], { current: running, created });
        const reason = reasonAt(longer, list.length);
        fc.pre(reason !== undefined && !['Superseded', 'NotNewer'].includes(reason));

        const { candidates, fallbacks } = rankTags(compiled, list, { current: running, created });
        expect(longer.candidates).toEqual(candidates);
        expect(longer.fallbacks).toEqual(fallbacks);
      }),
      { numRuns: 500 },
    );
  });

  it('can only be improved by a further tag: the best candidate stays or the further one takes its place', () => {
    fc.assert(
      fc.property(rules, tags, tag, current, (compiled, list, extra, running) => {
        const [before] = rankTags(compiled, list, { current: running, created }).candidates;
        const [after] = rankTags(compiled, [...list, extra], { current: running, created }).candidates;

        expect([before?.tag, extra]).toContain(after?.tag ?? before?.tag);
      }),
      { numRuns: 500 },
    );
  });

  it('gives every tag but the current one a reason', () => {
    fc.assert(
      fc.property(rules, tags, current, (compiled, list, running) => {
        const ranking = rankTags(compiled, list, { current: running, created });

        for (const [index, name] of list.entries()) {
          if (name !== running) expect(reasonAt(ranking, index)).toBeDefined();
        }
      }),
    );
  });

  it('finds the maximum that a full sort would find', () => {
    fc.assert(
      fc.property(
        fc.array(fc.bigInt({ min: 0n, max: 10n ** 20n }).map(String), { minLength: 1, maxLength: 60 }),
        (numbers) => {
          const sorted = [...new Set(numbers)].sort((a, b) => (BigInt(a) < BigInt(b) ? 1 : -1));
          const { candidates } = rankTags(compileTagRules({ numerical: {} }), numbers);

          expect(candidates.map(({ tag: name }) => name)).toEqual(sorted.slice(0, 5));
        },
      ),
    );
  });
});
