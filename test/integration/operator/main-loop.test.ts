// The main loop on a real API server and a real registry: a pushed tag reaches the workload, by digest, once, with a record.

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ImagePolicy, ImageRollout } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([startControlPlane({ audit: true }), startDistribution()]);
  await installCrds(controlPlane);
  operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: { registries: { [registry.host]: { insecure: true, allowPrivate: true } } },
  });
}, 120_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

const API = '/apis/slipway.dev/v1alpha1/namespaces/default';

async function readPolicy(name: string): Promise<ImagePolicy> {
  const { body } = await controlPlane.request('GET', `${API}/imagepolicies/${name}`);
  return body as ImagePolicy;
}

async function readRollouts(policy: string): Promise<ImageRollout[]> {
  const { body } = await controlPlane.request('GET', `${API}/imagerollouts`);
  return (body.items as ImageRollout[]).filter(({ spec }) => spec.policy.name === policy);
}

function deployment(name: string, image: string, overrides: object = {}): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'web', image }] } },
      ...overrides,
    },
  };
}

async function imageOf(name: string): Promise<string> {
  const { body } = await controlPlane.request('GET', `/apis/apps/v1/namespaces/default/deployments/${name}`);
  return body.spec.template.spec.containers[0].image as string;
}

/** Plays the Deployment controller and the kubelet: everything is up. */
async function becomeHealthy(name: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/default/deployments/${name}`;
  const { body } = await controlPlane.request('GET', path);
  const { replicas } = body.spec;
  await controlPlane.request(
    'PATCH',
    `${path}/status`,
    {
      status: {
        observedGeneration: body.metadata.generation,
        replicas,
        updatedReplicas: replicas,
        availableReplicas: replicas,
        readyReplicas: replicas,
      },
    },
    'application/merge-patch+json',
  );
}

describe('the main loop', () => {
  it('takes a newer tag to the workload by digest and records why', async () => {
    const v1 = await registry.push('shop/web', 'v1.0.0');
    await controlPlane.apply(deployment('web', `${registry.host}/shop/web:v1.0.0@${v1}`), {
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImagePolicy',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        image: `${registry.host}/shop/web`,
        interval: '15s',
        tags: { semver: { range: '1.x' } },
        targets: [{ kind: 'Deployment', name: 'web' }],
        rollout: { onForeignChange: 'Hold', soak: '0s' },
      },
    });
    await becomeHealthy('web');
    await waitFor('the policy is up to date', async () => {
      const { status } = await readPolicy('web');
      return status?.conditions?.some(
        ({ type, status: is, reason }) => type === 'Ready' && is === 'True' && reason === 'UpToDate',
      );
    });
    expect(await readRollouts('web')).toEqual([]);

    const v11 = await registry.push('shop/web', 'v1.1.0');
    const wanted = `${registry.host}/shop/web:v1.1.0@${v11}`;
    await waitFor('the workload has the new digest', async () => (await imageOf('web')) === wanted, {
      timeoutMs: 30_000,
    });
    await becomeHealthy('web');
    await waitFor(
      'the rollout has succeeded',
      async () => (await readRollouts('web'))[0]?.status?.state === 'Succeeded',
    );

    const rollouts = await readRollouts('web');
    expect(rollouts).toHaveLength(1);
    expect(rollouts[0]).toMatchObject({ spec: { trigger: 'NewTag', images: [{ tag: 'v1.1.0', digest: v11 }] } });
  }, 90_000);
});
