// The workload kinds that Slipway can move. To add one: a file beside this one, a line here.

import type { BuiltInKind } from '../../api/image-policy.ts';
import { cronJob } from './cron-job.ts';
import { daemonSet } from './daemon-set.ts';
import { deployment } from './deployment.ts';
import { statefulSet } from './stateful-set.ts';
import type { WorkloadType } from './workload.ts';

export const workloadTypes: Readonly<Record<BuiltInKind, WorkloadType>> = {
  Deployment: deployment,
  StatefulSet: statefulSet,
  DaemonSet: daemonSet,
  CronJob: cronJob,
};
