// The tag source over real sockets: what a registry sees of many policies, and how it goes on after the registry was away.

import { afterEach, describe, expect, it } from '@jest/globals';
import type { Tag } from '../../../operator/image/tag.ts';
import { RegistryClient } from '../../../operator/registry/client.ts';
import type { HostConfig } from '../../../operator/registry/hosts.ts';
import { selectCredential } from '../../../operator/registry/pull-secret.ts';
import { type RepositoryWants, TagSource } from '../../../operator/registry/tag-source.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { startDistribution } from '../../support/registries.ts';
import { ScriptedRegistry } from '../../support/scripted-registry.ts';
import { waitFor } from '../../support/wait.ts';

const INTERVAL = 400;
const v1 = 'v1' as Tag;
const v2 = 'v2' as Tag;

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function startSource(hosts: Readonly<Record<string, HostConfig>>) {
  const client = new RegistryClient({
    hosts: new Map(Object.entries(hosts)),
    clock: systemClock,
    random: Math.random,
    userAgent: 'slipway-test/1',
  });
  const woken: string[] = [];
  const source = new TagSource({
    client,
    clock: systemClock,
    random: Math.random,
    onChange: (subscriber) => woken.push(subscriber),
  });
  const controller = new AbortController();
  const running = source.run(controller.signal);
  cleanUps.push(async () => {
    controller.abort();
    await running;
    await client.close();
  });
  return { source, woken };
}

describe('TagSource over sockets', () => {
  it('costs a registry with tokens one list and one HEAD per distinct tag, whoever asks (B2)', async () => {
    const registry = await startDistribution({ auth: 'token' });
    cleanUps.push(() => registry.stop());
    await registry.push('acme/web', 'v1');
    await registry.push('acme/web', 'v2');
    const tokenHost = new URL(registry.tokenServer?.realm ?? '').host;
    const { source, woken } = startSource({ [registry.host]: { insecure: true, tokenHosts: [tokenHost] } });
    const repository = { host: registry.host, path: 'acme/web' };
    const dockerConfigJson = JSON.stringify({
      auths: { [registry.host]: { username: registry.username, password: registry.password } },
    });
    const credential = selectCredential(repository, [
      { uid: '1', resourceVersion: '1', name: 'pull', dockerConfigJson },
    ]);
    const wants = (at: number): RepositoryWants => ({
      repository,
      access: { ...(credential && { credential }) },
      intervalMs: INTERVAL,
      listTags: true,
      digestsOf: at % 2 === 0 ? [v1] : [v1, v2],
    });
    const viewOf = (at: number) => source.observe(`p${at}`, wants(at));
    for (let at = 0; at < 10; at += 1) viewOf(at);
    await waitFor('everything is known', () =>
      [viewOf(0).digest('v1'), viewOf(1).digest('v2')].every(({ kind }) => kind === 'known'),
    );
    const lists = () => viewOf(0).listing?.sequence ?? 0;
    const from = lists();
    woken.length = 0;

    await waitFor('five more lists are read', () => lists() >= from + 5);

    expect(woken).toEqual([]);
    const asked = (await registry.requests()).filter(({ userAgent }) => userAgent === 'slipway-test/1');
    const count = (method: string, path: string) =>
      asked.filter((request) => request.method === method && request.path.includes(path)).length;
    const cycles = count('GET', 'tags/list');
    expect(Math.abs(count('HEAD', 'manifests/v1') - cycles)).toBeLessThanOrEqual(1);
    expect(Math.abs(count('HEAD', 'manifests/v2') - cycles)).toBeLessThanOrEqual(1);
    expect(registry.tokenServer?.requests.filter(({ userAgent }) => userAgent === 'slipway-test/1')).toHaveLength(1);
    expect(asked.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(1);
  }, 60_000);

  it('sees a pushed tag at the next poll, and at once after a hint', async () => {
    const registry = await ScriptedRegistry.start();
    cleanUps.push(() => registry.stop());
    registry.push('acme/web', 'v1');
    const { source } = startSource({ [registry.host]: { insecure: true } });
    const repository = { host: registry.host, path: 'acme/web' };
    const view = () =>
      source.observe('p', { repository, access: {}, intervalMs: 3_600_000, listTags: true, digestsOf: [] });
    await waitFor('the first list is there', () => view().listing);

    registry.push('acme/web', 'v2');
    source.refresh(repository);

    const listing = await waitFor('the new tag is there', () => {
      const { listing: newest } = view();
      return newest !== undefined && newest.tags.includes('v2') ? newest : undefined;
    });
    expect(listing.tags).toEqual(['v1', 'v2']);
  });

  it('keeps what it knows while a registry is away, and goes on when it is back', async () => {
    const registry = await ScriptedRegistry.start();
    cleanUps.push(() => registry.stop());
    registry.push('acme/web', 'v1');
    const { source } = startSource({ [registry.host]: { insecure: true } });
    const repository = { host: registry.host, path: 'acme/web' };
    const view = () =>
      source.observe('p', { repository, access: {}, intervalMs: INTERVAL, listTags: true, digestsOf: [] });
    await waitFor('the first list is there', () => view().listing);
    const broken: string[] = [];
    const heal = registry.script((request, response) => {
      broken.push(request.url);
      response.socket?.destroy();
      return true;
    });

    await waitFor('the problem is seen', () => view().listingError);
    expect(view().listing?.tags).toEqual(['v1']);
    expect(broken).not.toEqual([]);
    heal();
    registry.push('acme/web', 'v2');

    await waitFor(
      'the new tag is there',
      () => view().listing?.tags.includes('v2') === true && view().listingError === undefined,
    );
  });
});
