// How one policy reaches its registry: the login and the certificates that its own namespace provides. Objects are read
// by name, only when needed, and kept for a minute, because the operator may `get` secrets but never list or watch them.

import { LRUCache } from 'lru-cache';
import type { ImagePolicy } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';
import { TerminalError } from '../../errors.ts';
import type { Repository } from '../../image/reference.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Resource } from '../../kube/resource.ts';
import type { RegistryAccess } from '../../registry/credential.ts';
import { selectCredential, type DockerConfigSecret } from '../../registry/pull-secret.ts';
import type { Clock } from '../../time/clock.ts';
import { configMaps, secrets, serviceAccounts, type Secret } from '../resources.ts';

const KEEP_MS = 60_000;
const MAX_KEPT = 2_000;
const DOCKER_CONFIG_TYPE = 'kubernetes.io/dockerconfigjson';
const DOCKER_CONFIG_KEY = '.dockerconfigjson';

type Kept = { readonly object: KubeObject | undefined; readonly readMs: number };

export class AccessResolver {
  readonly #client: Pick<KubeClient, 'get'>;
  readonly #clock: Clock;
  readonly #kept = new LRUCache<string, Kept>({ max: MAX_KEPT });

  constructor(deps: { readonly client: Pick<KubeClient, 'get'>; readonly clock: Clock }) {
    this.#client = deps.client;
    this.#clock = deps.clock;
  }

  /**
   * Throws TerminalError `PullSecretNotFound`, `InvalidPullSecret`, `ServiceAccountNotFound` or `CaBundleNotFound`,
   * each naming the object and the field that asks for it, never its content.
   */
  async resolve(policy: ImagePolicy, repository: Repository, signal: AbortSignal): Promise<RegistryAccess> {
    const namespace = policy.metadata.namespace ?? '';
    const { imagePullSecrets = [], serviceAccountName, caBundleRef } = policy.spec.registry ?? {};
    const found: DockerConfigSecret[] = [];
    for (const { name } of imagePullSecrets) {
      const secret = await this.#read(secrets, namespace, name, signal);
      if (secret === undefined) {
        throw new TerminalError(`registry.imagePullSecrets: Secret ${name} does not exist in namespace ${namespace}`, {
          code: 'PullSecretNotFound',
        });
      }
      found.push(readDockerConfig(secret));
    }
    if (serviceAccountName !== undefined)
      found.push(...(await this.#ofServiceAccount(namespace, serviceAccountName, signal)));
    const credential = found.length === 0 ? undefined : selectCredential(repository, found);
    const caPem = caBundleRef === undefined ? undefined : await this.#readBundle(namespace, caBundleRef, signal);
    return { ...(credential !== undefined && { credential }), ...(caPem !== undefined && { caPem }) };
  }

  /** Forgets what was read in a namespace, after the registry refused a login: it may have been changed. */
  forget(namespace: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(`${namespace}/`)) this.#kept.delete(key);
  }

  /** As the kubelet does, a secret that the account names but that does not exist is passed over. */
  async #ofServiceAccount(namespace: string, name: string, signal: AbortSignal): Promise<DockerConfigSecret[]> {
    const account = await this.#read(serviceAccounts, namespace, name, signal);
    if (account === undefined) {
      throw new TerminalError(
        `registry.serviceAccountName: ServiceAccount ${name} does not exist in namespace ${namespace}`,
        {
          code: 'ServiceAccountNotFound',
        },
      );
    }
    const found: DockerConfigSecret[] = [];
    for (const { name: secretName } of account.imagePullSecrets ?? []) {
      const secret = secretName === undefined ? undefined : await this.#read(secrets, namespace, secretName, signal);
      if (secret?.type === DOCKER_CONFIG_TYPE) found.push(readDockerConfig(secret));
    }
    return found;
  }

  async #readBundle(
    namespace: string,
    ref: { readonly kind: 'ConfigMap' | 'Secret'; readonly name: string; readonly key: string },
    signal: AbortSignal,
  ): Promise<string> {
    const pem =
      ref.kind === 'ConfigMap'
        ? (await this.#read(configMaps, namespace, ref.name, signal))?.data?.[ref.key]
        : decode((await this.#read(secrets, namespace, ref.name, signal))?.data?.[ref.key]);
    if (pem === undefined) {
      throw new TerminalError(
        `registry.caBundleRef: ${ref.kind} ${ref.name} in namespace ${namespace} has no key ${ref.key}`,
        {
          code: 'CaBundleNotFound',
        },
      );
    }
    return pem;
  }

  async #read<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const key = `${namespace}/${resource.kind}/${name}`;
    const kept = this.#kept.get(key);
    // What was missing is looked for again at once: people create the policy first and the secret after it.
    if (kept?.object !== undefined && this.#clock.monotonicMs() - kept.readMs < KEEP_MS) return kept.object as T;
    const object = await this.#client.get(resource, { namespace, name }, { signal });
    this.#kept.set(key, { object, readMs: this.#clock.monotonicMs() });
    return object;
  }
}

function decode(base64: string | undefined): string | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('utf8');
}

function readDockerConfig(secret: Secret): DockerConfigSecret {
  const { name, uid, resourceVersion } = secret.metadata;
  const dockerConfigJson = decode(secret.data?.[DOCKER_CONFIG_KEY]);
  if (secret.type !== DOCKER_CONFIG_TYPE || dockerConfigJson === undefined) {
    throw new TerminalError(
      `Secret ${name} is not of type ${DOCKER_CONFIG_TYPE}: create it with kubectl create secret docker-registry`,
      {
        code: 'InvalidPullSecret',
      },
    );
  }
  return { name, uid, resourceVersion, dockerConfigJson };
}
