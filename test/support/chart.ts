// The chart through the real helm: rendered without a cluster, or run against one.

import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { ensureTools } from '../cluster/tools.ts';
import { runCommand, type CommandResult } from './processes.ts';

export const CHART = join(import.meta.dirname, '..', '..', 'charts', 'slipway');

/** Values as `--set-json` takes them: the path of the value, and what it becomes. */
export type Values = Readonly<Record<string, unknown>>;

export interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // A test reads the fields that it asks about.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly [field: string]: any;
}

export interface RenderOptions {
  readonly release?: string;
  readonly namespace?: string;
  readonly values?: Values;
}

/** Runs helm; a failure is a value. `kubeconfig` is needed by everything that asks a cluster. */
export async function helm(args: readonly string[], kubeconfig?: string): Promise<CommandResult> {
  const tools = await ensureTools(['helm']);
  return runCommand([tools.helm, ...args], { ...(kubeconfig !== undefined && { env: { KUBECONFIG: kubeconfig } }) });
}

export function setFlags(values: Values = {}): string[] {
  return Object.entries(values).map(([path, value]) => `--set-json=${path}=${JSON.stringify(value)}`);
}

/** What `helm template` says, as text; a refusal is a value. */
export function template({
  release = 'slipway',
  namespace = 'slipway-system',
  values,
}: RenderOptions = {}): Promise<CommandResult> {
  return helm(['template', release, CHART, '--namespace', namespace, ...setFlags(values)]);
}

/** The objects of the chart. Throws with helm's words when it refuses. */
export async function render(options: RenderOptions = {}): Promise<ManifestObject[]> {
  const { code, stdout, stderr } = await template(options);
  if (code !== 0) throw new Error(`helm template: ${stderr.trim()}`);
  return parseAllDocuments(stdout, { version: '1.1' })
    .map((document) => document.toJS() as ManifestObject | null)
    .filter((object) => object !== null);
}

/** The only object of this kind, by name where there are several. Throws when there is none, or more than one. */
export function find(objects: readonly ManifestObject[], kind: string, name?: string): ManifestObject {
  const found = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  const [only] = found;
  if (only === undefined || found.length > 1) {
    throw new Error(`${found.length} objects of kind ${kind}${name === undefined ? '' : ` called ${name}`}`);
  }
  return only;
}
