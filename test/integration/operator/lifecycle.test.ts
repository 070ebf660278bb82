// Starting, stopping and losing an operator, in whatever state its policies are: a restart writes nothing, another replica
// takes over a rollout from a dead leader, and an API server that goes and comes back costs no rollout.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import YAML from 'yaml';
import { METRICS } from '../../../operator/telemetry/metrics.ts';
import { startControlPlane, type AuditEvent, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator, type TestOperatorOptions } from '../../support/operator.ts';
import { startProcess } from '../../support/processes.ts';
import { ScriptedRegistry } from '../../support/scripted-registry.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(120_000);

const ROOT = join(import.meta.dirname, '../../..');
const SEMVER = { semver: { range: '1.x' } };
/** Outlasts a restart of the API server. */
const PATIENT = { leaseDuration: '60s', renewDeadline: '50s', retryPeriod: '1s' };
const WEB = [{ kind: 'Deployment', name: 'web' }];

let controlPlane: ControlPlane;
let registry: ScriptedRegistry;
let broken: ScriptedRegistry;

beforeAll(async () => {
  [controlPlane, registry, broken] = await Promise.all([
    startControlPlane({ audit: true }),
    ScriptedRegistry.start(),
    ScriptedRegistry.start(),
  ]);
  broken.script(({ kind }, response) => {
    if (kind !== 'list') return false;
    response.writeHead(500).end();
    return true;
  });
  await installCrds(controlPlane);
}, 120_000);

afterAll(async () => {
  await Promise.all([registry.stop(), broken.stop(), controlPlane.stop()]);
});

interface Pushed {
  readonly image: string;
  pinned(tag: string): string;
}

function push(path: string, ...tags: readonly string[]): Pushed {
  const image = `${registry.host}/${path}`;
  const digests = new Map(
    tags.map((tag) => [tag, registry.push(path, tag, { created: new Date(`2026-01-0${tags.indexOf(tag) + 1}`) })]),
  );
  return { image, pinned: (tag) => `${image}:${tag}@${digests.get(tag) ?? 'unknown'}` };
}

function start(options: Partial<TestOperatorOptions> = {}): Promise<TestOperator> {
  return startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    ...options,
    config: { ...reaching(registry, broken), ...options.config },
  });
}

/** Writes that were tried, events included: only the Lease is left out. */
function triesOf(events: readonly AuditEvent[]): string[] {
  return events
    .filter(
      ({ userAgent, verb }) =>
        userAgent?.startsWith('slipway/') && ['create', 'update', 'patch', 'delete'].includes(verb),
    )
    .filter(({ objectRef }) => objectRef?.resource !== 'leases')
    .map(({ verb, requestURI, responseStatus }) => `${verb} ${requestURI} ${responseStatus?.code ?? ''}`);
}

async function metricsOf({ metricsUrl }: TestOperator): Promise<string> {
  return (await fetch(metricsUrl)).text();
}

async function looksOf(operator: TestOperator): Promise<number> {
  let looks = 0;
  for (const [, outcome = '', count = '0'] of (await metricsOf(operator)).matchAll(
    /slipway_reconcile_total\{controller="policy",outcome="(\w+)"\} ([0-9]+)/g,
  )) {
    if (outcome === 'success' || outcome === 'requeued') looks += Number(count);
  }
  return looks;
}

describe('a restart', () => {
  it('writes nothing, whatever the policies are in the middle of', async () => {
    const shop = await Shop.open(controlPlane, 'restart');
    await using first = await start();
    const { image, pinned } = push('restart/web', 'v1.0.0', 'v1.1.0');
    const old = { containers: { web: pinned('v1.0.0') } };
    const best = { containers: { web: pinned('v1.1.0') } };
    const target = (...names: readonly string[]): object[] => names.map((name) => ({ kind: 'Deployment', name }));
    const unreadable = push('restart/unreadable', 'v1.0.0', 'v1.1.0');
    registry.script(({ kind, repository, reference }, response) => {
      if (kind !== 'manifest' || repository !== 'restart/unreadable' || reference !== 'v1.1.0') return false;
      response.writeHead(503).end();
      return true;
    });

    const states: Readonly<
      Record<string, { readonly spec: object; readonly reason: string; readonly arrange?: () => Promise<void> }>
    > = {
      'up-to-date': {
        spec: { targets: target('up-to-date') },
        reason: 'UpToDate',
        arrange: () => shop.deploy('up-to-date', best),
      },
      suspended: {
        spec: { targets: target('suspended'), suspend: true },
        reason: 'Waiting',
        arrange: () => shop.deploy('suspended', old),
      },
      paused: {
        spec: { targets: target('paused') },
        reason: 'Waiting',
        arrange: () => shop.deploy('paused', { ...old, spec: { paused: true } }),
      },
      helm: {
        spec: { targets: target('helm') },
        reason: 'ManagedByGitOps',
        arrange: () => shop.deploy('helm', { ...old, annotations: { 'meta.helm.sh/release-name': 'shop' } }),
      },
      missing: { spec: { targets: target('missing') }, reason: 'TargetNotFound' },
      one: {
        spec: { targets: target('both'), suspend: true },
        reason: 'TargetConflict',
        arrange: () => shop.deploy('both', old),
      },
      two: { spec: { targets: target('both'), suspend: true }, reason: 'TargetConflict' },
      selecting: { spec: {}, reason: 'Selected' },
      'young-tag': {
        spec: { targets: target('young'), tags: { ...SEMVER, minimumAge: '1h' } },
        reason: 'UpToDate',
        arrange: () => shop.deploy('young', old),
      },
      newest: {
        spec: { targets: target('newest-a', 'newest-b', 'newest-c'), tags: { newest: {} }, suspend: true },
        reason: 'Waiting',
        arrange: async () => {
          await shop.deploy('newest-a', best);
          await shop.deploy('newest-b', old);
          await shop.deploy('newest-c', best);
        },
      },
      'no-login': { spec: { registry: { imagePullSecrets: [{ name: 'nowhere' }] } }, reason: 'PullSecretNotFound' },
      'no-range': { spec: { tags: { semver: { range: '1.2.3-01' } } }, reason: 'InvalidRange' },
      'no-answer': { spec: { image: `${broken.host}/shop/web` }, reason: 'Unavailable' },
      unreadable: {
        spec: { image: unreadable.image, targets: target('unreadable') },
        reason: 'CandidateUnreadable',
        arrange: () => shop.deploy('unreadable', { containers: { web: unreadable.pinned('v1.0.0') } }),
      },
      frozen: {
        spec: { targets: target('frozen'), rollout: { progressDeadline: '1s', onFailure: 'Hold' } },
        reason: 'Frozen',
        arrange: () => shop.deploy('frozen', old),
      },
      unapproved: {
        spec: { targets: target('unapproved'), gates: { approval: { required: 1 } } },
        reason: 'Waiting',
        arrange: () => shop.deploy('unapproved', old),
      },
      shut: {
        spec: {
          targets: target('shut'),
          gates: { windows: { allow: [{ cron: '0 4 29 2 *', duration: '1h', timeZone: 'UTC' }] } },
        },
        reason: 'Waiting',
        arrange: () => shop.deploy('shut', old),
      },
      pinned: {
        spec: { targets: target('pinned'), pin: { tag: 'v1.0.0', reason: 'INC-42' } },
        reason: 'Pinned',
        arrange: () => shop.deploy('pinned', old),
      },
      open: { spec: { targets: target('open') }, reason: 'RollingOut', arrange: () => shop.deploy('open', old) },
      held: { spec: { targets: target('held') }, reason: 'UpToDate', arrange: () => shop.deploy('held', best) },
    };
    await Promise.all(
      Object.entries(states).map(async ([name, { spec, reason, arrange }]) => {
        await arrange?.();
        await shop.policy(name, { image, tags: SEMVER, ...spec });
        await shop.settled(name, reason);
      }),
    );
    await shop.setImage('held', 'web', pinned('v1.0.0'));
    await shop.settled('held', 'ManualHold');
    await waitFor(
      'the open rollout verifies',
      async () => (await shop.readRollouts('open'))[0]?.status?.state === 'Verifying',
    );

    await first.stop();
    const before = triesOf(await controlPlane.auditEvents());
    const listed = (): number => registry.requests.filter(({ kind }) => kind === 'list').length;
    const lists = listed();
    await using second = await start();
    await waitFor('the tags were listed', () => listed() >= lists + 2);
    // Once before and once after the tags are known.
    await waitFor(
      'every policy was looked at twice',
      async () => (await looksOf(second)) >= 2 * Object.keys(states).length,
    );
    await waitFor('the second poll is over', () => listed() >= lists + 4, { timeoutMs: 40_000 });

    expect(before.length).toBeGreaterThan(Object.keys(states).length);
    // The open rollout gets a new holder; nothing else has changed.
    expect(triesOf(await controlPlane.auditEvents()).slice(before.length)).toEqual([
      expect.stringMatching(/^update .*\/imagerollouts\/open-1\/status\?.* 200$/),
    ]);
    for (const [name, { reason }] of Object.entries(states))
      await shop.settled(name, name === 'held' ? 'ManualHold' : reason, 1_000);
    const text = await metricsOf(second);
    for (const { name } of Object.values(METRICS)) expect(text).toContain(`# HELP ${name} `);
    expect(text).toContain('slipway_policies{ready="False",reason="ManualHold"} 1');
  });
});

describe('a dead leader', () => {
  it('is followed by the standby when its lease has run out, and the rollout ends once', async () => {
    const shop = await Shop.open(controlPlane, 'dead-leader');
    const { image, pinned } = push('dead-leader/web', 'v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const election = { leaseName: 'dead-leader', leaseDuration: '5s', renewDeadline: '4s', retryPeriod: '1s' };
    const config = { ...reaching(registry), namespaces: ['dead-leader'], leaderElection: election };
    const file = join(controlPlane.directory, 'dead-leader.yaml');
    await writeFile(
      file,
      YAML.stringify({ ...config, server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 } }),
    );
    const leader = await startProcess({
      name: 'operator',
      command: join(ROOT, 'node_modules/.bin/node'),
      args: [join(ROOT, 'operator/main.ts'), `--config=${file}`, `--kubeconfig=${controlPlane.kubeconfigPath}`],
      env: { POD_NAME: 'leader', POD_NAMESPACE: 'default' },
      logPath: join(controlPlane.directory, 'leader.log'),
    });
    try {
      await waitFor(
        'the first replica leads',
        () => leader.logTail(50).includes('dead-leader') && leader.logTail(50).includes('lead'),
      );
      await using standby = await start({ config, podName: 'standby' });
      await shop.policy('web', { image, tags: SEMVER, targets: WEB });
      await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));
      const [claimed] = await shop.readRollouts('web');
      expect(claimed?.status?.claim?.holder).toContain('leader');
      expect(await metricsOf(standby)).toContain('slipway_leader 0');
      expect((await fetch(`${standby.healthUrl}/readyz`)).status).toBe(200);

      leader.kill('SIGKILL');
      await leader.ended;
      await shop.becomeHealthy('web');
      const [rollout] = await shop.rolledOut('web', 1);

      expect(rollout?.status?.claim?.holder).toContain('standby');
      expect(rollout?.status?.claim?.epoch).toBeGreaterThan(claimed?.status?.claim?.epoch ?? Infinity);
      expect(await metricsOf(standby)).toContain('slipway_leader 1');
      const writes = writesOf(await controlPlane.auditEvents(), 'dead-leader').filter(
        ({ objectRef }) => objectRef?.resource === 'deployments',
      );
      expect(writes).toHaveLength(2);
      // Whatever the process wrote is one JSON object per line.
      const lines = (await readFile(leader.logPath, 'utf8')).trim().split('\n');
      expect(lines.length).toBeGreaterThan(3);
      const entries = lines.map((line) => JSON.parse(line) as { level?: unknown; message?: unknown });
      for (const { level, message } of entries) expect([typeof level, typeof message]).toEqual(['string', 'string']);
    } finally {
      await leader.stop();
    }
  });
});

describe('an API server that goes and comes back', () => {
  it('costs neither a rollout nor the operator, which is not ready before it has filled its caches', async () => {
    const shop = await Shop.open(controlPlane, 'outage');
    const { image, pinned } = push('outage/web', 'v1.0.0', 'v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const config = { namespaces: ['outage'], leaderElection: { ...PATIENT, leaseName: 'outage' } };
    await using operator = await start({ config });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));

    await controlPlane.killApiServer();
    // A second replica: it stands by, so one of them acts.
    await using late = await start({ config, untilReady: false });
    const unready = await fetch(`${late.healthUrl}/readyz`);
    expect(unready.status).toBe(503);
    expect(await unready.text()).toContain('is not filled yet');
    expect((await fetch(`${late.healthUrl}/livez`)).status).toBe(200);

    await controlPlane.startApiServer();
    await waitFor('the late one is ready', async () => (await fetch(`${late.healthUrl}/readyz`)).ok);
    await shop.becomeHealthy('web');
    await shop.rolledOut('web', 1, 'Succeeded', 60_000);
    await shop.settled('web', 'UpToDate', 60_000);
    expect((await fetch(`${operator.healthUrl}/readyz`)).status).toBe(200);

    const writes = writesOf(await controlPlane.auditEvents(), 'outage').filter(
      ({ objectRef }) => objectRef?.resource === 'deployments',
    );
    expect(writes).toHaveLength(2);
  });
});
