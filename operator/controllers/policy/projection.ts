// Policies as the caches hold them: defaults filled in, and what a stored object may violate (it may be older than the
// CRD) found before anything relies on it.

import { imagePolicySpec } from '../../api/image-policy.ts';
import type { ImagePolicy } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';

export interface CachedPolicy extends ImagePolicy {
  /** Why the stored spec does not fit its schema. Absent when it does; otherwise the policy has no targets. */
  readonly specProblem?: string;
}

/** Drops managedFields and fills in defaults. */
export function projectPolicy(raw: KubeObject): CachedPolicy {
  const { managedFields: _, ...metadata } = raw.metadata;
  const policy = raw as ImagePolicy;
  const parsed = imagePolicySpec.safeParse(policy.spec);
  if (parsed.success) return { ...policy, metadata, spec: parsed.data };
  const issue = parsed.error.issues[0];
  return {
    ...policy,
    metadata,
    spec: { ...policy.spec, targets: [], suspend: true },
    specProblem: `spec.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'does not fit the schema'}`,
  };
}
