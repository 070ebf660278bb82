// Whether the policy is suspended.

import { open, type Gate } from './gate.ts';

export const suspension: Gate = {
  name: 'suspension',
  judge: ({ isSuspended }) =>
    isSuspended
      ? {
          answer: 'Waiting',
          reason: 'Suspended',
          message: 'the policy is suspended: set spec.suspend to false to go on',
        }
      : open('the policy is not suspended'),
};
