// The commands by which people decide, against a real API server: what they write, and what they say.

import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ImageDecision, ImagePolicy } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { rolloutManifest } from '../../support/fixtures/manifests.ts';
import { installCrds } from '../../support/operator.ts';
import { run, type CliResult } from '../../unit/cli/run.ts';

jest.setTimeout(60_000);

const API = '/apis/slipway.dev/v1alpha1/namespaces/shop';
const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const image = (tag: string, letter: string): string => `ghcr.io/acme/web:${tag}@${digest(letter)}`;
const NOW = '2026-01-05T08:00:00Z';
const condition = (type: string, status: string, reason: string, message = 'so it is') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: NOW,
});

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await startControlPlane();
  await installCrds(controlPlane);
  await controlPlane.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
}, 120_000);

afterAll(() => controlPlane.stop());

function slipway(...args: readonly string[]): Promise<CliResult> {
  return run([...args, '-n', 'shop', '--kubeconfig', controlPlane.kubeconfigPath]);
}

async function request(method: string, path: string, body?: unknown, type?: string): Promise<unknown> {
  const answer = await controlPlane.request(method, path, body, type);
  if (answer.status >= 300 && answer.status !== 404) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

const policy = async (): Promise<ImagePolicy> => (await request('GET', `${API}/imagepolicies/web`)) as ImagePolicy;
const decisions = async (): Promise<ImageDecision[]> =>
  ((await request('GET', `${API}/imagedecisions`)) as { items: ImageDecision[] }).items;

async function writeStatus(status: object): Promise<void> {
  await request('PATCH', `${API}/imagepolicies/web/status`, { status }, 'application/merge-patch+json');
}

beforeEach(async () => {
  await request('DELETE', `${API}/imagedecisions`);
  await request('DELETE', `${API}/imagerollouts`);
  await request('DELETE', `${API}/imagepolicies/web`);
  await controlPlane.apply({
    apiVersion: 'slipway.dev/v1alpha1',
    kind: 'ImagePolicy',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { image: 'ghcr.io/acme/web', tags: { semver: { range: '1.x' } } },
  });
  await writeStatus({
    conditions: [condition('Ready', 'False', 'Waiting', 'v1.2.0 waits')],
    current: { images: [{ image: 'ghcr.io/acme/web', tag: 'v1.1.0', digest: digest('b') }] },
    candidate: { tag: 'v1.2.0', digest: digest('c') },
    targets: [
      {
        kind: 'Deployment',
        name: 'web',
        uid: 'u',
        container: 'web',
        image: image('v1.1.0', 'b'),
        good: [image('v1.1.0', 'b'), image('v1.0.0', 'a')],
      },
    ],
  });
});

describe('slipway rollback, pin and unpin', () => {
  it('goes back to what ran before, and says how automation goes on', async () => {
    const { stdout, exitCode } = await slipway('rollback', 'web', '--reason', 'INC-42');

    expect(exitCode).toBe(0);
    expect(stdout).toContain(`Pinned web to v1.0.0 (${digest('a')})`);
    expect(stdout).toContain('slipway unpin web -n shop');
    expect((await policy()).spec.pin).toEqual({ digest: digest('a'), reason: 'INC-42' });
  });

  it.each([
    { args: ['rollback', 'web', '--to', 'v1.0.0'], want: { tag: 'v1.0.0' } },
    { args: ['rollback', 'web', '--to', digest('a')], want: { digest: digest('a') } },
    { args: ['pin', 'web', '--tag', 'v1.1.0', '--reason', 'x'], want: { tag: 'v1.1.0', reason: 'x' } },
  ])('sets the pin: $args', async ({ args, want }) => {
    expect((await slipway(...args)).exitCode).toBe(0);
    expect((await policy()).spec.pin).toEqual(want);
  });

  it('replaces one pin by another, and removes it', async () => {
    await slipway('pin', 'web', '--tag', 'v1.0.0', '--reason', 'x');
    await slipway('pin', 'web', '--digest', digest('a'));
    expect((await policy()).spec.pin).toEqual({ digest: digest('a') });

    expect((await slipway('unpin', 'web')).stdout).toContain('Unpinned web');
    expect((await policy()).spec).not.toHaveProperty('pin');
    expect((await slipway('unpin', 'web')).stdout).toContain('nothing to do');
  });

  it('asks what to pin, and where nothing ran before', async () => {
    expect(await slipway('pin', 'web')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('either --tag or --digest'),
    });
    await writeStatus({ targets: [] });
    expect(await slipway('rollback', 'web')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--to <tag or digest>'),
    });
  });
});

describe('slipway approve, reject, release and retry', () => {
  it.each([
    { args: ['approve', 'web'], want: { decision: 'Approve', digest: digest('c') }, says: 'Approved v1.2.0' },
    {
      args: ['reject', 'web', 'v1.1.0', '--reason', 'no'],
      want: { decision: 'Reject', digest: digest('b'), reason: 'no' },
      says: 'Rejected v1.1.0',
    },
    {
      args: ['approve', 'web', digest('f')],
      want: { decision: 'Approve', digest: digest('f') },
      says: 'Approved sha256:ffff',
    },
  ])('decides in the name of who asks: $args', async ({ args, want, says }) => {
    const { stdout, exitCode } = await slipway(...args);

    expect([exitCode, stdout]).toEqual([0, expect.stringContaining(says)]);
    const [made] = await decisions();
    expect(made?.spec).toEqual({ policy: 'web', by: expect.stringMatching(/.+/), ...want });
  });

  it('does not guess the digest of a tag that is not on record', async () => {
    expect(await slipway('approve', 'web', 'v9')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('no digest of v9 on record'),
    });
    expect(await decisions()).toEqual([]);
  });

  it('releases what is in quarantine, and retries it', async () => {
    expect((await slipway('release', 'web')).stderr).toContain('nothing of web is in quarantine');
    expect((await slipway('retry', 'web')).stdout).toContain('Nothing keeps web');
    await writeStatus({
      candidate: {
        waiting: 'quarantine',
        waitingFor: [{ gate: 'quarantine', answer: 'Closed', reason: 'Quarantined', message: 'it failed' }],
      },
      quarantine: [
        {
          images: [{ image: 'ghcr.io/acme/web', digests: [digest('c')] }],
          tag: 'v1.2.0',
          cause: 'Image',
          sinceTime: NOW,
        },
      ],
    });

    expect((await slipway('release', 'web')).stdout).toContain('Released v1.2.0');
    expect((await slipway('retry', 'web')).stdout).toContain('Released v1.2.0');
    expect((await decisions()).map(({ spec }) => [spec.decision, spec.digest])).toEqual([
      ['Release', digest('c')],
      ['Release', digest('c')],
    ]);
  });
});

describe('slipway suspend and resume', () => {
  it('stops and goes on', async () => {
    expect((await slipway('suspend', 'web')).stdout).toContain('Suspended web');
    expect((await policy()).spec.suspend).toBe(true);
    expect((await slipway('resume', 'web')).stdout).toContain('no longer suspended');
    expect((await policy()).spec.suspend).toBe(false);
    expect(await decisions()).toEqual([]);
    expect((await slipway('resume', 'web')).stdout).toContain('nothing to do');
  });

  it.each(['ManualHold', 'Frozen'])('ends the condition %s by a decision', async (type) => {
    await writeStatus({ conditions: [condition('Ready', 'False', type), condition(type, 'True', 'Held')] });

    expect((await slipway('resume', 'web', '--reason', 'looked')).stdout).toContain('Ended the hold of web');
    expect((await decisions()).map(({ spec }) => [spec.decision, spec.reason])).toEqual([['Resume', 'looked']]);
  });
});

describe('slipway status, history and watch', () => {
  it('shows how policies stand', async () => {
    const { stdout } = await slipway('status');

    expect(stdout.split('\n')[0]).toMatch(/^POLICY +CURRENT +CANDIDATE +STATE +WHY$/);
    expect(stdout).toMatch(/web +v1\.1\.0 +v1\.2\.0 +Waiting +v1\.2\.0 waits/);
    expect((await slipway('status', 'nobody')).stderr).toContain('namespace shop has no ImagePolicy nobody');
  });

  it('tells what was moved, why and how it ended', async () => {
    expect((await slipway('history', 'web')).stdout).toContain('has not been moved yet');
    const { uid } = (await policy()).metadata;
    await controlPlane.apply({
      ...rolloutManifest({ spec: { policy: { uid } } }),
      metadata: { name: 'web-1', namespace: 'shop' },
    });
    const status = {
      state: 'RolledBack',
      startTime: NOW,
      endTime: '2026-01-05T08:01:30Z',
      failure: { class: 'Image', reason: 'CrashLoopBackOff', message: 'no database', time: NOW },
    };
    await request('PATCH', `${API}/imagerollouts/web-1/status`, { status }, 'application/merge-patch+json');

    const table = await slipway('history', 'web');
    const json = JSON.parse((await slipway('history', 'web', '-o', 'json')).stdout) as object[];

    expect(table.stdout).toMatch(
      /1 +RolledBack +NewTag +v1\.0\.0 +v1\.1\.0 +2026-01-05T08:00:00Z +1m30s +v1\.1\.0 is the highest/,
    );
    expect(table.stdout).toContain('1: Image, CrashLoopBackOff: no database');
    expect(json).toMatchObject([
      { number: 1, state: 'RolledBack', failure: { class: 'Image' }, gates: [{ gate: 'workload' }] },
    ]);
  });

  it('follows a policy until it is as wanted', async () => {
    const watching = slipway('watch', 'web', '--until', 'UpToDate', '--timeout', '30s');
    const conditions = [condition('Ready', 'True', 'UpToDate', 'v1.2.0 runs')];
    await writeStatus({ conditions, observedGeneration: (await policy()).metadata.generation });

    const { stdout, exitCode } = await watching;
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/web {2}UpToDate: v1\.2\.0 runs/);
  });

  it('gives up watching in time', async () => {
    expect(await slipway('watch', 'web', '--until', 'Pinned', '--timeout', '1s')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('web was not Pinned within 1s'),
    });
  });
});

describe('who may not', () => {
  it('is told which right is missing', async () => {
    const namespace = 'shop';
    const rules = [
      { apiGroups: ['slipway.dev'], resources: ['imagepolicies', 'imagerollouts'], verbs: ['get', 'list'] },
    ];
    await controlPlane.apply(
      { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'reader', namespace }, rules },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: 'reader', namespace },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'vera' }],
      },
    );
    const kubeconfig = await controlPlane.kubeconfigFor('vera');
    const asVera = (...args: readonly string[]) => run([...args, '-n', 'shop', '--kubeconfig', kubeconfig]);

    expect(await asVera('rollback', 'web')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('You need the verbs patch and pin on imagepolicies.slipway.dev'),
    });
    expect(await asVera('approve', 'web')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('approve on imagepolicies.slipway.dev'),
    });
  });
});
