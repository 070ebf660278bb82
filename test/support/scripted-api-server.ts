// A Kubernetes API server reduced to what a reflector and a lease see: lists with pages, watches with resume, creates,
// patches and compare-and-set on one store, over real TLS with HTTP/2 and HTTP/1.1. Any request can be answered by the
// test instead, and the network in front of it can be cut, reset or turned into a black hole.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer as createHttp1Server } from 'node:https';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openConnection, type KubeConnection, type OpenOptions } from '../../operator/kube/connection.ts';
import {
  compareResourceVersions,
  formatKey,
  keyOf,
  resourcePath,
  type KubeObject,
  type ObjectKey,
  type Resource,
} from '../../operator/kube/resource.ts';
import { systemClock } from '../../operator/time/clock.ts';
import { createAuthority } from '../cluster/certificates.ts';

export interface ScriptedRequest {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly httpVersion: string;
}

export interface Reply {
  /** Sends a whole answer. An object is sent as JSON. */
  send(status: number, body: unknown, headers?: Readonly<Record<string, string>>): void;
  /** Sends a `metav1.Status`. */
  fail(status: number, reason: string, message: string, headers?: Readonly<Record<string, string>>): void;
  /** Opens a watch: the head of the answer leaves now. */
  stream(): void;
  /** Writes raw text to a watch. */
  write(text: string): void;
  /** Ends the stream cleanly. */
  end(): void;
  /** Resets the stream (HTTP/2) or the connection (HTTP/1.1). */
  destroy(): void;
}

/** Return true when the request was taken: answered now, later, or never. */
export type Script = (request: ScriptedRequest, reply: Reply) => boolean;

interface Change {
  readonly path: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
}

interface OpenWatch {
  readonly request: ScriptedRequest;
  readonly reply: Reply;
}

/** An object as a test writes it. */
interface StoredObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

export interface ScriptedServerOptions {
  readonly resources: readonly Resource[];
  /** Serve HTTP/1.1 only. Default: HTTP/2 for whoever asks for it. */
  readonly http1Only?: boolean;
}

export class ScriptedApiServer implements AsyncDisposable {
  readonly requests: ScriptedRequest[] = [];
  readonly url: string;
  readonly ca: string;
  /** TCP connections accepted so far. */
  get connections(): number {
    return this.#accepted;
  }
  /** Watches that are open now. */
  readonly watches = new Set<OpenWatch>();

  readonly #resources: readonly Resource[];
  readonly #scripts: Script[] = [];
  readonly #objects = new Map<string, KubeObject>();
  readonly #changes: Change[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #frozen = new WeakSet<Socket>();
  readonly #stop: () => Promise<void>;
  #accepted = 0;
  #refusing = false;
  #version = 100;
  #uid = 0;
  #oldest = 0;

  static async start(options: ScriptedServerOptions): Promise<ScriptedApiServer> {
    certificate ??= issueCertificate();
    const { ca, cert, key } = await certificate;
    const onRequest = (request: Http2ServerRequest, response: Http2ServerResponse): void =>
      void server.#serve(request, response);
    const api = options.http1Only
      ? createHttp1Server({ key, cert }, onRequest as unknown as RequestListener)
      : createSecureServer({ key, cert, allowHTTP1: true, settings: { maxConcurrentStreams: 100 } }, onRequest);
    api.on('sessionError', () => undefined);
    const sessions = new Set<{ destroy(): void }>();
    api.on('session', (session: { destroy(): void }) => sessions.add(session));
    const apiPort = await listen(api);
    const front = createServer({ allowHalfOpen: false }, (socket) => server.#accept(socket, apiPort));
    const port = await listen(front);
    const stop = async () => {
      for (const session of sessions) session.destroy();
      await Promise.all([closed(front), closed(api)]);
    };
    const server: ScriptedApiServer = new ScriptedApiServer(`https://127.0.0.1:${port}`, ca, options.resources, stop);
    return server;
  }

  private constructor(url: string, ca: string, resources: readonly Resource[], stop: () => Promise<void>) {
    this.url = url;
    this.ca = ca;
    this.#resources = resources;
    this.#stop = stop;
  }

  /** A connection of the layer under test to this server. The caller closes it. */
  connect(options: Partial<OpenOptions> = {}): KubeConnection {
    return openConnection({
      server: this.url,
      credentials: {
        current: () => Promise.resolve({ headers: { authorization: 'Bearer test' }, tls: { ca: this.ca } }),
        renew: () => undefined,
      },
      clock: systemClock,
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#stop();
  }

  /** Takes every request until the returned function is called. The newest script is asked first. */
  script(script: Script): () => void {
    this.#scripts.unshift(script);
    return () => void this.#scripts.splice(this.#scripts.indexOf(script), 1);
  }

  /** Takes the next `times` requests of this verb. */
  once(verb: ScriptedRequest['verb'], answer: (reply: Reply, request: ScriptedRequest) => void, times = 1): void {
    let left = times;
    const remove = this.script((request, reply) => {
      if (request.verb !== verb) return false;
      left -= 1;
      if (left === 0) remove();
      answer(reply, request);
      return true;
    });
  }

  /** Requests of a verb so far. */
  count(verb: ScriptedRequest['verb']): number {
    return this.requests.filter((request) => request.verb === verb).length;
  }

  get resourceVersion(): string {
    return String(this.#version);
  }

  /** Creates or replaces an object as another client would; the uid stays unless `uid` is given. */
  put(resource: Resource, object: StoredObject): KubeObject {
    const path = resourcePath(resource, keyOf(object));
    const before = this.#objects.get(path);
    const uid = object.metadata.uid ?? before?.metadata.uid ?? `uid-${++this.#uid}`;
    const after = {
      ...object,
      metadata: { ...object.metadata, uid, resourceVersion: String(++this.#version) },
    } as KubeObject;
    this.#objects.set(path, after);
    this.#publish({ path, type: before === undefined ? 'ADDED' : 'MODIFIED', object: after });
    return after;
  }

  remove(resource: Resource, key: ObjectKey): void {
    const path = resourcePath(resource, key);
    const before = this.#objects.get(path);
    if (before === undefined) throw new Error(`no ${formatKey(key)} to remove`);
    this.#objects.delete(path);
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(++this.#version) } };
    this.#publish({ path, type: 'DELETED', object });
  }

  /** Changes the store without telling any watch, as if the events were lost. */
  silently(change: () => void): void {
    const open = [...this.watches];
    this.watches.clear();
    change();
    for (const watch of open) this.watches.add(watch);
  }

  /** Forgets all history: a watch from before now gets ERROR 410. */
  compact(): void {
    this.#oldest = this.#version;
    this.#changes.length = 0;
  }

  /** Starts counting versions anew below what clients have seen, as a restored backup does. */
  rewind(version: number): void {
    this.#version = version;
    this.#changes.length = 0;
    for (const [path, object] of this.#objects) {
      this.#objects.set(path, { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } });
    }
  }

  /** Writes raw text to every open watch. */
  broadcast(text: string): void {
    for (const watch of this.watches) watch.reply.write(text);
  }

  bookmark(): void {
    this.#version += 1;
    this.broadcast(
      `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: this.resourceVersion } } })}\n`,
    );
  }

  /** Ends every open watch cleanly. */
  endWatches(): void {
    for (const watch of this.watches) watch.reply.end();
    this.watches.clear();
  }

  /** Cuts every TCP connection: by RST, or by FIN. */
  cut(how: 'rst' | 'fin'): void {
    this.watches.clear();
    for (const socket of this.#sockets) {
      if (how === 'rst') socket.resetAndDestroy();
      else socket.end();
    }
  }

  /** From now on no byte passes in either direction on connections that exist, yet none is closed. */
  blackHole(): void {
    for (const socket of this.#sockets) this.#frozen.add(socket);
  }

  /** Refuses (or takes again) new connections. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
  }

  #accept(socket: Socket, apiPort: number): void {
    if (this.#refusing) {
      socket.resetAndDestroy();
      return;
    }
    this.#accepted += 1;
    this.#sockets.add(socket);
    const upstream = connect(apiPort, '127.0.0.1');
    let open = true;
    socket.on('data', (chunk) => this.#frozen.has(socket) || upstream.write(chunk));
    upstream.on('data', (chunk) => this.#frozen.has(socket) || socket.write(chunk));
    const close = (): void => {
      if (!open) return;
      open = false;
      this.#sockets.delete(socket);
      socket.destroy();
      upstream.destroy();
    };
    for (const side of [socket, upstream]) side.on('error', close).on('close', close);
  }

  async #serve(incoming: Http2ServerRequest, outgoing: Http2ServerResponse): Promise<void> {
    outgoing.on('error', () => undefined);
    incoming.on('error', () => undefined);
    let body = '';
    try {
      for await (const chunk of incoming) body += String(chunk);
    } catch {
      return;
    }
    const url = new URL(incoming.url, this.url);
    const request: ScriptedRequest = {
      verb: this.#verbOf(incoming.method, url),
      method: incoming.method,
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers as Record<string, string>,
      body,
      httpVersion: incoming.httpVersion,
    };
    this.requests.push(request);
    const reply = toReply(outgoing);
    outgoing.on('close', () => {
      for (const watch of this.watches) if (watch.reply === reply) this.watches.delete(watch);
    });
    if (this.#scripts.some((script) => script(request, reply))) return;
    this.#answer(request, reply);
  }

  #verbOf(method: string, url: URL): ScriptedRequest['verb'] {
    if (url.searchParams.has('watch')) return 'watch';
    switch (method) {
      case 'POST':
        return 'create';
      case 'PUT':
        return 'update';
      case 'PATCH':
        return 'patch';
      case 'DELETE':
        return 'delete';
      default:
        return this.#isCollection(url.pathname) ? 'list' : 'get';
    }
  }

  #isCollection(path: string): boolean {
    return this.#resources.some((resource) => path.endsWith(`/${resource.plural}`));
  }

  #answer(request: ScriptedRequest, reply: Reply): void {
    switch (request.verb) {
      case 'list':
        return this.#list(request, reply);
      case 'watch':
        return this.#watch(request, reply);
      case 'get':
        return this.#withObject(request, reply, (object) => reply.send(200, object));
      case 'create':
        return this.#create(request, reply);
      case 'delete':
        return this.#withObject(request, reply, (object) => {
          this.remove(this.#resourceOf(request.path), keyOf(object));
          reply.send(200, { kind: 'Status', status: 'Success' });
        });
      case 'patch':
      case 'update':
        return this.#write(request, reply);
    }
  }

  #list(request: ScriptedRequest, reply: Reply): void {
    const { query } = request;
    const wanted = query.get('resourceVersion');
    if (wanted !== null && compareResourceVersions(wanted, this.resourceVersion) > 0) {
      return reply.fail(504, 'Timeout', `Too large resource version: ${wanted}, current: ${this.resourceVersion}`);
    }
    const all = [...this.#objects].filter(([path]) => isInside(request.path, path)).map(([, object]) => object);
    const limit = Number(query.get('limit') ?? 0) || all.length;
    const from = Number(query.get('continue') ?? 0);
    const items = all.slice(from, from + limit);
    const next = from + limit < all.length ? String(from + limit) : '';
    reply.send(200, { kind: 'List', metadata: { resourceVersion: this.resourceVersion, continue: next }, items });
  }

  #watch(request: ScriptedRequest, reply: Reply): void {
    const from = request.query.get('resourceVersion') ?? '0';
    reply.stream();
    if (compareResourceVersions(from, String(this.#oldest)) < 0) {
      reply.write(`${errorEvent(410, 'Expired', `too old resource version: ${from} (${this.#oldest})`)}\n`);
      return reply.end();
    }
    if (compareResourceVersions(from, this.resourceVersion) > 0) {
      reply.write(
        `${errorEvent(504, 'Timeout', `Too large resource version: ${from}, current: ${this.resourceVersion}`)}\n`,
      );
      return reply.end();
    }
    const watch = { request, reply };
    for (const change of this.#changes) {
      if (compareResourceVersions(change.object.metadata.resourceVersion, from) > 0) deliver(watch, change);
    }
    this.watches.add(watch);
  }

  #create(request: ScriptedRequest, reply: Reply): void {
    const object = JSON.parse(request.body) as StoredObject;
    const resource = this.#resourceOf(`${request.path}/x`);
    if (this.#objects.has(`${request.path}/${object.metadata.name}`)) {
      return reply.fail(409, 'AlreadyExists', `${resource.plural} "${object.metadata.name}" already exists`);
    }
    reply.send(201, this.put(resource, object));
  }

  #write(request: ScriptedRequest, reply: Reply): void {
    this.#withObject(request, reply, (object) => {
      const body = JSON.parse(request.body) as Partial<KubeObject>;
      const expected = body.metadata?.resourceVersion;
      if (expected !== undefined && expected !== object.metadata.resourceVersion) {
        return reply.fail(
          409,
          'Conflict',
          'the object has been modified; please apply your changes to the latest version',
        );
      }
      const merged = request.verb === 'update' ? body : (mergePatch(object, body) as object);
      reply.send(200, this.put(this.#resourceOf(request.path), merged as StoredObject));
    });
  }

  #withObject(request: ScriptedRequest, reply: Reply, found: (object: KubeObject) => void): void {
    const object = this.#objects.get(request.path.replace(/\/status$/, ''));
    if (object === undefined) return reply.fail(404, 'NotFound', `${request.path} not found`);
    found(object);
  }

  #publish(change: Change): void {
    this.#changes.push(change);
    for (const watch of this.watches) deliver(watch, change);
  }

  #resourceOf(path: string): Resource {
    const resource = this.#resources.find((candidate) => path.includes(`/${candidate.plural}/`));
    if (resource === undefined) throw new Error(`no resource is served at ${path}`);
    return resource;
  }
}

/** An ERROR line of a watch, without its line break. */
export function errorEvent(code: number, reason: string, message: string): string {
  return JSON.stringify({ type: 'ERROR', object: { kind: 'Status', status: 'Failure', code, reason, message } });
}

function deliver(watch: OpenWatch, { path, type, object }: Change): void {
  if (!isInside(watch.request.path, path)) return;
  const name = watch.request.query.get('fieldSelector')?.match(/^metadata\.name=(.*)$/)?.[1];
  if (name !== undefined && name !== object.metadata.name) return;
  watch.reply.write(`${JSON.stringify({ type, object })}\n`);
}

/** Whether the object at `path` belongs to the collection, which may span all namespaces. */
function isInside(collection: string, path: string): boolean {
  if (path.startsWith(`${collection}/`)) return true;
  const plural = collection.slice(collection.lastIndexOf('/'));
  return path.startsWith(`${collection.slice(0, -plural.length)}/namespaces/`) && path.includes(`${plural}/`);
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(target as object) };
  for (const [name, value] of Object.entries(patch)) {
    result[name] = value === null ? undefined : mergePatch(result[name], value);
  }
  return JSON.parse(JSON.stringify(result));
}

function toReply(response: Http2ServerResponse): Reply {
  const reply: Reply = {
    send(status, body, headers = {}) {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    },
    fail(status, reason, message, headers) {
      reply.send(
        status,
        { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status, reason, message },
        headers,
      );
    },
    stream() {
      response.writeHead(200, { 'content-type': 'application/json' });
      // HTTP/1.1 keeps the head back until the first byte of the body.
      if ('flushHeaders' in response) (response as unknown as { flushHeaders(): void }).flushHeaders();
    },
    write: (text) => void response.write(text),
    end: () => void response.end(),
    destroy: () => void response.destroy(),
  };
  return reply;
}

interface Certificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** One certificate serves all servers of a test file. */
let certificate: Promise<Certificate> | undefined;

async function issueCertificate(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-tls-'));
  try {
    const authority = await createAuthority(folder, 'slipway-test');
    const { certPath, keyPath } = await authority.issueServer('api', ['127.0.0.1', 'localhost']);
    const [cert, key] = await Promise.all([readFile(certPath, 'utf8'), readFile(keyPath, 'utf8')]);
    return { ca: authority.certificate, cert, key };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function listen(server: {
  listen(port: number, host: string, done: () => void): unknown;
  address(): unknown;
}): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function closed(server: { close(done: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
