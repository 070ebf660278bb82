// A YAML text and a zod schema make a value, or one error that lists every problem at its line and column. The YAML
// document is kept beside the plain value, so that a schema's complaint about a path finds the text it is about.

import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml';
import type * as z from 'zod';
import { TerminalError } from '../errors.ts';

type Path = readonly PropertyKey[];

const MAX_TEXT_LENGTH = 1_048_576;

/**
 * Reads one YAML document; `source` is the name shown in errors (a file's path). An empty text and null values count as
 * not set. Throws TerminalError `InvalidConfiguration` with one line per problem: `<source>:<line>:<column>: <field>: <remedy>`.
 */
export function parseYamlDocument<S extends z.ZodType>(text: string, source: string, schema: S): z.output<S> {
  if (text.length > MAX_TEXT_LENGTH) {
    throw invalid(source, ['it is longer than 1 MiB: this is not a configuration file of Slipway']);
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  if (document.errors.length > 0) {
    throw invalid(
      source,
      document.errors.map((error) => `${at(lineCounter, error.pos[0])}: ${firstLine(error.message)}`),
    );
  }
  let value: unknown;
  try {
    value = withoutNulls(document.toJS({ maxAliasCount: 100 })) ?? {};
  } catch (thrown) {
    throw invalid(source, [`1:1: ${thrown instanceof Error ? thrown.message : String(thrown)}`]);
  }
  const parsed = schema.safeParse(value, { error: describeIssue, reportInput: true });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) => locate(issue, document, lineCounter));
  throw invalid(
    source,
    problems.toSorted(byPosition).map(({ place, line }) => `${place}: ${line}`),
  );
}

function invalid(source: string, problems: readonly string[]): TerminalError {
  const lines = problems.map((problem) => (/^\d/.test(problem) ? `${source}:${problem}` : `${source}: ${problem}`));
  return new TerminalError(lines.join('\n'), { code: 'InvalidConfiguration' });
}

interface LocatedProblem {
  readonly offset: number;
  readonly place: string;
  readonly line: string;
}

function byPosition(a: LocatedProblem, b: LocatedProblem): number {
  return a.offset - b.offset;
}

function locate(issue: z.core.$ZodIssue, document: Document, lineCounter: LineCounter): readonly LocatedProblem[] {
  const found = (path: Path, message: string): LocatedProblem => {
    const offset = offsetOf(document, path);
    const field = formatPath(path);
    return { offset, place: at(lineCounter, offset), line: field === '' ? message : `${field}: ${message}` };
  };
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => found([...issue.path, key], issue.message));
  }
  if (issue.code === 'invalid_key') {
    return [found(issue.path, issue.issues.map(({ message }) => message).join('; '))];
  }
  return [found(issue.path, issue.message)];
}

/** Where the field is written; for a field that is missing, where its nearest parent is. */
function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!isPair(pair)) return offset;
      offset = startOf(pair.key) ?? offset;
      node = pair.value;
    } else {
      node =
        isNode(node) && 'get' in node ? (node.get as (key: unknown, keep: boolean) => unknown)(step, true) : undefined;
      offset = startOf(node) ?? offset;
    }
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}

function at(lineCounter: LineCounter, offset: number): string {
  const { line, col } = lineCounter.linePos(offset);
  return `${Math.max(line, 1)}:${Math.max(col, 1)}`;
}

function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    // A login written into a host must not reach the log.
    const name = String(step).replace(/^.*@/, '…@');
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `${text}[${JSON.stringify(name)}]`;
    return text === '' ? name : `${text}.${name}`;
  }, '');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/** Absent and null mean the same, as in Kubernetes: that is how a Helm user removes a default. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== 'object') return value ?? undefined;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}

const EXPECTED: Readonly<Record<string, string>> = {
  boolean: 'write true or false',
  string: 'write text, in quotes where it looks like a number',
  number: 'write a number',
  int: 'write a whole number',
  array: 'write a list, for example [a, b]',
  object: 'write a map of fields',
  record: 'write a map of fields',
};

/** Sentences that name the remedy. Messages of the schema itself come first; this is the rest. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : (EXPECTED[issue.expected] ?? `write ${issue.expected}`);
    case 'invalid_value':
      return `write ${issue.values.map(String).join(' or ')}`;
    case 'too_small':
      return `must be at least ${String(issue.minimum)}${unitOf(issue.origin)}`;
    case 'too_big':
      return `must be at most ${String(issue.maximum)}${unitOf(issue.origin)}`;
    case 'unrecognized_keys':
      return 'there is no such field: check its spelling and its indentation';
    default:
      return undefined;
  }
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' || origin === 'set' || origin === 'map' ? ' entries' : '';
}
