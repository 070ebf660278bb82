// The operator is killed before and after its writes, and another process takes over; conflicts, refusals, lost answers and
// silent watches come in between. Whatever happens, the story ends as if nothing had, and the monitor finds no broken
// promise. This is a sample; `make test-faults` plays every write of every scenario.

import { describe, expect, it, jest } from '@jest/globals';
import { runFaults } from '../../faults/run.ts';

jest.setTimeout(300_000);

describe('a fault at any write of a rollout', () => {
  it('changes nothing of its end', async () => {
    const { struck, violations } = await runFaults({
      atOnce: 3,
      withStorms: false,
      sample: ({ scenario, index }) =>
        scenario === 'forward' ? true : ['undo', 'pin', 'release'].includes(scenario) && index % 7 === 3,
    });

    expect(violations).toEqual([]);
    expect(struck).toBeGreaterThanOrEqual(16);
  });
});
