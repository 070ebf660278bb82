// The checks that `rollout.verify` can ask for. To add one: a file beside this one, a line here, a member in the schema.

import type { ImageRolloutSpec } from '../../api/image-rollout.ts';
import type { Check } from './check.ts';
import { httpCheck, type HttpCheckDeps } from './http.ts';
import { jobCheck, type JobCheckDeps } from './job.ts';
import { prometheusCheck, type PrometheusServer } from './prometheus.ts';

export interface CheckDeps {
  /** Fenced: it creates Jobs. */
  readonly client: HttpCheckDeps['client'] & JobCheckDeps['client'];
  /** Undefined: the operator's configuration names none. */
  readonly prometheus: PrometheusServer | undefined;
}

/** In the order of `verify`. */
export function createChecks(verify: NonNullable<ImageRolloutSpec['settings']['verify']>, deps: CheckDeps): Check[] {
  return verify.map(({ http, job, prometheus }, index): Check => {
    if (http !== undefined) return httpCheck(http, deps);
    if (job !== undefined) return jobCheck(job, index, deps);
    if (prometheus !== undefined) return prometheusCheck(prometheus, deps.prometheus);
    return { run: () => Promise.resolve({ kind: 'unknown', message: 'a check of an unknown kind' }) };
  });
}
