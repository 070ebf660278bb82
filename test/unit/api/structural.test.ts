import { describe, expect, it } from '@jest/globals';
import * as z from 'zod';
import { KINDS } from '../../../operator/api/kinds.ts';
import { cel } from '../../../operator/api/schema.ts';
import {
  lintStructural,
  toCustomResourceDefinition,
  toObjectSchema,
  toStructural,
} from '../../../operator/api/structural.ts';

const text = (): z.ZodString => z.string().max(10);

describe('toStructural', () => {
  it('keeps rules, defaults, bounds and descriptions', () => {
    const schema = z.object({
      name: text()
        .meta(cel({ rule: "self != ''", message: 'must not be empty' }))
        .default('web')
        .describe('The name.'),
      count: z.int().optional().describe('How many.'),
      labels: z.record(z.string(), text()).meta({ maxProperties: 4 }).optional().describe('Labels.'),
      list: z.array(text()).max(3).describe('Some.'),
      at: z.iso.datetime().max(40).optional().describe('When.'),
    });

    expect(toStructural(schema)).toEqual({
      type: 'object',
      properties: {
        name: {
          type: 'string',
          maxLength: 10,
          default: 'web',
          description: 'The name.',
          'x-kubernetes-validations': [{ rule: "self != ''", message: 'must not be empty' }],
        },
        count: { type: 'integer', description: 'How many.' },
        labels: {
          type: 'object',
          additionalProperties: { type: 'string', maxLength: 10 },
          maxProperties: 4,
          description: 'Labels.',
        },
        list: { type: 'array', items: { type: 'string', maxLength: 10 }, maxItems: 3, description: 'Some.' },
        at: { type: 'string', format: 'date-time', maxLength: 40, description: 'When.' },
      },
      required: ['list'],
    });
  });

  it.each([
    { when: 'a union of scalars', schema: z.union([text(), z.int()]), want: 'anyOf has no structural form' },
    { when: 'a closed object', schema: z.strictObject({}), want: 'additionalProperties' },
    { when: 'two checks of one string', schema: text().regex(/a/).regex(/b/), want: 'allOf has no structural form' },
    { when: 'a tuple', schema: z.tuple([text()]), want: '.field' },
    { when: 'an unbounded string', schema: z.string(), want: '.field: maxLength is needed' },
    { when: 'an unbounded list', schema: z.array(text()), want: '.field: maxItems is needed' },
    {
      when: 'an unbounded string in a list',
      schema: z.array(z.string()).max(3),
      want: '.field[]: maxLength is needed',
    },
    { when: 'an unbounded map', schema: z.record(z.string(), text()), want: '.field: maxProperties is needed' },
    { when: 'a value of any type', schema: z.unknown(), want: '.field: a single type is needed' },
  ])('names the field for $when', ({ schema, want }) => {
    expect(() => toStructural(z.object({ field: schema.describe('A field.') }))).toThrow(want);
  });

  it('asks for a description of every field, at any depth', () => {
    const schema = z.object({
      list: z
        .array(z.object({ inner: text() }))
        .max(2)
        .describe('A list.'),
    });

    expect(() => toStructural(schema)).toThrow('.list[].inner: a description is needed');
  });
});

describe.each(KINDS)('the CRD of $kind', (definition) => {
  it('is structural apart from the fields that the API server fills in', () => {
    const schema = toObjectSchema(definition) as { properties: Record<string, unknown> };

    expect(lintStructural(schema.properties['spec'])).toEqual([]);
    if (definition.status !== undefined) expect(lintStructural(schema.properties['status'])).toEqual([]);
  });

  it('has the category, the short names and where it has a status, only /status writes it', () => {
    const { spec } = toCustomResourceDefinition(definition) as {
      spec: { names: object; versions: readonly [{ subresources?: object }] };
    };

    expect(spec.names).toMatchObject({ categories: ['slipway'], shortNames: definition.shortNames });
    expect(spec.versions[0].subresources).toEqual(definition.status === undefined ? undefined : { status: {} });
  });

  it('ends every description and no message with a full stop', () => {
    const badDescriptions: string[] = [];
    const badMessages: string[] = [];
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) {
        if (typeof inner === 'string' && key === 'description' && !/[.)]$/.test(inner)) badDescriptions.push(inner);
        if (typeof inner === 'string' && key === 'message' && inner.endsWith('.')) badMessages.push(inner);
        visit(inner);
      }
    };

    visit(toCustomResourceDefinition(definition));

    expect(badDescriptions).toEqual([]);
    expect(badMessages.filter((message) => !message.endsWith('- and .'))).toEqual([]);
  });
});
