// One HTTP listener for machines: nothing to log in to, nothing to change, small in every dimension. Health and metrics
// each get their own, so that a NetworkPolicy can tell who may reach which.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler, type Express, type Request, type Response, type Router } from 'express';
import { TerminalError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';

export interface ListenerOptions {
  readonly name: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Absent: every address. */
  readonly listenAddress?: string | undefined;
  readonly log: Logger;
}

export interface Listener {
  /** The port in use, also where 0 was asked for. */
  readonly port: number;
  /** Takes no new connection, lets requests in flight end for `graceMs` (default 1 s), then cuts what is left. */
  close(graceMs?: number): Promise<void>;
}

/** A complete answer. JSON is sent where the client prefers it and the handler offers it. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json?: unknown;
  /** Default: plain text. */
  readonly contentType?: string;
}

const SECURITY_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

const MAX_CONNECTIONS = 128;
const MAX_HEADER_BYTES = 8_192;
const CLOSE_GRACE_MS = 1_000;

/** Starts a listener with the given routes. Throws TerminalError `ListenFailed` when the port cannot be had. */
export async function listen(routes: Router, options: ListenerOptions): Promise<Listener> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 2_000,
    },
    application(routes, options) as Parameters<typeof createServer>[1],
  );
  server.maxConnections = MAX_CONNECTIONS;
  await bind(server, options);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: (graceMs = CLOSE_GRACE_MS) => close(server, graceMs),
  };
}

/** Sends an answer as text, or as JSON to whoever asks for it. */
export function send(request: Request, response: Response, answer: Answer): void {
  response.status(answer.status);
  if (answer.json !== undefined && request.accepts(['text/plain', 'application/json']) === 'application/json') {
    response.json(answer.json);
    return;
  }
  response.set('Content-Type', answer.contentType ?? 'text/plain; charset=utf-8');
  response.end(request.method === 'HEAD' ? undefined : answer.text);
}

function application(routes: Router, { name, log }: ListenerOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    response.set(SECURITY_HEADERS);
    if (request.method === 'GET' || request.method === 'HEAD') {
      next();
      return;
    }
    response.set('Allow', 'GET, HEAD');
    send(request, response, { status: 405, text: 'Only GET and HEAD\n' });
  });
  app.use(routes);
  app.use((request, response) => {
    send(request, response, { status: 404, text: 'Not found\n' });
  });
  // Express knows an error handler by its four parameters.
  const onError: ErrorRequestHandler = (err: unknown, request, response, next) => {
    if (response.headersSent) {
      next(err);
      return;
    }
    const isBadRequest = err instanceof URIError;
    if (!isBadRequest) log.error('Failed to answer', { listener: name, path: request.path, err });
    send(
      request,
      response,
      isBadRequest ? { status: 400, text: 'Bad request\n' } : { status: 500, text: 'Internal error\n' },
    );
  };
  app.use(onError);
  return app;
}

function bind(server: Server, { name, port, listenAddress, log }: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error): void => {
      reject(
        new TerminalError(`Listening on port ${port} for ${name}: ${cause.message}`, { code: 'ListenFailed', cause }),
      );
    };
    server.once('error', onError);
    server.listen({ port, ...(listenAddress !== undefined && { host: listenAddress }) }, () => {
      server.off('error', onError);
      server.on('error', (err) => {
        log.warn('Listener reported an error', { listener: name, err });
      });
      resolve();
    });
  });
}

async function close(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    // The error says that it was closed before, which is what is wanted.
    server.close(() => {
      resolve();
    });
  });
  server.closeIdleConnections();
  const cut = AbortSignal.timeout(graceMs);
  const onCut = (): void => {
    server.closeAllConnections();
  };
  cut.addEventListener('abort', onCut, { once: true });
  await closed;
  cut.removeEventListener('abort', onCut);
}
