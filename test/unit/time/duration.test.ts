import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TerminalError } from '../../../operator/errors.ts';
import { formatDurationMs, parseDurationMs, parseTimestampMs, toTimestamp } from '../../../operator/time/duration.ts';

describe('parseDurationMs', () => {
  it.each([
    { given: '0s', want: 0 },
    { given: '90s', want: 90_000 },
    { given: '5m', want: 300_000 },
    { given: '1h30m', want: 5_400_000 },
    { given: '72h', want: 259_200_000 },
    { given: '1h1m1s', want: 3_661_000 },
    { given: '00m05s', want: 5_000 },
  ])('reads $given as $want ms', ({ given, want }) => {
    expect(parseDurationMs(given)).toBe(want);
  });

  it.each([
    '',
    '5',
    'm',
    '5 m',
    ' 5m',
    '5m\n',
    '-5m',
    '+5m',
    '1.5h',
    '5d',
    '5ms',
    '5M',
    '1h-1m',
    'Infinity',
    `${'9'.repeat(400)}h`,
  ])('refuses %j', (given) => {
    expect(() => parseDurationMs(given)).toThrow(TerminalError);
    expect(() => parseDurationMs(given)).toThrow(/90s, 5m or 1h30m/);
  });
});

describe('formatDurationMs', () => {
  it.each([
    { given: 0, want: '0s' },
    { given: 499, want: '0s' },
    { given: 500, want: '1s' },
    { given: 45_000, want: '45s' },
    { given: 59_600, want: '1m' },
    { given: 200_000, want: '3m20s' },
    { given: 3_600_000, want: '1h' },
    { given: 3_601_000, want: '1h' },
    { given: 7_500_000, want: '2h5m' },
    { given: 90_000_000, want: '25h' },
    { given: -5_000, want: '0s' },
  ])('writes $given ms as $want', ({ given, want }) => {
    expect(formatDurationMs(given)).toBe(want);
  });

  it('can be read again, off by less than its smallest unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000_000 }), (durationMs) => {
        const unitMs = durationMs >= 3_600_000 ? 60_000 : 1_000;

        expect(Math.abs(parseDurationMs(formatDurationMs(durationMs)) - durationMs)).toBeLessThan(unitMs);
      }),
    );
  });
});

describe('toTimestamp', () => {
  it('writes whole seconds in UTC, the fraction dropped', () => {
    expect(toTimestamp(Date.UTC(2026, 0, 2, 3, 4, 5, 999))).toBe('2026-01-02T03:04:05Z');
  });

  it('is read back to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (timeMs) => {
        expect(parseTimestampMs(toTimestamp(timeMs))).toBe(Math.floor(timeMs / 1_000) * 1_000);
      }),
    );
  });
});

describe('parseTimestampMs', () => {
  it.each([
    { given: '2026-01-02T03:04:05Z', want: Date.UTC(2026, 0, 2, 3, 4, 5) },
    { given: '2026-01-02T03:04:05.250Z', want: Date.UTC(2026, 0, 2, 3, 4, 5, 250) },
    { given: '2026-01-02T03:04:05.123456Z', want: Date.UTC(2026, 0, 2, 3, 4, 5, 123) },
    { given: '2026-01-02T03:04:05+02:00', want: Date.UTC(2026, 0, 2, 1, 4, 5) },
    { given: undefined, want: undefined },
    { given: '', want: undefined },
    { given: 'yesterday', want: undefined },
  ])('reads $given as $want', ({ given, want }) => {
    expect(parseTimestampMs(given)).toBe(want);
  });
});
