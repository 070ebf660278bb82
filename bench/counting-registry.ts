// A registry made for counting: it answers tag lists and manifests from memory, far faster than a real one, and remembers
// how often and with how many bytes it was asked for what. A program of its own, so that its work is not taken for the
// operator's. Not a real registry: what it answers is right, but nothing can be uploaded but by its own /bench/ paths.
//
// `node bench/counting-registry.ts --repositories 1000 --tags 1000` prints its port as the first line and serves until it
// is ended. Its own paths: /bench/counts, /bench/newest?repository=…, /bench/push?repository=…, and
// /bench/mode?token=true&gzip=false&etag=false.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { buildImage, sha256 } from '../test/support/registries-image.ts';
import type { RegistryCounts, RequestKind, Sighting } from './registry-counts.ts';

/** One page holds a whole list. */
const MAX_TAGS = 1_000;
const TOKEN_LIFE_SECONDS = 300;

interface Content {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

interface TagList {
  readonly plain: Buffer;
  readonly gzip: Buffer;
  readonly etag: string;
}

/** Milliseconds of the wall clock with a fraction, to be compared with the audit log. */
function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Nine in ten are versions, the rest builds of a branch. */
function initialTags(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    index % 10 === 9
      ? `main-${(index * 2_654_435_761).toString(16).slice(-7).padStart(7, '0')}`
      : `v1.${Math.floor(index / 10)}.${index % 10}`,
  );
}

class Repository {
  readonly name: string;
  /** Newly pushed tags, until a list with them has been served. */
  readonly unseen: Sighting[] = [];
  readonly #tags: Set<string>;
  readonly #contents = new Map<string, Content>();
  readonly #digests = new Map<string, string>();
  #list: TagList | undefined;
  #pushes = 0;

  constructor(name: string, tagCount: number) {
    this.name = name;
    this.#tags = new Set(initialTags(tagCount));
  }

  get list(): TagList {
    return this.#list ?? this.prepareList();
  }

  /** Compresses ahead, so that answers cost nothing. */
  prepareList(): TagList {
    const plain = Buffer.from(JSON.stringify({ name: this.name, tags: [...this.#tags].sort() }));
    this.#list = { plain, gzip: gzipSync(plain), etag: `"${sha256(plain).slice(7, 39)}"` };
    return this.#list;
  }

  /** The highest version. */
  newest(): { readonly tag: string; readonly digest: string } {
    const version = (tag: string): number[] => tag.slice(1).split('.').map(Number);
    const [tag = ''] = [...this.#tags]
      .filter((name) => name.startsWith('v'))
      .sort((a, b) => version(b)[1]! - version(a)[1]! || version(b)[2]! - version(a)[2]!);
    return { tag, digest: this.resolve(tag) ?? '' };
  }

  /** Adds the next version; a build of the branch leaves in its place, so that lists keep their length. */
  push(): Sighting {
    const tag = `v1.${1_000 + this.#pushes}.0`;
    this.#pushes += 1;
    this.resolve(tag, { isNew: true });
    const oldest = [...this.#tags].find((name) => name.startsWith('main-'));
    if (oldest !== undefined) this.#tags.delete(oldest);
    this.#tags.add(tag);
    this.#list = undefined;
    this.prepareList();
    const sighting: Sighting = { repository: this.name, tag, pushedMs: nowMs() };
    this.unseen.push(sighting);
    return sighting;
  }

  /** Another build of the branch in place of one: whoever knows the list has to read it once more. */
  touch(): void {
    const oldest = [...this.#tags].find((name) => name.startsWith('main-'));
    if (oldest === undefined) return;
    this.#tags.delete(oldest);
    this.#tags.add(`${oldest}-again`);
    this.prepareList();
  }

  /** The digest of a tag; images come into being when first asked for. */
  resolve(tag: string, { isNew = false } = {}): string | undefined {
    if (!isNew && !this.#tags.has(tag)) return undefined;
    const known = this.#digests.get(tag);
    if (known !== undefined) return known;
    const image = buildImage({ index: true, nonce: `${this.name}:${tag}` });
    for (const { bytes, descriptor } of [...image.blobs, ...image.manifests]) {
      this.#contents.set(descriptor.digest, { bytes, mediaType: descriptor.mediaType });
    }
    this.#digests.set(tag, image.top.digest);
    return image.top.digest;
  }

  content(digest: string): Content | undefined {
    return this.#contents.get(digest);
  }
}

class CountingRegistry {
  readonly #repositories = new Map<string, Repository>();
  readonly #counts = new Map<RequestKind, { requests: number; bytes: number }>();
  readonly #sightings: Sighting[] = [];
  readonly #mode = { token: false, gzip: true, etag: false };
  readonly #tokens = new Map<string, { readonly scope: string; readonly expiresMs: number }>();

  constructor(repositories: number, tags: number) {
    for (let index = 0; index < repositories; index += 1) {
      const name = `bench/app-${String(index).padStart(5, '0')}`;
      const repository = new Repository(name, tags);
      repository.prepareList();
      this.#repositories.set(name, repository);
    }
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://registry');
    if (url.pathname.startsWith('/bench/')) return this.#control(url, response);
    const [, name = '', what = '', reference = ''] =
      /^\/v2\/(.+)\/(tags|manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
    const kind = kindOf(url.pathname, what, request.method);
    if (kind === 'token') return this.#serveToken(url, response);
    if (!this.#isAllowed(request, name)) {
      const realm = `http://${request.headers.host ?? ''}/token`;
      response.setHeader('www-authenticate', `Bearer realm="${realm}",service="bench",scope="repository:${name}:pull"`);
      return this.#answer('challenge', response, 401, '{"errors":[{"code":"UNAUTHORIZED"}]}', 'application/json');
    }
    const repository = this.#repositories.get(name);
    if (kind === 'ping') return this.#answer(kind, response, 200, '{}', 'application/json');
    if (repository === undefined) return this.#answer(kind, response, 404, '{"errors":[]}', 'application/json');
    if (kind === 'list') return this.#serveList(repository, request, response);
    this.#serveContent(kind, repository, reference, response);
  }

  #serveList(repository: Repository, request: IncomingMessage, response: ServerResponse): void {
    const { plain, gzip, etag } = repository.list;
    const sightings = repository.unseen.splice(0);
    if (sightings.length > 0) {
      response.once('finish', () => {
        for (const sighting of sightings) sighting.listedMs = nowMs();
      });
    }
    if (this.#mode.etag) response.setHeader('etag', etag);
    if (this.#mode.etag && request.headers['if-none-match'] === etag) {
      return this.#answer('list', response, 304, '', 'application/json');
    }
    const isGzip = this.#mode.gzip && (request.headers['accept-encoding'] ?? '').includes('gzip');
    if (isGzip) response.setHeader('content-encoding', 'gzip');
    this.#answer('list', response, 200, isGzip ? gzip : plain, 'application/json');
  }

  #serveContent(kind: RequestKind, repository: Repository, reference: string, response: ServerResponse): void {
    const digest = reference.startsWith('sha256:') ? reference : repository.resolve(reference);
    const content = digest === undefined ? undefined : repository.content(digest);
    if (digest === undefined || content === undefined) {
      return this.#answer(kind, response, 404, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 'application/json');
    }
    response.setHeader('docker-content-digest', digest);
    this.#answer(kind, response, 200, content.bytes, content.mediaType);
  }

  #serveToken(url: URL, response: ServerResponse): void {
    const token = `token-${this.#tokens.size}`;
    const scope = url.searchParams.get('scope') ?? '';
    this.#tokens.set(token, { scope, expiresMs: nowMs() + TOKEN_LIFE_SECONDS * 1_000 });
    const body = JSON.stringify({ token, expires_in: TOKEN_LIFE_SECONDS });
    this.#answer('token', response, 200, body, 'application/json');
  }

  #isAllowed({ headers }: IncomingMessage, repository: string): boolean {
    if (!this.#mode.token) return true;
    const token = this.#tokens.get((headers.authorization ?? '').replace(/^Bearer /, ''));
    return token !== undefined && token.expiresMs > nowMs() && token.scope === `repository:${repository}:pull`;
  }

  #answer(
    kind: RequestKind,
    response: ServerResponse,
    status: number,
    body: string | Buffer,
    contentType: string,
  ): void {
    const length = Buffer.byteLength(body);
    const hasBody = kind !== 'head' && status !== 304;
    const count = this.#counts.get(kind) ?? { requests: 0, bytes: 0 };
    this.#counts.set(kind, { requests: count.requests + 1, bytes: count.bytes + (hasBody ? length : 0) });
    response.writeHead(status, {
      'content-type': contentType,
      ...(status !== 304 && { 'content-length': length }),
    });
    response.end(hasBody ? body : undefined);
  }

  #control(url: URL, response: ServerResponse): void {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (url.pathname === '/bench/counts') {
      const counts: RegistryCounts = {
        byKind: Object.fromEntries(this.#counts),
        sightings: this.#sightings,
      };
      return answer(200, counts);
    }
    if (url.pathname === '/bench/mode') {
      for (const name of ['token', 'gzip', 'etag'] as const) {
        const value = url.searchParams.get(name);
        if (value !== null) this.#mode[name] = value === 'true';
      }
      // Real registries do not begin to send ETags between two reads of one list.
      if (this.#mode.etag) for (const repository of this.#repositories.values()) repository.touch();
      return answer(200, this.#mode);
    }
    const repository = this.#repositories.get(url.searchParams.get('repository') ?? '');
    if (repository === undefined) return answer(404, {});
    if (url.pathname === '/bench/newest') return answer(200, repository.newest());
    if (url.pathname !== '/bench/push') return answer(404, {});
    const sighting = repository.push();
    this.#sightings.push(sighting);
    answer(200, sighting);
  }
}

function kindOf(path: string, what: string, method: string | undefined): RequestKind {
  if (path === '/token') return 'token';
  if (what === 'tags') return 'list';
  if (what === 'blobs') return 'blob';
  if (what === 'manifests') return method === 'HEAD' ? 'head' : 'manifest';
  return 'ping';
}

const { values } = parseArgs({ options: { repositories: { type: 'string' }, tags: { type: 'string' } } });
const tagCount = Number(values.tags ?? 1_000);
if (!(tagCount <= MAX_TAGS)) throw new Error(`--tags must be at most ${MAX_TAGS}: lists have one page`);
const registry = new CountingRegistry(Number(values.repositories ?? 1_000), tagCount);
const server = createServer((request, response) => registry.serve(request, response));
server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
