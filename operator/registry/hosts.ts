// From the host in an image name to the server that is asked, and what the operator's configuration allows there. Nothing
// a policy's author writes can change any of this.

/** Settings of one registry host, from the operator's configuration. */
export interface HostConfig {
  /** `host[:port]` that is asked instead, with the same paths. Logins of policies are not sent to it. */
  readonly mirror?: string;
  /** HTTPS without verification or, where the host does not speak it, plain HTTP. Implies `allowPrivate`. */
  readonly insecure?: boolean;
  /** PEM certificates trusted for this host, in addition to the system's. */
  readonly caPem?: string;
  /** Other hosts that may issue tokens for this registry and may see its logins. */
  readonly tokenHosts?: readonly string[];
  /** Default: 50, less for hosts that are known to throttle. */
  readonly requestsPerSecond?: number;
  /** The host may have a private, loopback or link-local address. Never a metadata service's. */
  readonly allowPrivate?: boolean;
}

/** By the host of image names, port included: `docker.io`, `registry.corp.example:5000`. */
export type HostsConfig = ReadonlyMap<string, HostConfig>;

/** The server that answers for a host of image names. */
export interface Endpoint {
  /** The host of image names, for messages and metrics. */
  readonly name: string;
  /** `host[:port]` to connect to. */
  readonly authority: string;
  /** It stands in for the host of the image name, so logins for that host are not for it. */
  readonly isMirror: boolean;
  readonly isInsecure: boolean;
  readonly allowsPrivate: boolean;
  /** Absent: the system's certificates only. */
  readonly caPem?: string;
  /** Authorities, besides its own, that may issue its tokens. */
  readonly tokenAuthorities: ReadonlySet<string>;
  /** Those of them that the operator named, not this program: they inherit `allowsPrivate`. */
  readonly configuredTokenAuthorities: ReadonlySet<string>;
}

const API_HOSTS: ReadonlyMap<string, string> = new Map([['docker.io', 'registry-1.docker.io']]);

/** Registries whose token server has another name, as they publish it. */
const TOKEN_HOSTS: ReadonlyMap<string, readonly string[]> = new Map([
  ['docker.io', ['auth.docker.io']],
  ['registry.gitlab.com', ['gitlab.com']],
  ['docker.elastic.co', ['docker-auth.elastic.co']],
  ['registry.digitalocean.com', ['api.digitalocean.com']],
  ['lscr.io', ['ghcr.io']],
]);

const REQUESTS_PER_SECOND: ReadonlyMap<string, number> = new Map([
  ['registry-1.docker.io', 10],
  ['auth.docker.io', 10],
  ['quay.io', 5],
]);
const DEFAULT_REQUESTS_PER_SECOND = 50;

export function resolveEndpoint(name: string, hosts: HostsConfig): Endpoint {
  const asked = hosts.get(name)?.mirror ?? name;
  const config = hosts.get(asked) ?? {};
  const configured = (config.tokenHosts ?? []).map(toAuthority);
  return {
    name,
    authority: toAuthority(API_HOSTS.get(asked) ?? asked),
    isMirror: asked !== name,
    isInsecure: config.insecure === true,
    allowsPrivate: config.insecure === true || config.allowPrivate === true,
    ...(config.caPem !== undefined && { caPem: config.caPem }),
    tokenAuthorities: new Set([...configured, ...(TOKEN_HOSTS.get(asked) ?? [])]),
    configuredTokenAuthorities: new Set(configured),
  };
}

/** The configuration of whatever answers at this authority; a host may be reached without belonging to an image name. */
export function configOf(authority: string, hosts: HostsConfig): HostConfig {
  for (const [name, api] of API_HOSTS) {
    if (api === authority) return hosts.get(name) ?? hosts.get(authority) ?? {};
  }
  return hosts.get(authority) ?? {};
}

export function requestsPerSecondOf(authority: string, hosts: HostsConfig): number {
  return (
    configOf(authority, hosts).requestsPerSecond ?? REQUESTS_PER_SECOND.get(authority) ?? DEFAULT_REQUESTS_PER_SECOND
  );
}

/** The authority of a URL as hosts are written in configuration: without the scheme's default port. */
export function authorityOf(url: URL): string {
  return url.host;
}

function toAuthority(host: string): string {
  return URL.parse(`https://${host}`)?.host ?? host;
}
