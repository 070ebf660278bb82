// The main loop as users meet it: pushed tags reach real pods of every kind of workload, one that crashes is undone on every
// kind and stays back, what the cluster cannot place is not blamed on the image, and whatever happens to the replicas, each image is written once and nothing is written without a reason.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../operator/api/conditions.ts';
import type { WorkloadKind } from '../../operator/api/image-policy.ts';
import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import { podSpec, processOf, SHOP, SlipwayCluster, STARTS_WITHIN_MS, SYSTEM } from './support/slipway-cluster.ts';

jest.setTimeout(150_000);

const LEASE = { leaseDuration: '6s', renewDeadline: '4s', retryPeriod: '1s' };
const FROZEN_MS = 10_000;
const IDLE_MS = 60_000;
/** So many workloads take long enough to write that a leader can be stopped in the middle of it. */
const FLEET = Array.from({ length: 24 }, (_, index) => `fleet-${index}`);
const COMPLAINT = 'cannot read /etc/app.conf';
/** A program that ends well, and one that does not. */
const ENDS = 'true';
const FAILS = `echo ${COMPLAINT}; exit 3`;
/** Namespace with room for one pod. */
const TIGHT = 'tight';

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly status?: { readonly availableReplicas?: number };
}

interface Moved {
  readonly what: string;
  /** Of the workload, and of its policy. */
  readonly name: string;
  readonly kind: WorkloadKind;
  /** The image it runs. */
  readonly image: 'app' | 'task';
  readonly container: string;
  readonly isInit?: boolean;
  readonly pods: number;
}

const MOVED: readonly Moved[] = [
  { what: 'a Deployment', name: 'deployment', kind: 'Deployment', image: 'app', container: 'app', pods: 2 },
  { what: 'a StatefulSet', name: 'statefulset', kind: 'StatefulSet', image: 'app', container: 'app', pods: 1 },
  { what: 'a DaemonSet', name: 'daemonset', kind: 'DaemonSet', image: 'app', container: 'app', pods: 1 },
  {
    what: 'a Deployment with an init container',
    name: 'migrated',
    kind: 'Deployment',
    image: 'task',
    container: 'migrate',
    isInit: true,
    pods: 1,
  },
  { what: 'a CronJob', name: 'cronjob', kind: 'CronJob', image: 'task', container: 'app', pods: 1 },
];
const POLICIES = [...MOVED.map(({ name }) => name), 'web', 'other', 'bad', 'fleet'];

let world: SlipwayCluster;
let moved: Readonly<Record<'app' | 'task', string>>;

const pinned = (name: string, tag: string, digest: string): string => `${world.image(name)}:${tag}@${digest}`;

/** What containerd says that a container of these pods runs or has run. */
async function imageIds(name: string, container = 'web', isInit = false): Promise<string[]> {
  return (await world.pods(name)).flatMap(({ status }) =>
    ((isInit ? status?.initContainerStatuses : status?.containerStatuses) ?? [])
      .filter((entry) => entry.name === container)
      .map(({ imageID }) => imageID),
  );
}

/** No other rollouts brought the image; each was on record before it wrote, and wrote once to each of its workloads. */
async function expectOnce(image: string, ...rollouts: readonly ImageRollout[]): Promise<void> {
  const { items } = await world.get<{ items: ImageRollout[] }>('-n', SHOP, 'imagerollouts.slipway.dev');
  const brought = items.filter(({ spec }) =>
    spec.targets.some(({ containers }) => containers.some(({ to }) => to === image)),
  );
  const creations = new Map(
    (await world.writes())
      .filter(({ verb, resource, code }) => verb === 'create' && resource === 'imagerollouts' && code === 201)
      .map(({ name, endedAtMs }) => [name, endedAtMs]),
  );
  const writes = (await world.imageWrites(image)).map(({ name, startedAtMs }) => ({ name, startedAtMs }));

  const targets = rollouts.flatMap(({ metadata, spec }) =>
    spec.targets.map(({ name }) => ({ name, recordedAtMs: creations.get(metadata.name) ?? Infinity })),
  );
  expect(brought.map(({ metadata }) => metadata.name).sort()).toEqual(
    rollouts.map(({ metadata }) => metadata.name).sort(),
  );
  expect(writes.map(({ name }) => name).sort()).toEqual(targets.map(({ name }) => name).sort());
  for (const { name, recordedAtMs } of targets) {
    expect(writes.find((write) => write.name === name)?.startedAtMs).toBeGreaterThanOrEqual(recordedAtMs);
  }
}

/** How often the operator has listed the tags of each repository. */
async function listings(): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { path, userAgent } of await world.cluster.registry.requests()) {
    const [, repository] = /^\/v2\/(acme\/.+)\/tags\/list/.exec(path) ?? [];
    // Its policies are deleted in the course of the tests.
    if (
      repository === undefined ||
      ['acme/placed', 'acme/proved'].includes(repository) ||
      !userAgent.startsWith('slipway/')
    )
      continue;
    counts.set(repository, (counts.get(repository) ?? 0) + 1);
  }
  return counts;
}

async function deployEverything(): Promise<void> {
  await Promise.all(['app', 'helper', 'web', 'other', 'bad', 'fleet'].map((name) => world.push(name, 'v1.0.0')));
  await world.push('task', 'v1.0.0', ENDS);
  const app = { image: `${world.image('app')}:v1.0.0` };
  const task = { image: `${world.image('task')}:v1.0.0`, isServer: false };
  const web = (name: string) => ({ containers: { web: { image: `${world.image(name)}:v1.0.0` } } });
  await world.deploy({
    deployment: { containers: { app }, spec: { replicas: 2 } },
    statefulset: { kind: 'StatefulSet', containers: { app } },
    daemonset: { kind: 'DaemonSet', containers: { app } },
    migrated: { ...web('helper'), initContainers: { migrate: task } },
    cronjob: { kind: 'CronJob', containers: { app: task }, spec: { schedule: '0 0 1 1 *' } },
    web: { ...web('web'), spec: { replicas: 2, minReadySeconds: 5 } },
    other: web('other'),
    bad: web('bad'),
    ...Object.fromEntries(FLEET.map((name) => [name, { ...web('fleet'), spec: { replicas: 0 } }])),
  });
}

async function followEverything(): Promise<void> {
  const own = (name: string) => ({ image: world.image(name), targets: [{ kind: 'Deployment', name }] });
  await world.follow({
    ...Object.fromEntries(
      MOVED.map(({ name, kind, image }) => [
        name,
        {
          image: world.image(image),
          targets: [{ kind, name }],
          // A run whose pods fail may still succeed at a later try, until its time is up.
          rollout: { progressDeadline: kind === 'CronJob' ? '30s' : '90s' },
        },
      ]),
    ),
    web: own('web'),
    other: own('other'),
    bad: { ...own('bad'), rollout: { progressDeadline: '30s' } },
    fleet: { image: world.image('fleet'), targets: FLEET.map((name) => ({ kind: 'Deployment', name })) },
  });
  for (const name of POLICIES) await world.settled(name, 'UpToDate');
}

beforeAll(async () => {
  world = await SlipwayCluster.start();
  await deployEverything();
  await world.install({ 'config.leaderElection': LEASE, 'config.rollout.deleteStuckPods': true });
  await followEverything();
  moved = { app: await world.push('app', 'v1.1.0'), task: await world.push('task', 'v1.1.0', ENDS) };
}, STARTS_WITHIN_MS);

afterAll(async () => {
  await world.stop();
}, 60_000);

describe('a pushed tag', () => {
  it.each(MOVED)('reaches the pods of $what', async ({ name, kind, image, container, isInit = false, pods }) => {
    if (kind === 'CronJob') {
      await world.until('the rollout awaits a run', async () =>
        (await world.rollouts(name)).some(({ status }) => status?.awaitsRun === true),
      );
      await world.runNow(name);
    }
    const rollout = await world.rollout(name, 'v1.1.0', 'Succeeded');
    await world.until(`the pods of ${name} run v1.1.0`, async () => {
      const ids = await imageIds(name, container, isInit);
      return ids.length === pods && ids.every((id) => id === `${world.image(image)}@${moved[image]}`);
    });

    const from = `${world.image(image)}:v1.0.0`;
    const to = pinned(image, 'v1.1.0', moved[image]);
    expect(rollout.spec.targets.map(({ containers }) => containers)).toEqual([
      [expect.objectContaining({ name: container, init: isInit, from, to })],
    ]);
    const { status } = await world.settled(name, 'UpToDate');
    expect(status?.current?.images).toEqual([{ image: world.image(image), tag: 'v1.1.0', digest: moved[image] }]);
  });

  it.each(['app', 'task'] as const)(
    'is written once to each workload, after its rollout was put on record: %s',
    async (image) => {
      const those = MOVED.filter((it) => it.image === image);
      const rollouts = await Promise.all(those.map(({ name }) => world.rollout(name, 'v1.1.0', 'Succeeded')));

      await expectOnce(pinned(image, 'v1.1.0', moved[image]), ...rollouts);
    },
  );
});

describe('an image that crashes, on every kind', () => {
  beforeAll(async () => {
    await Promise.all((['app', 'task'] as const).map((image) => world.push(image, 'v1.2.0', FAILS)));
  });

  it.each(MOVED)(
    'is undone on $what, and the image before runs again',
    async ({ name, kind, image, container, isInit = false }) => {
      if (kind === 'CronJob') {
        await world.until('the rollout awaits a run', async () =>
          (await world.rollouts(name)).some(
            ({ status, spec }) => spec.images[0]?.tag === 'v1.2.0' && status?.awaitsRun === true,
          ),
        );
        await world.runNow(name, 'again');
      }
      const { status } = await world.rollout(name, 'v1.2.0', 'RolledBack');

      expect(status?.failure?.class).toBe('Image');
      expect(status?.targets).toMatchObject([{ state: 'Restored', undo: 'Back' }]);
      const { status: policy } = await world.settled(name, 'CandidateRejected');
      expect(policy?.quarantine).toMatchObject([{ tag: 'v1.2.0', cause: 'Image' }]);
      if (kind === 'CronJob') return;
      await world.until(`the pods of ${name} run v1.1.0 again`, async () => {
        const ids = await imageIds(name, container, isInit);
        return ids.length > 0 && ids.every((id) => id === `${world.image(image)}@${moved[image]}`);
      });
    },
  );
});

describe('what the cluster cannot place', () => {
  beforeAll(async () => {
    const [digest = ''] = await Promise.all(['v1.0.0', 'v1.1.0'].map((tag) => world.push('placed', tag)));
    // Named by digest, so that an undo brings back the very template that the pods of before have: there is no room for more.
    const app = pinned('placed', 'v1.0.0', digest);
    const login = { '.dockerconfigjson': world.cluster.registry.dockerConfigJson() };
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await world.cluster.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: TIGHT, labels } },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'registry-login', namespace: TIGHT },
        type: 'kubernetes.io/dockerconfigjson',
        stringData: login,
      },
      {
        apiVersion: 'v1',
        kind: 'ResourceQuota',
        metadata: { name: 'one', namespace: TIGHT },
        spec: { hard: { pods: '1' } },
      },
    );
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
    await world.deploy({ large: { containers: { web: { image: app, cpu: '1100m' } }, spec: { strategy } } });
    await world.deploy({ quota: { containers: { web: { image: app } }, spec: { strategy } } }, TIGHT);
    // A workload that is not healthy when it is moved is not set back.
    await world.until('both are healthy', async () => {
      const [large, quota] = await Promise.all(
        [SHOP, TIGHT].map((namespace) => world.get<{ items: Deployment[] }>('-n', namespace, 'deployments')),
      );
      const all = [...(large?.items ?? []), ...(quota?.items ?? [])].filter(({ metadata }) =>
        ['large', 'quota'].includes(metadata.name),
      );
      return all.length === 2 && all.every(({ status }) => status?.availableReplicas === 1);
    });
    const rollout = { progressDeadline: '8s' };
    const follow = (name: string) => ({
      image: world.image('placed'),
      rollout,
      targets: [{ kind: 'Deployment', name }],
    });
    await world.follow({ large: follow('large') });
    await world.follow({ quota: follow('quota') }, TIGHT);
  });

  it.each([
    {
      what: 'a full node',
      name: 'large',
      namespace: SHOP,
      reason: 'Unschedulable',
      says: /cannot be scheduled: .*Insufficient cpu/,
    },
    { what: 'a quota', name: 'quota', namespace: TIGHT, reason: 'FailedCreate', says: /exceeded quota/ },
  ])('is undone and not held against the image: $what', async ({ name, namespace, reason, says }) => {
    const rollout = await world.until(`the rollout of ${name} has gone back`, async () =>
      (await world.rollouts(name, namespace)).find(({ status }) => status?.state === 'RolledBack'),
    );

    expect(rollout.status?.failure).toMatchObject({ class: 'Environment', reason });
    expect(rollout.status?.failure?.message).toMatch(says);
    const { status } = await world.get<ImagePolicy>('-n', namespace, 'imagepolicies.slipway.dev', name);
    expect(status?.quarantine).toBeUndefined();
    await world.cluster.kubectl('-n', namespace, 'delete', 'slpol,deploy', name);
  });
});

describe('an image that crashes', () => {
  it("is undone in the pod's own words, and holds up nobody else", async () => {
    const [bad, good] = await Promise.all([world.push('bad', 'v1.1.0', FAILS), world.push('other', 'v1.1.0')]);
    const other = await world.rollout('other', 'v1.1.0', 'Succeeded');
    const undone = await world.rollout('bad', 'v1.1.0', 'RolledBack');

    expect(Date.parse(other.status?.endTime ?? '')).toBeLessThan(Date.parse(undone.status?.endTime ?? ''));
    expect(await imageIds('other')).toEqual([`${world.image('other')}@${good}`]);
    expect(undone.status?.failure?.message).toMatch(/container web of pod bad-.*exit code 3/);
    expect(undone.status?.failure?.message).toContain(COMPLAINT);
    const { status } = await world.settled('bad', 'CandidateRejected');
    expect(findCondition(status?.conditions, 'Ready')?.message).toContain(COMPLAINT);
    await expectOnce(pinned('bad', 'v1.1.0', bad), undone);
    const back = undone.spec.targets[0]?.containers[0]?.back ?? '';
    expect(await world.imageWrites(back)).toHaveLength(1);
    const ready = (await world.pods('bad')).filter(({ status: pod }) => pod?.containerStatuses?.[0]?.ready);
    expect(ready).toHaveLength(1);
  });
});

describe('an image that has to prove itself', () => {
  beforeAll(async () => {
    await Promise.all(['v1.0.0', 'v1.1.0'].map((tag) => world.push('proved', tag)));
    await world.cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'proved', namespace: SHOP },
      spec: { selector: { app: 'proved' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    const look = 'wget -q -O - http://proved/ | grep -q "$SLIPWAY_TAG"';
    const smoke = { image: `${world.image('proved')}:v1.0.0`, command: ['/bin/busybox', 'sh', '-c', look] };
    await world.deploy({ proved: { containers: { web: { image: `${world.image('proved')}:v1.0.0` } } } });
    await world.until(
      'it is healthy',
      async () => (await world.pods('proved'))[0]?.status?.containerStatuses?.[0]?.ready,
    );
    await world.follow({
      proved: {
        image: world.image('proved'),
        targets: [{ kind: 'Deployment', name: 'proved' }],
        rollout: {
          verify: [
            { http: { service: 'proved', port: 80, path: '/' } },
            { job: { template: { spec: { template: { spec: podSpec({ containers: { smoke } }) } } } } },
          ],
        },
      },
    });
  });

  it('stays when its Service answers and its Job succeeds', async () => {
    const { status } = await world.rollout('proved', 'v1.1.0', 'Succeeded');

    expect(status?.verify).toEqual([
      { check: 'http proved:80/', state: 'Passed', message: 'answered 200' },
      { check: 'job', state: 'Passed', message: expect.stringContaining('succeeded') },
    ]);
  });

  it('goes back when its Job fails, though its pods are healthy', async () => {
    await world.push('proved', 'v1.2.0', undefined, 'nothing to see here\n');

    const { status } = await world.rollout('proved', 'v1.2.0', 'RolledBack');

    expect(status?.failure).toMatchObject({ class: 'Image', reason: 'VerifyFailed' });
    expect(status?.targets).toMatchObject([{ state: 'Restored' }]);
    await world.settled('proved', 'CandidateRejected');
    await world.cluster.kubectl('-n', SHOP, 'delete', 'slpol,deploy,svc', 'proved');
  });
});

describe('a leader that is lost in the middle of a rollout', () => {
  it('is succeeded by the other replica, which finishes the rollout, when its pod is deleted by force', async () => {
    const digest = await world.push('web', 'v1.1.0');
    const begun = await world.rollout('web', 'v1.1.0', 'Applying', 'Verifying');
    const { holder, pod } = await world.leader();
    await world.cluster.kubectl('-n', SYSTEM, 'delete', 'pod', pod.metadata.name, '--grace-period=0', '--force');
    const finished = await world.rollout('web', 'v1.1.0', 'Succeeded');

    expect(begun.status?.claim?.holder).toBe(holder);
    expect(finished.status?.claim?.holder).not.toBe(holder);
    expect(finished.status?.claim?.epoch).toBeGreaterThan(begun.status?.claim?.epoch ?? Infinity);
    await expectOnce(pinned('web', 'v1.1.0', digest), finished);
    expect(await imageIds('web')).toEqual(Array(2).fill(`${world.image('web')}@${digest}`));
  });

  it('changes nothing when it wakes up after another replica has taken over', async () => {
    await world.until('both replicas are ready', async () => {
      const pods = await world.operatorPods();
      return pods.length === 2 && pods.every(({ status }) => status?.containerStatuses?.[0]?.ready);
    });
    const { holder, pod } = await world.leader();
    const pid = processOf(pod, 'operator.mjs');
    const image = pinned('fleet', 'v1.1.0', await world.push('fleet', 'v1.1.0'));

    await world.until(
      'the first of many workloads are written',
      async () => (await world.imageWrites(image)).length > 0,
    );
    process.kill(pid, 'SIGSTOP');
    const stoppedAtMs = Date.now();
    const before = await world.imageWrites(image);
    try {
      await world.leader(holder);
      await world.until('it was stopped for long enough', () => Date.now() - stoppedAtMs >= FROZEN_MS);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const wokenAtMs = Date.now();
    const finished = await world.rollout('fleet', 'v1.1.0', 'Succeeded');
    await world.until('the woken replica has given up and started anew', async () => {
      const again = (await world.operatorPods()).find(({ metadata }) => metadata.uid === pod.metadata.uid);
      const { ready, restartCount = 0 } = again?.status?.containerStatuses?.[0] ?? {};
      return ready && restartCount > (pod.status?.containerStatuses?.[0]?.restartCount ?? 0);
    });

    expect(new Set(before.map((write) => write.pod))).toEqual(new Set([pod.metadata.name]));
    expect(before.length).toBeLessThan(FLEET.length);
    await expectOnce(image, finished);
    const own = (await world.writes()).filter((write) => write.pod === pod.metadata.name);
    expect(own.filter(({ startedAtMs }) => startedAtMs >= wokenAtMs)).toEqual([]);
  });
});

describe('a restart of both replicas', () => {
  it('writes nothing at all in an idle minute, whatever state the policies are in', async () => {
    const HELD_BACK = [...MOVED.map(({ name }) => name), 'bad'];
    for (const name of POLICIES) await world.settled(name, HELD_BACK.includes(name) ? 'CandidateRejected' : 'UpToDate');
    const { holder } = await world.leader();
    const before = (await world.writes()).length;

    await world.cluster.kubectl('-n', SYSTEM, 'delete', 'pods', '-l', 'app.kubernetes.io/name=slipway', '--wait=true');
    const after = await world.leader(holder);
    const asked = await listings();
    const leadsSinceMs = Date.now();
    await world.until('every repository was asked three times in a minute', async () => {
      if (Date.now() - leadsSinceMs < IDLE_MS) return false;
      const now = await listings();
      return [...asked].every(([repository, count]) => (now.get(repository) ?? 0) >= count + 3);
    });

    expect(asked.size).toBe(6);
    expect((await world.writes()).slice(before)).toEqual([]);
    expect((await world.leader()).holder).toBe(after.holder);
  });
});

describe('the monitor', () => {
  it('finds no broken promise in the audit log and the log of the registry', async () => {
    expect(await world.violations()).toEqual([]);
  });
});
