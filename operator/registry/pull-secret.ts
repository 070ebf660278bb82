// Pull secrets → the one login that fits a repository, by the kubelet's rules: the host must match, port included, a `*`
// stands for part of one label, and the longest path wins. Nothing but the given secrets is ever looked at.
// @see https://kubernetes.io/docs/concepts/containers/images/#config-json

import { createHash } from 'node:crypto';
import { TerminalError } from '../errors.ts';
import type { Repository } from '../image/reference.ts';
import { Redacted } from '../telemetry/redaction.ts';
import type { RegistryCredential } from './credential.ts';

/** A Secret of type kubernetes.io/dockerconfigjson. */
export interface DockerConfigSecret {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly name: string;
  /** The decoded value of the key `.dockerconfigjson`. */
  readonly dockerConfigJson: string;
}

interface Entry {
  /** As written in the secret. */
  readonly address: string;
  readonly hostname: string;
  /** Empty when the address names none. */
  readonly port: string;
  /** Path segments the repository must start with. */
  readonly path: readonly string[];
  readonly value: unknown;
}

interface Match extends Entry {
  readonly secret: DockerConfigSecret;
}

const DOCKER_HUB_NAMES: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);
const MAX_ENTRIES = 1_000;

/**
 * The login for `repository`, or undefined when no entry fits (read anonymously then). Order: a host written out before
 * one with `*`, then the longest path, then the order of the secrets. Entries without a login are passed over.
 * Throws TerminalError `InvalidPullSecret`, which names the secret and never its content.
 */
export function selectCredential(
  repository: Repository,
  secrets: readonly DockerConfigSecret[],
): RegistryCredential | undefined {
  const matches = secrets
    .flatMap((secret) => parseEntries(secret).map((entry): Match => ({ ...entry, secret })))
    .filter((entry) => matchesRepository(entry, repository))
    .toSorted((a, b) => Number(isPattern(a)) - Number(isPattern(b)) || b.path.length - a.path.length);
  for (const match of matches) {
    const login = parseLogin(match);
    if (login !== undefined) return toCredential(match, repository, login);
  }
  return undefined;
}

function toCredential(match: Match, repository: Repository, login: Login): RegistryCredential {
  const { secret, address } = match;
  const identity = JSON.stringify([secret.uid, secret.resourceVersion, address, repository.host]);
  return {
    key: createHash('sha256').update(identity).digest('hex').slice(0, 32),
    username: login.username,
    password: new Redacted(login.password),
    host: repository.host,
    secretName: secret.name,
  };
}

function parseEntries(secret: DockerConfigSecret): readonly Entry[] {
  let document: unknown;
  try {
    document = JSON.parse(secret.dockerConfigJson);
  } catch {
    // JSON.parse quotes the text in its message, and the text is a secret: the cause is dropped on purpose.
    throw invalid(secret, 'its .dockerconfigjson is not JSON');
  }
  if (!isRecord(document)) throw invalid(secret, 'its .dockerconfigjson is not a JSON object');
  const auths = document['auths'];
  if (auths === undefined || auths === null) throw invalid(secret, 'its .dockerconfigjson has no "auths"');
  if (!isRecord(auths)) throw invalid(secret, '"auths" in its .dockerconfigjson is not an object');
  const entries = Object.entries(auths);
  if (entries.length > MAX_ENTRIES) throw invalid(secret, `it has more than ${MAX_ENTRIES} registries`);
  return entries.flatMap(([address, value]) => parseAddress(address, value) ?? []);
}

/** `https://index.docker.io/v1/`, `ghcr.io/acme`, `*.corp.example:5000`. Undefined for what can match no image. */
function parseAddress(address: string, value: unknown): Entry | undefined {
  const bare = address
    .trim()
    .toLowerCase()
    .replace(/^https?:\/\//, '');
  const slash = bare.indexOf('/');
  const authority = slash === -1 ? bare : bare.slice(0, slash);
  const path = (slash === -1 ? '' : bare.slice(slash + 1)).split('/').filter((segment) => segment !== '');
  const [, hostname = '', port = ''] = /^(\[[0-9a-f:]+\]|[^:]+)(?::(\d+))?$/.exec(authority) ?? [];
  if (hostname === '') return undefined;
  // Docker's own client writes the address of the API, not of the host.
  const isApiPath = path[0] === 'v1' || path[0] === 'v2';
  return {
    address,
    hostname: DOCKER_HUB_NAMES.has(hostname) && port === '' ? 'docker.io' : hostname,
    port,
    path: isApiPath ? path.slice(1) : path,
    value,
  };
}

function matchesRepository(entry: Entry, repository: Repository): boolean {
  const [, hostname = '', port = ''] = /^(\[[0-9a-f:]+\]|[^:]+)(?::(\d+))?$/.exec(repository.host) ?? [];
  const segments = repository.path.split('/');
  return (
    entry.port === port &&
    entry.path.every((segment, at) => segments[at] === segment) &&
    matchesHost(entry.hostname, hostname)
  );
}

function matchesHost(pattern: string, hostname: string): boolean {
  if (!pattern.includes('*')) return pattern === hostname;
  const patternLabels = pattern.split('.');
  const labels = hostname.split('.');
  return (
    patternLabels.length === labels.length && patternLabels.every((label, at) => matchesLabel(label, labels[at] ?? ''))
  );
}

/** `*` stands for any characters of one label. Parts are looked for from left to right, so this is never exponential. */
function matchesLabel(pattern: string, label: string): boolean {
  const parts = pattern.split('*');
  const [first = ''] = parts;
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return pattern === label;
  if (label.length < first.length + last.length || !label.startsWith(first) || !label.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = label.indexOf(part, at);
    if (found === -1 || found + part.length > label.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}

function isPattern(entry: Entry): boolean {
  return entry.hostname.includes('*');
}

interface Login {
  readonly username: string;
  readonly password: string;
}

/** `auth` wins over `username` and `password`, as in the kubelet. Undefined when the entry holds no login. */
function parseLogin(match: Match): Login | undefined {
  const { value, secret } = match;
  const invalidEntry = (why: string) => invalid(secret, `the entry for ${JSON.stringify(match.address)} ${why}`);
  if (!isRecord(value)) throw invalidEntry('is not an object');
  const { auth, username, password } = value;
  for (const [name, field] of Object.entries({ auth, username, password })) {
    if (field !== undefined && field !== null && typeof field !== 'string')
      throw invalidEntry(`has a "${name}" that is not text`);
  }
  if (typeof auth === 'string' && auth !== '') {
    const login = decodeAuth(auth);
    if (login === undefined) throw invalidEntry('has an "auth" that is not the base64 form of user:password');
    return login;
  }
  if (typeof username !== 'string' || username === '') return undefined;
  if (username.includes(':')) throw invalidEntry('has a user name with a colon, which cannot be sent');
  return { username, password: typeof password === 'string' ? password : '' };
}

function decodeAuth(auth: string): Login | undefined {
  const text = auth.trim();
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return undefined;
  const decoded = Buffer.from(text, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  return colon < 1 ? undefined : { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(secret: DockerConfigSecret, why: string): TerminalError {
  return new TerminalError(
    `Pull secret ${JSON.stringify(secret.name)} cannot be read: ${why}; write it again with kubectl create secret docker-registry`,
    { code: 'InvalidPullSecret' },
  );
}
