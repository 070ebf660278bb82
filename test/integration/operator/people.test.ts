// What fails is undone, remembered and does not come back; what people decide holds. A real API server and a real registry;
// the test plays the controllers and writes the pods that crash.

import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../../operator/api/conditions.ts';
import type { ImagePolicy } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY } from '../../support/monitor/monitor.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(90_000);

const SEMVER = { semver: { range: '1.x' } };
const WEB = [{ kind: 'Deployment', name: 'web' }];

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;
let serial = 0;

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([
    startControlPlane({ auditPolicy: MONITOR_AUDIT_POLICY }),
    startDistribution(),
  ]);
  await installCrds(controlPlane);
  operator = await start();
}, 120_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

function start(): Promise<TestOperator> {
  return startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: { ...reaching(registry), rollout: { environmentRetry: '2s' } },
  });
}

interface Scene {
  readonly shop: Shop;
  readonly image: string;
  push(tag: string): Promise<string>;
  pinned(tag: string): string;
  digest(tag: string): string;
  /** A pod of the workload that runs this tag and crashes, with other containers by their images. */
  crash(tag: string, others?: Readonly<Record<string, string>>): Promise<void>;
  decide(decision: string, tag?: string, by?: string): Promise<void>;
  live(): Promise<string>;
  patchPolicy(spec: object): Promise<void>;
}

/** A namespace of its own and a repository of its own, with these tags. */
async function scene(...tags: readonly string[]): Promise<Scene> {
  serial += 1;
  const namespace = `people-${serial}`;
  const repository = `${namespace}/web`;
  const image = `${registry.host}/${repository}`;
  const digests = new Map<string, string>();
  const shop = await Shop.open(controlPlane, namespace);
  const push = async (tag: string): Promise<string> => {
    const digest = await registry.push(repository, tag);
    digests.set(tag, digest);
    return digest;
  };
  for (const tag of tags) await push(tag);
  const digest = (tag: string): string => digests.get(tag) ?? '';
  const pinned = (tag: string): string => `${image}:${tag}@${digest(tag)}`;
  return {
    shop,
    image,
    push,
    pinned,
    digest,
    live: async () => (await shop.images('web'))['web'] ?? '',
    async crash(tag, others = {}) {
      const pod = `web-${tag.replaceAll('.', '-')}`;
      const rest = Object.entries(others).map(([name, other]) => ({ name, image: other }));
      await shop.request('POST', `/api/v1/namespaces/${namespace}/pods`, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: pod, labels: { app: 'web' } },
        spec: { containers: [{ name: 'web', image: pinned(tag) }, ...rest] },
      });
      await shop.request(
        'PATCH',
        `/api/v1/namespaces/${namespace}/pods/${pod}/status`,
        {
          status: {
            phase: 'Running',
            containerStatuses: [
              {
                name: 'web',
                image: pinned(tag),
                imageID: '',
                ready: false,
                restartCount: 5,
                state: { waiting: { reason: 'CrashLoopBackOff' } },
                lastState: { terminated: { exitCode: 3, reason: 'Error', message: 'no database' } },
              },
            ],
          },
        },
        'application/merge-patch+json',
      );
    },
    async decide(decision, tag, by = 'jane') {
      await shop.request('POST', `${shop.api}/imagedecisions`, {
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImageDecision',
        metadata: { generateName: 'web-' },
        spec: { policy: 'web', decision, by, ...(tag !== undefined && { digest: digest(tag) }) },
      });
    },
    async patchPolicy(spec) {
      await shop.request('PATCH', `${shop.api}/imagepolicies/web`, { spec }, 'application/merge-patch+json');
    },
  };
}

const gateOf = (policy: ImagePolicy, gate: string) =>
  policy.status?.candidate?.waitingFor?.find((answer) => answer.gate === gate);

/** Until this image runs, without a look at the state. */
async function runs({ live }: Scene, image: string): Promise<void> {
  await waitFor(`${image} runs`, async () => (await live()) === image, { timeoutMs: 40_000 });
}

/** Until the n-th rollout has set its image back, which may take no longer than a moment. */
async function isSetBack({ shop, live, pinned }: Scene, count: number, good = 'v1.0.0'): Promise<void> {
  await waitFor(
    `rollout ${count} has set ${good} back`,
    async () => {
      const rollout = (await shop.readRollouts('web'))[count - 1];
      const isBack = rollout?.status?.targets?.every(({ state }) => state === 'Undone') === true;
      return isBack && (await live()) === pinned(good);
    },
    { timeoutMs: 40_000 },
  );
  await shop.becomeHealthy('web');
}

async function failOnce(tag: string, good = 'v1.0.0'): Promise<Scene> {
  const given = await scene(good, tag);
  const { shop, image, pinned, crash } = given;
  await shop.deploy('web', { containers: { web: pinned(good) } });
  await crash(tag);
  await shop.policy('web', { image, tags: SEMVER, targets: WEB });
  await isSetBack(given, 1, good);
  await shop.rolledOut('web', 1, 'RolledBack');
  return given;
}

describe('an image that crashes', () => {
  it('is undone once, quarantined with the words of its pod, and stays back over a restart', async () => {
    const { shop, pinned, live, digest } = await failOnce('v1.1.0');

    const [rollout] = await shop.readRollouts('web');
    expect(rollout?.status).toMatchObject({
      state: 'RolledBack',
      failure: { class: 'Image', reason: 'CrashLoopBackOff', message: expect.stringContaining('no database') },
      targets: [{ state: 'Restored' }],
    });
    const rejected = await shop.settled('web', 'CandidateRejected');
    expect(rejected.status?.quarantine).toMatchObject([
      { tag: 'v1.1.0', cause: 'Image', rollout: 'web-1', images: [{ digests: [digest('v1.1.0')] }] },
    ]);
    expect(gateOf(rejected, 'quarantine')).toMatchObject({ answer: 'Closed', reason: 'Quarantined' });

    await operator.stop();
    operator = await start();
    await shop.settled('web', 'CandidateRejected');
    await shop.becomeHealthy('web');

    expect(await live()).toBe(pinned('v1.0.0'));
    expect(await shop.readRollouts('web')).toHaveLength(1);
  });

  it('stays back when a better release is deleted again, and when somebody tags it anew', async () => {
    const given = await failOnce('v1.2.0');
    const { shop, push, pinned, live, digest } = given;
    await push('v1.2.1');
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await runs(given, pinned('v1.2.1'));
    await shop.settled('web', 'UpToDate');

    const repository =
      pinned('v1.2.1').split(':')[1]?.slice(registry.host.split(':')[1]?.length).replace(/^\//, '') ?? '';
    await registry.deleteTag(repository, 'v1.2.1');
    await registry.retag(repository, digest('v1.2.0'), 'v1.3.0');

    const policy = await waitFor(
      'v1.3.0 is looked at',
      async () => {
        const seen = await shop.readPolicy('web');
        return seen.status?.candidate?.tag === 'v1.3.0' ? seen : undefined;
      },
      { timeoutMs: 40_000 },
    );
    expect(gateOf(policy, 'quarantine')?.message).toContain('as v1.2.0 by web-1');
    expect(await live()).toBe(pinned('v1.2.1'));
  });

  it('is tried once more after a release, and never again when that fails too', async () => {
    const given = await failOnce('v1.1.0');
    const { shop, decide, pinned, live } = given;

    await decide('Release', 'v1.1.0');
    await isSetBack(given, 2);
    const rollouts = await shop.rolledOut('web', 2, 'RolledBack');

    expect(rollouts.map(({ spec }) => spec.trigger)).toEqual(['NewTag', 'Release']);
    expect(rollouts[1]?.spec.decisions).toHaveLength(1);
    await shop.settled('web', 'CandidateRejected');
    expect(await live()).toBe(pinned('v1.0.0'));
  });

  it('is left where it is with onFailure Hold, and the policy is frozen until a person resumes it', async () => {
    const given = await scene('v1.0.0', 'v1.1.0');
    const { shop, image, pinned, crash, push, decide } = given;
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await crash('v1.1.0');
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { onFailure: 'Hold' } });
    await shop.rolledOut('web', 1, 'Held');
    const frozen = await shop.settled('web', 'Frozen');
    expect(findCondition(frozen.status?.conditions, 'Frozen')).toMatchObject({ reason: 'Held' });

    await push('v1.2.0');
    await waitFor(
      'v1.2.0 waits',
      async () => {
        const seen = await shop.readPolicy('web');
        return seen.status?.candidate?.tag === 'v1.2.0' && gateOf(seen, 'freeze') !== undefined;
      },
      { timeoutMs: 40_000 },
    );
    await decide('Resume');

    using _controllers = shop.playControllers(['web', 'Deployment']);
    await runs(given, pinned('v1.2.0'));
    expect(findCondition((await shop.readPolicy('web')).status?.conditions, 'Frozen')).toBeUndefined();
  });
});

describe('what fails for the sake of the environment', () => {
  it('is undone without quarantine, tried three times, and then held back', async () => {
    const given = await scene('v1.0.0', 'v1.1.0');
    const { shop, image, pinned } = given;
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { progressDeadline: '4s' } });

    for (let attempt = 1; attempt <= 3; attempt += 1) {
      await isSetBack(given, attempt);
    }
    const rollouts = await shop.rolledOut('web', 3, 'RolledBack', 40_000);

    expect(rollouts.map(({ spec, status }) => [spec.trigger, spec.attempt, status?.failure?.class])).toEqual([
      ['NewTag', 1, 'Environment'],
      ['Retry', 2, 'Environment'],
      ['Retry', 3, 'Environment'],
    ]);
    const { status } = await shop.settled('web', 'CandidateRejected');
    expect(status?.quarantine).toMatchObject([{ cause: 'Environment', rollout: 'web-3' }]);
  });
});

describe('a person', () => {
  const settled = async (...tags: readonly string[]): Promise<Scene> => {
    const given = await scene(...tags);
    const { shop, image, pinned } = given;
    await shop.deploy('web', { containers: { web: pinned(tags[0] ?? '') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    return given;
  };

  it('pins an older image, it stays, and after unpin the best one rolls out again', async () => {
    const given = await settled('v1.0.0', 'v1.1.0');
    const { shop, pinned, patchPolicy, push, live } = given;
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await runs(given, pinned('v1.1.0'));
    await shop.settled('web', 'UpToDate');

    await patchPolicy({ pin: { tag: 'v1.0.0', reason: 'INC-42' } });
    await runs(given, pinned('v1.0.0'));
    const held = await shop.settled('web', 'Pinned');
    expect(findCondition(held.status?.conditions, 'Ready')?.message).toContain('INC-42');
    await push('v1.2.0');
    const waiting = await waitFor(
      'v1.2.0 waits for the pin',
      async () => {
        const seen = await shop.readPolicy('web');
        return gateOf(seen, 'pin') !== undefined && seen.status?.candidate?.tag === 'v1.2.0' ? seen : undefined;
      },
      { timeoutMs: 40_000 },
    );
    expect(waiting.status?.candidate?.waiting).toBe('pin');
    expect(await live()).toBe(pinned('v1.0.0'));

    await patchPolicy({ pin: null });
    await runs(given, pinned('v1.2.0'));
    const rollouts = await shop.rolledOut('web', 3);
    expect(rollouts.map(({ spec }) => [spec.trigger, spec.direction])).toEqual([
      ['NewTag', 'Forward'],
      ['Pin', 'Back'],
      ['Unpin', 'Forward'],
    ]);
    expect(rollouts[1]?.spec.decision.gates).toContainEqual(
      expect.objectContaining({ gate: 'approval', answer: 'NotEnforced' }),
    );
  });

  it.each([
    { when: 'a tag that is not there', pin: { tag: 'v9.9.9' }, says: 'spec.pin.tag: ' },
    { when: 'a digest that does not exist', pin: { digest: `sha256:${'ab'.repeat(32)}` }, says: 'spec.pin.digest: ' },
  ])('who pins $when gets a sentence, and nothing is moved', async ({ pin, says }) => {
    const { shop, patchPolicy, pinned, live } = await settled('v1.0.0');
    await shop.settled('web', 'UpToDate');

    await patchPolicy({ pin });
    const { status } = await shop.settled('web', 'PinUnresolved');

    expect(findCondition(status?.conditions, 'Ready')?.message).toContain(says);
    expect(await live()).toBe(pinned('v1.0.0'));
  });

  it('rejects what runs: it goes back to the last good image, and later releases still flow', async () => {
    const given = await settled('v1.0.0', 'v1.1.0');
    const { shop, pinned, decide, push } = given;
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await runs(given, pinned('v1.1.0'));
    await shop.settled('web', 'UpToDate');

    await decide('Reject', 'v1.1.0');
    await runs(given, pinned('v1.0.0'));
    const back = await shop.settled('web', 'CandidateRejected');
    expect(back.status?.quarantine).toMatchObject([{ cause: 'Rejected', tag: 'v1.1.0' }]);

    await push('v1.2.0');
    await runs(given, pinned('v1.2.0'));
    const rollouts = await shop.rolledOut('web', 3);
    expect(rollouts.map(({ spec }) => [spec.trigger, spec.direction])).toEqual([
      ['NewTag', 'Forward'],
      ['Reject', 'Back'],
      ['NewTag', 'Forward'],
    ]);
  });

  it('sets another image by hand: Slipway stands back, and a Resume accepts it', async () => {
    const given = await settled('v1.1.0', 'v1.0.0');
    const { shop, pinned, decide, live, push } = given;
    await shop.settled('web', 'UpToDate');
    await shop.setImage('web', 'web', pinned('v1.0.0'));
    await shop.settled('web', 'ManualHold');

    await decide('Resume');
    await waitFor('the hold has ended', async () => {
      const { status } = await shop.readPolicy('web');
      return findCondition(status?.conditions, 'ManualHold') === undefined;
    });
    await waitFor('the accepted image is left for a better one', async () => (await live()) === pinned('v1.1.0'));
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await push('v1.2.0');
    await runs(given, pinned('v1.2.0'));
  });

  it('approves a digest, and another push of the tag needs another approval', async () => {
    const given = await scene('v1.0.0', 'v1.1.0');
    const { shop, image, pinned, decide, push } = given;
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.policy('web', {
      image,
      tags: SEMVER,
      targets: WEB,
      gates: { approval: { required: 2 } },
    });
    const waiting = await shop.settled('web', 'Waiting');
    expect(gateOf(waiting, 'approval')).toMatchObject({ reason: 'AwaitingApproval' });

    await decide('Approve', 'v1.1.0', 'jane');
    await decide('Approve', 'v1.1.0', 'jane');
    await waitFor('one person counts once', async () =>
      gateOf(await shop.readPolicy('web'), 'approval')?.message.includes('approved by jane'),
    );
    await push('v1.1.0');
    await waitFor(
      'the new push has no approval',
      async () => gateOf(await shop.readPolicy('web'), 'approval')?.message.includes('nobody has approved'),
      { timeoutMs: 40_000 },
    );
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await decide('Approve', 'v1.1.0', 'jane');
    await decide('Approve', 'v1.1.0', 'john');

    await runs(given, pinned('v1.1.0'));
    const [rollout] = await shop.rolledOut('web', 1);
    expect(rollout?.spec.decision.gates).toContainEqual(
      expect.objectContaining({ gate: 'approval', message: expect.stringMatching(/approved by jane .*john/) }),
    );
  });
});

describe('a window', () => {
  it('that is shut makes the candidate wait and says when it opens; one that can never open is told apart', async () => {
    const { shop, image, pinned, live, patchPolicy } = await scene('v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const hour = new Date(Date.now() + 12 * 3_600_000).getUTCHours();
    await shop.policy('web', {
      image,
      tags: SEMVER,
      targets: WEB,
      gates: { windows: { allow: [{ cron: `0 ${hour} * * *`, duration: '1h', timeZone: 'UTC' }] } },
    });

    const waiting = await shop.settled('web', 'Waiting');
    expect(gateOf(waiting, 'window')?.message).toMatch(/the next opens \d{4}-\d\d-\d\d \d\d:00 UTC/);
    expect(await live()).toBe(pinned('v1.0.0'));

    await patchPolicy({ gates: { windows: { allow: [{ cron: '0 0 30 2 *', duration: '1h', timeZone: 'UTC' }] } } });
    const invalid = await shop.settled('web', 'InvalidWindow');
    expect(findCondition(invalid.status?.conditions, 'Ready')?.message).toContain('gates.windows.allow[0]');
  });
});

describe('companions', () => {
  it('go forward and back as one change', async () => {
    const given = await scene('v1.0.0');
    const { shop, image, pinned, push, digest, crash } = given;
    const worker = `${image}er`;
    const repository = `${shop.namespace}/weber`;
    const old = await registry.push(repository, 'v1.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0'), worker: `${worker}:v1.0.0@${old}` } });
    await shop.policy('web', { image, companions: [{ image: worker }], tags: SEMVER, targets: WEB });
    await shop.settled('web', 'UpToDate');

    await push('v1.1.0');
    const missing = await waitFor(
      'the tag of the companion is missed',
      async () => {
        const { status } = await shop.readPolicy('web');
        return status?.tags?.rejected?.find(({ reason }) => reason === 'CompanionMissing');
      },
      { timeoutMs: 40_000 },
    );
    expect(missing.message).toContain(worker);
    const fresh = await registry.push(repository, 'v1.1.0');
    const good = { web: pinned('v1.1.0'), worker: `${worker}:v1.1.0@${fresh}` };
    const run = async (images: object): Promise<void> => {
      await waitFor('both have moved', async () => isDeepStrictEqual(await shop.images('web'), images), {
        timeoutMs: 40_000,
      });
    };
    await run(good);
    await shop.becomeHealthy('web');
    const [forward] = await shop.rolledOut('web', 1);
    expect(forward?.spec.images.map(({ digest: it }) => it)).toEqual([digest('v1.1.0'), fresh]);

    await push('v1.2.0');
    const bad = await registry.push(repository, 'v1.2.0');
    await crash('v1.2.0', { worker: `${worker}:v1.2.0@${bad}` });
    await isSetBack(given, 2, 'v1.1.0');
    const policy = await shop.settled('web', 'CandidateRejected');

    expect(await shop.images('web')).toEqual(good);
    expect(policy.status?.quarantine).toMatchObject([
      { tag: 'v1.2.0', images: [{ digests: [digest('v1.2.0')] }, { digests: [bad] }] },
    ]);
  });
});

describe('two policies on one workload', () => {
  it('do not disturb one another when the image of one of them is set back', async () => {
    const { shop, image, pinned, push, crash } = await scene('v1.0.0');
    const proxy = `${image}-proxy`;
    const repository = `${shop.namespace}/web-proxy`;
    const old = await registry.push(repository, 'v1.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0'), proxy: `${proxy}:v1.0.0@${old}` } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await shop.policy('proxy', { image: proxy, tags: SEMVER, targets: WEB });
    for (const name of ['web', 'proxy']) await shop.settled(name, 'UpToDate');

    await push('v1.1.0');
    await crash('v1.1.0');
    const fresh = await registry.push(repository, 'v1.1.0');
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.settled('web', 'CandidateRejected', 60_000);
    await waitFor('the other one has moved', async () => {
      const [rollout] = await shop.readRollouts('proxy');
      return rollout?.status?.state === 'Succeeded';
    });

    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0'), proxy: `${proxy}:v1.1.0@${fresh}` });
    const all = [...(await shop.readRollouts('web')), ...(await shop.readRollouts('proxy'))];
    expect(all.map(({ metadata, status }) => [metadata.name, status?.state])).toEqual([
      ['web-1', 'RolledBack'],
      ['proxy-1', 'Succeeded'],
    ]);
  });
});

describe('many policies that see a new image at once', () => {
  it('move a bounded number of workloads at a time, and all of them in the end', async () => {
    const count = 50;
    const { shop, image, pinned, push } = await scene('v1.0.0');
    const own = await startOperator({
      kubeconfigPath: controlPlane.kubeconfigPath,
      podName: 'capped',
      config: {
        ...reaching(registry),
        namespaces: [shop.namespace],
        limits: { rollouts: 5 },
        leaderElection: { leaseName: 'capped', leaseDuration: '60s', renewDeadline: '50s', retryPeriod: '1s' },
      },
    });
    await operator.stop();
    try {
      const names = Array.from({ length: count }, (_, index) => `web-${index}`);
      for (const name of names) {
        await shop.deploy(name, { containers: { web: pinned('v1.0.0') } });
        await shop.policy(name, { image, tags: SEMVER, targets: [{ kind: 'Deployment', name }] });
      }
      await push('v1.1.0');
      let most = 0;
      await waitFor(
        'all have moved',
        async () => {
          const { items } = (await shop.request('GET', `${shop.api}/imagerollouts`)) as {
            items: { status?: { state?: string; claim?: object } }[];
          };
          const done = items.filter(({ status }) => status?.state === 'Succeeded');
          most = Math.max(most, items.filter(({ status }) => status?.claim !== undefined).length - done.length);
          for (const name of names) {
            const { metadata, status } = (await shop.workload(name)) as {
              metadata: { generation: number };
              status?: { observedGeneration?: number };
            };
            if (metadata.generation !== status?.observedGeneration) await shop.becomeHealthy(name);
          }
          return done.length === count;
        },
        { timeoutMs: 80_000 },
      );
      expect(most).toBeGreaterThan(1);
      expect(most).toBeLessThanOrEqual(5);
    } finally {
      await own.stop();
      operator = await start();
    }
  }, 120_000);
});

describe('the monitor', () => {
  it('finds no broken promise in all of this', async () => {
    const events = await controlPlane.auditEvents();
    const source = { host: registry.host, requests: await registry.requests() };

    expect(writesOf(events).length).toBeGreaterThan(50);
    expect(findViolations(events, { registry: source, isOver: false })).toEqual([]);
  });
});
