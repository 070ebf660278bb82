import { describe, expect, it } from '@jest/globals';
import { digestOfPods } from '../../../../operator/controllers/policy/pod-digests.ts';
import type { Pod } from '../../../../operator/controllers/resources.ts';
import type { ContainerStatus } from '../../../../operator/rollout/health/pod.ts';
import { digestOf } from '../../../support/builders/images.ts';

const IMAGE = 'ghcr.io/acme/web:1.0.0';
const OLD = digestOf('old');
const NEW = digestOf('new');

function pod(imageId: string | undefined, more: Partial<NonNullable<Pod['status']>> = {}): Pod {
  const status: ContainerStatus = { name: 'web', ...(imageId !== undefined && { imageID: imageId }) };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-1', uid: 'uid', resourceVersion: '1' },
    spec: { containers: [{ name: 'web', image: IMAGE }] },
    status: { phase: 'Running', containerStatuses: [{ name: 'proxy', imageID: `envoy@${OLD}` }, status], ...more },
  };
}

const at = (digest: string): Pod => pod(`ghcr.io/acme/web@${digest}`);

describe('digestOfPods', () => {
  it.each<{ when: string; pods: Pod[]; want: string | undefined }>([
    { when: 'there is no pod', pods: [], want: undefined },
    { when: 'all agree', pods: [at(NEW), at(NEW)], want: NEW },
    { when: 'they differ', pods: [at(OLD), at(NEW)], want: undefined },
    { when: 'one has not started the container', pods: [at(NEW), pod('')], want: undefined },
    {
      when: 'one has no status of the container',
      pods: [at(NEW), pod(undefined, { containerStatuses: [] })],
      want: undefined,
    },
    {
      when: 'those that differ have ended',
      pods: [at(NEW), pod(`a@${OLD}`, { phase: 'Failed' }), pod('', { phase: 'Succeeded' })],
      want: NEW,
    },
    {
      when: 'one is of an earlier template',
      pods: [at(NEW), { ...at(NEW), spec: { containers: [{ name: 'web', image: 'ghcr.io/acme/web:0.9.0' }] } }],
      want: undefined,
    },
    { when: 'only the digest of the config is known', pods: [pod(NEW)], want: undefined },
    { when: 'the old scheme of Docker is used', pods: [pod(`docker-pullable://ghcr.io/acme/web@${NEW}`)], want: NEW },
    {
      when: 'it is an init container',
      pods: [pod(undefined, { containerStatuses: [], initContainerStatuses: [{ name: 'web', imageID: `a@${NEW}` }] })],
      want: NEW,
    },
  ])('when $when', ({ pods, want }) => {
    expect(digestOfPods(pods, 'web', IMAGE)).toBe(want);
  });
});
