// Whether a GitOps tool or Helm manages a workload and nobody said that Slipway may write the image all the same.

import { open, waiting, type Gate } from './gate.ts';

export const consent: Gate = {
  name: 'consent',
  bindsPins: true,
  judge: ({ workloads }) => {
    const managed = workloads.flatMap(({ title, managed: why }) => (why === undefined ? [] : [`${title}: ${why}`]));
    return managed.length > 0
      ? waiting('ManagedByGitOps', managed.join('; '))
      : open('no other tool manages the image, or rollout.onForeignChange is the consent');
  },
};
