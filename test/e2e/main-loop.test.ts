// The main loop as users meet it: pushed tags reach real pods of every kind of workload, a bad image is held with the pod's
// own words, and whatever happens to the replicas, each image is written once and nothing is written without a reason.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../operator/api/conditions.ts';
import type { WorkloadKind } from '../../operator/api/image-policy.ts';
import type { ImageRollout } from '../../operator/api/kinds.ts';
import { processOf, SHOP, SlipwayCluster, STARTS_WITHIN_MS, SYSTEM } from './support/slipway-cluster.ts';

jest.setTimeout(150_000);

const LEASE = { leaseDuration: '6s', renewDeadline: '4s', retryPeriod: '1s' };
const FROZEN_MS = 10_000;
const IDLE_MS = 60_000;
/** So many workloads take long enough to write that a leader can be stopped in the middle of it. */
const FLEET = Array.from({ length: 24 }, (_, index) => `fleet-${index}`);
const COMPLAINT = 'cannot read /etc/app.conf';
const EXITS = ['/bin/busybox', 'true'];

interface Moved {
  readonly what: string;
  /** Of the workload, and of its policy. */
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly container: string;
  readonly isInit?: boolean;
  readonly pods: number;
}

const MOVED: readonly Moved[] = [
  { what: 'a Deployment', name: 'deployment', kind: 'Deployment', container: 'app', pods: 2 },
  { what: 'a StatefulSet', name: 'statefulset', kind: 'StatefulSet', container: 'app', pods: 1 },
  { what: 'a DaemonSet', name: 'daemonset', kind: 'DaemonSet', container: 'app', pods: 1 },
  {
    what: 'a Deployment with an init container',
    name: 'migrated',
    kind: 'Deployment',
    container: 'migrate',
    isInit: true,
    pods: 1,
  },
  { what: 'a CronJob', name: 'cronjob', kind: 'CronJob', container: 'app', pods: 1 },
];
const POLICIES = [...MOVED.map(({ name }) => name), 'web', 'other', 'bad', 'fleet'];

let world: SlipwayCluster;
let moved: string;

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
    if (repository === undefined || !userAgent.startsWith('slipway/')) continue;
    counts.set(repository, (counts.get(repository) ?? 0) + 1);
  }
  return counts;
}

async function deployEverything(): Promise<void> {
  await Promise.all(['app', 'helper', 'web', 'other', 'bad', 'fleet'].map((name) => world.push(name, 'v1.0.0')));
  const app = { image: `${world.image('app')}:v1.0.0` };
  const web = (name: string) => ({ containers: { web: { image: `${world.image(name)}:v1.0.0` } } });
  await world.deploy({
    deployment: { containers: { app }, spec: { replicas: 2 } },
    statefulset: { kind: 'StatefulSet', containers: { app } },
    daemonset: { kind: 'DaemonSet', containers: { app } },
    migrated: { ...web('helper'), initContainers: { migrate: { ...app, command: EXITS } } },
    cronjob: { kind: 'CronJob', containers: { app: { ...app, command: EXITS } }, spec: { schedule: '0 0 1 1 *' } },
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
      MOVED.map(({ name, kind }) => [name, { image: world.image('app'), targets: [{ kind, name }] }]),
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
  await world.install({ 'config.leaderElection': LEASE });
  await followEverything();
  moved = await world.push('app', 'v1.1.0');
}, STARTS_WITHIN_MS);

afterAll(async () => {
  await world.stop();
}, 60_000);

describe('a pushed tag', () => {
  it.each(MOVED)('reaches the pods of $what', async ({ name, kind, container, isInit = false, pods }) => {
    const rollout = await world.rollout(name, 'v1.1.0', 'Succeeded');
    if (kind === 'CronJob') await world.runNow(name);
    await world.until(`the pods of ${name} run v1.1.0`, async () => {
      const ids = await imageIds(name, container, isInit);
      return ids.length === pods && ids.every((id) => id === `${world.image('app')}@${moved}`);
    });

    const from = `${world.image('app')}:v1.0.0`;
    const to = pinned('app', 'v1.1.0', moved);
    expect(rollout.spec.targets.map(({ containers }) => containers)).toEqual([
      [expect.objectContaining({ name: container, init: isInit, from, to })],
    ]);
    const { status } = await world.settled(name, 'UpToDate');
    expect(status?.current?.images).toEqual([{ image: world.image('app'), tag: 'v1.1.0', digest: moved }]);
  });

  it('is written once to each workload, after its rollout was put on record', async () => {
    const rollouts = await Promise.all(MOVED.map(({ name }) => world.rollout(name, 'v1.1.0', 'Succeeded')));

    await expectOnce(pinned('app', 'v1.1.0', moved), ...rollouts);
  });
});

describe('an image that crashes', () => {
  it("ends Held after the deadline, in the pod's own words, and holds up nobody else", async () => {
    const [bad, good] = await Promise.all([
      world.push('bad', 'v1.1.0', `echo ${COMPLAINT}; exit 3`),
      world.push('other', 'v1.1.0'),
    ]);
    const begun = await world.rollout('bad', 'v1.1.0', 'Verifying');
    const other = await world.rollout('other', 'v1.1.0', 'Succeeded');
    const held = await world.rollout('bad', 'v1.1.0', 'Held');

    const heldAtMs = Date.parse(held.status?.endTime ?? '');
    expect(heldAtMs).toBeGreaterThanOrEqual(Date.parse(begun.status?.deadlineTime ?? ''));
    expect(Date.parse(other.status?.endTime ?? '')).toBeLessThan(heldAtMs);
    expect(await imageIds('other')).toEqual([`${world.image('other')}@${good}`]);
    expect(held.status?.message).toMatch(/not healthy within 30s.*container web of pod bad-.*exit code 3/);
    expect(held.status?.message).toContain(COMPLAINT);
    const { status } = await world.settled('bad', 'RolloutFailed');
    expect(findCondition(status?.conditions, 'Ready')?.message).toContain(COMPLAINT);
    await expectOnce(pinned('bad', 'v1.1.0', bad), held);
    // Left as it is: the old pod serves on.
    const ready = (await world.pods('bad')).filter(({ status: pod }) => pod?.containerStatuses?.[0]?.ready);
    expect(ready).toHaveLength(1);
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
    for (const name of POLICIES) await world.settled(name, name === 'bad' ? 'RolloutFailed' : 'UpToDate');
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

    expect(asked.size).toBe(5);
    expect((await world.writes()).slice(before)).toEqual([]);
    expect((await world.leader()).holder).toBe(after.holder);
  });
});
