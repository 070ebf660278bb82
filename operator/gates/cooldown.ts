// Whether enough time has passed since the last rollout.

import { toTimestamp } from '../time/duration.ts';
import { open, waiting, type Gate } from './gate.ts';

export const cooldown: Gate = {
  name: 'cooldown',
  judge: ({ cooldownUntilMs, nowMs }) =>
    cooldownUntilMs === undefined || cooldownUntilMs <= nowMs
      ? open('no cooldown is on')
      : waiting(
          'CoolingDown',
          `rollout.cooldown: the next rollout may start at ${toTimestamp(cooldownUntilMs)}`,
          cooldownUntilMs,
        ),
};
