// Runs a Job in the namespace of the rollout, once: its name is the rollout's, so a second try finds the first.

import type { ImageRolloutSpec } from '../../api/image-rollout.ts';
import { API_GROUP_VERSION } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { defineResource } from '../../kube/resource.ts';
import type { Check, CheckedRollout, CheckOutcome } from './check.ts';

type Verify = NonNullable<ImageRolloutSpec['settings']['verify']>[number];

interface Container {
  readonly name?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
}

interface Job extends KubeObject {
  readonly spec?: object;
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

interface JobTemplate {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: {
    readonly backoffLimit?: number;
    readonly ttlSecondsAfterFinished?: number;
    readonly template?: { readonly spec?: { readonly containers?: readonly Container[] } };
  };
}

const jobs = defineResource<Job>({ group: 'batch', version: 'v1', kind: 'Job', plural: 'jobs' });
const TTL_SECONDS = 3_600;
/** As the other checks, it has to say no three times: behind a Service, a pod on its way out may have answered the first. */
const RETRIES = 2;

export interface JobCheckDeps {
  /** Fenced: it creates the Job. */
  readonly client: Pick<KubeClient, 'get' | 'create'>;
}

/** `index`: its place in `settings.verify`. */
export function jobCheck(job: NonNullable<Verify['job']>, index: number, { client }: JobCheckDeps): Check {
  return {
    async run(rollout, signal): Promise<CheckOutcome> {
      const key = { namespace: rollout.namespace, name: jobName(rollout, index) };
      try {
        const found =
          (await client.get(jobs, key, { signal })) ??
          (await client.create(jobs, rollout.namespace, toJob(job.template as JobTemplate, key.name, rollout), {
            signal,
          }));
        return judge(found, rollout);
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        if (error.isAlreadyExists) return { kind: 'pending', message: `Job ${key.name} runs` };
        return { kind: 'unknown', message: `Job ${key.name}: ${error.message}` };
      }
    },
  };
}

/** At most 63 characters, as the names of Jobs have to be. */
function jobName({ name, uid }: CheckedRollout, index: number): string {
  return `${name.slice(0, 40)}-${uid.slice(0, 8)}-verify-${index}`;
}

function judge({ metadata, status }: Job, { uid }: CheckedRollout): CheckOutcome {
  if (metadata.ownerReferences?.some((owner) => owner.uid === uid) !== true)
    return { kind: 'unknown', message: `Job ${metadata.name} is somebody else's: delete it` };
  const condition = (type: string) => status?.conditions?.find((it) => it.type === type && it.status === 'True');
  if (condition('Complete') !== undefined) return { kind: 'passed', message: `Job ${metadata.name} succeeded` };
  const failed = condition('Failed');
  if (failed === undefined) return { kind: 'pending', message: `Job ${metadata.name} runs` };
  return {
    kind: 'failed',
    message: `Job ${metadata.name} failed: ${failed.message ?? 'no message'}`,
    isFinal: true,
  };
}

function toJob(template: JobTemplate, name: string, rollout: CheckedRollout) {
  const { metadata, spec } = template;
  const pod = spec?.template?.spec;
  const env = [
    { name: 'SLIPWAY_TAG', value: rollout.tag ?? '' },
    { name: 'SLIPWAY_DIGEST', value: rollout.digest },
    { name: 'SLIPWAY_ROLLOUT', value: rollout.name },
  ];
  return {
    metadata: {
      name,
      labels: { ...metadata?.labels, 'slipway.dev/rollout': rollout.name },
      ...(metadata?.annotations !== undefined && { annotations: metadata.annotations }),
      ownerReferences: [
        {
          apiVersion: API_GROUP_VERSION,
          kind: 'ImageRollout',
          name: rollout.name,
          uid: rollout.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      backoffLimit: RETRIES,
      ttlSecondsAfterFinished: TTL_SECONDS,
      ...spec,
      template: {
        ...spec?.template,
        spec: {
          restartPolicy: 'Never',
          ...pod,
          containers: (pod?.containers ?? []).map((container) => ({
            ...container,
            env: [
              ...(container.env ?? []),
              ...env.filter((added) => container.env?.some((own) => own.name === added.name) !== true),
            ],
          })),
        },
      },
    },
  };
}
