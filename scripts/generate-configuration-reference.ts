// The reference of the operator's configuration file, from the schema that reads it.

import * as z from 'zod';
import { configFileSchema } from '../operator/config/schema.ts';
import { GENERATED_MARK, type GeneratedFile } from './generated-file.ts';
import { cell, prose, range, slug } from './markdown.ts';

type Schema = Readonly<z.core.JSONSchema.JSONSchema>;

const PREAMBLE = [
  'The operator reads one YAML file, named by `--config`. With the chart it is the value `config`, except `namespaces`, which',
  'the chart writes from `watchNamespaces`. Everything has a default; an unknown field is refused with its line. It is read',
  'once, at start: the chart starts new pods when it changes.',
  '',
  '| flag | environment | meaning |',
  '| --- | --- | --- |',
  '| `--config FILE` | `SLIPWAY_CONFIG` | this file |',
  '| `--log-level LEVEL` | `SLIPWAY_LOG_LEVEL` | wins over `log.level` |',
  '| `--health-port PORT` | `SLIPWAY_HEALTH_PORT` | wins over `server.healthPort` |',
  '| `--metrics-port PORT` | `SLIPWAY_METRICS_PORT` | wins over `server.metricsPort` |',
  '| `--kubeconfig FILE`, `--context NAME` | `KUBECONFIG` | outside a cluster |',
  '',
];

export function generateConfigurationReference(): GeneratedFile[] {
  const schema = z.toJSONSchema(configFileSchema, { io: 'input', reused: 'inline' });
  const lines = [`<!-- ${GENERATED_MARK} -->`, '', '# Configuration', '', ...PREAMBLE, ...section('', schema, 2)];
  return [{ path: 'docs/reference/configuration.md', content: `${lines.join('\n').trimEnd()}\n` }];
}

function section(path: string, schema: Schema, depth: number): string[] {
  const fields = Object.entries(schema.properties ?? {}) as [string, Schema][];
  return [
    ...(path === '' ? ['## Fields', ''] : [`${'#'.repeat(depth)} ${prose(path)}`, '']),
    ...(!schema.description ? [] : [prose(schema.description), '']),
    '| field | type | default | meaning |',
    '| --- | --- | --- | --- |',
    ...fields.map(([name, field]) => row(childPath(path, name), name, field)),
    '',
    ...fields.flatMap(([name, field]) => {
      const inner = objectIn(field);
      return inner === undefined ? [] : section(sectionPath(childPath(path, name), field), inner, depth + 1);
    }),
  ];
}

function childPath(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function sectionPath(path: string, field: Schema): string {
  return field.properties === undefined ? `${path}.<host>` : path;
}

/** The object that a field holds, or that its map holds by host. */
function objectIn(field: Schema): Schema | undefined {
  if (field.properties !== undefined) return field;
  const values = field.additionalProperties;
  return typeof values === 'object' && values.properties !== undefined ? values : undefined;
}

function row(path: string, name: string, field: Schema): string {
  const [, meaning = '', written] = /^(.*?)(?: Default: (.*)\.)?$/.exec(field.description ?? '') ?? [];
  // Durations state theirs in words: what the schema holds is in milliseconds already.
  const fallback = written ?? (['string', 'boolean'].includes(typeof field.default) ? String(field.default) : '');
  const title = objectIn(field) === undefined ? `\`${name}\`` : `[\`${name}\`](#${slug(sectionPath(path, field))})`;
  const code =
    fallback === '' ? '' : /^[a-z ]+$/i.test(fallback) && fallback.includes(' ') ? fallback : `\`${fallback}\``;
  return `| ${[title, cell(typeOf(field)), cell(code), cell(prose(meaning))].join(' | ')} |`;
}

function typeOf(field: Schema): string {
  if (field.anyOf !== undefined) return field.anyOf.map((option) => typeOf(option as Schema)).join(' or ');
  if (field.const !== undefined) return `\`${String(field.const)}\``;
  if (field.enum !== undefined) return field.enum.map((value) => `\`${String(value)}\``).join(' or ');
  if (field.type === 'array') return `list of ${typeOf(field.items as Schema)}`;
  if (field.type === 'object' && field.properties === undefined) return 'map';
  const bounds = field.minimum ?? field.maximum;
  const isBounded = bounds !== undefined && field.maximum !== Number.MAX_SAFE_INTEGER;
  if (isBounded) return `${String(field.type)}; ${range(field.minimum, field.maximum)}`;
  return field.format ?? String(field.type);
}
