// Every order of tags. The key is the member of `spec.tags` that asks for it.

import { isTag } from '../../image/tag.ts';
import { parseRange } from '../semver/range.ts';
import { attempt, requireOneOf, type DirectionInput, type TagRulesInput } from '../tag-rules-input.ts';
import { alphabeticalOrder } from './alphabetical.ts';
import { fixedOrder } from './fixed.ts';
import { newestOrder } from './newest.ts';
import { numericalOrder } from './numerical.ts';
import type { Direction } from './order.ts';
import { semverOrder } from './semver.ts';

/** Each takes the whole of `spec.tags`, in which its own member is set, and throws TagRulesError. */
export const ORDERS = {
  semver: (input: TagRulesInput) => compileSemver(input),
  numerical: (input: TagRulesInput) => numericalOrder(direction('numerical', input.numerical)),
  alphabetical: (input: TagRulesInput) => alphabeticalOrder(direction('alphabetical', input.alphabetical)),
  newest: () => newestOrder(),
  fixed: (input: TagRulesInput) => compileFixed(input),
};

/** A suffix is part of a tag. */
const VARIANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

function compileSemver({ semver }: TagRulesInput) {
  const variant = semver?.variant;
  attempt('InvalidVariant', ['semver', 'variant'], () => {
    if (variant === undefined || VARIANT.test(variant)) return;
    throw new Error(`${JSON.stringify(variant)} is not a tag suffix: write it without its hyphen, for example alpine`);
  });
  return semverOrder({
    range: attempt('InvalidRange', ['semver', 'range'], () => parseRange(semver?.range ?? '')),
    prerelease: semver?.prerelease ?? false,
    variant,
  });
}

function compileFixed({ fixed }: TagRulesInput) {
  const tag = fixed?.tag ?? '';
  attempt('InvalidFixedTag', ['fixed', 'tag'], () => {
    if (isTag(tag)) return;
    throw new Error(
      `${JSON.stringify(tag)} is not a tag: write letters, digits, _, - and ., at most 128, for example latest`,
    );
  });
  return fixedOrder(tag);
}

function direction(name: 'numerical' | 'alphabetical', input: DirectionInput | null | undefined): Direction {
  requireOneOf('InvalidDirection', [name, 'direction'], input?.direction, ['Ascending', 'Descending']);
  return input?.direction ?? 'Ascending';
}
