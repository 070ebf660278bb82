// Whether the policy is suspended.

import { open, waiting, type Gate } from './gate.ts';

export const suspension: Gate = {
  name: 'suspension',
  bindsPins: true,
  judge: ({ isSuspended }) =>
    isSuspended
      ? waiting('Suspended', 'the policy is suspended: set spec.suspend to false to go on')
      : open('the policy is not suspended'),
};
