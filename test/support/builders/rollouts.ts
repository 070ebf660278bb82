// ImageRollouts: the move of `ghcr.io/acme/web` from 1.0.0 to 1.1.0 unless a test says otherwise.

import type {
  ImageRolloutSpec,
  ImageRolloutStatus,
  RolloutState,
  RolloutTarget,
  RolloutTargetStatus,
} from '../../../operator/api/image-rollout.ts';
import { API_GROUP_VERSION, type ImageRollout } from '../../../operator/api/kinds.ts';
import type { ObjectMeta } from '../../../operator/api/object.ts';
import { candidate } from './images.ts';

export const FROM_IMAGE = 'ghcr.io/acme/web:1.0.0';
export const TO_IMAGE = candidate('1.1.0').image;

/** One target: the container `web` of a Deployment. The UID is that of the builders of workloads. */
export function rolloutTarget(options: Partial<RolloutTarget> = {}): RolloutTarget {
  const { name = 'web' } = options;
  return {
    kind: 'Deployment',
    name,
    uid: `uid-of-${name}`,
    containers: [{ name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE }],
    ...options,
  };
}

export function rolloutSpec(options: Partial<ImageRolloutSpec> = {}): ImageRolloutSpec {
  const { tag, digest } = candidate('1.1.0');
  return {
    policy: { name: 'web', uid: 'uid-of-policy-web', generation: 1 },
    direction: 'Forward',
    trigger: 'NewTag',
    images: [{ image: 'ghcr.io/acme/web', tag, digest }],
    targets: [rolloutTarget()],
    attempt: 1,
    settings: { progressDeadline: '10m', soak: '0s', onFailure: 'RollBack', atomic: true },
    decision: { time: '2026-01-05T08:00:00Z', message: '1.1.0 is the highest version in 1.x', gates: [] },
    ...options,
  };
}

export interface ImageRolloutOptions {
  /** The number at the end of the name. */
  readonly number?: number;
  readonly metadata?: Partial<ObjectMeta>;
  readonly spec?: Partial<ImageRolloutSpec>;
  readonly status?: ImageRolloutStatus;
}

export function imageRollout(options: ImageRolloutOptions = {}): ImageRollout {
  const spec = rolloutSpec(options.spec);
  const name = `${spec.policy.name}-${options.number ?? 1}`;
  return {
    apiVersion: API_GROUP_VERSION,
    kind: 'ImageRollout',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-of-rollout-${name}`,
      resourceVersion: '1000',
      generation: 1,
      creationTimestamp: '2026-01-05T08:00:00Z',
      ...options.metadata,
    },
    spec,
    ...(options.status !== undefined && { status: options.status }),
  };
}

/** A status whose targets all stand in the same state. */
export function rolloutStatus(
  state: RolloutState,
  targetState: RolloutTargetStatus['state'],
  options: {
    readonly spec?: ImageRolloutSpec;
    readonly status?: Partial<ImageRolloutStatus>;
    readonly target?: Partial<RolloutTargetStatus>;
  } = {},
): ImageRolloutStatus {
  const { targets } = options.spec ?? rolloutSpec();
  return {
    state,
    targets: targets.map(({ kind, name }) => ({ kind, name, state: targetState, ...options.target })),
    ...options.status,
  };
}
