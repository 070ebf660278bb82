// Starts and stops everything in the right order, and knows whether we are ready. Starting: servers, caches, then, once we
// lead, workers. A standby keeps its caches and queues filled and only lacks workers. Stopping goes the other way round, so
// that nobody else starts before our work has ended: no new work, finish the old, tell the events, give back the lead.

import { toError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import type { Controller } from './controller.ts';
import type { EventRecorder } from './events.ts';
import type { Informer, Projection } from './informer.ts';
import type { LeaderElector } from './lease.ts';
import { abortable } from './transport.ts';

/** Something that runs until its signal aborts, and resolves then. A rejection ends the process. */
export interface Runnable {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

export interface ManagerOptions {
  /** Run on every replica, from the start to the very end: health, metrics. */
  readonly servers?: readonly Runnable[];
  /** Run on every replica. */
  readonly informers: readonly Pick<
    Informer<Projection>,
    'resource' | 'hasSynced' | 'synced' | 'lastContactAgeMs' | 'problem' | 'isForbidden' | 'run'
  >[];
  /** Work on the leader only, after the caches are filled. */
  readonly controllers: readonly Pick<Controller, 'name' | 'run' | 'stuckCount'>[];
  /** Run on the leader only, beside the controllers: pollers. */
  readonly leaderTasks?: readonly Runnable[];
  /** Absent: we always lead. */
  readonly elector?: Pick<LeaderElector, 'run'>;
  readonly events?: Pick<EventRecorder, 'flush'>;
  readonly log: Logger;
  readonly clock: Clock;
  /** Milliseconds for running reconciles to end after a stop; then they are called off. Default 30 s. */
  readonly gracefulShutdownMs?: number;
  /** An informer that has not heard from the API server for this long makes us unready. Default 60 s. */
  readonly staleAfterMs?: number;
}

export interface Readiness {
  readonly ok: boolean;
  /** What is missing, one sentence each; empty when ok. */
  readonly reasons: readonly string[];
}

/** For reconciles that were called off to come to an end, and for the last events. */
const LAST_WORDS_MS = 5_000;

type Phase = 'starting' | 'running' | 'stopping';

export class Manager {
  readonly #options: ManagerOptions;
  readonly #log: Logger;
  readonly #failed = Promise.withResolvers<never>();
  #phase: Phase = 'starting';

  constructor(options: ManagerOptions) {
    this.#options = options;
    this.#log = options.log;
    // Whoever runs us looks at it; until then a failure must not count as unhandled.
    this.#failed.promise.catch(() => undefined);
  }

  /**
   * Runs everything until the signal aborts, then stops it in order. Rejects when a part fails for good or the lead is
   * lost, after stopping what runs; the process should then end with a non-zero code.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { servers = [], informers, elector } = this.#options;
    const stopServers = new AbortController();
    const stopInformers = new AbortController();
    const giveBack = new AbortController();
    const work = new Work(this.#options);
    const background: Promise<void>[] = [];
    let candidacy: Promise<void> = Promise.resolve();
    try {
      for (const server of servers) background.push(this.#watchOver(server.name, server.run(stopServers.signal)));
      for (const informer of informers) {
        background.push(this.#watchOver(informer.resource, informer.run(stopInformers.signal)));
      }
      await this.#unlessFailed(Promise.all(informers.map((informer) => informer.synced(signal))), signal);
      this.#phase = 'running';
      this.#log.info('Caches filled', { informers: informers.length });
      const start = (leaderSignal?: AbortSignal): void => {
        background.push(this.#watchOver('work', work.start(leaderSignal)));
      };
      if (elector === undefined) start();
      else {
        candidacy = this.#watchOver(
          'leader election',
          elector.run({
            signal: giveBack.signal,
            onStarted: (_epoch, leaderSignal) => start(leaderSignal),
            mayRelease: () => work.hasEnded,
          }),
        );
      }
      await this.#unlessFailed(new Promise<never>(() => undefined), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#phase = 'stopping';
      this.#log.info('Stopping');
      await work.stop(signal.aborted);
      await this.#flushEvents();
      giveBack.abort(new Error('Stopped'));
      await candidacy;
      stopInformers.abort(new Error('Stopped'));
      stopServers.abort(new Error('Stopped'));
      if (!(await endsWithin(Promise.all(background), LAST_WORDS_MS, this.#options.clock))) {
        this.#log.error('Some parts do not stop');
      }
      this.#log.info('Stopped');
    }
  }

  /** Whether this replica can do its part, leader or not, and if not, why. */
  ready(): Readiness {
    const { informers, staleAfterMs = 60_000 } = this.#options;
    const reasons: string[] = [];
    if (this.#phase === 'stopping') reasons.push('stopping');
    for (const informer of informers) {
      const because = informer.problem === undefined ? '' : `: ${informer.problem}`;
      if (!informer.hasSynced) reasons.push(`the cache of ${informer.resource} is not filled yet${because}`);
      else if (informer.isForbidden) reasons.push(`access to ${informer.resource} was refused${because}`);
      else if (informer.lastContactAgeMs > staleAfterMs) {
        const ageSeconds = Math.round(informer.lastContactAgeMs / 1_000);
        reasons.push(`nothing was heard of ${informer.resource} for ${ageSeconds} s${because}`);
      }
    }
    return { ok: reasons.length === 0, reasons };
  }

  /** Never rejects: a failure ends the run as a whole. */
  async #watchOver(name: string, running: Promise<void>): Promise<void> {
    try {
      await running;
    } catch (error) {
      this.#log.error('A part failed', { part: name, err: toError(error) });
      this.#failed.reject(error);
    }
  }

  async #unlessFailed(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
    await abortable(Promise.race([promise, this.#failed.promise]), signal);
  }

  async #flushEvents(): Promise<void> {
    const limit = new AbortController();
    using _timer = this.#options.clock.setTimer(LAST_WORDS_MS, () => limit.abort(new Error('Out of time')));
    await this.#options.events?.flush(limit.signal);
  }
}

/** What only the leader does: controllers and leader tasks, from start to end. */
class Work {
  readonly #options: ManagerOptions;
  readonly #stop = new AbortController();
  readonly #callOff = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #isRunning = false;

  constructor(options: ManagerOptions) {
    this.#options = options;
  }

  /** Whether nothing of it runs any more. */
  get hasEnded(): boolean {
    return !this.#isRunning && this.#options.controllers.every((controller) => controller.stuckCount === 0);
  }

  /** Resolves when all has ended; rejects when a task fails. `leaderSignal` calls everything off at once. */
  async start(leaderSignal: AbortSignal | undefined): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { controllers, leaderTasks = [] } = this.#options;
    const signals = leaderSignal === undefined ? [] : [leaderSignal];
    const stop = AbortSignal.any([this.#stop.signal, ...signals]);
    const callOff = AbortSignal.any([this.#callOff.signal, ...signals]);
    const all = [
      ...controllers.map((controller) => controller.run(stop, callOff)),
      ...leaderTasks.map((task) => task.run(stop)),
    ];
    this.#isRunning = true;
    this.#running = Promise.allSettled(all).finally(() => {
      this.#isRunning = false;
    });
    await Promise.all(all);
  }

  /** Takes in no more; gracefully lets what runs finish, else calls it off at once. Resolves even if some of it does not end. */
  async stop(gracefully: boolean): Promise<void> {
    const { clock, gracefulShutdownMs = 30_000, log } = this.#options;
    this.#stop.abort(new Error('Stopping'));
    if (gracefully && (await endsWithin(this.#running, gracefulShutdownMs, clock))) return;
    this.#callOff.abort(new Error('Out of time to finish'));
    // A controller gives a reconcile that heeds no signal five seconds, then ends without it.
    if (!(await endsWithin(this.#running, LAST_WORDS_MS + 1_000, clock)))
      log.error('Work goes on although it was called off');
  }
}

/** Whether the promise, which must not reject, resolves in time. */
function endsWithin(promise: Promise<unknown>, limitMs: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(limitMs, () => resolve(false));
    void promise.then(() => {
      timer[Symbol.dispose]();
      resolve(true);
    });
  });
}
