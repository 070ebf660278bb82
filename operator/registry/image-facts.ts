// What selection needs to know of an image: the platforms it has, and when it was built. Everything here hangs on a digest
// and so never changes.

import { SlipwayError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { formatPlatform, type Platform } from '../image/platform.ts';
import { type ImageManifest, type IndexEntry, isImageConfig, parseImageConfig, type ImageConfig } from './manifest.ts';
import { type FetchContext, getBlob, getManifest } from './manifests.ts';
import { registryError } from './problem.ts';

export interface PlatformImage {
  readonly platform: Platform;
  readonly digest: Digest;
}

export interface ImageFacts {
  readonly digest: Digest;
  readonly mediaType: string;
  /** In the order of the index; one for a single image; none for what is not an image to run, such as a chart. */
  readonly platforms: readonly PlatformImage[];
  /** Build time of the newest platform, in milliseconds since the epoch, as the builder wrote it. Absent: not said. */
  readonly created?: number;
}

/** An index that lists more platforms than this is asked for the build times of the first ones only. */
const MAX_CONFIGS = 32;

/** `withCreated: false` spares a manifest and a configuration per platform; `created` is then absent. */
export async function inspectImage(context: FetchContext, digest: Digest, withCreated: boolean): Promise<ImageFacts> {
  const { descriptor, manifest } = await getManifest(context, digest);
  const { mediaType } = descriptor;
  if (manifest.kind === 'image') {
    const config = await readConfig(context, manifest);
    return {
      digest,
      mediaType,
      platforms: config === undefined ? [] : [{ platform: config.platform, digest }],
      ...(config?.createdMs !== undefined && { created: config.createdMs }),
    };
  }
  const images = manifest.entries.filter(({ isAttestation, platform }) => !isAttestation && platform !== undefined);
  const created = withCreated ? await newestOf(context, images) : undefined;
  return { digest, mediaType, platforms: distinctPlatforms(images), ...(created !== undefined && { created }) };
}

/** Where an index names a platform twice, runtimes take the first. */
function distinctPlatforms(entries: readonly IndexEntry[]): readonly PlatformImage[] {
  const byName = new Map<string, PlatformImage>();
  for (const { platform, digest } of entries) {
    if (platform === undefined || byName.has(formatPlatform(platform))) continue;
    byName.set(formatPlatform(platform), { platform, digest });
  }
  return [...byName.values()];
}

async function newestOf(context: FetchContext, entries: readonly IndexEntry[]): Promise<number | undefined> {
  const times: number[] = [];
  for (const entry of entries.slice(0, MAX_CONFIGS)) {
    const manifest = await readEntry(context, entry);
    const config = manifest.kind === 'image' ? await readConfig(context, manifest) : undefined;
    if (config?.createdMs !== undefined) times.push(config.createdMs);
  }
  return times.length === 0 ? undefined : Math.max(...times);
}

async function readEntry(context: FetchContext, entry: IndexEntry) {
  try {
    return (await getManifest(context, entry.digest)).manifest;
  } catch (thrown) {
    if (!(thrown instanceof SlipwayError) || thrown.code !== 'ManifestNotFound') throw thrown;
    throw registryError('InvalidResponse', 'The index names a platform that the registry does not have', {
      cause: thrown,
    });
  }
}

async function readConfig(context: FetchContext, manifest: ImageManifest): Promise<ImageConfig | undefined> {
  return isImageConfig(manifest.config.mediaType)
    ? parseImageConfig(await getBlob(context, manifest.config))
    : undefined;
}
