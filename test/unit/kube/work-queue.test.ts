import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { WorkQueue, type WorkQueueOptions } from '../../../operator/kube/work-queue.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function build(options: Partial<WorkQueueOptions> = {}) {
  const clock = new FakeClock();
  const queue = new WorkQueue<string>({ clock, random: () => 1, ...options });
  const stop = new AbortController();
  return { clock, queue, stop };
}

/** A worker whose runs end when the test says so. */
function manualWorker() {
  const started: string[] = [];
  const running = new Map<string, () => void>();
  const worker = (key: string): Promise<void> => {
    started.push(key);
    return new Promise((resolve) => running.set(key, resolve));
  };
  const finish = (key: string): void => {
    const resolve = running.get(key);
    running.delete(key);
    resolve?.();
  };
  return { started, running, worker, finish };
}

describe('WorkQueue', () => {
  it('hands out each waiting key once, in the order of the first add', async () => {
    const { clock, queue, stop } = build();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    const { started, worker, finish } = manualWorker();

    const run = queue.run(worker, { concurrency: 3, signal: stop.signal });
    await clock.advance(0);

    expect(started).toEqual(['a', 'b', 'c']);
    stop.abort();
    for (const key of ['a', 'b', 'c']) finish(key);
    await run;
  });

  it('works on a key once more when it was added meanwhile, and never twice at a time', async () => {
    const { clock, queue, stop } = build();
    const { started, worker, finish } = manualWorker();
    const run = queue.run(worker, { concurrency: 2, signal: stop.signal });
    queue.add('a');
    await clock.advance(0);

    queue.add('a');
    queue.add('a');
    await clock.advance(0);
    expect(started).toEqual(['a']);

    finish('a');
    await clock.advance(0);
    expect(started).toEqual(['a', 'a']);

    finish('a');
    await clock.advance(10_000);
    expect(started).toEqual(['a', 'a']);
    stop.abort();
    await run;
  });

  it('lets higher priorities go first, and raises a waiting key', async () => {
    const { clock, queue, stop } = build();
    queue.add('initial', { priority: -100 });
    queue.add('live');
    queue.add('raised', { priority: -100 });
    queue.add('rollback', { priority: 10 });
    queue.add('raised', { priority: 20 });
    const started: string[] = [];

    const run = queue.run(async (key) => void started.push(key), { concurrency: 1, signal: stop.signal });
    await clock.advance(0);

    expect(started).toEqual(['raised', 'rollback', 'live', 'initial']);
    stop.abort();
    await run;
  });

  it('keeps the earliest of several delays', async () => {
    const { clock, queue, stop } = build();
    const at: number[] = [];
    const run = queue.run(async () => void at.push(clock.monotonicMs()), { concurrency: 1, signal: stop.signal });

    queue.add('a', { afterMs: 5_000 });
    queue.add('a', { afterMs: 1_000 });
    queue.add('a', { afterMs: 9_000 });
    await clock.advance(20_000);

    expect(at).toEqual([1_000]);
    stop.abort();
    await run;
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps the earliest delay also when a later one is more urgent', async () => {
    const { clock, queue, stop } = build();
    const at: number[] = [];
    const run = queue.run(async () => void at.push(clock.monotonicMs()), { concurrency: 1, signal: stop.signal });

    queue.add('a', { afterMs: 1_000 });
    queue.add('a', { afterMs: 5_000, priority: 10 });
    await clock.advance(20_000);

    expect(at).toEqual([1_000]);
    stop.abort();
    await run;
  });

  it('lets an add overtake a delay, which is then over', async () => {
    const { clock, queue, stop } = build();
    const at: number[] = [];
    const run = queue.run(async () => void at.push(clock.monotonicMs()), { concurrency: 1, signal: stop.signal });

    queue.add('a', { afterMs: 5_000 });
    await clock.advance(1_000);
    queue.add('a');
    await clock.advance(20_000);

    expect(at).toEqual([1_000]);
    stop.abort();
    await run;
  });

  it('comes back after a delay that was asked for during the run', async () => {
    const { clock, queue, stop } = build();
    const at: number[] = [];
    const run = queue.run(
      async (key) => {
        at.push(clock.monotonicMs());
        if (at.length < 3) queue.add(key, { afterMs: 1_000 });
      },
      { concurrency: 1, signal: stop.signal },
    );
    queue.add('a');
    await clock.advance(10_000);

    expect(at).toEqual([0, 1_000, 2_000]);
    stop.abort();
    await run;
  });

  it('doubles the delay of a key that fails, up to the cap, until it is forgotten', () => {
    const { queue } = build({ baseDelayMs: 5, maxDelayMs: 100 });

    const delays = Array.from({ length: 7 }, () => queue.retry('a'));
    expect(delays).toEqual([5, 10, 20, 40, 80, 100, 100]);
    expect(queue.retry('b')).toBe(5);

    queue.forget('a');
    expect(queue.retry('a')).toBe(5);
  });

  it('never retries before the wait that was asked for', () => {
    const { queue } = build();

    expect(queue.retry('a', 60_000)).toBe(60_000);
  });

  it('slows down when very many keys fail together', () => {
    const { queue } = build();
    const keys = Array.from({ length: 1_000 }, (_, index) => `key-${index}`);

    const first = keys.map((key) => queue.retry(key));
    const second = keys.map((key) => queue.retry(key));

    expect(new Set(first)).toEqual(new Set([5]));
    expect(new Set(second.slice(0, 100))).toEqual(new Set([10]));
    expect(second[149]).toBeCloseTo(5_000);
    expect(Math.max(...second)).toBe(30_000);
  });

  it('retries a key whose worker rejects', async () => {
    const { clock, queue, stop } = build();
    let runs = 0;
    const run = queue.run(
      async () => {
        runs += 1;
        if (runs === 1) throw new Error('bug');
      },
      { concurrency: 1, signal: stop.signal },
    );
    queue.add('a');
    await clock.advance(1_000);

    expect(runs).toBe(2);
    stop.abort();
    await run;
  });

  it('starts nothing after the stop, waits for what runs, and keeps the rest', async () => {
    const { clock, queue, stop } = build();
    const { started, worker, finish } = manualWorker();
    queue.add('a');
    queue.add('b');
    let isOver = false;
    const run = queue.run(worker, { concurrency: 1, signal: stop.signal }).then(() => {
      isOver = true;
    });
    await clock.advance(0);

    stop.abort();
    await clock.advance(1_000);
    expect(isOver).toBe(false);

    finish('a');
    await run;
    expect(started).toEqual(['a']);
    expect(queue.length).toBe(1);
  });

  it('holds keys and delays for a worker that comes later', async () => {
    const { clock, queue, stop } = build();
    queue.add('now');
    queue.add('late', { afterMs: 1_000 });
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);

    const started: string[] = [];
    const run = queue.run(async (key) => void started.push(key), { concurrency: 1, signal: stop.signal });
    await clock.advance(0);

    expect(started).toEqual(['now', 'late']);
    stop.abort();
    await run;
  });

  it('does not grow with delays that were overtaken', async () => {
    const { clock, queue, stop } = build();
    const run = queue.run(async () => undefined, { concurrency: 1, signal: stop.signal });

    for (let index = 0; index < 10_000; index += 1) {
      queue.add('a', { afterMs: 3_600_000 - index });
      if (index % 100 === 0) await clock.advance(0);
    }
    await clock.advance(3_600_000);

    expect(clock.pendingTimers).toBe(0);
    stop.abort();
    await run;
  });

  describe('whatever happens', () => {
    const KEYS = ['a', 'b', 'c', 'd'] as const;
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        key: fc.constantFrom(...KEYS),
        priority: fc.integer({ min: -2, max: 2 }),
        afterMs: fc.constantFrom(0, 0, 1, 7, 50, 300),
      }),
      fc.record({ kind: fc.constant('retry' as const), key: fc.constantFrom(...KEYS) }),
      fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 60 }) }),
    );

    it('runs a key on one worker at a time, within the concurrency, after every add and in time', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(action, { maxLength: 40 }),
          fc.integer({ min: 1, max: 3 }),
          fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 5 }),
          async (actions, concurrency, durations) => {
            const { clock, queue, stop } = build({ baseDelayMs: 3, maxDelayMs: 40 });
            const active = new Set<string>();
            const starts = new Map<string, number[]>(KEYS.map((key) => [key, []]));
            // Every add is a sequence number; a run that starts later answers it.
            const asked: { readonly key: string; readonly sequence: number }[] = [];
            let sequence = 0;
            let runs = 0;
            const run = queue.run(
              async (key) => {
                expect(active.has(key)).toBe(false);
                active.add(key);
                expect(active.size).toBeLessThanOrEqual(concurrency);
                starts.get(key)?.push((sequence += 1));
                runs += 1;
                await clock.sleep(durations[runs % durations.length] ?? 0, new AbortController().signal);
                active.delete(key);
              },
              { concurrency, signal: stop.signal },
            );
            for (const step of actions) {
              if (step.kind === 'advance') await clock.advance(step.ms);
              else {
                asked.push({ key: step.key, sequence: (sequence += 1) });
                if (step.kind === 'retry') queue.retry(step.key);
                else queue.add(step.key, step);
              }
            }
            // Longer than all delays and runs together.
            await clock.advance(5_000);

            for (const { key, sequence: since } of asked) {
              expect(starts.get(key)?.some((start) => start > since)).toBe(true);
            }
            expect([active.size, queue.length, clock.pendingTimers]).toEqual([0, 0, 0]);
            expect(runs).toBeLessThanOrEqual(asked.length);
            stop.abort();
            await run;
          },
        ),
        { numRuns: 150 },
      );
    });
  });
});
