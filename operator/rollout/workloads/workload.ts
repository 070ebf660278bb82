// A workload as Slipway needs it: who it is, which images its containers name and who set them, and how far it has come.
// Everything else of the object is dropped when it is read, so that thousands of them stay small in memory.

import type { WorkloadKind } from '../../api/image-policy.ts';
import { ROLLOUT_ANNOTATION } from '../../api/kinds.ts';
import type { KubeObject, ManagedFieldsEntry, ObjectMeta } from '../../api/object.ts';
import { findManagingTool, type ManagingTool } from '../managing-tool.ts';

/** How far a workload has come with the template it has now. */
export type Progress =
  | { readonly kind: 'healthy' }
  /** Still on its way; `message` says what is missing. */
  | {
      readonly kind: 'progressing';
      readonly message: string;
      /** Its controller has not looked at the last change yet, so nothing is known. */
      readonly isUnseen?: true;
    }
  /** Somebody told it not to move: paused, OnDelete, a partition. */
  | { readonly kind: 'paused'; readonly message: string }
  /** Nothing runs, so nothing can be proven: scaled to zero, suspended, or a CronJob between two runs. */
  | { readonly kind: 'idle'; readonly message: string };

export interface WorkloadContainer {
  readonly name: string;
  readonly init: boolean;
  /** Position in its list, for JSON patches. */
  readonly index: number;
  /** As the API server holds it. */
  readonly image: string;
  /** Field managers that own the image field, in the order of managedFields. */
  readonly imageManagers: readonly string[];
}

export interface Workload {
  readonly kind: WorkloadKind;
  readonly metadata: Pick<ObjectMeta, 'name' | 'uid' | 'resourceVersion'> & {
    readonly namespace: string;
    readonly generation: number;
    readonly labels: Readonly<Record<string, string>>;
  };
  /** `slipway.dev/rollout`: the ImageRollout that is moving it. Absent when none is. */
  readonly rollout?: string;
  readonly hasAnnotations: boolean;
  readonly containers: readonly WorkloadContainer[];
  readonly progress: Progress;
  /** Why its controller cannot create pods, for example a quota. Absent when it can, or does not say. */
  readonly blockedBecause?: string;
  /** true: a CronJob that starts no runs. */
  readonly isSuspended?: boolean;
  /** Changes with every run of a CronJob. Absent for everything else. */
  readonly runs?: string;
  /** true: a StatefulSet whose pods start one after the other. */
  readonly isOrdered?: boolean;
  /** Label selector of its pods, as a query string. Absent where pods come through Jobs. */
  readonly podSelector?: string;
  /** A tool that will undo foreign changes of the image. Absent when no mark was found. */
  readonly managedBy?: ManagingTool;
}

interface RawContainer {
  readonly name: string;
  readonly image?: string;
}

export interface RawPodTemplate {
  readonly spec?: { readonly containers?: readonly RawContainer[]; readonly initContainers?: readonly RawContainer[] };
}

/** What differs between the kinds. One file each; registered in `index.ts`. */
export interface WorkloadType<Raw extends KubeObject = KubeObject> {
  readonly kind: WorkloadKind;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Path of the pod template in the object, for patches and managedFields. */
  readonly templatePath: readonly string[];
  template(raw: Raw): RawPodTemplate | undefined;
  progress(raw: Raw): Progress;
  /** What only some kinds have. */
  details?(raw: Raw): Pick<Workload, 'blockedBecause' | 'isSuspended' | 'isOrdered' | 'runs'>;
  podSelector(raw: Raw): string | undefined;
}

/** Who owns one container's image field. @see design: the value decides who changed it, ownership only names. */
function imageManagers(
  managedFields: readonly ManagedFieldsEntry[] | undefined,
  templatePath: readonly string[],
  list: 'containers' | 'initContainers',
  container: string,
): string[] {
  const path = [...templatePath, 'spec', list].map((part) => `f:${part}`);
  path.push(`k:${JSON.stringify({ name: container })}`, 'f:image');
  const managers: string[] = [];
  for (const entry of managedFields ?? []) {
    let node: unknown = entry.fieldsV1;
    for (const part of path) node = (node as Record<string, unknown> | undefined)?.[part];
    if (node !== undefined && entry.manager !== undefined && !managers.includes(entry.manager))
      managers.push(entry.manager);
  }
  return managers;
}

/** The projection of a raw object. Containers without an image are left out. */
export function toWorkload<Raw extends KubeObject>(type: WorkloadType<Raw>, raw: Raw): Workload {
  const { metadata } = raw;
  const template = type.template(raw);
  const read = (list: 'containers' | 'initContainers'): WorkloadContainer[] =>
    (template?.spec?.[list] ?? []).flatMap((container, index) =>
      container.image === undefined
        ? []
        : [
            {
              name: container.name,
              init: list === 'initContainers',
              index,
              image: container.image,
              imageManagers: imageManagers(metadata.managedFields, type.templatePath, list, container.name),
            },
          ],
    );
  const rollout = metadata.annotations?.[ROLLOUT_ANNOTATION];
  const podSelector = type.podSelector(raw);
  const managedBy = findManagingTool(metadata);
  return {
    kind: type.kind,
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace ?? '',
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
      generation: metadata.generation ?? 0,
      labels: metadata.labels ?? {},
    },
    ...(rollout !== undefined && { rollout }),
    hasAnnotations: metadata.annotations !== undefined,
    containers: [...read('initContainers'), ...read('containers')],
    progress: type.progress(raw),
    ...type.details?.(raw),
    ...(podSelector !== undefined && { podSelector }),
    ...(managedBy !== undefined && { managedBy }),
  };
}

/** A LabelSelector as the query string of a list call. Absent when there is none, so that nobody lists every pod. */
export function toSelectorString(
  selector:
    | {
        readonly matchLabels?: Readonly<Record<string, string>>;
        readonly matchExpressions?: readonly {
          readonly key: string;
          readonly operator: string;
          readonly values?: readonly string[];
        }[];
      }
    | undefined,
): string | undefined {
  const terms = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values } of selector?.matchExpressions ?? []) {
    const list = (values ?? []).join(',');
    if (operator === 'In') terms.push(`${key} in (${list})`);
    if (operator === 'NotIn') terms.push(`${key} notin (${list})`);
    if (operator === 'Exists') terms.push(key);
    if (operator === 'DoesNotExist') terms.push(`!${key}`);
  }
  return terms.length === 0 ? undefined : terms.join(',');
}
