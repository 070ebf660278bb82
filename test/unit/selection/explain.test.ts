import { describe, expect, it } from '@jest/globals';
import {
  explainRejection,
  judgeTags,
  offlineOutcome,
  summarizeTags,
  type Outcome,
} from '../../../operator/selection/explain.ts';
import { rankTags, type Ranking } from '../../../operator/selection/rank.ts';
import { REJECTION_CODES } from '../../../operator/selection/rejection.ts';
import type { TagRulesInput } from '../../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';

function rank(rules: TagRulesInput, tags: readonly string[], current?: string): Ranking {
  return rankTags(compileTagRules(rules), tags, { current });
}

const SEMVER = rank(
  { semver: { range: '1.x', variant: 'alpine' }, filter: '^v', exclude: ['a', '-debug$'], minimumAge: '72h' },
  [],
  '1.0.0',
);
const EXTRACTED = rank({ numerical: {}, filter: '^main-(.*)$', extract: '$1' }, [], 'main-7');
const FIXED = rank({ fixed: { tag: 'stable' } }, []);

describe('explainRejection', () => {
  it.each([
    { code: 'NotMatched' as const, tag: '1.0', ranking: SEMVER, says: '1.0 does not match the filter ^v.' },
    { code: 'Excluded' as const, tag: 'x-debug', ranking: SEMVER, says: 'matches the exclusion -debug$.' },
    {
      code: 'NotSemver' as const,
      tag: 'latest',
      ranking: SEMVER,
      says: 'latest is not a semantic version; wanted: a version of three numbers with the suffix -alpine in the range 1.x.',
    },
    { code: 'NotSemver' as const, tag: 'v1.2', ranking: SEMVER, says: 'v1.2 has fewer than three numbers' },
    { code: 'OutOfRange' as const, tag: 'v2.0.0-alpine', ranking: SEMVER, says: 'outside the range 1.x' },
    { code: 'OtherVariant' as const, tag: 'v1.0.0', ranking: SEMVER, says: 'does not end in -alpine' },
    { code: 'NotNewer' as const, tag: 'v0.9.0', ranking: SEMVER, says: 'v0.9.0 is not above 1.0.0, which is in use.' },
    {
      code: 'NotNumeric' as const,
      tag: 'main-x',
      ranking: EXTRACTED,
      says: 'main-x (compared as "x") is not a decimal number.',
    },
    {
      code: 'NotFixedTag' as const,
      tag: 'latest',
      ranking: FIXED,
      says: 'latest is not the tag that is followed, stable.',
    },
    { code: 'TooYoung' as const, tag: 'v1.1.0', ranking: SEMVER, says: 'has not been there for 72h yet' },
  ])('says $says', ({ code, tag, ranking, says }) => {
    expect(explainRejection(code, tag, ranking, {})).toContain(says);
  });

  it.each(REJECTION_CODES)('has a sentence for %s', (code) => {
    const sentence = explainRejection(code, 'v1.2.3', SEMVER, {});

    expect(sentence).toMatch(/^"?v1\.2\.3.*\.$/);
    expect(sentence.length).toBeLessThan(512);
    expect(sentence).not.toMatch(/undefined|NaN|\[object/);
  });

  it('names the facts of an examination', () => {
    const outcome: Outcome = {
      examined: [
        { kind: 'Rejected', tag: 'a', code: 'PlatformMissing', missingPlatforms: ['linux/arm64'] },
        { kind: 'Rejected', tag: 'b', code: 'TooYoung', oldEnoughTimeMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
        { kind: 'Waiting', tag: 'c', lacks: 'Digest', message: '429 Too Many Requests' },
      ],
    };

    expect(explainRejection('PlatformMissing', 'a', SEMVER, outcome)).toBe('a lacks the platform linux/arm64.');
    expect(explainRejection('TooYoung', 'b', SEMVER, outcome)).toContain('not before 2026-01-02T03:04:05Z');
    expect(explainRejection('Pending', 'c', SEMVER, outcome)).toContain('429 Too Many Requests');
  });

  it('does not repeat a tag of unbounded length', () => {
    expect(explainRejection('InvalidTag', 'a'.repeat(10_000), SEMVER, {}).length).toBeLessThan(300);
  });
});

describe('judgeTags', () => {
  it('says what became of every tag, in the order of the list', () => {
    const ranking = rank({ semver: { range: '*' } }, ['latest', '1.0.0', '1.2.0', 'v1.2.0', '1.1.0'], '1.0.0');

    expect([...judgeTags(ranking, offlineOutcome(ranking))].map(({ tag, reason }) => `${tag} ${reason}`)).toEqual([
      'latest NotSemver',
      '1.0.0 Current',
      '1.2.0 Selected',
      'v1.2.0 DuplicateOf',
      '1.1.0 Superseded',
    ]);
  });

  it('lets what was found out about a candidate replace its rank', () => {
    const ranking = rank({ semver: { range: '*' } }, ['1.0.0', '1.1.0', '1.2.0']);
    const outcome: Outcome = {
      chosen: { tag: '1.0.0' },
      examined: [
        { kind: 'Rejected', tag: '1.2.0', code: 'PlatformMissing' },
        { kind: 'Waiting', tag: '1.1.0', lacks: 'Digest' },
      ],
    };

    expect([...judgeTags(ranking, outcome)].map(({ reason }) => reason)).toEqual([
      'Selected',
      'Pending',
      'PlatformMissing',
    ]);
  });
});

describe('summarizeTags', () => {
  const tags = [...Array.from({ length: 30 }, (_, index) => `junk${index}`), '1.0.0', '1.1.0', '2.0.0', '1.2.0-rc.1'];
  const rules: TagRulesInput = { semver: { range: '1.x' } };
  const summarize = (list: readonly string[]) => {
    const ranking = rank(rules, list, '1.0.0');
    return summarizeTags(ranking, offlineOutcome(ranking), { maxExamples: 4 });
  };

  it('counts all, and shows a few of each reason', () => {
    expect(summarize(tags)).toMatchObject({
      total: 34,
      considered: 2,
      rejectedByReason: { NotSemver: 30, OutOfRange: 1, Prerelease: 1 },
      rejected: [
        { tag: '1.2.0-rc.1', reason: 'Prerelease' },
        { tag: '2.0.0', reason: 'OutOfRange' },
        { tag: 'junk8', reason: 'NotSemver' },
        { tag: 'junk9', reason: 'NotSemver' },
      ],
    });
  });

  it('is the same for the same tags in any order', () => {
    expect(summarize(tags.toReversed())).toEqual(summarize(tags));
    expect(summarize(tags.toSorted())).toEqual(summarize(tags));
  });
});
