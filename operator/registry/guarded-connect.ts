// Opening connections only to addresses that may be reached. The name is resolved here, every address is judged, and the
// connection goes to exactly the addresses that passed, so a name that resolves differently the second time (DNS
// rebinding) gains nothing.

import { lookup as systemLookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import { buildConnector } from 'undici';
import { classifyAddress } from './address.ts';
import { registryError } from './problem.ts';

export interface ResolvedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** All addresses of a host name. Rejects like `dns.lookup` when there are none. */
export type ResolveHost = (hostname: string) => Promise<readonly ResolvedAddress[]>;

/** The system's resolver, hosts file and search domains included; equal questions under way share one answer. */
export function systemResolver(): ResolveHost {
  const underWay = new Map<string, Promise<readonly ResolvedAddress[]>>();
  return (hostname) => {
    const known = underWay.get(hostname);
    if (known !== undefined) return known;
    const answer = systemLookup(hostname, { all: true })
      .then((addresses) =>
        addresses.map(({ address, family }) => ({ address, family: family === 6 ? (6 as const) : (4 as const) })),
      )
      .finally(() => underWay.delete(hostname));
    underWay.set(hostname, answer);
    return answer;
  };
}

export interface ConnectRules {
  readonly allowsPrivate: boolean;
  /** False accepts any certificate. */
  readonly verifies: boolean;
  /** Trusted in addition to the system's certificates. */
  readonly caPems: readonly string[];
  readonly timeoutMs: number;
  readonly resolve: ResolveHost;
}

/** An undici connector that keeps the rules. A refused address fails the request with code `BlockedAddress`. */
export function guardedConnector(rules: ConnectRules): buildConnector.connector {
  const connect = buildConnector({
    allowH2: false,
    timeout: rules.timeoutMs,
    rejectUnauthorized: rules.verifies,
    // Made once: parsing a hundred and more certificates for every connection is dear.
    ...(rules.caPems.length > 0 && {
      secureContext: createSecureContext({ ca: [...getCACertificates('default'), ...rules.caPems] }),
    }),
    lookup: guardedLookup(rules),
  });
  return (options, callback) => {
    // Node does not look up what already is an address, so these are judged here.
    const isAddress = isIP(options.hostname) !== 0;
    if (isAddress && !isAllowed(options.hostname, rules)) {
      callback(blocked(options.hostname, rules), null);
      return;
    }
    connect(options, callback);
  };
}

function guardedLookup(rules: ConnectRules): LookupFunction {
  return (hostname, options, callback) => {
    rules.resolve(hostname).then(
      (addresses) => {
        const family =
          options.family === 4 || options.family === 'IPv4'
            ? 4
            : options.family === 6 || options.family === 'IPv6'
              ? 6
              : 0;
        const usable = addresses.filter((candidate) => family === 0 || candidate.family === family);
        const allowed = usable.filter(({ address }) => isAllowed(address, rules));
        const [first] = allowed;
        if (first === undefined) {
          callback(usable.length === 0 ? notFound(hostname) : blocked(hostname, rules), '', 0);
        } else if (options.all === true) {
          callback(null, [...allowed]);
        } else {
          callback(null, first.address, first.family);
        }
      },
      (error: unknown) => callback(error as NodeJS.ErrnoException, '', 0),
    );
  };
}

function isAllowed(address: string, rules: ConnectRules): boolean {
  const kind = classifyAddress(address);
  return kind === 'public' || (kind === 'private' && rules.allowsPrivate);
}

function blocked(hostname: string, rules: ConnectRules): Error {
  return registryError(
    'BlockedAddress',
    rules.allowsPrivate
      ? `${hostname} has an address that is never used for registries, such as a metadata service's`
      : `${hostname} has a private address; if this is a registry of your own, the operator's configuration must list it under registries with allowPrivate: true`,
  );
}

function notFound(hostname: string): Error {
  return Object.assign(new Error(`No address of ${hostname} in the wanted family`), { code: 'ENOTFOUND' });
}
