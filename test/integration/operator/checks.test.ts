// rollout.verify, with a real Prometheus and a real API server. The test plays the controllers of Deployments and Jobs.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { ImageRollout } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startPrometheus, type TestPrometheus } from '../../support/prometheus.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(90_000);

const TAGS = ['v1.0.0', 'v1.1.0'] as const;
/** Three times no, ten seconds apart. */
const FAILS_WITHIN_MS = 60_000;
const ERRORS = 'shop_errors';

let controlPlane: ControlPlane;
let registry: TestRegistry;
let prometheus: TestPrometheus;
let operator: TestOperator;
let serial = 0;

beforeAll(async () => {
  [controlPlane, registry, prometheus] = await Promise.all([
    startControlPlane(),
    startDistribution(),
    startPrometheus(),
  ]);
  await installCrds(controlPlane);
  operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: { ...reaching(registry), prometheus: { url: prometheus.url } },
  });
}, 180_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop(), prometheus[Symbol.asyncDispose]()]);
});

interface Scene {
  readonly shop: Shop;
  pinned(tag: string): string;
  live(): Promise<string>;
}

/** A policy that brings v1.1.0 and asks this. Everything becomes healthy at once. */
async function verify(check: object, more: object = {}): Promise<Scene & Disposable> {
  serial += 1;
  const repository = `checks-${serial}/web`;
  const image = `${registry.host}/${repository}`;
  const digests = new Map<string, string>();
  for (const tag of TAGS) digests.set(tag, await registry.push(repository, tag));
  const pinned = (tag: string): string => `${image}:${tag}@${digests.get(tag) ?? ''}`;
  const shop = await Shop.open(controlPlane, `checks-${serial}`);
  await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
  const controllers = shop.playControllers(['web', 'Deployment']);
  await shop.policy('web', {
    image,
    tags: { semver: { range: '1.x' } },
    targets: [{ kind: 'Deployment', name: 'web' }],
    rollout: { verify: [check], ...more },
  });
  return {
    shop,
    pinned,
    live: async () => (await shop.images('web'))['web'] ?? '',
    [Symbol.dispose]: () => {
      controllers[Symbol.dispose]();
    },
  };
}

const below = (threshold: string, query = ERRORS) => ({ prometheus: { query, threshold } });

describe('a Prometheus query', () => {
  it('lets a rollout succeed whose number is as wanted', async () => {
    await prometheus.set(ERRORS, 0);
    using scene = await verify(below('< 1'));

    const [rollout] = await scene.shop.rolledOut('web', 1);

    expect(rollout?.status?.verify).toEqual([
      { check: `prometheus ${ERRORS}`, state: 'Passed', message: '0, wanted < 1' },
    ]);
    expect(await scene.live()).toBe(scene.pinned('v1.1.0'));
  });

  it('takes a rollout back whose number is not, and puts the image into quarantine', async () => {
    await prometheus.set(ERRORS, 7);
    using scene = await verify(below('< 1'));

    const [rollout] = await scene.shop.rolledOut('web', 1, 'RolledBack', FAILS_WITHIN_MS);

    expect(rollout?.status?.failure).toMatchObject({
      class: 'Image',
      reason: 'VerifyFailed',
      message: expect.stringContaining('7, wanted < 1'),
    });
    const policy = await scene.shop.settled('web', 'CandidateRejected');
    expect(policy.status?.quarantine).toMatchObject([{ tag: 'v1.1.0', cause: 'Image' }]);
    expect(await scene.live()).toBe(scene.pinned('v1.0.0'));
  });

  it.each([
    { what: 'finds nothing', query: 'nobody_knows', says: 'the query finds no series' },
    { what: 'is none', query: 'sum(', says: 'the query failed: ' },
    { what: 'gives several numbers', query: '{__name__=~"up|scrape_duration_seconds"}', says: 'gives 2 series' },
  ])('is no verdict on the image when it $what', async ({ query, says }) => {
    using scene = await verify(below('< 1', query), { progressDeadline: '3s' });

    const rollout = await waitFor('it was undone', async () => {
      const [first] = await scene.shop.readRollouts('web');
      return first?.status?.state === 'RolledBack' ? first : undefined;
    });

    expect(rollout.status?.failure).toMatchObject({
      class: 'Environment',
      reason: 'VerifyUnknown',
      message: expect.stringContaining(says),
    });
    expect((await scene.shop.readPolicy('web')).status?.quarantine).toBeUndefined();
  });
});

describe('a Job', () => {
  const SMOKE = { name: 'smoke', image: 'ghcr.io/acme/smoke:1', command: ['/smoke', '$(SLIPWAY_TAG)'] };
  const job = { job: { template: { spec: { template: { spec: { containers: [SMOKE] } } } } } };

  interface Job {
    readonly metadata: { readonly name: string; readonly ownerReferences: readonly { name: string; kind: string }[] };
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly { env: object[] }[] } } };
  }

  async function ends(shop: Shop, type: 'Complete' | 'Failed'): Promise<Job> {
    const path = `/apis/batch/v1/namespaces/${shop.namespace}/jobs`;
    const found = await waitFor('the Job is there', async () => {
      const { items } = (await shop.request('GET', path)) as { items: readonly Job[] };
      return items[0];
    });
    const time = new Date().toISOString();
    const condition = { status: 'True', lastProbeTime: time, lastTransitionTime: time, message: 'one pod, no retries' };
    const early = type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
    const status = {
      startTime: time,
      ...(type === 'Complete' && { completionTime: time, succeeded: 1 }),
      ...(type === 'Failed' && { failed: 1 }),
      conditions: [early, type].map((it) => ({ type: it, ...condition })),
    };
    await shop.request('PATCH', `${path}/${found.metadata.name}/status`, { status }, 'application/merge-patch+json');
    return found;
  }

  it('runs once, knows what it tests, and lets the rollout succeed', async () => {
    using scene = await verify(job);

    const made = await ends(scene.shop, 'Complete');
    const [rollout] = await scene.shop.rolledOut('web', 1);

    expect(made.metadata.ownerReferences).toMatchObject([{ kind: 'ImageRollout', name: 'web-1' }]);
    expect(made.spec.template.spec.containers[0]?.env).toEqual(
      expect.arrayContaining([{ name: 'SLIPWAY_TAG', value: 'v1.1.0' }]),
    );
    expect(rollout?.status?.verify).toMatchObject([{ check: 'job', state: 'Passed' }]);
  });

  it('takes the rollout back when it fails', async () => {
    using scene = await verify(job);

    await ends(scene.shop, 'Failed');
    const [rollout]: ImageRollout[] = await scene.shop.rolledOut('web', 1, 'RolledBack');

    expect(rollout?.status?.failure).toMatchObject({
      reason: 'VerifyFailed',
      message: expect.stringContaining('one pod, no retries'),
    });
    expect(await scene.live()).toBe(scene.pinned('v1.0.0'));
  });
});
