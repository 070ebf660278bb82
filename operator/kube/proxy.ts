// `proxy-url` of a kubeconfig: a CONNECT tunnel through an HTTP proxy, inside which TLS to the API server is spoken as ever.

import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import { TerminalError, TransientError } from '../errors.ts';

/** Throws TerminalError `UnsupportedProxy` for a proxy we cannot speak to. */
export function checkProxyUrl(proxyUrl: string): void {
  const protocol = URL.canParse(proxyUrl) ? new URL(proxyUrl).protocol : '';
  if (protocol === 'http:' || protocol === 'https:') return;
  throw new TerminalError(
    `The kubeconfig asks for the proxy ${JSON.stringify(proxyUrl)}: only http:// and https:// proxies are supported`,
    { code: 'UnsupportedProxy' },
  );
}

/** Opens the tunnel, then lets `connect` speak TLS in it. Credentials in the proxy's URL are sent to the proxy alone. */
export function connectThroughProxy(
  proxy: URL,
  timeoutMs: number,
  connect: buildConnector.connector,
  options: buildConnector.Options,
  callback: buildConnector.Callback,
): void {
  const target = `${options.hostname}:${options.port || (options.protocol === 'https:' ? '443' : '80')}`;
  const fail = (what: string, cause?: unknown): void =>
    callback(
      new TransientError(`Connecting through the proxy ${proxy.host}: ${what}`, { code: 'ProxyFailed', cause }),
      null,
    );
  const request = (proxy.protocol === 'https:' ? httpsRequest : httpRequest)({
    host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
    method: 'CONNECT',
    path: target,
    headers: { host: target, ...proxyAuthorization(proxy) },
    agent: false,
    timeout: timeoutMs,
  });
  request.once('connect', (response, socket: Socket) => {
    if (response.statusCode !== 200) {
      socket.destroy();
      fail(`it answered ${response.statusCode ?? 'nothing'} to CONNECT`);
      return;
    }
    socket.setTimeout(0);
    connect({ ...options, httpSocket: socket }, callback);
  });
  request.once('response', (response) => {
    response.destroy();
    fail(`it answered ${response.statusCode ?? 'nothing'} to CONNECT`);
  });
  request.once('timeout', () => request.destroy(new Error('no answer in time')));
  request.once('error', (error) => fail(error.message, error));
  request.end();
}

function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
