// Image references as Kubernetes users write them: Docker Hub's short names are completed, ports are kept apart from
// tags. A Repository never carries a tag or digest; an ImageReference may carry both.
// @see https://github.com/distribution/reference/blob/main/reference.go

import { TerminalError } from '../errors.ts';
import { isDigest, type Digest } from './digest.ts';
import { isTag, type Tag } from './tag.ts';

/** Where an image lives. `host` is what a user writes (`docker.io`, `localhost:5000`), `path` never starts with `/`. */
export interface Repository {
  readonly host: string;
  readonly path: string;
}

export interface ImageReference {
  readonly repository: Repository;
  /** Absent when the reference names no tag. */
  readonly tag?: Tag;
  /** Absent when the reference is not pinned. */
  readonly digest?: Digest;
}

const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const DOCKER_HUB = 'docker.io';
const MAX_NAME_LENGTH = 255;

function invalid(text: string, why: string): TerminalError {
  return new TerminalError(`${JSON.stringify(text)} is not an image: ${why}`, { code: 'InvalidImage' });
}

/** The host that Docker Hub's other names stand for, so that one repository has one name. */
function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return lower === 'index.docker.io' || lower === 'registry-1.docker.io' || lower === 'registry.hub.docker.com'
    ? DOCKER_HUB
    : lower;
}

/** Not so: a port above 65535, and what a URL takes for an address though it looks like a name (`a.1`, `0x7f.1`). */
function isUsableInUrl(host: string): boolean {
  const url = URL.parse(`https://${host}`);
  return url !== null && (host.startsWith('[') || url.hostname === host.replace(/:[0-9]+$/, ''));
}

/**
 * A repository without tag and digest: `nginx`, `ghcr.io/acme/web`, `localhost:5000/app`.
 * Throws TerminalError `InvalidImage` with what to write instead.
 */
export function parseRepository(text: string): Repository {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw invalid(text, 'leave out the scheme, write for example ghcr.io/acme/web');
  if (text.includes('@')) {
    throw invalid(text, 'write host/path without credentials and without a digest, for example ghcr.io/acme/web');
  }
  const slash = text.indexOf('/');
  const first = slash === -1 ? '' : text.slice(0, slash);
  const namesHost = first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const host = namesHost ? canonicalHost(first) : DOCKER_HUB;
  const rest = namesHost ? text.slice(slash + 1) : text;
  const path = host === DOCKER_HUB && rest !== '' && !rest.includes('/') ? `library/${rest}` : rest;
  if (/:[^/]*$/.test(rest)) throw invalid(text, 'write the repository without a tag, for example ghcr.io/acme/web');
  if (!HOST.test(host) || !isUsableInUrl(host)) throw invalid(text, 'the host is malformed');
  if (path !== path.toLowerCase()) throw invalid(text, 'the path must be in lower case');
  if (!PATH.test(path)) throw invalid(text, 'write host/path, for example ghcr.io/acme/web');
  if (host.length + 1 + path.length > MAX_NAME_LENGTH)
    throw invalid(text, `it is longer than ${MAX_NAME_LENGTH} characters`);
  return { host, path };
}

/** A container's image: `repo[:tag][@digest]`. Throws TerminalError `InvalidImage`. */
export function parseImage(text: string): ImageReference {
  const at = text.indexOf('@');
  const name = at === -1 ? text : text.slice(0, at);
  const digestText = at === -1 ? undefined : text.slice(at + 1);
  if (digestText !== undefined && !isDigest(digestText))
    throw invalid(text, 'the digest must be sha256:<64 hex digits>');
  const colon = name.lastIndexOf(':');
  const hasTag = colon > name.lastIndexOf('/');
  const tagText = hasTag ? name.slice(colon + 1) : undefined;
  if (tagText !== undefined && !isTag(tagText)) throw invalid(text, 'the tag is malformed');
  return {
    repository: parseRepository(hasTag ? name.slice(0, colon) : name),
    ...(tagText !== undefined && { tag: tagText }),
    ...(digestText !== undefined && { digest: digestText }),
  };
}

/** `host/path`, Docker Hub written out: the one name under which everything is keyed. */
export function formatRepository(repository: Repository): string {
  return `${repository.host}/${repository.path}`;
}

export function isSameRepository(a: Repository, b: Repository): boolean {
  return a.host === b.host && a.path === b.path;
}

/** What Slipway writes into a workload: `repo:tag@sha256:…`, the repository spelled as the user spelled it. */
export function formatPinnedImage(repositoryAsWritten: string, tag: string | undefined, digest: Digest): string {
  return tag === undefined ? `${repositoryAsWritten}@${digest}` : `${repositoryAsWritten}:${tag}@${digest}`;
}
