import { expect } from '@jest/globals';
import { formatRepository, parseRepository } from '../../operator/image/reference.ts';
import { alphabeticalOrder } from '../../operator/selection/orders/alphabetical.ts';
import { rankTags, reasonAt } from '../../operator/selection/rank.ts';
import type { TagRulesInput } from '../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../operator/selection/tag-rules.ts';
import { describeTable, type Case } from './table.ts';

const DIRECTIONS: Readonly<Record<string, unknown>> = { '': undefined, asc: 'Ascending', desc: 'Descending' };

/** Their `order` as our `direction`; an unknown one stays as it is. */
function directed(order: string): { readonly direction?: 'Ascending' | 'Descending' } {
  return { direction: (order in DIRECTIONS ? DIRECTIONS[order] : order) as 'Ascending' };
}

/** The tag that would be chosen from a list; undefined where there is none. */
function choose(rules: TagRulesInput, tags: readonly string[]): string | undefined {
  return rankTags(compileTagRules(rules), tags).candidates[0]?.tag;
}

/** Their "no tag found" is an error; ours is no candidate. */
function expectChoice(rules: TagRulesInput, tags: readonly string[], latest: string | undefined): void {
  expect(choose(rules, tags)).toBe(latest);
  expect(choose(rules, tags.toReversed())).toBe(latest);
}

/** What the exclusions leave, in the list's order. */
function notExcluded(tags: readonly string[], exclude: readonly string[]): string[] {
  const ranking = rankTags(compileTagRules({ exclude, alphabetical: {} }), tags);
  return tags.filter((_, index) => !['Excluded', 'Artifact'].includes(reasonAt(ranking, index) ?? ''));
}

const descending = (tags: readonly string[]): string[] => tags.toSorted(alphabeticalOrder('Descending').compare);

type ValidOrder = Case<{ readonly order: string }, { readonly valid: boolean }>;
type Latest = Case<{ readonly order: string; readonly tags: readonly string[] }, { readonly latest?: string }>;

for (const order of ['alphabetical', 'numerical'] as const) {
  const title = order === 'alphabetical' ? 'Alphabetical' : 'Numerical';
  describeTable(`flux-policy-${order}.json`, {
    [`TestNew${title}`]: {
      run({ input, expect: { valid } }: ValidOrder) {
        const compile = (): unknown => compileTagRules({ [order]: directed(input.order) });

        if (valid) expect(compile).not.toThrow();
        else expect(compile).toThrow(expect.objectContaining({ code: 'InvalidDirection' }));
      },
    },
    [`Test${title}_Latest`]: {
      run: ({ input, expect: { latest } }: Latest) =>
        expectChoice({ [order]: directed(input.order) }, input.tags, latest),
      ...(order === 'numerical' && {
        leftOut: {
          'With invalid numerical value':
            'one bad tag must not stop a policy: it is passed over as NotNumeric, see docs/adr on tag selection and numerical.test.ts',
        },
      }),
    },
  });
}

describeTable('flux-policy-semver.json', {
  TestNewSemVer: {
    run({ input, expect: { valid } }: Case<{ readonly range: string }, { readonly valid: boolean }>) {
      const compile = (): unknown => compileTagRules({ semver: { range: input.range } });

      if (valid) expect(compile).not.toThrow();
      else expect(compile).toThrow(expect.objectContaining({ code: 'InvalidRange' }));
    },
  },
  TestSemVer_Latest: {
    run: ({
      input,
      expect: { latest },
    }: Case<{ readonly range: string; readonly tags: readonly string[] }, { readonly latest?: string }>) =>
      expectChoice({ semver: { range: input.range } }, input.tags, latest),
  },
});

describeTable('flux-filter-tags.json', {
  TestRegexFilter: {
    run({
      input,
      expect: { items_sorted: items },
    }: Case<
      { readonly tags: readonly string[]; readonly pattern: string; readonly extract: string },
      { readonly items_sorted: readonly string[] }
    >) {
      const rules = compileTagRules({ filter: input.pattern, extract: input.extract, alphabetical: {} });

      const values = rankTags(rules, input.tags).candidates.map(({ value }) => value);

      expect([...new Set(values)].sort()).toEqual(items);
    },
  },
});

interface FluxPolicy {
  readonly semver?: { readonly range: string };
  readonly numerical?: { readonly order: string };
  readonly alphabetical?: { readonly order: string };
}

describeTable('flux-apply-policy.json', {
  TestImagePolicyReconciler_applyPolicy: {
    run({
      input: { policy, tags, filterTags },
      expect: wanted,
    }: Case<
      {
        readonly policy: FluxPolicy;
        readonly tags: readonly string[];
        readonly filterTags?: { readonly pattern: string; readonly extract?: string };
      },
      { readonly selected?: string; readonly error?: boolean }
    >) {
      const rules: TagRulesInput = {
        semver: policy.semver,
        numerical: policy.numerical && directed(policy.numerical.order),
        alphabetical: policy.alphabetical && directed(policy.alphabetical.order),
        filter: filterTags?.pattern,
        extract: filterTags?.extract,
      };
      const isRefused = Object.keys(policy).length === 0 || filterTags?.pattern === '[=';

      if (isRefused) expect(() => compileTagRules(rules)).toThrow();
      else expectChoice(rules, tags, wanted.selected);
    },
    leftOut: { 'database read fail': 'a failure of their tag database; Slipway has none' },
  },
});

describeTable('flux-exclusion-list.json', {
  TestFilterOutTags: {
    run({
      input,
      expect: wanted,
    }: Case<
      { readonly tags: readonly string[]; readonly patterns: readonly string[] },
      { readonly tags?: readonly string[] }
    >) {
      if (wanted.tags) expect(notExcluded(input.tags, input.patterns)).toEqual(wanted.tags);
      else expect(() => notExcluded(input.tags, input.patterns)).toThrow(/exclude/);
    },
  },
  TestImageRepositoryReconciler_fetchImageTags: {
    run: ({
      input,
      expect: wanted,
    }: Case<
      { readonly tags: readonly string[]; readonly exclusionList: readonly string[] },
      { readonly tags: readonly string[] }
    >) => expect(notExcluded(input.tags, input.exclusionList)).toEqual(wanted.tags),
  },
});

/** How many tags their status lists. */
const LATEST_COUNT = 10;

describeTable('flux-latest-tags.json', {
  TestSortTagsAndGetLatestTags: {
    run: ({
      input,
      expect: { latestTags },
    }: Case<{ readonly tags: readonly string[] }, { readonly latestTags: readonly string[] | null }>) =>
      expect(descending(input.tags).slice(0, LATEST_COUNT)).toEqual(latestTags ?? []),
  },
  TestImageRepositoryReconciler_scan: {
    run({
      input,
      expect: wanted,
    }: Case<
      { readonly tags: readonly string[]; readonly exclusionList: readonly string[] },
      { readonly storedTags?: readonly string[]; readonly latestTags?: readonly string[] }
    >) {
      const stored = (): string[] => descending(notExcluded(input.tags, input.exclusionList));

      if (!wanted.storedTags) {
        expect(stored).toThrow(expect.objectContaining({ code: 'InvalidExclude' }));
        return;
      }
      expect(stored()).toEqual(wanted.storedTags);
      expect(stored().slice(0, LATEST_COUNT)).toEqual(wanted.latestTags);
    },
    leftOut: {
      'no tags': "a registry's 404 for an unknown repository, which belongs to the registry client's tests",
      'db write fails': 'a failure of their tag database; Slipway has none',
    },
  },
});

describeTable('flux-image-ref.json', {
  Test_ParseImageReference: {
    run({ input, expect: wanted }: Case<{ readonly image: string }, { readonly ref?: string }>) {
      if (wanted.ref === undefined) expect(() => parseRepository(input.image)).toThrow(/is not an image/);
      else expect(formatRepository(parseRepository(input.image))).toBe(wanted.ref);
    },
  },
});
