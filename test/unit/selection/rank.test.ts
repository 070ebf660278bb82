import { describe, expect, it } from '@jest/globals';
import type { Creation } from '../../../operator/selection/orders/order.ts';
import {
  compareRunningTags,
  MatchMemo,
  MAX_EXAMINED,
  rankTags,
  rankTagsInSlices,
  reasonAt,
  type Ranking,
  type RankOptions,
} from '../../../operator/selection/rank.ts';
import type { TagRulesInput } from '../../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';

function rank(rules: TagRulesInput, tags: readonly string[], options?: RankOptions): Ranking {
  return rankTags(compileTagRules(rules), tags, options);
}

function candidates(rules: TagRulesInput, tags: readonly string[], options?: RankOptions): string[] {
  return rank(rules, tags, options).candidates.map(({ tag }) => tag);
}

function reasons(ranking: Ranking): Record<string, string> {
  return Object.fromEntries(ranking.tags.map((tag, index) => [tag, reasonAt(ranking, index) ?? 'Current']));
}

const created = (times: Readonly<Record<string, readonly [number, string]>>): ReadonlyMap<string, Creation> =>
  new Map(Object.entries(times).map(([tag, [timeMs, digest]]) => [tag, { timeMs, digest }]));

describe('rankTags', () => {
  it('gives every tag of a semver policy its reason', () => {
    const rules: TagRulesInput = { semver: { range: '>=1 <2' }, exclude: ['-debug$'] };
    const tags = [
      '1.0.0',
      '1.1.0',
      '1.2.0',
      '1.3.0-rc.1',
      '2.1.0-rc.1',
      '1.9.0-debug',
      '2.0.0',
      '1.2',
      'latest',
      '0.9.0',
      'buildcache',
    ];

    expect(reasons(rank(rules, tags, { current: '1.1.0' }))).toEqual({
      '1.0.0': 'NotNewer',
      '1.1.0': 'Current',
      '1.2.0': 'Superseded',
      '1.3.0-rc.1': 'Prerelease',
      '2.1.0-rc.1': 'OutOfRange',
      '1.9.0-debug': 'Excluded',
      '2.0.0': 'OutOfRange',
      '1.2': 'NotSemver',
      latest: 'NotSemver',
      '0.9.0': 'OutOfRange',
      buildcache: 'Artifact',
    });
  });

  it('puts what is above the current tag first, and the current tag last', () => {
    expect(
      rank({ semver: { range: '*' } }, ['1.0.0', '1.2.0', '1.1.0', '0.1.0'], { current: '1.0.0' }).candidates,
    ).toEqual([
      { tag: '1.2.0', value: '1.2.0', position: 'Above' },
      { tag: '1.1.0', value: '1.1.0', position: 'Above' },
      { tag: '1.0.0', value: '1.0.0', position: 'Current' },
    ]);
  });

  it('keeps the five best of many', () => {
    const tags = Array.from({ length: 100 }, (_, index) => String((index * 37) % 100));

    expect(candidates({ numerical: {} }, tags)).toEqual(['99', '98', '97', '96', '95']);
  });

  it('keeps watched tags among the candidates however many better ones there are', () => {
    const tags = Array.from({ length: 20 }, (_, index) => String(index));

    expect(candidates({ numerical: {} }, tags, { watched: new Set(['3', '19', 'gone']) })).toEqual([
      '19',
      '18',
      '17',
      '16',
      '15',
      '3',
    ]);
  });

  it('keeps more candidates with a minimum age, as young ones are passed over', () => {
    const tags = Array.from({ length: 100 }, (_, index) => String(index));

    expect(candidates({ numerical: {}, minimumAge: '1h' }, tags).length).toBeGreaterThan(50);
  });

  it('has no candidates in an empty list', () => {
    expect(rank({ numerical: {} }, [], { current: '5' })).toMatchObject({
      candidates: [],
      fallbacks: [],
      considered: 0,
    });
  });

  describe('when tags compare as equal', () => {
    const rules: TagRulesInput = {
      filter: '^v?(?P<version>[0-9.]+)(?:-debug)?$',
      extract: '$version',
      semver: { range: '*' },
    };

    it('ranks them by their bytes, whatever the order of the list', () => {
      const tags = ['v1.0.0', '1.0.0-debug', '1.0.0'];

      for (const list of [tags, tags.toReversed()]) {
        expect(candidates(rules, list)).toEqual(['1.0.0', '1.0.0-debug', 'v1.0.0']);
      }
    });

    it('says with which better tag each ties', () => {
      expect(rank(rules, ['v1.0.0', '1.0.0', '0.9.0']).candidates.map(({ tiesWith }) => tiesWith)).toEqual([
        undefined,
        '1.0.0',
        undefined,
      ]);
    });

    it('does not take an equal of the current tag for newer', () => {
      expect(candidates(rules, ['v1.0.0', '1.0.0'], { current: 'v1.0.0' })).toEqual(['v1.0.0']);
    });
  });

  it('counts a tag once that is listed twice', () => {
    expect(candidates({ numerical: {} }, ['7', '7', '5', '7'])).toEqual(['7', '5']);
  });

  describe('current tag', () => {
    it('is ordered without the range and is no candidate outside it', () => {
      expect(candidates({ semver: { range: '1.x' } }, ['1.5.0', '2.0.0'], { current: '2.0.0' })).toEqual([]);
    });

    it('is ordered without the filter', () => {
      const rules: TagRulesInput = { filter: '-alpine$', alphabetical: {} };

      expect(candidates(rules, ['2024-alpine', '2026-alpine'], { current: '2025' })).toEqual(['2026-alpine']);
    });

    it('is ordered by what the filter extracts from it, where that matches', () => {
      const rules: TagRulesInput = { filter: '-(?P<n>[0-9]+)$', extract: '$n', numerical: {} };

      expect(candidates(rules, ['main-3', 'main-9', 'main-12'], { current: 'main-9' })).toEqual(['main-12', 'main-9']);
    });

    it('is ordered although it is gone from the list', () => {
      expect(candidates({ semver: { range: '*' } }, ['1.0.0', '1.1.0'], { current: '1.5.0' })).toEqual([]);
    });

    it('is ordered although it is excluded', () => {
      const rules: TagRulesInput = { semver: { range: '*' }, exclude: ['^1[.]5'] };

      expect(candidates(rules, ['1.0.0', '1.5.0'], { current: '1.5.0' })).toEqual([]);
    });

    it('with fewer than three numbers counts as the first version of its line', () => {
      expect(candidates({ semver: { range: '*' } }, ['1.24.9', '1.25.0', '1.25.1'], { current: '1.25' })).toEqual([
        '1.25.1',
      ]);
    });

    it('counts as the lowest where it has no place in the order', () => {
      const ranking = rank({ semver: { range: '*' } }, ['0.1.0'], { current: 'latest' });

      expect(ranking.isCurrentOrdered).toBe(false);
      expect(ranking.candidates).toMatchObject([{ tag: '0.1.0', position: 'Above' }]);
    });
  });

  describe('with downgrade Allowed', () => {
    const rules: TagRulesInput = { semver: { range: '*' }, downgrade: 'Allowed' };

    it('names the best tags that are not above the current one apart from the candidates', () => {
      const ranking = rank(rules, ['1.0.0', '1.1.0', '2.0.0'], { current: '1.5.0' });

      expect(ranking.candidates.map(({ tag }) => tag)).toEqual(['2.0.0']);
      expect(ranking.fallbacks.map(({ tag, position }) => [tag, position])).toEqual([
        ['1.1.0', 'Below'],
        ['1.0.0', 'Below'],
      ]);
    });

    it('names at most as many as are ever looked at', () => {
      const tags = Array.from({ length: 30 }, (_, index) => `1.0.${index}`);

      expect(rank(rules, tags, { current: '2.0.0' }).fallbacks).toHaveLength(MAX_EXAMINED);
    });

    it('names none with downgrade Never', () => {
      expect(rank({ semver: { range: '*' } }, ['1.0.0'], { current: '1.5.0' }).fallbacks).toEqual([]);
    });
  });

  describe('by semver with a variant', () => {
    const rules: TagRulesInput = { semver: { range: '1.x', variant: 'alpine' } };

    it('takes exactly that suffix and orders by the version before it', () => {
      const tags = [
        '1.2.0-alpine',
        '1.10.0-alpine',
        '1.11.0',
        '1.12.0-alpine3.20',
        '1.13.0-rc.1-alpine',
        'x-alpine',
        '2.0.0-alpine',
      ];
      const ranking = rank(rules, tags);

      expect(ranking.candidates.map(({ tag }) => tag)).toEqual(['1.10.0-alpine', '1.2.0-alpine']);
      expect(reasons(ranking)).toMatchObject({
        '1.11.0': 'OtherVariant',
        '1.12.0-alpine3.20': 'OtherVariant',
        '1.13.0-rc.1-alpine': 'Prerelease',
        'x-alpine': 'NotSemver',
        '2.0.0-alpine': 'OutOfRange',
      });
    });

    it('takes a suffix for a prerelease where no variant is asked for', () => {
      expect(reasons(rank({ semver: { range: '1.x' } }, ['1.2.0-alpine']))).toEqual({ '1.2.0-alpine': 'Prerelease' });
    });

    it('places a current tag of the plain kind by its version', () => {
      expect(candidates(rules, ['1.2.0-alpine', '1.3.0-alpine'], { current: '1.2.0' })).toEqual(['1.3.0-alpine']);
    });
  });

  describe('by newest', () => {
    it('takes the latest creation time', () => {
      const times = created({ a: [1_000, 'd1'], b: [3_000, 'd2'], c: [2_000, 'd3'] });

      expect(candidates({ newest: {} }, ['a', 'b', 'c'], { created: times })).toEqual(['b', 'c', 'a']);
    });

    it('ranks two names of one image, which share their time rightly', () => {
      const times = created({ latest: [3_000, 'd2'], v7: [3_000, 'd2'], v6: [1_000, 'd1'] });

      expect(candidates({ newest: {} }, ['latest', 'v7', 'v6'], { created: times })).toEqual(['latest', 'v7', 'v6']);
    });

    it('passes over a time that two images share, and one at the epoch or before', () => {
      const times = created({
        a: [3_000, 'd1'],
        b: [3_000, 'd2'],
        c: [0, 'd3'],
        d: [-62_135_596_800_000, 'd4'],
        e: [5, 'd5'],
      });
      const ranking = rank({ newest: {} }, ['a', 'b', 'c', 'd', 'e'], { created: times });

      expect(ranking.candidates.map(({ tag }) => tag)).toEqual(['e']);
      expect(reasons(ranking)).toMatchObject({
        a: 'CreationTimeUnusable',
        b: 'CreationTimeUnusable',
        c: 'CreationTimeUnusable',
        d: 'CreationTimeUnusable',
      });
    });

    it('is not confused by a shared time of a tag that does not take part', () => {
      const times = created({ a: [3_000, 'd1'], 'a-debug': [3_000, 'd2'] });

      expect(candidates({ newest: {}, exclude: ['-debug$'] }, ['a', 'a-debug'], { created: times })).toEqual(['a']);
    });

    it('names the tags that must be inspected first, the current one among them', () => {
      const ranking = rank({ newest: {}, exclude: ['^x'] }, ['b', 'a', 'x'], {
        current: 'gone',
        created: created({ a: [1, 'd'] }),
      });

      expect(ranking.uninspected).toEqual(['b', 'gone']);
    });
  });

  describe('by a fixed tag', () => {
    it('takes that tag alone, whatever runs', () => {
      const ranking = rank({ fixed: { tag: 'stable' } }, ['stable', 'latest'], { current: 'latest' });

      expect(ranking.candidates).toEqual([{ tag: 'stable', value: 'stable', position: 'Above' }]);
      expect(reasons(ranking)).toEqual({ stable: 'Superseded', latest: 'NotFixedTag' });
    });

    it('knows the tag for the current one', () => {
      expect(rank({ fixed: { tag: 'stable' } }, ['stable'], { current: 'stable' }).candidates).toMatchObject([
        { position: 'Current' },
      ]);
    });
  });

  describe('with tags that no registry should hold', () => {
    it.each([
      { what: 'a path', tag: '../../etc' },
      { what: 'a line break', tag: 'a\nb' },
      { what: 'an empty one', tag: '' },
      { what: 'dots', tag: '..' },
      { what: '10 MB', tag: 'a'.repeat(10_000_000) },
      { what: 'foreign letters', tag: 'größe' },
    ])('makes no candidate of $what', ({ tag }) => {
      expect(reasons(rank({ alphabetical: {} }, [tag]))).toEqual({ [tag]: 'InvalidTag' });
    });

    it('makes no candidate of a version longer than a tag', () => {
      expect(rank({ semver: { range: '*' } }, [`1.0.0-${'a'.repeat(130)}`]).candidates).toEqual([]);
    });
  });

  it('says which tags make nothing of extract', () => {
    const rules: TagRulesInput = { filter: '^v([0-9]*)', extract: '$1', numerical: {} };

    expect(reasons(rank(rules, ['v', 'v1', 'w']))).toEqual({ v: 'ExtractedEmpty', v1: 'Superseded', w: 'NotMatched' });
  });
});

describe('compareRunningTags', () => {
  const semver = compileTagRules({ filter: '^v', semver: { range: '1.x' } });

  it.each([
    { when: 'both are candidates', a: 'v1.1.0', b: 'v1.0.0', want: 1 },
    { when: 'one is above the range', a: 'v2.0.0', b: 'v1.0.0', want: 1 },
    { when: 'one is below the range', a: 'v1.0.0', b: 'v0.9.0', want: 1 },
    { when: 'one does not match the filter', a: '1.1.0', b: 'v1.0.0', want: 1 },
    { when: 'one has no place in the order', a: 'v1.0.0', b: 'latest', want: 1 },
    { when: 'neither has a place in the order', a: 'latest', b: 'edge', want: 0 },
    { when: 'they are the same', a: 'v2.0.0', b: 'v2.0.0', want: 0 },
  ])('orders them when $when', ({ a, b, want }) => {
    expect(Math.sign(compareRunningTags(semver, a, b))).toBe(want);
    expect(Math.sign(compareRunningTags(semver, b, a))).toBe(want === 0 ? 0 : -want);
  });

  it('goes by creation times with newest', () => {
    const newest = compileTagRules({ newest: {} });
    const created = new Map<string, Creation>([
      ['zebra', { timeMs: 1_000, digest: 'sha256:1' }],
      ['apple', { timeMs: 2_000, digest: 'sha256:2' }],
    ]);

    expect(compareRunningTags(newest, 'apple', 'zebra', created)).toBeGreaterThan(0);
    expect(compareRunningTags(newest, 'unknown', 'zebra', created)).toBeLessThan(0);
  });
});

describe('MatchMemo', () => {
  const rules = compileTagRules({ filter: '-([0-9]+)$', extract: '$1', numerical: {} });

  it('changes nothing about the ranking', () => {
    const memo = new MatchMemo();
    const first = ['a-1', 'b-2', 'x', 'sha-3'];
    const second = ['b-2', 'x', 'c-9', 'y'];

    expect(rankTags(rules, first, { memo })).toEqual(rankTags(rules, first));
    expect(rankTags(rules, second, { memo, current: 'b-2' })).toEqual(rankTags(rules, second, { current: 'b-2' }));
  });

  it('forgets what it knew under other rules', () => {
    const memo = new MatchMemo();
    rankTags(rules, ['a-1'], { memo });

    const other = compileTagRules({ alphabetical: {} });

    expect(rankTags(other, ['a-1'], { memo })).toEqual(rankTags(other, ['a-1']));
  });

  it('does not grow with tags that are gone', () => {
    const memo = new MatchMemo();
    for (let round = 0; round < 20; round += 1) {
      rankTags(
        rules,
        Array.from({ length: 500 }, (_, index) => `r${round}-${index}`),
        { memo },
      );
    }

    expect(memo.readingsFor(rules, 500).size).toBeLessThanOrEqual(2_500);
  });
});

describe('rankTagsInSlices', () => {
  it('yields between slices of a long list and ends with the same ranking', () => {
    const rules = compileTagRules({ filter: '^[a-z]+-[0-9a-f]{7,40}-([0-9]+)$', extract: '$1', numerical: {} });
    const tags = Array.from({ length: 20_000 }, (_, index) => `main-0123456789-${index}`);
    const slices = rankTagsInSlices(rules, tags);
    let yields = 0;
    let step = slices.next();
    for (; !step.done; step = slices.next()) yields += 1;

    expect(yields).toBeGreaterThan(2);
    expect(step.value).toEqual(rankTags(rules, tags));
  });
});
