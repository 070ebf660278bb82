// CronJobs. Nothing runs between two runs, so a change is proven only by the next one.
// @see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/

import type { KubeObject } from '../../api/object.ts';
import type { Progress, RawPodTemplate, WorkloadType } from './workload.ts';

interface RawCronJob extends KubeObject {
  readonly spec?: {
    readonly suspend?: boolean;
    readonly jobTemplate?: { readonly spec?: { readonly template?: RawPodTemplate } };
  };
  readonly status?: {
    readonly lastScheduleTime?: string;
    readonly lastSuccessfulTime?: string;
    readonly active?: readonly { readonly name?: string }[];
  };
}

export const cronJob: WorkloadType<RawCronJob> = {
  kind: 'CronJob',
  group: 'batch',
  version: 'v1',
  plural: 'cronjobs',
  templatePath: ['spec', 'jobTemplate', 'spec', 'template'],
  template: (raw) => raw.spec?.jobTemplate?.spec?.template,
  podSelector: () => undefined,
  details: ({ spec, status }) => ({
    ...(spec?.suspend === true && { isSuspended: true }),
    runs: [
      status?.lastScheduleTime,
      status?.lastSuccessfulTime,
      ...(status?.active ?? []).map(({ name }) => name),
    ].join(' '),
  }),
  progress: ({ spec }): Progress => ({
    kind: 'idle',
    message: spec?.suspend === true ? 'the CronJob is suspended' : 'the next run of the CronJob takes the new image',
  }),
};
