// Runs one reconcile function over a work queue and decides, in one place, what each kind of outcome means for the key.

import { TerminalError, toError, TransientError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { KubeError } from './client.ts';
import { NotLeaderError } from './lease.ts';
import type { KubeObserver, ReconcileOutcome } from './observer.ts';
import { formatKey, parseKey, type ObjectKey } from './resource.ts';
import type { AddOptions, WorkQueue } from './work-queue.ts';

export interface ReconcileContext {
  /** Aborts at the time limit, and when leadership is lost. Pass it to everything that waits. */
  readonly signal: AbortSignal;
  /** Carries `controller`, `namespace`, `name` and `reconcileID`. */
  readonly log: Logger;
  /** Unique within this process. */
  readonly reconcileId: string;
}

export interface Result {
  /** Come back after this many milliseconds even if nothing changes. Absent: only when something changes. */
  readonly requeueAfterMs?: number;
}

export interface ControllerOptions {
  /** Names the controller in logs and metrics. */
  readonly name: string;
  /** Brings one object towards its spec, once. Never runs twice at a time for one key. */
  readonly reconcile: (key: ObjectKey, context: ReconcileContext) => Promise<Result>;
  readonly queue: WorkQueue<string>;
  /** Keys worked on at the same time. */
  readonly concurrency: number;
  /** After this the context's signal aborts, and the key is retried. */
  readonly reconcileTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer?: Partial<KubeObserver> | undefined;
}

/** How long a reconcile may ignore its aborted signal before its worker turns to other keys. */
const STUCK_AFTER_MS = 5_000;

/**
 * What follows an outcome:
 *
 * | outcome | log | the key |
 * | --- | --- | --- |
 * | a result | | forgotten, or back after `requeueAfterMs` |
 * | conflict (KubeError) | debug | retried soon: somebody else was faster |
 * | TransientError | warn | retried with growing delays, not before `retryAfterMs` |
 * | time limit | warn | retried with growing delays |
 * | TerminalError | error | left alone until something changes |
 * | NotLeaderError, abort | debug | left: another replica has it |
 * | anything else | error, with stack | a bug: retried with growing delays |
 */
export class Controller {
  readonly name: string;
  readonly #options: ControllerOptions;
  readonly #log: Logger;
  /** Keys whose reconcile has ignored its aborted signal and still runs: not to be started a second time. */
  readonly #stuck = new Set<string>();
  #count = 0;

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#log = options.log.child({ controller: options.name });
  }

  /** Asks for a reconcile of this key. Cheap and idempotent; may be called before `run`. */
  enqueue(key: ObjectKey, options: AddOptions = {}): void {
    this.#options.queue.add(formatKey(key), options);
  }

  /** Reconciles that run on although they were told to stop. While there are any, our work has not ended. */
  get stuckCount(): number {
    return this.#stuck.size;
  }

  /**
   * Works until `signal` aborts, then lets running reconciles finish; `abortSignal` calls these off as well. Resolves when
   * all have ended or ignore that; never rejects.
   */
  async run(signal: AbortSignal, abortSignal?: AbortSignal): Promise<void> {
    await this.#options.queue.run((key, abort) => this.#work(key, abort), {
      concurrency: this.#options.concurrency,
      signal,
      ...(abortSignal !== undefined && { abortSignal }),
    });
  }

  async #work(queueKey: string, abortSignal: AbortSignal): Promise<void> {
    // When it ends at last, its end adds the key again.
    if (this.#stuck.has(queueKey)) return;
    const { name, clock, observer } = this.#options;
    const startMs = clock.monotonicMs();
    const outcome = await this.#reconcile(queueKey, abortSignal);
    observer?.onReconcile?.({ controller: name, outcome, durationMs: clock.monotonicMs() - startMs });
  }

  async #reconcile(queueKey: string, abortSignal: AbortSignal): Promise<ReconcileOutcome> {
    const { queue, name } = this.#options;
    const key = parseKey(queueKey);
    this.#count += 1;
    const reconcileId = `${name}-${this.#count}`;
    const log = this.#log.child({ namespace: key.namespace, name: key.name, reconcileID: reconcileId });
    try {
      const result = await this.#withTimeLimit(queueKey, abortSignal, log, (signal) =>
        this.#options.reconcile(key, { signal, log, reconcileId }),
      );
      queue.forget(queueKey);
      if (result.requeueAfterMs === undefined) return 'success';
      queue.add(queueKey, { afterMs: result.requeueAfterMs });
      return 'requeued';
    } catch (thrown) {
      return this.#afterError(queueKey, toError(thrown), log, abortSignal.aborted);
    }
  }

  #afterError(queueKey: string, error: Error, log: Logger, isAborted: boolean): ReconcileOutcome {
    const { queue } = this.#options;
    if (isAborted || error instanceof NotLeaderError) {
      log.debug('Reconcile called off', { err: error });
      return 'cancelled';
    }
    if (error instanceof TerminalError) {
      log.error('Reconcile needs a changed input', { err: error });
      queue.forget(queueKey);
      return 'terminal';
    }
    if (error instanceof KubeError && error.isConflict) {
      log.debug('Reconcile met a conflict', { err: error, retryMs: Math.round(queue.retry(queueKey)) });
      return 'conflict';
    }
    if (error instanceof TransientError) {
      log.warn('Reconcile failed for now', {
        err: error,
        retryMs: Math.round(queue.retry(queueKey, error.retryAfterMs)),
      });
      return error instanceof ReconcileTimeout ? 'timeout' : 'transient';
    }
    log.error('Reconcile failed unexpectedly', { err: error, retryMs: Math.round(queue.retry(queueKey)) });
    return 'bug';
  }

  /** Rejects with what the work rejects with, or with ReconcileTimeout; in the end also when the work heeds no signal. */
  async #withTimeLimit<T>(
    queueKey: string,
    abortSignal: AbortSignal,
    log: Logger,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, reconcileTimeoutMs } = this.#options;
    const limit = new AbortController();
    const stuck = Promise.withResolvers<never>();
    const giveUp = (reason: unknown): void => {
      this.#stuck.add(queueKey);
      log.error('Reconcile ignores that it was called off', { err: toError(reason) });
      stuck.reject(toError(reason));
    };
    const callOff = (reason: unknown): void => {
      limit.abort(reason);
      timer[Symbol.dispose]();
      timer = clock.setTimer(STUCK_AFTER_MS, () => giveUp(reason));
    };
    const onAbort = (): void => callOff(abortSignal.reason);
    let timer = clock.setTimer(reconcileTimeoutMs, () => callOff(new ReconcileTimeout(reconcileTimeoutMs)));
    if (abortSignal.aborted) onAbort();
    else abortSignal.addEventListener('abort', onAbort, { once: true });

    const running = Promise.resolve()
      .then(() => work(limit.signal))
      .catch((thrown: unknown) => {
        // Whatever it made of the abort, what happened is that time was up.
        throw limit.signal.reason instanceof ReconcileTimeout ? limit.signal.reason : thrown;
      })
      .finally(() => {
        if (this.#stuck.delete(queueKey)) this.#options.queue.add(queueKey);
      });
    try {
      return await Promise.race([running, stuck.promise]);
    } finally {
      timer[Symbol.dispose]();
      abortSignal.removeEventListener('abort', onAbort);
    }
  }
}

class ReconcileTimeout extends TransientError {
  constructor(limitMs: number) {
    super(`The reconcile took longer than ${limitMs / 1_000} s`, { code: 'ReconcileTimeout' });
  }
}
