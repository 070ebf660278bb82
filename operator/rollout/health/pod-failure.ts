// Why one pod does not run its image, and whose fault that is. What can only be the image's is told from what the cluster
// around it did: no node, no quota, no volume, no answer from the registry.
// @see https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/

import type { ContainerStatus, Pod } from './pod.ts';

export interface PodFailure {
  readonly class: 'Image' | 'Environment';
  readonly reason: string;
  /** In the pod's own words, without what changes from minute to minute. */
  readonly message: string;
  /** Waiting longer would not help. */
  readonly isDefinite: boolean;
}

/** A container that ended this often will not come up by itself. */
const MAX_RESTARTS = 3;
const MAX_MESSAGE_LENGTH = 512;

/** The cluster ended such a pod, whatever it ran. */
const DISRUPTIONS = new Set([
  'Evicted',
  'Preempting',
  'NodeShutdown',
  'Terminated',
  'NodeLost',
  'Shutdown',
  'NodeAffinity',
]);

/** The registry or the runtime says that there is no such image for this machine. */
const NO_SUCH_IMAGE =
  /manifest unknown|not found|no match(?:ing manifest)? for (?:platform|manifest)|no matching manifest|does not exist|invalid reference format|unsupported manifest|exec format error|wrong architecture/i;
/** The runtime or the kubelet lost the container; how it ended is not known. */
const LOST = new Set(['Unknown', 'ContainerStatusUnknown']);
/** A volume is not as the pod wants it. */
const CANNOT_MOUNT = /error mounting|failed to generate .*spec|failed to stat|volume-subpath/i;
/** The image cannot be started: its command is not there, or not for this machine. */
const CANNOT_START =
  /exec format error|executable file not found|no such file or directory|permission denied|is a directory|stat .*: no such|exec: /i;

/** Whether the cluster took the pod down: that says nothing about the image. */
export function isDisrupted({ metadata, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined) return true;
  if (status?.reason !== undefined && DISRUPTIONS.has(status.reason)) return true;
  return status?.conditions?.some(({ type, status: is }) => type === 'DisruptionTarget' && is === 'True') === true;
}

/**
 * What is wrong with the pod, as far as the named (init) containers are concerned; undefined when nothing is. With
 * `sinceMs`, a restart after that moment counts even if the container is up again.
 */
export function findPodFailure(pod: Pod, containers: readonly string[], sinceMs?: number): PodFailure | undefined {
  const { metadata, status } = pod;
  const statuses = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  let weaker: PodFailure | undefined;
  for (const container of statuses) {
    if (!containers.includes(container.name)) continue;
    const failure = findContainerFailure(container, sinceMs);
    if (failure === undefined) continue;
    const quoted = quote(failure, `container ${container.name} of pod ${metadata.name}`);
    if (quoted.class === 'Image' && quoted.isDefinite) return quoted;
    weaker ??= quoted;
  }
  return weaker ?? findPlacementFailure(pod) ?? findUnready(pod, statuses, containers);
}

function quote(failure: PodFailure, where: string): PodFailure {
  return { ...failure, message: `${where}: ${failure.message}`.slice(0, MAX_MESSAGE_LENGTH).toWellFormed() };
}

function findContainerFailure(
  { state, lastState, restartCount = 0 }: ContainerStatus,
  sinceMs: number | undefined,
): PodFailure | undefined {
  const waiting = state?.waiting;
  const ended = state?.terminated ?? lastState?.terminated;
  const exit = describeExit(ended);
  const isOom = ended?.reason === 'OOMKilled';
  if (sinceMs !== undefined && exit !== undefined && Date.parse(lastState?.terminated?.finishedAt ?? '') >= sinceMs) {
    const reason = isOom ? 'OOMKilled' : 'RestartedWhileSoaking';
    return { class: 'Image', reason, message: `${reason}: ${exit}`, isDefinite: true };
  }
  switch (waiting?.reason) {
    case undefined:
    case 'ContainerCreating':
    case 'PodInitializing':
      break;
    case 'CrashLoopBackOff': {
      const reason = isOom ? 'OOMKilled' : 'CrashLoopBackOff';
      const isDefinite = restartCount >= MAX_RESTARTS || CANNOT_START.test(ended?.message ?? '');
      return { class: 'Image', reason, message: exit === undefined ? reason : `${reason}: ${exit}`, isDefinite };
    }
    case 'ErrImagePull':
    case 'ImagePullBackOff':
      return describePull(waiting.reason, waiting.message);
    case 'InvalidImageName':
      return {
        class: 'Image',
        reason: 'InvalidImageName',
        message: waiting.message ?? 'InvalidImageName',
        isDefinite: true,
      };
    case 'RunContainerError':
    case 'CreateContainerError':
    case 'StartError': {
      const message = `${waiting.reason}: ${waiting.message ?? exit ?? 'no message'}`;
      const isImage = CANNOT_START.test(message) && !CANNOT_MOUNT.test(message);
      return { class: isImage ? 'Image' : 'Environment', reason: waiting.reason, message, isDefinite: isImage };
    }
    default:
      return {
        class: 'Environment',
        reason: waiting?.reason ?? 'Waiting',
        message: `${waiting?.reason ?? 'Waiting'}: ${waiting?.message ?? 'no message'}`,
        isDefinite: false,
      };
  }
  // Between an exit and the next start there is no waiting reason yet.
  if (state?.terminated !== undefined && exit !== undefined) {
    const reason = isOom ? 'OOMKilled' : (state.terminated.reason ?? 'Error');
    const isDefinite = restartCount >= MAX_RESTARTS || state.terminated.reason === 'StartError';
    return { class: 'Image', reason, message: exit, isDefinite };
  }
  if (exit !== undefined && restartCount >= MAX_RESTARTS && state?.running === undefined)
    return { class: 'Image', reason: isOom ? 'OOMKilled' : 'CrashLoopBackOff', message: exit, isDefinite: true };
  return undefined;
}

/** Undefined for a container that ended well, or never ended. */
function describeExit(ended: NonNullable<ContainerStatus['state']>['terminated']): string | undefined {
  if (ended === undefined || LOST.has(ended.reason ?? '') || (ended.exitCode === 0 && ended.reason === 'Completed'))
    return undefined;
  const message = ended.message?.trim();
  const why = message === undefined || message === '' ? '' : `: ${message}`;
  return `${ended.reason ?? 'ended'} with exit code ${ended.exitCode ?? 'unknown'}${why}`;
}

function describePull(reason: string, text = ''): PodFailure {
  // "Back-off pulling image …" says nothing that its cause, which newer kubelets append, does not.
  const cause = text.replace(/^Back-off pulling image "[^"]*": (?:ErrImagePull: )?/, '').trim();
  // Names may have any number in them.
  const words = cause.replaceAll(/"[^"]*"|\S*\/\S*/g, '');
  const isImage =
    NO_SUCH_IMAGE.test(words) && !/\b(?:401|403|unauthorized|denied|forbidden|429|50[0-9])\b/i.test(words);
  return {
    class: isImage ? 'Image' : 'Environment',
    // One word for both states, between which the kubelet goes back and forth.
    reason: 'ImagePullBackOff',
    message: `the image cannot be pulled: ${cause === '' ? reason : cause}`,
    isDefinite: isImage,
  };
}

function findPlacementFailure({ metadata, status }: Pod): PodFailure | undefined {
  const unscheduled = status?.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  if (unscheduled !== undefined) {
    return quote(
      {
        class: 'Environment',
        reason: 'Unschedulable',
        message: unscheduled.message ?? unscheduled.reason ?? 'no reason given',
        isDefinite: false,
      },
      `pod ${metadata.name} cannot be scheduled`,
    );
  }
  if (status?.phase === 'Unknown') {
    return quote(
      { class: 'Environment', reason: 'NodeLost', message: 'its node does not answer', isDefinite: false },
      `pod ${metadata.name}`,
    );
  }
  return undefined;
}

/** Running, and its probes say no. */
function findUnready(
  { metadata, status }: Pod,
  statuses: readonly ContainerStatus[],
  containers: readonly string[],
): PodFailure | undefined {
  const unready = statuses.find(
    ({ name, ready, state }) => containers.includes(name) && ready === false && state?.running !== undefined,
  );
  if (unready === undefined) return undefined;
  const condition = status?.conditions?.find(({ type, status: is }) => type === 'ContainersReady' && is === 'False');
  const what = unready.started === false ? 'has not passed its startup probe' : 'is running and not ready';
  return quote(
    {
      class: 'Image',
      reason: 'Unready',
      message: `${what}${condition?.message === undefined ? '' : ` (${condition.message})`}`,
      isDefinite: false,
    },
    `container ${unready.name} of pod ${metadata.name}`,
  );
}
