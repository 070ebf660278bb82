// Act 1: a pushed tag reaches the pods, what should not roll out does not, and a killed leader changes nothing.

import type { ImageRollout } from '../../operator/api/kinds.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Narrator } from './narrator.ts';
import { PULL_SECRET } from './registry.ts';
import type { World } from './world.ts';

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

/** What must not roll out, and the reason that Slipway has to give. */
const UNWANTED = [
  { tag: 'v1.2.0-rc.1', reason: 'Prerelease' },
  { tag: 'v1.0.5', reason: 'NotNewer' },
  { tag: 'v1.3.0', reason: 'PlatformMissing', image: { platforms: ['linux/s390x'] } },
  { tag: 'latest-build', reason: 'NotSemver' },
] as const;

export async function pushedTagReachesPods(world: World, narrator: Narrator): Promise<void> {
  narrator.title('An app at v1.0.0, and a policy that follows 1.x');
  await deployApp(world, narrator);

  narrator.title('Somebody pushes v1.1.0');
  const digest = await world.registry.push('web', 'v1.1.0');
  await reaches(world, 'v1.1.0', digest);
  await world.show('-n', world.namespace, 'get', 'slpol,slroll');
  const columns = 'POD:.metadata.name,IMAGE:.spec.containers[0].image';
  await world.show('-n', world.namespace, 'get', 'pods', '-o', `custom-columns=${columns}`);
  await answers(world, 'web v1.1.0');
  narrator.shown(`the pods run exactly ${shorten(digest)}, and ImageRollout web-1 is the record of it`);

  narrator.title('Somebody pushes a prerelease, a lower version, one for another platform only, and junk');
  await pushUnwanted(world, narrator);

  narrator.title('Somebody pushes v1.4.0, and the leader is killed in the middle of the rollout');
  await loseTheLeader(world, narrator);
}

async function deployApp(world: World, narrator: Narrator): Promise<void> {
  const { namespace, registry } = world;
  const digest = await registry.push('web', 'v1.0.0');
  await world.apply(
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    registry.pullSecret(namespace),
    deployment(namespace, `${registry.image('web')}:v1.0.0`),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    },
    {
      apiVersion: 'slipway.dev/v1alpha1',
      kind: 'ImagePolicy',
      metadata: { name: 'web', namespace },
      spec: {
        image: registry.image('web'),
        interval: '15s',
        registry: { imagePullSecrets: [{ name: PULL_SECRET }] },
        tags: { semver: { range: '1.x' } },
        targets: [{ kind: 'Deployment', name: 'web' }],
        rollout: { soak: '2s' },
      },
    },
  );
  await reaches(world, 'v1.0.0', digest);
  await world.show('-n', namespace, 'get', 'slpol');
  if ((await world.rollouts('web')).length > 0) throw new Error('Adopting the running image must not write anything');
  narrator.shown('the running image was adopted as it is: nothing was written');
}

async function pushUnwanted(world: World, narrator: Narrator): Promise<void> {
  for (const { tag, ...rest } of UNWANTED) await world.registry.push('web', tag, 'image' in rest ? rest.image : {});
  await waitFor(
    'Slipway has judged these tags',
    async () => {
      const { status } = await world.policy('web');
      const given = new Map(status?.tags?.rejected?.map(({ tag, reason }) => [tag, reason]));
      const wrong = UNWANTED.filter(({ tag, reason }) => given.get(tag) !== reason);
      if (wrong.length > 0)
        throw new Error(wrong.map(({ tag }) => `${tag} is ${given.get(tag) ?? 'unseen'}`).join(', '));
      return true;
    },
    WITHIN,
  );
  const explanation = await world.show('slipway', 'explain', 'web', '-n', world.namespace);
  for (const { tag, reason } of UNWANTED) {
    const isExplained = explanation.split('\n').some((line) => line.startsWith(tag) && line.includes(reason));
    if (!isExplained) throw new Error(`explain does not say of ${tag} that it is ${reason}`);
  }
  const rollouts = await world.rollouts('web');
  if (rollouts.length !== 1)
    throw new Error(`None of these tags may roll out, and there are ${rollouts.length} rollouts`);
  narrator.shown('none of them was taken, and explain says why for each');
}

async function loseTheLeader(world: World, narrator: Narrator): Promise<void> {
  const digest = await world.registry.push('web', 'v1.4.0');
  const begun = await rolloutOf(world, 'v1.4.0', 'Applying', 'Verifying', 'Soaking');
  const leader = await world.leader();
  await world.kill(leader);
  narrator.say(`killed ${leader} while ${begun.metadata.name} was ${begun.status?.state ?? ''}`);
  const finished = await rolloutOf(world, 'v1.4.0', 'Succeeded');
  await reaches(world, 'v1.4.0', digest);
  await world.show('-n', world.namespace, 'get', 'slroll');
  await answers(world, 'web v1.4.0');

  const rollouts = await world.rollouts('web');
  if (rollouts.length !== 2) throw new Error(`There should be two rollouts, and there are ${rollouts.length}`);
  const [first, second] = [begun, finished].map(({ status }) => status?.claim?.holder.split('_')[0] ?? 'nobody');
  if (first === second) throw new Error(`${finished.metadata.name} was begun and finished by ${second ?? ''}`);
  const writes = await world.imageWrites(finished.spec.targets[0]?.containers[0]?.to ?? '');
  if (writes !== undefined && writes !== 1) {
    throw new Error(`The image should have been written once, and the audit log has ${writes} writes of it`);
  }
  const proof = writes === undefined ? '' : ", and one write of the image in the API server's audit log";
  narrator.shown(`it finished exactly once: begun by ${first ?? ''}, finished by ${second ?? ''}, one rollout${proof}`);
}

function rolloutOf(world: World, tag: string, ...states: readonly string[]): Promise<ImageRollout> {
  return waitFor(
    `the rollout of ${tag} is ${states.join(' or ')}`,
    async () => {
      const found = (await world.rollouts('web')).find(({ spec }) => spec.images[0]?.tag === tag);
      return found !== undefined && states.includes(found.status?.state ?? '') ? found : undefined;
    },
    { ...WITHIN, intervalMs: 100 },
  );
}

/** The pods run it, the policy knows it. */
async function reaches(world: World, tag: string, digest: string): Promise<void> {
  await podsRun(world, digest);
  await isUpToDate(world, tag);
}

/** Through the Service, as the app's users would see it. */
async function answers(world: World, greeting: string): Promise<void> {
  const path = `/api/v1/namespaces/${world.namespace}/services/web:80/proxy/`;
  await waitFor(`the app answers ${greeting}`, async () => {
    const { stdout, stderr } = await world.kubectl('get', '--raw', path);
    if (stdout.trim() === greeting) return true;
    throw new Error(`it answers ${stdout}${stderr}`);
  });
  await world.show('get', '--raw', path);
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

function shorten(digest: string): string {
  return `${digest.slice(0, 19)}…`;
}

function deployment(namespace: string, image: string): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: {
      replicas: 2,
      minReadySeconds: 3,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          imagePullSecrets: [{ name: PULL_SECRET }],
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
