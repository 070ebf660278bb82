// The registry of the demo: pushes the app's images, and makes the pull secrets by which the cluster reads them.

import { readFile } from 'node:fs/promises';
import type { Digest } from '../../operator/image/digest.ts';
import { formatRepository } from '../../operator/image/reference.ts';
import { ensureTools } from '../../test/cluster/tools.ts';
import { ImagePusher, type ImageOptions } from '../../test/support/registries-image.ts';
import type { RegistryAddress } from './options.ts';

export const PULL_SECRET = 'registry-login';

export class DemoRegistry {
  /** In image names, with its port. */
  readonly host: string;
  readonly isPlainHttp: boolean;
  readonly #address: RegistryAddress;
  readonly #pusher: ImagePusher;

  constructor(address: RegistryAddress) {
    this.host = address.repository.host;
    this.isPlainHttp = address.url.startsWith('http:');
    this.#address = address;
    this.#pusher = new ImagePusher({ url: address.url, authorization: () => `Basic ${this.#auth}` });
  }

  /** The repository as manifests name it. */
  image(name: string): string {
    return `${formatRepository(this.#address.repository)}/${name}`;
  }

  /** The repository as this machine pushes to it. */
  pushReference(name: string): string {
    return `${new URL(this.#address.url).host}/${this.#address.repository.path}/${name}`;
  }

  /** `user:password` */
  get login(): string {
    return `${this.#address.username}:${this.#address.password}`;
  }

  /** By default a small web server that answers with its own name and tag. */
  async push(name: string, tag: string, image?: ImageOptions): Promise<Digest> {
    const busybox = await readFile((await ensureTools(['busybox'])).busybox);
    return this.#pusher.push(`${this.#address.repository.path}/${name}`, tag, {
      layers: [
        [{ path: 'bin/busybox', content: busybox, mode: 0o755 }],
        [{ path: 'www/index.html', content: `${name} ${tag}\n` }],
      ],
      config: { Entrypoint: ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'], User: '1000:1000' },
      ...image,
    });
  }

  /** Deletes an image with its tags, as an upstream would. */
  delete(name: string, digest: Digest): Promise<void> {
    return this.#pusher.deleteManifest(`${this.#address.repository.path}/${name}`, digest);
  }

  pullSecret(namespace: string): object {
    return {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: PULL_SECRET, namespace },
      type: 'kubernetes.io/dockerconfigjson',
      stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [this.host]: { auth: this.#auth } } }) },
    };
  }

  get #auth(): string {
    return Buffer.from(this.login).toString('base64');
  }
}
