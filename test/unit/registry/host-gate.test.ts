// How much one host is asked at a time, and when it is left alone.

import { describe, expect, it } from '@jest/globals';
import { HostGate } from '../../../operator/registry/host-gate.ts';
import { registryError } from '../../../operator/registry/problem.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { never, rejection } from './client-fixture.ts';

const ANSWERED = { kind: 'answered' } as const;
const VOID = { kind: 'void' } as const;
const FAILED = { kind: 'failed', error: registryError('Unavailable', 'down') } as const;

function limited(retryAfterMs?: number) {
  return { kind: 'limited', error: registryError('RateLimited', 'slow down'), retryAfterMs } as const;
}

function createGate(options: { requestsPerSecond?: number; concurrency?: number } = {}) {
  const clock = new FakeClock();
  const gate = new HostGate({ clock, random: () => 0, requestsPerSecond: 1_000, concurrency: 100, ...options });
  const pass = async (outcome: Parameters<HostGate['leave']>[1], login = 'me'): Promise<void> => {
    await gate.enter(login, never);
    gate.leave(login, outcome);
  };
  return { clock, gate, pass };
}

describe('HostGate', () => {
  it('lets one second of budget through at once and the rest as it is earned', async () => {
    const { clock, gate } = createGate({ requestsPerSecond: 10 });
    let passed = 0;
    const all = Promise.all(Array.from({ length: 25 }, () => gate.enter('me', never).then(() => (passed += 1))));

    await clock.advance(0);
    expect(passed).toBe(10);
    await clock.advance(500);
    expect(passed).toBe(15);
    await clock.advance(1_000);
    expect(passed).toBe(25);
    await all;
    expect(clock.pendingTimers).toBe(0);
  });

  it('lets through a request every hundred seconds where so little is allowed', async () => {
    const { clock, gate } = createGate({ requestsPerSecond: 0.01 });
    let passed = 0;
    for (let at = 0; at < 3; at += 1) void gate.enter('me', never).then(() => (passed += 1));

    await clock.advance(99_000);
    expect(passed).toBe(1);
    await clock.advance(1_000);
    expect(passed).toBe(2);
    await clock.advance(100_000);
    expect(passed).toBe(3);
  });

  it('lets no more through at once than the host is given', async () => {
    const { clock, gate } = createGate({ concurrency: 2 });
    const passed: number[] = [];
    for (let at = 0; at < 4; at += 1) void gate.enter('me', never).then(() => passed.push(at));

    await clock.advance(10_000);
    expect(passed).toEqual([0, 1]);
    gate.leave('me', ANSWERED);
    await clock.advance(0);
    expect(passed).toEqual([0, 1, 2]);
  });

  it('takes nothing from those who give up while they wait', async () => {
    const { clock, gate } = createGate({ concurrency: 1 });
    await gate.enter('me', never);
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiting = rejection(gate.enter('me', controller.signal));
    const next = gate.enter('me', never);

    controller.abort(reason);
    expect(await waiting).toBe(reason);
    gate.leave('me', ANSWERED);
    await next;
    expect(clock.pendingTimers).toBe(0);
  });

  it('refuses a signal that has aborted already', async () => {
    const { gate } = createGate();
    const reason = new Error('enough');

    expect(await rejection(gate.enter('me', AbortSignal.abort(reason)))).toBe(reason);
  });

  it('opens the circuit after five failures in a row, with the text of the last one and nothing else', async () => {
    const { pass, gate } = createGate();
    for (let at = 0; at < 4; at += 1) await pass(FAILED);
    await pass(ANSWERED);
    for (let at = 0; at < 5; at += 1) await pass(FAILED);

    const error = await rejection(gate.enter('me', never));

    expect(error).toMatchObject({ code: 'Unavailable', message: 'down', retryAfterMs: 10_000 });
  });

  it('refuses those who wait when the circuit opens', async () => {
    const { gate } = createGate({ requestsPerSecond: 5 });
    for (let at = 0; at < 5; at += 1) await gate.enter('me', never);
    const waiting = rejection(gate.enter('me', never));

    for (let at = 0; at < 5; at += 1) gate.leave('me', FAILED);

    expect(await waiting).toMatchObject({ code: 'Unavailable' });
  });

  it('lets one request try when the time is over, and closes when it is answered', async () => {
    const { clock, gate, pass } = createGate();
    for (let at = 0; at < 5; at += 1) await pass(FAILED);
    await clock.advance(10_000);

    await gate.enter('me', never);
    await rejection(gate.enter('me', never));
    gate.leave('me', ANSWERED);

    await pass(ANSWERED);
    await pass(ANSWERED);
    expect(gate.isIdle).toBe(true);
  });

  it('stays open twice as long after each failed try, five minutes at most', async () => {
    const { clock, gate, pass } = createGate();
    for (let at = 0; at < 5; at += 1) await pass(FAILED);

    const pauses: (number | undefined)[] = [];
    for (let at = 0; at < 7; at += 1) {
      const { retryAfterMs = 0 } = await rejection(gate.enter('me', never));
      pauses.push(retryAfterMs / 1_000);
      await clock.advance(retryAfterMs);
      await pass(FAILED);
    }

    expect(pauses).toEqual([10, 20, 40, 80, 160, 300, 300]);
  });

  it('lets another try when a try said nothing', async () => {
    const { clock, pass } = createGate();
    for (let at = 0; at < 5; at += 1) await pass(FAILED);
    await clock.advance(10_000);

    await pass(VOID);
    await pass(ANSWERED);
  });

  it('leaves the host alone as long as it asked, for this login only', async () => {
    const { clock, gate, pass } = createGate();
    await pass(limited(30_000));

    expect(await rejection(gate.enter('me', never))).toMatchObject({
      code: 'RateLimited',
      message: 'slow down',
      retryAfterMs: 30_000,
    });
    await pass(ANSWERED, 'other');
    await clock.advance(29_999);
    await rejection(gate.enter('me', never));
    await clock.advance(1);
    await pass(ANSWERED);
  });

  it('waits longer and longer, ten minutes at most, where the host does not say how long', async () => {
    const { clock, gate, pass } = createGate();
    const pauses: number[] = [];
    for (let at = 0; at < 8; at += 1) {
      await pass(limited());
      const { retryAfterMs = 0 } = await rejection(gate.enter('me', never));
      pauses.push(retryAfterMs / 1_000);
      await clock.advance(retryAfterMs);
    }

    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 600, 600]);
  });

  it('does not take 429 for an outage', async () => {
    const { pass } = createGate();
    for (let at = 0; at < 10; at += 1) await pass(limited(1_000), `login ${at}`);

    await pass(ANSWERED, 'another');
  });
});
