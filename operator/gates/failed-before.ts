// Whether a rollout to exactly this digest already failed here. The same bytes are not tried again by themselves.

import { open, type Gate } from './gate.ts';

export const failedBefore: Gate = {
  name: 'failed-before',
  judge: ({ workloads }) => {
    const failed = workloads.find(({ failedRollout }) => failedRollout !== undefined);
    return failed?.failedRollout === undefined
      ? open('no rollout to this digest has failed here')
      : {
          answer: 'Closed',
          reason: 'FailedBefore',
          message:
            `rollout ${failed.failedRollout.name} to this digest failed (${failed.failedRollout.message}): push another tag, or edit the policy to try once more`.slice(
              0,
              1024,
            ),
        };
  },
};
