// Pods as the kubelet reports them: running and ready unless a test says otherwise.

import type { ContainerStatus, Pod } from '../../../operator/rollout/health/pod.ts';

export interface PodOptions {
  readonly name?: string;
  /** Image of the container `web`. */
  readonly image?: string;
  readonly container?: Partial<ContainerStatus>;
  /** Image of a second container, `sidecar`, and how it is. */
  readonly sidecar?: Partial<ContainerStatus>;
  readonly metadata?: Partial<Pod['metadata']>;
  readonly status?: Partial<NonNullable<Pod['status']>>;
}

export function pod({
  name = 'web-1',
  image = 'ghcr.io/acme/web:1.1.0',
  container,
  sidecar,
  metadata,
  status,
}: PodOptions = {}): Pod {
  const running: Omit<ContainerStatus, 'name'> = { image, ready: true, restartCount: 0, state: { running: {} } };
  return {
    metadata: { name, uid: `uid-of-${name}`, ...metadata },
    spec: {
      containers: [{ name: 'web', image }, ...(sidecar === undefined ? [] : [{ name: 'sidecar', image: 'envoy:1' }])],
    },
    status: {
      phase: 'Running',
      containerStatuses: [
        { ...running, ...container, name: 'web' },
        ...(sidecar === undefined ? [] : [{ ...running, ...sidecar, name: 'sidecar' }]),
      ],
      ...status,
    },
  };
}

/** A container that ended with this code and is about to be started again. */
export function crashLoop(restartCount = 5, message = 'no database'): Partial<ContainerStatus> {
  return {
    ready: false,
    restartCount,
    state: {
      waiting: { reason: 'CrashLoopBackOff', message: `back-off ${restartCount}0s restarting failed container` },
    },
    lastState: { terminated: { exitCode: 3, reason: 'Error', message, finishedAt: '2026-01-05T08:00:30Z' } },
  };
}

export function waitingFor(reason: string, message?: string): Partial<ContainerStatus> {
  return { ready: false, state: { waiting: { reason, ...(message !== undefined && { message }) } } };
}
