// Kinds that the operator's configuration adds, with the CRD of Argo Rollouts: moved by digest, judged by what its controller
// writes, set back like any other, and missed politely until the CRD is there. The test plays that controller.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { argoRolloutsCrd } from '../../support/argo-rollouts.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(120_000);

const ROLLOUT = { group: 'argoproj.io', version: 'v1alpha1', kind: 'Rollout', plural: 'rollouts' };
const SEMVER = { semver: { range: '1.x' } };
const REPOSITORY = 'argo/web';
/** A missing CRD is asked for again after at most half a minute. */
const NOTICED_MS = 60_000;

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;
let shop: Shop;
let image: string;
const digests = new Map<string, string>();

const pinned = (tag: string): string => `${image}:${tag}@${digests.get(tag) ?? ''}`;
const path = (name: string): string => `/apis/argoproj.io/v1alpha1/namespaces/${shop.namespace}/rollouts/${name}`;

async function push(tag: string): Promise<void> {
  digests.set(tag, await registry.push(REPOSITORY, tag));
}

interface ArgoRollout {
  readonly metadata: { readonly generation: number };
  readonly spec: {
    readonly replicas: number;
    readonly template: { readonly spec: { readonly containers: { readonly image: string }[] } };
  };
}

const read = async (name = 'web'): Promise<ArgoRollout> => (await shop.request('GET', path(name))) as ArgoRollout;
const live = async (): Promise<string> => (await read()).spec.template.spec.containers[0]?.image ?? '';

/** What the controller of Argo Rollouts writes; it keeps the generation as a string. */
async function report(status: object): Promise<void> {
  const { metadata } = await read();
  const body = { status: { observedGeneration: String(metadata.generation), ...status } };
  await shop.request('PATCH', `${path('web')}/status`, body, 'application/merge-patch+json');
}

const SINCE = '2026-01-05T08:00:00Z';
const UP = {
  phase: 'Healthy',
  message: null,
  replicas: 2,
  updatedReplicas: 2,
  readyReplicas: 2,
  availableReplicas: 2,
  conditions: [
    {
      type: 'Available',
      status: 'True',
      reason: 'AvailableReason',
      message: 'Rollout has minimum availability',
      lastUpdateTime: SINCE,
      lastTransitionTime: SINCE,
    },
  ],
};

async function runs(tag: string): Promise<void> {
  await waitFor(`${tag} runs`, async () => (await live()) === pinned(tag), { timeoutMs: 40_000 });
}

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([startControlPlane(), startDistribution()]);
  await installCrds(controlPlane);
  shop = await Shop.open(controlPlane, 'argo');
  image = `${registry.host}/${REPOSITORY}`;
  await push('v1.0.0');
  operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: { ...reaching(registry), workloadKinds: [ROLLOUT] },
  });
}, 180_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

describe('a kind of the configuration', () => {
  it('is waited for while its CRD is missing, and holds up no other policy', async () => {
    await shop.deploy('other', { containers: { web: `${image}:v1.0.0` } });
    await shop.policy('web', { image, tags: SEMVER, targets: [{ kind: 'Rollout', name: 'web' }] });
    await shop.policy('other', { image, tags: SEMVER, targets: [{ kind: 'Deployment', name: 'other' }] });

    const missing = await shop.settled('web', 'TargetKindUnavailable');
    await shop.settled('other', 'UpToDate');

    expect(missing.status?.conditions?.find(({ type }) => type === 'Ready')?.message).toContain('Rollout');
  });

  it('is taken up when the CRD is installed', async () => {
    await controlPlane.apply(await argoRolloutsCrd());
    await waitFor('Rollouts are served', async () => {
      const { status } = await controlPlane.request('GET', '/apis/argoproj.io/v1alpha1/rollouts?limit=1');
      return status === 200;
    });
    await controlPlane.apply({
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Rollout',
      metadata: { name: 'web', namespace: shop.namespace },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        strategy: { canary: { steps: [{ setWeight: 50 }, { pause: { duration: '10s' } }] } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: pinned('v1.0.0') }] },
        },
      },
    });
    await report(UP);

    await shop.settled('web', 'UpToDate', NOTICED_MS);
  });

  it('is moved by digest and followed through its steps until it is healthy', async () => {
    await push('v1.1.0');
    await runs('v1.1.0');
    await waitFor('it waits for the controller', async () => {
      const [rollout] = await shop.readRollouts('web');
      return rollout?.status?.state === 'Verifying' && rollout.status.message?.includes('has not seen the change');
    });

    await report({
      ...UP,
      phase: 'Paused',
      message: 'CanaryPauseStep',
      updatedReplicas: 1,
      pauseConditions: [{ reason: 'CanaryPauseStep', startTime: new Date().toISOString() }],
    });
    await waitFor('it says at which step the Rollout waits', async () => {
      const [rollout] = await shop.readRollouts('web');
      return rollout?.status?.message?.includes('CanaryPauseStep');
    });
    await report(UP);

    const [rollout] = await shop.rolledOut('web', 1);
    expect(rollout?.spec.targets).toMatchObject([
      { kind: 'Rollout', name: 'web', containers: [{ from: pinned('v1.0.0'), to: pinned('v1.1.0') }] },
    ]);
    await shop.settled('web', 'UpToDate');
  });

  it('is set back when its pods crash, and the image stays back', async () => {
    await push('v1.2.0');
    await runs('v1.2.0');
    await report({ ...UP, phase: 'Progressing', message: 'more replicas need to be updated', updatedReplicas: 1 });
    const pods = `/api/v1/namespaces/${shop.namespace}/pods`;
    await shop.request('POST', pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-1', labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: pinned('v1.2.0') }] },
    });
    const crashed = { exitCode: 3, reason: 'Error', message: 'no database' };
    await shop.request(
      'PATCH',
      `${pods}/web-1/status`,
      {
        status: {
          phase: 'Running',
          containerStatuses: [
            {
              name: 'web',
              image: pinned('v1.2.0'),
              imageID: '',
              ready: false,
              restartCount: 5,
              state: { waiting: { reason: 'CrashLoopBackOff' } },
              lastState: { terminated: crashed },
            },
          ],
        },
      },
      'application/merge-patch+json',
    );
    await runs('v1.1.0');
    await report(UP);

    const policy = await shop.settled('web', 'CandidateRejected');
    const undone = (await shop.readRollouts('web')).find(({ spec }) => spec.images[0]?.tag === 'v1.2.0');
    expect(undone?.status).toMatchObject({
      state: 'RolledBack',
      failure: { class: 'Image', reason: 'CrashLoopBackOff', message: expect.stringContaining('no database') },
    });
    expect(policy.status?.quarantine).toMatchObject([{ tag: 'v1.2.0' }]);
    expect(await live()).toBe(pinned('v1.1.0'));
  });
});
