// Whether the next attempt is due, after one that failed for the sake of the environment.

import { MAX_ATTEMPTS } from '../api/image-rollout.ts';
import { toTimestamp } from '../time/duration.ts';
import { open, waiting, type Gate } from './gate.ts';

export const retry: Gate = {
  name: 'retry',
  judge: ({ retry: again, nowMs }) => {
    if (again === undefined) return open('no earlier attempt failed');
    const { rollout, attempt, dueMs } = again;
    const which = `attempt ${attempt} of ${MAX_ATTEMPTS}, after ${rollout} failed for reasons outside of the image`;
    return dueMs <= nowMs
      ? open(which)
      : waiting('RetryPending', `${which}: it starts at ${toTimestamp(dueMs)}`, dueMs);
  },
};
