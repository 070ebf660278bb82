// What a workload and its pods together say about the image they should run. Pods with another image, pods that the cluster
// took down and containers whose image did not change say nothing about it.

import { parseTimestampMs } from '../../time/duration.ts';
import type { Workload } from '../workloads/workload.ts';
import { findPodFailure, isDisrupted, type PodFailure } from './pod-failure.ts';
import { runsImages, type Job, type Pod, type WantedImages } from './pod.ts';

/** How one target stands with the image it should run. */
export type TargetHealth =
  | { readonly kind: 'healthy' }
  /** On its way, and nobody complains. */
  | { readonly kind: 'progressing'; readonly message: string }
  /** paused: told not to move. idle: nothing runs, so nothing can be proven. */
  | { readonly kind: 'paused' | 'idle'; readonly message: string }
  /** A CronJob before its next run. */
  | { readonly kind: 'awaitingRun'; readonly message: string }
  /** A CronJob whose run is on: the deadline counts from its start. */
  | {
      readonly kind: 'running';
      readonly message: string;
      readonly startTimeMs: number;
      /** What its pods complain about; it counts when the deadline is over. Absent: nothing. */
      readonly failure?: PodFailure;
    }
  | {
      readonly kind: 'failing';
      readonly class: 'Image' | 'Environment';
      /** A stable word for programs, for example CrashLoopBackOff. */
      readonly reason: string;
      readonly message: string;
      /** There is no need to wait for the deadline. */
      readonly isDefinite: boolean;
    };

export interface HealthInput {
  /** Live, with its progress. */
  readonly workload: Workload;
  /** The image that each changed container must run now, by the container's name. */
  readonly images: WantedImages;
  /** Those that its selector finds; for a CronJob, those of its runs. */
  readonly pods: readonly Pod[];
  /** The Jobs of a CronJob. Absent for everything else. */
  readonly jobs?: readonly Job[];
  /** When the image was written, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Since when the rollout soaks. Absent while it does not. */
  readonly soakSinceMs?: number;
}

/** How a target stands with its image. The order of pods and Jobs does not matter. */
export function judgeTarget(input: HealthInput): TargetHealth {
  const { workload, images, pods, jobs, soakSinceMs } = input;
  if (jobs !== undefined) return judgeRuns(input, jobs);
  const { progress } = workload;
  const failure = worstFailure(pods, images, soakSinceMs);
  const isSound = failure === undefined || (progress.kind === 'healthy' && !failure.isDefinite);
  if (progress.kind === 'idle' || (isSound && progress.kind !== 'progressing')) return progress;
  if (failure !== undefined) return { kind: 'failing', ...failure };
  if (workload.blockedBecause !== undefined)
    return {
      kind: 'failing',
      class: 'Environment',
      reason: 'FailedCreate',
      message: workload.blockedBecause,
      isDefinite: false,
    };
  return progress;
}

/** The image's fault before the environment's, what is definite before what is not, then by the name of the pod. */
function worstFailure(
  pods: readonly Pod[],
  images: WantedImages,
  soakSinceMs: number | undefined,
): PodFailure | undefined {
  const rank = ({ class: failureClass, isDefinite }: PodFailure): number =>
    (failureClass === 'Image' ? 2 : 0) + (isDefinite ? 1 : 0);
  let worst: PodFailure | undefined;
  for (const pod of pods.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
    if (isDisrupted(pod) || !runsImages(pod.spec, images)) continue;
    const failure = findPodFailure(pod, [...images.keys()], soakSinceMs);
    // A pod that an autoscaler has added meanwhile is on its way; only what it surely does wrong counts.
    const isNew = soakSinceMs !== undefined && (parseTimestampMs(pod.metadata.creationTimestamp) ?? 0) >= soakSinceMs;
    if (isNew && failure?.isDefinite === false) continue;
    if (failure !== undefined && (worst === undefined || rank(failure) > rank(worst))) worst = failure;
  }
  return worst;
}

const MAX_TRIES = 3;

/** Whether the CronJob made this Job. */
export function isRunOf({ metadata }: Job, cronJobUid: string): boolean {
  return metadata.ownerReferences?.some(({ uid }) => uid === cronJobUid) === true;
}

/** The first run with the image decides. */
function judgeRuns({ workload, images, pods, sinceMs }: HealthInput, jobs: readonly Job[]): TargetHealth {
  const { progress } = workload;
  const created = ({ metadata }: Job): number => parseTimestampMs(metadata.creationTimestamp) ?? 0;
  const run = jobs
    .filter((job) => isRunOf(job, workload.metadata.uid) && runsImages(job.spec?.template?.spec, images))
    // The API server keeps whole seconds.
    .filter((job) => created(job) >= Math.floor(sinceMs / 1_000) * 1_000)
    .sort((a, b) => created(a) - created(b) || (a.metadata.name < b.metadata.name ? -1 : 1))[0];
  if (run === undefined) {
    const message = progress.kind === 'healthy' ? 'the next run of the CronJob takes the new image' : progress.message;
    return workload.isSuspended === true ? { kind: 'idle', message } : { kind: 'awaitingRun', message };
  }
  const condition = (type: string) => run.status?.conditions?.find((it) => it.type === type && it.status === 'True');
  if (condition('Complete') !== undefined) return { kind: 'healthy' };
  const own = pods.filter(({ metadata }) => metadata.ownerReferences?.some(({ uid }) => uid === run.metadata.uid));
  const failed = condition('Failed');
  const failure = worstFailure(own, images, undefined);
  if (failed !== undefined) {
    return {
      kind: 'failing',
      class: failure?.class ?? 'Image',
      reason: failure?.reason ?? failed.reason ?? 'JobFailed',
      message:
        failure?.message ?? `run ${run.metadata.name} failed: ${failed.message ?? failed.reason ?? 'no message'}`,
      isDefinite: true,
    };
  }
  // Where a Job starts a new pod for each try, the pods are its restarts.
  const tries = own.filter((pod) => findPodFailure(pod, [...images.keys()])?.class === 'Image').length;
  if (failure?.class === 'Image' && (failure.isDefinite || tries >= MAX_TRIES))
    return { kind: 'failing', ...failure, isDefinite: true };
  return {
    kind: 'running',
    message: `run ${run.metadata.name} is on`,
    startTimeMs: parseTimestampMs(run.status?.startTime) ?? created(run),
    ...(failure !== undefined && { failure }),
  };
}
