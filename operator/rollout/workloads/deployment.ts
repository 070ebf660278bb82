// Deployments.
// @see https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status

import type { KubeObject } from '../../api/object.ts';
import { toSelectorString, type Progress, type RawPodTemplate, type WorkloadType } from './workload.ts';

interface RawDeployment extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly paused?: boolean;
    readonly selector?: Parameters<typeof toSelectorString>[0];
    readonly template?: RawPodTemplate;
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

export const deployment: WorkloadType<RawDeployment> = {
  kind: 'Deployment',
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  templatePath: ['spec', 'template'],
  template: (raw) => raw.spec?.template,
  podSelector: (raw) => toSelectorString(raw.spec?.selector),
  details({ status }) {
    const failure = status?.conditions?.find(({ type, status: is }) => type === 'ReplicaFailure' && is === 'True');
    return failure?.message === undefined ? {} : { blockedBecause: failure.message };
  },
  progress({ metadata, spec, status }): Progress {
    const wanted = spec?.replicas ?? 1;
    const updated = status?.updatedReplicas ?? 0;
    const available = status?.availableReplicas ?? 0;
    const total = status?.replicas ?? 0;
    if (spec?.paused === true) return { kind: 'paused', message: 'the Deployment is paused' };
    if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
      return { kind: 'progressing', message: 'the Deployment controller has not seen the change yet', isUnseen: true };
    }
    if (wanted === 0) {
      return total === 0
        ? { kind: 'idle', message: 'the Deployment is scaled to zero' }
        : { kind: 'progressing', message: `${total} pods are still stopping` };
    }
    if (updated < wanted) return { kind: 'progressing', message: `${updated} of ${wanted} pods have the new image` };
    if (total > updated)
      return { kind: 'progressing', message: `${total - updated} pods with the old image are still there` };
    if (available < wanted) return { kind: 'progressing', message: `${available} of ${wanted} pods are available` };
    return { kind: 'healthy' };
  },
};
