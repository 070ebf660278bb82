import { describe, expect, it } from '@jest/globals';
import { Backoff } from '../../../operator/kube/backoff.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const build = (random: () => number) => {
  const clock = new FakeClock();
  return { clock, backoff: new Backoff({ clock, random, baseMs: 800, maxMs: 30_000, resetAfterMs: 120_000 }) };
};

describe('Backoff', () => {
  it('doubles up to the cap', () => {
    const { backoff } = build(() => 1);

    expect(Array.from({ length: 8 }, () => backoff.next())).toEqual([
      800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
    ]);
  });

  it('spreads each wait from nothing to the whole', () => {
    const { backoff } = build(() => 0.25);

    expect([backoff.next(), backoff.next()]).toEqual([200, 400]);
  });

  it('starts over after two minutes of health, not counting its own wait', async () => {
    const { clock, backoff } = build(() => 1);
    for (let attempt = 0; attempt < 7; attempt += 1) backoff.next();

    await clock.advance(30_000 + 119_000);
    expect(backoff.next()).toBe(30_000);
    await clock.advance(30_000 + 121_000);
    expect(backoff.next()).toBe(800);
  });
});
