// What a test run left behind on the machine. Its processes are known by a variable in their environment, which children
// inherit however far they run away; its files by a temporary folder of its own; its network namespaces by being new and
// empty. So two runs side by side do not blame each other.

import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const MARK = 'SLIPWAY_TEST_RUN';
const NAMESPACES = '/run/netns';

/** Processes that were just told to end are given this long. */
const GRACE_MS = 10_000;

export class Leftovers {
  /** Handed to everything the run starts. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #folder: string;
  readonly #mark: string;
  readonly #namespacesBefore: ReadonlySet<string>;

  private constructor(folder: string, namespacesBefore: ReadonlySet<string>) {
    this.#folder = folder;
    this.#mark = `${MARK}=${folder}`;
    this.#namespacesBefore = namespacesBefore;
    this.environment = { TMPDIR: folder, [MARK]: folder };
  }

  static async begin(): Promise<Leftovers> {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-test-'));
    return new Leftovers(folder, new Set(await list(NAMESPACES)));
  }

  /** One sentence per thing left behind, empty when the machine is as clean as before. */
  async find(graceMs: number = GRACE_MS): Promise<readonly string[]> {
    const deadline = performance.now() + graceMs;
    for (;;) {
      const found = [...(await this.#processes()), ...(await this.#namespaces()), ...(await this.#files())];
      if (found.length === 0 || performance.now() > deadline) return found;
      await delay(250);
    }
  }

  /** Ends leftover processes and removes the temporary folder, so that a failed run does not spoil the next one. */
  async clean(): Promise<void> {
    for (const { pid } of await this.#owned()) kill(pid);
    // A folder that is still mounted somewhere stays, and is in the list of what was found.
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined);
  }

  async #processes(): Promise<readonly string[]> {
    return (await this.#owned()).map(({ pid, command }) => `process ${pid} still runs: ${command}`);
  }

  async #owned(): Promise<readonly { readonly pid: number; readonly command: string }[]> {
    const owned: { pid: number; command: string }[] = [];
    for (const pid of await processIds()) {
      const environment = await read(`/proc/${pid}/environ`);
      if (!environment.split('\0').includes(this.#mark)) continue;
      const command = (await read(`/proc/${pid}/cmdline`)).split('\0').join(' ').trim().slice(0, 160);
      // A zombie has no command line; its parent has to fetch it and it holds nothing.
      if (command !== '') owned.push({ pid, command });
    }
    return owned;
  }

  async #namespaces(): Promise<readonly string[]> {
    const created = (await list(NAMESPACES)).filter((name) => !this.#namespacesBefore.has(name));
    if (created.length === 0) return [];
    const inhabited = new Set<string>();
    for (const pid of await processIds()) inhabited.add(await readlink(`/proc/${pid}/ns/net`).catch(() => ''));
    const found: string[] = [];
    for (const name of created) {
      const inode = await stat(join(NAMESPACES, name)).then(
        ({ ino }) => ino,
        () => undefined,
      );
      if (inode !== undefined && !inhabited.has(`net:[${inode}]`))
        found.push(`network namespace ${name} is left empty`);
    }
    return found;
  }

  async #files(): Promise<readonly string[]> {
    return (await list(this.#folder)).map((name) => `temporary file ${join(this.#folder, name)} was not removed`);
  }
}

async function processIds(): Promise<readonly number[]> {
  return (await list('/proc')).filter((name) => /^[0-9]+$/.test(name)).map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

async function list(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}

async function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
