// A cache that keeps itself up to date, and tells whoever asked what changed. One watch covers all namespaces, or one each.

import { toError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from '../time/clock.ts';
import { ObjectCache, type Cache, type CacheEvent, type Listed, type Projection } from './cache.ts';
import type { KubeConnection } from './connection.ts';
import type { KubeObserver } from './observer.ts';
import { Reflector } from './reflector.ts';
import { formatKey, qualifiedName, type KubeObject, type ObjectMeta, type Resource } from './resource.ts';
import { abortable } from './transport.ts';

export type { Cache, CacheEvent, Projection } from './cache.ts';

export interface InformerOptions<T extends KubeObject, P extends Projection> {
  readonly connection: Pick<KubeConnection, 'client' | 'watch'>;
  readonly resource: Resource<T>;
  readonly namespaces: 'all' | readonly string[];
  /**
   * What to keep of an object; called once per change. Absent: all but managedFields and the last-applied annotation,
   * which together are often half of an object. When it throws, the object stays as it was and the log says so.
   */
  readonly project?: (raw: T) => P;
  /** Named lookups: an object is found under every value its function returns. */
  readonly indexes?: Readonly<Record<string, (object: P) => readonly string[]>>;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Freeze cached objects deeply, so that a test notices who writes to them. */
  readonly freeze?: boolean;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly observer?: Partial<KubeObserver> | undefined;
}

export interface Informer<P extends Projection> {
  /** `imagepolicies.slipway.dev` */
  readonly resource: string;
  readonly cache: Cache<P>;
  /** Whether the cache has been filled once. It stays true from then on. */
  readonly hasSynced: boolean;
  /** Resolves when `hasSynced`; rejects with the signal's reason. */
  synced(signal: AbortSignal): Promise<void>;
  /** Milliseconds since the API server last answered here; 0 while a watch is open. Of several namespaces the worst. */
  readonly lastContactAgeMs: number;
  /** What stands in the way of listing or watching, as a sentence; absent while all is well. */
  readonly problem: string | undefined;
  /** Whether the API server refuses us the rights to list or watch. */
  readonly isForbidden: boolean;
  /** Calls `handler` after each change of the cache, synchronously. Register before `run`: what is cached is not told again. */
  onEvent(handler: (event: CacheEvent<P>) => void): void;
  /** Keeps the cache up to date until the signal aborts; never rejects. May be called once. */
  run(signal: AbortSignal): Promise<void>;
}

export function createInformer<T extends KubeObject, P extends Projection = T>(
  options: InformerOptions<T, P>,
): Informer<P> {
  return new ReflectingInformer(options);
}

class ReflectingInformer<T extends KubeObject, P extends Projection> implements Informer<P> {
  readonly resource: string;
  readonly cache: ObjectCache<T, P>;
  readonly #options: InformerOptions<T, P>;
  readonly #reflectors: readonly Reflector<T, Listed<P>>[];
  readonly #handlers: ((event: CacheEvent<P>) => void)[] = [];
  readonly #synced: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(options: InformerOptions<T, P>) {
    const { project, indexes = {}, namespaces, freeze = false } = options;
    this.#options = options;
    this.resource = qualifiedName(options.resource);
    this.cache = new ObjectCache<T, P>({
      // Without a projection P is T; the compiler cannot know that.
      project: project ?? (withoutBookkeeping as unknown as (raw: T) => P),
      indexes,
      namespaces,
      selective: options.labelSelector !== undefined || options.fieldSelector !== undefined,
      freeze,
      onEvent: (event) => this.#tell(event),
      onUnreadable: (key, error) =>
        options.log.warn('Ignoring an object that cannot be read', {
          resource: this.resource,
          object: formatKey(key),
          err: toError(error),
        }),
    });
    const scopes = namespaces === 'all' ? [''] : namespaces;
    this.#reflectors = scopes.map((scope) => this.#reflect(scope));
    if (scopes.length === 0) this.#synced.resolve();
  }

  get hasSynced(): boolean {
    return this.#reflectors.every((reflector) => reflector.hasSynced);
  }

  synced(signal: AbortSignal): Promise<void> {
    return abortable(this.#synced.promise, signal);
  }

  get lastContactAgeMs(): number {
    return Math.max(0, ...this.#reflectors.map((reflector) => reflector.lastContactAgeMs));
  }

  get problem(): string | undefined {
    return this.#reflectors.find((reflector) => reflector.problem !== undefined)?.problem?.message;
  }

  get isForbidden(): boolean {
    return this.#reflectors.some(
      ({ problem }) => problem !== undefined && (problem.isForbidden || problem.isUnauthorized),
    );
  }

  onEvent(handler: (event: CacheEvent<P>) => void): void {
    this.#handlers.push(handler);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.run(signal)));
  }

  #reflect(scope: string): Reflector<T, Listed<P>> {
    const { cache } = this;
    const { connection, resource, labelSelector, fieldSelector, clock, random, log, observer } = this.#options;
    const reportSize = (): void => observer?.onCacheSize?.({ resource: resource.plural, objects: cache.size });
    return new Reflector<T, Listed<P>>({
      connection,
      resource,
      namespace: scope === '' ? undefined : scope,
      labelSelector,
      fieldSelector,
      clock,
      random,
      log,
      observer,
      onSynced: () => {
        if (this.hasSynced) this.#synced.resolve();
      },
      sink: {
        prepare: (raw) => cache.prepare(raw),
        replace: (listed, version, { rewound }) => {
          cache.replace(scope, listed, version, { force: rewound });
          reportSize();
        },
        observe: (type, raw) => {
          cache.observe(scope, type, raw);
          reportSize();
        },
        advance: (version) => cache.advance(scope, version),
      },
    });
  }

  /** A handler that throws must cost neither the cache nor the other handlers the event. */
  #tell(event: CacheEvent<P>): void {
    for (const handler of this.#handlers) {
      try {
        handler(event);
      } catch (error) {
        this.#options.log.error('An informer handler failed', {
          resource: this.resource,
          namespace: event.object.metadata.namespace,
          name: event.object.metadata.name,
          err: toError(error),
        });
      }
    }
  }
}

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** A raw object without what only the API server and kubectl need. */
export function withoutBookkeeping<T extends KubeObject>(raw: T): T {
  const { managedFields: _managedFields, annotations, ...metadata } = raw.metadata;
  if (annotations === undefined) return { ...raw, metadata };
  const { [LAST_APPLIED]: _lastApplied, ...kept } = annotations;
  return { ...raw, metadata: { ...metadata, annotations: kept } satisfies ObjectMeta };
}
