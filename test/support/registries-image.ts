// Tiny OCI images made by hand, and the pushing of them over the plain distribution API: tests need no builder, and know
// every byte and digest they put into a registry.
// @see https://github.com/opencontainers/image-spec

import { createHash, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Dispatcher, request } from 'undici';
import type { Digest } from '../../operator/image/digest.ts';

export const MEDIA_TYPES = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const;

export interface OciDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface LayerFile {
  /** Without a leading slash: `bin/busybox`. */
  readonly path: string;
  /** A regular file's bytes; absent for a link. */
  readonly content?: string | Uint8Array;
  /** Target of a symbolic link; absent for a file. */
  readonly link?: string;
  /** Permission bits; default 0o644. */
  readonly mode?: number;
}

/** What to push. Everything has a default; two pushes differ in digest unless `nonce` says otherwise. */
export interface ImageOptions {
  /** `os/architecture[/variant]`; default `linux/amd64`. More than one make an index. */
  readonly platforms?: readonly string[];
  /** Wrap a single platform in an index too. */
  readonly index?: boolean;
  /** Default: one layer with one small file. */
  readonly layers?: readonly (readonly LayerFile[])[];
  /** The config's creation time; absent: the config has none. */
  readonly created?: Date;
  /** The config's `config` object: Cmd, Env, User, Labels, ExposedPorts, ... */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Annotations of the manifest, and of the index where there is one. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly mediaTypes?: keyof typeof MEDIA_TYPES;
  /** Equal options with an equal nonce give an equal digest. Default: a random one. */
  readonly nonce?: string;
}

export interface Content {
  readonly descriptor: OciDescriptor;
  readonly bytes: Buffer;
}

export interface BuiltImage {
  /** What a tag should name: the only manifest or the index. */
  readonly top: OciDescriptor;
  readonly blobs: readonly Content[];
  /** In the order in which a registry accepts them: the index comes last. */
  readonly manifests: readonly Content[];
}

/** Makes an image in memory. */
export function buildImage(options: ImageOptions = {}): BuiltImage {
  const { platforms = ['linux/amd64'], annotations, mediaTypes = 'oci', nonce = randomUUID() } = options;
  const types = MEDIA_TYPES[mediaTypes];
  const tars = (options.layers ?? [[{ path: 'etc/nonce', content: nonce }]]).map(tarArchive);
  const layers = tars.map((tar) => content(gzipSync(tar), types.layer));
  const described = annotations === undefined ? {} : { annotations };

  const configs: Content[] = [];
  const manifests: Content[] = [];
  const entries: object[] = [];
  for (const name of platforms) {
    const [os, architecture, variant] = name.split('/');
    const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
    const config = content(
      JSON.stringify({
        ...platform,
        ...(options.created === undefined ? {} : { created: options.created.toISOString() }),
        config: { Labels: { nonce }, ...options.config },
        rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
      }),
      types.config,
    );
    const manifest = content(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: types.manifest,
        config: config.descriptor,
        layers: layers.map(({ descriptor }) => descriptor),
        ...described,
      }),
      types.manifest,
    );
    configs.push(config);
    manifests.push(manifest);
    entries.push({ ...manifest.descriptor, platform });
  }
  if (options.index === true || manifests.length > 1) {
    const index = { schemaVersion: 2, mediaType: types.index, manifests: entries, ...described };
    manifests.push(content(JSON.stringify(index), types.index));
  }
  return { top: (manifests.at(-1) as Content).descriptor, blobs: [...layers, ...configs], manifests };
}

/** An image as a tar archive in OCI layout, as container runtimes import it, under this full name with a tag. */
export function ociArchive(name: string, image: BuiltImage): Buffer {
  const index = {
    schemaVersion: 2,
    manifests: [{ ...image.top, annotations: { 'io.containerd.image.name': name } }],
  };
  return tarArchive([
    { path: 'oci-layout', content: JSON.stringify({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', content: JSON.stringify(index) },
    ...[...image.blobs, ...image.manifests].map(({ descriptor, bytes }) => ({
      path: `blobs/${descriptor.digest.replace(':', '/')}`,
      content: bytes,
    })),
  ]);
}

function content(data: string | Uint8Array, mediaType: string): Content {
  const bytes = Buffer.from(data);
  return { bytes, descriptor: { mediaType, digest: sha256(bytes), size: bytes.length } };
}

export interface PushTarget {
  /** Scheme and host, without a path: `http://127.0.0.1:5000`. */
  readonly url: string;
  /** The Authorization header for this repository; undefined for none. */
  authorization(repository: string): string | undefined;
  readonly dispatcher?: Dispatcher;
}

/** The user agent of everything that {@link ImagePusher} sends, so that it can be told from the traffic under test. */
export const PUSHER_USER_AGENT = 'slipway-test-pusher/1';

/** Puts images into a registry and moves its tags. */
export class ImagePusher {
  readonly #target: PushTarget;

  constructor(target: PushTarget) {
    this.#target = target;
  }

  /** Pushes an image and returns the digest that its tag now names: the index's where there is one. */
  async push(repository: string, tag: string, options: ImageOptions = {}): Promise<Digest> {
    const image = buildImage(options);
    for (const { bytes, descriptor } of image.blobs) await this.pushBlob(repository, bytes, descriptor.mediaType);
    for (const { bytes, descriptor } of image.manifests) {
      await this.pushManifest(repository, bytes, descriptor.mediaType);
    }
    await this.retag(repository, image.top.digest, tag);
    return image.top.digest;
  }

  /** Uploads a blob (unless it is there) and describes it. */
  async pushBlob(repository: string, data: string | Uint8Array, mediaType: string): Promise<OciDescriptor> {
    const { bytes, descriptor } = content(data, mediaType);
    const { digest } = descriptor;
    const present = await this.#send('HEAD', repository, `blobs/${digest}`, { accept: [200, 404] });
    if (present.status === 200) return descriptor;

    const begun = await this.#send('POST', repository, 'blobs/uploads/', { accept: [202] });
    const location = new URL(begun.location, this.#target.url);
    location.searchParams.set('digest', digest);
    const path = location.pathname + location.search;
    await this.#send('PUT', repository, path, { accept: [201], body: bytes, contentType: 'application/octet-stream' });
    return descriptor;
  }

  /**
   * Uploads any manifest, index or artifact as it is. `reference` is a tag, or absent to push by digest alone. Bytes are
   * sent unchanged, so that a test can push what a registry would let pass but a client must not.
   */
  async pushManifest(
    repository: string,
    manifest: object | string | Uint8Array,
    mediaType: string,
    reference?: string,
  ): Promise<OciDescriptor> {
    const isBytes = typeof manifest === 'string' || manifest instanceof Uint8Array;
    const body = Buffer.from(isBytes ? manifest : JSON.stringify(manifest));
    const digest = sha256(body);
    const path = `manifests/${reference ?? digest}`;
    await this.#send('PUT', repository, path, { accept: [201], body, contentType: mediaType });
    return { mediaType, digest, size: body.length };
  }

  /** Lets `to` name what `from` (tag or digest) names now. Returns the digest. */
  async retag(repository: string, from: string, to: string): Promise<Digest> {
    const found = await this.#send('GET', repository, `manifests/${from}`, { accept: [200] });
    return (await this.pushManifest(repository, found.body, found.contentType, to)).digest;
  }

  /** The digest that a tag names, undefined when there is no such tag. */
  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    const found = await this.#send('GET', repository, `manifests/${tag}`, { accept: [200, 404] });
    return found.status === 200 ? sha256(found.body) : undefined;
  }

  /** Deletes a manifest and every tag that names it. */
  async deleteManifest(repository: string, digest: Digest): Promise<void> {
    await this.#send('DELETE', repository, `manifests/${digest}`, { accept: [202] });
  }

  async #send(
    method: Dispatcher.HttpMethod,
    repository: string,
    path: string,
    options: { readonly accept: readonly number[]; readonly body?: Buffer; readonly contentType?: string },
  ): Promise<{
    readonly status: number;
    readonly body: Buffer;
    readonly contentType: string;
    readonly location: string;
  }> {
    const { url, dispatcher } = this.#target;
    const authorization = this.#target.authorization(repository);
    const absolute = path.startsWith('/') ? `${url}${path}` : `${url}/v2/${repository}/${path}`;
    const answer = await request(absolute, {
      method,
      headers: {
        'user-agent': PUSHER_USER_AGENT,
        accept: [...Object.values(MEDIA_TYPES.oci), ...Object.values(MEDIA_TYPES.docker), '*/*'].join(', '),
        ...(authorization === undefined ? {} : { authorization }),
        ...(options.contentType === undefined ? {} : { 'content-type': options.contentType }),
      },
      ...(options.body === undefined ? {} : { body: options.body }),
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    const body = Buffer.from(await answer.body.arrayBuffer());
    if (!options.accept.includes(answer.statusCode)) {
      throw new Error(`${method} ${absolute}: ${answer.statusCode} ${body.toString('utf8').slice(0, 500)}`);
    }
    return {
      status: answer.statusCode,
      body,
      contentType: String(answer.headers['content-type'] ?? ''),
      location: String(answer.headers['location'] ?? ''),
    };
  }
}

export function sha256(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** A ustar archive of these files. Parent folders are listed first, as some unpackers want them. */
export function tarArchive(files: readonly LayerFile[]): Buffer {
  const blocks: Buffer[] = [];
  const folders = new Set<string>();
  for (const file of files) {
    const parts = file.path.split('/').slice(0, -1);
    for (const [index] of parts.entries()) {
      const folder = `${parts.slice(0, index + 1).join('/')}/`;
      if (folders.has(folder)) continue;
      folders.add(folder);
      blocks.push(tarHeader(folder, { type: '5', mode: 0o755, size: 0 }));
    }
    if (file.link !== undefined) {
      blocks.push(tarHeader(file.path, { type: '2', mode: 0o777, size: 0, link: file.link }));
      continue;
    }
    const content = Buffer.from(file.content ?? '');
    blocks.push(tarHeader(file.path, { type: '0', mode: file.mode ?? 0o644, size: content.length }), content);
    blocks.push(Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  blocks.push(Buffer.alloc(1024));
  return Buffer.concat(blocks);
}

function tarHeader(
  path: string,
  entry: { readonly type: string; readonly mode: number; readonly size: number; readonly link?: string },
): Buffer {
  if (path.length > 100) throw new Error(`${path}: longer than the 100 bytes of a plain tar header`);
  const header = Buffer.alloc(512);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(path, 0);
  header.write(octal(entry.mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(entry.size, 11), 124);
  header.write(octal(0, 11), 136);
  header.write('        ', 148);
  header.write(entry.type, 156);
  header.write(entry.link ?? '', 157);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
