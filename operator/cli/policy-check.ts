// Finds the policies in a file and everything that is wrong with them: first as the API server would judge them, then as
// the operator would when it compiles the rules for tags.

import type { ImagePolicySpec } from '../api/image-policy.ts';
import { API_GROUP, API_GROUP_VERSION, KINDS, type KindDefinition } from '../api/kinds.ts';
import { toStructural } from '../api/structural.ts';
import { parseRepository } from '../image/reference.ts';
import { TagRulesError } from '../selection/tag-rules-input.ts';
import { compileTagRules } from '../selection/tag-rules.ts';
import { formatPath, checkRules, checkSchema, checkShape, type Problem } from './schema-check.ts';
import type { SourceDocument } from './yaml-source.ts';

export type Verdict =
  | { readonly kind: 'Checked'; readonly title: string; readonly problems: readonly Problem[] }
  /** Not an object of Slipway's group: not ours to judge. */
  | { readonly kind: 'Skipped'; readonly title: string };

interface Manifest {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown } | null;
  readonly spec?: unknown;
}

const OBJECT_NAME = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const TOP_LEVEL_FIELDS = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];

export function checkManifest({ value }: SourceDocument): Verdict {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return checked('document', [{ path: [], message: 'is not a Kubernetes object' }]);
  }
  const manifest = value as Manifest;
  const title = titleOf(manifest);
  const isForeign = typeof manifest.apiVersion === 'string' && !manifest.apiVersion.startsWith(`${API_GROUP}/`);
  if (isForeign) return { kind: 'Skipped', title };
  const definition = KINDS.find(({ kind }) => kind === manifest.kind);
  return checked(title, [
    ...checkHeader(manifest, definition),
    ...(definition ? checkSpec(definition, manifest) : []),
    ...Object.keys(manifest)
      .filter((field) => !TOP_LEVEL_FIELDS.includes(field))
      .map((field): Problem => ({ path: [field], message: 'is not a field' })),
  ]);
}

function checked(title: string, problems: readonly Problem[]): Verdict {
  return { kind: 'Checked', title, problems };
}

function titleOf({ kind, metadata }: Manifest): string {
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const name = [text(metadata?.namespace), text(metadata?.name) ?? '(unnamed)'].filter(Boolean).join('/');
  return `${text(kind) ?? 'object without a kind'} ${name}`;
}

function checkHeader(manifest: Manifest, definition: KindDefinition | undefined): Problem[] {
  const { apiVersion, metadata } = manifest;
  const problems: Problem[] = [];
  if (apiVersion !== API_GROUP_VERSION)
    problems.push({ path: ['apiVersion'], message: `must be ${API_GROUP_VERSION}` });
  if (!definition) {
    problems.push({ path: ['kind'], message: `must be one of ${KINDS.map(({ kind }) => kind).join(', ')}` });
    return problems;
  }
  const name = metadata?.name;
  if (typeof name !== 'string' || name === '') problems.push({ path: ['metadata', 'name'], message: 'is required' });
  else if (!OBJECT_NAME.test(name) || name.length > 253) {
    problems.push({ path: ['metadata', 'name'], message: 'must be lower-case letters, digits, - and ., at most 253' });
  } else {
    for (const { message } of checkRules(definition.rules, manifest, ['metadata', 'name'])) {
      problems.push({ path: ['metadata', 'name'], message: message.replace(/^metadata\.name: /, '') });
    }
  }
  return problems;
}

function checkSpec({ kind, spec: schema }: KindDefinition, { spec }: Manifest): Problem[] {
  if (spec === undefined || spec === null) return [{ path: ['spec'], message: 'is required' }];
  const structural = toStructural(schema);
  const problems = checkSchema(structural, spec, ['spec']);
  if (kind !== 'ImagePolicy' || checkShape(structural, spec, ['spec']).problems.length > 0) return problems;
  // What the operator says about a field is more exact than the schema's own sentence.
  const exact = checkMeaning(spec as ImagePolicySpec);
  const named = new Set(exact.map(({ path }) => formatPath(path)));
  return [...problems.filter(({ path }) => !named.has(formatPath(path))), ...exact];
}

/** What a schema cannot know: whether the rules for tags compile and the image can be asked for. Types are right here. */
function checkMeaning({ image, tags }: ImagePolicySpec): Problem[] {
  const message = messageOf(() => parseRepository(image));
  const problems: Problem[] = message === undefined ? [] : [{ path: ['spec', 'image'], message }];
  try {
    compileTagRules(tags);
  } catch (thrown) {
    if (!(thrown instanceof TagRulesError)) throw thrown;
    problems.push({ path: ['spec', 'tags', ...thrown.field], message: thrown.problem });
  }
  return problems;
}

function messageOf(parse: () => unknown): string | undefined {
  try {
    parse();
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}
