// The login and the certificates by which a policy reads its registry, fetched with the rights of the caller.

import type { ImagePolicy } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';
import { TerminalError } from '../../errors.ts';
import type { Repository } from '../../image/reference.ts';
import { defineResource, type Resource } from '../../kube/resource.ts';
import type { RegistryAccess } from '../../registry/credential.ts';
import { selectCredential, type DockerConfigSecret } from '../../registry/pull-secret.ts';
import { explainRefusal, type ClusterReader } from './cluster.ts';

interface WithData extends KubeObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

const secrets = defineResource<WithData>({ group: '', version: 'v1', kind: 'Secret', plural: 'secrets' });
const configMaps = defineResource<WithData>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });
const serviceAccounts = defineResource<ServiceAccount>({
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
});

const DOCKER_CONFIG_KEY = '.dockerconfigjson';

/** Throws TerminalError `AccessUnreadable` or `InvalidPullSecret`, each with a sentence that never quotes a secret. */
export async function readAccess(
  client: ClusterReader,
  policy: ImagePolicy,
  repository: Repository,
): Promise<RegistryAccess> {
  const namespace = policy.metadata.namespace ?? '';
  const { imagePullSecrets = [], serviceAccountName, caBundleRef } = policy.spec.registry ?? {};

  async function read<T extends KubeObject>(resource: Resource<T>, name: string): Promise<T | undefined> {
    try {
      return await client.get(resource, { namespace, name });
    } catch (thrown) {
      throw unreadable(explainRefusal(thrown, 'get', resource, namespace));
    }
  }
  async function demand<T extends KubeObject>(resource: Resource<T>, name: string): Promise<T> {
    const object = await read(resource, name);
    if (object === undefined) throw unreadable(`there is no ${resource.kind} ${name} in namespace ${namespace}`);
    return object;
  }

  const found: WithData[] = [];
  for (const { name } of imagePullSecrets) found.push(await demand(secrets, name));
  if (serviceAccountName !== undefined) {
    const account = await demand(serviceAccounts, serviceAccountName);
    for (const { name } of account.imagePullSecrets ?? []) {
      const secret = name === undefined ? undefined : await read(secrets, name);
      if (secret !== undefined) found.push(secret);
    }
  }
  const credential = selectCredential(repository, found.flatMap(toDockerConfig));

  let caPem: string | undefined;
  if (caBundleRef !== undefined) {
    const { kind, name, key } = caBundleRef;
    const value = (await demand(kind === 'Secret' ? secrets : configMaps, name)).data?.[key];
    if (value === undefined) throw unreadable(`${kind} ${name} has no key ${key}`);
    caPem = kind === 'Secret' ? decode(value) : value;
  }
  return { ...(credential !== undefined && { credential }), ...(caPem !== undefined && { caPem }) };
}

function toDockerConfig({ metadata, data }: WithData): DockerConfigSecret[] {
  const value = data?.[DOCKER_CONFIG_KEY];
  const { name, uid, resourceVersion } = metadata;
  return value === undefined ? [] : [{ name, uid, resourceVersion, dockerConfigJson: decode(value) }];
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

function unreadable(message: string): TerminalError {
  return new TerminalError(message, { code: 'AccessUnreadable' });
}
