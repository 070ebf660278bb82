// `spec.tags` as people write it, and the error that says which part of it is wrong.

import { TerminalError, toError } from '../errors.ts';
import type { Direction } from './orders/order.ts';

/** `spec.tags` as a manifest has it. A member that is null counts as not set. */
export interface TagRulesInput {
  readonly filter?: string | undefined;
  readonly extract?: string | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly semver?: SemverInput | null | undefined;
  readonly numerical?: DirectionInput | null | undefined;
  readonly alphabetical?: DirectionInput | null | undefined;
  readonly newest?: object | null | undefined;
  readonly fixed?: { readonly tag: string } | null | undefined;
  readonly digest?: 'Follow' | 'Ignore' | undefined;
  readonly platforms?: readonly string[] | undefined;
  readonly minimumAge?: string | undefined;
  readonly downgrade?: 'Never' | 'Allowed' | undefined;
}

export interface SemverInput {
  readonly range: string;
  readonly prerelease?: boolean | undefined;
  readonly variant?: string | undefined;
}

export interface DirectionInput {
  readonly direction?: Direction | undefined;
}

/** What is wrong with `spec.tags`. `field` is the path below `tags`, for example `['semver', 'range']`. */
export class TagRulesError extends TerminalError {
  readonly field: readonly (string | number)[];
  /** The message without the field's name in front. */
  readonly problem: string;

  constructor(code: TagRulesErrorCode, field: readonly (string | number)[], problem: string, cause?: unknown) {
    const name = field.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('');
    super(`tags${name}: ${problem}`, { code, cause });
    this.field = field;
    this.problem = problem;
  }
}

export type TagRulesErrorCode =
  | 'InvalidOrder'
  | 'InvalidFilter'
  | 'InvalidExtract'
  | 'InvalidExclude'
  | 'InvalidRange'
  | 'InvalidVariant'
  | 'InvalidDirection'
  | 'InvalidFixedTag'
  | 'InvalidPlatform'
  | 'InvalidMinimumAge'
  | 'InvalidDigestRule'
  | 'InvalidDowngradeRule';

/** Runs a compile step and gives its error the field's name. */
export function attempt<T>(code: TagRulesErrorCode, field: readonly (string | number)[], compile: () => T): T {
  try {
    return compile();
  } catch (thrown) {
    throw new TagRulesError(code, field, toError(thrown).message, thrown);
  }
}

/** Refuses what a schema would refuse, for callers that have none: a value outside a closed list. */
export function requireOneOf(
  code: TagRulesErrorCode,
  field: readonly (string | number)[],
  value: string | undefined,
  allowed: readonly string[],
): void {
  if (value === undefined || allowed.includes(value)) return;
  throw new TagRulesError(code, field, `${JSON.stringify(value)} is not known: write ${allowed.join(' or ')}`);
}
