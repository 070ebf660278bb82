// The building blocks of the kinds' schemas: CEL rules beside zod types, and the scalars that several kinds share. Only
// constructs that survive as a structural OpenAPI schema are used (no unions, no transforms): the API server, not zod,
// is the judge of a manifest.
// @see https://kubernetes.io/docs/reference/using-api/cel/

import * as z from 'zod';

/** One `x-kubernetes-validations` entry: a CEL expression that must hold, and the sentence for the user when it does not. */
export interface Rule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly fieldPath?: string;
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired' | 'FieldValueDuplicate';
}

/** Metadata that attaches CEL rules to a schema: `schema.meta(cel(rule))`. */
export function cel(...rules: readonly Rule[]): { 'x-kubernetes-validations': Rule[] } {
  return { 'x-kubernetes-validations': [...rules] };
}

/**
 * Exactly one of the optional members is set. Stands in for a union, which a structural schema cannot hold. `hint` is
 * put behind the sentence that the user reads.
 */
export function oneOf(members: readonly string[], what: string, hint?: string): Rule {
  return {
    rule: `[${members.map((member) => `has(self.${member})`).join(', ')}].exists_one(set, set)`,
    message: `${what}: set exactly one of ${members.join(', ')}${hint === undefined ? '' : ` (${hint})`}`,
  };
}

/** A list whose entries are identified by `keys`, so that server-side apply merges entry by entry. */
export function listMap(...keys: readonly string[]): Record<string, unknown> {
  return { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [...keys] };
}

export const listSet = { 'x-kubernetes-list-type': 'set' } as const;

// The number of digits keeps every match below the 292 years at which Go's parser, and so CEL, gives up.
const DURATION = '^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?$';

/** A Go duration of hours, minutes and seconds, in this order. `least` and `most` are durations too. */
export function duration(limits: { readonly least?: string; readonly most: string }): z.ZodString {
  const { least, most } = limits;
  const rule = [
    `self != '' && self.matches('${DURATION}')`,
    ...(least === undefined ? [] : [`duration(self) >= duration('${least}')`]),
    `duration(self) <= duration('${most}')`,
  ].join(' && ');
  const bounds = least === undefined ? `at most ${most}` : `between ${least} and ${most}`;
  return z
    .string()
    .max(32)
    .meta(cel({ rule, message: `must be a duration such as 90s, 5m or 1h30m, ${bounds}` }));
}

/** A user's regular expression: RE2, as the API server itself compiles it. */
export function re2(): z.ZodString {
  return z
    .string()
    .min(1)
    .max(256)
    .meta(
      cel({
        rule: `'x'.matches(self) || !'x'.matches(self)`,
        message: 'must be an RE2 expression (no lookaround, no backreferences)',
      }),
    );
}

/** The name of another object in the same namespace. */
export function objectName(): z.ZodString {
  return z
    .string()
    .max(253)
    .meta(
      cel({
        rule: `self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,
        message: 'must be the name of an object: lower-case letters, digits, - and .',
      }),
    );
}

export const timestamp = (): z.ZodISODateTime => z.iso.datetime().max(40);

export const digestString = (): z.ZodString =>
  z
    .string()
    .max(71)
    .regex(/^sha256:[a-f0-9]{64}$/);

/** Free text written by Slipway. */
export const sentence = (maxLength = 1024): z.ZodString => z.string().max(maxLength);

/** @see https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties */
export const condition = z
  .object({
    type: z.string().min(1).max(316).describe('Which aspect this is about, for example Ready.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether the aspect holds.'),
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .describe('The generation of the spec that this condition speaks about.'),
    lastTransitionTime: timestamp().describe('When status last changed.'),
    reason: z.string().min(1).max(128).describe('A stable word for programs, for example UpToDate.'),
    message: z.string().max(32768).describe('A sentence for people.'),
  })
  .describe('One observed aspect of the object.');

export type Condition = z.output<typeof condition>;

export const conditions = (): z.ZodArray<typeof condition> => z.array(condition).max(16).meta(listMap('type'));
