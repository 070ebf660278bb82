// DaemonSets.
// @see https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/

import type { KubeObject } from '../../api/object.ts';
import { toSelectorString, type Progress, type RawPodTemplate, type WorkloadType } from './workload.ts';

interface RawDaemonSet extends KubeObject {
  readonly spec?: {
    readonly selector?: Parameters<typeof toSelectorString>[0];
    readonly template?: RawPodTemplate;
    readonly updateStrategy?: { readonly type?: string };
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberAvailable?: number;
  };
}

export const daemonSet: WorkloadType<RawDaemonSet> = {
  kind: 'DaemonSet',
  group: 'apps',
  version: 'v1',
  plural: 'daemonsets',
  templatePath: ['spec', 'template'],
  template: (raw) => raw.spec?.template,
  podSelector: (raw) => toSelectorString(raw.spec?.selector),
  progress({ metadata, spec, status }): Progress {
    const wanted = status?.desiredNumberScheduled ?? 0;
    const updated = status?.updatedNumberScheduled ?? 0;
    const available = status?.numberAvailable ?? 0;
    if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
      return { kind: 'progressing', message: 'the DaemonSet controller has not seen the change yet', isUnseen: true };
    }
    if (wanted === 0) return { kind: 'idle', message: 'no node runs the DaemonSet' };
    if (updated < wanted) {
      const message = `${updated} of ${wanted} pods have the new image`;
      return spec?.updateStrategy?.type === 'OnDelete'
        ? { kind: 'paused', message: `${message}: with updateStrategy OnDelete each takes it when it is deleted` }
        : { kind: 'progressing', message };
    }
    if (available < wanted) return { kind: 'progressing', message: `${available} of ${wanted} pods are available` };
    return { kind: 'healthy' };
  },
};
