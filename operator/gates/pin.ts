// Whether a pin makes automation wait.

import { open, waiting, type Gate } from './gate.ts';

export const pin: Gate = {
  name: 'pin',
  judge: ({ pinned }) => (pinned === undefined ? open('nothing else is pinned') : waiting('Pinned', pinned)),
};
