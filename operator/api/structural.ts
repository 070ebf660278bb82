// From a zod schema to the structural OpenAPI schema that the API server takes, and from a kind to its whole
// CustomResourceDefinition. What zod would drop without a word, or write in a way that the API server refuses, is an
// error here, so that a mistake shows when generating and not when somebody applies.
// @see https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema

import * as z from 'zod';
import { API_GROUP, API_VERSION, type KindDefinition } from './kinds.ts';
import type { Rule } from './schema.ts';

/** The part of OpenAPI v3 that a structural schema may use here. */
export interface StructuralSchema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly required?: readonly string[];
  readonly items?: StructuralSchema;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly Rule[];
  /** Members that the schema does not name are kept: an object of another API, which judges it itself. */
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
}

const ALLOWED_KEYS = [
  'type',
  'description',
  'default',
  'properties',
  'additionalProperties',
  'required',
  'items',
  'enum',
  'format',
  'pattern',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'minimum',
  'maximum',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
  'x-kubernetes-preserve-unknown-fields',
];

const TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean'];

/**
 * The structural schema of what people may write (a field with a default is not required). Throws an Error that lists
 * every construct that has no structural form, and every field without a description or an upper bound: CEL's cost is
 * estimated from the bounds, and `kubectl explain` lives on the descriptions.
 */
export function toStructural(schema: z.ZodType): StructuralSchema {
  const json = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    reused: 'inline',
    cycles: 'throw',
    override({ jsonSchema }) {
      // z.int() writes the bounds of a double's integers, which say nothing.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // The API server's own check of the format is the right one.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
      if ('x-kubernetes-preserve-unknown-fields' in jsonSchema) delete jsonSchema.additionalProperties;
    },
  }) as Record<string, unknown>;
  delete json['$schema'];

  const problems = lintStructural(json);
  if (problems.length > 0) throw new Error(`Not a structural schema:\n${problems.join('\n')}`);
  return json as unknown as StructuralSchema;
}

/** Every reason why this schema is not fit for a CRD, as `path: reason`. Empty when it is. */
export function lintStructural(schema: unknown, path = ''): string[] {
  const at = path === '' ? '.' : path;
  if (schema === null || typeof schema !== 'object') return [`${at}: not a schema`];
  const node = schema as Record<string, unknown>;

  const problems = Object.keys(node)
    .filter((key) => !ALLOWED_KEYS.includes(key))
    .map((key) => `${at}: ${key} has no structural form`);
  if (!TYPES.includes(node['type'] as string)) problems.push(`${at}: a single type is needed`);

  if (node['type'] === 'string' && node['enum'] === undefined && node['maxLength'] === undefined) {
    problems.push(`${at}: maxLength is needed`);
  }
  if (node['type'] === 'array') {
    if (node['maxItems'] === undefined) problems.push(`${at}: maxItems is needed`);
    problems.push(...lintStructural(node['items'], `${path}[]`));
  }
  const { additionalProperties } = node;
  if (additionalProperties !== undefined) {
    if (node['properties'] !== undefined)
      problems.push(`${at}: properties and additionalProperties exclude each other`);
    if (node['maxProperties'] === undefined) problems.push(`${at}: maxProperties is needed`);
    problems.push(...lintStructural(additionalProperties, `${path}{}`));
  }
  for (const [name, child] of Object.entries((node['properties'] ?? {}) as Record<string, Record<string, unknown>>)) {
    if (!child['description']) problems.push(`${path}.${name}: a description is needed`);
    problems.push(...lintStructural(child, `${path}.${name}`));
  }
  return problems;
}

/** The kind as a CustomResourceDefinition, ready to be written as YAML. */
export function toCustomResourceDefinition(definition: KindDefinition): Record<string, unknown> {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${definition.plural}.${API_GROUP}`, labels: { 'app.kubernetes.io/part-of': 'slipway' } },
    spec: {
      group: API_GROUP,
      names: {
        kind: definition.kind,
        listKind: `${definition.kind}List`,
        plural: definition.plural,
        singular: definition.singular,
        shortNames: definition.shortNames,
        categories: ['slipway'],
      },
      scope: 'Namespaced',
      versions: [
        {
          name: API_VERSION,
          served: true,
          storage: true,
          ...(definition.status !== undefined && { subresources: { status: {} } }),
          additionalPrinterColumns: definition.columns,
          selectableFields: definition.selectableFields.map((jsonPath) => ({ jsonPath })),
          schema: { openAPIV3Schema: toObjectSchema(definition) },
        },
      ],
    },
  };
}

/** The schema of a whole object: the three fields that every object has, spec, status, and the rules between them. */
export function toObjectSchema(definition: KindDefinition): Record<string, unknown> {
  return {
    type: 'object',
    description: definition.description,
    properties: {
      apiVersion: { type: 'string', description: `${API_GROUP}/${API_VERSION}.` },
      kind: { type: 'string', description: `${definition.kind}.` },
      metadata: { type: 'object' },
      spec: toStructural(definition.spec),
      ...(definition.status !== undefined && { status: toStructural(definition.status) }),
    },
    required: ['spec'],
    ...(definition.rules.length > 0 && { 'x-kubernetes-validations': definition.rules }),
  };
}
