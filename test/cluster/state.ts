// What is on the disk about a running cluster, so that another process can use or remove it, even after the process that
// started it died. A cluster is its first process, a folder and a cgroup: removing these three removes everything.

import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../support/processes.ts';
import { waitFor } from '../support/wait.ts';
import { removeCgroup } from './cgroups.ts';

/** A process by number and start time, because numbers are used again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, as /proc tells it. */
  readonly startTime: string;
}

export interface ClusterState {
  readonly name: string;
  /** The sandbox's first process; absent while the cluster is being set up. */
  readonly init?: ProcessIdentity;
  /** Who started it. A cluster whose owner is gone and that has no first process may be removed by anyone. */
  readonly owner: ProcessIdentity;
  /** Ports of 127.0.0.1 outside that lead to API server and registry inside. */
  readonly apiPort?: number;
  readonly registryPort?: number;
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/;

/** Where clusters keep their folders: `$SLIPWAY_CLUSTERS_DIR` or /var/tmp/slipway-clusters. */
export function clustersDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const directory = env['SLIPWAY_CLUSTERS_DIR'] ?? '/var/tmp/slipway-clusters';
  // The path goes into shell scripts and configuration files, and /var/lib and /run are replaced inside.
  if (!/^\/[\w./-]+$/.test(directory) || /^\/(var\/lib|var\/log|run|var\/run)(\/|$)/.test(directory)) {
    throw new Error(`SLIPWAY_CLUSTERS_DIR: ${directory} cannot be used: choose a plain path outside /var/lib and /run`);
  }
  return directory;
}

export function clusterDirectory(name: string): string {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no cluster name: use up to 30 of a-z, 0-9 and -`);
  return join(clustersDirectory(), name);
}

/** The cgroup, in every tree, below which all pods of a cluster run. */
export function cgroupOf(name: string): string {
  return `slipway-${name}`;
}

/** Undefined when there is no such process (any more). */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    // The second field is the command in brackets and may hold anything, so count from its end.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    // A zombie is dead: it only waits to be counted.
    return fields[0] === 'Z' ? undefined : { pid, startTime: fields[19] as string };
  } catch {
    return undefined;
  }
}

/** Throws when there is no such process. */
export function identityOf(pid: number): ProcessIdentity {
  const identity = identify(pid);
  if (!identity) throw new Error(`There is no process ${pid}`);
  return identity;
}

export function isAlive(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && identify(identity.pid)?.startTime === identity.startTime;
}

export async function writeState(state: ClusterState): Promise<void> {
  const directory = clusterDirectory(state.name);
  await mkdir(directory, { recursive: true });
  const path = join(directory, 'state.json');
  await writeFile(`${path}.new`, JSON.stringify(state, undefined, 2));
  await rename(`${path}.new`, path);
}

/** Undefined when there is no such cluster. */
export async function readState(name: string): Promise<ClusterState | undefined> {
  const text = await readFile(join(clusterDirectory(name), 'state.json'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as ClusterState);
}

/** Names of all clusters with a folder, running or not. */
export function clusterNames(): readonly string[] {
  try {
    return readdirSync(clustersDirectory()).filter((name) => NAME.test(name));
  } catch {
    return [];
  }
}

/** Ends and removes a cluster, wherever it was started and in whatever state it is. Does nothing when there is none. */
export async function removeCluster(name: string): Promise<void> {
  const directory = clusterDirectory(name);
  const state = await readState(name);
  if (state?.init && isAlive(state.init)) process.kill(state.init.pid, 'SIGKILL');
  await waitFor('the sandbox is gone', () => !isAlive(state?.init) && !hasWaiters(directory, state?.init?.pid));
  await removeCgroup(cgroupOf(name));
  await unmountBelow(directory);
  await rm(directory, { recursive: true, force: true });
}

/** Removes what clusters left behind whose processes are all gone, for example after a killed test run. */
export async function sweepDeadClusters(): Promise<readonly string[]> {
  const swept: string[] = [];
  for (const name of clusterNames()) {
    const state = await readState(name);
    if (!state || isAlive(state.init) || isAlive(state.owner)) continue;
    await removeCluster(name);
    swept.push(name);
  }
  return swept;
}

/** Whether a process outside still waits for one inside: nsenter and unshare end a moment after what they started. */
function hasWaiters(directory: string, init: number | undefined): boolean {
  return readdirSync('/proc')
    .filter((entry) => /^[0-9]+$/.test(entry))
    .some((pid) => {
      const argv = commandLine(pid);
      if (argv[0] === 'unshare') return argv.some((argument) => argument.includes(`${directory}/`));
      return argv[0] === 'nsenter' && argv.includes(`--target=${init}`) && argv.includes('--pid');
    });
}

function commandLine(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** The sandbox's mounts are its own and go with it; this is for what a tool may have mounted outside. */
async function unmountBelow(directory: string): Promise<void> {
  const points = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.sort().reverse()) await mustRun(['umount', '--lazy', point]);
}
