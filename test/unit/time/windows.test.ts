import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileWindows, formatWindowTime, type WindowRule } from '../../../operator/time/windows.ts';

const at = (text: string): number => Date.parse(text);
const iso = (timeMs: number | undefined): string | undefined =>
  timeMs === undefined ? undefined : new Date(timeMs).toISOString().replace('.000', '');
const nightly: WindowRule = { cron: '0 22 * * 1-5', duration: '4h', timeZone: 'Europe/Berlin' };
const holidays: WindowRule = { cron: '0 0 20 12 *', duration: '336h', timeZone: 'Europe/Berlin' };
const daily = (cron: string, duration: string, timeZone = 'UTC'): WindowRule => ({ cron, duration, timeZone });

describe('compileWindows', () => {
  it.each<{
    when: string;
    allow?: WindowRule[];
    deny?: WindowRule[];
    now: string;
    isOpen: boolean;
    /** When it shuts, or opens next. */
    changes: string | undefined;
  }>([
    { when: 'nothing is said', now: '2026-11-25T09:00:00Z', isOpen: true, changes: undefined },
    {
      when: 'before an allowed window',
      allow: [nightly],
      now: '2026-11-25T09:00:00Z',
      isOpen: false,
      changes: '2026-11-25T21:00:00Z',
    },
    {
      when: 'at its first moment',
      allow: [nightly],
      now: '2026-11-25T21:00:00Z',
      isOpen: true,
      changes: '2026-11-26T01:00:00Z',
    },
    {
      when: 'in its last second',
      allow: [nightly],
      now: '2026-11-26T00:59:59Z',
      isOpen: true,
      changes: '2026-11-26T01:00:00Z',
    },
    {
      when: 'at its end',
      allow: [nightly],
      now: '2026-11-26T01:00:00Z',
      isOpen: false,
      changes: '2026-11-26T21:00:00Z',
    },
    {
      when: 'over a weekend',
      allow: [nightly],
      now: '2026-11-28T12:00:00Z',
      isOpen: false,
      changes: '2026-11-30T21:00:00Z',
    },
    {
      when: 'inside a denied window',
      allow: [nightly],
      deny: [holidays],
      now: '2026-12-21T21:30:00Z',
      isOpen: false,
      changes: '2027-01-04T21:00:00Z',
    },
    {
      when: 'only denials are given',
      deny: [holidays],
      now: '2026-12-21T21:30:00Z',
      isOpen: false,
      changes: '2027-01-02T23:00:00Z',
    },
    {
      when: 'a denial comes before the end',
      allow: [daily('0 10 * * *', '4h')],
      deny: [daily('0 12 * * *', '1h')],
      now: '2026-01-05T11:00:00Z',
      isOpen: true,
      changes: '2026-01-05T12:00:00Z',
    },
    {
      when: 'a denial ends inside an allowed window',
      allow: [daily('0 10 * * *', '4h')],
      deny: [daily('0 12 * * *', '1h')],
      now: '2026-01-05T12:30:00Z',
      isOpen: false,
      changes: '2026-01-05T13:00:00Z',
    },
    {
      when: 'windows touch each other',
      allow: [daily('0 10 * * *', '2h'), daily('0 12 * * *', '2h')],
      now: '2026-01-05T11:00:00Z',
      isOpen: true,
      changes: '2026-01-05T14:00:00Z',
    },
    {
      when: 'windows overlap themselves without end',
      allow: [daily('0 0 * * *', '48h')],
      now: '2026-01-05T11:00:00Z',
      isOpen: true,
      // Then it is judged again.
      changes: '2026-02-14T00:00:00Z',
    },
    {
      when: 'a start falls into the hour that is skipped',
      allow: [daily('30 2 * * *', '1h', 'Europe/Berlin')],
      now: '2026-03-29T00:00:00Z',
      isOpen: false,
      changes: '2026-03-29T01:00:00Z',
    },
    {
      when: 'a start exists twice, after the first ended',
      allow: [daily('30 2 * * *', '30m', 'Europe/Berlin')],
      now: '2026-10-25T01:30:00Z',
      isOpen: false,
      changes: '2026-10-26T01:30:00Z',
    },
    {
      when: 'a window lasts over the change of the clocks',
      allow: [daily('0 22 * * *', '8h', 'America/New_York')],
      now: '2026-03-08T04:00:00Z',
      isOpen: true,
      changes: '2026-03-08T11:00:00Z',
    },
    {
      when: 'the year is a leap year only later',
      allow: [daily('0 0 29 2 *', '1h')],
      now: '2026-03-01T00:00:00Z',
      isOpen: false,
      changes: '2028-02-29T00:00:00Z',
    },
    {
      when: 'day of month or day of week',
      allow: [daily('0 0 13 * 5', '1h')],
      now: '2026-01-10T00:00:00Z',
      isOpen: false,
      changes: '2026-01-13T00:00:00Z',
    },
    {
      when: 'what is allowed is always denied',
      allow: [daily('0 10 * * *', '1h')],
      deny: [daily('0 9 * * *', '3h')],
      now: '2026-01-05T12:00:00Z',
      isOpen: false,
      changes: undefined,
    },
  ])('answers, when $when', ({ allow, deny, now, isOpen, changes }) => {
    const answer = compileWindows({ allow, deny }).at(at(now));

    expect(answer.isOpen).toBe(isOpen);
    expect(iso(answer.isOpen ? answer.untilMs : answer.opensMs)).toBe(changes);
  });

  it('says in the time zone of the window when it opens', () => {
    expect(compileWindows({ allow: [nightly] }).at(at('2026-11-25T09:00:00Z'))).toMatchObject({
      because: 'outside of the allowed windows, and the next opens 2026-11-25 22:00 Europe/Berlin',
    });
  });

  it('says when none will ever open', () => {
    const windows = compileWindows({ allow: [daily('0 10 * * *', '1h')], deny: [daily('0 9 * * *', '3h')] });

    expect(windows.at(at('2026-01-05T12:00:00Z'))).toMatchObject({
      because: expect.stringContaining('none is in sight: change gates.windows'),
    });
  });

  it.each([
    {
      when: 'the date never comes',
      rule: daily('0 0 30 2 *', '1h'),
      says: /allow\[0\]: cron "0 0 30 2 \*" never begins/,
    },
    { when: 'a field is out of bounds', rule: daily('0 99 * * *', '1h'), says: /allow\[0\]: cron "0 99/ },
    { when: 'there are six fields', rule: daily('0 0 10 * * *', '1h'), says: /must be five fields/ },
    {
      when: 'the time zone is unknown',
      rule: daily('0 10 * * *', '1h', 'Mars/Base'),
      says: /Mars\/Base is no time zone/,
    },
  ])('refuses a window when $when, naming it and the remedy', ({ rule, says }) => {
    expect(() => compileWindows({ allow: [rule] })).toThrow(says);
  });

  it('gives the same answers whatever it was asked before', () => {
    const minutes = fc.integer({ min: 0, max: 60 * 24 * 40 });
    const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata');
    const rule = fc.record({
      cron: fc.constantFrom('0 22 * * 1-5', '30 2 * * *', '15 1 1,15 * *', '0 0 * * 0'),
      duration: fc.constantFrom('10m', '1h', '4h'),
      timeZone: zone,
    });
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 2 }),
        fc.array(rule, { maxLength: 1 }),
        fc.array(minutes, { minLength: 2, maxLength: 6 }),
        (allow, deny, times) => {
          const windows = compileWindows({ allow, deny });
          for (const minute of times) {
            const now = at('2026-10-01T00:00:00Z') + minute * 60_000;
            expect(windows.at(now).isOpen).toBe(compileWindows({ allow, deny }).at(now).isOpen);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  it.each<{ when: string; rules: Parameters<typeof compileWindows>[0]; asked: string; then: string; isOpen: boolean }>([
    {
      when: 'windows of a quarter follow each other for a day',
      rules: { allow: [daily('*/15 9-16 * * 1-5', '15m')] },
      asked: '2026-01-09T09:00:00Z',
      then: '2026-01-09T20:00:00Z',
      isOpen: false,
    },
    {
      when: 'denied minutes follow each other for a day',
      rules: { deny: [daily('* 8-17 * * *', '1m')] },
      asked: '2026-01-09T08:02:00Z',
      then: '2026-01-09T18:30:00Z',
      isOpen: true,
    },
    {
      when: 'a row of denied hours lies over the change of the clocks',
      rules: { deny: [daily('0 0-5 * * *', '1h', 'Europe/Berlin')] },
      asked: '2026-10-25T00:30:00Z',
      then: '2026-10-25T01:30:00Z',
      isOpen: false,
    },
  ])('is asked again in time when $when', ({ rules, asked, then, isOpen }) => {
    const windows = compileWindows(rules);
    const first = windows.at(at(asked));
    const changesMs = first.isOpen ? first.untilMs : (first.opensMs ?? first.againMs);

    if (first.isOpen !== isOpen) expect(changesMs).toBeLessThanOrEqual(at(then));
    for (let now = at(asked); now <= at(then); now += 5 * 60_000) windows.at(now);
    expect(windows.at(at(then)).isOpen).toBe(isOpen);
  });

  it('agrees with a calendar read minute by minute', () => {
    const localTime = (timeMs: number, timeZone: string): string => formatWindowTime(timeMs, timeZone).slice(11, 16);
    fc.assert(
      fc.property(
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata'),
        fc.integer({ min: 4, max: 23 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 60 * 24 * 364 }),
        (timeZone, hour, hours, minute) => {
          const now = at('2026-01-02T00:00:00Z') + minute * 60_000;
          const { isOpen } = compileWindows({ allow: [daily(`0 ${hour} * * *`, `${hours}h`, timeZone)] }).at(now);

          const start = `${String(hour).padStart(2, '0')}:00`;
          let wanted = false;
          for (let back = 0; back < hours * 60; back += 1)
            wanted ||= localTime(now - back * 60_000, timeZone) === start && (now - back * 60_000) % 60_000 === 0;
          expect(isOpen).toBe(wanted);
        },
      ),
      { numRuns: 15 },
    );
  });
});
