// Whether every workload that would move is free to move.

import { open, waiting, type Gate } from './gate.ts';

export const workload: Gate = {
  name: 'workload',
  bindsPins: true,
  judge: ({ workloads }) => {
    for (const { title, busyWith } of workloads) {
      if (busyWith !== undefined) return waiting('WorkloadBusy', `rollout ${busyWith} is moving ${title}`);
    }
    for (const { title, pausedBecause } of workloads) {
      if (pausedBecause !== undefined) return waiting('WorkloadPaused', `${title}: ${pausedBecause}`);
    }
    return open('every workload is free to move');
  },
};
