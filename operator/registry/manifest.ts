// Manifests and indexes, parsed strictly: bytes that could be read as one thing by us and as another by a container
// runtime are refused. Pure.
// @see https://github.com/opencontainers/image-spec/blob/main/manifest.md
// @see https://github.com/advisories/GHSA-mc8v-mgrf-8f4m (CVE-2021-41190)

import { isUtf8 } from 'node:buffer';
import { type Digest, isDigest } from '../image/digest.ts';
import { normalizePlatform, type Platform } from '../image/platform.ts';
import { registryError } from './problem.ts';

export interface Descriptor {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Absent where the registry did not say. */
  readonly sizeBytes?: number;
}

/** An entry of an index. */
export interface IndexEntry extends Descriptor {
  /** Absent where the index names none, as for attestations (`unknown/unknown`). */
  readonly platform?: Platform;
  /** Not an image to run: an attestation about another entry. */
  readonly isAttestation: boolean;
}

export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly entries: readonly IndexEntry[];
  readonly annotations: Readonly<Record<string, string>>;
}

export type Manifest = ImageManifest | ImageIndex;

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** What to ask for; the order is the preference. */
export const MANIFEST_MEDIA_TYPES: readonly string[] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

const IMAGE_CONFIGS: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;
const MAX_ENTRIES = 10_000;

/** Whether a configuration describes an image to run, and not a chart, a signature or the like. */
export function isImageConfig(mediaType: string): boolean {
  return IMAGE_CONFIGS.has(mediaType);
}

/**
 * Parses the bytes of a manifest or index. `contentType` is the registry's, absent when it sent none; it must not
 * contradict the document. `urls` of layers are ignored. Throws `InvalidResponse`.
 */
export function parseManifest(body: Buffer, contentType: string | undefined): Manifest {
  const document = parseObject(body);
  const declared = document['mediaType'];
  if (declared !== undefined && typeof declared !== 'string') throw invalid('has a mediaType that is not text');
  const announced = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  if (declared !== undefined && announced !== undefined && announced !== '' && declared.toLowerCase() !== announced) {
    throw invalid('names another media type than the registry does');
  }
  const mediaType = declared ?? announced ?? '';
  if ('schemaVersion' in document && document['schemaVersion'] !== 2)
    throw invalid('has a schema version that is not supported: push the image again with a current tool');
  const hasEntries = 'manifests' in document;
  const hasLayers = 'layers' in document || 'config' in document || 'fsLayers' in document;
  if (hasEntries && hasLayers) throw invalid('is an index and an image at once');

  switch (mediaType.toLowerCase()) {
    case OCI_INDEX:
    case DOCKER_LIST:
      if (!hasEntries) throw invalid('is called an index but lists no manifests');
      return {
        kind: 'index',
        mediaType,
        entries: parseList(document['manifests'], 'manifests').map(parseEntry),
        annotations: parseAnnotations(document['annotations']),
      };
    case OCI_MANIFEST:
    case DOCKER_MANIFEST:
      if (hasEntries) throw invalid('is called an image but lists manifests');
      return {
        kind: 'image',
        mediaType,
        config: parseDescriptor(document['config']),
        layers: parseList(document['layers'], 'layers').map(parseDescriptor),
        annotations: parseAnnotations(document['annotations']),
      };
    default:
      throw invalid('has a media type that is not supported');
  }
}

/** What is read of an image's configuration. */
export interface ImageConfig {
  readonly platform: Platform;
  /** Milliseconds since the epoch. Absent when the image does not say, or says the epoch itself, as reproducible builds do. */
  readonly createdMs?: number;
}

/** Parses an image's configuration. Throws `InvalidResponse`. */
export function parseImageConfig(body: Buffer): ImageConfig {
  const document = parseObject(body);
  const { os, architecture, variant, created } = document;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '' || architecture === '') {
    throw invalid('has a configuration that names no platform');
  }
  const createdMs = typeof created === 'string' ? Date.parse(created) : Number.NaN;
  return {
    platform: normalizePlatform(os, architecture, typeof variant === 'string' ? variant : undefined),
    ...(createdMs > 0 && { createdMs }),
  };
}

function parseEntry(value: unknown): IndexEntry {
  const descriptor = parseDescriptor(value);
  const { platform, annotations } = value as { readonly platform?: unknown; readonly annotations?: unknown };
  const isAttestation = isRecord(annotations) && annotations['vnd.docker.reference.type'] === 'attestation-manifest';
  if (!isRecord(platform)) return { ...descriptor, isAttestation };
  const { os, architecture, variant } = platform;
  if (typeof os !== 'string' || typeof architecture !== 'string')
    throw invalid('has an entry with a malformed platform');
  if (os === '' || architecture === '' || os === 'unknown' || architecture === 'unknown')
    return { ...descriptor, isAttestation };
  return {
    ...descriptor,
    platform: normalizePlatform(os, architecture, typeof variant === 'string' ? variant : undefined),
    isAttestation,
  };
}

function parseDescriptor(value: unknown): Descriptor {
  if (!isRecord(value)) throw invalid('has a descriptor that is not an object');
  const { digest, mediaType, size } = value;
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid('has a descriptor without a sha256 digest');
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType))
    throw invalid('has a descriptor without a media type');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid('has a descriptor without a size');
  return { digest, mediaType, sizeBytes: size };
}

function parseAnnotations(value: unknown): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) throw invalid('has annotations that are not an object');
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function parseList(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`has "${name}" that are not a list`);
  if (value.length > MAX_ENTRIES) throw invalid(`has more than ${MAX_ENTRIES} ${name}`);
  return value;
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = isUtf8(body) ? JSON.parse(body.toString('utf8')) : undefined;
  } catch (cause) {
    throw invalid('is not whole or not JSON', cause);
  }
  if (!isRecord(document)) throw invalid('is not a JSON object');
  return document;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(why: string, cause?: unknown): Error {
  return registryError('InvalidResponse', `The manifest ${why}`, { cause });
}
