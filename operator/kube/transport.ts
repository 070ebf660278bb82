// The one place where bytes leave for the API server. Watches, calls and the Lease have connections of their own: a watch
// holds an HTTP/2 stream (of 100 per connection) or a whole HTTP/1.1 connection, and the Lease must get through when
// everything else is stuck. A connection that stops answering PINGs is destroyed, which fails what hangs on it.

import type { Socket } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { toError } from '../errors.ts';
import type { Clock } from '../time/clock.ts';
import type { Credential, Credentials, TlsMaterial } from './credentials.ts';
import { KubeError } from './kube-error.ts';
import { connectThroughProxy } from './proxy.ts';

/** Which connections carry a request. */
export type Lane = 'calls' | 'watches' | 'lease';

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Milliseconds without a byte of the body after which the answer counts as dead. */
  readonly bodyTimeoutMs: number;
  /** Runs synchronously right before the request leaves; when it throws, nothing is sent. */
  readonly beforeSend?: (() => void) | undefined;
}

export interface TransportOptions {
  /** `https://host:port`, perhaps with a path in front of the API. */
  readonly server: string;
  /** `http://` or `https://` proxy to tunnel through. */
  readonly proxyUrl?: string | undefined;
  readonly credentials: Credentials;
  readonly userAgent: string;
  /** Overrides how often every lane is pinged; a dead connection is found within 5 times this. */
  readonly pingIntervalMs?: number | undefined;
  readonly clock: Clock;
}

interface LaneSettings {
  /** Most connections to the server; absent: as many as it takes. */
  readonly connections?: number;
  readonly pingIntervalMs: number;
  /** Looks in a row without a byte, not even a PING's answer, after which the connection is dead. */
  readonly silentLooks: number;
}

/** A look happens once per PING, so a dead connection is found after about pingIntervalMs * (silentLooks + 1). */
const LANES: Readonly<Record<Lane, LaneSettings>> = {
  watches: { pingIntervalMs: 2_500, silentLooks: 3 },
  calls: { connections: 4, pingIntervalMs: 2_500, silentLooks: 3 },
  lease: { connections: 4, pingIntervalMs: 1_000, silentLooks: 3 },
};

const CONNECT_TIMEOUT_MS = 10_000;
/** Idle connections are kept this long, so that a quiet operator does not shake hands for every call. */
const KEEP_ALIVE_MS = 60_000;
/** Linux then sends 10 probes one second apart: HTTP/1.1 has no PING, so this finds its dead peers within 15 s. */
const TCP_KEEP_ALIVE_DELAY_MS = 5_000;

export class Transport {
  readonly #origin: string;
  readonly #basePath: string;
  readonly #options: TransportOptions;
  readonly #agents = new Map<Lane, { readonly agent: Agent; readonly tls: TlsMaterial }>();
  /** Agents of an earlier identity that still serve what was begun on them. */
  readonly #retiring = new Set<Agent>();
  #closed = false;

  constructor(options: TransportOptions) {
    const server = new URL(options.server);
    this.#origin = server.origin;
    this.#basePath = server.pathname.replace(/\/$/, '');
    this.#options = options;
  }

  /** The answer as soon as its head is there, whatever its status. Rejects with KubeError `Unreachable`, or the signal's reason. */
  async send(lane: Lane, request: TransportRequest): Promise<Dispatcher.ResponseData> {
    const first = await this.#sendOnce(lane, request);
    if (first.statusCode !== 401) return first;
    // A token that was just rotated away, a certificate that has just expired: once, with a fresh credential.
    await first.body.dump();
    this.#options.credentials.renew();
    return this.#sendOnce(lane, request);
  }

  /** Ends every connection at once; what is under way fails. */
  async close(): Promise<void> {
    this.#closed = true;
    const agents = [...[...this.#agents.values()].map(({ agent }) => agent), ...this.#retiring];
    this.#agents.clear();
    this.#retiring.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }

  async #sendOnce(lane: Lane, request: TransportRequest): Promise<Dispatcher.ResponseData> {
    const credential = await abortable(this.#options.credentials.current(), request.signal);
    const headers: Record<string, string> = {
      ...credential.headers,
      accept: request.accept ?? 'application/json',
      'user-agent': this.#options.userAgent,
    };
    if (request.contentType !== undefined) headers['content-type'] = request.contentType;
    if (this.#closed)
      throw new KubeError('The connection to the API server is closed', { status: 0, reason: 'Closed' });
    const agent = this.#agent(lane, credential);
    request.beforeSend?.();
    try {
      return await agent.request({
        origin: this.#origin,
        path: this.#basePath + request.path,
        method: request.method,
        headers,
        ...(request.body !== undefined && { body: request.body }),
        signal: request.signal,
        // The caller's signal carries the deadline for the head of the answer.
        headersTimeout: 0,
        bodyTimeout: request.bodyTimeoutMs,
      });
    } catch (thrown) {
      throw toUnreachable(thrown, request.signal);
    }
  }

  #agent(lane: Lane, credential: Credential): Agent {
    const { tls } = credential;
    const present = this.#agents.get(lane);
    if (present !== undefined && isSameTls(present.tls, tls)) return present.agent;
    if (present !== undefined) this.#retire(present.agent);
    const { pingIntervalMs = LANES[lane].pingIntervalMs } = this.#options;
    const agent = this.#open({ ...LANES[lane], pingIntervalMs }, tls);
    this.#agents.set(lane, { agent, tls });
    return agent;
  }

  /** A certificate counts for the life of its connection, so a new one needs new connections. */
  #retire(agent: Agent): void {
    this.#retiring.add(agent);
    agent
      .close()
      .catch(() => undefined)
      .finally(() => this.#retiring.delete(agent));
  }

  #open(lane: LaneSettings, tls: TlsMaterial): Agent {
    const connect = buildConnector({
      ...tls,
      allowH2: true,
      timeout: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_DELAY_MS,
    });
    const { proxyUrl, clock } = this.#options;
    return new Agent({
      ...(lane.connections !== undefined && { connections: lane.connections }),
      keepAliveTimeout: KEEP_ALIVE_MS,
      h2Options: { pingInterval: lane.pingIntervalMs },
      connect(options, callback) {
        const onConnected: buildConnector.Callback = (...result) => {
          // A failure comes with no second argument at all, whatever the types say.
          if (result[0] === null) destroyWhenSilent(result[1], lane, clock);
          callback(...result);
        };
        if (proxyUrl === undefined) connect(options, onConnected);
        else connectThroughProxy(new URL(proxyUrl), CONNECT_TIMEOUT_MS, connect, options, onConnected);
      },
    });
  }
}

/**
 * undici sends PINGs but does not mind when no answer comes, so we look whether bytes arrive. Counting looks instead of
 * comparing times spares a healthy connection when our own process was stopped or busy: its timer then fires only once.
 */
function destroyWhenSilent(socket: Socket, lane: LaneSettings, clock: Clock): void {
  if (!('alpnProtocol' in socket) || socket.alpnProtocol !== 'h2') return;
  let bytesRead = socket.bytesRead;
  let silentLooks = 0;
  const look = (): void => {
    silentLooks = socket.bytesRead === bytesRead ? silentLooks + 1 : 0;
    bytesRead = socket.bytesRead;
    if (silentLooks < lane.silentLooks) {
      timer = clock.setTimer(lane.pingIntervalMs, look);
      return;
    }
    socket.destroy(new Error(`no byte and no answer to a PING for ${(lane.pingIntervalMs * silentLooks) / 1_000} s`));
  };
  // One look more than there are PINGs, so that the first answer can be there.
  let timer = clock.setTimer(lane.pingIntervalMs * 1.5, look);
  socket.once('close', () => timer[Symbol.dispose]());
}

/** Passes on the signal's reason; everything else means that no (whole) answer came. */
export function toUnreachable(thrown: unknown, signal: AbortSignal): Error {
  if (signal.aborted) return toError(signal.reason);
  const error = toError(thrown);
  const text = error.message !== '' ? error.message : error.name;
  const code = 'code' in error && typeof error.code === 'string' && !text.includes(error.code) ? `${error.code} ` : '';
  return new KubeError(`No answer from the API server: ${code}${text}`, {
    status: 0,
    reason: 'Unreachable',
    cause: thrown,
  });
}

/** The promise's outcome, or the signal's reason if that comes first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => undefined);
    return Promise.reject(toError(signal.reason));
  }
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(toError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function isSameTls(a: TlsMaterial, b: TlsMaterial): boolean {
  if (a === b) return true;
  const names = ['ca', 'cert', 'key', 'servername', 'rejectUnauthorized'] as const;
  return names.every((name) => String(a[name]) === String(b[name]));
}
