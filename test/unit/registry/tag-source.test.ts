// One fetch for everyone: what is asked, when, and who is told (B2, I9, R11).

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Digest } from '../../../operator/image/digest.ts';
import { formatRepository, parseRepository, type Repository } from '../../../operator/image/reference.ts';
import type { Tag } from '../../../operator/image/tag.ts';
import type { RegistryAccess } from '../../../operator/registry/credential.ts';
import type { Descriptor } from '../../../operator/registry/manifest.ts';
import { registryError, type RegistryProblemCode } from '../../../operator/registry/problem.ts';
import { TagListing } from '../../../operator/registry/tag-listing.ts';
import { type RepositoryWants, TagSource } from '../../../operator/registry/tag-source.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { loginFor } from './client-fixture.ts';

const INTERVAL = 60_000;
const web = parseRepository('ghcr.io/acme/web');
const api = parseRepository('ghcr.io/acme/api');
const v1 = 'v1' as Tag;
const v2 = 'v2' as Tag;

function digestOf(letter: string): Digest {
  return `sha256:${letter.repeat(64)}` as Digest;
}

/** Registries as they are in a test's head: tags with the digests they name, and what to fail with. */
class FakeRegistryClient {
  readonly tags = new Map<string, Record<string, string>>();
  readonly asked: string[] = [];
  failListing: (() => Error) | undefined;
  failHead: (() => Error) | undefined;
  /** While set, answers wait for it. */
  gate: Promise<void> | undefined;

  async listTagsSince(
    repository: Repository,
    access: RegistryAccess,
    _previous: TagListing | undefined,
    signal: AbortSignal,
  ): Promise<TagListing> {
    this.asked.push(
      `list ${formatRepository(repository)}${access.credential === undefined ? '' : ` as ${access.credential.key}`}`,
    );
    await this.gate;
    signal.throwIfAborted();
    if (this.failListing) throw this.failListing();
    return new TagListing(new Set(Object.keys(this.tags.get(formatRepository(repository)) ?? {})), []);
  }

  async headManifest(
    repository: Repository,
    reference: Tag | Digest,
    _access: RegistryAccess,
    signal: AbortSignal,
  ): Promise<Descriptor | undefined> {
    this.asked.push(`head ${formatRepository(repository)}:${reference}`);
    await this.gate;
    signal.throwIfAborted();
    if (this.failHead) throw this.failHead();
    const letter = this.tags.get(formatRepository(repository))?.[reference];
    return letter === undefined
      ? undefined
      : { digest: digestOf(letter), mediaType: 'application/vnd.oci.image.index.v1+json' };
  }

  /** What was asked since the last look. */
  take(): string[] {
    return this.asked.splice(0).sort();
  }
}

function start(options: { random?: () => number } = {}) {
  const clock = new FakeClock();
  const client = new FakeRegistryClient();
  client.tags.set('ghcr.io/acme/web', { v1: 'a', v2: 'b' });
  client.tags.set('ghcr.io/acme/api', { v1: 'c' });
  const woken: string[] = [];
  const log = recordingLogger();
  const source = new TagSource({
    client,
    clock,
    random: options.random ?? (() => 0.5),
    onChange: (subscriber) => woken.push(subscriber),
    log,
  });
  const controller = new AbortController();
  const takeWoken = (): string[] => [...new Set(woken.splice(0))].sort();
  return {
    clock,
    client,
    source,
    takeWoken,
    log,
    stop: () => controller.abort(),
    run: () => source.run(controller.signal),
  };
}

function wants(overrides: Partial<RepositoryWants> = {}): RepositoryWants {
  return { repository: web, access: {}, intervalMs: INTERVAL, listTags: true, digestsOf: [], ...overrides };
}

function fail(code: RegistryProblemCode, message = 'it is so', retryAfterMs?: number): () => Error {
  return () => registryError(code, message, { retryAfterMs });
}

/** Runs past the first poll and the spread that follows it, so that one interval is one poll from here on. */
async function settle({ clock, client, takeWoken }: ReturnType<typeof start>): Promise<void> {
  await clock.advance(0);
  await clock.advance(INTERVAL * 0.75);
  client.take();
  takeWoken();
}

describe('TagSource', () => {
  it('asks for nothing until it runs, and at once then', async () => {
    const world = start();
    const { source, clock, client } = world;

    expect(source.observe('p', wants({ digestsOf: [v1] })).listing).toBeUndefined();
    await clock.advance(10 * INTERVAL);
    expect(client.take()).toEqual([]);

    const running = world.run();
    await clock.advance(0);
    expect(client.take()).toEqual(['head ghcr.io/acme/web:v1', 'list ghcr.io/acme/web']);
    world.stop();
    await running;
  });

  it('shows what it knows without waiting', async () => {
    const world = start();
    const { source, clock } = world;
    const running = world.run();
    const before = source.observe('p', wants({ digestsOf: [v1] }));
    await clock.advance(0);

    const after = source.observe('p', wants({ digestsOf: [v1] }));

    expect(before.digest('v1')).toEqual({ kind: 'pending' });
    expect(after.listing).toMatchObject({ tags: ['v1', 'v2'], sequence: 1, completedTimeMs: clock.now() });
    expect(after.digest('v1')).toMatchObject({ kind: 'known', digest: digestOf('a'), checkedTimeMs: clock.now() });
    expect(after.digest('v2')).toEqual({ kind: 'pending' });
    world.stop();
    await running;
  });

  it('lists once and asks once per distinct tag and interval, however many subscribers there are (B2)', async () => {
    const world = start();
    const running = world.run();
    for (let at = 0; at < 10; at += 1)
      world.source.observe(`p${at}`, wants({ digestsOf: at % 2 === 0 ? [v1] : [v1, v2] }));
    await settle(world);

    for (let cycle = 0; cycle < 5; cycle += 1) {
      await world.clock.advance(INTERVAL);

      expect(world.client.take()).toEqual([
        'head ghcr.io/acme/web:v1',
        'head ghcr.io/acme/web:v2',
        'list ghcr.io/acme/web',
      ]);
    }
    world.stop();
    await running;
  });

  it('wakes nobody in a cycle in which nothing has changed (I9)', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('p', wants({ digestsOf: [v1] }));
    await world.clock.advance(0);
    expect(world.takeWoken()).toEqual(['p']);

    await world.clock.advance(20 * INTERVAL);

    expect(world.takeWoken()).toEqual([]);
    world.stop();
    await running;
  });

  it('counts complete listings, unchanged ones too', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('p', wants());
    await settle(world);
    const before = world.source.observe('p', wants()).listing?.sequence ?? 0;

    await world.clock.advance(INTERVAL);

    expect(world.source.observe('p', wants()).listing?.sequence).toBe(before + 1);
    world.stop();
    await running;
  });

  it('wakes those for whom something has changed, and nobody else', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('lists', wants());
    world.source.observe('one', wants({ digestsOf: [v1], listTags: false }));
    world.source.observe('two', wants({ digestsOf: [v2], listTags: false }));
    world.source.observe('api', wants({ repository: api }));
    await settle(world);

    world.client.tags.set('ghcr.io/acme/web', { v1: 'a', v2: 'x' });
    await world.clock.advance(INTERVAL);
    expect(world.takeWoken()).toEqual(['two']);

    world.client.tags.set('ghcr.io/acme/web', { v1: 'a', v2: 'x', v3: 'd' });
    await world.clock.advance(INTERVAL);
    expect(world.takeWoken()).toEqual(['lists']);
    world.stop();
    await running;
  });

  it('lists nothing for those who follow a fixed tag', async () => {
    const world = start();
    const running = world.run();
    const view = () => world.source.observe('p', wants({ listTags: false, digestsOf: [v1] }));
    view();
    await world.clock.advance(3 * INTERVAL);

    expect(world.client.take()).not.toContain('list ghcr.io/acme/web');
    expect(view().listing).toBeUndefined();
    expect(view().digest('v1')).toMatchObject({ kind: 'known' });
    world.stop();
    await running;
  });

  it('lists at once when the first one comes who wants a list', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('fixed', wants({ listTags: false, digestsOf: [v1] }));
    await settle(world);

    world.source.observe('lists', wants());
    await world.clock.advance(0);

    expect(world.client.take()).toContain('list ghcr.io/acme/web');
    expect(world.takeWoken()).toEqual(['lists']);
    world.stop();
    await running;
  });

  it('asks for a newly wanted tag at once, and only for that', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('p', wants({ digestsOf: [v1] }));
    await settle(world);

    world.source.observe('p', wants({ digestsOf: [v1, v2] }));
    world.source.observe('q', wants({ digestsOf: [v2] }));
    await world.clock.advance(0);

    expect(world.client.take()).toEqual(['head ghcr.io/acme/web:v2']);
    expect(world.takeWoken()).toEqual(['p', 'q']);
    world.stop();
    await running;
  });

  it('forgets a tag that nobody wants any more', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('p', wants({ digestsOf: [v1, v2] }));
    await settle(world);

    world.source.observe('p', wants({ digestsOf: [v1] }));
    await world.clock.advance(INTERVAL);

    expect(world.client.take()).toEqual(['head ghcr.io/acme/web:v1', 'list ghcr.io/acme/web']);
    world.stop();
    await running;
  });

  it('polls as often as the most impatient asks', async () => {
    const world = start();
    const running = world.run();
    world.source.observe('p', wants());
    await settle(world);
    world.source.observe('q', wants({ intervalMs: 15_000 }));
    await world.clock.advance(15_000);
    world.client.take();

    await world.clock.advance(60_000);
    expect(world.client.take()).toHaveLength(4);

    world.source.forget('q');
    await world.clock.advance(15_000);
    world.client.take();
    await world.clock.advance(INTERVAL);
    expect(world.client.take()).toHaveLength(1);
    world.stop();
    await running;
  });

  it('varies the interval by a tenth, and spreads what started together', async () => {
    for (const [random, firstMs, nextMs] of [
      [0, 27_000, 54_000],
      [0.999999, 66_000, 66_000],
    ] as const) {
      const world = start({ random: () => random });
      const running = world.run();
      world.source.observe('p', wants());
      await world.clock.advance(0);
      expect(Math.round((world.clock.nextTimerMs ?? 0) / 1_000) * 1_000).toBe(firstMs);
      await world.clock.advance(firstMs + 10);
      expect(Math.round((world.clock.nextTimerMs ?? 0) / 1_000) * 1_000).toBe(nextMs);
      world.stop();
      await running;
    }
  });

  describe('and logins', () => {
    it('shares nothing between different logins or authorities (tenancy)', async () => {
      const world = start();
      const running = world.run();
      const mine = { credential: loginFor('ghcr.io', { key: 'mine' }) };
      const theirs = { credential: loginFor('ghcr.io', { key: 'theirs' }) };
      for (const [subscriber, access] of [
        ['a', mine],
        ['b', theirs],
        ['c', mine],
        ['d', {}],
        ['e', { caPem: 'x' }],
        ['f', { ...mine, caPem: 'x' }],
      ] as const) {
        world.source.observe(subscriber, wants({ access }));
      }
      await world.clock.advance(0);

      expect(world.client.take()).toEqual([
        'list ghcr.io/acme/web',
        'list ghcr.io/acme/web',
        'list ghcr.io/acme/web as mine',
        'list ghcr.io/acme/web as mine',
        'list ghcr.io/acme/web as theirs',
      ]);
      world.stop();
      await running;
    });

    it('does not show one login what another has listed', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('a', wants({ access: { credential: loginFor('ghcr.io', { key: 'mine' }) } }));
      await world.clock.advance(0);
      world.client.failListing = fail('Unauthorized');

      const view = () => world.source.observe('b', wants());
      view();
      await world.clock.advance(0);

      expect(view().listing).toBeUndefined();
      expect(view().listingError).toMatchObject({ code: 'Unauthorized' });
      world.stop();
      await running;
    });

    it('starts anew when the secret of a subscriber changes, and lets the old poller go', async () => {
      const world = start();
      const running = world.run();
      const as = (key: string) => wants({ access: { credential: loginFor('ghcr.io', { key }) } });
      world.source.observe('p', as('old'));
      await settle(world);

      world.source.observe('p', as('new'));
      await world.clock.advance(2 * INTERVAL);

      expect(new Set(world.client.take())).toEqual(new Set(['list ghcr.io/acme/web as new']));
      world.stop();
      await running;
    });
  });

  describe('when listing fails', () => {
    it.each([
      'Unauthorized',
      'Forbidden',
      'RepositoryNotFound',
      'RateLimited',
      'Unavailable',
      'InvalidResponse',
      'TagListEmpty',
      'TagListTruncated',
    ] as const)('keeps the last list and says why: %s (I4)', async (code) => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      world.client.failListing = fail(code);
      await world.clock.advance(INTERVAL);

      const view = world.source.observe('p', wants());

      expect(view.listing?.tags).toEqual(['v1', 'v2']);
      expect(view.listingError).toEqual({ code, message: 'it is so' });
      expect(world.takeWoken()).toEqual(['p']);
      world.stop();
      await running;
    });

    it('says so once, and once more when it is over', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      world.client.failListing = fail('Unavailable');
      await world.clock.advance(INTERVAL);
      expect(world.takeWoken()).toEqual(['p']);

      await world.clock.advance(10 * INTERVAL);
      expect(world.takeWoken()).toEqual([]);

      world.client.failListing = undefined;
      await world.clock.advance(2 * INTERVAL);
      expect(world.takeWoken()).toEqual(['p']);
      expect(world.source.observe('p', wants()).listingError).toBeUndefined();
      world.stop();
      await running;
    });

    it('tries again soon, then ever later, up to the interval', async () => {
      const world = start();
      const running = world.run();
      world.client.failListing = fail('Unavailable');
      world.source.observe('p', wants());
      const delays: number[] = [];
      await world.clock.advance(0);
      for (let at = 0; at < 6; at += 1) {
        const delayMs = world.clock.nextTimerMs ?? 0;
        delays.push(delayMs / 1_000);
        await world.clock.advance(delayMs);
      }

      expect(delays).toEqual([5, 10, 20, 40, 60, 60]);
      world.stop();
      await running;
    });

    it('does not try again before the interval when only people can help', async () => {
      const world = start();
      const running = world.run();
      world.client.failListing = fail('Unauthorized');
      world.source.observe('p', wants());
      await world.clock.advance(0);

      expect(world.clock.nextTimerMs).toBe(INTERVAL);
      world.stop();
      await running;
    });

    it('waits as long as the registry asked (R1)', async () => {
      const world = start();
      const running = world.run();
      world.client.failListing = fail('RateLimited', 'slow down', 600_000);
      world.source.observe('p', wants());
      await world.clock.advance(0);

      expect(world.clock.nextTimerMs).toBeGreaterThanOrEqual(600_000);
      expect(world.source.observe('p', wants()).listingError?.retryAtMs).toBe(world.clock.now() + 600_000);
      world.stop();
      await running;
    });

    it('asks for the digests of those who need no list, and of nobody else', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('lists', wants({ digestsOf: [v1] }));
      world.source.observe('fixed', wants({ listTags: false, digestsOf: [v2] }));
      await settle(world);
      world.client.failListing = fail('InvalidResponse');

      await world.clock.advance(INTERVAL);

      expect(world.client.take()).toEqual(['head ghcr.io/acme/web:v2', 'list ghcr.io/acme/web']);
      expect(world.takeWoken()).toEqual(['lists']);
      world.stop();
      await running;
    });

    it('survives an error that is none of ours', async () => {
      const world = start();
      const running = world.run();
      world.client.failListing = () => new TypeError('a bug');
      world.source.observe('p', wants());
      await world.clock.advance(0);

      expect(world.source.observe('p', wants()).listingError).toMatchObject({
        code: 'Unavailable',
        message: expect.not.stringContaining('a bug') as unknown,
      });
      expect(world.log.records.filter(({ level }) => level === 'error')).toHaveLength(1);
      world.client.failListing = undefined;
      await world.clock.advance(2 * INTERVAL);
      expect(world.source.observe('p', wants()).listing).toBeDefined();
      world.stop();
      await running;
    });
  });

  describe('when a digest cannot be had', () => {
    it('says that the tag is gone, and how often that was confirmed', async () => {
      const world = start();
      const running = world.run();
      const view = () => world.source.observe('p', wants({ digestsOf: [v1] }));
      view();
      await settle(world);
      world.client.tags.set('ghcr.io/acme/web', { v2: 'b' });

      await world.clock.advance(INTERVAL);
      expect(view().digest('v1')).toEqual({ kind: 'gone', confirmations: 1 });
      expect(world.takeWoken()).toEqual(['p']);
      await world.clock.advance(INTERVAL);
      expect(view().digest('v1')).toEqual({ kind: 'gone', confirmations: 2 });
      expect(world.takeWoken()).toEqual(['p']);
      await world.clock.advance(5 * INTERVAL);
      expect(view().digest('v1')).toEqual({ kind: 'gone', confirmations: 7 });
      expect(world.takeWoken()).toEqual([]);
      world.stop();
      await running;
    });

    it('says why, what it was before, and wakes once (R8)', async () => {
      const world = start();
      const running = world.run();
      const view = () => world.source.observe('p', wants({ listTags: false, digestsOf: [v1] }));
      view();
      await settle(world);
      world.client.failHead = fail('Forbidden');

      await world.clock.advance(INTERVAL);
      expect(view().digest('v1')).toEqual({
        kind: 'failed',
        problem: { code: 'Forbidden', message: 'it is so' },
        lastDigest: digestOf('a'),
      });
      expect(world.takeWoken()).toEqual(['p']);
      await world.clock.advance(5 * INTERVAL);
      expect(world.takeWoken()).toEqual([]);
      expect(view().digest('v1')).toMatchObject({ lastDigest: digestOf('a') });

      world.client.failHead = undefined;
      await world.clock.advance(INTERVAL);
      expect(view().digest('v1')).toMatchObject({ kind: 'known' });
      expect(world.takeWoken()).toEqual(['p']);
      world.stop();
      await running;
    });

    it('does not count an outage as confirmation that a tag is gone', async () => {
      const world = start();
      const running = world.run();
      const view = () => world.source.observe('p', wants({ listTags: false, digestsOf: ['v9' as Tag] }));
      view();
      await world.clock.advance(0);
      world.client.failHead = fail('Forbidden');
      await world.clock.advance(INTERVAL);
      world.client.failHead = undefined;
      await world.clock.advance(INTERVAL * 1.5);

      expect(view().digest('v9')).toEqual({ kind: 'gone', confirmations: 1 });
      world.stop();
      await running;
    });
  });

  describe('when a newly wanted tag cannot be had', () => {
    it.each([
      { code: 'Unavailable' as const, delayMs: 5_000 },
      { code: 'Forbidden' as const, delayMs: INTERVAL },
    ])('asks again after $delayMs ms: $code', async ({ code, delayMs }) => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      world.client.failHead = fail(code);

      world.source.observe('p', wants({ digestsOf: [v1] }));
      await world.clock.advance(0);

      expect(world.source.observe('p', wants({ digestsOf: [v1] })).digest('v1')).toMatchObject({ kind: 'failed' });
      expect(world.clock.nextTimerMs).toBe(delayMs);
      world.stop();
      await running;
    });
  });

  describe('refresh', () => {
    it('polls at once, every login of that repository and nothing else', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('a', wants());
      world.source.observe('b', wants({ access: { credential: loginFor('ghcr.io', { key: 'mine' }) } }));
      world.source.observe('c', wants({ repository: api }));
      await settle(world);
      await world.clock.advance(10_000);
      world.client.take();

      world.source.refresh(web);
      await world.clock.advance(0);

      expect(world.client.take()).toEqual(['list ghcr.io/acme/web', 'list ghcr.io/acme/web as mine']);
      world.stop();
      await running;
    });

    it('turns a thousand hints into a poll a second (R11)', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      await world.clock.advance(10_000);

      for (let at = 0; at < 5_000; at += 1) {
        world.source.refresh(web);
        if (at % 10 === 0) await world.clock.advance(10);
      }

      expect(world.client.take().length).toBeLessThanOrEqual(7);
      world.stop();
      await running;
    });

    it('polls once more when the hint comes while a poll is under way', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      const gate = Promise.withResolvers<undefined>();
      world.client.gate = gate.promise;
      await world.clock.advance(INTERVAL);
      world.source.refresh(web);
      world.source.refresh(web);
      gate.resolve(undefined);
      world.client.gate = undefined;
      await world.clock.advance(1_000);

      expect(world.client.take()).toEqual(['list ghcr.io/acme/web', 'list ghcr.io/acme/web']);
      world.stop();
      await running;
    });

    it('means nothing for a repository that nobody watches, or while nothing runs', async () => {
      const world = start();
      world.source.observe('p', wants());

      world.source.refresh(web);
      world.source.refresh(api);
      await world.clock.advance(INTERVAL);

      expect(world.client.take()).toEqual([]);
    });
  });

  describe('forget', () => {
    it('ends polling with the last subscriber, also in the middle of a poll', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      world.source.observe('q', wants());
      await settle(world);
      world.source.forget('p');
      const gate = Promise.withResolvers<undefined>();
      world.client.gate = gate.promise;
      await world.clock.advance(INTERVAL);
      world.client.tags.set('ghcr.io/acme/web', { v9: 'z' });

      world.source.forget('q');
      world.source.forget('nobody');
      gate.resolve(undefined);
      await world.clock.advance(10 * INTERVAL);

      expect(world.client.take()).toEqual(['list ghcr.io/acme/web']);
      expect(world.takeWoken()).toEqual([]);
      expect(world.clock.pendingTimers).toBe(0);
      world.stop();
      await running;
    });
  });

  describe('run', () => {
    it('leaves nothing behind when it ends, and forgets what it knew', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants({ digestsOf: [v1] }));
      await settle(world);

      world.stop();
      await running;

      expect(world.clock.pendingTimers).toBe(0);
      const view = world.source.observe('p', wants({ digestsOf: [v1] }));
      expect([view.listing, view.digest('v1')]).toEqual([undefined, { kind: 'pending' }]);
      await world.clock.advance(10 * INTERVAL);
      expect(world.client.take()).toEqual([]);
    });

    it('can be run again', async () => {
      const world = start();
      const running = world.run();
      world.source.observe('p', wants());
      await settle(world);
      world.stop();
      await running;

      const again = new AbortController();
      const second = world.source.run(again.signal);
      await world.clock.advance(0);

      expect(world.client.take()).toEqual(['list ghcr.io/acme/web']);
      expect(world.takeWoken()).toEqual(['p']);
      again.abort();
      await second;
    });

    it('ends at once when the signal has aborted already', async () => {
      const world = start();
      world.source.observe('p', wants());

      await world.source.run(AbortSignal.abort());
      await world.clock.advance(INTERVAL);

      expect(world.client.take()).toEqual([]);
    });

    it('waits for what is under way', async () => {
      const world = start();
      const gate = Promise.withResolvers<undefined>();
      world.client.gate = gate.promise;
      const running = world.run();
      world.source.observe('p', wants());
      await world.clock.advance(0);
      let hasEnded = false;
      void running.then(() => (hasEnded = true));

      world.stop();
      await world.clock.advance(0);
      expect(hasEnded).toBe(false);
      gate.resolve(undefined);
      await running;
      expect(hasEnded).toBe(true);
    });
  });

  it('shows everyone the truth a cycle after it changed, whatever happened before', async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        tags: fc.dictionary(fc.constantFrom('v1', 'v2', 'v3'), fc.constantFrom('a', 'b', 'c'), { minKeys: 1 }),
      }),
      fc.record({
        kind: fc.constant('want' as const),
        who: fc.constantFrom('p', 'q'),
        tags: fc.uniqueArray(fc.constantFrom('v1', 'v2', 'v3')),
        lists: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('forget' as const), who: fc.constantFrom('p', 'q') }),
      fc.record({
        kind: fc.constant('fail' as const),
        code: fc.constantFrom(undefined, 'Unavailable' as const, 'Forbidden' as const),
      }),
      fc.record({ kind: fc.constant('hint' as const) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 2 * INTERVAL }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const world = start();
        const running = world.run();
        const wanted = new Map<string, RepositoryWants>();
        for (const action of steps) {
          if (action.kind === 'set') world.client.tags.set('ghcr.io/acme/web', action.tags);
          if (action.kind === 'want') {
            wanted.set(action.who, wants({ digestsOf: action.tags as Tag[], listTags: action.lists }));
            world.source.observe(action.who, wanted.get(action.who) ?? wants());
          }
          if (action.kind === 'forget') {
            wanted.delete(action.who);
            world.source.forget(action.who);
          }
          if (action.kind === 'fail') {
            world.client.failListing = action.code && fail(action.code);
            world.client.failHead = world.client.failListing;
          }
          if (action.kind === 'hint') world.source.refresh(web);
          await world.clock.advance(action.kind === 'wait' ? action.ms : 0);
        }
        world.client.failListing = world.client.failHead = undefined;
        await world.clock.advance(3 * INTERVAL);

        const truth = world.client.tags.get('ghcr.io/acme/web') ?? {};
        for (const [who, want] of wanted) {
          const view = world.source.observe(who, want);
          expect(view.listing?.tags).toEqual(want.listTags ? Object.keys(truth).sort() : undefined);
          expect(view.listingError).toBeUndefined();
          for (const tag of want.digestsOf) {
            const letter = truth[tag];
            expect(view.digest(tag)).toMatchObject(
              letter === undefined ? { kind: 'gone' } : { kind: 'known', digest: digestOf(letter) },
            );
          }
        }
        world.takeWoken();
        await world.clock.advance(3 * INTERVAL);
        const goneForGood = [...wanted.values()].some(({ digestsOf }) =>
          digestsOf.some((tag) => truth[tag] === undefined),
        );
        if (!goneForGood) expect(world.takeWoken()).toEqual([]);
        world.stop();
        await running;
        expect(world.clock.pendingTimers).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
