// What policies do, on a real API server and a real registry: adoption, moves, and everything that holds a move back.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../../operator/api/conditions.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY } from '../../support/monitor/monitor.ts';
import { reaching, Shop, writesOf, type Kind } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;
let count = 0;

jest.setTimeout(60_000);

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([
    startControlPlane({ auditPolicy: MONITOR_AUDIT_POLICY }),
    startDistribution(),
  ]);
  await installCrds(controlPlane);
  operator = await startOperator({ kubeconfigPath: controlPlane.kubeconfigPath, config: reaching(registry) });
}, 120_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

interface Scene {
  readonly shop: Shop;
  /** Path in the registry, one per test. */
  readonly path: string;
  readonly image: string;
  push(tag: string, options?: object): Promise<string>;
  pinned(tag: string): string;
}

/** A namespace and a repository of its own, with these tags pushed. */
async function scene(...tags: readonly string[]): Promise<Scene> {
  count += 1;
  const shop = await Shop.open(controlPlane, `shop-${count}`);
  const path = `shop${count}/web`;
  const image = `${registry.host}/${path}`;
  const digests = new Map<string, string>();
  const push = async (tag: string, options?: object): Promise<string> => {
    const digest = await registry.push(path, tag, options);
    digests.set(tag, digest);
    return digest;
  };
  for (const tag of tags) await push(tag);
  return { shop, path, image, push, pinned: (tag) => `${image}:${tag}@${digests.get(tag) ?? 'unknown'}` };
}

const SEMVER = { semver: { range: '1.x' } };
const WEB = [{ kind: 'Deployment', name: 'web' }];

describe('adoption', () => {
  it('accepts what runs and writes nothing to the workload', async () => {
    const { shop, image, pinned } = await scene('v1.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const { metadata } = await shop.workload('web');

    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const { status } = await shop.settled('web', 'UpToDate');

    expect(status).toMatchObject({ current: { images: [{ tag: 'v1.0.0' }] }, targets: [{ image: pinned('v1.0.0') }] });
    expect((await shop.workload('web')).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  it('reads the digest of a tag from the pods, and rolls out when the tag is another image by now', async () => {
    const { shop, image, push, pinned } = await scene();
    const old = await push('v1.0.0');
    await shop.deploy('web', { containers: { web: `${image}:v1.0.0` } });
    await shop.request('POST', `/api/v1/namespaces/${shop.namespace}/pods`, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-1', labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: `${image}:v1.0.0` }] },
    });
    await shop.request(
      'PATCH',
      `/api/v1/namespaces/${shop.namespace}/pods/web-1/status`,
      {
        status: {
          phase: 'Running',
          containerStatuses: [
            {
              name: 'web',
              image,
              imageID: `${image}@${old}`,
              ready: true,
              restartCount: 0,
              state: { running: {} },
              lastState: {},
            },
          ],
        },
      },
      'application/merge-patch+json',
    );
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const adopted = await shop.settled('web', 'UpToDate');

    await push('v1.0.0');
    using _controllers = shop.playControllers(['web', 'Deployment']);
    const [rollout] = await shop.rolledOut('web', 1);

    expect(adopted.status?.targets).toMatchObject([{ image: `${image}:v1.0.0`, digest: old }]);
    expect(rollout?.spec.trigger).toBe('NewDigest');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
  });

  it('only selects where there are no targets', async () => {
    const { shop, image } = await scene('v1.0.0', 'v1.1.0');

    await shop.policy('web', { image, tags: SEMVER });
    const { status } = await shop.settled('web', 'Selected');

    expect(status?.selected?.tag).toBe('v1.1.0');
    expect(status?.candidate).toBeUndefined();
  });
});

describe('moving forward', () => {
  it.each<{ kind: Kind }>([{ kind: 'StatefulSet' }, { kind: 'DaemonSet' }, { kind: 'CronJob' }])(
    'moves a $kind with its init containers and leaves other containers alone',
    async ({ kind }) => {
      const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
      const old = pinned('v1.0.0');
      await shop.deploy('web', {
        kind,
        containers: { web: old, proxy: 'envoy:v1' },
        initContainers: { migrate: old },
        // Nobody runs it here.
        ...(kind === 'CronJob' && { spec: { suspend: true } }),
      });
      using _controllers = shop.playControllers(['web', kind]);

      await shop.policy('web', { image, tags: SEMVER, targets: [{ kind, name: 'web' }] });
      const [rollout] = await shop.rolledOut('web', 1);

      expect(await shop.images('web', kind)).toEqual({
        web: pinned('v1.1.0'),
        migrate: pinned('v1.1.0'),
        proxy: 'envoy:v1',
      });
      expect(rollout?.status?.unproven).toBe(kind === 'CronJob' ? true : undefined);
      expect((await shop.workload('web', kind)).metadata.annotations ?? {}).not.toHaveProperty(['slipway.dev/rollout']);
    },
  );

  it('moves everything a selector matches together, each container only upwards', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0', 'v2.0.0');
    const labels = { tier: 'front' };
    await shop.deploy('a', { containers: { web: pinned('v1.0.0') }, labels });
    await shop.deploy('b', { containers: { web: pinned('v2.0.0') }, labels });
    await shop.deploy('c', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['a', 'Deployment'], ['b', 'Deployment']);

    await shop.policy('web', {
      image,
      tags: SEMVER,
      targets: [{ kind: 'Deployment', selector: { matchLabels: labels } }],
    });
    await shop.rolledOut('web', 1);

    expect(await shop.images('a')).toEqual({ web: pinned('v1.1.0') });
    expect(await shop.images('b')).toEqual({ web: pinned('v2.0.0') });
    expect(await shop.images('c')).toEqual({ web: pinned('v1.0.0') });
  });

  it('rolls a target that joins late to what is selected, alone', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.1.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: [...WEB, { kind: 'Deployment', name: 'late' }] });
    const missing = await shop.settled('web', 'TargetNotFound');

    await shop.deploy('late', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['late', 'Deployment']);
    const [rollout] = await shop.rolledOut('web', 1);

    expect(findCondition(missing.status?.conditions, 'Ready')?.message).toContain('Deployment late does not exist');
    expect(rollout?.spec).toMatchObject({ trigger: 'NewTarget', targets: [{ name: 'late' }] });
  });

  it('skips an image without the required platform and takes the next one that is newer', async () => {
    const { shop, image, push, pinned } = await scene('v1.0.0', 'v1.1.0');
    await push('v1.2.0', { platforms: ['linux/s390x'] });
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);

    await shop.policy('web', { image, tags: { ...SEMVER, platforms: ['linux/amd64'] }, targets: WEB });
    await shop.rolledOut('web', 1);
    const { status } = await shop.settled('web', 'UpToDate');

    expect(await shop.images('web')).toEqual({ web: pinned('v1.1.0') });
    expect(status?.tags?.rejected).toContainEqual(
      expect.objectContaining({ tag: 'v1.2.0', reason: 'PlatformMissing' }),
    );
  });

  it.each([
    { order: 'numerical', tags: { numerical: {} }, pushed: ['9', '10', '8'], running: '9', wanted: '10' },
    {
      order: 'alphabetical',
      tags: { alphabetical: {} },
      pushed: ['2026-01-02', '2026-01-10'],
      running: '2026-01-02',
      wanted: '2026-01-10',
    },
    {
      order: 'fixed',
      tags: { fixed: { tag: 'stable' } },
      pushed: ['older', 'stable'],
      running: 'older',
      wanted: 'stable',
    },
  ])('follows the order $order', async ({ tags, pushed, running, wanted }) => {
    const { shop, image, pinned } = await scene(...pushed);
    await shop.deploy('web', { containers: { web: pinned(running) } });
    using _controllers = shop.playControllers(['web', 'Deployment']);

    await shop.policy('web', { image, tags, targets: WEB });
    await shop.rolledOut('web', 1);

    expect(await shop.images('web')).toEqual({ web: pinned(wanted) });
  });

  it('follows the order newest by what the images say', async () => {
    const { shop, image, push, pinned } = await scene();
    await push('zebra', { created: new Date('2026-01-01') });
    await push('apple', { created: new Date('2026-03-01') });
    await push('mango', { created: new Date('2026-02-01') });
    await shop.deploy('web', { containers: { web: pinned('zebra') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);

    await shop.policy('web', { image, tags: { newest: {} }, targets: WEB });
    await shop.rolledOut('web', 1);

    expect(await shop.images('web')).toEqual({ web: pinned('apple') });
  });

  it('waits for the minimum age of a tag that is newer than what runs', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);

    await shop.policy('web', { image, tags: { ...SEMVER, minimumAge: '4s' }, targets: WEB });
    const young = await waitFor('the tag was seen', async () => (await shop.readPolicy('web')).status?.seen);
    const [rollout] = await shop.rolledOut('web', 1);

    const seenMs = Date.parse(young[0]?.firstSeenTime ?? '');
    expect(Date.parse(rollout?.spec.decision.time ?? '') - seenMs).toBeGreaterThanOrEqual(4_000);
  });

  it('never goes below what runs', async () => {
    const { shop, image, push, pinned } = await scene('v1.0.0');
    await push('v1.5.0');
    await shop.deploy('web', { containers: { web: pinned('v1.5.0') } });
    await registry.deleteTag(image.slice(registry.host.length + 1), 'v1.5.0');

    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const { status } = await waitFor('the tags were judged', async () => {
      const policy = await shop.readPolicy('web');
      return policy.status?.tags === undefined ? undefined : policy;
    });

    expect(status?.tags?.rejectedByReason).toEqual({ NotNewer: 1 });
    expect(await shop.readRollouts('web')).toEqual([]);
  });
});

describe('people and other tools', () => {
  it('stands back from a foreign change until the image is set back', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.1.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await shop.settled('web', 'UpToDate');

    await shop.setImage('web', 'web', pinned('v1.0.0'));
    const held = await shop.settled('web', 'ManualHold');
    const hold = findCondition(held.status?.conditions, 'ManualHold');

    expect(hold).toMatchObject({ status: 'True', reason: 'ForeignChange' });
    expect(hold?.message).toContain('kubectl-set');
    expect(hold?.message).toContain(pinned('v1.1.0'));
    expect(hold?.message).toContain(pinned('v1.0.0'));
    expect(held.status?.candidate).toMatchObject({ tag: 'v1.1.0', waiting: 'foreign-change' });
    expect(await shop.readRollouts('web')).toEqual([]);

    await shop.setImage('web', 'web', pinned('v1.1.0'));
    const { status } = await shop.settled('web', 'UpToDate');
    expect(findCondition(status?.conditions, 'ManualHold')).toBeUndefined();
  });

  it('takes a foreign change back twice where told to, and then holds', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.1.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { onForeignChange: 'Reassert' } });
    await shop.settled('web', 'UpToDate');
    using _controllers = shop.playControllers(['web', 'Deployment']);

    for (const times of [1, 2]) {
      await shop.setImage('web', 'web', pinned('v1.0.0'));
      const rollouts = await shop.rolledOut('web', times);
      await shop.settled('web', 'UpToDate');
      expect(rollouts.at(-1)?.spec.trigger).toBe('Reassert');
    }
    await shop.setImage('web', 'web', pinned('v1.0.0'));
    const { status } = await shop.settled('web', 'ManualHold');

    expect(findCondition(status?.conditions, 'ManualHold')?.reason).toBe('FieldContested');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
  });

  it.each([
    {
      tool: 'Argo CD',
      annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/web' },
      says: 'ignoreDifferences',
    },
    { tool: 'Flux', labels: { 'kustomize.toolkit.fluxcd.io/name': 'shop' }, says: 'Flux' },
    { tool: 'Helm', annotations: { 'meta.helm.sh/release-name': 'shop' }, says: 'helm upgrade' },
  ])('does not touch what $tool manages before somebody consents', async ({ annotations, labels, says }) => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', {
      containers: { web: pinned('v1.0.0') },
      ...(annotations && { annotations }),
      ...(labels && { labels }),
    });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const { status } = await shop.settled('web', 'ManagedByGitOps');

    expect(findCondition(status?.conditions, 'Stalled')?.message).toContain(says);
    expect(await shop.readRollouts('web')).toEqual([]);

    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { onForeignChange: 'Hold' } });
    await shop.rolledOut('web', 1);
    expect(await shop.images('web')).toEqual({ web: pinned('v1.1.0') });
  });

  it('moves nothing while two policies claim one container, and goes on when one is gone', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const suspended = { image, tags: SEMVER, targets: WEB, suspend: true };
    await shop.policy('one', suspended);
    await shop.policy('two', suspended);
    const one = await shop.settled('one', 'TargetConflict');
    await shop.settled('two', 'TargetConflict');

    expect(findCondition(one.status?.conditions, 'Stalled')?.message).toContain('also a target of policy two');

    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('one', { ...suspended, suspend: false });
    await shop.remove('imagepolicies/two');
    await shop.rolledOut('one', 1);
  });

  it('lets two policies on two containers of one workload take turns', async () => {
    const { shop, path, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    const other = `${path}-proxy`;
    const old = await registry.push(other, 'v1.0.0');
    const fresh = await registry.push(other, 'v1.1.0');
    const proxy = `${registry.host}/${other}`;
    await shop.deploy('web', { containers: { web: pinned('v1.0.0'), proxy: `${proxy}:v1.0.0@${old}` } });
    using _controllers = shop.playControllers(['web', 'Deployment']);

    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await shop.policy('proxy', { image: proxy, tags: SEMVER, targets: WEB });
    await shop.rolledOut('web', 1);
    await shop.rolledOut('proxy', 1);

    expect(await shop.images('web')).toEqual({ web: pinned('v1.1.0'), proxy: `${proxy}:v1.1.0@${fresh}` });
  });

  it('starts nothing while suspended, and pauses an open rollout without letting its deadline pass', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const spec = { image, tags: SEMVER, targets: WEB, rollout: { progressDeadline: '3s' } };
    await shop.policy('web', { ...spec, suspend: true });
    const waiting = await shop.settled('web', 'Waiting');
    expect(waiting.status?.candidate).toMatchObject({ tag: 'v1.1.0', waiting: 'suspension' });

    await shop.policy('web', { ...spec, suspend: false });
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));
    await shop.policy('web', { ...spec, suspend: true });
    const paused = await waitFor('the rollout is paused', async () => {
      const [rollout] = await shop.readRollouts('web');
      return rollout?.status?.suspendedTime === undefined ? undefined : rollout;
    });
    await waitFor('the deadline would have passed', () => Date.now() > Date.parse(paused.status?.deadlineTime ?? ''));
    await shop.policy('web', { ...spec, suspend: false });
    await shop.becomeHealthy('web');

    await shop.rolledOut('web', 1);
  });

  it('waits for a paused Deployment', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') }, spec: { paused: true } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const { status } = await shop.settled('web', 'Waiting');

    expect(status?.candidate?.waitingFor).toMatchObject([{ gate: 'workload', reason: 'WorkloadPaused' }]);

    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.request(
      'PATCH',
      shop.path('Deployment', 'web'),
      { spec: { paused: false } },
      'application/merge-patch+json',
    );
    await shop.rolledOut('web', 1);
  });

  it('stands back when somebody sets another image in the middle of a rollout', async () => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));

    await shop.setImage('web', 'web', pinned('v1.0.0'));
    const [rollout] = await shop.rolledOut('web', 1, 'Aborted');
    await shop.settled('web', 'ManualHold');

    expect(rollout?.status?.targets).toMatchObject([{ state: 'Contested' }]);
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
  });

  it('does not touch a container of another repository, though the policy names it', async () => {
    const { shop, image } = await scene('v1.0.0');
    await shop.deploy('web', { containers: { web: 'nginx:1.25' } });
    await shop.policy('web', {
      image,
      tags: SEMVER,
      targets: [{ kind: 'Deployment', name: 'web', containers: ['web'] }],
    });
    const { status } = await shop.settled('web', 'NoMatchingContainer');

    expect(findCondition(status?.conditions, 'Ready')?.message).toContain('runs nginx:1.25');
    expect(await shop.images('web')).toEqual({ web: 'nginx:1.25' });
  });
});

describe('a spec that only the operator can judge', () => {
  it.each([
    {
      what: 'a range that does not parse',
      tags: { semver: { range: '>>1' } },
      reason: 'InvalidRange',
      says: 'tags.semver.range',
    },
    {
      what: 'an expression that explodes',
      tags: { filter: '((a{100}){100})', semver: { range: '1.x' } },
      reason: 'InvalidFilter',
      says: 'tags.filter',
    },
  ])('stalls on $what, with a sentence, while others go on', async ({ tags, reason, says }) => {
    const { shop, image, pinned } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.deploy('other', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment'], ['other', 'Deployment']);

    try {
      await shop.policy('web', { image, tags, targets: WEB });
    } catch (error) {
      // The API server may know better already; then there is nothing for the operator to judge.
      expect(String(error)).toContain(says);
      return;
    }
    await shop.policy('other', { image, tags: SEMVER, targets: [{ kind: 'Deployment', name: 'other' }] });
    const { status } = await shop.settled('web', reason);
    await shop.rolledOut('other', 1);

    expect(findCondition(status?.conditions, 'Stalled')?.message).toContain(says);

    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await shop.rolledOut('web', 1);
  });
});

describe('the monitor', () => {
  it('finds no broken promise in all of this', async () => {
    const events = await controlPlane.auditEvents();
    const source = { host: registry.host, requests: await registry.requests() };

    expect(writesOf(events).length).toBeGreaterThan(50);
    expect(findViolations(events, { registry: source, isOver: false })).toEqual([]);
  });
});
