// A RegistryClient for tests against scripted registries: every client is closed after its test, names resolve to what the
// test says, and what the client reports is kept.

import { afterEach } from '@jest/globals';
import type { Repository } from '../../../operator/image/reference.ts';
import { RegistryClient, type RegistryClientOptions } from '../../../operator/registry/client.ts';
import type { RegistryCredential } from '../../../operator/registry/credential.ts';
import type { HostConfig } from '../../../operator/registry/hosts.ts';
import type { RegistryListingRecord, RegistryRequestRecord } from '../../../operator/registry/observer.ts';
import { Redacted } from '../../../operator/telemetry/redaction.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { LOGIN, ScriptedRegistry, type ScriptedRegistryOptions } from '../../support/scripted-registry.ts';

const toClose: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

export interface ClientFixture {
  readonly client: RegistryClient;
  readonly requests: RegistryRequestRecord[];
  readonly listings: RegistryListingRecord[];
}

export interface ClientFixtureOptions extends Partial<Omit<RegistryClientOptions, 'hosts'>> {
  readonly hosts?: Readonly<Record<string, HostConfig>>;
  /** Host name → addresses. Names that are not here do not exist. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

export function createClient(options: ClientFixtureOptions = {}): ClientFixture {
  const { hosts = {}, names = {}, ...rest } = options;
  const requests: RegistryRequestRecord[] = [];
  const listings: RegistryListingRecord[] = [];
  const client = new RegistryClient({
    clock: systemClock,
    random: () => 0.5,
    userAgent: 'slipway-test/1',
    observer: { onRequest: (record) => requests.push(record), onListing: (record) => listings.push(record) },
    resolve: (hostname) => {
      const addresses = names[hostname];
      if (addresses === undefined)
        return Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
      return Promise.resolve(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }) as const));
    },
    hosts: new Map(Object.entries(hosts)),
    ...rest,
  });
  toClose.push(() => client.close());
  return { client, requests, listings };
}

/** A scripted registry that ends with the test. */
export async function startRegistry(options: ScriptedRegistryOptions = {}): Promise<ScriptedRegistry> {
  const registry = await ScriptedRegistry.start(options);
  toClose.push(() => registry[Symbol.asyncDispose]());
  return registry;
}

/** A registry without TLS and a client that may use it. */
export async function startPair(
  options: ScriptedRegistryOptions & { readonly client?: ClientFixtureOptions; readonly host?: HostConfig } = {},
): Promise<ClientFixture & { readonly registry: ScriptedRegistry; readonly repository: Repository }> {
  const registry = await startRegistry(options);
  const fixture = createClient({
    ...options.client,
    hosts: { [registry.host]: { insecure: true, requestsPerSecond: 1_000, ...options.host }, ...options.client?.hosts },
  });
  return { ...fixture, registry, repository: { host: registry.host, path: 'acme/web' } };
}

/** The login that scripted registries accept, for one host. */
export function loginFor(host: string, overrides: Partial<RegistryCredential> = {}): RegistryCredential {
  return {
    key: `key of ${host}`,
    username: LOGIN.username,
    password: new Redacted<string>(LOGIN.password),
    host,
    secretName: 'pull',
    ...overrides,
  };
}

/** A signal that never aborts. */
export const never = new AbortController().signal;

/** What a promise rejects with; fails the test when it does not. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { readonly code?: string; readonly retryAfterMs?: number }> {
  try {
    await promise;
  } catch (thrown) {
    return thrown as Error;
  }
  throw new Error('It was expected to fail');
}
