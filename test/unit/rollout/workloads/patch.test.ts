// The patch is applied here as an API server would, so that the tests say what it does and when it is refused, not how
// it is written.

import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { WORKLOAD_KINDS, type BuiltInKind } from '../../../../operator/api/image-policy.ts';
import { workloadTypes } from '../../../../operator/rollout/workloads/index.ts';
import { imagePatch, releasePatch, type PatchOperation } from '../../../../operator/rollout/workloads/patch.ts';
import { toWorkload } from '../../../../operator/rollout/workloads/workload.ts';
import { FROM_IMAGE, rolloutTarget, TO_IMAGE } from '../../../support/builders/rollouts.ts';
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

/** RFC 6902, the four operations in use. Throws when a test fails or a path is not there. */
function apply(object: WorkloadObject, operations: readonly PatchOperation[]): WorkloadObject {
  const root = structuredClone(object) as unknown as Record<string, unknown>;
  for (const operation of operations) {
    const parts = operation.path
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = parts.pop()!;
    let parent: Record<string, unknown> = root;
    for (const part of parts) {
      if (typeof parent[part] !== 'object') throw new Error(`${operation.path} is not there`);
      parent = parent[part] as Record<string, unknown>;
    }
    const isThere = Object.hasOwn(parent, last);
    if (operation.op !== 'add' && !isThere) throw new Error(`${operation.path} is not there`);
    if (operation.op === 'test') {
      if (!isDeepStrictEqual(parent[last], operation.value)) throw new Error(`${operation.path} is not as expected`);
    } else if (operation.op === 'remove') Reflect.deleteProperty(parent, last);
    else parent[last] = operation.value;
  }
  return root as unknown as WorkloadObject;
}

const target = rolloutTarget({
  containers: [
    { name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE },
    { name: 'migrate', init: true, from: FROM_IMAGE, to: TO_IMAGE },
  ],
});
const images: WorkloadObjectOptions = {
  initContainers: { fetch: 'curl:8', migrate: FROM_IMAGE },
  containers: { proxy: 'envoy:1', web: FROM_IMAGE },
};

function patchOf(kind: BuiltInKind, raw: WorkloadObject): PatchOperation[] {
  const type = workloadTypes[kind];
  return imagePatch(type, target, toWorkload(type, raw), 'web-4');
}

/** Container → image after the patch. */
function imagesOf(kind: BuiltInKind, raw: WorkloadObject): Record<string, string> {
  return Object.fromEntries(toWorkload(workloadTypes[kind], raw).containers.map(({ name, image }) => [name, image]));
}

describe('imagePatch', () => {
  it.each(WORKLOAD_KINDS.map((kind) => ({ kind })))(
    'changes the images of the named containers of a $kind, the mark, and nothing else',
    ({ kind }) => {
      const raw = build[kind]({ ...images, annotations: { team: 'shop' } });

      const patched = apply(raw, patchOf(kind, raw));

      expect(imagesOf(kind, patched)).toEqual({ fetch: 'curl:8', migrate: TO_IMAGE, proxy: 'envoy:1', web: TO_IMAGE });
      expect(patched.metadata.annotations).toEqual({ team: 'shop', 'slipway.dev/rollout': 'web-4' });
      const undone = JSON.parse(JSON.stringify(patched).replaceAll(TO_IMAGE, FROM_IMAGE)) as WorkloadObject;
      expect(undone).toEqual({ ...raw, metadata: { ...raw.metadata, annotations: patched.metadata.annotations } });
    },
  );

  it.each([
    { when: 'there are no annotations', annotations: undefined },
    { when: 'the map of annotations is empty', annotations: {} },
    { when: 'the mark of a finished rollout is left', annotations: { 'slipway.dev/rollout': 'web-3' } },
  ])('sets the mark when $when', ({ annotations }) => {
    const raw = deploymentObject({ ...images, ...(annotations && { annotations }) });

    expect(apply(raw, patchOf('Deployment', raw)).metadata.annotations).toEqual({ 'slipway.dev/rollout': 'web-4' });
  });

  it('leaves alone what is where it should be', () => {
    const raw = deploymentObject({ initContainers: { migrate: TO_IMAGE }, containers: { web: FROM_IMAGE } });

    const operations = patchOf('Deployment', raw);

    expect(operations.map(({ path }) => path).filter((path) => path.includes('initContainers'))).toEqual([]);
    expect(imagesOf('Deployment', apply(raw, operations))).toEqual({ migrate: TO_IMAGE, web: TO_IMAGE });
  });

  it.each<{ when: string; changed: WorkloadObjectOptions }>([
    { when: 'anything at all was changed', changed: { ...images, resourceVersion: '1001' } },
    {
      when: 'the image was changed',
      changed: { ...images, containers: { proxy: 'envoy:1', web: 'ghcr.io/acme/web:hotfix' } },
    },
    {
      when: 'another container took its place',
      changed: { ...images, containers: { proxy: 'envoy:1', other: FROM_IMAGE } },
    },
    {
      when: 'the containers changed places',
      changed: { ...images, containers: { web: FROM_IMAGE, proxy: 'envoy:1' } },
    },
    { when: 'the container is gone', changed: { ...images, containers: { proxy: 'envoy:1' } } },
    { when: 'the init containers are gone', changed: { containers: { proxy: 'envoy:1', web: FROM_IMAGE } } },
  ])('is refused when $when since it was read', ({ changed }) => {
    const operations = patchOf('Deployment', deploymentObject(images));

    expect(() => apply(deploymentObject(changed), operations)).toThrow();
  });

  it('cannot overwrite an image that was neither from nor to when it was read', () => {
    const raw = deploymentObject({ ...images, containers: { proxy: 'envoy:1', web: 'ghcr.io/acme/web:hotfix' } });

    expect(() => apply(raw, patchOf('Deployment', raw))).toThrow(/not as expected/);
  });
});

describe('releasePatch', () => {
  it('takes the mark off and leaves every other annotation', () => {
    const raw = deploymentObject({ annotations: { 'slipway.dev/rollout': 'web-4', team: 'shop' } });

    expect(apply(raw, releasePatch('web-4')).metadata.annotations).toEqual({ team: 'shop' });
  });

  it.each([
    { annotations: undefined },
    { annotations: { team: 'shop' } },
    { annotations: { 'slipway.dev/rollout': 'web-5' } },
  ])('is refused for $annotations', ({ annotations }) => {
    const raw = deploymentObject(annotations === undefined ? {} : { annotations });

    expect(() => apply(raw, releasePatch('web-4'))).toThrow();
  });
});
