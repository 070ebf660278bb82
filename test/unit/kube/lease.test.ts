import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { KubeError, type KubeClient } from '../../../operator/kube/client.ts';
import { LeaderElector, NotLeaderError, toMicroTime, type Lease } from '../../../operator/kube/lease.ts';
import type { Watcher, WatchEvent, WatchOptions } from '../../../operator/kube/watch.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NAME = { namespace: 'slipway', name: 'operator' };
const gone = (): KubeError => new KubeError('404', { status: 404, reason: 'NotFound' });
const stale = (): KubeError => new KubeError('409', { status: 409, reason: 'Conflict' });
const unreachable = (): KubeError => new KubeError('No answer', { status: 0, reason: 'Unreachable' });

/** The Lease as the API server keeps it: compare-and-set, and a watch. */
class LeaseStore {
  lease: Lease | undefined;
  /** Holder after each write that changed it. */
  readonly holders: string[] = [];
  writes = 0;
  #version = 0;
  readonly #watchers = new Set<(event: WatchEvent<Lease>) => void>();

  write(lease: Pick<Lease, 'spec'> | undefined): Lease {
    this.#version += 1;
    this.writes += 1;
    const metadata = { ...NAME, uid: 'u', resourceVersion: String(this.#version) };
    const before = this.lease;
    this.lease = lease === undefined ? undefined : { ...lease, metadata };
    const holder = lease?.spec?.holderIdentity ?? '';
    if (this.holders.at(-1) !== holder) this.holders.push(holder);
    const object = this.lease ?? before ?? { metadata };
    for (const tell of this.#watchers) tell({ type: lease === undefined ? 'DELETED' : 'MODIFIED', object });
    return object;
  }

  /** A replica's way to the store. `link` decides what happens to a request: before it is done, and to its answer. */
  client(link: Link): KubeClient & Watcher {
    const pass = async <T>(act: () => T): Promise<T> => {
      await link.request?.();
      const answer = act();
      await link.reply?.();
      return answer;
    };
    const client = {
      get: () => pass(() => this.lease),
      create: (_resource: unknown, _namespace: string, object: Pick<Lease, 'spec'>) =>
        pass(() => {
          if (this.lease !== undefined) throw new KubeError('409', { status: 409, reason: 'AlreadyExists' });
          return this.write(object);
        }),
      patchMerge: (_resource: unknown, _key: unknown, body: { metadata: Lease['metadata']; spec: Lease['spec'] }) =>
        pass(() => {
          if (this.lease === undefined) throw gone();
          if (body.metadata.resourceVersion !== this.lease.metadata.resourceVersion) throw stale();
          return this.write({ spec: { ...this.lease.spec, ...body.spec } });
        }),
      watch: (_resource: unknown, options: WatchOptions) => this.#watch(options.signal),
    };
    return client as unknown as KubeClient & Watcher;
  }

  async *#watch(signal: AbortSignal): AsyncGenerator<WatchEvent<Lease>, void, undefined> {
    const queue: WatchEvent<Lease>[] = [];
    let wake = (): void => undefined;
    const tell = (event: WatchEvent<Lease>): void => {
      queue.push(event);
      wake();
    };
    this.#watchers.add(tell);
    try {
      for (;;) {
        for (let event = queue.shift(); event !== undefined; event = queue.shift()) yield event;
        await new Promise<void>((resolve, reject) => {
          wake = resolve;
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
      }
    } finally {
      this.#watchers.delete(tell);
    }
  }
}

interface Link {
  request?: () => Promise<void> | void;
  reply?: () => Promise<void> | void;
}

function replica(
  store: LeaseStore,
  identity: string,
  options: { clock?: FakeClock; link?: Link; leaseDurationMs?: number; renewDeadlineMs?: number } = {},
) {
  const { clock = new FakeClock(), link = {}, ...rest } = options;
  const log = recordingLogger();
  const elector = new LeaderElector({
    client: store.client(link),
    ...NAME,
    identity,
    clock,
    random: () => 0.5,
    log,
    ...rest,
  });
  const stop = new AbortController();
  const epochs: number[] = [];
  const signals: AbortSignal[] = [];
  let stopped = 0;
  let mayRelease = true;
  const outcome = elector
    .run({
      signal: stop.signal,
      onStarted: (epoch, signal) => {
        epochs.push(epoch);
        signals.push(signal);
      },
      onStopped: () => {
        stopped += 1;
      },
      mayRelease: () => mayRelease,
    })
    .then(
      () => 'ended',
      (error: unknown) => error,
    );
  return {
    elector,
    clock,
    link,
    log,
    stop,
    epochs,
    signals,
    outcome,
    get stopped() {
      return stopped;
    },
    keepTheLease: () => {
      mayRelease = false;
    },
  };
}

/** Moves all clocks together, in small steps. */
async function pass(durationMs: number, ...clocks: FakeClock[]): Promise<void> {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 100) for (const clock of clocks) await clock.advance(100);
}

describe('LeaderElector', () => {
  it('creates the Lease, leads at once and renews it', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);

    expect(one.elector.isLeader()).toBe(true);
    expect([one.epochs, one.elector.epoch]).toEqual([[0], 0]);
    expect(store.lease?.spec).toEqual({
      holderIdentity: 'one',
      leaseDurationSeconds: 15,
      leaseTransitions: 0,
      acquireTime: '2026-01-05T08:00:00.000000Z',
      renewTime: '2026-01-05T08:00:00.000000Z',
    });

    await pass(60_000, one.clock);
    expect(one.elector.isLeader()).toBe(true);
    expect(store.writes).toBe(31);
    expect(store.lease?.spec?.acquireTime).toBe('2026-01-05T08:00:00.000000Z');
    expect(store.lease?.spec?.renewTime).not.toBe('2026-01-05T08:00:00.000000Z');
    one.stop.abort();
    await one.outcome;
  });

  it('waits for a dead leader by its own clock, and counts the change', async () => {
    const store = new LeaseStore();
    // A clock that is an hour off and an absurd renewTime must not matter.
    store.write({
      spec: {
        holderIdentity: 'dead',
        leaseDurationSeconds: 15,
        leaseTransitions: 6,
        renewTime: '2030-01-01T00:00:00.000000Z',
      },
    });
    const two = replica(store, 'two', { clock: new FakeClock(Date.UTC(2020, 0, 1)) });

    await pass(15_000, two.clock);
    expect(two.elector.isLeader()).toBe(false);
    await pass(2_500, two.clock);

    expect(two.elector.isLeader()).toBe(true);
    expect(two.epochs).toEqual([7]);
    two.stop.abort();
    await two.outcome;
  });

  it.each([
    { when: 'a holder that asks for more time than we do', theirsSeconds: 30, freeAfterMs: 30_000 },
    { when: 'a holder that asks for less', theirsSeconds: 1, freeAfterMs: 15_000 },
    { when: 'an absurd duration that somebody wrote', theirsSeconds: 1_000_000, freeAfterMs: 60_000 },
  ])('waits $freeAfterMs ms for $when', async ({ theirsSeconds, freeAfterMs }) => {
    const store = new LeaseStore();
    store.write({ spec: { holderIdentity: 'dead', leaseDurationSeconds: theirsSeconds } });
    const two = replica(store, 'two');

    await pass(freeAfterMs - 100, two.clock);
    expect(two.elector.isLeader()).toBe(false);
    await pass(2_600, two.clock);
    expect(two.elector.isLeader()).toBe(true);
    two.stop.abort();
    await two.outcome;
  });

  it('takes over at once when the leader gives the Lease back', async () => {
    const store = new LeaseStore();
    const clock = new FakeClock();
    const one = replica(store, 'one', { clock });
    await pass(100, clock);
    const two = replica(store, 'two', { clock });
    await pass(1_000, clock);

    one.stop.abort();
    expect(await one.outcome).toBe('ended');
    await pass(100, clock);

    expect([one.elector.isLeader(), two.elector.isLeader()]).toEqual([false, true]);
    expect(one.signals[0]?.aborted).toBe(true);
    expect(two.epochs).toEqual([1]);
    two.stop.abort();
    await two.outcome;
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps the Lease when its work may not have ended', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);

    one.keepTheLease();
    one.stop.abort();
    await one.outcome;

    expect(store.lease?.spec?.holderIdentity).toBe('one');
  });

  it('takes over at once when the Lease is deleted, with a later epoch', async () => {
    const store = new LeaseStore();
    const clock = new FakeClock();
    store.write({ spec: { holderIdentity: 'one', leaseDurationSeconds: 15, leaseTransitions: 4 } });
    const two = replica(store, 'two', { clock });
    await pass(500, clock);

    store.write(undefined);
    await pass(100, clock);

    expect(two.epochs).toEqual([5]);
    two.stop.abort();
    await two.outcome;
  });

  it('rides out failures that are shorter than the deadline', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(3_000, one.clock);

    one.link.request = () => {
      throw unreachable();
    };
    await pass(8_000, one.clock);
    expect(one.elector.isLeader()).toBe(true);
    delete one.link.request;
    await pass(20_000, one.clock);

    expect(one.elector.isLeader()).toBe(true);
    expect(one.stopped).toBe(0);
    one.stop.abort();
    await one.outcome;
  });

  it('steps down at the deadline, before anybody else may start', async () => {
    const store = new LeaseStore();
    const clock = new FakeClock();
    const one = replica(store, 'one', { clock });
    await pass(100, clock);
    const two = replica(store, 'two', { clock });
    one.link.request = () => {
      throw unreachable();
    };

    await pass(9_800, clock);
    expect(one.elector.isLeader()).toBe(true);
    await pass(200, clock);

    expect(one.elector.isLeader()).toBe(false);
    expect(two.elector.isLeader()).toBe(false);
    expect(await one.outcome).toBeInstanceOf(NotLeaderError);
    expect([one.stopped, one.signals[0]?.aborted]).toEqual([1, true]);
    await pass(8_000, clock);
    expect(two.elector.isLeader()).toBe(true);
    two.stop.abort();
    await two.outcome;
  });

  it('counts from when a renewal was sent, not from when its answer came', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);
    one.link.reply = () => one.clock.sleep(4_000, new AbortController().signal);
    await pass(6_000, one.clock);

    // Sent at 2 s, answered at 6 s; nothing comes through any more.
    one.link.request = () => {
      throw unreachable();
    };
    await pass(5_800, one.clock);
    expect(one.elector.isLeader()).toBe(true);
    await pass(100, one.clock);

    expect(one.elector.isLeader()).toBe(false);
    await pass(500, one.clock);
    expect(await one.outcome).toBeInstanceOf(NotLeaderError);
  });

  it('does not lead after a stall, even before any timer has run', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(3_000, one.clock);
    expect(() => one.elector.assertLeader()).not.toThrow();

    one.clock.stall(10_000);

    expect(one.elector.isLeader()).toBe(false);
    expect(() => one.elector.assertLeader()).toThrow(NotLeaderError);
    await pass(100, one.clock);
    expect(await one.outcome).toBeInstanceOf(NotLeaderError);
  });

  it('does not write after a stall until it has heard that it still leads', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(3_000, one.clock);

    one.clock.stall(7_000);

    expect(one.elector.isLeader()).toBe(true);
    expect(() => one.elector.assertLeader()).toThrow(expect.objectContaining({ code: 'LeadInDoubt' }));
    await pass(100, one.clock);
    expect(() => one.elector.assertLeader()).not.toThrow();
    one.stop.abort();
    await one.outcome;
  });

  it.each([
    { when: 'somebody else holds the Lease', change: { holderIdentity: 'two', leaseTransitions: 1 } },
    { when: 'somebody edits the holder away', change: { holderIdentity: '' } },
    { when: 'the Lease was lost and won again in our name', change: { holderIdentity: 'one', leaseTransitions: 2 } },
    { when: 'the Lease is deleted', change: undefined },
  ])('steps down at the next renewal when $when', async ({ change }) => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);

    store.write(change === undefined ? undefined : { spec: { leaseDurationSeconds: 15, ...change } });
    await pass(2_100, one.clock);

    expect(one.elector.isLeader()).toBe(false);
    expect(await one.outcome).toBeInstanceOf(NotLeaderError);
  });

  it('stays leader when only a label of the Lease was changed', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);

    store.write({ ...store.lease });
    await pass(20_000, one.clock);

    expect(one.elector.isLeader()).toBe(true);
    one.stop.abort();
    await one.outcome;
  });

  it('stays leader when the answer to a renewal was lost', async () => {
    const store = new LeaseStore();
    const one = replica(store, 'one');
    await pass(100, one.clock);
    let lost = 0;
    one.link.reply = () => {
      if (lost++ === 0) throw unreachable();
    };

    await pass(20_000, one.clock);

    expect([lost > 1, one.elector.isLeader(), one.stopped]).toEqual([true, true, 0]);
    one.stop.abort();
    await one.outcome;
  });

  it('leads after all when the answer to its takeover was lost', async () => {
    const store = new LeaseStore();
    let lost = 0;
    // The second answer is the one to the create.
    const one = replica(store, 'one', {
      link: {
        reply: () => {
          if (++lost === 2) throw unreachable();
        },
      },
    });

    await pass(3_000, one.clock);

    expect([one.epochs, store.holders]).toEqual([[0], ['one']]);
    one.stop.abort();
    await one.outcome;
  });

  it('ends a candidacy that was never won', async () => {
    const store = new LeaseStore();
    store.write({ spec: { holderIdentity: 'other', leaseDurationSeconds: 15 } });
    const two = replica(store, 'two');
    await pass(500, two.clock);

    two.stop.abort();

    expect(await two.outcome).toBe('ended');
    expect([two.epochs, two.stopped, store.writes, two.clock.pendingTimers]).toEqual([[], 0, 1, 0]);
  });

  it('refuses a configuration that could have two leaders', () => {
    const store = new LeaseStore();

    expect(() => replica(store, 'one', { renewDeadlineMs: 15_000 })).toThrow('leaseDurationMs > renewDeadlineMs');
  });

  it('never lets two lead at a time, whatever stalls, fails or is lost', async () => {
    const trouble = fc.record({
      who: fc.constantFrom(0, 1, 2),
      what: fc.constantFrom('stall', 'no requests', 'no replies', 'well', 'stop'),
      forMs: fc.constantFrom(300, 2_000, 7_000, 12_000, 20_000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(trouble, { maxLength: 12 }), async (troubles) => {
        const store = new LeaseStore();
        const replicas = ['one', 'two', 'three'].map((identity) => replica(store, identity));
        const frozenUntilMs = [0, 0, 0];
        let nowMs = 0;
        const pastEpochs: number[] = [];
        const step = async (): Promise<void> => {
          nowMs += 200;
          for (const [index, { clock }] of replicas.entries()) {
            // A stopped process runs nothing, but its clock goes on.
            if (nowMs <= (frozenUntilMs[index] ?? 0)) clock.stall(200);
            else await clock.advance(200);
          }
          const leaders = replicas.filter(({ elector }) => elector.isLeader());
          expect(leaders.length).toBeLessThanOrEqual(1);
        };
        for (const { who, what, forMs } of troubles) {
          const it = replicas[who];
          if (it === undefined) continue;
          if (what === 'stall') frozenUntilMs[who] = nowMs + forMs;
          const fail = (): never => {
            throw unreachable();
          };
          delete it.link.request;
          delete it.link.reply;
          if (what === 'no requests') it.link.request = fail;
          if (what === 'no replies') it.link.reply = fail;
          if (what === 'stop') it.stop.abort();
          for (let passedMs = 0; passedMs < forMs; passedMs += 200) await step();
        }
        for (const { epochs } of replicas) pastEpochs.push(...epochs);
        expect(new Set(pastEpochs).size).toBe(pastEpochs.length);
        for (const { stop } of replicas) stop.abort();
        for (let count = 0; count < 30; count += 1) await step();
        await Promise.all(replicas.map(({ outcome }) => outcome));
      }),
      { numRuns: 40 },
    );
  });
});

describe('toMicroTime', () => {
  it('has exactly six decimals', () => {
    expect(toMicroTime(1_767_600_000_005)).toBe('2026-01-05T08:00:00.005000Z');
  });
});
