import { describe, expect, it } from '@jest/globals';
import type { WorkloadKind } from '../../../../operator/api/image-policy.ts';
import type { ImagePolicy } from '../../../../operator/api/kinds.ts';
import {
  claimsContainer,
  repositoriesOf,
  resolveTargets,
  targetIndexKeys,
  titleOf,
  type ResolvedTargets,
  type WorkloadLookup,
} from '../../../../operator/controllers/policy/targets.ts';
import type { Workload } from '../../../../operator/rollout/workloads/workload.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { workload } from '../../../support/builders/workloads.ts';

const WEB = 'ghcr.io/acme/web:1.0.0';

function lookupIn(workloads: readonly Workload[]): WorkloadLookup {
  return {
    knows: (kind) => kind !== 'Widget',
    serves: (kind) => kind !== 'Rollout',
    byName: (kind, name) => workloads.find((it) => it.kind === kind && it.metadata.name === name),
    byLabels: (kind, labels) =>
      workloads.filter(
        (it) => it.kind === kind && Object.entries(labels).every(([key, value]) => it.metadata.labels[key] === value),
      ),
  };
}

function resolve(
  policy: ImagePolicy,
  workloads: readonly Workload[],
  rivals: readonly ImagePolicy[] = [],
): ResolvedTargets {
  return resolveTargets(policy, repositoriesOf(policy), lookupIn(workloads), () => [policy, ...rivals]);
}

const namesOf = ({ containers }: ResolvedTargets) =>
  containers.map(({ workload: it, container }) => `${it.kind}/${it.metadata.name}/${container.name}`);
const problemsOf = ({ problems }: ResolvedTargets) => problems.map(({ reason, stalls }) => ({ reason, stalls }));
const targeting = (...targets: readonly object[]) => imagePolicy({ spec: { targets } });
const recordOf = (container: string, image = WEB, uid = 'uid-of-web') => ({
  kind: 'Deployment',
  name: 'web',
  uid,
  container,
  image,
});

describe('resolveTargets', () => {
  it('takes every container and init container of the repository, and no other', () => {
    const web = workload({
      initContainers: { migrate: 'ghcr.io/acme/web:1.0.0', fetch: 'curlimages/curl:8' },
      containers: {
        proxy: 'envoyproxy/envoy:v1.31',
        web: `ghcr.io/acme/web@sha256:${'a'.repeat(64)}`,
        worker: 'ghcr.io/acme/web',
      },
    });

    const resolved = resolve(targeting({ kind: 'Deployment', name: 'web' }), [web]);

    expect(namesOf(resolved)).toEqual(['Deployment/web/migrate', 'Deployment/web/web', 'Deployment/web/worker']);
    expect(resolved.problems).toEqual([]);
    expect(resolved.containers.map(({ image }) => image?.tag)).toEqual(['1.0.0', undefined, undefined]);
  });

  it.each([
    { image: 'nginx', live: 'docker.io/library/nginx:1.27', want: true },
    { image: 'docker.io/nginx', live: 'nginx:1.27', want: true },
    { image: 'index.docker.io/acme/web', live: 'acme/web:1', want: true },
    { image: 'GHCR.io/acme/web', live: 'ghcr.io/acme/web:1', want: true },
    { image: 'localhost:5000/web', live: 'localhost:5000/web:1', want: true },
    { image: 'localhost:5000/web', live: 'localhost/web:1', want: false },
    { image: 'ghcr.io/acme/web', live: 'ghcr.io/acme/web-admin:1', want: false },
    { image: 'ghcr.io/acme/web', live: 'ghcr.io/acme/web/admin:1', want: false },
    { image: 'ghcr.io/acme/web', live: 'quay.io/acme/web:1', want: false },
    { image: 'ghcr.io/acme/web', live: 'not an image', want: false },
  ])('for $image takes $live: $want', ({ image, live, want }) => {
    const policy = imagePolicy({ spec: { image, targets: [{ kind: 'Deployment', name: 'web' }] } });

    expect(resolve(policy, [workload({ containers: { web: live } })]).containers).toHaveLength(want ? 1 : 0);
  });

  it('takes the named containers only', () => {
    const web = workload({ containers: { web: WEB, canary: WEB, worker: WEB }, initContainers: { migrate: WEB } });

    const resolved = resolve(targeting({ kind: 'Deployment', name: 'web', containers: ['worker', 'migrate'] }), [web]);

    expect(namesOf(resolved)).toEqual(['Deployment/web/migrate', 'Deployment/web/worker']);
  });

  it('finds workloads by their labels, all of them, within their kind', () => {
    const labels = { app: 'shop', tier: 'front' };
    const workloads = [
      workload({ name: 'a', labels: { ...labels, extra: 'x' } }),
      workload({ name: 'b', labels: { app: 'shop' } }),
      workload({ name: 'c', labels: { ...labels, tier: 'back' } }),
      workload({ name: 'd', kind: 'StatefulSet', labels }),
      workload({ name: 'e', labels }),
    ];

    const resolved = resolve(targeting({ kind: 'Deployment', selector: { matchLabels: labels } }), workloads);

    expect(namesOf(resolved)).toEqual(['Deployment/a/web', 'Deployment/e/web']);
  });

  it('sorts by kind, name and position, whatever the order of the targets', () => {
    const workloads = [
      workload({ kind: 'StatefulSet', name: 'a' }),
      workload({ name: 'z', containers: { two: WEB, one: WEB }, initContainers: { init: WEB } }),
      workload({ name: 'b' }),
      workload({ kind: 'CronJob', name: 'nightly' }),
    ];
    const targets = [
      { kind: 'StatefulSet', name: 'a' },
      { kind: 'Deployment', name: 'z' },
      { kind: 'CronJob', name: 'nightly' },
      { kind: 'Deployment', name: 'b' },
    ];

    const sorted = namesOf(resolve(targeting(...targets), workloads));

    expect(sorted).toEqual([
      'CronJob/nightly/web',
      'Deployment/b/web',
      'Deployment/z/init',
      'Deployment/z/two',
      'Deployment/z/one',
      'StatefulSet/a/web',
    ]);
    expect(namesOf(resolve(targeting(...targets.toReversed()), workloads.toReversed()))).toEqual(sorted);
  });

  it('counts a container once, however many targets find it', () => {
    const policy = targeting(
      { kind: 'Deployment', name: 'web' },
      { kind: 'Deployment', selector: { matchLabels: { app: 'web' } } },
      { kind: 'Deployment', name: 'web', containers: ['web'] },
    );

    expect(namesOf(resolve(policy, [workload({ labels: { app: 'web' } })]))).toEqual(['Deployment/web/web']);
  });

  it('keeps a container that it knows when somebody gives it an image of another repository', () => {
    const policy = imagePolicy({ status: { targets: [recordOf('web')] } });

    const resolved = resolve(policy, [workload({ containers: { web: 'quay.io/acme/web:1.0.0' } })]);

    expect(namesOf(resolved)).toEqual(['Deployment/web/web']);
    expect(resolved.problems).toEqual([]);
  });

  it('lets go of a container that the policy no longer names, though it knows it', () => {
    const policy = imagePolicy({
      spec: { targets: [{ kind: 'Deployment', name: 'web', containers: ['web'] }] },
      status: { targets: [recordOf('web'), recordOf('worker')] },
    });

    expect(namesOf(resolve(policy, [workload({ containers: { web: WEB, worker: WEB } })]))).toEqual([
      'Deployment/web/web',
    ]);
  });

  it('does not know a container of a workload that was created anew', () => {
    const policy = imagePolicy({ status: { targets: [recordOf('web', WEB, 'an-earlier-one')] } });

    const resolved = resolve(policy, [workload({ containers: { web: 'quay.io/acme/web:1.0.0' } })]);

    expect(namesOf(resolved)).toEqual([]);
    expect(problemsOf(resolved)).toEqual([{ reason: 'NoMatchingContainer', stalls: false }]);
  });

  it('does not take over a named container whose image it cannot read', () => {
    const resolved = resolve(targeting({ kind: 'Deployment', name: 'web', containers: ['web'] }), [
      workload({ containers: { web: '${IMAGE}' } }),
    ]);

    expect(resolved.containers).toEqual([]);
    expect(problemsOf(resolved)).toEqual([{ reason: 'NoMatchingContainer', stalls: false }]);
  });

  it.each<{ when: string; targets: readonly object[]; workloads: readonly Workload[]; says: string; reason: string }>([
    {
      when: 'a named workload does not exist',
      targets: [{ kind: 'StatefulSet', name: 'db' }],
      workloads: [],
      reason: 'TargetNotFound',
      says: 'StatefulSet db does not exist in namespace shop',
    },
    {
      when: 'it is of another kind',
      targets: [{ kind: 'StatefulSet', name: 'web' }],
      workloads: [workload()],
      reason: 'TargetNotFound',
      says: 'StatefulSet web',
    },
    {
      when: 'no workload has the labels',
      targets: [{ kind: 'Deployment', selector: { matchLabels: { app: 'x' } } }],
      workloads: [workload()],
      reason: 'TargetNotFound',
      says: 'no Deployment has the labels',
    },
    {
      when: 'no container is of the repository',
      targets: [{ kind: 'Deployment', name: 'web' }],
      workloads: [workload({ containers: { web: 'nginx:1' } })],
      reason: 'NoMatchingContainer',
      says: 'ghcr.io/acme/web',
    },
    {
      when: 'a named container is missing',
      targets: [{ kind: 'Deployment', name: 'web', containers: ['web', 'wbe'] }],
      workloads: [workload()],
      reason: 'NoMatchingContainer',
      says: 'Deployment web has no container wbe',
    },
    {
      when: 'a named container runs something else',
      targets: [{ kind: 'Deployment', name: 'web', containers: ['proxy'] }],
      workloads: [workload({ containers: { proxy: 'envoy:1' } })],
      reason: 'NoMatchingContainer',
      says: 'runs envoy:1',
    },
  ])('reports it and moves the rest when $when', ({ targets, workloads, reason, says }) => {
    const good = workload({ name: 'good' });
    const resolved = resolve(targeting(...targets, { kind: 'Deployment', name: 'good' }), [...workloads, good]);

    expect(resolved.problems).toEqual([{ reason, message: expect.stringContaining(says), stalls: false }]);
    expect(namesOf(resolved)).toContain('Deployment/good/web');
  });

  it.each([
    { count: 100, want: [] },
    { count: 101, want: [{ reason: 'TooManyTargets', stalls: true }] },
  ])('with $count workloads has the problems $want', ({ count, want }) => {
    const workloads = Array.from({ length: count }, (_, index) =>
      workload({ name: `web-${index}`, labels: { app: 'web' } }),
    );

    const resolved = resolve(targeting({ kind: 'Deployment', selector: { matchLabels: { app: 'web' } } }), workloads);

    expect(problemsOf(resolved)).toEqual(want);
  });

  describe('when another policy', () => {
    const policy = targeting({ kind: 'Deployment', name: 'web' });
    const web = workload({ labels: { app: 'web' }, containers: { web: WEB, worker: 'ghcr.io/acme/worker:1' } });

    it.each<{ when: string; spec: Record<string, unknown>; metadata?: object; want: boolean }>([
      {
        when: 'names the same container',
        spec: { targets: [{ kind: 'Deployment', name: 'web', containers: ['web'] }] },
        want: true,
      },
      { when: 'follows the same repository', spec: { targets: [{ kind: 'Deployment', name: 'web' }] }, want: true },
      {
        when: 'selects it by label',
        spec: { targets: [{ kind: 'Deployment', selector: { matchLabels: { app: 'web' } } }] },
        want: true,
      },
      { when: 'is suspended', spec: { suspend: true, targets: [{ kind: 'Deployment', name: 'web' }] }, want: true },
      {
        when: 'names the container for another repository',
        spec: { image: 'quay.io/acme/web', targets: [{ kind: 'Deployment', name: 'web', containers: ['web'] }] },
        want: true,
      },
      {
        when: 'follows another repository in the same workload',
        spec: { image: 'ghcr.io/acme/worker', targets: [{ kind: 'Deployment', name: 'web' }] },
        want: false,
      },
      {
        when: 'names another container',
        spec: { targets: [{ kind: 'Deployment', name: 'web', containers: ['worker'] }] },
        want: false,
      },
      { when: 'names another workload', spec: { targets: [{ kind: 'Deployment', name: 'api' }] }, want: false },
      { when: 'names another kind', spec: { targets: [{ kind: 'StatefulSet', name: 'web' }] }, want: false },
      { when: 'only selects', spec: { targets: [] }, want: false },
      {
        when: 'has an image that cannot be read',
        spec: { image: 'https://x', targets: [{ kind: 'Deployment', name: 'web' }] },
        want: false,
      },
      {
        when: 'is being deleted',
        spec: { targets: [{ kind: 'Deployment', name: 'web' }] },
        metadata: { deletionTimestamp: '2026-01-05T09:00:00Z' },
        want: false,
      },
    ])('$when, there is a conflict: $want', ({ spec, metadata, want }) => {
      const rival = imagePolicy({ name: 'rival', spec, ...(metadata && { metadata }) });

      const resolved = resolve(policy, [web], [rival]);

      expect(problemsOf(resolved)).toEqual(want ? [{ reason: 'TargetConflict', stalls: true }] : []);
      if (want)
        expect(resolved.problems[0]?.message).toMatch(
          /container web of Deployment web is also a target of policy rival/,
        );
    });

    it('is in conflict, both see it, each naming the other', () => {
      const rival = imagePolicy({
        name: 'rival',
        spec: { targets: [{ kind: 'Deployment', selector: { matchLabels: { app: 'web' } } }] },
      });

      expect(resolve(policy, [web], [rival]).problems[0]?.message).toContain('policy rival');
      expect(resolve(rival, [web], [policy]).problems[0]?.message).toContain('policy web');
    });

    it('is only this one, created anew under another UID, that is a conflict as well', () => {
      const twin = imagePolicy({
        metadata: { uid: 'another' },
        spec: { targets: [{ kind: 'Deployment', name: 'web' }] },
      });

      expect(problemsOf(resolve(policy, [web], [twin]))).toEqual([{ reason: 'TargetConflict', stalls: true }]);
    });
  });
});

describe('claimsContainer', () => {
  const web = workload({ labels: { app: 'web' } });

  it('needs a label: an empty selector claims nothing', () => {
    const policy = targeting({ kind: 'Deployment', selector: { matchLabels: {} } });

    expect(claimsContainer(policy, web, web.containers[0]!)).toBe(false);
  });

  it('does not mistake inherited properties for labels', () => {
    const policy = targeting({ kind: 'Deployment', selector: { matchLabels: { constructor: 'x' } } });

    expect(claimsContainer(policy, web, web.containers[0]!)).toBe(false);
  });
});

describe('targetIndexKeys', () => {
  it('has a key for each name, and one for all selectors of a kind', () => {
    const policy = targeting(
      { kind: 'Deployment', name: 'web' },
      { kind: 'CronJob', selector: { matchLabels: { app: 'web' } } },
    );

    expect(targetIndexKeys(policy)).toEqual(['shop/Deployment/web', 'shop/CronJob/*']);
  });
});

describe('titleOf', () => {
  it.each<{ kind: WorkloadKind }>([{ kind: 'Deployment' }, { kind: 'CronJob' }])(
    'names a $kind as people do',
    ({ kind }) => {
      expect(titleOf(workload({ kind, name: 'web' }))).toBe(`${kind} web`);
    },
  );
});
