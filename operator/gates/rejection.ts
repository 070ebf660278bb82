// Whether a person rejected the candidate.

import { closed, open, type Gate } from './gate.ts';

export const rejection: Gate = {
  name: 'rejection',
  judge: ({ rejected }) => (rejected === undefined ? open('nobody rejected it') : closed('Rejected', rejected)),
};
