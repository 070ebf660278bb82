// What an idle operator costs: nothing at the API server, and at the registry one list per repository and one HEAD per tag
// in use and interval, however many policies ask. A restart changes no status.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(90_000);

const POLICIES = 10;

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;
let shop: Shop;

const start = (): Promise<TestOperator> =>
  startOperator({ kubeconfigPath: controlPlane.kubeconfigPath, config: reaching(registry) });

async function countRequests(): Promise<{ lists: number; heads: number; others: number }> {
  const requests = (await registry.requests()).filter(({ userAgent }) => userAgent.startsWith('slipway/'));
  const lists = requests.filter(({ path }) => path.includes('/tags/list')).length;
  const heads = requests.filter(({ method }) => method === 'HEAD').length;
  return { lists, heads, others: requests.length - lists - heads };
}

async function countWrites(): Promise<number> {
  return writesOf(await controlPlane.auditEvents()).length;
}

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([startControlPlane({ audit: true }), startDistribution()]);
  await installCrds(controlPlane);
  operator = await start();
  shop = await Shop.open(controlPlane, 'shop');
  const image = `${registry.host}/shop/web`;
  const digest = await registry.push('shop/web', 'v1.0.0');
  await registry.push('shop/web', 'v0.9.0');
  for (let index = 0; index < POLICIES; index += 1) {
    const name = `web-${index}`;
    await shop.deploy(name, { containers: { web: `${image}:v1.0.0@${digest}` } });
    await shop.policy(name, { image, tags: { semver: { range: '1.x' } }, targets: [{ kind: 'Deployment', name }] });
  }
  await Promise.all(Array.from({ length: POLICIES }, (_, index) => shop.settled(`web-${index}`, 'UpToDate')));
}, 120_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

describe('an idle operator', () => {
  it(`asks once per interval for ${POLICIES} policies of one repository, and writes nothing`, async () => {
    const before = await countRequests();
    const writes = await countWrites();

    const after = await waitFor(
      'two more lists were read',
      async () => {
        const counts = await countRequests();
        return counts.lists >= before.lists + 2 ? counts : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 500 },
    );

    const lists = after.lists - before.lists;
    expect(after.heads - before.heads).toBeLessThanOrEqual(lists);
    expect(after.others - before.others).toBe(0);
    expect(await countWrites()).toBe(writes);
  });

  it('writes nothing after a restart, and asks the registry no more than a first time', async () => {
    await operator.stop();
    const before = await countRequests();
    const writes = await countWrites();

    operator = await start();
    await waitFor('the tags were listed', async () => (await countRequests()).lists > before.lists, {
      intervalMs: 250,
    });
    const metrics = await waitFor('every policy was looked at again', async () => {
      const text = await (await fetch(operator.metricsUrl)).text();
      const looks = Number(
        /slipway_reconcile_total\{controller="policy",outcome="success"\} ([0-9]+)/.exec(text)?.[1] ?? 0,
      );
      return looks >= 2 * POLICIES ? text : undefined;
    });

    expect(await countWrites()).toBe(writes);
    expect((await countRequests()).lists - before.lists).toBeLessThanOrEqual(2);
    expect(metrics).toContain(`slipway_policies{ready="True",reason="UpToDate"} ${POLICIES}`);
    expect(metrics).toMatch(/slipway_registry_requests_total\{host="[^"]+",verb="list",outcome="2xx"\} [1-9]/);
    expect(metrics).toMatch(/slipway_leader 1/);
  });

  it('says that it is alive and ready', async () => {
    const verbose = await (await fetch(`${operator.healthUrl}/readyz?verbose`)).text();

    expect(verbose).toContain('[+]caches ok');
    expect((await fetch(`${operator.healthUrl}/livez`)).status).toBe(200);
  });
});
