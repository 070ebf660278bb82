// Everything that explaining one policy needs, read from the cluster. The policy itself must be there; whatever else
// cannot be read becomes a sentence, so that the rest is still explained.

import { imagePolicySpec, type TargetSpec } from '../../api/image-policy.ts';
import { imagePolicyKind, type ImagePolicy, type ImageRollout } from '../../api/kinds.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { defineResource } from '../../kube/resource.ts';
import { workloadTypes } from '../../rollout/workloads/index.ts';
import { toWorkload, type Workload } from '../../rollout/workloads/workload.ts';
import { UsageError } from '../context.ts';
import { explainRefusal, policyResource, rolloutResource, type Cluster, type ClusterReader } from './cluster.ts';
import type { LiveTags } from './live-tags.ts';

export interface Situation {
  readonly nowMs: number;
  readonly policy: ImagePolicy;
  /** This policy's, ascending by number. */
  readonly rollouts: readonly ImageRollout[];
  readonly targets: readonly ObservedTarget[];
  /** Absent unless asked for. */
  readonly live?: LiveTags;
  /** What could not be read, each as a sentence. */
  readonly notes: readonly string[];
}

/** A workload that the policy names, or a sentence why there is none. */
export type ObservedTarget =
  { readonly title: string; readonly workload: Workload } | { readonly title: string; readonly problem: string };

/**
 * `reference` is a name, or what kubectl prints: `imagepolicy.slipway.dev/web`. Throws UsageError with the likely remedy
 * when there is no such policy or it may not be read.
 */
export async function readSituation(cluster: Cluster, reference: string, nowMs: number): Promise<Situation> {
  const { client, namespace } = cluster;
  const policy = await readPolicy(client, namespace, policyName(reference));
  const notes: string[] = [];
  const [rollouts, targets] = await Promise.all([
    readRollouts(client, policy, notes),
    Promise.all(policy.spec.targets.map((target) => readTarget(client, namespace, target))),
  ]);
  return { nowMs, policy, rollouts, targets: targets.flat(), notes };
}

/** The name of a policy, also where kubectl's `kind/name` was given. */
export function policyName(reference: string): string {
  const [kind, name, ...more] = reference.split('/');
  if (name === undefined) return reference;
  const { singular, plural, shortNames } = imagePolicyKind;
  const known = [singular, plural, ...shortNames, `${singular}.slipway.dev`, `${plural}.slipway.dev`];
  if (known.includes(kind ?? '') && more.length === 0 && name !== '') return name;
  throw new UsageError(`${reference} is not the name of an ImagePolicy: write for example slipway explain web -n shop`);
}

/** Throws UsageError with the likely remedy when there is no such policy or it may not be read. */
export async function readPolicy(client: ClusterReader, namespace: string, name: string): Promise<ImagePolicy> {
  let policy: ImagePolicy | undefined;
  try {
    policy = await client.get(policyResource, { namespace, name });
  } catch (thrown) {
    throw new UsageError(explainRefusal(thrown, 'get', policyResource, namespace));
  }
  if (policy === undefined) throw new UsageError(await explainAbsence(client, namespace, name));
  // A stored object may be older than the CRD's defaults.
  const parsed = imagePolicySpec.safeParse(policy.spec);
  return parsed.success ? { ...policy, spec: parsed.data } : { ...policy, spec: withoutGaps(policy.spec) };
}

function withoutGaps(spec: Partial<ImagePolicy['spec']>): ImagePolicy['spec'] {
  return { interval: '5m', suspend: false, targets: [], ...spec } as ImagePolicy['spec'];
}

async function explainAbsence(client: ClusterReader, namespace: string, name: string): Promise<string> {
  const absent = `namespace ${namespace} has no ImagePolicy ${name}`;
  let names: string[];
  try {
    const { items } = await client.list(policyResource, { namespace, limit: 500 });
    names = items.map(({ metadata }) => metadata.name);
  } catch (thrown) {
    return thrown instanceof KubeError && thrown.isForbidden
      ? absent
      : explainRefusal(thrown, 'list', policyResource, namespace);
  }
  const near = nearNames(name, names);
  if (near.length > 0) return `${absent}: did you mean ${near.join(' or ')}?`;
  const elsewhere = await namespacesWith(client, name);
  if (elsewhere.length > 0) return `${absent}: there is one in ${elsewhere.join(', ')}; say which with -n`;
  return names.length === 0
    ? `${absent}, and no other one either: say where to look with -n`
    : `${absent}: it has ${names.slice(0, 10).join(', ')}${names.length > 10 ? ' and others' : ''}`;
}

async function namespacesWith(client: ClusterReader, name: string): Promise<string[]> {
  try {
    const { items } = await client.list(policyResource, { fieldSelector: `metadata.name=${name}`, limit: 5 });
    return items.map(({ metadata }) => metadata.namespace ?? '');
  } catch (thrown) {
    if (thrown instanceof KubeError) return [];
    throw thrown;
  }
}

/** Names within two slips of the pen, or that begin alike; at most three, the nearest first. */
export function nearNames(name: string, names: readonly string[]): string[] {
  const slips = name.length < 3 ? 1 : 2;
  return names
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= slips || candidate.startsWith(`${name}-`))
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let at = 1; at <= a.length; at += 1) {
    const next = [at];
    for (let to = 1; to <= b.length; to += 1) {
      const substitution = (row[to - 1] ?? 0) + (a[at - 1] === b[to - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** This policy's, ascending by number; a refusal becomes a note. */
export async function readRollouts(
  client: ClusterReader,
  policy: ImagePolicy,
  notes: string[],
): Promise<ImageRollout[]> {
  const { namespace = '', name, uid } = policy.metadata;
  try {
    const { items } = await listRollouts(client, namespace, name);
    return items.filter(({ spec }) => spec.policy.uid === uid).sort((a, b) => numberOf(a) - numberOf(b));
  } catch (thrown) {
    notes.push(`The rollouts are not shown: ${explainRefusal(thrown, 'list', rolloutResource, namespace)}.`);
    return [];
  }
}

async function listRollouts(client: ClusterReader, namespace: string, policy: string) {
  try {
    return await client.listAll(rolloutResource, { namespace, fieldSelector: `spec.policy.name=${policy}` });
  } catch (thrown) {
    // Before Kubernetes 1.31 custom resources have no field selectors of their own.
    if (thrown instanceof KubeError && thrown.status === 400) return client.listAll(rolloutResource, { namespace });
    throw thrown;
  }
}

function numberOf({ metadata }: ImageRollout): number {
  return Number(/-([0-9]{1,15})$/.exec(metadata.name)?.[1] ?? 0);
}

async function readTarget(client: ClusterReader, namespace: string, target: TargetSpec): Promise<ObservedTarget[]> {
  const { kind, name, selector } = target;
  const type = Object.values(workloadTypes).find((known) => known.kind === kind);
  if (type === undefined) {
    return [
      {
        title: `${kind} ${name ?? ''}`.trim(),
        problem: "is of a kind from the operator's configuration, which is not read here",
      },
    ];
  }
  const resource = defineResource({ group: type.group, version: type.version, kind, plural: type.plural });
  const labels = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const title = name === undefined ? `${kind} with ${labels.join(', ')}` : `${kind} ${name}`;
  try {
    if (name !== undefined) {
      const raw = await client.get(resource, { namespace, name });
      return raw === undefined ? [{ title, problem: 'does not exist' }] : [{ title, workload: toWorkload(type, raw) }];
    }
    const { items } = await client.listAll(resource, { namespace, labelSelector: labels.join(',') });
    if (items.length === 0) return [{ title, problem: 'no workload has these labels' }];
    return items.map((raw) => ({ title: `${kind} ${raw.metadata.name}`, workload: toWorkload(type, raw) }));
  } catch (thrown) {
    return [{ title, problem: explainRefusal(thrown, name === undefined ? 'list' : 'get', resource, namespace) }];
  }
}
