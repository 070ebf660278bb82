// Finds the rules for tags in whatever form of a policy a person has at hand.

import { imagePolicySpec } from '../api/image-policy.ts';
import { API_GROUP } from '../api/kinds.ts';
import { toStructural } from '../api/structural.ts';
import { TerminalError } from '../errors.ts';
import type { TagRulesInput } from '../selection/tag-rules-input.ts';
import { UsageError } from './context.ts';
import { checkShape, formatPath } from './schema-check.ts';
import { readDocuments, type Path } from './yaml-source.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface PolicyReader {
  /**
   * `spec.tags` of an ImagePolicy, of its spec, or `tags` alone. Throws TerminalError `InvalidPolicy` where the form is
   * wrong; whether the rules compile is not asked.
   */
  readValue(value: unknown): TagRulesInput;
  /** The same from YAML or JSON. Of several policies the named one. Throws UsageError where it cannot tell which. */
  readText(text: string, name: string | undefined): TagRulesInput;
}

export function createPolicyReader(): PolicyReader {
  const schema = toStructural(imagePolicySpec.shape.tags);
  function readValue(value: unknown): TagRulesInput {
    const { tags, path } = findTags(value);
    const { problems, pruned } = checkShape(schema, tags, path);
    const [problem] = problems;
    if (problem) throw invalid(`${formatPath(problem.path)} ${problem.message}`);
    return pruned as TagRulesInput;
  }
  return { readValue, readText: (text, name) => readValue(pickPolicy(text, name)) };
}

function invalid(message: string): TerminalError {
  return new TerminalError(message, { code: 'InvalidPolicy' });
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function findTags(value: unknown): { readonly tags: unknown; readonly path: Path } {
  if (!isFields(value)) throw invalid('a policy must be an ImagePolicy, its spec, or the tags of its spec');
  const { apiVersion, kind, spec, tags } = value as {
    apiVersion?: unknown;
    kind?: unknown;
    spec?: unknown;
    tags?: unknown;
  };
  if (spec === undefined) return tags === undefined ? { tags: value, path: ['tags'] } : { tags, path: ['tags'] };
  const isForeign = typeof apiVersion === 'string' && !apiVersion.startsWith(`${API_GROUP}/`);
  if ((kind !== undefined && kind !== 'ImagePolicy') || isForeign) {
    throw invalid(`${String(apiVersion)} ${String(kind)} is not an ImagePolicy of ${API_GROUP}`);
  }
  if (!isFields(spec) || spec['tags'] === undefined) throw invalid('spec.tags is required');
  return { tags: spec['tags'], path: ['spec', 'tags'] };
}

function pickPolicy(text: string, name: string | undefined): unknown {
  const documents = readDocuments(text);
  const [error] = documents.flatMap(({ syntaxErrors }) => syntaxErrors);
  if (error) throw invalid(`line ${error.line}: ${error.message}`);
  const values = documents.map(({ value }) => value).filter(isFields);
  const policies = values.filter(({ kind }: { kind?: unknown }) => kind === undefined || kind === 'ImagePolicy');
  const named = name === undefined ? policies : policies.filter((policy) => nameOf(policy) === name);
  const [only] = named;
  if (only && named.length === 1) return only;
  if (name !== undefined) throw new UsageError(`the file holds no ImagePolicy ${name}`);
  if (policies.length === 0) throw new UsageError('the file holds no ImagePolicy');
  throw new UsageError(`the file holds several policies (${policies.map(nameOf).join(', ')}): pick one with --name`);
}

function nameOf({ metadata }: { readonly metadata?: unknown }): string {
  return isFields(metadata) ? String(metadata['name']) : '(unnamed)';
}
