// What every Kubernetes object has in common, and how a kind is named to the API server. Objects are plain JSON as the
// server wrote it: never a typed model, which would drop the fields it does not know.

import type { KubeObject, ObjectMeta, OwnerReference } from '../api/object.ts';

export type { KubeObject, ObjectMeta, OwnerReference } from '../api/object.ts';

/** Names an object within its kind. `namespace` is '' for a cluster-scoped object. */
export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

/** What a caller writes of the metadata of a new object; the server fills in the rest. */
export interface NewObjectMeta {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

/** An object before it exists. `apiVersion` and `kind` come from the resource, the namespace from the call. */
export type NewObject<T extends KubeObject> = Omit<T, 'apiVersion' | 'kind' | 'metadata'> & {
  readonly metadata: NewObjectMeta;
};

declare const OBJECT: unique symbol;

/** A kind as the API server serves it, and (for the compiler only) the shape of its objects. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** The lower-case plural that appears in URLs. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never set: carries `T`, so that `client.get(resource, key)` knows its answer. */
  readonly [OBJECT]?: T;
}

/** Declares a kind. `namespaced` is true unless said otherwise. */
export function defineResource<T extends KubeObject>(definition: {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced?: boolean;
}): Resource<T> {
  return Object.freeze({ ...definition, namespaced: definition.namespaced ?? true });
}

/** `apps/v1`, or `v1` for the core group. */
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** `imagepolicies.slipway.dev`, or `secrets` for the core group: the name in RBAC rules and in messages. */
export function qualifiedName(resource: Resource): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** The URL path of a collection (no name), an object, or a subresource of it. A namespaced collection without a namespace spans all. */
export function resourcePath(
  resource: Resource,
  target: { readonly namespace?: string | undefined; readonly name?: string; readonly subresource?: string } = {},
): string {
  const segments = resource.group === '' ? ['api', resource.version] : ['apis', resource.group, resource.version];
  if (resource.namespaced && target.namespace !== undefined && target.namespace !== '') {
    segments.push('namespaces', target.namespace);
  }
  segments.push(resource.plural);
  if (target.name !== undefined) segments.push(target.name);
  if (target.subresource !== undefined) segments.push(target.subresource);
  return `/${segments.map(encodeURIComponent).join('/')}`;
}

export function keyOf(object: { readonly metadata: Pick<ObjectMeta, 'name' | 'namespace'> }): ObjectKey {
  return { namespace: object.metadata.namespace ?? '', name: object.metadata.name };
}

/** `namespace/name`, or `name` alone for a cluster-scoped object. */
export function formatKey(key: ObjectKey): string {
  return key.namespace === '' ? key.name : `${key.namespace}/${key.name}`;
}

/** The reverse of formatKey. Neither part can hold a slash, so the first one separates. */
export function parseKey(text: string): ObjectKey {
  const slash = text.indexOf('/');
  return slash === -1
    ? { namespace: '', name: text }
    : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

/**
 * Orders two resource versions of one kind: negative when `a` is older. They are decimal numbers without bound, hence
 * length first. @see https://kep.k8s.io/5504
 */
export function compareResourceVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
