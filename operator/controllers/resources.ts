// The kinds that the controllers read and write, as the API server names them.

import { API_GROUP, API_VERSION, type ImageDecision, type ImagePolicy, type ImageRollout } from '../api/kinds.ts';
import type { KubeObject } from '../api/object.ts';
import { defineResource } from '../kube/resource.ts';
import type { Job as JobFacts, Pod as PodFacts } from '../rollout/health/pod.ts';

export const imagePolicies = defineResource<ImagePolicy>({
  group: API_GROUP,
  version: API_VERSION,
  kind: 'ImagePolicy',
  plural: 'imagepolicies',
});

export const imageDecisions = defineResource<ImageDecision>({
  group: API_GROUP,
  version: API_VERSION,
  kind: 'ImageDecision',
  plural: 'imagedecisions',
});

export const imageRollouts = defineResource<ImageRollout>({
  group: API_GROUP,
  version: API_VERSION,
  kind: 'ImageRollout',
  plural: 'imagerollouts',
});

export type Pod = KubeObject & PodFacts;
export type Job = KubeObject & JobFacts;

export interface Secret extends KubeObject {
  readonly type?: string;
  /** Values in base64. */
  readonly data?: Readonly<Record<string, string>>;
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

export interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

export interface Node extends KubeObject {
  readonly spec?: { readonly unschedulable?: boolean };
  readonly status?: { readonly nodeInfo?: { readonly operatingSystem?: string; readonly architecture?: string } };
}

export const namespaces = defineResource<KubeObject>({
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
});
export const pods = defineResource<Pod>({ group: '', version: 'v1', kind: 'Pod', plural: 'pods' });
export const jobs = defineResource<Job>({ group: 'batch', version: 'v1', kind: 'Job', plural: 'jobs' });
export const secrets = defineResource<Secret>({ group: '', version: 'v1', kind: 'Secret', plural: 'secrets' });
export const configMaps = defineResource<ConfigMap>({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
});
export const serviceAccounts = defineResource<ServiceAccount>({
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
});
export const nodes = defineResource<Node>({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
});
