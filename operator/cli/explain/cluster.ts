// The cluster as the caller's own kubeconfig sees it, and its refusals as sentences that say what to do.

import { API_GROUP, API_VERSION, imageDecisionKind, imagePolicyKind, imageRolloutKind } from '../../api/kinds.ts';
import type { ImageDecision, ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { SlipwayError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import { connect, type KubeConnection } from '../../kube/connection.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { defineResource, qualifiedName, type Resource } from '../../kube/resource.ts';
import { UsageError } from '../context.ts';

export const policyResource = defineResource<ImagePolicy>({
  group: API_GROUP,
  version: API_VERSION,
  kind: imagePolicyKind.kind,
  plural: imagePolicyKind.plural,
});
export const rolloutResource = defineResource<ImageRollout>({
  group: API_GROUP,
  version: API_VERSION,
  kind: imageRolloutKind.kind,
  plural: imageRolloutKind.plural,
});
export const decisionResource = defineResource<ImageDecision>({
  group: API_GROUP,
  version: API_VERSION,
  kind: imageDecisionKind.kind,
  plural: imageDecisionKind.plural,
});

/** All that is read from a cluster here. */
export type ClusterReader = Pick<KubeClient, 'get' | 'list' | 'listAll'>;

export interface Cluster {
  readonly client: KubeClient;
  readonly connection: KubeConnection;
  /** Where to look: as asked for, or as the kubeconfig's context says. */
  readonly namespace: string;
  close(): Promise<void>;
}

/** Throws UsageError when there is no usable kubeconfig. Does not talk to the server yet. */
export async function openCluster(options: {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly userAgent: string;
}): Promise<Cluster> {
  try {
    const { kubeconfig: kubeconfigPath, context, userAgent } = options;
    const connection = await connect({ kubeconfigPath, context, userAgent });
    return {
      client: connection.client,
      connection,
      namespace: options.namespace ?? connection.namespace,
      close: () => connection.close(),
    };
  } catch (thrown) {
    if (thrown instanceof SlipwayError) throw new UsageError(thrown.message);
    throw thrown;
  }
}

/** Why something could not be read, for the caller of the command. Throws what is no answer of an API server. */
export function explainRefusal(
  thrown: unknown,
  verb: 'get' | 'list' | 'create' | 'patch' | 'watch',
  resource: Resource,
  namespace: string,
): string {
  if (!(thrown instanceof KubeError)) throw thrown;
  const what = qualifiedName(resource);
  const where = namespace === '' ? '' : ` in namespace ${namespace}`;
  if (thrown.isForbidden)
    return `you may not ${verb} ${what}${where}: ask for a role that allows it (view, with the roles of the chart)`;
  if (thrown.isUnauthorized) return `the API server does not accept your login: ${thrown.message}`;
  if (thrown.isNotFound)
    return `the cluster does not know ${what}: install Slipway (helm install slipway charts/slipway), or its CRDs, first`;
  return thrown.message;
}
