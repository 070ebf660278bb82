// The monitor against a real audit log and a real registry's log: what the operator does passes, and what a program does
// that pretends to be it and breaks a promise is found.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Agent, request } from 'undici';
import type { ImageRollout } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY, type Invariant } from '../../support/monitor/monitor.ts';
import { reaching, Shop } from '../../support/operator-world.ts';
import { installCrds, startOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';

jest.setTimeout(90_000);

const TAGS = ['v1.0.0', 'v1.1.0'] as const;
const REPOSITORY = 'monitor/web';
const SECRET = 'ropes and anchors';

let controlPlane: ControlPlane;
let registry: TestRegistry;
let dispatcher: Agent;
const stories = new Map<string, Given>();
const digests = new Map<string, string>();
const unknown = `sha256:${'9'.repeat(64)}`;

const pinned = (tag: string): string => `${registry.host}/${REPOSITORY}:${tag}@${digests.get(tag) ?? unknown}`;

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([
    startControlPlane({ auditPolicy: MONITOR_AUDIT_POLICY }),
    startDistribution(),
  ]);
  await installCrds(controlPlane);
  for (const tag of TAGS) digests.set(tag, await registry.push(REPOSITORY, tag));
  dispatcher = new Agent({ connect: { ca: controlPlane.ca } });
  // The operator is gone before anybody pretends to be it.
  await using _operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: reaching(registry),
  });
  await Promise.all(PLANTS.map(async ({ namespace }) => stories.set(namespace, await rolled(namespace))));
}, 120_000);

afterAll(async () => {
  await dispatcher.destroy();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

/** A request of a program that calls itself the operator. */
async function pretend(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<void> {
  const answer = await request(`${controlPlane.server}${path}`, {
    method,
    dispatcher,
    headers: {
      authorization: `Bearer ${controlPlane.adminToken}`,
      'user-agent': 'slipway/pretender',
      'content-type': method === 'PATCH' ? 'application/json-patch+json' : 'application/json',
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.body.text();
  if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
}

/** A namespace in which the operator has brought v1.1.0 by `web-1`. */
async function rolled(namespace: string): Promise<Given> {
  const shop = await Shop.open(controlPlane, namespace);
  await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
  using _controllers = shop.playControllers(['web', 'Deployment']);
  await shop.policy('web', {
    image: `${registry.host}/${REPOSITORY}`,
    tags: { semver: { range: '1.x' } },
    targets: [{ kind: 'Deployment', name: 'web' }],
  });
  const [rollout] = await shop.rolledOut('web', 1);
  await shop.settled('web', 'UpToDate');
  return { shop, rollout: rollout! };
}

function writeImage(shop: Shop, tag: string, mark?: string): Promise<void> {
  return pretend('PATCH', shop.path('Deployment', 'web'), [
    { op: 'replace', path: '/spec/template/spec/containers/0/image', value: pinned(tag) },
    ...(mark === undefined
      ? []
      : [{ op: 'add', path: '/metadata/annotations', value: { 'slipway.dev/rollout': mark } }]),
  ]);
}

/** A claimed rollout of the pretender's; its spec is that of `like`, but for this. */
async function record(shop: Shop, like: ImageRollout, name: string, spec: object): Promise<void> {
  const { apiVersion, kind } = { apiVersion: 'slipway.dev/v1alpha1', kind: 'ImageRollout' };
  const object = { apiVersion, kind, metadata: { name, namespace: shop.namespace }, spec: { ...like.spec, ...spec } };
  await pretend('POST', `${shop.api}/imagerollouts`, object);
  const { metadata } = (await shop.request('GET', `${shop.api}/imagerollouts/${name}`)) as ImageRollout;
  const status = { state: 'Applying', claim: like.status?.claim };
  await pretend('PUT', `${shop.api}/imagerollouts/${name}/status`, { ...object, metadata, status });
}

async function found(namespace: string): Promise<Invariant[]> {
  const violations = findViolations(await controlPlane.auditEvents(), {
    namespaces: [namespace],
    secrets: [SECRET],
    registry: { host: registry.host, requests: await registry.requests() },
    isOver: false,
  });
  return [...new Set(violations.map(({ invariant }) => invariant))].sort();
}

interface Given {
  readonly shop: Shop;
  readonly rollout: ImageRollout;
}

interface Plant {
  readonly what: string;
  readonly namespace: string;
  readonly want: readonly Invariant[];
  plant(given: Given): Promise<void>;
}

const PLANTS: readonly Plant[] = [
  {
    what: 'nothing in what the operator does',
    namespace: 'honest',
    want: [],
    plant: () => Promise.resolve(),
  },
  {
    what: 'a lower image that is written without approval',
    namespace: 'unapproved',
    want: ['I1', 'I4'],
    async plant({ shop, rollout }) {
      const approval = { spec: { gates: { approval: { required: 1 } } } };
      await shop.request('PATCH', `${shop.api}/imagepolicies/web`, approval, 'application/merge-patch+json');
      const { metadata } = await shop.readPolicy('web');
      const [target] = rollout.spec.targets;
      const containers = [{ name: 'web', init: false, from: pinned('v1.1.0'), to: pinned('v1.0.0') }];
      await record(shop, rollout, 'web-2', {
        policy: { ...rollout.spec.policy, generation: metadata.generation },
        trigger: 'NewTag',
        targets: [{ ...target, containers }],
      });
      await writeImage(shop, 'v1.0.0', 'web-2');
    },
  },
  {
    what: 'an image that is written when its rollout is over',
    namespace: 'late',
    want: ['I2', 'I5'],
    plant: ({ shop }) => writeImage(shop, 'v1.0.0', 'web-1'),
  },
  {
    what: 'an image that is written without a record',
    namespace: 'unrecorded',
    want: ['I5'],
    plant: ({ shop }) => writeImage(shop, 'v1.0.0'),
  },
  {
    what: 'a downgrade to what the registry has never shown',
    namespace: 'downgrade',
    want: ['I4'],
    async plant({ shop, rollout }) {
      const [target] = rollout.spec.targets;
      const containers = [{ name: 'web', init: false, from: pinned('v1.1.0'), to: pinned('v0.9.0') }];
      await record(shop, rollout, 'web-2', { targets: [{ ...target, containers }] });
      await writeImage(shop, 'v0.9.0', 'web-2');
    },
  },
  {
    what: 'a rollout that is deleted before its end',
    namespace: 'forgotten',
    want: ['I7'],
    async plant({ shop, rollout }) {
      await record(shop, rollout, 'web-2', {});
      await pretend('DELETE', `${shop.api}/imagerollouts/web-2`);
    },
  },
  {
    what: 'a write of something else than images',
    namespace: 'replicas',
    want: ['I8'],
    plant: ({ shop }) =>
      pretend('PATCH', shop.path('Deployment', 'web'), [{ op: 'replace', path: '/spec/replicas', value: 3 }]),
  },
  {
    what: 'a secret in an annotation',
    namespace: 'leak',
    want: ['I12'],
    plant: ({ shop }) =>
      pretend('PATCH', `${shop.api}/imagepolicies/web`, [
        { op: 'add', path: '/metadata/annotations', value: { note: `login with ${SECRET}` } },
      ]),
  },
];

describe('the monitor, on a real API server', () => {
  it.each(PLANTS)('finds $what', async ({ namespace, want, plant }) => {
    expect(await found(namespace)).toEqual([]);

    await plant(stories.get(namespace)!);

    expect(await found(namespace)).toEqual(want);
  });
});
