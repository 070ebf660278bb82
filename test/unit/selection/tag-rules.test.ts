import { describe, expect, it } from '@jest/globals';
import { TagRulesError, type TagRulesInput } from '../../../operator/selection/tag-rules-input.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';

function refusal(input: unknown): TagRulesError {
  try {
    compileTagRules(input as TagRulesInput);
  } catch (thrown) {
    if (thrown instanceof TagRulesError) return thrown;
    throw thrown;
  }
  throw new Error('the rules compile');
}

describe('compileTagRules', () => {
  it('gives every setting its safe default', () => {
    expect(compileTagRules({ semver: { range: '1.x' } })).toMatchObject({
      orderName: 'semver',
      exclude: [],
      followsDigest: true,
      minimumAgeMs: 0,
      allowsDowngrade: false,
      needsCreationTimes: false,
    });
  });

  it('takes the longer of the minimum age and what the operator demands', () => {
    const input: TagRulesInput = { alphabetical: {}, minimumAge: '2h' };

    expect(compileTagRules(input, { minimumAgeFloorMs: 1_000 }).minimumAgeMs).toBe(7_200_000);
    expect(compileTagRules(input, { minimumAgeFloorMs: 9_000_000 }).minimumAgeMs).toBe(9_000_000);
  });

  it('counts an order that is null as not set', () => {
    expect(compileTagRules({ newest: null, numerical: {} }).orderName).toBe('numerical');
  });

  it.each([
    { when: 'no order is set', input: {}, code: 'InvalidOrder', field: [], says: 'none is set' },
    {
      when: 'two orders are set',
      input: { newest: {}, fixed: { tag: 'a' } },
      code: 'InvalidOrder',
      field: [],
      says: 'newest and fixed are set',
    },
    {
      when: 'the filter is malformed',
      input: { numerical: {}, filter: '^v(.*$' },
      code: 'InvalidFilter',
      field: ['filter'],
      says: 'missing closing )',
    },
    {
      when: 'the filter looks ahead',
      input: { numerical: {}, filter: '(?=a)' },
      code: 'InvalidFilter',
      field: ['filter'],
      says: 'lookaround',
    },
    {
      when: 'the filter explodes',
      input: { numerical: {}, filter: '((a{30}){30}){30}' },
      code: 'InvalidFilter',
      field: ['filter'],
      says: 'invalid repeat count',
    },
    {
      when: 'the filter is costly',
      input: { numerical: {}, filter: '([a-z]{0,900}){0,1}[0-9]{0,900}x' },
      code: 'InvalidFilter',
      field: ['filter'],
      says: 'use fewer or smaller repetitions',
    },
    {
      when: 'the filter is long',
      input: { numerical: {}, filter: 'a'.repeat(257) },
      code: 'InvalidFilter',
      field: ['filter'],
      says: 'at most 256',
    },
    {
      when: 'extract has no filter',
      input: { numerical: {}, extract: '$1' },
      code: 'InvalidExtract',
      field: ['extract'],
      says: 'needs a filter',
    },
    {
      when: 'extract names a group that is not there',
      input: { numerical: {}, filter: '(?P<a>.)', extract: '$b' },
      code: 'InvalidExtract',
      field: ['extract'],
      says: 'its groups are $a, $1',
    },
    {
      when: 'an exclusion is malformed',
      input: { numerical: {}, exclude: ['a', '[='] },
      code: 'InvalidExclude',
      field: ['exclude', 1],
      says: 'tags.exclude[1]',
    },
    {
      when: 'there are too many exclusions',
      input: { numerical: {}, exclude: Array.from({ length: 17 }, () => 'a') },
      code: 'InvalidExclude',
      field: ['exclude'],
      says: 'join some with |',
    },
    {
      when: 'the range is malformed',
      input: { semver: { range: '>= bar' } },
      code: 'InvalidRange',
      field: ['semver', 'range'],
      says: 'cannot read',
    },
    {
      when: 'the range is missing',
      input: { semver: {} },
      code: 'InvalidRange',
      field: ['semver', 'range'],
      says: 'a version is missing',
    },
    {
      when: 'the variant is no suffix',
      input: { semver: { range: '*', variant: '-alpine' } },
      code: 'InvalidVariant',
      field: ['semver', 'variant'],
      says: 'without its hyphen',
    },
    {
      when: 'the direction is unknown',
      input: { numerical: { direction: 'asc' } },
      code: 'InvalidDirection',
      field: ['numerical', 'direction'],
      says: 'Ascending or Descending',
    },
    {
      when: 'the fixed tag is malformed',
      input: { fixed: { tag: 'a/b' } },
      code: 'InvalidFixedTag',
      field: ['fixed', 'tag'],
      says: 'is not a tag',
    },
    {
      when: 'a platform is malformed',
      input: { newest: {}, platforms: ['linux/amd64', 'arm'] },
      code: 'InvalidPlatform',
      field: ['platforms', 1],
      says: 'os/architecture',
    },
    {
      when: 'the minimum age is malformed',
      input: { newest: {}, minimumAge: '3d' },
      code: 'InvalidMinimumAge',
      field: ['minimumAge'],
      says: '90s, 5m or 1h30m',
    },
    {
      when: 'digest is unknown',
      input: { newest: {}, digest: 'Always' },
      code: 'InvalidDigestRule',
      field: ['digest'],
      says: 'Follow or Ignore',
    },
    {
      when: 'downgrade is unknown',
      input: { newest: {}, downgrade: 'Yes' },
      code: 'InvalidDowngradeRule',
      field: ['downgrade'],
      says: 'Never or Allowed',
    },
  ])('names field and remedy when $when', ({ input, code, field, says }) => {
    const error = refusal(input);

    expect(error).toMatchObject({ code, field });
    expect(error.message).toContain(says);
    expect(error.message).toMatch(/^tags/);
  });
});
