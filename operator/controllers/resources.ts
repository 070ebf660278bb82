// The kinds that the controllers read and write, as the API server names them.

import { API_GROUP, API_VERSION, type ImageDecision, type ImagePolicy, type ImageRollout } from '../api/kinds.ts';
import type { KubeObject } from '../api/object.ts';
import { defineResource } from '../kube/resource.ts';

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

export interface Pod extends KubeObject {
  readonly spec?: {
    readonly containers?: readonly { readonly name: string; readonly image?: string }[];
    readonly initContainers?: readonly { readonly name: string; readonly image?: string }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly message?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly image?: string;
  readonly imageID?: string;
  readonly restartCount?: number;
  readonly state?: {
    readonly running?: { readonly startedAt?: string };
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
  readonly lastState?: {
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
}

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

export const pods = defineResource<Pod>({ group: '', version: 'v1', kind: 'Pod', plural: 'pods' });
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
