// Asks the pods and Jobs behind a workload how they fare with an image.

import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { runsImages, type WantedImages } from '../../rollout/health/pod.ts';
import { isRunOf, judgeTarget, type TargetHealth } from '../../rollout/health/target-health.ts';
import type { Workload } from '../../rollout/workloads/workload.ts';
import { jobs, pods, type Job, type Pod } from '../resources.ts';

export interface HealthQuestion {
  /** Live. */
  readonly workload: Workload;
  /** The image that each changed container must run now. */
  readonly images: WantedImages;
  /** While it is set back, by whoever may act on it: the images that failed. Absent otherwise. */
  readonly failed?: WantedImages;
  readonly sinceMs: number;
  readonly soakSinceMs?: number;
}

export interface HealthReaderDeps {
  /** Fenced, because it may delete pods. */
  readonly client: Pick<KubeClient, 'list' | 'delete'>;
  /** Delete pods of a StatefulSet that hang on a failed image. */
  readonly deleteStuckPods: boolean;
}

const MAX_PODS = 500;

export class HealthReader {
  readonly #deps: HealthReaderDeps;

  constructor(deps: HealthReaderDeps) {
    this.#deps = deps;
  }

  /** What cannot be read says nothing: then the workload's own progress counts. */
  async read(question: HealthQuestion, signal: AbortSignal): Promise<TargetHealth> {
    const { workload, images, failed, sinceMs, soakSinceMs } = question;
    const input = { workload, images, sinceMs, ...(soakSinceMs !== undefined && { soakSinceMs }) };
    if (workload.kind === 'CronJob') {
      const runs = await this.#runsOf(workload, images, signal);
      const found = await this.#podsOfRuns(workload, runs, signal);
      return judgeTarget({ ...input, jobs: runs, pods: found });
    }
    const found = await this.#podsOf(workload, signal);
    const stuck = failed === undefined ? undefined : await this.#freeStuck(workload, failed, found, signal);
    return stuck ?? judgeTarget({ ...input, pods: found });
  }

  async #podsOf({ podSelector, metadata }: Workload, signal: AbortSignal): Promise<readonly Pod[]> {
    if (podSelector === undefined) return [];
    return this.#list(() =>
      this.#deps.client.list(pods, {
        namespace: metadata.namespace,
        labelSelector: podSelector,
        limit: MAX_PODS,
        signal,
      }),
    );
  }

  async #runsOf({ metadata }: Workload, images: WantedImages, signal: AbortSignal): Promise<readonly Job[]> {
    const all = await this.#list(() =>
      this.#deps.client.list(jobs, { namespace: metadata.namespace, limit: MAX_PODS, signal }),
    );
    return all.filter((job) => isRunOf(job, metadata.uid) && runsImages(job.spec?.template?.spec, images));
  }

  async #podsOfRuns({ metadata }: Workload, runs: readonly Job[], signal: AbortSignal): Promise<readonly Pod[]> {
    if (runs.length === 0) return [];
    const names = runs.map((run) => run.metadata.name).slice(0, 20);
    return this.#list(() =>
      this.#deps.client.list(pods, {
        namespace: metadata.namespace,
        labelSelector: `batch.kubernetes.io/job-name in (${names.join(',')})`,
        limit: MAX_PODS,
        signal,
      }),
    );
  }

  async #list<T>(ask: () => Promise<{ readonly items: readonly T[] }>): Promise<readonly T[]> {
    try {
      return (await ask()).items;
    } catch (error) {
      if (error instanceof KubeError) return [];
      throw error;
    }
  }

  /**
   * A StatefulSet that starts its pods in order waits for ever for one that hangs on the failed image, though the template
   * was set back: it has to be deleted.
   * @see https://github.com/kubernetes/kubernetes/issues/67250
   */
  async #freeStuck(
    workload: Workload,
    failed: WantedImages,
    found: readonly Pod[],
    signal: AbortSignal,
  ): Promise<TargetHealth | undefined> {
    if (workload.isOrdered !== true || workload.progress.kind === 'healthy') return undefined;
    const stuck = found.filter(
      (pod) => pod.metadata.deletionTimestamp === undefined && runsImages(pod.spec, failed) && !isReady(pod),
    );
    const [first] = stuck;
    if (first === undefined) return undefined;
    const { name } = first.metadata;
    const { namespace } = workload.metadata;
    const command = `kubectl delete pod ${name} -n ${namespace}`;
    if (!this.#deps.deleteStuckPods) {
      return {
        kind: 'progressing',
        message: `pod ${name} hangs on the failed image and has to be deleted: ${command} (or let Slipway do it: rollout.deleteStuckPods)`,
      };
    }
    try {
      for (const { metadata } of stuck)
        await this.#deps.client.delete(pods, { namespace, name: metadata.name }, { signal, uid: metadata.uid });
    } catch (error) {
      // Refused for good, it must not keep the rollout from its end. A conflict: another pod has the name by now.
      if (!(error instanceof KubeError) || error.status < 400 || error.status >= 500 || error.status === 429)
        throw error;
      if (error.isConflict) return undefined;
      return {
        kind: 'progressing',
        message: `pod ${name} hangs on the failed image and could not be deleted: ${error.message}. Try ${command}`,
      };
    }
    return { kind: 'progressing', message: `pod ${name} hung on the failed image and was deleted` };
  }
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
}
