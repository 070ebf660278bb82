// Which of the replicas acts. A Lease in the cluster names the leader; whoever holds it renews it, the others wait until it
// was not renewed for its whole duration by their own clock. It cannot stop a paused leader from waking up too late: that
// is what `assertLeader` in front of every write, and compare-and-set in every write, are for.
// @see https://kubernetes.io/docs/concepts/architecture/leases/

import { toError, TransientError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { KubeError, type KubeClient } from './client.ts';
import type { KubeObserver } from './observer.ts';
import { defineResource, type KubeObject, type ObjectKey } from './resource.ts';
import type { Watcher } from './watch.ts';

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}

export const leases = defineResource<Lease>({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
});

/** This replica does not lead (any more), so it must not write. */
export class NotLeaderError extends TransientError {
  constructor(message: string) {
    super(message, { code: 'NotLeader' });
  }
}

export interface LeaderElectorOptions {
  /** On connections of its own, so that nothing delays a renewal. */
  readonly client: KubeClient & Watcher;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process, not per pod name: a restarted pod is another holder. */
  readonly identity: string;
  /** How long the others wait for a leader that is silent. Default 15 s. */
  readonly leaseDurationMs?: number;
  /** After this long without a renewal the leader steps down; shorter than the duration, or there could be two. Default 10 s. */
  readonly renewDeadlineMs?: number;
  /** Between two renewals, or two attempts to become leader. Default 2 s. */
  readonly retryPeriodMs?: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly observer?: Partial<KubeObserver> | undefined;
}

export interface LeaderElectorRun {
  /** Ends the candidacy; a leader gives the Lease back. Abort it only when the leader's work has ended. */
  readonly signal: AbortSignal;
  /**
   * Called once, when we lead. `epoch` is the number of changes of leader so far. `leaderSignal` aborts when the lead is
   * lost or given back.
   */
  readonly onStarted: (epoch: number, leaderSignal: AbortSignal) => void;
  /** Called once after `onStarted`, when we lead no more. */
  readonly onStopped?: () => void;
  /** Asked at the end: false leaves the Lease to run out, for a leader whose work has not surely ended. Default true. */
  readonly mayRelease?: () => boolean;
}

const RELEASE_TIMEOUT_MS = 3_000;
const MIN_PAUSE_MS = 100;
const WATCH_SECONDS = 300;
/** A renewal is overdue when this many periods have passed since the last one. */
const OVERDUE_PERIODS = 3;
/** Waits of standbys are longer by up to this share, so that they do not all ask at once. */
const JITTER = 0.2;

/**
 * ```
 *   standby ──the Lease is free, given back, or not renewed for its duration, and our write wins──▶ leading
 *   leading ──renewal fails until the deadline, or somebody else holds the Lease──▶ lost (run rejects; end the process)
 *   leading ──signal──▶ given back (holderIdentity '')
 *   standby ──signal──▶ ended
 * ```
 */
export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #key: ObjectKey;
  readonly #leaseDurationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  readonly #log: Logger;
  /** The Lease as we last wrote it; present exactly while we lead. */
  #held: Lease | undefined;
  /** When the last successful renewal was sent, by the monotonic clock. */
  #renewedAtMs = -Infinity;
  /** What a standby saw last, and when its version changed, by the monotonic clock. */
  #seen: { readonly version: string; readonly transitions: number; readonly atMs: number } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#key = { namespace: options.namespace, name: options.name };
    this.#leaseDurationMs = options.leaseDurationMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#retryPeriodMs = options.retryPeriodMs ?? 2_000;
    if (this.#renewDeadlineMs >= this.#leaseDurationMs || this.#retryPeriodMs >= this.#renewDeadlineMs) {
      throw new Error('a lease needs leaseDurationMs > renewDeadlineMs > retryPeriodMs');
    }
    this.#log = options.log.child({ lease: `${options.namespace}/${options.name}`, identity: options.identity });
  }

  /**
   * Whether we lead now. Decided by the monotonic clock, not by a timer: a stopped process or a blocked event loop delays
   * timers too.
   */
  isLeader(): boolean {
    return this.#held !== undefined && this.#sinceRenewalMs() < this.#renewDeadlineMs;
  }

  /** The number of changes of leader up to ours; absent while we do not lead. */
  get epoch(): number | undefined {
    return this.#held?.spec?.leaseTransitions;
  }

  /**
   * Throws NotLeaderError unless we lead now, and a TransientError while a renewal is overdue: a process that was stopped
   * wakes with old caches, and must first hear that it still leads, for the Lease may have been edited meanwhile.
   */
  assertLeader(): void {
    if (this.isLeader()) {
      const sinceMs = this.#sinceRenewalMs();
      if (sinceMs <= this.#retryPeriodMs * OVERDUE_PERIODS) return;
      throw new TransientError(
        `The lead was last renewed ${Math.round(sinceMs)} ms ago, and the next renewal is overdue`,
        {
          code: 'LeadInDoubt',
          retryAfterMs: this.#retryPeriodMs,
        },
      );
    }
    throw new NotLeaderError(
      this.#held === undefined
        ? 'This replica is not the leader'
        : `The lead was last renewed ${Math.round(this.#sinceRenewalMs())} ms ago, so it may be lost`,
    );
  }

  /** Resolves after `signal`; rejects with NotLeaderError when a lead is lost. May be called once. */
  async run(run: LeaderElectorRun): Promise<void> {
    const won = await this.#acquire(run.signal);
    if (won === undefined) return;
    const leading = new AbortController();
    this.#log.info('Leading', { epoch: won.spec?.leaseTransitions });
    this.#options.observer?.onLeaderChange?.({ leading: true });
    try {
      run.onStarted(won.spec?.leaseTransitions ?? 0, leading.signal);
      await this.#renewUntil(run.signal);
    } catch (error) {
      this.#log.error('Lost the lead', { err: toError(error) });
      throw error;
    } finally {
      const held = this.#held;
      this.#held = undefined;
      leading.abort(new NotLeaderError('This replica leads no more'));
      this.#options.observer?.onLeaderChange?.({ leading: false });
      run.onStopped?.();
      if (run.signal.aborted && held !== undefined && (run.mayRelease?.() ?? true)) await this.#release(held);
    }
  }

  async #acquire(signal: AbortSignal): Promise<Lease | undefined> {
    const { random } = this.#options;
    let watching: AbortController | undefined;
    try {
      for (;;) {
        try {
          const won = await this.#attempt(signal);
          if (won !== undefined) return won;
          if (watching === undefined && this.#seen !== undefined) {
            const controller = new AbortController();
            watching = controller;
            void this.#watch(this.#seen.version, controller.signal).finally(() => {
              if (watching === controller) watching = undefined;
            });
          }
        } catch (error) {
          if (signal.aborted) return undefined;
          this.#log.warn('Asking for the lead failed', { err: toError(error) });
        }
        await this.#nap(this.#retryPeriodMs * (1 + JITTER * random()), signal);
        if (signal.aborted) return undefined;
      }
    } finally {
      watching?.abort(new Error('The candidacy has ended'));
    }
  }

  /** One look at the Lease, and one write if it can be had. Resolves with the Lease if we lead now. */
  async #attempt(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, identity, clock } = this.#options;
    const options = { signal, timeoutMs: this.#renewDeadlineMs / 2 };
    const lease = await client.get(leases, this.#key, options);
    const startMs = clock.monotonicMs();
    try {
      if (lease === undefined) {
        const spec = this.#claim((this.#seen?.transitions ?? -1) + 1);
        const created = await client.create(
          leases,
          this.#key.namespace,
          { metadata: { name: this.#key.name }, spec },
          options,
        );
        return this.#hold(created, startMs);
      }
      this.#see(lease);
      const holder = lease.spec?.holderIdentity ?? '';
      if (holder !== '' && holder !== identity && !this.#isExpired(lease)) return undefined;
      const transitions = (lease.spec?.leaseTransitions ?? 0) + (holder === identity ? 0 : 1);
      return this.#hold(await this.#write(lease, this.#claim(transitions), options), startMs);
    } catch (error) {
      // Another replica was faster.
      if (error instanceof KubeError && (error.isConflict || error.isAlreadyExists)) return undefined;
      throw error;
    }
  }

  async #renewUntil(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (let pauseMs = this.#retryPeriodMs; ;) {
      const untilDeadlineMs = this.#renewDeadlineMs - this.#sinceRenewalMs();
      // The nearer the end, the more often: a fault that is over just before the deadline must not cost the lead.
      await this.#nap(Math.min(pauseMs, Math.max(untilDeadlineMs / 2, MIN_PAUSE_MS)), signal);
      if (signal.aborted) return;
      pauseMs = this.#retryPeriodMs;
      const leftMs = this.#renewDeadlineMs - this.#sinceRenewalMs();
      if (leftMs <= 0 || this.#held === undefined) {
        throw new NotLeaderError(`The Lease could not be renewed for ${Math.round(this.#sinceRenewalMs())} ms`);
      }
      const startMs = clock.monotonicMs();
      const timeoutMs = Math.min(leftMs, this.#renewDeadlineMs / 2);
      try {
        const { acquireTime: _acquireTime, ...claim } = this.#claim(this.epoch ?? 0);
        this.#hold(await this.#write(this.#held, claim, { timeoutMs }), startMs);
      } catch (error) {
        if (error instanceof KubeError && error.isNotFound) throw new NotLeaderError('The Lease was deleted');
        if (error instanceof KubeError && error.isConflict) {
          if (await this.#isStillOurs(timeoutMs)) pauseMs = 0;
        } else this.#log.warn('Renewing the lead failed', { err: toError(error), leftMs: Math.round(leftMs) });
      }
    }
  }

  /** After a conflict: an earlier renewal of ours that seemed to fail may have come through, or somebody touched the Lease. */
  async #isStillOurs(timeoutMs: number): Promise<boolean> {
    let lease: Lease | undefined;
    try {
      lease = await this.#options.client.get(leases, this.#key, { timeoutMs });
    } catch (error) {
      this.#log.warn('Reading the Lease failed', { err: toError(error) });
      return false;
    }
    const { holderIdentity = '', leaseTransitions } = lease?.spec ?? {};
    if (lease === undefined || holderIdentity !== this.#options.identity || leaseTransitions !== this.epoch) {
      throw new NotLeaderError(`The Lease is now held by ${JSON.stringify(holderIdentity)}`);
    }
    // Ours still, but this is no renewal: the next one starts from its version.
    this.#held = lease;
    return true;
  }

  async #release(held: Lease): Promise<void> {
    try {
      await this.#write(
        held,
        { ...this.#claim(held.spec?.leaseTransitions ?? 0), holderIdentity: '', leaseDurationSeconds: 1 },
        { timeoutMs: RELEASE_TIMEOUT_MS },
      );
      this.#log.info('Gave the lead back');
    } catch (error) {
      this.#log.warn('Giving the lead back failed; it will run out', { err: toError(error) });
    }
  }

  #write(
    lease: Lease,
    spec: LeaseSpec,
    options: { readonly signal?: AbortSignal; readonly timeoutMs: number },
  ): Promise<Lease> {
    const { resourceVersion } = lease.metadata;
    return this.#options.client.patchMerge(
      leases,
      this.#key,
      { metadata: { resourceVersion }, spec: { ...spec } },
      options,
    );
  }

  #hold(lease: Lease, sentAtMs: number): Lease {
    this.#held = lease;
    this.#renewedAtMs = sentAtMs;
    return lease;
  }

  /** Remembers since when the Lease has been as it is. Times in the Lease are another machine's clock and decide nothing. */
  #see(lease: Lease): void {
    const version = lease.metadata.resourceVersion;
    if (this.#seen?.version === version) return;
    const atMs = this.#options.clock.monotonicMs();
    this.#seen = { version, transitions: lease.spec?.leaseTransitions ?? 0, atMs };
  }

  #isExpired(lease: Lease): boolean {
    const theirsMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1_000;
    // A holder with another configuration may need longer than ours; an absurd value must not keep everybody out for ever.
    const waitMs = Math.max(this.#leaseDurationMs, Math.min(theirsMs, 4 * this.#leaseDurationMs));
    return this.#seen !== undefined && this.#options.clock.monotonicMs() - this.#seen.atMs >= waitMs;
  }

  /** Watches the Lease so that a standby need not wait for its next look when the leader gives it back. Never rejects. */
  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    const { namespace, name } = this.#key;
    const fieldSelector = `metadata.name=${name}`;
    try {
      const options = { namespace, fieldSelector, resourceVersion, timeoutSeconds: WATCH_SECONDS, signal };
      for await (const event of client.watch(leases, options)) {
        if (event.type === 'BOOKMARK') continue;
        if (event.type !== 'DELETED') this.#see(event.object);
        if (event.type === 'DELETED' || !event.object.spec?.holderIdentity) this.#wake?.();
      }
    } catch (error) {
      if (!signal.aborted) this.#log.debug('Watching the Lease ended', { err: toError(error) });
    }
  }

  #claim(leaseTransitions: number): LeaseSpec {
    const time = toMicroTime(this.#options.clock.now());
    return {
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: Math.ceil(this.#leaseDurationMs / 1_000),
      acquireTime: time,
      renewTime: time,
      leaseTransitions,
    };
  }

  #sinceRenewalMs(): number {
    return this.#options.clock.monotonicMs() - this.#renewedAtMs;
  }

  /** Waits; a wake-up or the signal ends it early. */
  async #nap(durationMs: number, signal: AbortSignal): Promise<void> {
    const waking = new AbortController();
    const wake = (): void => waking.abort(new Error('Woken'));
    this.#wake = wake;
    signal.addEventListener('abort', wake, { once: true });
    if (signal.aborted) wake();
    await this.#options.clock.sleep(durationMs, waking.signal).catch(() => undefined);
    signal.removeEventListener('abort', wake);
    this.#wake = undefined;
  }
}

/** `metav1.MicroTime` wants exactly six decimals. */
export function toMicroTime(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('Z', '000Z');
}
