import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Digest } from '../../../operator/image/digest.ts';
import { parsePlatform } from '../../../operator/image/platform.ts';
import {
  chooseCandidate,
  isComplete,
  type Choice,
  type ChooseOptions,
  type SeenTag,
  type TagFacts,
} from '../../../operator/selection/choose.ts';
import { MAX_EXAMINED, MAX_SEEN, rankTags, type RankOptions } from '../../../operator/selection/rank.ts';
import type { TagRulesInput } from '../../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';

const HOUR = 3_600_000;
const NOW = 1_700_000_000_000;
const AMD64 = parsePlatform('linux/amd64');
const ARM64 = parsePlatform('linux/arm64');

/** A digest that differs for every text. */
function digestOf(text: string): Digest {
  const hex = Array.from(text, (character) => character.charCodeAt(0).toString(16)).join('');
  return `sha256:${hex.padStart(64, '0').slice(-64)}` as Digest;
}

/** What the registry says of a tag that is there, for one platform. */
function there(digest: Digest, platforms: TagFacts['platforms'] = [AMD64]): TagFacts {
  return { digest: { kind: 'Digest', digest }, platforms };
}

const GONE: TagFacts = { digest: { kind: 'Gone' } };
const FAILED: TagFacts = { digest: { kind: 'Failed', message: '429 Too Many Requests' } };

interface Given {
  readonly rules?: TagRulesInput;
  readonly tags: readonly string[];
  readonly current?: string;
  readonly facts?: Readonly<Record<string, TagFacts>>;
  readonly options?: Partial<ChooseOptions>;
  readonly rank?: RankOptions;
}

/** Every tag is there under its own digest unless `facts` says otherwise; the current tag runs its own digest. */
function choose({ rules = {}, tags, current, facts = {}, options = {}, rank = {} }: Given): Choice {
  const hasOrder = ['semver', 'numerical', 'alphabetical', 'newest', 'fixed'].some((name) => name in rules);
  const compiled = compileTagRules({ ...(hasOrder ? {} : { semver: { range: '*' } }), ...rules });
  const watched = new Set(options.seen?.map(({ tag }) => tag));
  return chooseCandidate(rankTags(compiled, tags, { current, watched, ...rank }), {
    facts: (tag) => facts[tag] ?? there(digestOf(tag)),
    requiredPlatforms: [AMD64],
    nowMs: NOW,
    ...(current !== undefined && { currentDigest: digestOf(current) }),
    ...options,
  });
}

/** What became of each candidate, in order. */
function examined(choice: Choice): string[] {
  return choice.examined.map((examination) =>
    examination.kind === 'Eligible'
      ? `${examination.candidate.tag} Eligible`
      : `${examination.tag} ${examination.kind === 'Waiting' ? `Waiting ${examination.lacks}` : examination.code}`,
  );
}

describe('chooseCandidate', () => {
  it('chooses the best tag with its digest', () => {
    const choice = choose({ tags: ['1.0.0', '1.1.0', '1.2.0'], current: '1.0.0' });

    expect(choice.chosen).toEqual({
      tag: '1.2.0',
      value: '1.2.0',
      position: 'Above',
      digest: digestOf('1.2.0'),
      isRunning: false,
    });
    expect(isComplete(choice)).toBe(true);
  });

  it('names every usable candidate, best first, down to what runs', () => {
    const choice = choose({ tags: ['1.0.0', '1.1.0', '1.2.0', '0.9.0'], current: '1.0.0' });

    expect(choice.eligible.map(({ tag, isRunning }) => [tag, isRunning])).toEqual([
      ['1.2.0', false],
      ['1.1.0', false],
      ['1.0.0', true],
    ]);
  });

  it('chooses what runs where nothing is above it', () => {
    expect(choose({ tags: ['1.0.0'], current: '1.0.0' }).chosen).toMatchObject({ tag: '1.0.0', isRunning: true });
  });

  it('chooses nothing where what runs is gone and nothing is above it', () => {
    expect(choose({ tags: ['0.9.0'], current: '1.0.0' })).toMatchObject({ eligible: [], examined: [] });
    expect(choose({ tags: [], current: '1.0.0' }).chosen).toBeUndefined();
  });

  describe('when facts are lacking', () => {
    it('asks for the digests of all candidates at once and chooses nothing', () => {
      const choice = choose({ tags: ['1.1.0', '1.2.0'], facts: { '1.1.0': {}, '1.2.0': {} } });

      expect(choice.chosen).toBeUndefined();
      expect(choice.lacking).toEqual({ digests: ['1.2.0', '1.1.0'], platforms: [], creationTimes: [] });
      expect(isComplete(choice)).toBe(false);
    });

    it('asks for the platforms of a digest it has', () => {
      const choice = choose({
        tags: ['1.2.0'],
        facts: { '1.2.0': { digest: { kind: 'Digest', digest: digestOf('x') } } },
      });

      expect(choice.lacking.platforms).toEqual([{ tag: '1.2.0', digest: digestOf('x') }]);
      expect(choice.chosen).toBeUndefined();
    });

    it('does not inspect anything where no platform is required', () => {
      const facts = { '1.2.0': { digest: { kind: 'Digest', digest: digestOf('x') } } } as const;

      expect(choose({ tags: ['1.2.0'], facts, options: { requiredPlatforms: [] } }).chosen?.tag).toBe('1.2.0');
    });

    it('does not choose an older tag while a newer one cannot be read', () => {
      const choice = choose({ tags: ['1.0.0', '1.1.0', '1.2.0'], current: '1.0.0', facts: { '1.2.0': FAILED } });

      expect(choice.chosen).toBeUndefined();
      expect(choice.eligible.map(({ tag }) => tag)).toEqual(['1.1.0', '1.0.0']);
    });

    it('chooses a newer tag while an older one cannot be read', () => {
      const choice = choose({ tags: ['1.0.0', '1.1.0', '1.2.0'], current: '1.0.0', facts: { '1.1.0': FAILED } });

      expect(choice.chosen?.tag).toBe('1.2.0');
    });

    it('chooses nothing before every creation time is known', () => {
      const created = new Map([['a', { timeMs: 5, digest: 'd' }]]);
      const choice = choose({ rules: { newest: {} }, tags: ['a', 'b'], rank: { created } });

      expect(choice.chosen).toBeUndefined();
      expect(choice.lacking.creationTimes).toEqual(['b']);
    });
  });

  describe('when a candidate is unusable', () => {
    it.each([
      { when: 'it is gone', facts: GONE, code: 'TagGone' },
      { when: 'it lacks the platform', facts: there(digestOf('x'), [ARM64]), code: 'PlatformMissing' },
      { when: 'it is no image', facts: there(digestOf('x'), 'NotAnImage'), code: 'NotAnImage' },
    ])('passes it over because $when', ({ facts, code }) => {
      const choice = choose({ tags: ['1.1.0', '1.2.0'], facts: { '1.2.0': facts } });

      expect(examined(choice)).toEqual([`1.2.0 ${code}`, '1.1.0 Eligible']);
      expect(choice.chosen?.tag).toBe('1.1.0');
    });

    it('says which platforms are missing', () => {
      const choice = choose({
        tags: ['1.2.0'],
        facts: { '1.2.0': there(digestOf('x'), [AMD64]) },
        options: { requiredPlatforms: [AMD64, ARM64, parsePlatform('linux/arm/v6')] },
      });

      expect(choice.examined).toMatchObject([{ missingPlatforms: ['linux/arm64', 'linux/arm/v6'] }]);
    });

    it('passes over what no workload could name', () => {
      expect(examined(choose({ rules: { numerical: {} }, tags: ['-5'] }))).toEqual(['-5 InvalidTag']);
    });

    it('looks at five candidates above what runs and no further', () => {
      const tags = Array.from({ length: 9 }, (_, index) => `1.${index}.0`);
      const facts = Object.fromEntries(tags.slice(1).map((tag) => [tag, GONE]));
      const choice = choose({ tags, current: '1.0.0', facts });

      expect(examined(choice)).toEqual([
        ...['1.8.0', '1.7.0', '1.6.0', '1.5.0', '1.4.0'].map((tag) => `${tag} TagGone`),
        '1.0.0 Eligible',
      ]);
      expect(choice.chosen).toMatchObject({ tag: '1.0.0', isRunning: true });
    });
  });

  describe('platforms', () => {
    it.each([
      { required: 'linux/amd64', offered: 'linux/amd64', want: true },
      { required: 'linux/arm64', offered: 'linux/arm64/v8', want: true },
      { required: 'linux/arm/v7', offered: 'linux/arm/v6', want: true },
      { required: 'linux/arm', offered: 'linux/arm/v6', want: true },
      { required: 'linux/arm/v6', offered: 'linux/arm/v7', want: false },
      { required: 'linux/amd64', offered: 'linux/amd64/v3', want: false },
      { required: 'linux/amd64/v3', offered: 'linux/amd64', want: true },
      { required: 'linux/amd64', offered: 'windows/amd64', want: false },
      { required: 'linux/amd64', offered: 'linux/386', want: false },
      { required: 'linux/riscv64/odd', offered: 'linux/riscv64', want: false },
    ])('a node of $required runs an image of $offered: $want', ({ required, offered, want }) => {
      const choice = choose({
        tags: ['1.0.0'],
        facts: { '1.0.0': there(digestOf('x'), [parsePlatform(offered)]) },
        options: { requiredPlatforms: [parsePlatform(required)] },
      });

      expect(choice.chosen !== undefined).toBe(want);
    });

    it('of the policy replace those of the nodes', () => {
      const choice = choose({
        rules: { platforms: ['linux/arm64'] },
        tags: ['1.0.0'],
        facts: { '1.0.0': there(digestOf('x'), [ARM64]) },
      });

      expect(choice.chosen?.tag).toBe('1.0.0');
    });
  });

  describe('digests', () => {
    it('stop the walk at a better tag of the digest that runs: there is nothing to write', () => {
      const facts = { '1.2.0': there(digestOf('1.0.0'), [ARM64]) };
      const choice = choose({ tags: ['1.0.0', '1.1.0', '1.2.0'], current: '1.0.0', facts });

      expect(choice.chosen).toMatchObject({ tag: '1.2.0', isRunning: true });
      expect(choice.eligible).toHaveLength(1);
    });

    it('make a re-pushed current tag a candidate', () => {
      const choice = choose({ tags: ['1.0.0'], current: '1.0.0', facts: { '1.0.0': there(digestOf('new')) } });

      expect(choice.chosen).toMatchObject({
        tag: '1.0.0',
        position: 'Current',
        digest: digestOf('new'),
        isRunning: false,
      });
    });

    it('of a re-pushed current tag are ignored where the policy says so', () => {
      const choice = choose({
        rules: { digest: 'Ignore' },
        tags: ['1.0.0'],
        current: '1.0.0',
        facts: { '1.0.0': there(digestOf('new')) },
      });

      expect(choice.chosen).toMatchObject({ digest: digestOf('1.0.0'), isRunning: true });
    });

    it('of a fixed tag are followed, also backwards', () => {
      const rules: TagRulesInput = { fixed: { tag: 'stable' } };
      const choice = choose({
        rules,
        tags: ['stable'],
        current: 'stable',
        facts: { stable: there(digestOf('older')) },
      });

      expect(choice.chosen).toMatchObject({ digest: digestOf('older'), isRunning: false });
    });
  });

  describe('downgrade', () => {
    const given = { tags: ['1.0.0', '1.1.0'], current: '1.5.0' };

    it('happens only when it is allowed and the running tag is known to be gone', () => {
      const wants = [
        { rules: {}, isRunningTagGone: true },
        { rules: { downgrade: 'Allowed' as const }, isRunningTagGone: false },
        { rules: { downgrade: 'Allowed' as const } },
      ];
      for (const { rules, ...options } of wants) expect(choose({ ...given, rules, options }).chosen).toBeUndefined();

      const choice = choose({ ...given, rules: { downgrade: 'Allowed' }, options: { isRunningTagGone: true } });
      expect(choice.chosen).toMatchObject({ tag: '1.1.0', position: 'Below' });
    });

    it('does not happen while a higher tag may be usable', () => {
      const rules: TagRulesInput = { downgrade: 'Allowed' };
      const tags = [...given.tags, '2.0.0'];

      expect(choose({ ...given, tags, rules, options: { isRunningTagGone: true } }).chosen?.tag).toBe('2.0.0');
      const unread = choose({ ...given, tags, rules, facts: { '2.0.0': FAILED }, options: { isRunningTagGone: true } });
      expect(unread.chosen).toBeUndefined();
      const gone = choose({ ...given, tags, rules, facts: { '2.0.0': GONE }, options: { isRunningTagGone: true } });
      expect(gone.chosen?.tag).toBe('1.1.0');
    });
  });

  describe('minimum age', () => {
    const rules: TagRulesInput = { semver: { range: '*' }, minimumAge: '2h' };
    const seen = (tag: string, ageMs: number, digest = digestOf(tag)): SeenTag => ({
      tag,
      digest,
      firstSeenTimeMs: NOW - ageMs,
    });

    it('passes over a tag that is seen for the first time, and notes it', () => {
      const choice = choose({ rules, tags: ['1.0.0', '1.1.0'], current: '1.0.0' });

      expect(examined(choice)).toEqual(['1.1.0 TooYoung', '1.0.0 Eligible']);
      expect(choice.seen).toEqual([seen('1.1.0', 0)]);
      expect(choice.nextChangeTimeMs).toBe(NOW + 2 * HOUR);
      expect(choice.chosen).toMatchObject({ tag: '1.0.0', isRunning: true });
    });

    it('chooses an older tag that is old enough before a younger one', () => {
      const choice = choose({
        rules,
        tags: ['1.0.0', '1.1.0', '1.2.0'],
        current: '1.0.0',
        options: { seen: [seen('1.1.0', 2 * HOUR), seen('1.2.0', HOUR)] },
      });

      expect(choice.chosen?.tag).toBe('1.1.0');
      expect(choice.nextChangeTimeMs).toBe(NOW + HOUR);
    });

    it('asks the registry nothing about a tag that is known to be young', () => {
      const choice = choose({
        rules,
        tags: ['1.1.0'],
        facts: { '1.1.0': {} },
        options: { seen: [seen('1.1.0', HOUR)] },
      });

      expect(examined(choice)).toEqual(['1.1.0 TooYoung']);
      expect(choice.lacking.digests).toEqual([]);
    });

    it('asks again before it trusts an old one', () => {
      const choice = choose({
        rules,
        tags: ['1.1.0'],
        facts: { '1.1.0': {} },
        options: { seen: [seen('1.1.0', 3 * HOUR)] },
      });

      expect(choice.chosen).toBeUndefined();
      expect(choice.lacking.digests).toEqual(['1.1.0']);
    });

    it('starts again for a tag that moved', () => {
      const choice = choose({
        rules,
        tags: ['1.1.0'],
        facts: { '1.1.0': there(digestOf('new')) },
        options: { seen: [seen('1.1.0', 3 * HOUR)] },
      });

      expect(examined(choice)).toEqual(['1.1.0 TooYoung']);
      expect(choice.seen).toEqual([seen('1.1.0', 0, digestOf('new'))]);
    });

    it("believes the registry's own push time", () => {
      const facts = {
        '1.1.0': {
          ...there(digestOf('x')),
          digest: { kind: 'Digest', digest: digestOf('x'), pushedTimeMs: NOW - 3 * HOUR },
        },
      } as const;

      expect(choose({ rules, tags: ['1.1.0'], facts }).chosen?.tag).toBe('1.1.0');
    });

    it('holds for a re-pushed current tag, and not for what runs', () => {
      const choice = choose({ rules, tags: ['1.0.0'], current: '1.0.0', facts: { '1.0.0': there(digestOf('new')) } });

      expect(examined(choice)).toEqual(['1.0.0 TooYoung']);
      expect(choice.seen).toEqual([seen('1.0.0', 0, digestOf('new'))]);
    });

    it('does not judge the current tag before its digest is read', () => {
      const facts = { '1.0.0': FAILED };

      expect(examined(choose({ rules, tags: ['1.0.0'], current: '1.0.0', facts }))).toEqual(['1.0.0 Waiting Digest']);
    });

    it('drops entries of tags that are gone, that run, or that are not above what runs', () => {
      const entries = ['0.9.0', '1.0.0', '1.1.0', '1.2.0'].map((tag) => seen(tag, HOUR));
      const choice = choose({
        rules,
        tags: ['0.9.0', '1.0.0', '1.1.0', '1.3.0'],
        current: '1.0.0',
        facts: { '1.3.0': GONE },
        options: { seen: [...entries, seen('1.3.0', HOUR)] },
      });

      expect(choice.seen).toEqual([seen('1.1.0', HOUR)]);
    });

    it('lets further tags wait while fifty are watched', () => {
      const tags = Array.from({ length: MAX_SEEN }, (_, index) => `1.${index}.0`);
      const choice = choose({ rules, tags: [...tags, '2.0.0'], options: { seen: tags.map((tag) => seen(tag, HOUR)) } });

      expect(examined(choice)[0]).toBe('2.0.0 SeenFull');
      expect(choice.seen.map(({ tag }) => tag)).toEqual([...tags].sort());
    });

    it('chooses a watched tag below more than fifty younger ones once it is old enough', () => {
      const young = Array.from({ length: 200 }, (_, index) => `2.${index}.0`);
      const choice = choose({ rules, tags: [...young, '1.0.0'], options: { seen: [seen('1.0.0', 3 * HOUR)] } });

      expect(choice.chosen?.tag).toBe('1.0.0');
      expect(choice.seen).toHaveLength(MAX_SEEN);
    });

    it('is not held up by a new tag that cannot be read', () => {
      const choice = choose({
        rules,
        tags: ['1.1.0', '1.2.0'],
        facts: { '1.2.0': FAILED },
        options: { seen: [seen('1.1.0', 3 * HOUR)] },
      });

      expect(choice.chosen?.tag).toBe('1.1.0');
    });

    it('keeps no entries without it', () => {
      expect(choose({ tags: ['1.1.0'], options: { seen: [seen('1.1.0', HOUR)] } }).seen).toEqual([]);
    });

    it('comes to rest: the same facts with the new entries give the same answer', () => {
      const given = { rules, tags: ['1.0.0', '1.1.0', '1.2.0'], current: '1.0.0' };
      const first = choose(given);

      const second = choose({ ...given, options: { seen: first.seen } });

      expect(second.seen).toEqual(first.seen);
      expect(second.examined).toEqual(first.examined);
    });
  });

  describe('whatever the facts', () => {
    const fact = fc.oneof(
      fc.constant<TagFacts>({}),
      fc.constant(GONE),
      fc.constant(FAILED),
      fc.constantFrom('a', 'b', '1.0.0').map((text) => there(digestOf(text))),
      fc.constant(there(digestOf('arm'), [ARM64])),
      fc.constant<TagFacts>({ digest: { kind: 'Digest', digest: digestOf('c') } }),
    );
    const tags = fc.uniqueArray(
      fc.nat(9).map((minor) => `1.${minor}.0`),
      { maxLength: 10 },
    );
    const scene = fc.record({
      tags,
      facts: fc.dictionary(
        fc.nat(9).map((minor) => `1.${minor}.0`),
        fact,
      ),
      minimumAge: fc.constantFrom('0s', '2h'),
      downgrade: fc.constantFrom('Never' as const, 'Allowed' as const),
      current: fc.option(
        fc.nat(9).map((minor) => `1.${minor}.0`),
        { nil: undefined },
      ),
      isRunningTagGone: fc.boolean(),
      seen: fc.uniqueArray(fc.record({ minor: fc.nat(9), ageMs: fc.nat(4 * HOUR) }), {
        selector: ({ minor }) => minor,
        maxLength: 5,
      }),
    });

    const play = ({
      tags: list,
      facts,
      minimumAge,
      downgrade,
      current,
      isRunningTagGone,
      seen,
    }: typeof scene extends fc.Arbitrary<infer S> ? S : never): Choice =>
      choose({
        rules: { minimumAge, downgrade },
        tags: list,
        ...(current !== undefined && { current }),
        facts: Object.fromEntries(list.map((tag) => [tag, facts[tag] ?? there(digestOf('a'))])),
        options: {
          isRunningTagGone,
          seen: seen.map(({ minor, ageMs }) => ({
            tag: `1.${minor}.0`,
            digest: digestOf('a'),
            firstSeenTimeMs: NOW - ageMs,
          })),
        },
      });

    it('never goes below what runs unless that is gone and it is allowed', () => {
      fc.assert(
        fc.property(scene, (given) => {
          const { chosen } = play(given);
          if (!chosen || given.current === undefined) return;
          const isLower = Number(chosen.tag.split('.')[1]) < Number(given.current.split('.')[1]);

          if (isLower) expect([given.downgrade, given.isRunningTagGone]).toEqual(['Allowed', true]);
        }),
        { numRuns: 1_000 },
      );
    });

    it('never chooses below a candidate that is in doubt, and examines no more than it may', () => {
      fc.assert(
        fc.property(scene, (given) => {
          const choice = play(given);
          const doubt = choice.examined.findIndex(({ kind }) => kind === 'Waiting');
          const chosen = choice.examined.findIndex((one) => one.kind === 'Eligible' && one.candidate === choice.chosen);

          if (doubt >= 0 && chosen >= 0) expect(chosen).toBeLessThan(doubt);
          expect(choice.eligible.filter(({ position }) => position === 'Above').length).toBeLessThanOrEqual(
            MAX_EXAMINED,
          );
          expect(choice.seen.length).toBeLessThanOrEqual(MAX_SEEN);
        }),
        { numRuns: 1_000 },
      );
    });
  });
});
