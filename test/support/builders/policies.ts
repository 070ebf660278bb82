// ImagePolicies with the defaults that the API server would fill in.

import { imagePolicySpec, type ImagePolicySpec, type ImagePolicyStatus } from '../../../operator/api/image-policy.ts';
import { API_GROUP_VERSION, type ImagePolicy } from '../../../operator/api/kinds.ts';
import type { ObjectMeta } from '../../../operator/api/object.ts';

export interface ImagePolicyOptions {
  readonly name?: string;
  readonly metadata?: Partial<ObjectMeta>;
  /** As a user writes it; laid over the smallest useful spec. */
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: ImagePolicyStatus;
}

/** A spec as it comes back from the API server: what the user wrote, and the defaults. */
export function policySpec(spec: ImagePolicyOptions['spec'] = {}): ImagePolicySpec {
  return imagePolicySpec.parse({
    image: 'ghcr.io/acme/web',
    tags: { semver: { range: '1.x' } },
    targets: [{ kind: 'Deployment', name: 'web' }],
    ...spec,
  });
}

/** The policy `shop/web`, which follows `ghcr.io/acme/web` 1.x into the Deployment `web`. */
export function imagePolicy(options: ImagePolicyOptions = {}): ImagePolicy {
  const { name = 'web', status } = options;
  return {
    apiVersion: API_GROUP_VERSION,
    kind: 'ImagePolicy',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-of-policy-${name}`,
      resourceVersion: '1000',
      generation: 1,
      creationTimestamp: '2026-01-05T08:00:00Z',
      ...options.metadata,
    },
    spec: policySpec(options.spec),
    ...(status !== undefined && { status }),
  };
}
