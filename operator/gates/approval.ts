// Whether enough different people have approved exactly this digest.

import { toTimestamp } from '../time/duration.ts';
import { open, waiting, type Gate } from './gate.ts';

export const approval: Gate = {
  name: 'approval',
  judge: ({ approval: asked }) => {
    if (asked === undefined) return open('no approval is asked for');
    const { required, digests, by } = asked;
    const what = digests.length > 1 ? ` for each of ${digests.join(', ')}` : '';
    const people = by.map(({ person, untilMs }) => `${person} (until ${toTimestamp(untilMs)})`).join(', ');
    // The answer changes when the first one that is needed runs out.
    const untilMs = by.map((given) => given.untilMs).sort((a, b) => b - a)[required - 1];
    if (by.length >= required) return open(`approved by ${people}`, untilMs);
    const soFar = by.length === 0 ? 'nobody has approved it' : `approved by ${people}`;
    const nextMs = by.length === 0 ? undefined : Math.min(...by.map((given) => given.untilMs));
    return waiting(
      'AwaitingApproval',
      `needs the approval of ${required} ${required === 1 ? 'person' : 'people'}${what}, and ${soFar}: kubectl slipway approve`,
      nextMs,
    );
  },
};
