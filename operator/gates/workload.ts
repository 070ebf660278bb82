// Whether every workload that would move is free to move.

import { open, type Gate } from './gate.ts';

export const workload: Gate = {
  name: 'workload',
  judge: ({ workloads }) => {
    for (const { title, busyWith } of workloads) {
      if (busyWith !== undefined) {
        return { answer: 'Waiting', reason: 'WorkloadBusy', message: `rollout ${busyWith} is moving ${title}` };
      }
    }
    for (const { title, pausedBecause } of workloads) {
      if (pausedBecause !== undefined) {
        return { answer: 'Waiting', reason: 'WorkloadPaused', message: `${title}: ${pausedBecause}` };
      }
    }
    return open('every workload is free to move');
  },
};
