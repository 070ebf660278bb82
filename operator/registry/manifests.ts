// Manifests and blobs by tag or digest. What a digest names is checked by hashing the bytes; what a header claims about
// them is believed only as far as it agrees.

import { createHash } from 'node:crypto';
import { SlipwayError } from '../errors.ts';
import { type Digest, isDigest, parseDigest } from '../image/digest.ts';
import type { Tag } from '../image/tag.ts';
import type { RegistryTarget } from './authenticator.ts';
import { type Descriptor, type Manifest, MANIFEST_MEDIA_TYPES, parseManifest } from './manifest.ts';
import { registryError } from './problem.ts';
import { failureOf, type RegistryRequester } from './requester.ts';
import { oneHeader } from './transport.ts';

const ACCEPT = MANIFEST_MEDIA_TYPES.join(', ');

export interface FetchContext {
  readonly requester: RegistryRequester;
  readonly target: RegistryTarget;
  readonly signal: AbortSignal;
}

export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
}

/** What a tag or digest names now; undefined when the repository is there and says that it is not. */
export async function headManifest(context: FetchContext, reference: Tag | Digest): Promise<Descriptor | undefined> {
  const { requester, target, signal } = context;
  const answer = await requester.request(
    target,
    {
      method: 'HEAD',
      path: `manifests/${reference}`,
      verb: 'head',
      headers: { accept: ACCEPT, 'accept-encoding': 'identity' },
      maxBytes: 0,
    },
    signal,
  );
  if (answer.status === 200) {
    const digest = parseDigest(oneHeader(answer.headers, 'docker-content-digest'));
    const mediaType = mediaTypeOf(oneHeader(answer.headers, 'content-type'));
    if (digest !== undefined && mediaType !== undefined) {
      if (isDigest(reference) && reference !== digest) throw otherContent();
      const length = Number(oneHeader(answer.headers, 'content-length') ?? Number.NaN);
      return { digest, mediaType, ...(Number.isSafeInteger(length) && length > 0 && { sizeBytes: length }) };
    }
  } else if (answer.status !== 404 && answer.status !== 400 && answer.status !== 405) {
    throw failureOf(target, answer);
  }
  // An old registry that names no digest, one that knows no HEAD, or a 404 whose reason only a body can tell.
  try {
    const { descriptor } = await getManifest(context, reference);
    return descriptor;
  } catch (thrown) {
    if (thrown instanceof SlipwayError && thrown.code === 'ManifestNotFound') return undefined;
    throw thrown;
  }
}

/** The manifest, verified against its digest. Throws `ManifestNotFound` when the repository does not have it. */
export async function getManifest(context: FetchContext, reference: Tag | Digest): Promise<FetchedManifest> {
  const { requester, target, signal } = context;
  const answer = await requester.request(
    target,
    {
      method: 'GET',
      path: `manifests/${reference}`,
      verb: 'manifest',
      headers: { accept: ACCEPT, 'accept-encoding': 'identity' },
      maxBytes: requester.limits.manifestBytes,
    },
    signal,
  );
  if (answer.status !== 200) throw failureOf(target, answer);
  const digest = digestOf(answer.body);
  if (isDigest(reference) && reference !== digest) throw otherContent();
  const claimed = oneHeader(answer.headers, 'docker-content-digest');
  if (claimed !== undefined && isDigest(claimed) && claimed !== digest) throw otherContent();
  const manifest = parseManifest(answer.body, oneHeader(answer.headers, 'content-type'));
  return { descriptor: { digest, mediaType: manifest.mediaType, sizeBytes: answer.body.length }, manifest };
}

/** A blob, verified against its digest; at most `limits.manifestBytes`. */
export async function getBlob(context: FetchContext, descriptor: Descriptor): Promise<Buffer> {
  const { requester, target, signal } = context;
  const maxBytes = requester.limits.manifestBytes;
  if ((descriptor.sizeBytes ?? 0) > maxBytes)
    throw registryError('InvalidResponse', 'The image has a configuration that is larger than is sane');
  const answer = await requester.request(
    target,
    {
      method: 'GET',
      path: `blobs/${descriptor.digest}`,
      verb: 'blob',
      headers: { 'accept-encoding': 'identity' },
      maxBytes,
    },
    signal,
  );
  if (answer.status === 404)
    throw registryError('InvalidResponse', 'The registry does not have the configuration that the image names');
  if (answer.status !== 200) throw failureOf(target, answer);
  if (digestOf(answer.body) !== descriptor.digest) throw otherContent();
  if (descriptor.sizeBytes !== undefined && descriptor.sizeBytes !== answer.body.length) throw otherContent();
  return answer.body;
}

function digestOf(body: Buffer): Digest {
  return `sha256:${createHash('sha256').update(body).digest('hex')}` as Digest;
}

function mediaTypeOf(contentType: string | undefined): string | undefined {
  const mediaType = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  return mediaType !== undefined && MANIFEST_MEDIA_TYPES.includes(mediaType) ? mediaType : undefined;
}

function otherContent(): Error {
  return registryError(
    'InvalidResponse',
    'The registry sent other content than the digest names; nothing of it is used',
  );
}
