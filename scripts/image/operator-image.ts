// Builds the operator's image from the Dockerfile on bases made of Debian packages, so that no image registry is needed.
// Bases and layers are kept in the cache of the tools, and an image whose ingredients did not change is not built again.

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { ensureTools, toolsDirectory } from '../../test/cluster/tools.ts';
import { mustRun, runCommand } from '../../test/support/processes.ts';

const ROOT = join(import.meta.dirname, '../..');
const SUITE = 'bookworm';
const TRUSTED = '/etc/ssl/certs/ca-certificates.crt';
const LOCAL_NAME = 'localhost/slipway/operator';

export interface ImageOptions {
  readonly version: string;
  readonly revision: string;
  /** Instead of the ones made of Debian packages. */
  readonly buildImage?: string;
  readonly baseImage?: string;
  /** Progress, a line at a time. */
  readonly report: (line: string) => void;
}

export interface PushOptions {
  /** `host[:port]/path:tag` */
  readonly reference: string;
  /** `user:password` */
  readonly credentials?: string;
  readonly plainHttp?: boolean;
}

export interface OperatorImage {
  readonly sizeBytes: number;
  /** Returns the digest in the registry. */
  push(options: PushOptions): Promise<string>;
  /** Writes an OCI archive, for `skopeo` or `podman load`. */
  save(path: string): Promise<void>;
}

export async function buildOperatorImage(options: ImageOptions): Promise<OperatorImage> {
  const { report } = options;
  const tools = await ensureTools(['buildah', 'mmdebstrap'], { report });
  const store = join(dirname(toolsDirectory()), 'images');
  await mkdir(store, { recursive: true });
  const policy = join(store, 'policy.json');
  const buildah = new Buildah(tools.buildah, store, policy);
  const buildImage = options.buildImage ?? (await buildBase(buildah, tools.mmdebstrap, report));
  const baseImage = options.baseImage ?? (await runtimeBase(buildah, tools.mmdebstrap, report));
  const name = `${LOCAL_NAME}:${await fingerprint([buildImage, baseImage, options.version, options.revision])}`;
  if (!(await buildah.has(name))) {
    report('Building the image from the Dockerfile (about a minute the first time) ...');
    await buildah.run([
      'build',
      '--isolation=chroot',
      '--format=oci',
      '--layers',
      `--pull=${options.buildImage === undefined && options.baseImage === undefined ? 'never' : 'missing'}`,
      `--build-arg=BUILD_IMAGE=${buildImage}`,
      `--build-arg=BASE_IMAGE=${baseImage}`,
      `--build-arg=VERSION=${options.version}`,
      `--build-arg=REVISION=${options.revision}`,
      `--file=${join(ROOT, 'Dockerfile')}`,
      `--tag=${name}`,
      ROOT,
    ]);
  }
  const [description] = JSON.parse(await buildah.run(['images', '--json', name])) as [{ size: string }];
  return {
    sizeBytes: parseSize(description.size),
    push: ({ reference, credentials, plainHttp = false }) => buildah.push(name, reference, credentials, plainHttp),
    save: async (path) => {
      await mkdir(dirname(path), { recursive: true });
      await rm(path, { force: true });
      await buildah.run(['push', name, `oci-archive:${path}`]);
    },
  };
}

/** Something with a shell, npm and a Node to start it: Debian, and the npm of this machine with the Node of node_modules. */
async function buildBase(buildah: Buildah, mmdebstrap: string, report: (line: string) => void): Promise<string> {
  const npm = join(await realpath((await mustRun(['sh', '-c', 'command -v npm'])).trim()), '../..');
  const node = join(ROOT, 'node_modules/node/bin/node');
  const npmVersion = (JSON.parse(await readFile(join(npm, 'package.json'), 'utf8')) as { version: string }).version;
  const trusted = await readFile(TRUSTED, 'utf8').catch(() => '');
  const name = baseName('build', [SUITE, npmVersion, (await mustRun([node, '--version'])).trim(), trusted]);
  if (await buildah.has(name)) return name;
  report('Making the base image for the build from Debian packages (about half a minute, once) ...');
  await inTemporaryDirectory(async (directory) => {
    const root = join(directory, 'root.tar');
    await debootstrap(mmdebstrap, ['--variant=essential', '--include=libstdc++6,ca-certificates', SUITE, root]);
    await buildah.commit(name, async (container) => {
      await buildah.run(['add', container, root, '/']);
      await buildah.run(['add', container, node, '/usr/local/bin/node']);
      await buildah.run(['add', container, npm, '/usr/local/lib/node_modules/npm']);
      await buildah.run([
        'run',
        '--isolation=chroot',
        container,
        '--',
        'ln',
        '-s',
        '../lib/node_modules/npm/bin/npm-cli.js',
        '/usr/local/bin/npm',
      ]);
      // The build trusts what this machine trusts: its way to the package registries may lead through a proxy.
      if (trusted !== '') await buildah.run(['add', container, TRUSTED, TRUSTED]);
      await buildah.run([
        'config',
        '--env=PATH=/usr/local/bin:/usr/bin:/bin',
        `--env=NODE_EXTRA_CA_CERTS=${TRUSTED}`,
        container,
      ]);
    });
  });
  return name;
}

/** The C and C++ libraries and nothing else: no shell, no package manager. */
async function runtimeBase(buildah: Buildah, mmdebstrap: string, report: (line: string) => void): Promise<string> {
  const name = baseName('runtime', [SUITE]);
  if (await buildah.has(name)) return name;
  report('Making the base image to run on from Debian packages (a few seconds, once) ...');
  await inTemporaryDirectory(async (directory) => {
    const root = join(directory, 'root.tar');
    await debootstrap(mmdebstrap, ['--variant=extract', '--include=libc6,libstdc++6,libgcc-s1', SUITE, root]);
    await buildah.commit(name, (container) => buildah.run(['add', container, root, '/']));
  });
  return name;
}

async function debootstrap(mmdebstrap: string, args: readonly string[]): Promise<void> {
  await mustRun([mmdebstrap, '--mode=root', '--quiet', ...args], { timeoutMs: 600_000 });
}

/** Of everything that goes into the image: the same ingredients are the same image, which is then there already. */
async function fingerprint(ingredients: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(ingredients));
  const names = ['Dockerfile', 'package.json', 'package-lock.json', 'esbuild.mjs', 'tsconfig.json'];
  const sources = await readdir(join(ROOT, 'operator'), { recursive: true, withFileTypes: true });
  for (const source of sources) if (source.isFile()) names.push(relative(ROOT, join(source.parentPath, source.name)));
  for (const name of names.sort()) hash.update(name).update(await readFile(join(ROOT, name)));
  return hash.digest('hex').slice(0, 16);
}

function baseName(kind: string, ingredients: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(ingredients)).digest('hex').slice(0, 12);
  return `localhost/slipway/${kind}-base:${hash}`;
}

async function inTemporaryDirectory(work: (directory: string) => Promise<unknown>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-image-'));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function parseSize(text: string): number {
  const [, amount = '0', unit = ''] = /^([0-9.]+)\s*([KMG]?)B$/i.exec(text.trim()) ?? [];
  return Number(amount) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as '' | 'K' | 'M' | 'G'];
}

/** buildah with a store of its own. Runs side by side take turns, because base images and layers are shared. */
class Buildah {
  readonly #argv: readonly string[];
  readonly #policy: string;

  constructor(path: string, store: string, policy: string) {
    this.#policy = policy;
    this.#argv = [path, '--storage-driver=overlay', `--root=${store}/root`, `--runroot=${store}/run`];
  }

  async run(args: readonly string[]): Promise<string> {
    const [verb = '', ...rest] = args;
    const usesPolicy = ['build', 'push', 'from', 'commit'].includes(verb);
    await this.#writePolicy();
    return mustRun([...this.#argv, verb, ...(usesPolicy ? [`--signature-policy=${this.#policy}`] : []), ...rest], {
      timeoutMs: 900_000,
    });
  }

  async has(name: string): Promise<boolean> {
    return (await runCommand([...this.#argv, 'inspect', '--type=image', name])).code === 0;
  }

  async commit(name: string, fill: (container: string) => Promise<unknown>): Promise<void> {
    const container = (await this.run(['from', 'scratch'])).trim();
    try {
      await fill(container);
      await this.run(['commit', '--quiet', container, name]);
    } finally {
      await this.run(['rm', container]);
    }
  }

  async push(name: string, reference: string, credentials: string | undefined, plainHttp: boolean): Promise<string> {
    let digest = '';
    await inTemporaryDirectory(async (directory) => {
      const digestFile = join(directory, 'digest');
      await this.run([
        'push',
        `--digestfile=${digestFile}`,
        `--tls-verify=${String(!plainHttp)}`,
        ...(credentials === undefined ? [] : [`--creds=${credentials}`]),
        name,
        `docker://${reference}`,
      ]);
      digest = (await readFile(digestFile, 'utf8')).trim();
    });
    return digest;
  }

  async #writePolicy(): Promise<void> {
    await writeFile(this.#policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  }
}
