// One HTTP request and its whole answer, in memory and bounded. Built on undici's dispatch because that is what costs the
// least: this runs for every repository in every interval.

import type { Dispatcher } from 'undici';
import { registryError } from './problem.ts';

export interface ExchangeOptions {
  readonly dispatcher: Dispatcher;
  readonly url: URL;
  readonly method: 'GET' | 'HEAD';
  readonly headers: Readonly<Record<string, string>>;
  /** Longest silence before the headers, and between two pieces of the body, in milliseconds. */
  readonly idleMs: number;
  /** How much of a body is read, as it comes over the wire, and whether a longer one is an error or is cut off. */
  readonly limitFor: (status: number) => { readonly maxBytes: number; readonly mustBeWhole: boolean };
  /** Told of every piece of the body. */
  readonly onBytes: (count: number) => void;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Not decompressed. */
  readonly body: Buffer;
}

export interface Exchange {
  /** Rejects with what undici threw, or with the reason given to `abort`. */
  readonly answer: Promise<RawAnswer>;
  /** Rejects the answer at once, also while a connection is still being made. */
  abort(reason: Error): void;
}

export function startExchange(options: ExchangeOptions): Exchange {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const chunks: Buffer[] = [];
  let controller: Dispatcher.DispatchController | undefined;
  let ended: Error | 'answered' | undefined;
  let status = 0;
  let headers: RawAnswer['headers'] = {};
  let limit = { maxBytes: 0, mustBeWhole: false };
  let size = 0;

  const succeed = (): void => {
    if (ended !== undefined) return;
    ended = 'answered';
    const [only] = chunks;
    resolve({ status, headers, body: chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks) });
  };
  const abort = (reason: Error): void => {
    if (ended !== undefined) return;
    ended = reason;
    reject(reason);
    controller?.abort(reason);
  };

  options.dispatcher.dispatch(
    {
      origin: options.url.origin,
      path: options.url.pathname + options.url.search,
      method: options.method,
      headers: options.headers,
      headersTimeout: options.idleMs,
      bodyTimeout: options.idleMs,
      // Or undici closes the connection after every HEAD, because some servers send a body all the same. What those send
      // breaks the next answer on that connection, which is then asked for again on another.
      reset: false,
    },
    {
      onRequestStart(started) {
        controller = started;
        if (ended instanceof Error) started.abort(ended);
      },
      onResponseStart(_, statusCode, received) {
        if (statusCode < 200) return;
        status = statusCode;
        headers = received;
        limit = options.limitFor(statusCode);
      },
      onResponseData(_, chunk) {
        if (ended !== undefined) return;
        options.onBytes(chunk.length);
        size += chunk.length;
        chunks.push(chunk);
        if (size <= limit.maxBytes) return;
        if (limit.mustBeWhole) abort(tooLarge(limit.maxBytes));
        else {
          succeed();
          controller?.abort(new Error('The rest of the answer is not wanted'));
        }
      },
      onResponseEnd: succeed,
      onResponseError(_, error) {
        if (ended !== undefined) return;
        ended = error;
        reject(error);
      },
    },
  );
  return { answer: promise, abort };
}

/** A body beyond its limit. */
export function tooLarge(maxBytes: number): Error {
  const limit =
    maxBytes >= 1024 * 1024 ? `${Math.floor(maxBytes / 1024 / 1024)} MiB` : `${Math.floor(maxBytes / 1024)} KiB`;
  return registryError('InvalidResponse', `The answer is larger than is sane for its kind (more than ${limit})`);
}
