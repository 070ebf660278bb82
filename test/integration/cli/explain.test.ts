// `slipway explain` as users run it: on a real API server with a real operator and a real registry that wants a login.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Explanation } from '../../../operator/cli/explain/explanation.ts';
import { ensureTools } from '../../cluster/tools.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { mustRun, runCommand } from '../../support/processes.ts';
import { startDistribution, type TestRegistry } from '../../support/registries.ts';
import { run, type CliResult } from '../../unit/cli/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
const WEB = [{ kind: 'Deployment', name: 'web' }];
/** Nothing listens on the discard port. */
const CLOSED_PORT = 9;
const LOGIN = { imagePullSecrets: [{ name: 'login' }] };

let controlPlane: ControlPlane;
let registry: TestRegistry;
let operator: TestOperator;
let shop: Shop;
let image: string;
let withoutCrds: CliResult;
let beforeOperator: CliResult;

jest.setTimeout(60_000);

function explain(...args: readonly string[]): Promise<CliResult> {
  return run(['explain', ...args, '--kubeconfig', controlPlane.kubeconfigPath]);
}

async function explained(...args: readonly string[]): Promise<Explanation> {
  const { stdout, stderr, exitCode } = await explain(...args, '-n', 'shop', '-o', 'json');
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return JSON.parse(stdout) as Explanation;
}

/** A user who may do exactly this in namespace shop. */
async function userWith(name: string, ...rules: readonly object[]): Promise<string> {
  const namespace = 'shop';
  await controlPlane.apply(
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name, namespace }, rules },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name, namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }],
    },
  );
  return controlPlane.kubeconfigFor(name);
}

beforeAll(async () => {
  [controlPlane, registry] = await Promise.all([startControlPlane(), startDistribution({ auth: 'basic' })]);
  withoutCrds = await explain('web', '-n', 'default');
  await installCrds(controlPlane);
  shop = await Shop.open(controlPlane, 'shop');
  image = `${registry.host}/acme/web`;
  const auth = Buffer.from(`${registry.username}:${registry.password}`).toString('base64');
  await controlPlane.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'login', namespace: 'shop' },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [registry.host]: { auth } } }) },
  });
  const first = await registry.push('acme/web', 'v1.0.0');
  await shop.deploy('web', { containers: { web: `${image}:v1.0.0@${first}` } });
  await shop.policy('web', { image, registry: LOGIN, tags: { semver: { range: '1.x' } }, targets: WEB });
  beforeOperator = await explain('web', '-n', 'shop');

  operator = await startOperator({ kubeconfigPath: controlPlane.kubeconfigPath, config: reaching(registry) });
  await shop.settled('web', 'UpToDate');
  await registry.push('acme/web', 'v1.1.0');
  await registry.push('acme/web', 'v1.2.0-rc.1');
  await registry.push('acme/web', 'v1.3.0', { platforms: ['linux/s390x'] });
  await registry.push('acme/web', 'junk');
  using _ = shop.playControllers(['web', 'Deployment']);
  await shop.rolledOut('web', 1);
  await shop.settled('web', 'UpToDate');
  // Taking the annotation off is a change that its controller has to see as well.
  await shop.becomeHealthy('web');
}, 180_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([registry.stop(), controlPlane.stop()]);
});

describe('a policy that is up to date', () => {
  it('is explained as JSON: what runs, by which rollout, and why no other tag does', async () => {
    const explanation = await explained('web');

    expect(explanation).toMatchObject({
      policy: { namespace: 'shop', name: 'web', image, order: 'semver 1.x', interval: '15s', suspended: false },
      ready: { status: 'True', reason: 'UpToDate' },
      upToDate: true,
      current: { tag: 'v1.1.0', rollout: 'web-1' },
      targets: [{ workload: 'Deployment web', container: 'web', state: 'healthy', message: null }],
      candidate: null,
      tags: {
        source: 'operator',
        total: 5,
        rejectedByReason: { NotSemver: 1, Prerelease: 1, NotNewer: 1, PlatformMissing: 1 },
      },
      rollout: null,
      lastRollouts: [{ name: 'web-1', tag: 'v1.1.0', trigger: 'NewTag', state: 'Succeeded' }],
      notes: [],
    });
    expect(explanation.tags?.tags.find(({ tag }) => tag === 'v1.3.0')?.message).toBe(
      'v1.3.0 lacks the platform linux/amd64.',
    );
    expect(explanation.next.join(' ')).toContain('asked every 15s');
  });

  it('is explained as a page', async () => {
    const { stdout, exitCode } = await explain('web', '-n', 'shop');

    expect(exitCode).toBe(0);
    for (const part of [
      /^POLICY {5}shop\/web$/m,
      /^STATE {6}Ready \(UpToDate\) since .* ago\): v1\.1\.0 runs/m,
      /^CURRENT {4}v1\.1\.0 \([a-f0-9]{12}\) since .* ago\), brought by web-1$/m,
      /^Deployment web {2}web {8}healthy {2}.*:v1\.1\.0@sha256:[a-f0-9]{12}…$/m,
      /^v1\.2\.0-rc\.1 {2}Prerelease {7}v1\.2\.0-rc\.1 is a prerelease/m,
      /^web-1 .*Succeeded/m,
      /^NEXT$/m,
    ]) {
      expect(stdout).toMatch(part);
    }
  });

  it.each(['imagepolicy/web', 'slpol/web', 'imagepolicies.slipway.dev/web'])('is found as %s', async (reference) => {
    expect((await explained(reference)).policy.name).toBe('web');
  });

  it('is explained by the program as a kubectl plug-in', async () => {
    const { kubectl } = await ensureTools(['kubectl']);
    const plugin = join(controlPlane.directory, 'kubectl-slipway');
    await writeFile(plugin, `#!/bin/sh\nexec node '${join(ROOT, 'operator/cli.ts')}' "$@"\n`, { mode: 0o755 });

    const text = await mustRun([kubectl, 'slipway', 'explain', 'web', '-n', 'shop', '-o', 'json'], {
      env: { KUBECONFIG: controlPlane.kubeconfigPath, PATH: `${controlPlane.directory}:${process.env['PATH'] ?? ''}` },
    });

    expect(JSON.parse(text)).toMatchObject({ current: { tag: 'v1.1.0' } });
  });
});

describe('--live', () => {
  it('lists the tags now and gives every one its reason', async () => {
    const { tags, notes } = await explained('web', '--live', '--insecure-registry');

    expect(tags).toMatchObject({ source: 'registry', total: 5 });
    expect(Object.fromEntries((tags?.tags ?? []).map(({ tag, reason }) => [tag, reason]))).toEqual({
      junk: 'NotSemver',
      'v1.0.0': 'NotNewer',
      'v1.1.0': 'Current',
      'v1.2.0-rc.1': 'Prerelease',
      // No node tells which platforms are needed, and the policy names none.
      'v1.3.0': 'Selected',
    });
    expect(notes).toEqual([expect.stringContaining('Platforms were not looked at')]);
  });

  it('judges platforms that the policy names', async () => {
    await shop.policy('pick', {
      image,
      registry: LOGIN,
      tags: { semver: { range: '1.x' }, platforms: ['linux/amd64'] },
    });
    await shop.settled('pick', 'Selected');

    const { tags, notes } = await explained('pick', '--live', '--insecure-registry');

    expect(tags?.tags.find(({ tag }) => tag === 'v1.3.0')).toMatchObject({
      reason: 'PlatformMissing',
      message: 'v1.3.0 lacks the platform linux/amd64.',
    });
    expect(tags?.tags.find(({ tag }) => tag === 'v1.1.0')?.reason).toBe('Current');
    expect(notes).toEqual([]);
  });

  it('orders by creation time where the policy does', async () => {
    for (const [tag, day] of [
      ['blue', 3],
      ['green', 5],
      ['red', 4],
    ] as const) {
      await registry.push('acme/colours', tag, { created: new Date(Date.UTC(2026, 0, day)) });
    }
    const newest = { image: `${registry.host}/acme/colours`, registry: LOGIN, tags: { newest: {} } };
    await shop.policy('colours', newest);
    await shop.settled('colours', 'Selected');

    const { tags } = await explained('colours', '--live', '--insecure-registry');

    expect(Object.fromEntries((tags?.tags ?? []).map(({ tag, reason }) => [tag, reason]))).toEqual({
      blue: 'NotNewer',
      green: 'Current',
      red: 'NotNewer',
    });
  });

  it.each([
    {
      when: 'nobody answers',
      given: () => ({ image: `127.0.0.1:${CLOSED_PORT}/acme/web` }),
      says: 'refused the connection',
    },
    { when: 'the login is missing', given: () => ({ image }), says: 'Listing tags of ' },
    {
      when: 'the pull secret does not exist',
      given: () => ({ image, registry: { imagePullSecrets: [{ name: 'absent' }] } }),
      says: 'there is no Secret absent in namespace shop',
    },
    {
      when: 'the certificates do not exist',
      given: () => ({ image, registry: { caBundleRef: { kind: 'ConfigMap', name: 'absent' } } }),
      says: 'there is no ConfigMap absent in namespace shop',
    },
  ])('says what is wrong when $when', async ({ given, says }) => {
    await shop.policy('broken', { ...given(), tags: { semver: { range: '1.x' } } });

    const { notes } = await explained('broken', '--live', '--insecure-registry');
    await shop.remove('imagepolicies/broken');

    expect(notes).toEqual([expect.stringContaining(says)]);
    expect(notes.join()).not.toContain(registry.password);
  });

  it('falls back to what the operator found, with a sentence, where it may not read the pull secret', async () => {
    const kubeconfig = await userWith('viewer', {
      apiGroups: ['slipway.dev'],
      resources: ['imagepolicies', 'imagerollouts'],
      verbs: ['get', 'list'],
    });

    const { stdout, exitCode } = await run(['explain', 'web', '-n', 'shop', '--live', '--kubeconfig', kubeconfig]);

    expect(exitCode).toBe(0);
    expect(stdout).toContain('TAGS         5 listed, ');
    expect(stdout).toMatch(/The registry could not be read from here.*you may not get secrets in namespace shop/);
    expect(stdout).toContain('you may not get deployments.apps in namespace shop');
  });
});

describe('a policy that waits', () => {
  it('shows every gate with its answer, and the advice that ends the wait', async () => {
    await shop.deploy('held', { containers: { web: `${image}:v1.0.0` }, labels: { 'app.kubernetes.io/name': 'held' } });
    await shop.request(
      'PATCH',
      shop.path('Deployment', 'held'),
      { metadata: { annotations: { 'meta.helm.sh/release-name': 'held' } } },
      'application/merge-patch+json',
    );
    await shop.policy('held', {
      image,
      registry: LOGIN,
      tags: { semver: { range: '~1.1' } },
      targets: [{ kind: 'Deployment', name: 'held' }],
    });
    await shop.settled('held', 'ManagedByGitOps');

    const { candidate, next, ready } = await explained('held');

    expect(candidate?.gates.map(({ gate, answer }) => `${gate} ${answer}`)).toEqual([
      'quarantine Open',
      'rejection Open',
      'pin Open',
      'freeze Open',
      'foreign-change Open',
      'consent Waiting',
      'suspension Open',
      'approval Open',
      'window Open',
      'cooldown Open',
      'retry Open',
      'workload Open',
    ]);
    expect(candidate?.gates[5]?.sinceTime).toMatch(/^20/);
    expect(ready?.message).toContain('helm upgrade');
    expect(next[0]).toContain('rollout.onForeignChange');
  });
});

describe('when there is nothing to explain', () => {
  it('says that Slipway is not installed', () => {
    expect(withoutCrds).toEqual({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/^slipway: the cluster does not know imagepolicies\.slipway\.dev: install Slipway/),
    });
  });

  it('says that no operator has looked yet, and how to find one', () => {
    expect(beforeOperator.exitCode).toBe(0);
    expect(beforeOperator.stdout).toContain('unknown: Slipway has not looked at this policy yet');
    expect(beforeOperator.stdout).toContain('kubectl get leases -A --field-selector metadata.name=slipway-operator');
  });

  it.each([
    { when: 'the name is misspelt', args: ['wbe', '-n', 'shop'], says: 'did you mean web?' },
    {
      when: 'it is in another namespace',
      args: ['web', '-n', 'default'],
      says: 'there is one in shop; say which with -n',
    },
    { when: 'nothing is alike', args: ['backend', '-n', 'shop'], says: 'it has ' },
    { when: 'it is another kind', args: ['deployment/web', '-n', 'shop'], says: 'is not the name of an ImagePolicy' },
    { when: 'the context is unknown', args: ['web', '--context', 'moon'], says: 'no context "moon"; it has test' },
  ])('says what to do when $when', async ({ args, says }) => {
    const { stderr, exitCode } = await explain(...args);

    expect(stderr).toContain(says);
    expect(exitCode).toBe(2);
  });

  it('names the right that is missing', async () => {
    const kubeconfig = await controlPlane.kubeconfigFor('nobody');

    const { stderr, exitCode } = await run(['explain', 'web', '-n', 'shop', '--kubeconfig', kubeconfig]);

    expect(stderr).toBe(
      'slipway: you may not get imagepolicies.slipway.dev in namespace shop: ask for a role that allows it (view, with the roles of the chart)\n',
    );
    expect(exitCode).toBe(2);
  });

  it('says that no cluster answers', async () => {
    const { code, stderr } = await runCommand(['node', join(ROOT, 'operator/cli.ts'), 'explain', 'web'], {
      env: { KUBECONFIG: join(controlPlane.directory, 'absent'), HOME: controlPlane.directory },
    });

    expect(stderr).toMatch(/^slipway: .*\n$/);
    expect(code).toBe(2);
  });
});
