import { describe, expect, it } from '@jest/globals';
import { TerminalError, TransientError } from '../../../operator/errors.ts';
import { KubeError } from '../../../operator/kube/client.ts';
import { Controller, type ControllerOptions, type ReconcileContext } from '../../../operator/kube/controller.ts';
import { NotLeaderError } from '../../../operator/kube/lease.ts';
import type { ReconcileOutcome } from '../../../operator/kube/observer.ts';
import type { ObjectKey } from '../../../operator/kube/resource.ts';
import { WorkQueue } from '../../../operator/kube/work-queue.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const KEY = { namespace: 'a', name: 'x' };

function build(reconcile: ControllerOptions['reconcile'], options: Partial<ControllerOptions> = {}) {
  const clock = new FakeClock();
  const log = recordingLogger();
  const outcomes: ReconcileOutcome[] = [];
  const stop = new AbortController();
  const abort = new AbortController();
  const at: number[] = [];
  const controller = new Controller({
    name: 'policy',
    reconcile: (key, context) => {
      at.push(clock.monotonicMs());
      return reconcile(key, context);
    },
    queue: new WorkQueue<string>({ clock, random: () => 1 }),
    concurrency: 1,
    reconcileTimeoutMs: 60_000,
    clock,
    log,
    observer: { onReconcile: ({ outcome }) => outcomes.push(outcome) },
    ...options,
  });
  const run = controller.run(stop.signal, abort.signal);
  /** Levels of what was logged. */
  const levels = () => log.records.map(({ level }) => level);
  return { clock, log, outcomes, stop, abort, at, controller, run, levels };
}

/** Rejects when its signal aborts. */
const untilAborted = (_key: ObjectKey, { signal }: ReconcileContext): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('I was interrupted'))));

const conflict = new KubeError('Patching x: 409 Conflict', { status: 409, reason: 'Conflict' });

describe('Controller', () => {
  it('gives the reconcile its key and a logger that names it', async () => {
    const seen: unknown[] = [];
    const { clock, controller, log, stop, run } = build(async (key, context) => {
      seen.push(key, context.reconcileId);
      context.log.info('Looking');
      return {};
    });
    controller.enqueue(KEY);
    await clock.advance(0);

    expect(seen).toEqual([KEY, 'policy-1']);
    expect(log.records).toEqual([
      {
        level: 'info',
        message: 'Looking',
        fields: { controller: 'policy', namespace: 'a', name: 'x', reconcileID: 'policy-1' },
      },
    ]);
    stop.abort();
    await run;
  });

  it('comes back when the result asks for it, and otherwise only when told', async () => {
    const { clock, controller, at, outcomes, stop, run } = build(async () =>
      at.length < 3 ? { requeueAfterMs: 1_000 } : {},
    );
    controller.enqueue(KEY);
    await clock.advance(60_000);

    expect(at).toEqual([0, 1_000, 2_000]);
    expect(outcomes).toEqual(['requeued', 'requeued', 'success']);
    stop.abort();
    await run;
  });

  it.each([
    { when: 'a conflict', error: conflict, outcome: 'conflict', level: 'debug', retryMs: 5 },
    {
      when: 'a transient error',
      error: new TransientError('later', { code: 'Later' }),
      outcome: 'transient',
      level: 'warn',
      retryMs: 5,
    },
    {
      when: 'a transient error that says when',
      error: new TransientError('later', { code: 'Later', retryAfterMs: 7_000 }),
      outcome: 'transient',
      level: 'warn',
      retryMs: 7_000,
    },
    {
      when: 'an API server that fails',
      error: new KubeError('503', { status: 503, reason: 'ServiceUnavailable' }),
      outcome: 'transient',
      level: 'warn',
      retryMs: 5,
    },
    { when: 'an unknown error', error: new TypeError('x is undefined'), outcome: 'bug', level: 'error', retryMs: 5 },
    { when: 'something that is no error', error: 'boo', outcome: 'bug', level: 'error', retryMs: 5 },
  ])('tries again after $when', async ({ error, outcome, level, retryMs }) => {
    const { clock, controller, at, outcomes, levels, stop, run } = build(async () => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- that is the case under test
      if (at.length === 1) throw error;
      return {};
    });
    controller.enqueue(KEY);
    await clock.advance(60_000);

    expect(at).toEqual([0, retryMs]);
    expect(outcomes).toEqual([outcome, 'success']);
    expect(levels()).toEqual([level]);
    stop.abort();
    await run;
  });

  it('waits longer each time, and forgets that after a success', async () => {
    let failures = 4;
    const { clock, controller, at, stop, run } = build(async () => {
      if (failures-- > 0) throw conflict;
      return {};
    });
    controller.enqueue(KEY);
    await clock.advance(1_000);
    expect(at).toEqual([0, 5, 15, 35, 75]);

    failures = 1;
    controller.enqueue(KEY);
    await clock.advance(1_000);
    expect(at.slice(5)).toEqual([1_000, 1_005]);
    stop.abort();
    await run;
  });

  it('leaves a terminal error alone until something changes', async () => {
    const { clock, controller, at, outcomes, levels, stop, run } = build(async () => {
      throw new TerminalError('spec.order: set exactly one', { code: 'InvalidSpec' });
    });
    controller.enqueue(KEY);
    await clock.advance(3_600_000);
    expect([at.length, outcomes, levels()]).toEqual([1, ['terminal'], ['error']]);

    controller.enqueue(KEY);
    await clock.advance(0);
    expect(at).toHaveLength(2);
    stop.abort();
    await run;
  });

  it('lets go of everything when it leads no more', async () => {
    const { clock, controller, at, outcomes, levels, stop, run } = build(async () => {
      throw new NotLeaderError('lost');
    });
    controller.enqueue(KEY);
    await clock.advance(3_600_000);

    expect([at.length, outcomes, levels()]).toEqual([1, ['cancelled'], ['debug']]);
    stop.abort();
    await run;
  });

  it('calls off a reconcile that takes too long, and tries again', async () => {
    const { clock, controller, at, outcomes, levels, stop, run } = build((key, context) =>
      at.length === 1 ? untilAborted(key, context) : Promise.resolve({}),
    );
    controller.enqueue(KEY);
    await clock.advance(61_000);

    expect(at).toEqual([0, 60_005]);
    expect(outcomes).toEqual(['timeout', 'success']);
    expect(levels()).toEqual(['warn']);
    stop.abort();
    await run;
    expect(clock.pendingTimers).toBe(0);
  });

  it('turns to other keys when a reconcile ignores that, yet never starts that key a second time beside it', async () => {
    const stuck = Promise.withResolvers<object>();
    const started: string[] = [];
    const { clock, controller, log, stop, run } = build((key) => {
      started.push(key.name);
      return key.name === 'stuck' && started.length === 1 ? stuck.promise : Promise.resolve({});
    });
    controller.enqueue({ namespace: 'a', name: 'stuck' });
    controller.enqueue({ namespace: 'a', name: 'other' });
    await clock.advance(64_999);
    expect(started).toEqual(['stuck']);

    await clock.advance(60_000);
    expect(started).toEqual(['stuck', 'other']);
    expect(controller.stuckCount).toBe(1);
    expect(log.records).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'Reconcile ignores that it was called off' }),
    );

    stuck.resolve({});
    await clock.advance(0);
    expect(started).toEqual(['stuck', 'other', 'stuck']);
    expect(controller.stuckCount).toBe(0);
    stop.abort();
    await run;
  });

  it('finishes what runs when it is stopped, and starts nothing new', async () => {
    const slow = Promise.withResolvers<object>();
    const { clock, controller, at, outcomes, stop, run } = build(() => slow.promise);
    controller.enqueue(KEY);
    controller.enqueue({ namespace: 'a', name: 'y' });
    await clock.advance(0);

    stop.abort();
    await clock.advance(10_000);
    expect(outcomes).toEqual([]);

    slow.resolve({});
    await run;
    expect([at.length, outcomes]).toEqual([1, ['success']]);
  });

  it('calls off what runs when it is told to, without a complaint', async () => {
    const { clock, controller, abort, outcomes, levels, stop, run } = build(untilAborted);
    controller.enqueue(KEY);
    await clock.advance(0);

    stop.abort();
    abort.abort(new Error('Out of time'));
    await run;

    expect([outcomes, levels()]).toEqual([['cancelled'], ['debug']]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends even if what runs heeds nothing', async () => {
    const { clock, controller, abort, stop, run } = build(() => new Promise(() => undefined));
    controller.enqueue(KEY);
    await clock.advance(0);

    stop.abort();
    abort.abort(new Error('Out of time'));
    await clock.advance(5_000);
    await run;

    expect(controller.stuckCount).toBe(1);
  });

  it('catches a reconcile that throws before it returns a promise', async () => {
    const { clock, controller, outcomes, stop, run } = build(() => {
      throw new Error('synchronously');
    });
    controller.enqueue(KEY);
    await clock.advance(0);

    expect(outcomes).toEqual(['bug']);
    stop.abort();
    await run;
  });
});
