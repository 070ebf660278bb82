// What every command about one policy shares: its options, the cluster, the policy and its rollouts, and how a refusal is
// put into words.

import { Command } from 'commander';
import { isConditionTrue } from '../../api/conditions.ts';
import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { buildInfo } from '../../version.ts';
import { print, UsageError, type CliContext } from '../context.ts';
import type { Cluster } from '../explain/cluster.ts';

/** So often an edit is tried where the operator writes the status in between. */
const EDIT_ATTEMPTS = 5;

export interface ClusterOptions {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** A command with the options that lead to a cluster. */
export function clusterCommand(name: string): Command {
  return new Command(name)
    .option('-n, --namespace <namespace>', "the policy's namespace; default: that of the kubeconfig's context")
    .option('--kubeconfig <file>', 'default: $KUBECONFIG, then ~/.kube/config')
    .option('--context <name>', 'a context of the kubeconfig; default: the current one');
}

/** Opens the cluster for as long as `work` lasts. What talks to a cluster is loaded only now. */
export async function withCluster<T>(options: ClusterOptions, work: (cluster: Cluster) => Promise<T>): Promise<T> {
  const { openCluster } = await import('../explain/cluster.ts');
  const cluster = await openCluster({ ...options, userAgent: `slipway-cli/${buildInfo.version}` });
  try {
    return await work(cluster);
  } finally {
    await cluster.close();
  }
}

export interface PolicySession {
  readonly cluster: Cluster;
  readonly policy: ImagePolicy;
  /** Ascending by number. */
  readonly rollouts: readonly ImageRollout[];
  /** False: they could not all be read, and stderr says why. */
  readonly isComplete: boolean;
  readonly say: (line: string) => Promise<void>;
}

/** The same with one policy read. */
export async function withPolicy(
  context: CliContext,
  options: ClusterOptions,
  reference: string,
  work: (session: PolicySession) => Promise<void>,
): Promise<void> {
  await withCluster(options, async (cluster) => {
    const { policyName, readPolicy, readRollouts } = await import('../explain/situation.ts');
    const policy = await readPolicy(cluster.client, cluster.namespace, policyName(reference));
    const notes: string[] = [];
    const rollouts = await readRollouts(cluster.client, policy, notes);
    for (const note of notes) context.stderr.write(`slipway: ${note}\n`);
    const isComplete = notes.length === 0;
    await work({ cluster, policy, rollouts, isComplete, say: (line) => print(context.stdout, line) });
  });
}

/** What keeps the workloads from moving although a person has just said so, each as a sentence with its remedy. */
export function obstaclesOf({ metadata, spec, status }: ImagePolicy, isPinning = false): readonly string[] {
  const at = `${metadata.name} -n ${metadata.namespace ?? ''}`;
  const pinned = isPinning ? undefined : spec.pin;
  const isFrozen = isConditionTrue(status?.conditions, 'Frozen') && !isPinning;
  return [
    ...(pinned === undefined
      ? []
      : [`But nothing moves while ${pinned.tag ?? pinned.digest ?? ''} is pinned: slipway unpin ${at}`]),
    ...(spec.suspend ? [`But nothing moves while the policy is suspended: slipway resume ${at}`] : []),
    ...(isFrozen ? [`But nothing moves while the policy is frozen: slipway resume ${at}`] : []),
  ];
}

/** Does it, and puts a refusal into a sentence that names the right that is missing. */
export async function orExplain<T>(what: string, right: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (thrown) {
    if (!(thrown instanceof KubeError)) throw thrown;
    if (!thrown.isForbidden) throw new UsageError(`${what}: ${thrown.message}`);
    throw new UsageError(
      `${what}: ${thrown.message}. You need ${right}, as the ClusterRole slipway-approver grants it`,
    );
  }
}

/** Edits the spec by a merge patch. Throws UsageError when somebody else has edited it since it was read. */
export async function patchSpec(
  { cluster, policy }: PolicySession,
  what: string,
  right: string,
  spec: object,
): Promise<void> {
  const { policyResource } = await import('../explain/cluster.ts');
  const { name, namespace = '', resourceVersion } = policy.metadata;
  await orExplain(what, right, async () => {
    const patch = async (resourceVersion: string | undefined): Promise<void> => {
      await cluster.client.patchMerge(policyResource, { namespace, name }, { metadata: { resourceVersion }, spec });
    };
    for (let attempt = 1, version = resourceVersion; ; attempt += 1) {
      try {
        await patch(version);
        return;
      } catch (thrown) {
        if (!(thrown instanceof KubeError) || !thrown.isConflict || attempt === EDIT_ATTEMPTS) throw thrown;
        // Slipway writes the status all the time; the edit does not depend on that.
        const fresh = await cluster.client.get(policyResource, { namespace, name });
        if (fresh?.metadata.generation !== policy.metadata.generation)
          throw new UsageError(
            `${what}: somebody else has just edited it: look again, and repeat it if it is still meant`,
          );
        version = fresh?.metadata.resourceVersion ?? version;
      }
    }
  });
}
