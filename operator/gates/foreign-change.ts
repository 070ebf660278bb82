// Whether somebody else set an image that Slipway stands back from.

import { open, waiting, type Gate } from './gate.ts';

export const foreignChange: Gate = {
  name: 'foreign-change',
  bindsPins: true,
  judge: ({ holds }) =>
    holds.length > 0 ? waiting('ManualHold', holds.join('; ')) : open('nobody else changed the image'),
};
