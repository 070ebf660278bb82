import { describe, expect, it } from '@jest/globals';
import { AccessResolver } from '../../../../operator/controllers/policy/access.ts';
import { parseRepository } from '../../../../operator/image/reference.ts';
import type { KubeClient } from '../../../../operator/kube/client.ts';
import type { KubeObject } from '../../../../operator/kube/resource.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const REPOSITORY = parseRepository('ghcr.io/acme/web');
const MINUTE_MS = 60_000;

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function dockerConfig(name: string, password: string, more: object = {}): object {
  const auths = { 'ghcr.io': { username: 'bot', password } };
  return {
    kind: 'Secret',
    metadata: { name, uid: `uid-of-${name}`, resourceVersion: '1' },
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': base64(JSON.stringify({ auths })) },
    ...more,
  };
}

/** Objects of the namespace `shop`, by kind and name; a test may change them at any time. */
class Namespace implements Pick<KubeClient, 'get'> {
  readonly objects = new Map<string, object>();
  readonly reads: string[] = [];

  put(...objects: readonly object[]): this {
    for (const object of objects as KubeObject[]) this.objects.set(`${object.kind}/${object.metadata.name}`, object);
    return this;
  }

  get: KubeClient['get'] = async <T extends KubeObject>(
    { kind }: { readonly kind: string },
    { namespace, name }: { readonly namespace: string; readonly name: string },
  ) => {
    expect(namespace).toBe('shop');
    this.reads.push(`${kind}/${name}`);
    return Promise.resolve(this.objects.get(`${kind}/${name}`) as T | undefined);
  };
}

function arrange(...objects: readonly object[]) {
  const namespace = new Namespace().put(...objects);
  const clock = new FakeClock();
  const resolver = new AccessResolver({ client: namespace, clock });
  const resolve = (registry: object) =>
    resolver.resolve(imagePolicy({ spec: { registry } }), REPOSITORY, new AbortController().signal);
  return { namespace, clock, resolver, resolve };
}

const SECRETS = { imagePullSecrets: [{ name: 'ghcr' }] };

describe('AccessResolver', () => {
  it('needs nothing where the policy names nothing', async () => {
    const { resolve, namespace } = arrange();

    expect(await resolve({})).toEqual({});
    expect(namespace.reads).toEqual([]);
  });

  it('takes the login from a pull secret, wrapped', async () => {
    const { resolve } = arrange(dockerConfig('ghcr', 'hush'));

    const { credential } = await resolve(SECRETS);

    expect(credential).toMatchObject({ username: 'bot', host: 'ghcr.io', secretName: 'ghcr' });
    expect(JSON.stringify(credential)).not.toContain('hush');
  });

  it("takes the login from the service account's secrets, and passes over those that are not there", async () => {
    const account = {
      kind: 'ServiceAccount',
      metadata: { name: 'web' },
      imagePullSecrets: [{ name: 'gone' }, {}, { name: 'other' }, { name: 'ghcr' }],
    };
    const { resolve } = arrange(account, dockerConfig('ghcr', 'hush'), dockerConfig('other', 'no', { type: 'Opaque' }));

    expect((await resolve({ serviceAccountName: 'web' })).credential?.secretName).toBe('ghcr');
  });

  it.each([
    { kind: 'ConfigMap', object: { kind: 'ConfigMap', metadata: { name: 'ca' }, data: { 'ca.crt': 'PEM' } } },
    { kind: 'Secret', object: { kind: 'Secret', metadata: { name: 'ca' }, data: { 'ca.crt': base64('PEM') } } },
  ])('reads certificates from a $kind', async ({ kind, object }) => {
    const { resolve } = arrange(object);

    expect(await resolve({ caBundleRef: { kind, name: 'ca', key: 'ca.crt' } })).toEqual({ caPem: 'PEM' });
  });

  it.each([
    { when: 'a secret is missing', objects: [], registry: SECRETS, code: 'PullSecretNotFound', says: 'Secret ghcr' },
    {
      when: 'a secret is of another type',
      objects: [dockerConfig('ghcr', 'hush', { type: 'Opaque' })],
      registry: SECRETS,
      code: 'InvalidPullSecret',
      says: 'kubectl create secret docker-registry',
    },
    {
      when: 'a secret is no JSON',
      objects: [dockerConfig('ghcr', '', { data: { '.dockerconfigjson': base64('hush') } })],
      registry: SECRETS,
      code: 'InvalidPullSecret',
      says: 'ghcr',
    },
    {
      when: 'the service account is missing',
      objects: [],
      registry: { serviceAccountName: 'web' },
      code: 'ServiceAccountNotFound',
      says: 'ServiceAccount web',
    },
    {
      when: 'the bundle has not the key',
      objects: [{ kind: 'ConfigMap', metadata: { name: 'ca' }, data: {} }],
      registry: { caBundleRef: { kind: 'ConfigMap', name: 'ca', key: 'ca.crt' } },
      code: 'CaBundleNotFound',
      says: 'has no key ca.crt',
    },
  ])('says $code when $when, and nothing of what is inside', async ({ objects, registry, code, says }) => {
    const { resolve } = arrange(...objects);

    const error = (await resolve(registry).catch((thrown: unknown) => thrown)) as { code: string; message: string };

    expect(error.code).toBe(code);
    expect(error.message).toContain(says);
    expect(error.message).not.toContain('hush');
  });

  it('reads an object once in a minute', async () => {
    const { resolve, namespace, clock } = arrange(dockerConfig('ghcr', 'hush'));

    await resolve(SECRETS);
    await clock.advance(MINUTE_MS - 1);
    await resolve(SECRETS);
    expect(namespace.reads).toEqual(['Secret/ghcr']);

    await clock.advance(1);
    await resolve(SECRETS);
    expect(namespace.reads).toHaveLength(2);
  });

  it('looks again at once for what was missing, and for everything after it was told to forget', async () => {
    const { resolve, resolver, namespace } = arrange();
    await resolve(SECRETS).catch(() => undefined);
    namespace.put(dockerConfig('ghcr', 'hush'));
    const first = await resolve(SECRETS);
    namespace.put(
      dockerConfig('ghcr', 'hush', { metadata: { name: 'ghcr', uid: 'uid-of-ghcr', resourceVersion: '2' } }),
    );

    resolver.forget('shop-2');
    expect((await resolve(SECRETS)).credential?.key).toBe(first.credential?.key);
    resolver.forget('shop');
    expect((await resolve(SECRETS)).credential?.key).not.toBe(first.credential?.key);
  });
});
