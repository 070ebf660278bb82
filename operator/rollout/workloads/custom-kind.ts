// Kinds with a pod template that the operator's configuration adds, judged by the conventions that they follow.

import type { KubeObject } from '../../api/object.ts';
import { conventionalProgress } from './kstatus.ts';
import { toSelectorString, type RawPodTemplate, type WorkloadType } from './workload.ts';

export interface CustomKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Dotted, for example `spec.template`. */
  readonly podTemplatePath: string;
}

export function customKind({ group, version, kind, plural, podTemplatePath }: CustomKind): WorkloadType {
  const templatePath = podTemplatePath.split('.');
  return {
    kind,
    group,
    version,
    plural,
    templatePath,
    template: (raw) => read(raw, templatePath) as RawPodTemplate | undefined,
    progress: conventionalProgress,
    podSelector: (raw) => {
      const selector = read(raw, ['spec', 'selector']) as Parameters<typeof toSelectorString>[0];
      const isSelector = selector?.matchLabels !== undefined || selector?.matchExpressions !== undefined;
      return isSelector ? toSelectorString(selector) : undefined;
    },
  };
}

function read(raw: KubeObject, path: readonly string[]): unknown {
  let node: unknown = raw;
  for (const part of path) node = (node as Readonly<Record<string, unknown>> | null | undefined)?.[part];
  return node;
}
