import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../operator/time/clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe.each([
  { name: 'systemClock', create: () => systemClock },
  { name: 'FakeClock', create: () => new FakeClock() },
])('$name', ({ create }) => {
  it('never goes back on its monotonic side', () => {
    const clock = create();

    const first = clock.monotonicMs();

    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(first);
  });

  it('ends a sleep with the reason of its signal, whether that came before or during it', async () => {
    const clock = create();
    const reason = new Error('shutting down');
    const controller = new AbortController();

    const during = clock.sleep(3_600_000, controller.signal);
    controller.abort(reason);

    await expect(during).rejects.toBe(reason);
    await expect(clock.sleep(3_600_000, controller.signal)).rejects.toBe(reason);
  });

  it('does not run a timer that was disposed', async () => {
    const clock = create();
    let ran = false;

    clock.setTimer(0, () => (ran = true))[Symbol.dispose]();
    if (clock instanceof FakeClock) await clock.advance(1);
    await clock.sleep(5, AbortSignal.abort()).catch(() => undefined);
    await nextTurn();

    expect(ran).toBe(false);
  });
});

describe('systemClock', () => {
  it('runs a timer that is due, and one that is overdue', async () => {
    for (const delayMs of [0, 1, -5]) {
      await new Promise<void>((resolve) => void systemClock.setTimer(delayMs, resolve));
    }
    await expect(systemClock.sleep(1, new AbortController().signal)).resolves.toBeUndefined();
  });

  it.each([2 ** 31, Number.MAX_SAFE_INTEGER, Infinity])(
    'does not run a timer at once that is due in %d ms',
    async (delayMs) => {
      let ran = false;
      using _timer = systemClock.setTimer(delayMs, () => (ran = true));

      await systemClock.sleep(20, new AbortController().signal);

      expect(ran).toBe(false);
    },
  );

  it('leaves no listener on the signal of a sleep that has ended', async () => {
    const { signal } = new AbortController();
    let added = 0;
    let removed = 0;
    const counting = new Proxy(signal, {
      get(target, property) {
        if (property === 'addEventListener') added += 1;
        if (property === 'removeEventListener') removed += 1;
        const value: unknown = Reflect.get(target, property);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });

    await systemClock.sleep(1, counting);

    expect({ added, removed }).toEqual({ added: 1, removed: 1 });
  });
});
