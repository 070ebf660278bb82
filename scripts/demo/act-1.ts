// Act 1: a pushed tag reaches the pods, what should not roll out does not, and a killed leader changes nothing.

import { readFile } from 'node:fs/promises';
import type { ImageRollout } from '../../operator/api/kinds.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Narrator } from './narrator.ts';
import { SYSTEM_NAMESPACE, type World } from './world.ts';

const WITHIN = { timeoutMs: 90_000, intervalMs: 250 };

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status?: {
      readonly phase?: string;
      readonly containerStatuses?: readonly { readonly imageID?: string; readonly ready?: boolean }[];
    };
  }[];
}

export async function pushedTagReachesPods(world: World, narrator: Narrator): Promise<void> {
  const { namespace } = world;
  const first = await world.push('web', 'v1.0.0');
  narrator.title('An app at v1.0.0, and a policy that follows 1.x');
  await world.apply(
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    world.pullSecret,
    deployment(world, `${world.image('web')}:v1.0.0`),
    {
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImagePolicy',
      metadata: { name: 'web', namespace },
      spec: {
        image: world.image('web'),
        interval: '15s',
        registry: { imagePullSecrets: [{ name: 'registry-login' }] },
        tags: { semver: { range: '1.x' } },
        targets: [{ kind: 'Deployment', name: 'web' }],
      },
    },
  );
  await podsRun(world, first);
  await isUpToDate(world, 'v1.0.0');
  await world.show('-n', namespace, 'get', 'slpol');
  if ((await world.rollouts('web')).length > 0) throw new Error('Adopting the running image must not write anything');
  narrator.shown('the running image was adopted as it is: nothing was written');

  narrator.title('Somebody pushes v1.1.0');
  const second = await world.push('web', 'v1.1.0');
  await podsRun(world, second);
  await isUpToDate(world, 'v1.1.0');
  await world.show('-n', namespace, 'get', 'slpol,slroll');
  await world.show(
    '-n',
    namespace,
    'get',
    'pods',
    '-o',
    'custom-columns=POD:.metadata.name,IMAGE:.spec.containers[0].image',
  );
  narrator.shown(`the pods run exactly ${second.slice(0, 19)}…, and ImageRollout web-1 says why`);

  narrator.title('Somebody pushes a prerelease, a lower version, one for another platform, and junk');
  await world.push('web', 'v1.2.0-rc.1');
  await world.push('web', 'v1.0.5');
  await world.push('web', 'v1.3.0', { platforms: ['linux/s390x'] });
  await world.push('web', 'latest-build');
  await waitFor(
    'Slipway has judged all six tags',
    async () => {
      const { status } = await world.policy('web');
      const reasons = status?.tags?.rejectedByReason ?? {};
      return status?.tags?.total === 6 && reasons['PlatformMissing'] === 1;
    },
    WITHIN,
  );
  await world.show('slipway', 'explain', 'web', '-n', namespace);
  if ((await world.rollouts('web')).length !== 1) throw new Error('None of these tags may roll out');
  narrator.shown('none of them was taken, and explain says why for each');

  narrator.title('Somebody pushes v1.4.0, and the leader is killed in the middle of the rollout');
  const third = await world.push('web', 'v1.4.0');
  const rollout = await waitFor(
    'the rollout is under way',
    async () => {
      const found = (await world.rollouts('web')).find(({ spec }) => spec.images[0]?.tag === 'v1.4.0');
      return found?.status?.state === 'Applying' || found?.status?.state === 'Verifying' ? found : undefined;
    },
    { ...WITHIN, intervalMs: 100 },
  );
  const leader = await world.leader();
  await world.kubectl('-n', SYSTEM_NAMESPACE, 'delete', 'pod', leader, '--grace-period=0', '--force');
  narrator.say(`killed ${leader} while ${rollout.metadata.name} was ${rollout.status?.state ?? ''}`);
  const finished = await waitFor(
    'another replica has finished the rollout',
    async () => {
      const found = (await world.rollouts('web')).find(({ metadata }) => metadata.name === rollout.metadata.name);
      return found?.status?.state === 'Succeeded' ? found : undefined;
    },
    WITHIN,
  );
  await podsRun(world, third);
  await isUpToDate(world, 'v1.4.0');
  await world.show('-n', namespace, 'get', 'slroll');
  await expectOnce(world, narrator, rollout, finished);
}

async function expectOnce(world: World, narrator: Narrator, before: ImageRollout, after: ImageRollout): Promise<void> {
  const oldHolder = before.status?.claim?.holder ?? '';
  const newHolder = after.status?.claim?.holder ?? '';
  const rollouts = await world.rollouts('web');
  if (rollouts.length !== 2) throw new Error(`There should be two rollouts, and there are ${rollouts.length}`);
  const takeover =
    oldHolder === newHolder
      ? ''
      : `, claimed by ${oldHolder.split('_')[0] ?? ''} and finished by ${newHolder.split('_')[0] ?? ''}`;
  if (world.cluster === undefined) {
    narrator.shown(`it finished, as one rollout${takeover}`);
    return;
  }
  const image = after.spec.targets[0]?.containers[0]?.to ?? '';
  const writes = (await readFile(world.cluster.auditLogPath, 'utf8'))
    .split('\n')
    .filter((line) => line.includes(`"value":"${image}"`) && line.includes('"code":200'));
  if (writes.length !== 1)
    throw new Error(`The image should have been written once, and the audit log has ${writes.length} writes`);
  narrator.shown(
    `it finished exactly once${takeover}: one rollout, and one write of the image in the API server's audit log`,
  );
}

async function podsRun(world: World, digest: string): Promise<void> {
  await waitFor(
    `all pods run ${digest}`,
    async () => {
      const { items } = await world.get<Pods>('pods', '-l', 'app=web');
      const statuses = items.map(({ status }) => status?.containerStatuses?.[0]);
      return (
        statuses.length === 2 &&
        statuses.every((status) => status?.ready === true && status.imageID?.endsWith(digest) === true)
      );
    },
    WITHIN,
  );
}

async function isUpToDate(world: World, tag: string): Promise<void> {
  await waitFor(
    `the policy is up to date with ${tag}`,
    async () => {
      const { status } = await world.policy('web');
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True' && status?.current?.images[0]?.tag === tag;
    },
    WITHIN,
  );
}

function deployment(world: World, image: string): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: world.namespace },
    spec: {
      replicas: 2,
      minReadySeconds: 3,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          imagePullSecrets: [{ name: 'registry-login' }],
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'web',
              image,
              ports: [{ containerPort: 8080 }],
              readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
              securityContext: {
                allowPrivilegeEscalation: false,
                runAsNonRoot: true,
                capabilities: { drop: ['ALL'] },
                seccompProfile: { type: 'RuntimeDefault' },
              },
            },
          ],
        },
      },
    },
  };
}
