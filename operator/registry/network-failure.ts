// What undici, the TLS layer and the resolver throw → our codes and sentences. Their own messages hold addresses and ports
// that change from attempt to attempt, so only their codes are used.

import { SlipwayError } from '../errors.ts';
import { registryError } from './problem.ts';

const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  ECONNRESET: 'broke the connection off',
  UND_ERR_SOCKET: 'broke the connection off',
  EPIPE: 'broke the connection off',
  ETIMEDOUT: 'could not be reached in time',
  UND_ERR_CONNECT_TIMEOUT: 'could not be reached in time',
  EHOSTUNREACH: 'cannot be reached from here',
  ENETUNREACH: 'cannot be reached from here',
  EADDRNOTAVAIL: 'cannot be reached from here',
  ENOTFOUND: 'is not known to the name server; check the host in the image name',
  ENODATA: 'is not known to the name server; check the host in the image name',
  EAI_AGAIN: 'could not be looked up: the name server did not answer',
  UND_ERR_HEADERS_TIMEOUT: 'did not answer in time',
  UND_ERR_BODY_TIMEOUT: 'stopped in the middle of its answer',
  UND_ERR_HEADERS_OVERFLOW: 'sent headers that are too large',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'sent fewer or more bytes than it announced',
};

const TIMEOUTS: ReadonlySet<string> = new Set([
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** Codes after which a host may turn out to speak plain HTTP. */
const NOT_TLS: ReadonlySet<string> = new Set(['EPROTO', 'ECONNRESET', 'ECONNREFUSED', 'UND_ERR_SOCKET']);

/** `authority` is the server that was being asked. Errors of our own pass through. */
export function toNetworkError(thrown: unknown, authority: string): Error {
  if (thrown instanceof SlipwayError) return thrown;
  const code = networkCode(thrown);
  if (UNTRUSTED.has(code)) {
    const why =
      code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'is for another name'
        : code === 'CERT_HAS_EXPIRED'
          ? 'has expired'
          : 'is signed by nobody we trust';
    return registryError(
      'UntrustedCertificate',
      `The certificate of ${authority} ${why} (${code}); for an authority of your own set registry.caBundleRef`,
      { cause: thrown },
    );
  }
  if (isTlsProtocolFailure(thrown)) {
    return registryError(
      'Unavailable',
      `${authority} does not speak HTTPS on this port; plain HTTP needs insecure: true in the operator's configuration`,
      {
        cause: thrown,
      },
    );
  }
  return registryError('Unavailable', `${authority} ${describe(code)}`, { cause: thrown });
}

function describe(code: string): string {
  const sentence = SENTENCES[code];
  if (sentence !== undefined) return sentence;
  if (code.startsWith('HPE_')) return 'sent something that is not HTTP';
  return code === '' ? 'could not be asked' : `could not be asked (${code})`;
}

export function isTimeout(thrown: unknown): boolean {
  return TIMEOUTS.has(networkCode(thrown));
}

/**
 * The connection broke before any answer, as a kept-alive one does when the server closed it a moment ago, or what came
 * belongs to the request before.
 */
export function isStaleConnection(thrown: unknown): boolean {
  const code = networkCode(thrown);
  return code === 'ECONNRESET' || code === 'UND_ERR_SOCKET' || code === 'EPIPE' || code.startsWith('HPE_');
}

export function mayBePlainHttp(thrown: unknown): boolean {
  return isTlsProtocolFailure(thrown) || NOT_TLS.has(networkCode(thrown));
}

/** Something answered, but not in TLS. */
export function isTlsProtocolFailure(thrown: unknown): boolean {
  const code = networkCode(thrown);
  return code === 'EPROTO' || code.startsWith('ERR_SSL_');
}

/** The code of an error or of the first cause that has one. */
function networkCode(thrown: unknown): string {
  let error = thrown;
  for (let depth = 0; depth < 5 && typeof error === 'object' && error !== null; depth += 1) {
    if (!(error instanceof SlipwayError) && 'code' in error && typeof error.code === 'string') return error.code;
    error = 'cause' in error ? error.cause : undefined;
  }
  return '';
}
