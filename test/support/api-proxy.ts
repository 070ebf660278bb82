// A proxy before a real API server that counts the operator's writes and can let something happen at the n-th of them:
// before it reaches the server, or after it was committed and before the answer is out. Leases and events do not count.

import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import YAML from 'yaml';
import type { ControlPlane } from './control-plane.ts';

export interface Interception {
  /** The n-th write, from 1. */
  readonly write: number;
  readonly when: 'before' | 'after';
  /** Runs once; the connection of the write is then cut. */
  readonly act: () => Promise<void>;
}

/** What becomes of a request instead of its way to the API server. */
export type Fault =
  | { readonly kind: 'answer'; readonly status: number; readonly retryAfterS?: number }
  /** The request gets there, its answer is lost. */
  | { readonly kind: 'lose answer' }
  /** No answer comes, and the connection stays open. */
  | { readonly kind: 'hang' };

export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly isWatch: boolean;
  /** Number of this write, from 1; 0 for a read. */
  readonly write: number;
}

const MUTATING = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

export class ApiProxy implements AsyncDisposable {
  /** Writes seen so far, as `PATCH /apis/…`. */
  readonly writes: string[] = [];
  interception: Interception | undefined;
  /** Asked for every request but those of leases and events; undefined lets it pass. */
  fault: ((request: ProxiedRequest) => Fault | undefined) | undefined;
  readonly #controlPlane: ControlPlane;
  readonly #server: Server;

  private constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
    this.#server = createServer((incoming, response) => {
      this.#serve(incoming, response).catch(() => response.destroy());
    });
  }

  static async start(controlPlane: ControlPlane): Promise<ApiProxy> {
    const proxy = new ApiProxy(controlPlane);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** A kubeconfig by which a client comes through this proxy, as a cluster administrator. */
  async writeKubeconfig(path: string): Promise<string> {
    const { port } = this.#server.address() as AddressInfo;
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    await writeFile(
      path,
      YAML.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'proxy', cluster }],
        users: [{ name: 'proxy', user: {} }],
        contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'proxy' } }],
        'current-context': 'proxy',
      }),
    );
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = incoming;
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const isWrite = MUTATING.has(method) && !/\/(?:leases|events)(?:[/?]|$)/.test(url);
    if (isWrite) this.writes.push(`${method} ${url.split('?')[0] ?? ''}`);
    const struck = isWrite && this.interception?.write === this.writes.length ? this.interception : undefined;
    if (struck?.when === 'before') {
      await struck.act();
      response.destroy();
      return;
    }
    const isSpared = /\/(?:leases|events)(?:[/?]|$)/.test(url);
    const fault = isSpared
      ? undefined
      : this.fault?.({
          method,
          path: url.split('?')[0] ?? '',
          isWatch: url.includes('watch='),
          write: isWrite ? this.writes.length : 0,
        });
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'answer') {
      const { status, retryAfterS } = fault;
      response.writeHead(status, {
        'content-type': 'application/json',
        ...(retryAfterS !== undefined && { 'retry-after': String(retryAfterS) }),
      });
      response.end(
        JSON.stringify({
          kind: 'Status',
          apiVersion: 'v1',
          status: 'Failure',
          code: status,
          reason: status === 409 ? 'Conflict' : 'TooManyRequests',
          message: `the test answers ${status}`,
        }),
      );
      return;
    }
    const { host: _, ...headers } = incoming.headers;
    const upstream = httpsRequest(`${this.#controlPlane.server}${url}`, {
      method,
      ca: this.#controlPlane.ca,
      headers: { ...headers, authorization: `Bearer ${this.#controlPlane.adminToken}` },
    });
    response.on('close', () => upstream.destroy());
    upstream.on('error', () => response.destroy());
    upstream.on('response', (answer) => {
      if (fault?.kind === 'lose answer') {
        answer.resume();
        answer.on('end', () => response.destroy());
        return;
      }
      if (struck !== undefined) {
        answer.resume();
        answer.on('end', () => {
          void struck.act().finally(() => response.destroy());
        });
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      // The answer to a watch begins long before its first event.
      response.flushHeaders();
      answer.pipe(response);
    });
    upstream.end(Buffer.concat(chunks));
  }
}
