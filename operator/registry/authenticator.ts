// Logging in: anonymous, Basic or Bearer, as the registry's challenge asks. What a challenge taught is remembered per
// server and login, so later requests carry the right header at once; tokens are kept per repository and login until
// shortly before they expire.
// @see https://distribution.github.io/distribution/spec/auth/token/

import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Repository } from '../image/reference.ts';
import type { Clock } from '../time/clock.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { RegistryAccess, RegistryCredential } from './credential.ts';
import { admitTokenHop } from './hop-rules.ts';
import { authorityOf, type Endpoint, type HostsConfig } from './hosts.ts';
import type { RegistryLimits } from './limits.ts';
import { describeStatus, registryError } from './problem.ts';
import { allHeaders, type Answer, type Transport } from './transport.ts';

/** A repository together with the server that is asked for it and the login it is asked with. */
export interface RegistryTarget {
  readonly repository: Repository;
  readonly endpoint: Endpoint;
  /** Absent: anonymous. Never one that was meant for another host. */
  readonly credential?: RegistryCredential;
  /** Trusted besides the system's certificates. */
  readonly caPems: readonly string[];
}

/** A header that may be sent to the target's registry. */
export interface Authorization {
  readonly header: string;
  readonly kind: 'basic' | 'bearer';
  /** Made for this very request, so a refusal is final. */
  readonly isFresh: boolean;
}

type Scheme =
  { readonly kind: 'basic' } | { readonly kind: 'bearer'; readonly realm: URL; readonly service: string | undefined };

/** What is known of one server, for one login. */
interface Lesson {
  readonly scheme: Scheme;
  /** Actions on a repository that this registry wants in a token's scope. */
  readonly actions: readonly string[];
}

interface Token {
  readonly value: string;
  /** On the monotonic clock. */
  readonly expiresMs: number;
}

interface AuthenticatorOptions {
  readonly transport: Transport;
  readonly hosts: HostsConfig;
  readonly clock: Clock;
  readonly limits: RegistryLimits;
}

const MAX_LESSONS = 5_000;
const MAX_TOKENS = 10_000;
/** The specification's default; shorter lives are taken for mistakes. */
const MIN_LIFE_SECONDS = 60;
const MAX_LIFE_SECONDS = 3_600;
const MARGIN_MS = 30_000;
/** Reading only, in any registry's words: nobody may talk us into a token that can push. */
const READ_ACTIONS: ReadonlySet<string> = new Set(['pull', 'metadata_read']);
const TOKEN = /^[A-Za-z0-9._~+/=:-]{1,32768}$/;

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #lessons = new LRUCache<string, Lesson>({ max: MAX_LESSONS });
  readonly #tokens = new LRUCache<string, Token>({ max: MAX_TOKENS });
  readonly #underWay = new Map<string, Promise<Token>>();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The header to send now; undefined while nothing but anonymous is known to work. */
  async authorize(target: RegistryTarget, signal: AbortSignal): Promise<Authorization | undefined> {
    const lesson = this.#lessons.get(serverKey(target));
    if (lesson === undefined) return undefined;
    if (lesson.scheme.kind === 'basic') {
      const { credential } = target;
      return credential && { header: basicHeader(credential), kind: 'basic', isFresh: true };
    }
    const key = tokenKey(target, lesson.scheme, lesson.actions);
    const known = this.#tokens.get(key);
    if (known !== undefined && known.expiresMs > this.#options.clock.monotonicMs()) {
      return { header: `Bearer ${known.value}`, kind: 'bearer', isFresh: false };
    }
    const token = await abortable(this.#fetchOnce(key, target, lesson.scheme, lesson.actions), signal);
    return { header: `Bearer ${token.value}`, kind: 'bearer', isFresh: true };
  }

  /**
   * Learns from a 401 to a request that carried `sent`. True when the same request may now fare better. Throws
   * `TokenHostRefused` when the only way in leads through a server that may not see logins.
   */
  learn(target: RegistryTarget, answer: Answer, sent: Authorization | undefined): boolean {
    const challenges = parseChallenges(allHeaders(answer.headers, 'www-authenticate'));
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
    const canUseBasic = challenges.some(({ scheme }) => scheme === 'basic') && target.credential !== undefined;
    if (bearer === undefined) return canUseBasic && this.#learnBasic(target, sent);
    try {
      return this.#learnBearer(target, bearer, sent);
    } catch (thrown) {
      if (canUseBasic) return this.#learnBasic(target, sent);
      throw thrown;
    }
  }

  #learnBasic(target: RegistryTarget, sent: Authorization | undefined): boolean {
    this.#lessons.set(serverKey(target), { scheme: { kind: 'basic' }, actions: [] });
    return sent?.kind !== 'basic';
  }

  #learnBearer(target: RegistryTarget, challenge: Challenge, sent: Authorization | undefined): boolean {
    const { endpoint, repository } = target;
    const realm = URL.parse(challenge.parameters.get('realm') ?? '');
    if (realm === null)
      throw registryError('InvalidResponse', `${endpoint.name} names a token server that is not a URL`);
    admitTokenHop(endpoint, this.#options.hosts, realm);
    const scheme: Scheme = { kind: 'bearer', realm, service: challenge.parameters.get('service') };

    const key = serverKey(target);
    const before = this.#lessons.get(key);
    const asked = readActions(challenge.parameters.get('scope'), repository);
    const actions = [...new Set(['pull', ...(before?.actions ?? []), ...asked])].sort();
    this.#lessons.set(key, { scheme, actions });
    // Another request may have fetched a token since this one was sent: only the one that was refused is dropped.
    const token = tokenKey(target, scheme, actions);
    if (sent !== undefined && sent.header === `Bearer ${this.#tokens.peek(token)?.value}`) this.#tokens.delete(token);
    const isNews =
      before === undefined || !isSameScheme(before.scheme, scheme) || before.actions.join() !== actions.join();
    return isNews || sent?.kind !== 'bearer' || !sent.isFresh;
  }

  /** One request per token, however many wait for it. It outlives the caller that started it, but not its own deadline. */
  #fetchOnce(
    key: string,
    target: RegistryTarget,
    scheme: Scheme & { kind: 'bearer' },
    actions: readonly string[],
  ): Promise<Token> {
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    const fetching = this.#fetch(target, scheme, actions)
      .then((token) => {
        this.#keep(key, token);
        return token;
      })
      .finally(() => this.#underWay.delete(key));
    // Whoever waits sees the failure; nobody may be waiting any more.
    fetching.catch(() => undefined);
    this.#underWay.set(key, fetching);
    return fetching;
  }

  #keep(key: string, token: Token): void {
    const nowMs = this.#options.clock.monotonicMs();
    // The oldest go first, so this stops at the first one that is still good and costs little.
    for (const old of this.#tokens.rkeys()) {
      if ((this.#tokens.peek(old)?.expiresMs ?? 0) > nowMs) break;
      this.#tokens.delete(old);
    }
    if (token.expiresMs > nowMs) this.#tokens.set(key, token);
  }

  async #fetch(
    target: RegistryTarget,
    scheme: Scheme & { kind: 'bearer' },
    actions: readonly string[],
  ): Promise<Token> {
    const { transport, hosts, limits, clock } = this.#options;
    const { endpoint, credential } = target;
    const url = new URL(scheme.realm);
    url.hash = '';
    if (scheme.service !== undefined) url.searchParams.set('service', scheme.service);
    url.searchParams.set('scope', scopeOf(target.repository, actions));
    if (credential !== undefined) url.searchParams.set('account', credential.username);
    const startMs = clock.monotonicMs();
    const answer = await transport.send(
      {
        method: 'GET',
        url,
        verb: 'token',
        host: endpoint.name,
        headers: { accept: 'application/json', 'accept-encoding': 'identity' },
        authorization: credential && basicHeader(credential),
        loginKey: loginKey(target),
        caPems: target.caPems,
        maxBytes: limits.tokenBytes,
        admit: (hop) => admitTokenHop(endpoint, hosts, hop),
      },
      new AbortController().signal,
    );
    if (answer.status !== 200) throw refusedToken(target, answer, authorityOf(url));
    const { value, lifeSeconds } = parseToken(answer.body, authorityOf(url));
    return { value, expiresMs: startMs + lifeSeconds * 1_000 - MARGIN_MS };
  }
}

/** Identifies the login of a target; anonymous is a login too. */
export function loginKey(target: RegistryTarget): string {
  return target.credential?.key ?? 'anonymous';
}

/** The credential a target may carry: never to a mirror, never to another host than the one it was configured for. */
export function credentialFor(
  repository: Repository,
  endpoint: Endpoint,
  access: RegistryAccess,
): RegistryCredential | undefined {
  const { credential } = access;
  if (credential === undefined || endpoint.isMirror) return undefined;
  return credential.host === undefined || credential.host === repository.host ? credential : undefined;
}

function refusedToken(target: RegistryTarget, answer: Answer, authority: string): Error {
  const { status, retryAfterMs } = answer;
  const what = `The token server ${authority} answered ${describeStatus(status)}`;
  if (status === 429) return registryError('RateLimited', what, { retryAfterMs });
  if (status >= 500) return registryError('Unavailable', what, { retryAfterMs });
  if (status >= 400) return unauthorized(target, what);
  return registryError('InvalidResponse', what);
}

/** Says what to do about a refused or missing login. */
export function unauthorized(target: RegistryTarget, what: string): Error {
  const { credential, endpoint } = target;
  if (endpoint.isMirror) return registryError('Unauthorized', `${what}; mirrors are read without a login`);
  if (credential === undefined) {
    return registryError(
      'Unauthorized',
      `${what}; either the repository does not exist or it needs a login: name a pull secret for ${endpoint.name} in registry.imagePullSecrets`,
    );
  }
  const secret =
    credential.secretName === undefined
      ? 'the login'
      : `the login of pull secret ${JSON.stringify(credential.secretName)}`;
  return registryError(
    'Unauthorized',
    `${what} to ${secret}; check that it is still valid and may pull this repository`,
  );
}

function parseToken(body: Buffer, authority: string): { readonly value: string; readonly lifeSeconds: number } {
  const invalid = (why: string) => registryError('InvalidResponse', `The token server ${authority} sent ${why}`);
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8'));
  } catch {
    // The parser quotes what it could not read, and that may be a token.
    throw invalid('something that is not JSON');
  }
  if (typeof document !== 'object' || document === null) throw invalid('no token');
  const { token, access_token: accessToken, expires_in: expiresIn } = document as Readonly<Record<string, unknown>>;
  const value = typeof token === 'string' && token !== '' ? token : accessToken;
  if (typeof value !== 'string' || value === '') throw invalid('no token');
  if (!TOKEN.test(value)) throw invalid('a token that cannot be sent in a header');
  const lifeSeconds = typeof expiresIn === 'number' && Number.isFinite(expiresIn) ? expiresIn : MIN_LIFE_SECONDS;
  return { value, lifeSeconds: Math.min(Math.max(lifeSeconds, MIN_LIFE_SECONDS), MAX_LIFE_SECONDS) };
}

function scopeOf(repository: Repository, actions: readonly string[]): string {
  return `repository:${repository.path}:${actions.join(',')}`;
}

/** The reading actions a challenge asks for on this very repository. */
function readActions(scope: string | undefined, repository: Repository): readonly string[] {
  const prefix = `repository:${repository.path}:`;
  return (scope ?? '')
    .split(' ')
    .filter((part) => part.startsWith(prefix))
    .flatMap((part) => part.slice(prefix.length).split(','))
    .filter((action) => READ_ACTIONS.has(action));
}

function isSameScheme(a: Scheme, b: Scheme): boolean {
  if (a.kind === 'basic' || b.kind === 'basic') return a.kind === b.kind;
  return a.realm.href === b.realm.href && a.service === b.service;
}

/** What is learned from one server about one login, under one trust, is used for nothing else. */
function serverKey(target: RegistryTarget): string {
  const trust =
    target.caPems.length === 0 ? '' : createHash('sha256').update(JSON.stringify(target.caPems)).digest('base64');
  return JSON.stringify([target.endpoint.authority, loginKey(target), trust]);
}

function tokenKey(target: RegistryTarget, scheme: Scheme & { kind: 'bearer' }, actions: readonly string[]): string {
  return JSON.stringify([serverKey(target), scheme.realm.href, scheme.service, scopeOf(target.repository, actions)]);
}

function basicHeader(credential: RegistryCredential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password.reveal()}`, 'utf8').toString('base64')}`;
}

/** The promise, or the signal's reason if that comes first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
