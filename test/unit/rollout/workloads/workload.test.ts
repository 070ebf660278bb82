import { describe, expect, it } from '@jest/globals';
import { WORKLOAD_KINDS, type BuiltInKind } from '../../../../operator/api/image-policy.ts';
import type { ManagedFieldsEntry } from '../../../../operator/api/object.ts';
import { workloadTypes } from '../../../../operator/rollout/workloads/index.ts';
import { toSelectorString, toWorkload } from '../../../../operator/rollout/workloads/workload.ts';
import {
  cronJobObject,
  daemonSetObject,
  deploymentObject,
  statefulSetObject,
  type WorkloadObject,
  type WorkloadObjectOptions,
} from '../../../support/builders/workloads.ts';

const build: Readonly<Record<BuiltInKind, (options?: WorkloadObjectOptions) => WorkloadObject>> = {
  Deployment: deploymentObject,
  StatefulSet: statefulSetObject,
  DaemonSet: daemonSetObject,
  CronJob: cronJobObject,
};

const read = (kind: BuiltInKind, options: WorkloadObjectOptions = {}) =>
  toWorkload(workloadTypes[kind], build[kind](options));

/** A managedFields entry that owns fields at a path below `spec`. */
function ownerOf(
  manager: string,
  path: readonly string[],
  entry: Partial<ManagedFieldsEntry> = {},
): ManagedFieldsEntry {
  const fieldsV1 = [...path].reverse().reduce<Record<string, unknown>>((inner, part) => ({ [part]: inner }), {});
  return {
    manager,
    operation: 'Update',
    apiVersion: 'apps/v1',
    time: '2026-01-05T08:00:00Z',
    fieldsType: 'FieldsV1',
    fieldsV1,
    ...entry,
  };
}

function imagePath(kind: BuiltInKind, list: 'containers' | 'initContainers', container: string): string[] {
  const template = kind === 'CronJob' ? ['f:spec', 'f:jobTemplate', 'f:spec', 'f:template'] : ['f:spec', 'f:template'];
  return [...template, 'f:spec', `f:${list}`, `k:{"name":"${container}"}`, 'f:image'];
}

describe('workloadTypes', () => {
  it('has an entry for every kind of the schema', () => {
    expect(Object.keys(workloadTypes).sort()).toEqual([...WORKLOAD_KINDS].sort());
    for (const [kind, type] of Object.entries(workloadTypes)) expect(type.kind).toBe(kind);
  });
});

describe('toWorkload', () => {
  describe.each(WORKLOAD_KINDS.map((kind) => ({ kind })))('of a $kind', ({ kind }) => {
    it('says who it is', () => {
      const options = {
        name: 'shop',
        namespace: 'eu',
        uid: 'u-7',
        resourceVersion: '42',
        generation: 3,
        labels: { app: 'shop' },
      };

      const workload = read(kind, options);

      expect(workload.kind).toBe(kind);
      expect(workload.metadata).toEqual(options);
    });

    it('lists init containers first, each with its position in its own list', () => {
      const workload = read(kind, {
        initContainers: { migrate: 'acme/migrate:1', warm: 'acme/warm:1' },
        containers: { web: 'acme/web:1', proxy: 'acme/proxy:1' },
      });

      expect(workload.containers.map(({ name, init, index, image }) => ({ name, init, index, image }))).toEqual([
        { name: 'migrate', init: true, index: 0, image: 'acme/migrate:1' },
        { name: 'warm', init: true, index: 1, image: 'acme/warm:1' },
        { name: 'web', init: false, index: 0, image: 'acme/web:1' },
        { name: 'proxy', init: false, index: 1, image: 'acme/proxy:1' },
      ]);
    });

    it('names every owner of an image field, and of no other field', () => {
      const workload = read(kind, {
        initContainers: { migrate: 'acme/migrate:1' },
        containers: { web: 'acme/web:1', proxy: 'acme/proxy:1' },
        managedFields: [
          ownerOf('kubectl-client-side-apply', imagePath(kind, 'containers', 'web')),
          ownerOf('argocd-controller', imagePath(kind, 'containers', 'web')),
          ownerOf('kubectl-set', imagePath(kind, 'initContainers', 'migrate')),
          ownerOf('autoscaler', ['f:spec', 'f:replicas']),
          ownerOf('kube-controller-manager', ['f:status'], { subresource: 'status' }),
        ],
      });

      expect(Object.fromEntries(workload.containers.map(({ name, imageManagers }) => [name, imageManagers]))).toEqual({
        migrate: ['kubectl-set'],
        web: ['kubectl-client-side-apply', 'argocd-controller'],
        proxy: [],
      });
    });

    it('has no progress and no labels to invent when the object is bare', () => {
      const workload = toWorkload(workloadTypes[kind], {
        metadata: { name: 'bare', namespace: 'shop', uid: 'u', resourceVersion: '1' },
      });

      expect(workload.containers).toEqual([]);
      expect(workload.metadata.labels).toEqual({});
      expect(workload.podSelector).toBeUndefined();
      expect(workload.progress.kind).not.toBe('healthy');
    });
  });

  it('names an owner once though it owns the field by two operations', () => {
    const path = imagePath('Deployment', 'containers', 'web');
    const [web] = read('Deployment', {
      managedFields: [ownerOf('slipway', path), ownerOf('slipway', path, { operation: 'Apply' })],
    }).containers;

    expect(web?.imageManagers).toEqual(['slipway']);
  });

  it.each<{ when: string; entry: ManagedFieldsEntry }>([
    { when: 'has no fields', entry: { manager: 'x' } },
    { when: 'has a null on the way', entry: { manager: 'x', fieldsV1: { 'f:spec': null } } },
    {
      when: 'has no manager',
      entry: ownerOf('x', imagePath('Deployment', 'containers', 'web'), { manager: undefined as never }),
    },
  ])('survives a managedFields entry that $when', ({ entry }) => {
    expect(read('Deployment', { managedFields: [entry] }).containers[0]?.imageManagers).toEqual([]);
  });

  it('leaves out a container without an image and keeps the positions of the others', () => {
    const raw = deploymentObject({
      spec: { template: { spec: { containers: [{ name: 'injected' }, { name: 'web', image: 'acme/web:1' }] } } },
    });

    const { containers } = toWorkload(workloadTypes.Deployment, raw);

    expect(containers).toHaveLength(1);
    expect(containers[0]).toMatchObject({ name: 'web', index: 1 });
  });

  it.each([
    { annotations: undefined, rollout: undefined, hasAnnotations: false },
    { annotations: {}, rollout: undefined, hasAnnotations: true },
    { annotations: { other: 'x' }, rollout: undefined, hasAnnotations: true },
    { annotations: { 'slipway.dev/rollout': 'web-4' }, rollout: 'web-4', hasAnnotations: true },
  ])('reads the reservation from $annotations', ({ annotations, rollout, hasAnnotations }) => {
    const workload = read('Deployment', annotations === undefined ? {} : { annotations });

    expect(workload.rollout).toBe(rollout);
    expect(workload.hasAnnotations).toBe(hasAnnotations);
  });

  it('drops what it does not need, so that thousands stay small', () => {
    const workload = read('Deployment', {
      annotations: { big: 'x'.repeat(100_000) },
      managedFields: [ownerOf('y'.repeat(1_000), ['f:spec', 'f:replicas'])],
    });

    expect(JSON.stringify(workload).length).toBeLessThan(1_000);
  });

  it('finds the pods of what has a selector, and none of a CronJob', () => {
    expect(read('Deployment').podSelector).toBe('app=web');
    expect(read('StatefulSet').podSelector).toBe('app=web');
    expect(read('DaemonSet').podSelector).toBe('app=web');
    expect(read('CronJob').podSelector).toBeUndefined();
  });
});

describe('toWorkload, marks of other tools', () => {
  it.each<{ when: string; given: WorkloadObjectOptions; want: string | undefined }>([
    { when: 'nobody left a mark', given: {}, want: undefined },
    {
      when: "Argo CD's tracking annotation is there",
      given: { annotations: { 'argocd.argoproj.io/tracking-id': 'web:apps/Deployment:shop/web' } },
      want: 'Argo CD',
    },
    {
      when: "Argo CD's own label is there",
      given: { labels: { 'argocd.argoproj.io/instance': 'web' } },
      want: 'Argo CD',
    },
    {
      when: 'Argo CD owns fields',
      given: { managedFields: [ownerOf('argocd-controller', ['f:spec', 'f:replicas'])] },
      want: 'Argo CD',
    },
    {
      when: 'the common instance label is there',
      given: { labels: { 'app.kubernetes.io/instance': 'web' } },
      want: undefined,
    },
    {
      when: 'the common instance label is there and Argo CD owns fields',
      given: {
        labels: { 'app.kubernetes.io/instance': 'web' },
        managedFields: [ownerOf('argocd-controller', ['f:metadata'])],
      },
      want: 'Argo CD',
    },
    {
      when: "Flux's Kustomization labels are there",
      given: {
        labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps', 'kustomize.toolkit.fluxcd.io/namespace': 'flux-system' },
      },
      want: 'Flux',
    },
    {
      when: 'Flux applied it',
      given: { managedFields: [ownerOf('kustomize-controller', ['f:spec'], { operation: 'Apply' })] },
      want: 'Flux',
    },
    {
      when: "Flux's HelmRelease and so Helm's marks are there",
      given: {
        annotations: { 'meta.helm.sh/release-name': 'web', 'meta.helm.sh/release-namespace': 'shop' },
        labels: { 'helm.toolkit.fluxcd.io/name': 'web', 'app.kubernetes.io/managed-by': 'Helm' },
        managedFields: [ownerOf('helm-controller', ['f:spec'])],
      },
      want: 'Flux',
    },
    {
      when: "Helm's annotation is there",
      given: { annotations: { 'meta.helm.sh/release-name': 'web' } },
      want: 'Helm',
    },
    { when: 'Helm owns fields', given: { managedFields: [ownerOf('helm', ['f:spec'])] }, want: 'Helm' },
    {
      when: 'kubectl and Slipway own fields',
      given: { managedFields: [ownerOf('kubectl-client-side-apply', ['f:spec']), ownerOf('slipway', ['f:spec'])] },
      want: undefined,
    },
    {
      when: 'a manager only sounds like one',
      given: { managedFields: [ownerOf('helmsman', ['f:spec'])] },
      want: undefined,
    },
  ])('finds $want when $when', ({ given, want }) => {
    expect(read('Deployment', given).managedBy?.tool).toBe(want);
  });

  it('quotes the mark', () => {
    expect(read('Deployment', { annotations: { 'meta.helm.sh/release-name': 'web' } }).managedBy?.mark).toBe(
      'annotation meta.helm.sh/release-name',
    );
  });
});

describe('toSelectorString', () => {
  it.each([
    { given: undefined, want: undefined },
    { given: {}, want: undefined },
    { given: { matchLabels: {} }, want: undefined },
    { given: { matchLabels: { app: 'web', tier: 'front' } }, want: 'app=web,tier=front' },
    { given: { matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'b'] }] }, want: 'app in (a,b)' },
    { given: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] }, want: 'app notin (a)' },
    { given: { matchExpressions: [{ key: 'app', operator: 'Exists' }] }, want: 'app' },
    { given: { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] }, want: '!app' },
    {
      given: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'canary', operator: 'DoesNotExist' }] },
      want: 'app=web,!canary',
    },
  ])('writes $given as $want', ({ given, want }) => {
    expect(toSelectorString(given)).toBe(want);
  });
});
