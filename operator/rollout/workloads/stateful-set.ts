// StatefulSets.
// @see https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies

import type { KubeObject } from '../../api/object.ts';
import { toSelectorString, type Progress, type RawPodTemplate, type WorkloadType } from './workload.ts';

interface RawStatefulSet extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly podManagementPolicy?: string;
    readonly selector?: Parameters<typeof toSelectorString>[0];
    readonly template?: RawPodTemplate;
    readonly updateStrategy?: { readonly type?: string; readonly rollingUpdate?: { readonly partition?: number } };
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
  };
}

export const statefulSet: WorkloadType<RawStatefulSet> = {
  kind: 'StatefulSet',
  group: 'apps',
  version: 'v1',
  plural: 'statefulsets',
  templatePath: ['spec', 'template'],
  template: (raw) => raw.spec?.template,
  podSelector: (raw) => toSelectorString(raw.spec?.selector),
  details: ({ spec }) => (spec?.podManagementPolicy === 'Parallel' ? {} : { isOrdered: true }),
  progress({ metadata, spec, status }): Progress {
    const wanted = spec?.replicas ?? 1;
    const available = status?.availableReplicas ?? 0;
    const partition = spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
    if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
      return { kind: 'progressing', message: 'the StatefulSet controller has not seen the change yet', isUnseen: true };
    }
    if (wanted === 0) {
      return (status?.replicas ?? 0) === 0
        ? { kind: 'idle', message: 'the StatefulSet is scaled to zero' }
        : { kind: 'progressing', message: `${status?.replicas ?? 0} pods are still stopping` };
    }
    // Not by comparing currentRevision with updateRevision: they are equal as soon as the template is set back to the
    // revision it came from, while the pods still run the other one.
    const updated = status?.updatedReplicas ?? 0;
    const due = Math.max(wanted - partition, 0);
    if (updated < due) {
      const message = `${updated} of ${due} pods have the new image`;
      return spec?.updateStrategy?.type === 'OnDelete'
        ? { kind: 'paused', message: `${message}: with updateStrategy OnDelete each takes it when it is deleted` }
        : { kind: 'progressing', message };
    }
    if (available < wanted) return { kind: 'progressing', message: `${available} of ${wanted} pods are available` };
    return due === 0
      ? {
          kind: 'paused',
          message: `updateStrategy.rollingUpdate.partition ${partition} keeps every pod on the old image`,
        }
      : { kind: 'healthy' };
  },
};
