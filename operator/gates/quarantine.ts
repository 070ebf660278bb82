// Whether the candidate has failed here before: what is in quarantine never rolls out again by itself.

import { closed, open, type Gate } from './gate.ts';

export const quarantine: Gate = {
  name: 'quarantine',
  judge: ({ quarantined }) =>
    quarantined === undefined ? open('it has not failed here') : closed('Quarantined', quarantined),
};
