import { describe, expect, it } from '@jest/globals';
import { KubeError, type KubeClient } from '../../../operator/kube/client.ts';
import { EventRecorder, type EventNote, type EventSubject } from '../../../operator/kube/events.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const subject = (name: string, namespace = 'shop'): EventSubject => ({
  apiVersion: 'slipway.dev/v1alpha1',
  kind: 'ImagePolicy',
  namespace,
  name,
  uid: `uid-${name}`,
});

const note = (fields: Partial<EventNote> = {}): EventNote => ({
  type: 'Normal',
  reason: 'Promoted',
  message: 'Moved web to v1.1.0',
  action: 'Promote',
  ...fields,
});

interface Written {
  readonly verb: 'create' | 'patch';
  readonly namespace: string;
  readonly name: string;
  readonly body: Record<string, unknown>;
}

const failure = (status: number, reason = 'X', retryAfterMs?: number) =>
  new KubeError(String(status), { status, reason, retryAfterMs });

function build() {
  const clock = new FakeClock();
  const written: Written[] = [];
  const drops: string[] = [];
  /** Thrown one by one by the next writes; `undefined` lets one pass. */
  const failures: (Error | undefined)[] = [];
  const write = async (it: Written): Promise<unknown> => {
    const error = failures.shift();
    if (error !== undefined) throw error;
    written.push(it);
    return {};
  };
  const client = {
    create: (_resource: unknown, namespace: string, body: { metadata: { name: string } } & Record<string, unknown>) =>
      write({ verb: 'create', namespace, name: body.metadata.name, body }),
    patchMerge: (_resource: unknown, key: { namespace: string; name: string }, body: Record<string, unknown>) =>
      write({ verb: 'patch', ...key, body }),
  };
  const recorder = new EventRecorder({
    client: client as unknown as KubeClient,
    reportingController: 'slipway.dev/operator',
    reportingInstance: 'slipway-0',
    clock,
    random: () => 0.5,
    log: recordingLogger(),
    observer: { onEventDropped: ({ reason }) => drops.push(reason) },
  });
  return { clock, written, drops, failures, recorder };
}

describe('EventRecorder', () => {
  it('writes an event beside its object', async () => {
    const { clock, recorder, written } = build();

    recorder.record(subject('web'), note({ related: subject('other') }));
    expect(written).toEqual([]);
    await clock.advance(0);

    expect(written).toEqual([
      {
        verb: 'create',
        namespace: 'shop',
        name: 'web.800000000000',
        body: {
          metadata: { name: 'web.800000000000' },
          eventTime: '2026-01-05T08:00:00.000000Z',
          reportingController: 'slipway.dev/operator',
          reportingInstance: 'slipway-0',
          action: 'Promote',
          reason: 'Promoted',
          type: 'Normal',
          note: 'Moved web to v1.1.0',
          regarding: subject('web'),
          related: subject('other'),
        },
      },
    ]);
  });

  it('puts events of cluster-scoped objects into the default namespace', async () => {
    const { clock, recorder, written } = build();

    recorder.record(subject('node', ''), note());
    await clock.advance(0);

    expect(written[0]?.namespace).toBe('default');
  });

  it.each([
    { when: 'plain', message: 'x'.repeat(2_000) },
    { when: 'of wide characters', message: '🚢'.repeat(600) },
    { when: 'just too long', message: `${'x'.repeat(1_023)}é` },
  ])('cuts a message that is $when to 1024 bytes', async ({ message }) => {
    const { clock, recorder, written } = build();

    recorder.record(subject('web'), note({ message }));
    await clock.advance(0);

    const cut = String(written[0]?.body['note']);
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(1_024);
    expect(Buffer.byteLength(cut)).toBeGreaterThan(1_016);
    expect(cut.isWellFormed()).toBe(true);
    expect(cut.endsWith('…')).toBe(true);
  });

  it('counts what happens again, and writes the count once a minute', async () => {
    const { clock, recorder, written } = build();
    recorder.record(subject('web'), note());
    await clock.advance(0);

    for (let second = 0; second < 30; second += 1) {
      await clock.advance(1_000);
      recorder.record(subject('web'), note());
    }
    expect(written).toHaveLength(1);
    await clock.advance(60_000);

    expect(written).toHaveLength(2);
    expect(written[1]).toMatchObject({
      verb: 'patch',
      name: written[0]?.name,
      body: { series: { count: 31, lastObservedTime: '2026-01-05T08:00:30.000000Z' } },
    });
    await clock.advance(600_000);
    expect(written).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    { when: 'another object', again: (): [EventSubject, EventNote] => [subject('api'), note()] },
    {
      when: 'another message',
      again: (): [EventSubject, EventNote] => [subject('web'), note({ message: 'Moved web to v1.2.0' })],
    },
    { when: 'another reason', again: (): [EventSubject, EventNote] => [subject('web'), note({ reason: 'Pinned' })] },
    {
      when: 'an object created anew',
      again: (): [EventSubject, EventNote] => [{ ...subject('web'), uid: 'next' }, note()],
    },
  ])('writes a new event for $when', async ({ again }) => {
    const { clock, recorder, written } = build();

    recorder.record(subject('web'), note());
    recorder.record(...again());
    await clock.advance(0);

    expect(written.map(({ verb }) => verb)).toEqual(['create', 'create']);
  });

  it('writes a new event when the same happens after a long time', async () => {
    const { clock, recorder, written } = build();
    recorder.record(subject('web'), note());
    await clock.advance(6 * 60_000);

    recorder.record(subject('web'), note());
    await clock.advance(0);

    expect(written.map(({ verb }) => verb)).toEqual(['create', 'create']);
  });

  it('creates the event anew when the API server has let it expire', async () => {
    const { clock, recorder, written, failures } = build();
    recorder.record(subject('web'), note());
    await clock.advance(0);
    failures.push(failure(404, 'NotFound'));

    recorder.record(subject('web'), note());
    await clock.advance(60_000);

    expect(written[1]).toMatchObject({ verb: 'create', body: { series: { count: 2 } } });
  });

  it('lets one noisy object not drown the others', async () => {
    const { clock, recorder, written, drops } = build();

    for (let index = 0; index < 100; index += 1) recorder.record(subject('noisy'), note({ message: `Flap ${index}` }));
    recorder.record(subject('calm'), note());
    await clock.advance(0);

    expect(written).toHaveLength(26);
    expect(written.at(-1)?.body['regarding']).toMatchObject({ name: 'calm' });
    expect(drops).toEqual(Array.from({ length: 75 }, () => 'object too noisy'));
    await clock.advance(60_000);
    recorder.record(subject('noisy'), note({ message: 'Flap on' }));
    await clock.advance(0);
    expect(written).toHaveLength(27);
  });

  it('tries again after a failure that may pass, under the same name', async () => {
    const { clock, recorder, written, failures } = build();
    failures.push(failure(0, 'Unreachable'), failure(429, 'TooManyRequests', 5_000));

    recorder.record(subject('web'), note());
    await clock.advance(1_000);
    expect(written).toHaveLength(0);
    await clock.advance(5_000);

    expect(written).toHaveLength(1);
  });

  it('takes a name that is taken for its own, for the first answer was lost', async () => {
    const { clock, recorder, written, failures, drops } = build();
    failures.push(failure(0, 'Unreachable'), failure(409, 'AlreadyExists'));
    recorder.record(subject('web'), note());
    await clock.advance(1_000);

    recorder.record(subject('web'), note());
    await clock.advance(60_000);

    expect([written.map(({ verb }) => verb), drops]).toEqual([['patch'], []]);
  });

  it.each([
    { when: 'is refused', errors: [failure(403, 'Forbidden')] },
    { when: 'fails again and again', errors: Array.from({ length: 4 }, () => failure(500)) },
    { when: 'fails for no known reason', errors: [new Error('bug')] },
  ])('drops an event that $when, and goes on with the next', async ({ errors }) => {
    const { clock, recorder, written, failures, drops } = build();
    failures.push(...errors);

    recorder.record(subject('web'), note());
    recorder.record(subject('api'), note());
    await clock.advance(60_000);

    expect(drops).toEqual(['refused']);
    expect(written.map(({ body }) => body['regarding'])).toEqual([subject('api')]);
  });

  it('bounds what waits for a server that does not answer', async () => {
    const { clock, recorder, drops, failures } = build();
    failures.push(...Array.from({ length: 10 }, () => failure(0, 'Unreachable')));

    for (let index = 0; index < 1_500; index += 1) recorder.record(subject(`web-${index}`), note());

    expect(drops).toHaveLength(500);
    expect(new Set(drops)).toEqual(new Set(['queue full']));
    await recorder.flush(new AbortController().signal);
    await clock.advance(0);
  });

  describe('flush', () => {
    it('writes what waits and what was only counted', async () => {
      const { clock, recorder, written } = build();
      recorder.record(subject('web'), note());
      await clock.advance(0);
      recorder.record(subject('web'), note());
      recorder.record(subject('api'), note());

      await recorder.flush(new AbortController().signal);

      expect(written.map(({ verb }) => verb)).toEqual(['create', 'create', 'patch']);
      expect(clock.pendingTimers).toBe(0);
    });

    it('does not wait between attempts', async () => {
      const { clock, recorder, written, failures } = build();
      failures.push(failure(503), failure(503));
      recorder.record(subject('web'), note());
      await clock.advance(0);

      await recorder.flush(new AbortController().signal);

      expect(clock.monotonicMs()).toBe(0);
      expect(written).toEqual([]);
    });

    it('gives up when its time is over', async () => {
      const { recorder } = build();
      const hanging = { create: () => new Promise(() => undefined), patchMerge: () => new Promise(() => undefined) };
      const stuck = new EventRecorder({
        client: hanging as unknown as KubeClient,
        reportingController: 'slipway.dev/operator',
        reportingInstance: 'slipway-0',
        clock: new FakeClock(),
        random: () => 0.5,
        log: recordingLogger(),
      });
      const limit = new AbortController();
      stuck.record(subject('web'), note());
      const flushed = stuck.flush(limit.signal);

      limit.abort(new Error('Out of time'));

      await expect(flushed).resolves.toBeUndefined();
      await expect(recorder.flush(limit.signal)).resolves.toBeUndefined();
    });
  });
});
