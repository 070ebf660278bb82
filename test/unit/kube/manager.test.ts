import { describe, expect, it } from '@jest/globals';
import { NotLeaderError, type LeaderElectorRun } from '../../../operator/kube/lease.ts';
import { Manager, type ManagerOptions } from '../../../operator/kube/manager.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

function until(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Parts that write down when they start and stop. */
function build(options: Partial<ManagerOptions> = {}) {
  const clock = new FakeClock();
  const story: string[] = [];
  const synced: PromiseWithResolvers<void> = Promise.withResolvers();
  const work: PromiseWithResolvers<void> = Promise.withResolvers();
  const part = (name: string) => ({
    name,
    run: async (signal: AbortSignal): Promise<void> => {
      story.push(`${name} starts`);
      await until(signal);
      story.push(`${name} stops`);
    },
  });
  const informer = {
    resource: 'imagepolicies.slipway.dev',
    hasSynced: false,
    problem: undefined as string | undefined,
    isForbidden: false,
    lastContactAgeMs: 0,
    synced: (signal: AbortSignal) =>
      Promise.race([synced.promise, until(signal).then(() => Promise.reject(new Error('aborted')))]),
    run: part('informer').run,
  };
  const controller = {
    name: 'policy',
    stuckCount: 0,
    /** Takes until `work` resolves to finish, unless it is called off. */
    run: async (signal: AbortSignal, abortSignal: AbortSignal = new AbortController().signal): Promise<void> => {
      story.push('controller starts');
      await until(signal);
      story.push('controller takes in no more');
      await Promise.race([work.promise, until(abortSignal)]);
      story.push(abortSignal.aborted ? 'controller called off' : 'controller has finished');
    },
  };
  const election = Promise.withResolvers<LeaderElectorRun>();
  const leading = new AbortController();
  const lost = Promise.withResolvers<never>();
  const elector = {
    run: async (run: LeaderElectorRun): Promise<void> => {
      story.push('candidate');
      election.resolve(run);
      lost.promise.catch(() => undefined);
      await Promise.race([until(run.signal), lost.promise]);
      story.push(run.mayRelease?.() === false ? 'lease left' : 'lease given back');
    },
  };
  const stop = new AbortController();
  const manager = new Manager({
    servers: [part('server')],
    informers: [informer],
    controllers: [controller],
    leaderTasks: [part('poller')],
    elector,
    events: { flush: async () => void story.push('events flushed') },
    log: recordingLogger(),
    clock,
    ...options,
  });
  const outcome = manager.run(stop.signal).then(
    () => 'ended',
    (error: unknown) => error,
  );
  return {
    clock,
    story,
    stop,
    manager,
    informer,
    controller,
    outcome,
    work,
    sync: () => {
      informer.hasSynced = true;
      synced.resolve();
    },
    lead: async () => (await election.promise).onStarted(1, leading.signal),
    lose: () => {
      leading.abort(new NotLeaderError('lost'));
      lost.reject(new NotLeaderError('lost'));
    },
  };
}

describe('Manager', () => {
  it('starts servers and caches, then candidates, then works as leader', async () => {
    const { clock, story, sync, lead, stop, work, outcome } = build();
    await clock.advance(0);
    expect(story).toEqual(['server starts', 'informer starts']);

    sync();
    await clock.advance(0);
    expect(story.slice(2)).toEqual(['candidate']);

    await lead();
    expect(story.slice(3)).toEqual(['controller starts', 'poller starts']);
    work.resolve();
    stop.abort();
    await outcome;
  });

  it('finishes the work before it gives back the lead, and closes the servers last', async () => {
    const { clock, story, sync, lead, stop, work, outcome } = build();
    sync();
    await clock.advance(0);
    await lead();
    story.length = 0;

    stop.abort();
    await clock.advance(29_000);
    expect(story).toEqual(['controller takes in no more', 'poller stops']);

    work.resolve();
    expect(await outcome).toBe('ended');
    expect(story.slice(2)).toEqual([
      'controller has finished',
      'events flushed',
      'lease given back',
      'informer stops',
      'server stops',
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('calls off what does not finish in time, and still gives back the lead', async () => {
    const { clock, story, sync, lead, stop, outcome } = build();
    sync();
    await clock.advance(0);
    await lead();
    story.length = 0;

    stop.abort();
    await clock.advance(30_000);

    expect(await outcome).toBe('ended');
    expect(story).toEqual([
      'controller takes in no more',
      'poller stops',
      'controller called off',
      'events flushed',
      'lease given back',
      'informer stops',
      'server stops',
    ]);
  });

  it('leaves the lease to run out when a reconcile still runs', async () => {
    const { clock, story, sync, lead, stop, controller, outcome } = build();
    sync();
    await clock.advance(0);
    await lead();

    controller.stuckCount = 1;
    stop.abort();
    await clock.advance(30_000);
    await outcome;

    expect(story).toContain('lease left');
  });

  it('leaves the lease to run out, and ends, when a leader task does not stop', async () => {
    const { clock, story, sync, lead, stop, work, outcome } = build({
      leaderTasks: [{ name: 'deaf', run: () => new Promise(() => undefined) }],
    });
    sync();
    await clock.advance(0);
    await lead();
    work.resolve();

    stop.abort();
    await clock.advance(60_000);

    expect(await outcome).toBe('ended');
    expect(story).toContain('lease left');
  });

  it('stops at once and fails when the lead is lost', async () => {
    const { clock, story, sync, lead, lose, outcome } = build();
    sync();
    await clock.advance(0);
    await lead();
    story.length = 0;

    lose();
    await clock.advance(0);

    expect(await outcome).toBeInstanceOf(NotLeaderError);
    expect(story).toContain('controller called off');
    expect(story).not.toContain('lease given back');
    expect(story.at(-1)).toBe('server stops');
  });

  it.each([
    {
      when: 'a server',
      options: (): Partial<ManagerOptions> => ({
        servers: [{ name: 'health', run: () => Promise.reject(new Error('EADDRINUSE')) }],
      }),
    },
    {
      when: 'a leader task',
      options: (): Partial<ManagerOptions> => ({
        leaderTasks: [{ name: 'poller', run: () => Promise.reject(new Error('EADDRINUSE')) }],
      }),
    },
  ])('stops everything and fails when $when fails', async ({ options }) => {
    const { clock, sync, lead, outcome, manager } = build(options());
    sync();
    await clock.advance(0);
    void lead();
    await clock.advance(0);

    expect(await outcome).toMatchObject({ message: 'EADDRINUSE' });
    expect(manager.ready().ok).toBe(false);
  });

  it('ends cleanly when it is stopped before its caches are filled, or as a standby', async () => {
    const early = build();
    await early.clock.advance(0);
    early.stop.abort();
    expect(await early.outcome).toBe('ended');
    expect(early.story).not.toContain('candidate');

    const standby = build();
    standby.sync();
    await standby.clock.advance(0);
    standby.stop.abort();
    expect(await standby.outcome).toBe('ended');
    expect(standby.story).not.toContain('controller starts');
  });

  it('works without an election when there is none', async () => {
    const manager = new Manager({
      informers: [],
      controllers: [],
      leaderTasks: [],
      log: recordingLogger(),
      clock: new FakeClock(),
    });
    const stop = new AbortController();
    const run = manager.run(stop.signal);

    stop.abort();

    await expect(run).resolves.toBeUndefined();
  });

  describe('ready', () => {
    it('waits for the caches, and says what is in the way', async () => {
      const { clock, informer, manager, sync, stop, outcome } = build();
      await clock.advance(0);
      expect(manager.ready().reasons).toEqual(['the cache of imagepolicies.slipway.dev is not filled yet']);
      informer.problem = 'Listing imagepolicies: 404 NotFound';
      expect(manager.ready().reasons).toEqual([
        'the cache of imagepolicies.slipway.dev is not filled yet: Listing imagepolicies: 404 NotFound',
      ]);

      informer.problem = undefined;
      sync();
      expect(manager.ready()).toEqual({ ok: true, reasons: [] });
      stop.abort();
      await outcome;
      expect(manager.ready()).toEqual({ ok: false, reasons: ['stopping'] });
    });

    it.each([
      { when: 'access was refused', is: { isForbidden: true, problem: 'Watching pods: 403 Forbidden' }, ok: false },
      { when: 'the API server has been silent for long', is: { lastContactAgeMs: 60_001 }, ok: false },
      {
        when: 'the API server has been silent for a moment',
        is: { lastContactAgeMs: 59_999, problem: 'No answer' },
        ok: true,
      },
    ])('is $ok when $when', async ({ is, ok }) => {
      const { informer, manager, sync, stop, outcome } = build();
      sync();

      Object.assign(informer, is);

      expect(manager.ready().ok).toBe(ok);
      stop.abort();
      await outcome;
    });
  });
});
