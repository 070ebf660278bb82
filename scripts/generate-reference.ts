// The field reference: a page per kind with every field, its type, bounds, default and meaning, and the sentences with
// which the API server refuses what is wrong.

import { API_GROUP_VERSION, API_GROUP, KINDS, type KindDefinition } from '../operator/api/kinds.ts';
import type { Rule } from '../operator/api/schema.ts';
import { toStructural, type StructuralSchema } from '../operator/api/structural.ts';
import { GENERATED_MARK, type GeneratedFile } from './generated-file.ts';
import { cell, prose, range, slug } from './markdown.ts';

export function generateReference(): GeneratedFile[] {
  return KINDS.map((kind) => ({ path: `docs/reference/${kind.singular}.md`, content: page(kind) }));
}

function page(kind: KindDefinition): string {
  const lines = [
    `<!-- ${GENERATED_MARK} -->`,
    '',
    `# ${kind.kind}`,
    '',
    kind.description,
    '',
    `API version \`${API_GROUP_VERSION}\`, namespaced. On the command line: \`${kind.plural}.${API_GROUP}\`, short \`${kind.shortNames.join('`, `')}\`.`,
    `Field selectors: ${kind.selectableFields.map((path) => `\`${path.slice(1)}\``).join(', ')}, \`metadata.name\`.`,
    '',
    '## Columns of `kubectl get`',
    '',
    '| column | shown | meaning |',
    '| --- | --- | --- |',
    ...kind.columns.map(
      ({ name, priority, description }) =>
        `| ${name} | ${priority === 1 ? 'with `-o wide`' : 'always'} | ${cell(description)} |`,
    ),
    '',
    ...(kind.rules.length > 0
      ? ['## Rules for the whole object', '', ...kind.rules.flatMap(sentences).map((text) => `- ${text}`), '']
      : []),
    ...section('spec', toStructural(kind.spec), 2),
    ...(kind.status === undefined ? [] : section('status', toStructural(kind.status), 2)),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

/** An object's fields as a table, then the objects inside it, depth first. */
function section(path: string, schema: StructuralSchema, depth: number): string[] {
  const fields = Object.entries(schema.properties ?? {});
  const rules = (schema['x-kubernetes-validations'] ?? []).flatMap(sentences);
  return [
    `${'#'.repeat(Math.min(depth, 4))} ${path}`,
    '',
    ...(schema.description === undefined ? [] : [prose(schema.description), '']),
    ...(fields.length === 0 ? ['No fields: write `{}`.', ''] : []),
    ...(fields.length === 0
      ? []
      : [
          '| field | type | default | meaning |',
          '| --- | --- | --- | --- |',
          ...fields.map(([name, field]) => row(path, name, field, schema.required?.includes(name) ?? false)),
          '',
        ]),
    ...(rules.length === 0 ? [] : ['Refused unless it holds:', '', ...rules.map((text) => `- ${prose(text)}`), '']),
    ...fields.flatMap(([name, field]) => {
      const inner = objectIn(field);
      return inner === undefined ? [] : section(childPath(path, name, field), inner, depth + 1);
    }),
  ];
}

function childPath(path: string, name: string, field: StructuralSchema): string {
  return `${path}.${name}${field.type === 'array' ? '[]' : ''}`;
}

/** The object that gets a section of its own: the field itself, or what its list holds. A map of scalars does not. */
function objectIn(field: StructuralSchema): StructuralSchema | undefined {
  const inner = field.type === 'array' ? field.items : field;
  if (inner?.type !== 'object' || inner.additionalProperties !== undefined) return undefined;
  // A list's own sentence stands in the table already; its entries rarely have another.
  return inner;
}

function row(path: string, name: string, field: StructuralSchema, isRequired: boolean): string {
  const rules = [field, ...(field.items === undefined ? [] : [field.items])].flatMap(
    (schema) => schema['x-kubernetes-validations'] ?? [],
  );
  const hasSection = objectIn(field) !== undefined;
  // The column says it already.
  const description = field.default === undefined ? field.description : field.description?.replace(/ Default: .*$/, '');
  const refusals = hasSection ? [] : [...new Set(rules.flatMap(sentences))];
  const meaning = `${description ?? ''}${refusals.length === 0 ? '' : ` Refused: “${refusals.join('”, “')}”.`}`;
  return `| ${[
    hasSection ? `[\`${name}\`](#${slug(childPath(path, name, field))})` : `\`${name}\``,
    cell(typeOf(field)),
    cell(isRequired ? 'required' : defaultOf(field)),
    cell(prose(meaning)),
  ].join(' | ')} |`;
}

function defaultOf(field: StructuralSchema): string {
  return field.default === undefined ? '' : `\`${JSON.stringify(field.default).replace(/^"(.*)"$/, '$1')}\``;
}

function typeOf(field: StructuralSchema): string {
  if (field.type === 'array') {
    return `list of ${field.items === undefined ? 'values' : typeOf(field.items)}; ${range(field.minItems, field.maxItems)} entries`;
  }
  if (field.additionalProperties !== undefined) {
    return `map of ${typeOf(field.additionalProperties)}; at most ${field.maxProperties} entries`;
  }
  if (field.enum !== undefined) return field.enum.map((value) => `\`${String(value)}\``).join(' or ');
  if (field.format === 'date-time') return 'time (RFC 3339)';
  if (field.pattern !== undefined) return `string like \`${field.pattern}\``;
  if (field.type === 'string') return `string; ${range(field.minLength, field.maxLength)} characters`;
  if (field.type === 'integer' && (field.minimum !== undefined || field.maximum !== undefined)) {
    return `integer; ${range(field.minimum, field.maximum)}`;
  }
  return field.type;
}

/** What a user can read when the rule does not hold. */
function sentences(rule: Rule): string[] {
  if (rule.message !== undefined) return [rule.message];
  return [...(rule.messageExpression ?? '').matchAll(/'(must [^']*)'/g)].map(([, text]) => text ?? '');
}
