// Whether a rollout may start at this hour.

import { toTimestamp } from '../time/duration.ts';
import { open, waiting, type Gate } from './gate.ts';

export const window: Gate = {
  name: 'window',
  judge: ({ window: answer }) => {
    if (answer === undefined) return open('rollouts may start at any time');
    if (!answer.isOpen) return waiting('WindowShut', answer.because, answer.opensMs ?? answer.againMs);
    return answer.untilMs === undefined
      ? open('inside an allowed window')
      : open(`inside an allowed window, until ${toTimestamp(answer.untilMs)}`, answer.untilMs);
  },
};
