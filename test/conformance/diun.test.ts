import { expect } from '@jest/globals';
import { alphabeticalOrder } from '../../operator/selection/orders/alphabetical.ts';
import { rankTags, reasonAt } from '../../operator/selection/rank.ts';
import { compareVersions, parseVersion, type Version } from '../../operator/selection/semver/version.ts';
import { compileTagRules } from '../../operator/selection/tag-rules.ts';
import { describeTable, type Case } from './table.ts';

type SortCase = Case<
  { readonly tags: readonly string[]; readonly sort: 'lexicographical' | 'semver' },
  { readonly ordered: readonly string[] }
>;

/** Newest first; the sort is stable, so versions that tie stay in the order in which they come. */
function bySemver(tags: readonly string[]): string[] {
  const version = (tag: string): Version => parseVersion(tag) as Version;
  return tags.filter((tag) => parseVersion(tag)).sort((a, b) => compareVersions(version(b), version(a)));
}

type ListCase = Case<
  {
    readonly pages: readonly (readonly string[])[];
    readonly max?: number;
    readonly include?: readonly string[];
    readonly exclude?: readonly string[];
  },
  {
    readonly list: readonly string[];
    readonly notIncluded?: number;
    readonly excluded?: number;
    readonly artifacts?: number;
    readonly total: number;
  }
>;

describeTable('diun-tags.json', {
  TestTagsSort: {
    run({ input, expect: { ordered } }: SortCase) {
      if (input.sort === 'semver') {
        // Tags without three numbers (`4`, `4.20`, `alpine-5.0`) are no candidates here: see docs/adr on tag selection.
        expect(bySemver(input.tags)).toEqual(ordered.filter((tag) => parseVersion(tag)));
        return;
      }
      expect(input.tags.toSorted(alphabeticalOrder('Ascending').compare)).toEqual(ordered);
    },
    leftOut: {
      'sort default': "the registry's own order, which Slipway never relies on",
      'sort reverse': "the registry's own order turned round, which Slipway never relies on",
    },
  },
  'TestTags, TestTagsSkipsGeneratedArtifactTags': {
    run({ input, expect: wanted }: ListCase) {
      const tags = input.pages.flat();
      const rules = compileTagRules({
        filter: input.include?.map((expression) => `(?:${expression})`).join('|'),
        exclude: input.exclude,
        ...(input.max === undefined ? { alphabetical: {} } : { semver: { range: '*' } }),
      });

      const ranking = rankTags(rules, tags);

      const reasons = tags.map((_, index) => reasonAt(ranking, index));
      const count = (code: string): number => reasons.filter((reason) => reason === code).length;
      const listed = ranking.candidates.slice(0, input.max).map(({ tag }) => tag);
      expect(input.max === undefined ? listed.sort() : listed).toEqual(wanted.list);
      expect(ranking.tags).toHaveLength(wanted.total);
      expect(count('NotMatched')).toBe(wanted.notIncluded ?? 0);
      expect(count('Excluded')).toBe(wanted.excluded ?? 0);
      expect(count('Artifact')).toBe(wanted.artifacts ?? 0);
    },
  },
});
