// An OCI registry that does what a test tells it to: it serves images and tag lists correctly, remembers every request,
// and lets a test answer any of them in its own way, to play the faults, lies and attacks that real registries do not offer.

import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { Digest } from '../../operator/image/digest.ts';
import type { KeyPair } from '../cluster/certificates.ts';
import { buildImage, type ImageOptions, sha256 } from './registries-image.ts';

export type RequestKind = 'ping' | 'list' | 'manifest' | 'blob' | 'token' | 'other';

export interface ScriptedRequest {
  readonly kind: RequestKind;
  readonly method: string;
  /** With the query, as sent. */
  readonly url: string;
  readonly query: URLSearchParams;
  /** `acme/web`; empty where the path names none. */
  readonly repository: string;
  /** Tag or digest of a manifest or blob; empty elsewhere. */
  readonly reference: string;
  readonly authorization: string | undefined;
  readonly headers: IncomingMessage['headers'];
}

/** Answers a request in its own way and returns true, or leaves it to the next by returning false. */
export type Script = (request: ScriptedRequest, response: ServerResponse) => boolean;

export interface ScriptedRegistryOptions {
  /** Default: plain HTTP. */
  readonly tls?: KeyPair;
  /** Default: anyone may read. */
  readonly auth?: 'basic' | 'bearer';
}

export const LOGIN = { username: 'mate', password: 'colon:and spaces' } as const;

interface Stored {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

interface StoredRepository {
  readonly tags: Map<string, Digest>;
  readonly contents: Map<string, Stored>;
}

export class ScriptedRegistry implements AsyncDisposable {
  /** Largest page of a tag list. */
  pageSize = 1_000;
  /** Whether tag lists carry an ETag and `If-None-Match` is honoured. */
  hasEtags = false;
  /** Whether tag lists are compressed for those who accept it. */
  compresses = false;
  /** What a token's `expires_in` says; undefined leaves it out. */
  expiresIn: unknown = 300;
  /** Where the challenge sends clients; default: this server's own `/token`. */
  realm: string | undefined;
  readonly requests: ScriptedRequest[] = [];
  readonly #repositories = new Map<string, StoredRepository>();
  readonly #tokens = new Map<string, string>();
  readonly #server: Server;
  readonly #options: ScriptedRegistryOptions;
  #scripts: Script[] = [];

  private constructor(options: ScriptedRegistryOptions) {
    this.#options = options;
    const listener = (incoming: IncomingMessage, response: ServerResponse): void => this.#serve(incoming, response);
    this.#server =
      options.tls === undefined
        ? createHttpServer(listener)
        : createHttpsServer(
            { cert: readFileSync(options.tls.certPath), key: readFileSync(options.tls.keyPath) },
            listener,
          );
  }

  static async start(options: ScriptedRegistryOptions = {}): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry(options);
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  /** As image names carry it: `127.0.0.1:<port>`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.host}`;
  }

  /** Open connections. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) =>
      this.#server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop();
  }

  /** Puts a script before all others; the returned function takes it away again. */
  script(script: Script): () => void {
    this.#scripts = [script, ...this.#scripts];
    return () => {
      this.#scripts = this.#scripts.filter((other) => other !== script);
    };
  }

  count(kind: RequestKind, method?: string): number {
    return this.requests.filter(
      (request) => request.kind === kind && (method === undefined || request.method === method),
    ).length;
  }

  /** Pushes an image under a tag and returns its digest. */
  push(repository: string, tag: string, options: ImageOptions = {}): Digest {
    const image = buildImage(options);
    const stored = this.#repository(repository);
    for (const { bytes, descriptor } of [...image.blobs, ...image.manifests]) {
      stored.contents.set(descriptor.digest, { bytes, mediaType: descriptor.mediaType });
    }
    stored.tags.set(tag, image.top.digest);
    return image.top.digest;
  }

  /** Stores any bytes as a manifest, under a tag if one is given. */
  put(repository: string, bytes: string | Buffer, mediaType: string, tag?: string): Digest {
    const content = Buffer.from(bytes);
    const digest = sha256(content);
    this.#repository(repository).contents.set(digest, { bytes: content, mediaType });
    if (tag !== undefined) this.#repository(repository).tags.set(tag, digest);
    return digest;
  }

  /** Lets the repository have exactly these tags; those that are new all name one empty image. */
  setTags(repository: string, tags: readonly string[]): void {
    const stored = this.#repository(repository);
    const wanted = new Set(tags);
    for (const tag of [...stored.tags.keys()]) if (!wanted.has(tag)) stored.tags.delete(tag);
    const missing = tags.filter((tag) => !stored.tags.has(tag));
    if (missing.length === 0) return;
    const digest = this.push(repository, missing[0] ?? '');
    for (const tag of missing) stored.tags.set(tag, digest);
  }

  deleteContent(repository: string, digest: string): void {
    this.#repository(repository).contents.delete(digest);
  }

  deleteTag(repository: string, tag: string): void {
    this.#repository(repository).tags.delete(tag);
  }

  /** Tokens issued so far stop working, as if the server had forgotten them. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  #repository(name: string): StoredRepository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const created: StoredRepository = { tags: new Map(), contents: new Map() };
    this.#repositories.set(name, created);
    return created;
  }

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    const request = describe(incoming);
    this.requests.push(request);
    for (const script of this.#scripts) if (script(request, response)) return;
    if (request.kind === 'token') return this.#serveToken(request, response);
    if (!this.#isAllowed(request)) return this.#challenge(request, response);
    switch (request.kind) {
      case 'ping':
        return sendJson(response, 200, {});
      case 'list':
        return this.#serveList(request, response);
      case 'manifest':
      case 'blob':
        return this.#serveContent(request, response);
      default:
        return sendJson(response, 404, {});
    }
  }

  #isAllowed({ authorization = '', repository }: ScriptedRequest): boolean {
    if (this.#options.auth === 'basic') return authorization === basic(LOGIN);
    if (this.#options.auth !== 'bearer') return true;
    const scope = this.#tokens.get(authorization.replace(/^Bearer /, ''));
    return scope !== undefined && (repository === '' || scope === `repository:${repository}:pull`);
  }

  #challenge({ repository }: ScriptedRequest, response: ServerResponse): void {
    const realm = this.realm ?? `${this.url}/token`;
    const challenge =
      this.#options.auth === 'basic'
        ? 'Basic realm="scripted, with a comma"'
        : `Bearer realm="${realm}",service="scripted",scope="repository:${repository}:pull"`;
    sendJson(response, 401, { errors: [{ code: 'UNAUTHORIZED' }] }, { 'www-authenticate': challenge });
  }

  #serveToken(request: ScriptedRequest, response: ServerResponse): void {
    if (request.authorization !== undefined && request.authorization !== basic(LOGIN))
      return sendJson(response, 401, {});
    if (request.authorization === undefined && this.#options.auth === 'bearer') return sendJson(response, 401, {});
    const token = `token-${this.requests.length}`;
    this.#tokens.set(token, request.query.get('scope') ?? '');
    sendJson(response, 200, { token, ...(this.expiresIn !== undefined && { expires_in: this.expiresIn }) });
  }

  #serveList(request: ScriptedRequest, response: ServerResponse): void {
    const stored = this.#repositories.get(request.repository);
    if (stored === undefined)
      return sendJson(response, 404, { errors: [{ code: 'NAME_UNKNOWN', message: 'no such repository' }] });
    const last = request.query.get('last') ?? '';
    const after = [...stored.tags.keys()].sort().filter((tag) => tag > last);
    const size = Math.min(this.pageSize, Number(request.query.get('n') ?? this.pageSize));
    const page = after.slice(0, size);
    const body = Buffer.from(JSON.stringify({ name: request.repository, tags: page }));
    const etag = `"${sha256(body).slice(7, 23)}-${after.length > size}"`;
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      ...(after.length > size && {
        link: `</v2/${request.repository}/tags/list?n=${size}&last=${page.at(-1) ?? ''}>; rel="next"`,
      }),
      ...(this.hasEtags && { etag }),
    };
    if (this.hasEtags && request.headers['if-none-match'] === etag) {
      response.writeHead(304, headers).end();
    } else if (this.compresses && (request.headers['accept-encoding'] ?? '').includes('gzip')) {
      response.writeHead(200, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(body));
    } else {
      response.writeHead(200, headers).end(body);
    }
  }

  #serveContent(request: ScriptedRequest, response: ServerResponse): void {
    const stored = this.#repositories.get(request.repository);
    if (stored === undefined)
      return sendJson(response, 404, { errors: [{ code: 'NAME_UNKNOWN', message: 'no such repository' }] });
    const digest = request.reference.startsWith('sha256:')
      ? request.reference
      : (stored.tags.get(request.reference) ?? '');
    const content = stored.contents.get(digest);
    if (content === undefined) {
      const code = request.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN';
      return sendJson(response, 404, { errors: [{ code, message: 'unknown' }] });
    }
    response.writeHead(200, {
      'content-type': request.kind === 'blob' ? 'application/octet-stream' : content.mediaType,
      'content-length': content.bytes.length,
      'docker-content-digest': digest,
    });
    response.end(request.method === 'HEAD' ? undefined : content.bytes);
  }
}

/** Ends a response with a JSON document. */
export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(document));
}

/** The Authorization header of a Basic login. */
export function basic(login: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
}

function describe(incoming: IncomingMessage): ScriptedRequest {
  const url = incoming.url ?? '/';
  const { pathname, searchParams } = new URL(url, 'http://scripted');
  const common = {
    method: incoming.method ?? '',
    url,
    query: searchParams,
    authorization: incoming.headers.authorization,
    headers: incoming.headers,
  };
  const [, repository = '', what = '', reference = ''] =
    /^\/v2\/(.+)\/(tags|manifests|blobs)\/(.+)$/.exec(pathname) ?? [];
  if (what === 'tags') return { ...common, kind: 'list', repository, reference: '' };
  if (what !== '') return { ...common, kind: what === 'blobs' ? 'blob' : 'manifest', repository, reference };
  const kind = pathname === '/v2/' ? 'ping' : pathname === '/token' ? 'token' : 'other';
  return { ...common, kind, repository: '', reference: '' };
}
