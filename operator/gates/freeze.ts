// Whether the policy is frozen, because a rollout ended badly and a person has to look first.

import { open, waiting, type Gate } from './gate.ts';

export const freeze: Gate = {
  name: 'freeze',
  bindsPins: true,
  judge: ({ frozen }) => (frozen === undefined ? open('the policy is not frozen') : waiting('Frozen', frozen)),
};
