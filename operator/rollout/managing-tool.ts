// Marks that GitOps tools and Helm leave on what they manage. Such a tool puts its own image back sooner or later, so
// Slipway does not write before somebody consented.

import type { ObjectMeta } from '../api/object.ts';

export interface ManagingTool {
  readonly tool: 'Argo CD' | 'Flux' | 'Helm';
  /** The mark that was found, for people. */
  readonly mark: string;
}

interface Mark {
  readonly tool: ManagingTool['tool'];
  readonly annotations?: readonly string[];
  readonly labels?: readonly string[];
  readonly managers?: readonly string[];
}

// Flux before Helm: its helm-controller leaves Helm's marks as well. Argo CD's other tracking label,
// app.kubernetes.io/instance, says nothing by itself, since most Helm charts set it: there the manager decides.
const MARKS: readonly Mark[] = [
  {
    tool: 'Argo CD',
    annotations: ['argocd.argoproj.io/tracking-id'],
    labels: ['argocd.argoproj.io/instance'],
    managers: ['argocd-controller', 'argocd-application-controller'],
  },
  {
    tool: 'Flux',
    labels: ['kustomize.toolkit.fluxcd.io/name', 'helm.toolkit.fluxcd.io/name'],
    managers: ['kustomize-controller', 'helm-controller'],
  },
  { tool: 'Helm', annotations: ['meta.helm.sh/release-name'], managers: ['helm', 'Helm'] },
];

/** The first tool whose mark the object carries, or undefined. */
export function findManagingTool(metadata: ObjectMeta): ManagingTool | undefined {
  for (const { tool, annotations, labels, managers } of MARKS) {
    const annotation = annotations?.find((name) => metadata.annotations?.[name] !== undefined);
    if (annotation !== undefined) return { tool, mark: `annotation ${annotation}` };
    const label = labels?.find((name) => metadata.labels?.[name] !== undefined);
    if (label !== undefined) return { tool, mark: `label ${label}` };
    const manager = metadata.managedFields?.find((entry) => managers?.includes(entry.manager ?? ''))?.manager;
    if (manager !== undefined) return { tool, mark: `field manager ${manager}` };
  }
  return undefined;
}

/** How to hand the image field over to Slipway, in words that fit into a condition. */
export function explainHandover(tool: ManagingTool['tool']): string {
  switch (tool) {
    case 'Argo CD':
      return 'let Argo CD ignore the field (ignoreDifferences with managedFieldsManagers: [slipway]) or leave image out of the manifest, then set rollout.onForeignChange; or empty targets and write status.selected to Git';
    case 'Flux':
      return 'leave image out of the manifest or let Flux ignore the field, then set rollout.onForeignChange; or empty targets and write status.selected to Git';
    case 'Helm':
      return 'know that the next helm upgrade writes the image of the chart again, then set rollout.onForeignChange; or empty targets and pass status.selected to Helm';
  }
}
