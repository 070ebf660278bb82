// Tags and digests for everyone, asked for once. Subscribers say what they want and read what is known, without waiting;
// they are told when it has changed. All who want the same repository with the same login share one poller.

import { createHash } from 'node:crypto';
import { formatRepository, isSameRepository, type Repository } from '../image/reference.ts';
import { type Logger, silentLogger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import type { RegistryClient } from './client.ts';
import { RepositoryPoller, type RepositoryView, type RepositoryWants } from './repository-poller.ts';

export type { RepositoryView, RepositoryWants } from './repository-poller.ts';

export interface TagSourceOptions {
  readonly client: Pick<RegistryClient, 'listTagsSince' | 'headManifest'>;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Called for each subscriber whose view has changed in a way that matters. Must only take note: enqueue, not work. */
  readonly onChange: (subscriber: string) => void;
  readonly log?: Logger;
}

export class TagSource {
  readonly #options: TagSourceOptions;
  readonly #pollers = new Map<string, RepositoryPoller>();
  /** Which poller each subscriber is with, by key. */
  readonly #places = new Map<string, string>();
  #isRunning = false;

  constructor(options: TagSourceOptions) {
    this.#options = options;
  }

  /**
   * Declares what `subscriber` wants, in place of what it wanted before, and shows what is known of it now. What nobody has
   * asked for yet is asked for at once, while running; `onChange` follows when it is there.
   */
  observe(subscriber: string, wants: RepositoryWants): RepositoryView {
    const key = pollerKey(wants);
    const place = this.#places.get(subscriber);
    if (place !== undefined && place !== key) this.forget(subscriber);
    const poller = this.#pollers.get(key) ?? this.#addPoller(key, wants);
    this.#places.set(subscriber, key);
    poller.subscribe(subscriber, wants);
    return poller.view(wants);
  }

  /** Ends the subscriber's interest; `onChange` is not called for it any more. */
  forget(subscriber: string): void {
    const key = this.#places.get(subscriber);
    if (key === undefined) return;
    this.#places.delete(subscriber);
    const poller = this.#pollers.get(key);
    poller?.unsubscribe(subscriber);
    if (poller?.isUnwatched !== true) return;
    this.#pollers.delete(key);
    void poller.stop();
  }

  /** Somebody says that the repository has changed: poll it now. Only a hint; a burst of hints causes few polls. */
  refresh(repository: Repository): void {
    for (const poller of this.#pollers.values()) {
      if (isSameRepository(poller.repository, repository)) poller.hint();
    }
  }

  /** Polls until the signal aborts; nothing is fetched otherwise. What was known is forgotten at the end. */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#isRunning = true;
    for (const poller of this.#pollers.values()) poller.start();
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.#isRunning = false;
    await Promise.all([...this.#pollers.values()].map((poller) => poller.stop()));
  }

  #addPoller(key: string, { repository, access }: RepositoryWants): RepositoryPoller {
    const { client, clock, random, onChange, log = silentLogger } = this.#options;
    const poller = new RepositoryPoller({ client, clock, random, onChange, log, repository, access });
    this.#pollers.set(key, poller);
    if (this.#isRunning) poller.start();
    return poller;
  }
}

/** Only those who would see the same may share: same repository, same login, same trust. */
function pollerKey({ repository, access }: RepositoryWants): string {
  const { credential, caPem } = access;
  const trust = caPem === undefined ? '' : createHash('sha256').update(caPem).digest('base64');
  return JSON.stringify([formatRepository(repository), credential?.key ?? '', trust]);
}
