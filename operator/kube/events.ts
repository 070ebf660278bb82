// Tells users what happened to their object, where `kubectl describe` shows it. Best effort by nature: recording never
// fails, never waits, and rather drops than floods. What must not be lost belongs in a status.
// @see https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/

import { LRUCache } from 'lru-cache';
import { toError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { KubeError, type KubeClient } from './client.ts';
import { toMicroTime } from './lease.ts';
import type { KubeObserver } from './observer.ts';
import { defineResource, type KubeObject, type NewObject } from './resource.ts';
import { abortable } from './transport.ts';

/** The object an event is about. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  /** '' for a cluster-scoped object; its events go to the namespace `default`. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface EventNote {
  readonly type: 'Normal' | 'Warning';
  /** A PascalCase token, at most 128 characters. */
  readonly reason: string;
  /** A sentence. Cut off at 1024 bytes, which is all that the API takes. */
  readonly message: string;
  /** What was being done, a PascalCase token: `Promote`. */
  readonly action: string;
  readonly related?: EventSubject;
}

interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly type: EventNote['type'];
  readonly note: string;
  readonly regarding: EventSubject;
  readonly related?: EventSubject;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

const events = defineResource<KubeEvent>({ group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events' });

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, 'create' | 'patchMerge'>;
  /** `slipway.dev/operator` */
  readonly reportingController: string;
  /** The replica: its pod's name. */
  readonly reportingInstance: string;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly observer?: Partial<KubeObserver> | undefined;
}

/** One event object in the cluster, and how often it has happened. */
interface Series {
  readonly subject: EventSubject;
  readonly note: EventNote;
  readonly firstMs: number;
  /** Chosen once, so that an attempt whose answer was lost is not repeated under another name. */
  readonly name: string;
  isCreated: boolean;
  count: number;
  lastMs: number;
  isQueued: boolean;
}

/** An event that happened again within this time is counted, not written anew. */
const SERIES_MS = 6 * 60_000;
/** Counts are written this often. */
const COUNT_INTERVAL_MS = 60_000;
const MAX_SERIES = 4_096;
const MAX_QUEUED = 1_000;
/** Different events of one object: this many at once, then one more every so often. */
const SUBJECT_BURST = 25;
const SUBJECT_REFILL_MS = 60_000;
const MAX_NOTE_BYTES = 1_024;
const MAX_ATTEMPTS = 4;
const RETRY_MS = 1_000;
const CALL_TIMEOUT_MS = 10_000;

export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #series = new LRUCache<string, Series>({ max: MAX_SERIES });
  readonly #tokens = new LRUCache<string, { readonly left: number; readonly atMs: number }>({ max: MAX_SERIES });
  readonly #queue: Series[] = [];
  /** Series that have been counted but not written since. */
  readonly #counted = new Set<Series>();
  #counting: Disposable | undefined;
  #sending: Promise<void> | undefined;
  /** Aborted while flushing: then nothing waits and nothing is tried twice. */
  #patience = new AbortController();

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Never throws and never waits. The same note on the same object within six minutes becomes a count on one event. */
  record(subject: EventSubject, note: EventNote): void {
    const nowMs = this.#options.clock.now();
    const id = JSON.stringify([subject.uid, note.type, note.reason, note.action, note.message, note.related?.uid]);
    const known = this.#series.get(id);
    if (known !== undefined && Math.abs(nowMs - known.lastMs) < SERIES_MS) {
      known.count += 1;
      known.lastMs = nowMs;
      if (!known.isQueued) this.#countLater(known);
      return;
    }
    if (!this.#takeToken(subject)) {
      this.#drop('object too noisy');
      return;
    }
    const name = `${subject.name.slice(0, 240)}.${this.#randomSuffix()}`;
    const series: Series = {
      subject,
      note,
      firstMs: nowMs,
      name,
      isCreated: false,
      count: 1,
      lastMs: nowMs,
      isQueued: false,
    };
    this.#series.set(id, series);
    this.#enqueue(series);
  }

  /** Writes what is waiting, counts included, without waits between attempts. Resolves when done or when the signal aborts. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#queueCounted();
    this.#patience.abort();
    while (this.#sending !== undefined && !signal.aborted) {
      await abortable(this.#sending, signal).catch(() => undefined);
    }
    if (signal.aborted) this.#queue.length = 0;
    this.#patience = new AbortController();
  }

  #enqueue(series: Series): void {
    if (this.#queue.length >= MAX_QUEUED) {
      this.#drop('queue full');
      return;
    }
    series.isQueued = true;
    this.#queue.push(series);
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    // Begins in a later turn, so that record() only records.
    await Promise.resolve();
    for (let series = this.#queue.shift(); series !== undefined; series = this.#queue.shift()) {
      series.isQueued = false;
      await this.#send(series);
    }
  }

  async #send(series: Series): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#write(series);
        return;
      } catch (thrown) {
        const error = toError(thrown);
        const mayWork = error instanceof KubeError && (error.isThrottled || error.isAmbiguous);
        if (!mayWork || attempt === MAX_ATTEMPTS || this.#patience.signal.aborted) {
          this.#options.log.debug('Dropping an event', { err: error, reason: series.note.reason });
          this.#drop('refused');
          return;
        }
        const waitMs = error.retryAfterMs ?? RETRY_MS * 2 ** (attempt - 1);
        await this.#options.clock.sleep(waitMs, this.#patience.signal).catch(() => undefined);
      }
    }
  }

  async #write(series: Series): Promise<void> {
    const { client } = this.#options;
    const namespace = series.subject.namespace || 'default';
    const count = series.count;
    if (series.isCreated) {
      const body = { series: { count, lastObservedTime: toMicroTime(series.lastMs) } };
      const key = { namespace, name: series.name };
      try {
        await client.patchMerge(events, key, body, { timeoutMs: CALL_TIMEOUT_MS });
        return;
      } catch (error) {
        // The API server keeps events for an hour.
        if (!(error instanceof KubeError && error.isNotFound)) throw error;
      }
    }
    try {
      await client.create(events, namespace, this.#toEvent(series), { timeoutMs: CALL_TIMEOUT_MS });
    } catch (error) {
      // An attempt whose answer was lost has created it.
      if (!(error instanceof KubeError && error.isAlreadyExists)) throw error;
    }
    series.isCreated = true;
    if (series.count > count) this.#countLater(series);
  }

  #toEvent({ subject, note, firstMs, count, lastMs, name }: Series): NewObject<KubeEvent> {
    const { reportingController, reportingInstance } = this.#options;
    return {
      metadata: { name },
      eventTime: toMicroTime(firstMs),
      reportingController,
      reportingInstance: reportingInstance.slice(0, 128),
      action: note.action.slice(0, 128),
      reason: note.reason.slice(0, 128),
      type: note.type,
      note: clipBytes(note.message, MAX_NOTE_BYTES),
      regarding: subject,
      ...(note.related !== undefined && { related: note.related }),
      ...(count > 1 && { series: { count, lastObservedTime: toMicroTime(lastMs) } }),
    };
  }

  #countLater(series: Series): void {
    this.#counted.add(series);
    this.#counting ??= this.#options.clock.setTimer(COUNT_INTERVAL_MS, () => this.#queueCounted());
  }

  #queueCounted(): void {
    this.#counting?.[Symbol.dispose]();
    this.#counting = undefined;
    for (const series of this.#counted) if (!series.isQueued) this.#enqueue(series);
    this.#counted.clear();
  }

  #takeToken(subject: EventSubject): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#tokens.get(subject.uid) ?? { left: SUBJECT_BURST, atMs: nowMs };
    const left = Math.min(SUBJECT_BURST, known.left + (nowMs - known.atMs) / SUBJECT_REFILL_MS);
    this.#tokens.set(subject.uid, { left: left >= 1 ? left - 1 : left, atMs: nowMs });
    return left >= 1;
  }

  #drop(reason: Parameters<KubeObserver['onEventDropped']>[0]['reason']): void {
    this.#options.observer?.onEventDropped?.({ reason });
  }

  #randomSuffix(): string {
    return Math.floor(this.#options.random() * 2 ** 48)
      .toString(16)
      .padStart(12, '0');
  }
}

/** At most `maxBytes` of UTF-8, cut between characters. */
function clipBytes(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  let clipped = text.slice(0, maxBytes);
  while (Buffer.byteLength(clipped) > maxBytes - 3) clipped = clipped.slice(0, -1);
  return `${clipped.toWellFormed()}…`;
}
