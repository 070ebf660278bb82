// One authenticated request to a registry: find the server, log in as it asks, try again once what the 401 taught is known.
// A failed answer becomes an error here; verbs only see answers they can use.

import type { Repository } from '../image/reference.ts';
import {
  abortable,
  Authenticator,
  type Authorization,
  credentialFor,
  loginKey,
  type RegistryTarget,
  unauthorized,
} from './authenticator.ts';
import type { RegistryAccess } from './credential.ts';
import { admitRegistryHop } from './hop-rules.ts';
import { type HostsConfig, resolveEndpoint } from './hosts.ts';
import type { RegistryLimits } from './limits.ts';
import { isTlsProtocolFailure, mayBePlainHttp } from './network-failure.ts';
import type { RegistryVerb } from './observer.ts';
import { describeStatus, registryError } from './problem.ts';
import { type Answer, oneHeader, Transport, type TransportOptions } from './transport.ts';

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD';
  /** Below the repository: `tags/list`, `manifests/v1.2.3`. */
  readonly path: string;
  /** With its `?`; empty for none. */
  readonly query?: string;
  readonly verb: RegistryVerb;
  readonly headers: Readonly<Record<string, string>>;
  readonly maxBytes: number;
}

export interface RegistryAnswer extends Answer {
  /** What was asked, before any redirect. */
  readonly url: URL;
}

type Scheme = 'http' | 'https';
/** A request for `/v2/` itself has no path. */
type Wanted = Omit<RegistryRequest, 'path'> & { readonly path: string | undefined };

/** First, learn the scheme; then a token with the wrong scope or one that has expired early. */
const MAX_LOGINS = 2;
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;

export class RegistryRequester {
  readonly limits: RegistryLimits;
  readonly #hosts: HostsConfig;
  readonly #transport: Transport;
  readonly #authenticator: Authenticator;
  /** Of hosts listed as insecure. */
  readonly #schemes = new Map<string, Promise<Scheme>>();
  readonly #ping: Wanted;

  constructor(options: TransportOptions) {
    this.limits = options.limits;
    this.#ping = { method: 'GET', path: undefined, verb: 'ping', headers: {}, maxBytes: options.limits.manifestBytes };
    this.#hosts = options.hosts;
    this.#transport = new Transport(options);
    this.#authenticator = new Authenticator({ ...options, transport: this.#transport });
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  target(repository: Repository, access: RegistryAccess): RegistryTarget {
    const endpoint = resolveEndpoint(repository.host, this.#hosts);
    const credential = credentialFor(repository, endpoint, access);
    return {
      repository,
      endpoint,
      ...(credential !== undefined && { credential }),
      caPems: [endpoint.caPem, access.caPem].filter((pem) => pem !== undefined),
    };
  }

  /**
   * The registry's answer. 401, 403, 429 and 5xx are thrown; any other status is the caller's to judge, with `failureOf`
   * for those it cannot use.
   */
  async request(target: RegistryTarget, wanted: RegistryRequest, signal: AbortSignal): Promise<RegistryAnswer> {
    for (let logins = 0; ; logins += 1) {
      const sent = await this.#authenticator.authorize(target, signal);
      const answer = await this.#send(target, wanted, sent, signal);
      if (answer.status === 401 && answer.isFirstServer) {
        if (logins < MAX_LOGINS && this.#authenticator.learn(target, answer, sent)) continue;
        throw unauthorized(target, describeAnswer(target, answer));
      }
      if (isHidden(answer.status) && sent === undefined && target.credential !== undefined && logins === 0) {
        if (await this.#learnFromPing(target, signal)) continue;
      }
      if (answer.status === 401 || answer.status === 403 || answer.status === 429 || answer.status >= 500) {
        throw failureOf(target, answer);
      }
      return answer;
    }
  }

  /** Some registries show those who have not logged in neither the repository nor a challenge. */
  async #learnFromPing(target: RegistryTarget, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#send(target, this.#ping, undefined, signal);
    return answer.status === 401 && this.#authenticator.learn(target, answer, undefined);
  }

  async #send(
    target: RegistryTarget,
    wanted: Wanted,
    sent: Authorization | undefined,
    signal: AbortSignal,
  ): Promise<RegistryAnswer> {
    const { authority, isInsecure } = target.endpoint;
    if (!isInsecure) return this.#sendBy('https', target, wanted, sent, signal);
    const scheme = await this.#schemeOf(target, signal);
    try {
      const answer = await this.#sendBy(scheme, target, wanted, sent, signal);
      // What a server says that is spoken to in plain HTTP and wants TLS.
      if (scheme === 'http' && answer.status === 400) this.#schemes.delete(authority);
      return answer;
    } catch (thrown) {
      if (isTlsProtocolFailure(thrown)) this.#schemes.delete(authority);
      throw thrown;
    }
  }

  /** How a host listed as insecure wants to be spoken to. Found out by one attempt, however many wait for it. */
  #schemeOf(target: RegistryTarget, signal: AbortSignal): Promise<Scheme> {
    const { authority } = target.endpoint;
    let scheme = this.#schemes.get(authority);
    if (scheme === undefined) {
      scheme = this.#probe(target);
      // An attempt that failed, or told nothing for sure, is not remembered.
      scheme.catch(() => this.#schemes.delete(authority));
      this.#schemes.set(authority, scheme);
    }
    return abortable(scheme, signal);
  }

  async #probe(target: RegistryTarget): Promise<Scheme> {
    try {
      await this.#sendBy('https', target, this.#ping, undefined, new AbortController().signal);
      return 'https';
    } catch (thrown) {
      if (!mayBePlainHttp(thrown)) throw thrown;
      if (!isTlsProtocolFailure(thrown)) this.#schemes.delete(target.endpoint.authority);
      return 'http';
    }
  }

  async #sendBy(
    scheme: 'https' | 'http',
    target: RegistryTarget,
    wanted: Wanted,
    sent: Authorization | undefined,
    signal: AbortSignal,
  ): Promise<RegistryAnswer> {
    const { endpoint, repository } = target;
    const path = wanted.path === undefined ? '' : `${repository.path}/${wanted.path}`;
    const url = new URL(`${scheme}://${endpoint.authority}/v2/${path}${wanted.query ?? ''}`);
    const answer = await this.#transport.send(
      {
        method: wanted.method,
        url,
        verb: wanted.verb,
        host: endpoint.name,
        headers: wanted.headers,
        authorization: sent?.header,
        loginKey: loginKey(target),
        caPems: target.caPems,
        maxBytes: wanted.maxBytes,
        admit: (hop) => admitRegistryHop(endpoint, this.#hosts, hop),
      },
      signal,
    );
    return { ...answer, url };
  }
}

/** A failed answer as the error to report. */
export function failureOf(target: RegistryTarget, answer: Answer): Error {
  const { status, retryAfterMs } = answer;
  const what = describeAnswer(target, answer);
  const code = errorCode(answer);
  if (status === 429 || code === 'TOOMANYREQUESTS') return registryError('RateLimited', what, { retryAfterMs });
  if (status >= 500) return registryError('Unavailable', what, { retryAfterMs });
  if (status === 401) return unauthorized(target, what);
  if (status === 403) return registryError('Forbidden', `${what}; ${adviceOnForbidden(target)}`);
  if (status === 404 && saysManifestUnknown(answer)) return registryError('ManifestNotFound', what);
  if (status === 404) return registryError('RepositoryNotFound', `${what}; check the name of the image`);
  return registryError('InvalidResponse', what);
}

function adviceOnForbidden({ credential, endpoint }: RegistryTarget): string {
  if (credential === undefined)
    return `if it needs a login, name a pull secret for ${endpoint.name} in registry.imagePullSecrets`;
  return 'the login works, but it may not pull this repository';
}

/** `ghcr.io answered 404 Not Found (NAME_UNKNOWN)`. Of the body only a well-formed error code is shown. */
function describeAnswer(target: RegistryTarget, answer: Answer): string {
  const detail = errorCode(answer) ?? (isHtml(answer) ? 'an HTML page, not a registry' : undefined);
  return `${target.endpoint.name} answered ${describeStatus(answer.status)}${detail === undefined ? '' : ` (${detail})`}`;
}

/** Harbor has one code for everything that is missing, and tells in words what it is. */
function saysManifestUnknown(answer: Answer): boolean {
  const error = errorOf(answer);
  if (error?.code === 'NOT_FOUND') return error.message.startsWith('artifact ');
  return error?.code === 'MANIFEST_UNKNOWN' || error?.code === 'TAG_UNKNOWN';
}

/** The first error code of a failed answer, as the distribution specification defines them. Absent for anything else. */
function errorCode(answer: Answer): string | undefined {
  return errorOf(answer)?.code;
}

function errorOf(answer: Answer): { readonly code: string; readonly message: string } | undefined {
  if (answer.body.length === 0 || isHtml(answer)) return undefined;
  try {
    const document = JSON.parse(answer.body.toString('utf8')) as {
      errors?: readonly { code?: unknown; message?: unknown }[];
    } | null;
    const first = document?.errors?.[0];
    if (typeof first?.code !== 'string' || !CODE.test(first.code)) return undefined;
    return { code: first.code, message: typeof first.message === 'string' ? first.message : '' };
  } catch {
    return undefined;
  }
}

function isHtml(answer: Answer): boolean {
  return (
    (oneHeader(answer.headers, 'content-type') ?? '').toLowerCase().includes('html') ||
    answer.body.subarray(0, 64).toString('latin1').trimStart().startsWith('<')
  );
}

function isHidden(status: number): boolean {
  return status === 403 || status === 404;
}
