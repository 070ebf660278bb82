// One HTTP request to a registry or token server, redirects followed by our own rules, with every size and time bounded.
// Redirects are where logins leak and where internal services get asked, so each hop is judged like a new request.

import { createHash, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { LRUCache } from 'lru-cache';
import { Agent } from 'undici';
import { TerminalError } from '../errors.ts';
import type { Clock } from '../time/clock.ts';
import { type Exchange, type RawAnswer, startExchange, tooLarge } from './exchange.ts';
import { guardedConnector, type ResolveHost } from './guarded-connect.ts';
import type { HopRules } from './hop-rules.ts';
import { type GateOutcome, HostGate } from './host-gate.ts';
import { authorityOf, type HostsConfig, requestsPerSecondOf } from './hosts.ts';
import type { RegistryLimits } from './limits.ts';
import { isStaleConnection, isTimeout, isTlsProtocolFailure, toNetworkError } from './network-failure.ts';
import type { RegistryObserver, RegistryVerb, RequestOutcome } from './observer.ts';
import { describeStatus, registryError } from './problem.ts';
import { parseRetryAfterMs } from './retry-after.ts';

export interface TransportOptions {
  readonly hosts: HostsConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly limits: RegistryLimits;
  readonly observer: RegistryObserver;
  readonly userAgent: string;
  readonly resolve: ResolveHost;
}

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly verb: RegistryVerb;
  /** Host of image names, for metrics. */
  readonly host: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the first server only, never after a redirect to another host, port or scheme. */
  readonly authorization: string | undefined;
  /** Identifies the login, for pauses asked for by the host. */
  readonly loginKey: string;
  readonly caPems: readonly string[];
  /** Largest decompressed body of a successful answer, in bytes. */
  readonly maxBytes: number;
  /** Judges each hop before it is made; `from` is absent for the first. Throws what is to be reported. */
  readonly admit: (url: URL, from: URL | undefined) => HopRules;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Decompressed. Of a failed answer only the first bytes. */
  readonly body: Buffer;
  /** Whether the server asked first is the one that answered. */
  readonly isFirstServer: boolean;
  /** What the server asked to wait for, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** A request under way, with its one repetition. */
interface Attempt {
  bytes: number;
  abortedBy: Error | undefined;
  exchange: Exchange | undefined;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const CONCURRENCY = 8;
const KEEP_ALIVE_MS = 20_000;
/** Each set of trusted certificates costs a megabyte or two. */
const MAX_AGENTS = 64;
const MAX_IDLE_GATES = 1_000;
const MAX_URL_LENGTH = 8_192;

const decompress = promisify(gunzip);

export class Transport {
  readonly #options: TransportOptions;
  readonly #gates = new Map<string, HostGate>();
  readonly #agents: LRUCache<string, Agent>;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#agents = new LRUCache({ max: MAX_AGENTS, dispose: (agent) => void agent.close().catch(() => undefined) });
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.allSettled(agents.map((agent) => agent.destroy()));
  }

  /**
   * The final answer after at most `limits.redirects` redirects, whatever its status. Throws a TransientError or
   * TerminalError with a registry problem code when there is none, or the signal's reason.
   */
  async send(wanted: TransportRequest, signal: AbortSignal): Promise<Answer> {
    let url = wanted.url;
    let from: URL | undefined;
    let authorization = wanted.authorization;
    for (let hops = 0; hops <= this.#options.limits.redirects; hops += 1) {
      const rules = wanted.admit(url, from);
      const answer = await this.#exchange({ ...wanted, url, authorization }, rules, signal);
      const location = REDIRECTS.has(answer.status) ? oneHeader(answer.headers, 'location') : undefined;
      if (location === undefined) return { ...answer, isFirstServer: url.origin === wanted.url.origin };
      from = url;
      url = resolveRedirect(location, from);
      // Once dropped it stays dropped, also when a later hop leads back.
      if (url.origin !== from.origin) authorization = undefined;
    }
    throw registryError(
      'RedirectRefused',
      `${authorityOf(wanted.url)} redirected more than ${this.#options.limits.redirects} times`,
    );
  }

  async #exchange(
    wanted: TransportRequest,
    rules: HopRules,
    signal: AbortSignal,
  ): Promise<Omit<Answer, 'isFirstServer'>> {
    const { clock, observer, limits } = this.#options;
    const authority = authorityOf(wanted.url);
    const gate = this.#gateOf(wanted.url);
    await gate.enter(wanted.loginKey, signal);

    const startMs = clock.monotonicMs();
    const attempt: Attempt = { bytes: 0, abortedBy: undefined, exchange: undefined };
    const abort = (reason: Error): void => {
      attempt.abortedBy ??= reason;
      attempt.exchange?.abort(reason);
    };
    let lateness: Error | undefined;
    const timer = clock.setTimer(limits.exchangeMs, () => {
      const seconds = limits.exchangeMs / 1_000;
      lateness = registryError('Unavailable', `${authority} did not finish its answer within ${seconds} s`);
      abort(lateness);
    });
    const onAbort = (): void => abort(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    const report = (outcome: RequestOutcome): void => {
      const durationMs = clock.monotonicMs() - startMs;
      observer.onRequest({ host: wanted.host, verb: wanted.verb, outcome, bytes: attempt.bytes, durationMs });
    };
    let gateOutcome: GateOutcome = { kind: 'void' };
    try {
      const answer = await this.#fetch(wanted, rules, attempt);
      gateOutcome = judgeStatus(answer, authority);
      report(outcomeOfStatus(answer.status));
      return answer;
    } catch (thrown) {
      if (signal.aborted) {
        report('aborted');
        throw signal.reason;
      }
      const error = toNetworkError(thrown, authority);
      gateOutcome = judgeError(error);
      report(error === lateness || isTimeout(thrown) ? 'timeout' : outcomeOfError(error));
      throw error;
    } finally {
      timer[Symbol.dispose]();
      signal.removeEventListener('abort', onAbort);
      gate.leave(wanted.loginKey, gateOutcome);
    }
  }

  async #fetch(wanted: TransportRequest, rules: HopRules, attempt: Attempt): Promise<Omit<Answer, 'isFirstServer'>> {
    const { clock, limits } = this.#options;
    const dispatcher = this.#agentFor(wanted.caPems, rules);
    const start = (): Promise<RawAnswer> => {
      attempt.exchange = startExchange({
        dispatcher,
        url: wanted.url,
        method: wanted.method,
        idleMs: limits.idleMs,
        headers: this.#headersOf(wanted),
        limitFor: (status) => limitFor(status, wanted.maxBytes, limits),
        onBytes: (count) => (attempt.bytes += count),
      });
      return attempt.exchange.answer;
    };
    let raw: RawAnswer;
    try {
      raw = await start();
    } catch (thrown) {
      // Reading is harmless to repeat, and a server that closes an idle connection is no failure.
      if (attempt.abortedBy !== undefined || attempt.bytes > 0 || !isStaleConnection(thrown)) throw thrown;
      raw = await start();
    }
    const { status, headers } = raw;
    const { maxBytes, mustBeWhole } = limitFor(status, wanted.maxBytes, limits);
    const retryAfterMs = parseRetryAfterMs(oneHeader(headers, 'retry-after'), clock.now());
    return {
      status,
      headers,
      body: await decode(raw.body, headers, maxBytes, mustBeWhole, limits),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  }

  #headersOf({ headers, authorization }: TransportRequest): Readonly<Record<string, string>> {
    const { userAgent } = this.#options;
    return { ...headers, 'user-agent': userAgent, ...(authorization !== undefined && { authorization }) };
  }

  #gateOf(url: URL): HostGate {
    const { clock, random, hosts } = this.#options;
    const authority = authorityOf(url);
    let gate = this.#gates.get(authority);
    if (gate === undefined) {
      if (this.#gates.size >= MAX_IDLE_GATES) {
        for (const [name, old] of this.#gates) if (old.isIdle) this.#gates.delete(name);
      }
      gate = new HostGate({
        clock,
        random,
        requestsPerSecond: requestsPerSecondOf(authority, hosts),
        concurrency: CONCURRENCY,
      });
      this.#gates.set(authority, gate);
    }
    return gate;
  }

  /** Connections are shared only between requests that trust the same certificates and may reach the same addresses. */
  #agentFor(caPems: readonly string[], rules: HopRules): Agent {
    const { limits, resolve } = this.#options;
    const trust = caPems.length === 0 ? '' : createHash('sha256').update(JSON.stringify(caPems)).digest('base64');
    const key = `${rules.allowsPrivate} ${rules.verifies} ${trust}`;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    for (const pem of caPems) checkCertificates(pem);
    const agent = new Agent({
      connect: guardedConnector({ ...rules, caPems, timeoutMs: limits.connectMs, resolve }),
      connections: CONCURRENCY,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: 32 * 1024,
    });
    this.#agents.set(key, agent);
    return agent;
  }
}

/** The one value of a header; several equal ones count as one, several different ones as none. */
export function oneHeader(headers: Answer['headers'], name: string): string | undefined {
  const value = headers[name];
  if (!Array.isArray(value)) return value;
  return new Set(value).size === 1 ? value[0] : undefined;
}

/** All values of a header that may come more than once. */
export function allHeaders(headers: Answer['headers'], name: string): readonly string[] {
  const value = headers[name];
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function resolveRedirect(location: string, from: URL): URL {
  const url = location.length > MAX_URL_LENGTH ? null : URL.parse(location, from.href);
  const refused = (why: string) => registryError('RedirectRefused', `${authorityOf(from)} redirected ${why}`);
  if (url === null) throw refused('to something that is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused('to another protocol than HTTP');
  if (url.protocol === 'http:' && from.protocol === 'https:') throw refused('from HTTPS to plain HTTP');
  if (url.username !== '' || url.password !== '') throw refused('to a URL with a login in it');
  url.hash = '';
  return url;
}

function limitFor(status: number, maxBytes: number, { errorBytes }: RegistryLimits) {
  const isGood = status >= 200 && status < 300;
  return { maxBytes: isGood ? maxBytes : errorBytes, mustBeWhole: isGood };
}

async function decode(
  raw: Buffer,
  headers: Answer['headers'],
  maxBytes: number,
  mustBeWhole: boolean,
  limits: RegistryLimits,
): Promise<Buffer> {
  const encoding = allHeaders(headers, 'content-encoding').join(',').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity' || raw.length === 0) return raw;
  if (!mustBeWhole) return Buffer.alloc(0);
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw registryError('InvalidResponse', 'The answer is encoded in a way that was not asked for; only gzip is read');
  }
  const allowed = Math.min(maxBytes, Math.max(limits.ratioFloorBytes, raw.length * limits.compressionRatio));
  try {
    return await decompress(raw, { maxOutputLength: allowed });
  } catch (thrown) {
    const isTooLarge = (thrown as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    if (isTooLarge && allowed === maxBytes) throw tooLarge(maxBytes);
    if (isTooLarge) throw registryError('InvalidResponse', 'The compressed answer unpacks to far more than is sane');
    throw registryError('InvalidResponse', 'The answer is not the gzip data that it claims to be', { cause: thrown });
  }
}

/** Throws TerminalError `InvalidCaBundle` unless the text is PEM certificates. */
function checkCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length === 0) throw new Error('No certificate in it');
    for (const block of blocks) new X509Certificate(block);
  } catch (cause) {
    throw new TerminalError('The CA bundle is not a list of PEM certificates (-----BEGIN CERTIFICATE-----)', {
      code: 'InvalidCaBundle',
      cause,
    });
  }
}

function judgeStatus(answer: Omit<Answer, 'isFirstServer'>, authority: string): GateOutcome {
  const { status, retryAfterMs } = answer;
  const message = `${authority} answered ${describeStatus(status)}`;
  if (status === 429) return { kind: 'limited', error: registryError('RateLimited', message), retryAfterMs };
  if (status >= 500) return { kind: 'failed', error: registryError('Unavailable', message) };
  return { kind: 'answered' };
}

/** An untrusted certificate, a strange body or another protocol say something about this request, not about the host's health. */
function judgeError(error: Error): GateOutcome {
  const code = 'code' in error ? error.code : undefined;
  return code === 'Unavailable' && !isTlsProtocolFailure(error) ? { kind: 'failed', error } : { kind: 'void' };
}

function outcomeOfStatus(status: number): RequestOutcome {
  if (status === 304 || status === 401 || status === 403 || status === 404 || status === 429) return `${status}`;
  if (status >= 500) return '5xx';
  if (status >= 400) return '4xx';
  return status >= 300 ? '3xx' : '2xx';
}

function outcomeOfError(error: Error): RequestOutcome {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'InvalidResponse') return 'invalid';
  return code === 'Unavailable' ? 'network' : 'refused';
}
