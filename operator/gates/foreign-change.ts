// Whether somebody else set an image that Slipway stands back from.

import { open, type Gate } from './gate.ts';

export const foreignChange: Gate = {
  name: 'foreign-change',
  judge: ({ holds }) =>
    holds.length > 0
      ? { answer: 'Waiting', reason: 'ManualHold', message: holds.join('; ').slice(0, 1024) }
      : open('nobody else changed the image'),
};
