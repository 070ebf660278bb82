// A token server for registries with bearer authentication: it checks a login, issues short-lived tokens for what is asked,
// and counts who asked for what.
// @see https://distribution.github.io/distribution/spec/auth/token/

import { randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KeyPair } from '../cluster/certificates.ts';

export const TOKEN_SERVICE = 'slipway-test-registry';
export const TOKEN_ISSUER = 'slipway-test-issuer';

export interface TokenServerOptions {
  readonly username: string;
  readonly password: string;
  /** Signs the tokens; its certificate is what the registry trusts. */
  readonly signer: KeyPair;
  /** Serves https with this certificate; absent: plain http. */
  readonly tls?: KeyPair;
  readonly now?: () => number;
}

export interface TokenRequest {
  readonly method: string;
  /** As asked: `repository:acme/api:pull`. */
  readonly scopes: readonly string[];
  readonly service?: string;
  /** The login given, absent when there was none. */
  readonly username?: string;
  readonly status: number;
  readonly userAgent: string;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Serves `/token` on a free port of 127.0.0.1. */
export class TokenServer {
  /**
   * What `expires_in` says, in seconds; undefined leaves it out. Tokens issued from now on really live that long, but the
   * registries give a minute's grace.
   */
  expiresInSeconds: number | undefined = 300;
  /** Let everyone pull, as public registries do. */
  anonymousPull = false;
  readonly #options: TokenServerOptions;
  readonly #certificate: string;
  readonly #key: string;
  readonly #requests: TokenRequest[] = [];
  readonly #server: Server;

  constructor(options: TokenServerOptions) {
    this.#options = options;
    this.#key = readFileSync(options.signer.keyPath, 'utf8');
    this.#certificate = readFileSync(options.signer.certPath, 'utf8').replaceAll(/-----[^-]+-----|\s/g, '');
    const { tls } = options;
    const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => this.#serve(incoming, outgoing);
    this.#server = tls
      ? createHttpsServer({ cert: readFileSync(tls.certPath), key: readFileSync(tls.keyPath) }, listener)
      : createHttpServer(listener);
  }

  /** Where to ask for tokens. Known after {@link start}. */
  get realm(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#options.tls ? 'https' : 'http'}://127.0.0.1:${port}/token`;
  }

  /** Every request so far, oldest first. */
  get requests(): readonly TokenRequest[] {
    return this.#requests;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  /** A token for these rights, without a request and without being counted. */
  issue(subject: string, access: readonly Access[]): string {
    const now = Math.floor((this.#options.now ?? Date.now)() / 1000);
    const claims = {
      iss: TOKEN_ISSUER,
      sub: subject,
      aud: TOKEN_SERVICE,
      iat: now,
      nbf: now - 5,
      exp: now + (this.expiresInSeconds ?? 60),
      jti: randomUUID(),
      access,
    };
    const header = { typ: 'JWT', alg: 'ES256', x5c: [this.#certificate] };
    const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    const signature = sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  }

  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    const scopes = url.searchParams.getAll('scope');
    const service = url.searchParams.get('service');
    const login = basicLogin(incoming.headers.authorization);
    const { username, password } = this.#options;
    const isKnown = login?.username === username && login.password === password;
    const isPost = incoming.method !== 'GET';
    // Like most registries' own: no OAuth, so clients fall back to GET.
    const status = isPost || url.pathname !== '/token' ? 404 : login && !isKnown ? 401 : 200;
    this.#requests.push({
      method: incoming.method ?? '',
      scopes,
      status,
      userAgent: incoming.headers['user-agent'] ?? '',
      ...(service === null ? {} : { service }),
      ...(login === undefined ? {} : { username: login.username }),
    });
    if (status !== 200) {
      outgoing.writeHead(status, { 'content-type': 'application/json' });
      outgoing.end(JSON.stringify({ errors: [{ code: status === 401 ? 'UNAUTHORIZED' : 'UNSUPPORTED' }] }));
      return;
    }

    const allowed = isKnown ? ['pull', 'push', 'delete', '*'] : this.anonymousPull ? ['pull'] : [];
    const access = scopes
      .flatMap((scope) => scope.split(' '))
      .map(parseScope)
      .map((asked) => ({ ...asked, actions: asked.actions.filter((action) => allowed.includes(action)) }))
      .filter(({ actions }) => actions.length > 0);
    const token = this.issue(login?.username ?? '', access);
    outgoing.writeHead(200, { 'content-type': 'application/json' });
    outgoing.end(
      JSON.stringify({
        token,
        access_token: token,
        issued_at: new Date((this.#options.now ?? Date.now)()).toISOString(),
        ...(this.expiresInSeconds === undefined ? {} : { expires_in: this.expiresInSeconds }),
      }),
    );
  }
}

/** `type:name:action,action`; the name may itself hold a colon (a host with a port). */
function parseScope(scope: string): Access {
  const first = scope.indexOf(':');
  const last = scope.lastIndexOf(':');
  return {
    type: scope.slice(0, first),
    name: scope.slice(first + 1, last),
    actions: scope.slice(last + 1).split(','),
  };
}

function basicLogin(header: string | undefined): { readonly username: string; readonly password: string } | undefined {
  if (!header?.startsWith('Basic ')) return undefined;
  const decoded = Buffer.from(header.slice('Basic '.length), 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
