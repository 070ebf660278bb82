// The one patch that Slipway makes to a workload: the image fields of named containers and the annotation on the
// workload's own metadata, guarded by tests on everything it was decided from. It can never add a container.

import { ROLLOUT_ANNOTATION } from '../../api/kinds.ts';
import type { Workload, WorkloadType } from './workload.ts';

export type PatchOperation =
  | { readonly op: 'test' | 'replace' | 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

const ANNOTATION_PATH = `/metadata/annotations/${ROLLOUT_ANNOTATION.replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** What becomes of one container's image. */
export interface ImageChange {
  readonly name: string;
  readonly init: boolean;
  readonly from: string;
  readonly to: string;
}

/** Sets every container that is still at `from` to `to`. `live` comes from a GET. */
export function imagePatch(
  type: Pick<WorkloadType, 'templatePath'>,
  target: { readonly containers: readonly ImageChange[] },
  live: Workload,
  rolloutName: string,
): PatchOperation[] {
  const operations: PatchOperation[] = [
    { op: 'test', path: '/metadata/resourceVersion', value: live.metadata.resourceVersion },
  ];
  for (const wanted of target.containers) {
    const container = live.containers.find(({ name, init }) => name === wanted.name && init === wanted.init);
    if (container === undefined || container.image === wanted.to) continue;
    const list = wanted.init ? 'initContainers' : 'containers';
    const path = `/${[...type.templatePath, 'spec', list, String(container.index)].join('/')}`;
    operations.push(
      { op: 'test', path: `${path}/name`, value: wanted.name },
      { op: 'test', path: `${path}/image`, value: wanted.from },
      { op: 'replace', path: `${path}/image`, value: wanted.to },
    );
  }
  operations.push(
    live.hasAnnotations
      ? { op: 'add', path: ANNOTATION_PATH, value: rolloutName }
      : { op: 'add', path: '/metadata/annotations', value: { [ROLLOUT_ANNOTATION]: rolloutName } },
  );
  return operations;
}

/** Takes the annotation off, if it still names this rollout. */
export function releasePatch(rolloutName: string): PatchOperation[] {
  return [
    { op: 'test', path: ANNOTATION_PATH, value: rolloutName },
    { op: 'remove', path: ANNOTATION_PATH },
  ];
}
