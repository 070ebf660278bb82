// What the pods of a workload complain about, in their own words, without the parts that change from minute to minute.

/** A pod, as much of it as matters here. */
export interface TroubledPod {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly TroubledContainer[];
    readonly initContainerStatuses?: readonly TroubledContainer[];
  };
}

export interface TroubledContainer {
  readonly name: string;
  readonly image?: string;
  readonly state?: {
    readonly running?: object;
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
  readonly lastState?: {
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
}

/** Waiting reasons of a pod that is simply on its way. */
const ORDINARY = new Set(['ContainerCreating', 'PodInitializing']);
const MAX_LENGTH = 512;

/**
 * The first complaint among the pods, or undefined. `containers` are the names of the (init) containers that changed; a
 * pod that cannot be scheduled complains as a whole.
 */
export function describePodTrouble(pods: readonly TroubledPod[], containers: readonly string[]): string | undefined {
  for (const { metadata, status } of pods) {
    for (const container of [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]) {
      if (!containers.includes(container.name)) continue;
      const trouble = describeContainer(container);
      if (trouble !== undefined)
        return `container ${container.name} of pod ${metadata.name}: ${trouble}`.slice(0, MAX_LENGTH);
    }
  }
  for (const { metadata, status } of pods) {
    const unscheduled = status?.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
    if (unscheduled !== undefined) {
      return `pod ${metadata.name} cannot be scheduled: ${unscheduled.message ?? unscheduled.reason ?? 'no reason given'}`.slice(
        0,
        MAX_LENGTH,
      );
    }
  }
  return undefined;
}

function describeContainer({ state, lastState }: TroubledContainer): string | undefined {
  const ended = state?.terminated ?? lastState?.terminated;
  const exit =
    ended === undefined || (ended.exitCode === 0 && ended.reason === 'Completed')
      ? undefined
      : `${ended.reason ?? 'ended'} with exit code ${ended.exitCode ?? 'unknown'}${ended.message === undefined ? '' : `: ${ended.message.trim()}`}`;
  const waiting = state?.waiting;
  if (waiting?.reason !== undefined && !ORDINARY.has(waiting.reason)) {
    // "back-off 40s restarting failed container" says nothing that the exit does not, and changes with every restart.
    const detail = waiting.reason === 'CrashLoopBackOff' ? exit : (waiting.message ?? exit);
    return detail === undefined ? waiting.reason : `${waiting.reason}: ${detail}`;
  }
  return state?.running === undefined ? exit : undefined;
}
