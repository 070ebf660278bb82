// Checks a manifest as the API server would: types, bounds, unknown fields, and the CEL rules with their sentences, all
// read from the structural schema that the CRD is made of.

import type { Rule } from '../api/schema.ts';
import type { StructuralSchema } from '../api/structural.ts';
import { CelUnsupportedError, compileCel } from './cel.ts';
import type { Path } from './yaml-source.ts';

export interface Problem {
  readonly path: Path;
  /** What is wrong and what to write instead, to follow the field's name. */
  readonly message: string;
}

/** `spec.targets[0].name`; empty for the object itself. */
export function formatPath(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

/**
 * Everything that is wrong with a value. Rules that compare with the object's earlier state are left out. Rules of a
 * value are not asked while something inside it is malformed, as they could only confuse.
 */
export function checkSchema(schema: StructuralSchema, value: unknown, path: Path): Problem[] {
  return check(schema, withDefaults(schema, value), path, 'Everything');
}

/** Only types, required and unknown fields; with the value as the API server would store it. */
export function checkShape(
  schema: StructuralSchema,
  value: unknown,
  path: Path,
): { readonly problems: readonly Problem[]; readonly pruned: unknown } {
  const pruned = withDefaults(schema, value);
  return { problems: check(schema, pruned, path, 'Shape'), pruned };
}

type Extent = 'Shape' | 'Everything';

/** Nulls of fields that are not nullable are pruned, then defaults are filled in, before anything is validated. */
function withDefaults(schema: StructuralSchema, value: unknown): unknown {
  if (Array.isArray(value))
    return schema.items ? value.map((item) => withDefaults(schema.items as StructuralSchema, item)) : value;
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== null);
  const members = new Map<string, unknown>(entries);
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    if (!members.has(name) && member.default !== undefined) members.set(name, member.default);
    if (members.has(name)) members.set(name, withDefaults(member, members.get(name)));
  }
  return Object.fromEntries(members);
}

function check(schema: StructuralSchema, value: unknown, path: Path, extent: Extent): Problem[] {
  const found = typeOf(value);
  if (found !== schema.type && !(found === 'integer' && schema.type === 'number')) {
    return [{ path, message: `must be ${article(schema.type)}, not ${article(found)}` }];
  }
  const problems = [
    ...(extent === 'Everything' ? checkBounds(schema, value, path) : []),
    ...(Array.isArray(value) ? checkItems(schema, value, path, extent) : []),
    ...(isObject(value) ? checkMembers(schema, value, path, extent) : []),
  ];
  return problems.length > 0 || extent === 'Shape'
    ? problems
    : checkRules(schema['x-kubernetes-validations'] ?? [], value, path);
}

function typeOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

const ARTICLES: Readonly<Record<string, string>> = {
  object: 'a map',
  array: 'a list',
  integer: 'a whole number',
  null: 'empty',
  boolean: 'true or false',
};

function article(type: string): string {
  return ARTICLES[type] ?? `a ${type}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkBounds(schema: StructuralSchema, value: unknown, path: Path): Problem[] {
  const complain = (holds: boolean, message: string): Problem[] => (holds ? [] : [{ path, message }]);
  if (schema.enum && !schema.enum.includes(value)) {
    const near = typeof value === 'string' ? nearest(value, schema.enum.map(String)) : undefined;
    return [{ path, message: `${JSON.stringify(value)} is not supported: write ${near ?? schema.enum.join(' or ')}` }];
  }
  const { minLength = 0, maxLength = Infinity, minItems = 0, maxItems = Infinity, maxProperties = Infinity } = schema;
  const { minimum = -Infinity, maximum = Infinity, pattern } = schema;
  if (typeof value === 'string') {
    return [
      ...complain(
        value.length >= minLength,
        minLength === 1 ? 'must not be empty' : `must have at least ${minLength} characters`,
      ),
      ...complain(value.length <= maxLength, `has ${value.length} characters; at most ${maxLength} are allowed`),
      ...complain(pattern === undefined || new RegExp(pattern).test(value), `must match ${pattern ?? ''}`),
    ];
  }
  if (typeof value === 'number') {
    return [
      ...complain(value >= minimum, `must be at least ${minimum}`),
      ...complain(value <= maximum, `must be at most ${maximum}`),
    ];
  }
  const size = Array.isArray(value) ? value.length : isObject(value) ? Object.keys(value).length : 0;
  return [
    ...complain(
      !Array.isArray(value) || size >= minItems,
      `must have at least ${minItems} ${minItems === 1 ? 'entry' : 'entries'}`,
    ),
    ...complain(!Array.isArray(value) || size <= maxItems, `has ${size} entries; at most ${maxItems} are allowed`),
    ...complain(!isObject(value) || size <= maxProperties, `has ${size} entries; at most ${maxProperties} are allowed`),
  ];
}

function checkItems(schema: StructuralSchema, values: readonly unknown[], path: Path, extent: Extent): Problem[] {
  const keys = schema['x-kubernetes-list-map-keys'];
  const identity = (item: unknown): string =>
    JSON.stringify(keys && isObject(item) ? keys.map((key) => item[key]) : item);
  const isUnique = schema['x-kubernetes-list-type'] === 'set' || schema['x-kubernetes-list-type'] === 'map';
  const seen = new Set<string>();
  return values.flatMap((item, index) => {
    const problems = schema.items ? check(schema.items, item, [...path, index], extent) : [];
    if (extent === 'Everything' && isUnique && seen.has(identity(item)))
      problems.push({ path: [...path, index], message: 'is there twice' });
    seen.add(identity(item));
    return problems;
  });
}

function checkMembers(
  schema: StructuralSchema,
  value: Readonly<Record<string, unknown>>,
  path: Path,
  extent: Extent,
): Problem[] {
  const { properties = {}, additionalProperties, required = [] } = schema;
  const missing = required
    .filter((name) => value[name] === undefined)
    .map((name): Problem => ({ path: [...path, name], message: `is required${describe(properties[name])}` }));
  const wrong = Object.entries(value).flatMap(([name, member]): Problem[] => {
    const memberSchema = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (memberSchema) return check(memberSchema, member, [...path, name], extent);
    // An object of another API, which judges it itself.
    if (schema['x-kubernetes-preserve-unknown-fields']) return [];
    const near = nearest(name, Object.keys(properties));
    return [{ path: [...path, name], message: `is not a field${near === undefined ? '' : `: did you mean ${near}?`}` }];
  });
  return [...missing, ...wrong];
}

/** The first sentence of a field's description. */
function describe(schema: StructuralSchema | undefined): string {
  const sentence = /^.*?[^.]\.(?= |$)/.exec(schema?.description ?? '')?.[0];
  return sentence === undefined ? '' : `: ${sentence}`;
}

/** Checks rules against a value. What this program cannot evaluate is left to the API server. */
export function checkRules(rules: readonly Rule[], value: unknown, path: Path): Problem[] {
  return rules.flatMap((rule): Problem[] => {
    if (rule.rule.includes('oldSelf') || holds(rule.rule, value)) return [];
    const fieldPath = rule.fieldPath?.replace(/^\./, '').split('.') ?? [];
    return [{ path: [...path, ...fieldPath], message: messageOf(rule, value) }];
  });
}

function holds(rule: string, self: unknown): boolean {
  try {
    return compileCel(rule)({ self }) === true;
  } catch (thrown) {
    // To the API server an error is a rule that does not hold.
    return thrown instanceof CelUnsupportedError;
  }
}

function messageOf({ rule, message, messageExpression }: Rule, self: unknown): string {
  if (messageExpression !== undefined) {
    try {
      return String(compileCel(messageExpression)({ self }));
    } catch {
      return message ?? `does not satisfy ${rule}`;
    }
  }
  return message ?? `does not satisfy ${rule}`;
}

/** The name that was probably meant: at most two slips of the keyboard away. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  return (
    names.find((candidate) => candidate.toLowerCase() === lower) ??
    names.find((candidate) => distance(lower, candidate.toLowerCase()) <= 2)
  );
}

/** Insertions, deletions and replacements between two words. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous.at(-1) ?? 0;
}
