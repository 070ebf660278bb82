// Where a cluster lives: network, mount and process namespaces of its own. Its addresses, routes, iptables rules, mounts
// and processes are nobody else's, and all of them vanish together when the first process of the sandbox is killed: the
// kernel ends every process in it, containers included, and with the last one go mounts and network.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, type ProcessOptions, type RunningProcess, startProcess } from '../support/processes.ts';
import { GiveUp, waitFor } from '../support/wait.ts';

export interface SandboxOptions {
  /** The cluster's folder. */
  readonly directory: string;
  /** A program that does nothing but reap orphans: the first process of the sandbox. */
  readonly init: string;
  /** Let the sandbox outlive this process. Otherwise it dies with it, however that ends. */
  readonly detached: boolean;
  /** The node's address inside. */
  readonly address: string;
  /** Further ranges that the node's own packets are sent to. */
  readonly routes: readonly string[];
  /** A line of /etc/hosts inside, beside localhost. */
  readonly hosts: string;
}

/** Kinds of namespaces to enter. `net` alone keeps the machine's own files and processes in sight. */
export type NamespaceKind = 'net' | 'mount' | 'pid';

export const ALL_NAMESPACES: readonly NamespaceKind[] = ['net', 'mount', 'pid'];

// kubelet insists on these values and would set them for the whole machine. It finds files that hold them instead.
const KERNEL_TUNABLES = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

// Programs for administrators lie where not every shell looks.
const PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

export class Sandbox {
  /** The first process, as the machine numbers it. */
  readonly pid: number;

  constructor(pid: number) {
    this.pid = pid;
  }

  /** Makes the namespaces. Inside, /run, /var/lib and /var/log are folders of the cluster's own. */
  static async start(options: SandboxOptions): Promise<Sandbox> {
    const { directory, init, detached } = options;
    const ready = join(directory, 'sandbox.ready');
    const script = setUpScript(options, ready);
    const unshare = await startProcess({
      name: 'sandbox',
      command: 'unshare',
      args: [
        ...['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc', '--net'],
        ...['sh', '-euc', script],
      ],
      env: { PATH },
      logPath: join(directory, 'sandbox.log'),
      detached,
    });
    await waitFor('the namespaces are set up', () => {
      if (!unshare.isRunning()) throw new GiveUp(`Setting up namespaces:\n${unshare.logTail()}`);
      if (!existsSync(ready)) return false;
      return readFileSync(ready, 'utf8') === 'ready\n';
    });
    const pid = childOf(unshare.pid);
    if (pid === undefined) throw new Error(`Setting up namespaces with ${init}:\n${unshare.logTail()}`);
    return new Sandbox(pid);
  }

  /** The command that runs another one inside. */
  enter(argv: readonly string[], kinds: readonly NamespaceKind[] = ALL_NAMESPACES): readonly string[] {
    return ['nsenter', `--target=${this.pid}`, ...kinds.map((kind) => `--${kind}`), '--', ...argv];
  }

  /** Runs a command inside to its end, with the cluster's files; throws when it fails. */
  run(argv: readonly string[], input?: string | Uint8Array): Promise<string> {
    return mustRun(this.enter(argv), { env: { PATH }, ...(input === undefined ? {} : { input }) });
  }

  /** Starts a program inside that lives as long as the sandbox. */
  async start(options: ProcessOptions): Promise<SandboxedProcess> {
    const argv = this.enter([options.command, ...(options.args ?? [])]);
    const entry = await startProcess({
      ...options,
      command: argv[0] as string,
      args: argv.slice(1),
      env: { PATH, ...options.env },
    });
    return new SandboxedProcess(entry);
  }
}

/** A program inside a sandbox, seen from outside: nsenter waits for it and ends as it ends. */
export class SandboxedProcess {
  readonly #entry: RunningProcess;

  constructor(entry: RunningProcess) {
    this.#entry = entry;
  }

  get name(): string {
    return this.#entry.name;
  }

  isRunning(): boolean {
    return this.#entry.isRunning();
  }

  logTail(lines?: number): string {
    return this.#entry.logTail(lines);
  }

  /** Signals the program itself and waits for its end. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const pid = childOf(this.#entry.pid);
    if (pid !== undefined) process.kill(pid, signal);
    await this.#entry.ended;
  }
}

function childOf(pid: number): number | undefined {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return child === undefined ? undefined : Number(child);
}

function setUpScript({ directory, init, address, routes, hosts }: SandboxOptions, ready: string): string {
  const own = { run: '/run', lib: '/var/lib', log: '/var/log' };
  return [
    // Volumes that kubelet mounts must appear in the mount namespaces of containers.
    'mount --make-rshared /',
    ...Object.entries(own).flatMap(([name, path]) => [
      `mkdir -p ${directory}/node/${name}`,
      `mount --bind ${directory}/node/${name} ${path}`,
    ]),
    `printf '%s\\n' '127.0.0.1 localhost' '${hosts}' > ${directory}/node/hosts`,
    `mount --bind ${directory}/node/hosts /etc/hosts`,
    `mkdir -p ${directory}/node/tunables`,
    ...Object.entries(KERNEL_TUNABLES).flatMap(([name, value]) => {
      const file = `${directory}/node/tunables/${name.replaceAll('/', '-')}`;
      return [`echo ${value} > ${file}`, `mount --bind ${file} /proc/sys/${name}`];
    }),
    'ip link set lo up',
    // Not every kernel has the dummy device; a bridge without ports carries an address as well.
    'ip link add node0 type bridge',
    `ip address add ${address}/24 dev node0`,
    'ip link set node0 up',
    // The node's own packets to a Service need a route before the rules of kube-proxy see them.
    ...routes.map((range) => `ip route add ${range} dev node0`),
    'echo 1 > /proc/sys/net/ipv4/ip_forward',
    `echo ready > ${ready}`,
    `exec ${init}`,
  ].join('\n');
}
