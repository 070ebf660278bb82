// The workload kinds that this operator moves: the built-in ones and those of its configuration, each with its cache.

import type { WorkloadKind } from '../api/image-policy.ts';
import { TransientError } from '../errors.ts';
import type { Cache } from '../kube/informer.ts';
import { defineResource, type Resource } from '../kube/resource.ts';
import type { Workload, WorkloadType } from '../rollout/workloads/workload.ts';

export interface WorkloadAccess {
  readonly type: WorkloadType;
  readonly resource: Resource;
  readonly cache: Cache<Workload>;
  /** Whether the API server serves it: the CRD of a configured kind may be missing. */
  readonly isServed: () => boolean;
}

export type WorkloadKinds = ReadonlyMap<WorkloadKind, WorkloadAccess>;

export function resourceOf({ kind, group, version, plural }: WorkloadType): Resource {
  return defineResource({ group, version, kind, plural });
}

/** Throws TransientError `UnknownWorkloadKind`: the configuration named the kind when the rollout was created. */
export function requireKind(kinds: WorkloadKinds, kind: WorkloadKind): WorkloadAccess {
  const access = kinds.get(kind);
  if (access !== undefined) return access;
  throw new TransientError(
    `${kind} is no kind that this operator moves: add it to workloadKinds of its configuration`,
    {
      code: 'UnknownWorkloadKind',
    },
  );
}
