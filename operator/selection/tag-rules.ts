// `spec.tags` compiled: everything that can be wrong with it is found here, once, before a single tag is looked at.

import { parsePlatform, type Platform } from '../image/platform.ts';
import { parseDurationMs } from '../time/duration.ts';
import { compileExpression, type Expression } from './expression.ts';
import { compileExtract, type Extractor } from './extract.ts';
import { ORDERS } from './orders/index.ts';
import type { TagOrder } from './orders/order.ts';
import { attempt, requireOneOf, TagRulesError, type TagRulesInput } from './tag-rules-input.ts';

/** Immutable, so one compiled value serves every cycle of a policy's generation. */
export interface TagRules {
  /** What was compiled, for sentences. */
  readonly input: TagRulesInput;
  readonly orderName: OrderName;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the key is the order's own business
  readonly order: TagOrder<any>;
  /** Absent: every tag passes. */
  readonly filter?: Expression;
  /** Absent: the order compares the tag itself. */
  readonly extract?: Extractor;
  readonly exclude: readonly Expression[];
  readonly followsDigest: boolean;
  /** Absent: the caller knows which platforms are needed. */
  readonly platforms?: readonly Platform[];
  readonly minimumAgeMs: number;
  readonly allowsDowngrade: boolean;
  /** The only tag that counts; no listing is needed. Absent for every order but `fixed`. */
  readonly fixedTag?: string;
  /** Whether tags must be inspected for their creation times before they can be ordered. */
  readonly needsCreationTimes: boolean;
}

export type OrderName = keyof typeof ORDERS;

const ORDER_NAMES = Object.keys(ORDERS) as OrderName[];
const MAX_EXCLUSIONS = 16;

export interface CompileOptions {
  /** What the operator demands of every policy; the longer of this and `minimumAge` holds. Default: 0. */
  readonly minimumAgeFloorMs?: number | undefined;
}

/** Throws TagRulesError for the first thing that is wrong, with a sentence that names the field and the remedy. */
export function compileTagRules(input: TagRulesInput, options: CompileOptions = {}): TagRules {
  const orderName = theOneOrder(input);
  const filter = attempt('InvalidFilter', ['filter'], () =>
    input.filter ? compileExpression(input.filter) : undefined,
  );
  const extract = attempt('InvalidExtract', ['extract'], () => {
    if (!input.extract) return undefined;
    if (!filter) throw new Error('needs a filter with groups to build from, for example ^v(?P<version>.*)$');
    return compileExtract(input.extract, filter);
  });
  const platforms = input.platforms?.map((text, index) =>
    attempt('InvalidPlatform', ['platforms', index], () => parsePlatform(text)),
  );
  const minimumAgeMs = attempt('InvalidMinimumAge', ['minimumAge'], () => parseDurationMs(input.minimumAge ?? '0s'));
  requireOneOf('InvalidDigestRule', ['digest'], input.digest, ['Follow', 'Ignore']);
  requireOneOf('InvalidDowngradeRule', ['downgrade'], input.downgrade, ['Never', 'Allowed']);
  return {
    orderName,
    order: ORDERS[orderName](input),
    input,
    ...(filter && { filter }),
    ...(extract && { extract }),
    exclude: compileExclusions(input.exclude ?? []),
    followsDigest: input.digest !== 'Ignore',
    ...(platforms && platforms.length > 0 && { platforms }),
    minimumAgeMs: Math.max(minimumAgeMs, options.minimumAgeFloorMs ?? 0),
    allowsDowngrade: input.downgrade === 'Allowed',
    ...(input.fixed && { fixedTag: input.fixed.tag }),
    needsCreationTimes: orderName === 'newest',
  };
}

function theOneOrder(input: TagRulesInput): OrderName {
  const set = ORDER_NAMES.filter((name) => input[name] !== undefined && input[name] !== null);
  const [only] = set;
  if (only !== undefined && set.length === 1) return only;
  const found = set.length === 0 ? 'none is set' : `${set.join(' and ')} are set`;
  throw new TagRulesError('InvalidOrder', [], `set exactly one of ${ORDER_NAMES.join(', ')} (${found})`);
}

function compileExclusions(sources: readonly string[]): Expression[] {
  if (sources.length > MAX_EXCLUSIONS) {
    throw new TagRulesError(
      'InvalidExclude',
      ['exclude'],
      `has ${sources.length} expressions; at most ${MAX_EXCLUSIONS} are allowed: join some with |`,
    );
  }
  return sources.map((source, index) => attempt('InvalidExclude', ['exclude', index], () => compileExpression(source)));
}
