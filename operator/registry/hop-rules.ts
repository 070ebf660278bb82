// Where a request may go: to the registry itself, to its token servers, and along redirects to whatever stores its blobs.
// A host's permissions come from the operator's configuration only. Pure.

import { authorityOf, configOf, type Endpoint, type HostsConfig } from './hosts.ts';
import { registryError } from './problem.ts';

/** What a request may do at one server. */
export interface HopRules {
  /** It may have a private, loopback or link-local address. */
  readonly allowsPrivate: boolean;
  /** Its certificate must be good. */
  readonly verifies: boolean;
}

/**
 * Rules for one hop of a request to the registry. Other servers than the registry's own, to which only redirects lead, may
 * be private or insecure if the operator listed both them and the registry: a registry out in the world never gets in.
 * Throws `RedirectRefused`.
 */
export function admitRegistryHop(endpoint: Endpoint, hosts: HostsConfig, url: URL): HopRules {
  if (authorityOf(url) === endpoint.authority) return ownRules(endpoint, url, 'RedirectRefused');
  const config = configOf(authorityOf(url), hosts);
  const isInsecure = config.insecure === true && endpoint.isInsecure;
  if (url.protocol !== 'https:' && !isInsecure) {
    throw registryError(
      'RedirectRefused',
      `${endpoint.name} redirected to plain HTTP on ${authorityOf(url)}, which is not listed as insecure`,
    );
  }
  return {
    allowsPrivate: endpoint.allowsPrivate && (config.allowPrivate === true || config.insecure === true),
    verifies: !isInsecure,
  };
}

/** Rules for one hop of a token request, which may carry a login. Throws `TokenHostRefused`. */
export function admitTokenHop(endpoint: Endpoint, hosts: HostsConfig, url: URL): HopRules {
  const authority = authorityOf(url);
  if (url.username !== '' || url.password !== '') {
    throw registryError('TokenHostRefused', `${endpoint.name} names a token server with a login in its address`);
  }
  if (authority === endpoint.authority) return ownRules(endpoint, url, 'TokenHostRefused');
  if (!endpoint.tokenAuthorities.has(authority)) {
    throw registryError(
      'TokenHostRefused',
      `${endpoint.name} sends logins to the token server ${clip(authority)}, which is not known to belong to it; if it does, the operator's configuration must list it in tokenHosts of ${endpoint.name}`,
    );
  }
  const config = configOf(authority, hosts);
  const isConfigured = endpoint.configuredTokenAuthorities.has(authority);
  const isInsecure = config.insecure === true || (isConfigured && endpoint.isInsecure);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isInsecure))
    throw plainHttp(endpoint, authority, 'TokenHostRefused');
  return {
    allowsPrivate: isInsecure || config.allowPrivate === true || (isConfigured && endpoint.allowsPrivate),
    verifies: !isInsecure,
  };
}

function ownRules(endpoint: Endpoint, url: URL, code: 'RedirectRefused' | 'TokenHostRefused'): HopRules {
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && endpoint.isInsecure))
    throw plainHttp(endpoint, authorityOf(url), code);
  return { allowsPrivate: endpoint.allowsPrivate, verifies: !endpoint.isInsecure };
}

function plainHttp(endpoint: Endpoint, authority: string, code: 'RedirectRefused' | 'TokenHostRefused'): Error {
  return registryError(
    code,
    `${endpoint.name} leads to ${clip(authority)} without HTTPS, which only hosts listed as insecure may`,
  );
}

function clip(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
