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
    const { platforms = ['linux/amd64'], annotations, mediaTypes = 'oci', nonce = randomUUID() } = options;
    const types = MEDIA_TYPES[mediaTypes];
    const layers: OciDescriptor[] = [];
    const diffIds: string[] = [];
    for (const files of options.layers ?? [[{ path: 'etc/nonce', content: nonce }]]) {
      const tar = tarArchive(files);
      diffIds.push(sha256(tar));
      layers.push(await this.pushBlob(repository, gzipSync(tar), types.layer));
    }

    const manifests: (OciDescriptor & { readonly platform: object })[] = [];
    for (const platform of platforms) {
      const [os, architecture, variant] = platform.split('/');
      const described = { os, architecture, ...(variant === undefined ? {} : { variant }) };
      const config = {
        ...described,
        ...(options.created === undefined ? {} : { created: options.created.toISOString() }),
        config: { Labels: { nonce }, ...options.config },
        rootfs: { type: 'layers', diff_ids: diffIds },
      };
      const manifest = {
        schemaVersion: 2,
        mediaType: types.manifest,
        config: await this.pushBlob(repository, JSON.stringify(config), types.config),
        layers,
        ...(annotations === undefined ? {} : { annotations }),
      };
      manifests.push({ ...(await this.pushManifest(repository, manifest, types.manifest)), platform: described });
    }

    const [only] = manifests;
    const isIndex = options.index === true || manifests.length > 1;
    const top = isIndex
      ? await this.pushManifest(
          repository,
          {
            schemaVersion: 2,
            mediaType: types.index,
            manifests,
            ...(annotations === undefined ? {} : { annotations }),
          },
          types.index,
        )
      : (only as OciDescriptor);
    await this.retag(repository, top.digest, tag);
    return top.digest;
  }

  /** Uploads a blob (unless it is there) and describes it. */
  async pushBlob(repository: string, content: string | Uint8Array, mediaType: string): Promise<OciDescriptor> {
    const bytes = Buffer.from(content);
    const digest = sha256(bytes);
    const descriptor = { mediaType, digest, size: bytes.length };
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
