// How far an object has come that only follows the conventions: kstatus, plus the replica counts that most workload kinds
// share and the phase that Argo Rollouts writes.
// @see https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

import type { KubeObject } from '../../api/object.ts';
import type { Progress } from './workload.ts';

interface Conventional extends KubeObject {
  readonly spec?: { readonly replicas?: number; readonly paused?: boolean; readonly suspend?: boolean };
  readonly status?: {
    /** Argo Rollouts writes it as a string. */
    readonly observedGeneration?: number | string;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly phase?: string;
    readonly message?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

/** Conditions that say by being true that it is not there yet. */
const UNFINISHED = ['Reconciling', 'Stalled', 'Degraded'];

export function conventionalProgress(raw: KubeObject): Progress {
  const { metadata, spec, status } = raw as Conventional;
  const kind = raw.kind ?? 'object';
  if (spec?.paused === true || spec?.suspend === true) return { kind: 'paused', message: `the ${kind} is paused` };
  if (Number(status?.observedGeneration ?? 0) < (metadata.generation ?? 0))
    return { kind: 'progressing', message: `the controller of ${kind} has not seen the change yet`, isUnseen: true };
  const wanted = spec?.replicas ?? 1;
  if (wanted === 0) {
    return (status?.replicas ?? 0) === 0
      ? { kind: 'idle', message: `the ${kind} is scaled to zero` }
      : { kind: 'progressing', message: `${status?.replicas ?? 0} pods are still stopping` };
  }
  if (status?.phase === 'Paused')
    return {
      kind: 'paused',
      message: `the ${kind} waits at a step${status.message === undefined ? '' : `: ${status.message}`}`,
    };
  const open = status?.conditions?.find(({ type, status: is }) => UNFINISHED.includes(type) && is === 'True');
  if (open !== undefined) return { kind: 'progressing', message: open.message ?? open.reason ?? open.type };
  const unready = status?.conditions?.find(
    ({ type, status: is }) => (type === 'Ready' || type === 'Available') && is !== 'True',
  );
  if (unready !== undefined)
    return { kind: 'progressing', message: unready.message ?? unready.reason ?? `it is not ${unready.type}` };
  if (status?.phase !== undefined && status.phase !== 'Healthy')
    return { kind: 'progressing', message: status.message ?? `it is ${status.phase}` };
  if (status?.updatedReplicas !== undefined && status.updatedReplicas < wanted)
    return { kind: 'progressing', message: `${status.updatedReplicas} of ${wanted} pods have the new image` };
  if (status?.updatedReplicas !== undefined && (status.replicas ?? 0) > status.updatedReplicas)
    return {
      kind: 'progressing',
      message: `${(status.replicas ?? 0) - status.updatedReplicas} pods with the old image are still there`,
    };
  if (status?.availableReplicas !== undefined && status.availableReplicas < wanted)
    return { kind: 'progressing', message: `${status.availableReplicas} of ${wanted} pods are available` };
  if (status?.replicas !== undefined && status.availableReplicas === undefined)
    return { kind: 'progressing', message: `0 of ${wanted} pods are available` };
  return { kind: 'healthy' };
}
