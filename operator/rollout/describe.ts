// A rollout's status in words: its conditions, its messages cut to size, and the sentences that several steps share.

import { updateConditions, type ConditionClaim } from '../api/conditions.ts';
import type { ImageRolloutSpec, ImageRolloutStatus, RolloutTarget } from '../api/image-rollout.ts';
import { shortDigest } from '../image/digest.ts';
import { isFinished } from './verdict.ts';
import type { Workload } from './workloads/workload.ts';

const MAX_MESSAGE_LENGTH = 2048;
const MAX_TARGET_MESSAGE_LENGTH = 1024;

/** Adds what follows from the state (conditions and the observed generation) and cuts messages to the schema's size. */
export function describe(
  observation: { readonly generation: number; readonly nowMs: number; readonly status?: ImageRolloutStatus },
  status: ImageRolloutStatus,
): ImageRolloutStatus {
  const message = cut(status.message ?? status.state, MAX_MESSAGE_LENGTH);
  const claims: ConditionClaim[] = [];
  if (status.state === 'Succeeded') claims.push({ type: 'Ready', status: 'True', reason: 'Succeeded', message });
  else claims.push({ type: 'Ready', status: 'False', reason: status.state, message });
  if (!isFinished(status)) claims.push({ type: 'Reconciling', status: 'True', reason: status.state, message });
  else if (status.state !== 'Succeeded')
    claims.push({ type: 'Stalled', status: 'True', reason: status.state, message });
  return {
    ...status,
    message,
    ...(status.targets !== undefined && {
      targets: status.targets.map((target) =>
        target.message === undefined ? target : { ...target, message: cut(target.message, MAX_TARGET_MESSAGE_LENGTH) },
      ),
    }),
    observedGeneration: observation.generation,
    conditions: updateConditions(observation.status?.conditions, claims, observation),
  };
}

/** A cut through the middle of a character would come back changed from the API server. */
function cut(message: string, maxLength: number): string {
  return message.slice(0, maxLength).toWellFormed();
}

export function describeForeign(target: RolloutTarget, live: Workload | undefined): string {
  for (const wanted of target.containers) {
    const container = live?.containers.find(({ name, init }) => name === wanted.name && init === wanted.init);
    if (container === undefined) return `container ${wanted.name} no longer exists`;
    if (container.image !== wanted.to && container.image !== wanted.from) {
      const by = container.imageManagers.length > 0 ? container.imageManagers.join(', ') : 'somebody';
      return `${by} set container ${wanted.name} to ${container.image}`;
    }
  }
  return 'the image was set back to what it was before';
}

export function describeImages(spec: ImageRolloutSpec): string {
  return spec.images
    .map(({ image, tag, digest }) => (tag === undefined ? `${image}@${shortDigest(digest)}` : `${image}:${tag}`))
    .join(', ');
}

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
