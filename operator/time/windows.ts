// Maintenance windows: cron starts in a time zone, each open for an elapsed time. `cron` finds the starts: one that does not
// exist on the day the clocks go forward begins right after the gap, one that exists twice begins at the first. Pure.

import { CronTime } from 'cron';
import { TerminalError } from '../errors.ts';
import { parseDurationMs } from './duration.ts';

export interface WindowRule {
  /** Five fields: minute, hour, day of month, month, day of week. */
  readonly cron: string;
  readonly duration: string;
  /** IANA name. */
  readonly timeZone: string;
}

export interface WindowRules {
  /** Absent: open at any time. */
  readonly allow?: readonly WindowRule[] | undefined;
  readonly deny?: readonly WindowRule[] | undefined;
}

export type WindowAnswer =
  /** `untilMs`: when it shuts. Absent: not in the foreseeable future. */
  | { readonly isOpen: true; readonly untilMs?: number }
  /** `opensMs`: when it opens next. Absent: none is in sight, up to `againMs`, when it has to be judged again. */
  | { readonly isOpen: false; readonly opensMs?: number; readonly againMs?: number; readonly because: string };

export interface Windows {
  at(nowMs: number): WindowAnswer;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const HORIZON_MS = 5 * 366 * DAY_MS;
/** How far back the last start is looked for, step by step, so that frequent ones cost few steps. */
const LOOK_BACK_MS = [2 * MINUTE_MS, 60 * MINUTE_MS, DAY_MS, 8 * DAY_MS, 32 * DAY_MS, 367 * DAY_MS, HORIZON_MS];
/** Windows that touch each other are followed this far; then they are judged again. */
const MAX_CHAIN = 20;
const MAX_STEPS = 100;
/** Where none opens for longer than this, people are told to look at the rules. */
const IN_SIGHT_MS = 31 * DAY_MS;

/** Throws TerminalError `InvalidWindow`, which names the window and the remedy. */
export function compileWindows({ allow, deny }: WindowRules): Windows {
  const allowed = allow?.map((rule, index) => new Window(rule, `gates.windows.allow[${index}]`, 'allow'));
  const denied = (deny ?? []).map((rule, index) => new Window(rule, `gates.windows.deny[${index}]`, 'deny'));
  const answer = (nowMs: number): WindowAnswer => {
    const denial = denied.find((window) => window.endOf(nowMs) !== undefined);
    const isAllowed = allowed === undefined || allowed.some((window) => window.endOf(nowMs) !== undefined);
    if (denial === undefined && isAllowed) {
      const untilMs = findShutting(nowMs, allowed, denied);
      return { isOpen: true, ...(untilMs !== undefined && { untilMs }) };
    }
    const { opensMs, againMs } = findOpening(nowMs, allowed, denied);
    const zone = (denial ?? allowed?.[0])?.timeZone ?? 'UTC';
    const where =
      denial === undefined ? 'outside of the allowed windows' : `inside a denied window (${denial.rule.cron})`;
    const next =
      opensMs !== undefined
        ? `and the next opens ${formatWindowTime(opensMs, zone)}`
        : againMs !== undefined && againMs - nowMs < IN_SIGHT_MS
          ? `and none opens before ${formatWindowTime(againMs, zone)}`
          : 'and none is in sight: change gates.windows';
    return {
      isOpen: false,
      ...(opensMs !== undefined && { opensMs }),
      ...(againMs !== undefined && { againMs }),
      because: `${where}, ${next}`,
    };
  };
  // An answer holds until it says otherwise: looking for it costs milliseconds, and every look at a policy asks.
  let kept: { readonly fromMs: number; readonly toMs: number; readonly answer: WindowAnswer } | undefined;
  return {
    at(nowMs) {
      if (kept === undefined || nowMs < kept.fromMs || nowMs >= kept.toMs) {
        const fresh = answer(nowMs);
        const toMs = (fresh.isOpen ? fresh.untilMs : (fresh.opensMs ?? fresh.againMs)) ?? nowMs + DAY_MS;
        kept = { fromMs: nowMs, toMs, answer: fresh };
      }
      return kept.answer;
    },
  };
}

/** `2026-11-25 22:00 Europe/Berlin`. */
export function formatWindowTime(timeMs: number, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  }).formatToParts(timeMs);
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.find((it) => it.type === type)?.value ?? '';
  return `${part('year')}-${part('month')}-${part('day')} ${part('hour')}:${part('minute')} ${timeZone}`;
}

function findShutting(
  nowMs: number,
  allowed: readonly Window[] | undefined,
  denied: readonly Window[],
): number | undefined {
  const denials = denied.flatMap((window) => window.startAfter(nowMs) ?? []);
  const endMs = allowed === undefined ? undefined : findEnd(nowMs, allowed);
  const ends = [...denials, ...(endMs === undefined ? [] : [endMs])];
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** When the last of the windows that follow each other without a gap ends, or up to when they were followed. */
function findEnd(nowMs: number, windows: readonly Window[]): number {
  let endMs = nowMs;
  for (let link = 0; link < MAX_CHAIN; link += 1) {
    const next = Math.max(...windows.map((window) => window.endOf(endMs) ?? -Infinity));
    if (next === -Infinity) return endMs;
    endMs = next;
  }
  return endMs;
}

function findOpening(
  nowMs: number,
  allowed: readonly Window[] | undefined,
  denied: readonly Window[],
): { readonly opensMs?: number; readonly againMs?: number } {
  let atMs = nowMs;
  for (let step = 0; step < MAX_STEPS && atMs <= nowMs + HORIZON_MS; step += 1) {
    const denialEnds = denied.flatMap((window) => window.endOf(atMs) ?? []);
    if (denialEnds.length > 0) {
      atMs = Math.max(...denialEnds);
      continue;
    }
    if (allowed === undefined || allowed.some((window) => window.endOf(atMs) !== undefined)) return { opensMs: atMs };
    const from = atMs;
    const starts = allowed.flatMap((window) => window.startAfter(from) ?? []);
    if (starts.length === 0) return {};
    atMs = Math.min(...starts);
  }
  return atMs <= nowMs + HORIZON_MS ? { againMs: atMs } : {};
}

class Window {
  readonly rule: WindowRule;
  readonly #cron: CronTime;
  readonly #durationMs: number;
  /** Where the clock is set back, a start that comes twice counts twice. */
  readonly #startsTwice: boolean;
  readonly #clock: Intl.DateTimeFormat;

  constructor(rule: WindowRule, field: string, kind: 'allow' | 'deny') {
    this.rule = rule;
    const invalid = (what: string, cause?: unknown): TerminalError =>
      new TerminalError(`${field}: ${what}`, { code: 'InvalidWindow', ...(cause !== undefined && { cause }) });
    if (rule.cron.trim().split(/\s+/).length !== 5)
      throw invalid(`cron ${JSON.stringify(rule.cron)} must be five fields (minute hour day month weekday)`);
    try {
      this.#clock = new Intl.DateTimeFormat('en', { timeZone: rule.timeZone, dateStyle: 'short', timeStyle: 'short' });
    } catch (error) {
      throw invalid(`${rule.timeZone} is no time zone: write for example Europe/Berlin or UTC`, error);
    }
    this.#durationMs = parseDurationMs(rule.duration);
    // Denying twice does no harm; a row of hours would have a gap.
    this.#startsTwice = kind === 'deny' || !/^\d+(?:,\d+)*$/.test(rule.cron.trim().split(/\s+/)[1] ?? '');
    try {
      this.#cron = new CronTime(rule.cron, rule.timeZone);
      // A date that never comes, such as 30 February, is only found out by looking for it.
      this.#cron.getNextDateFrom(new Date(Date.UTC(2026, 0, 1)), rule.timeZone);
    } catch (error) {
      throw invalid(`cron ${JSON.stringify(rule.cron)} never begins: write for example '0 22 * * 1-5'`, error);
    }
  }

  get timeZone(): string {
    return this.rule.timeZone;
  }

  /** The first start after this moment; undefined when there is none within the horizon. */
  startAfter(timeMs: number): number | undefined {
    let fromMs = timeMs;
    for (;;) {
      let startMs: number;
      try {
        startMs = this.#cron.getNextDateFrom(new Date(fromMs), this.rule.timeZone).toMillis();
      } catch {
        return undefined;
      }
      if (startMs <= fromMs || startMs > timeMs + HORIZON_MS) return undefined;
      if (!this.#isRepeated(startMs)) return startMs;
      fromMs = startMs;
    }
  }

  /** The second of two equal times on the clock, on the day it is set back. */
  #isRepeated(startMs: number): boolean {
    if (this.#startsTwice) return false;
    const clock = (timeMs: number): string => this.#clock.format(timeMs);
    return [60, 30].some((minutes) => clock(startMs) === clock(startMs - minutes * MINUTE_MS));
  }

  /** When the window that is open at this moment ends; undefined when none is. */
  endOf(timeMs: number): number | undefined {
    const startMs = this.#lastStart(timeMs);
    return startMs !== undefined && startMs + this.#durationMs > timeMs ? startMs + this.#durationMs : undefined;
  }

  #lastStart(timeMs: number): number | undefined {
    const oldest = timeMs - this.#durationMs;
    for (const back of LOOK_BACK_MS) {
      let last: number | undefined;
      const from = Math.max(timeMs - back, oldest);
      for (let next = this.startAfter(from); next !== undefined && next <= timeMs; next = this.startAfter(next))
        last = next;
      if (last !== undefined || from === oldest) return last;
    }
    return undefined;
  }
}
