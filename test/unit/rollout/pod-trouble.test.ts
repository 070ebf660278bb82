import { describe, expect, it } from '@jest/globals';
import { describePodTrouble, type TroubledContainer, type TroubledPod } from '../../../operator/rollout/pod-trouble.ts';

type State = NonNullable<TroubledContainer['state']>;

const web = (state: State, lastState?: TroubledContainer['lastState']): TroubledContainer => ({
  name: 'web',
  state,
  ...(lastState && { lastState }),
});
const pod = (...containerStatuses: TroubledContainer[]): TroubledPod => ({
  metadata: { name: 'web-1' },
  status: { phase: 'Pending', containerStatuses },
});
const crashed = { terminated: { reason: 'Error', exitCode: 1, message: 'panic: no DATABASE_URL\n' } };

describe('describePodTrouble', () => {
  it.each<{ when: string; given: TroubledContainer; want: string | undefined }>([
    { when: 'it runs', given: web({ running: {} }), want: undefined },
    { when: 'it has no state yet', given: { name: 'web' }, want: undefined },
    { when: 'it is being created', given: web({ waiting: { reason: 'ContainerCreating' } }), want: undefined },
    { when: 'init containers run before it', given: web({ waiting: { reason: 'PodInitializing' } }), want: undefined },
    {
      when: 'its image cannot be pulled',
      given: web({ waiting: { reason: 'ErrImagePull', message: 'manifest unknown' } }),
      want: 'ErrImagePull: manifest unknown',
    },
    {
      when: 'its image name is invalid',
      given: web({ waiting: { reason: 'InvalidImageName' } }),
      want: 'InvalidImageName',
    },
    {
      when: 'a Secret is missing',
      given: web({ waiting: { reason: 'CreateContainerConfigError', message: 'secret "db" not found' } }),
      want: 'CreateContainerConfigError: secret "db" not found',
    },
    {
      when: 'it crashes and waits, without the back-off that changes every time',
      given: web(
        { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s restarting failed container=web' } },
        crashed,
      ),
      want: 'CrashLoopBackOff: Error with exit code 1: panic: no DATABASE_URL',
    },
    {
      when: 'it crashed earlier and now its image cannot be pulled',
      given: web({ waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image' } }, crashed),
      want: 'ImagePullBackOff: Back-off pulling image',
    },
    {
      when: 'it crashes and nothing is known of it',
      given: web({ waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } }),
      want: 'CrashLoopBackOff',
    },
    {
      when: 'it has ended in error',
      given: web({ terminated: { reason: 'OOMKilled', exitCode: 137 } }),
      want: 'OOMKilled with exit code 137',
    },
    { when: 'it has ended well', given: web({ terminated: { reason: 'Completed', exitCode: 0 } }), want: undefined },
    { when: 'it runs again after a crash', given: web({ running: {} }, crashed), want: undefined },
  ])('says $want when $when', ({ given, want }) => {
    expect(describePodTrouble([pod(given)], ['web'])).toBe(
      want === undefined ? undefined : `container web of pod web-1: ${want}`,
    );
  });

  it('asks only the containers that changed, init containers as well', () => {
    const sidecar: TroubledContainer = { name: 'proxy', state: { waiting: { reason: 'ErrImagePull' } } };
    const migrate: TroubledContainer = { name: 'migrate', state: { waiting: { reason: 'CrashLoopBackOff' } } };

    expect(describePodTrouble([pod(sidecar)], ['web'])).toBeUndefined();
    expect(
      describePodTrouble(
        [{ metadata: { name: 'web-1' }, status: { initContainerStatuses: [migrate], containerStatuses: [sidecar] } }],
        ['migrate'],
      ),
    ).toBe('container migrate of pod web-1: CrashLoopBackOff');
  });

  it('tells of a pod that cannot be scheduled, unless a container has something to say', () => {
    const unscheduled: TroubledPod = {
      metadata: { name: 'web-2' },
      status: {
        conditions: [
          { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes are available' },
        ],
      },
    };

    expect(describePodTrouble([unscheduled], ['web'])).toBe('pod web-2 cannot be scheduled: 0/3 nodes are available');
    expect(describePodTrouble([unscheduled, pod(web({ waiting: { reason: 'ErrImagePull' } }))], ['web'])).toBe(
      'container web of pod web-1: ErrImagePull',
    );
  });

  it.each([
    { given: [] },
    { given: [{ metadata: { name: 'web-1' } }] },
    { given: [{ metadata: { name: 'web-1' }, status: {} }] },
  ])('has nothing to say of $given', ({ given }) => {
    expect(describePodTrouble(given, ['web'])).toBeUndefined();
  });

  it('is short, whatever a container writes', () => {
    const said = describePodTrouble(
      [pod(web({ waiting: { reason: 'ErrImagePull', message: 'x'.repeat(10_000) } }))],
      ['web'],
    );

    expect(said!.length).toBeLessThanOrEqual(512);
  });
});
