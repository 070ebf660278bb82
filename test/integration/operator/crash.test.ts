// The operator is killed before and after every single write of a rollout, and another process takes over: the rollout
// ends as if nothing had happened, with one ImageRollout and one write of the image.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import YAML from 'yaml';
import { findCondition } from '../../../operator/api/conditions.ts';
import { ApiProxy, type Interception } from '../../support/api-proxy.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds } from '../../support/operator.ts';
import { startProcess, type RunningProcess } from '../../support/processes.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';

jest.setTimeout(240_000);

const ROOT = join(import.meta.dirname, '../../..');
/** More writes than one rollout takes: the surplus trials end without a kill and show how many there are. */
const WRITES = 10;
const AT_ONCE = 3;

let controlPlane: ControlPlane;
let registry: TestRegistry;
let digests: Readonly<Record<'old' | 'new', string>>;

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([startControlPlane({ audit: true }), startDistribution()]);
  await installCrds(controlPlane);
  digests = { old: await registry.push('shop/web', 'v1.0.0'), new: await registry.push('shop/web', 'v1.1.0') };
}, 120_000);

afterAll(async () => {
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

async function startOperatorProcess(proxy: ApiProxy, namespace: string, name: string): Promise<RunningProcess> {
  const file = join(controlPlane.directory, `${namespace}-${name}`);
  await writeFile(
    `${file}.yaml`,
    YAML.stringify({
      ...reaching(registry),
      namespaces: [namespace],
      server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 },
      leaderElection: { leaseName: namespace, leaseDuration: '60s', renewDeadline: '50s', retryPeriod: '1s' },
    }),
  );
  return startProcess({
    name: `operator ${name} of ${namespace}`,
    command: join(ROOT, 'node_modules/.bin/node'),
    args: [
      join(ROOT, 'operator/main.ts'),
      `--config=${file}.yaml`,
      `--kubeconfig=${await proxy.writeKubeconfig(`${file}.kubeconfig`)}`,
    ],
    env: { POD_NAME: name, POD_NAMESPACE: 'default' },
    logPath: `${file}.log`,
  });
}

interface Trial {
  readonly write: number;
  readonly when: Interception['when'];
}

interface Outcome extends Trial {
  readonly killedAt: string | undefined;
  readonly rollouts: number;
  readonly imageWrites: number;
  readonly image: string;
  readonly isMarked: boolean;
  readonly ready: string | undefined;
}

async function play({ write, when }: Trial): Promise<Outcome> {
  const namespace = `crash-${when}-${write}`;
  const shop = await Shop.open(controlPlane, namespace);
  const image = `${registry.host}/shop/web`;
  await shop.deploy('web', { containers: { web: `${image}:v1.0.0@${digests.old}` } });
  await shop.policy('web', {
    image,
    tags: { semver: { range: '1.x' } },
    targets: [{ kind: 'Deployment', name: 'web' }],
  });
  using _controllers = shop.playControllers(['web', 'Deployment']);

  await using proxy = await ApiProxy.start(controlPlane);
  const first = await startOperatorProcess(proxy, namespace, 'first');
  let killedAt: string | undefined;
  const killed = new Promise<void>((resolve) => {
    proxy.interception = {
      write,
      when,
      act: async () => {
        killedAt = proxy.writes.at(-1);
        first.kill('SIGKILL');
        await first.ended;
        // As if the dead leader's lease had run out, without the wait.
        await controlPlane.request(
          'PATCH',
          `/apis/coordination.k8s.io/v1/namespaces/default/leases/${namespace}`,
          { spec: { holderIdentity: '' } },
          'application/merge-patch+json',
        );
        resolve();
      },
    };
  });
  const settled = shop.settled('web', 'UpToDate', 90_000).catch(() => undefined);
  await Promise.race([killed, settled]);
  proxy.interception = undefined;
  const second = await startOperatorProcess(proxy, namespace, 'second');
  try {
    await shop.rolledOut('web', 1, 'Succeeded', 60_000);
    await shop.settled('web', 'UpToDate', 60_000);
  } catch (error) {
    throw new Error(
      `killed ${when} write ${write} (${killedAt ?? 'never'}): ${(error as Error).message}\n${second.logTail(3).slice(-2_000)}`,
      { cause: error },
    );
  } finally {
    await first.stop();
    await second.stop();
  }
  const policy = await shop.readPolicy('web');
  const { metadata } = await shop.workload('web');
  const writes = writesOf(await controlPlane.auditEvents(), namespace).filter(
    ({ objectRef }) => objectRef?.resource === 'deployments',
  );
  return {
    write,
    when,
    killedAt,
    rollouts: (await shop.readRollouts('web')).length,
    // One sets the image and the mark, one takes the mark off.
    imageWrites: writes.length - 1,
    image: (await shop.images('web'))['web'] ?? '',
    isMarked: 'slipway.dev/rollout' in (metadata.annotations ?? {}),
    ready: findCondition(policy.status?.conditions, 'Ready')?.reason,
  };
}

describe('a kill at any write of a rollout', () => {
  it('changes nothing of its end', async () => {
    const trials = Array.from({ length: WRITES }, (_, index): Trial[] => [
      { write: index + 1, when: 'before' },
      { write: index + 1, when: 'after' },
    ]).flat();
    const outcomes: Outcome[] = [];
    const work = async (): Promise<void> => {
      for (let trial = trials.shift(); trial !== undefined; trial = trials.shift()) outcomes.push(await play(trial));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));

    const killed = outcomes.filter(({ killedAt }) => killedAt !== undefined);
    expect(killed.length).toBeGreaterThanOrEqual(14);
    expect(killed.map(({ killedAt }) => killedAt?.split(' ')[0])).toEqual(
      expect.arrayContaining(['POST', 'PUT', 'PATCH']),
    );
    const wanted = {
      rollouts: 1,
      imageWrites: 1,
      image: `${registry.host}/shop/web:v1.1.0@${digests.new}`,
      isMarked: false,
      ready: 'UpToDate',
    };
    expect(outcomes).toEqual(outcomes.map((outcome) => ({ ...outcome, ...wanted })));
  });
});
