import { describe, expect, it } from '@jest/globals';
import { parseRetryAfterMs } from '../../../operator/registry/retry-after.ts';

const NOW = Date.UTC(2026, 0, 5, 8, 0, 0);

describe('parseRetryAfterMs', () => {
  it.each([
    ['30', 30_000],
    [' 5 ', 5_000],
    ['0', 1_000],
    ['86400', 3_600_000],
    ['999999999999999', 3_600_000],
    ['Mon, 05 Jan 2026 08:02:00 GMT', 120_000],
    ['Mon, 05 Jan 2026 07:00:00 GMT', 1_000],
    ['Fri, 01 Jan 2100 00:00:00 GMT', 3_600_000],
    ['soon', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['', undefined],
    ['99999999999999999999', undefined],
    ['2026-01-05T08:02:00Z', undefined],
    ['Mon, 99 Jan 2026 08:02:00 GMT', undefined],
    [undefined, undefined],
  ])('reads %j as %s ms', (header, want) => {
    expect(parseRetryAfterMs(header, NOW)).toBe(want);
  });
});
