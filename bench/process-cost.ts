// What a process has cost so far, as the kernel counts it, not as the process itself says.
// @see https://man7.org/linux/man-pages/man5/proc.5.html

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const TICKS_PER_SECOND = 100;
const MIB = 1024;
const ESTABLISHED = '01';

export interface Memory {
  /** Largest resident size so far, MiB. */
  readonly peakMib: number;
  /** Resident size now, MiB. */
  readonly residentMib: number;
  /** The part of it that is the process's own, without the pages of the program file, MiB. */
  readonly anonymousMib: number;
}

export interface OpenFiles {
  /** Open descriptors of any kind. */
  readonly descriptors: number;
  /** Established TCP connections to the given port. */
  readonly connections: number;
}

/** Seconds of CPU, user and system, of all threads. Counted in hundredths. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the program is in brackets and may contain anything; state is the first field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+([0-9]+) kB$`, 'm').exec(status)?.[1]) / MIB;
  return { peakMib: field('VmHWM'), residentMib: field('VmRSS'), anonymousMib: field('RssAnon') };
}

export function openFilesOf(pid: number, remotePort: number): OpenFiles {
  const inodes = new Set<string>();
  let descriptors = 0;
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    descriptors += 1;
    const inode = /^socket:\[([0-9]+)\]$/.exec(linkOf(`/proc/${pid}/fd/${name}`))?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const port = remotePort.toString(16).toUpperCase().padStart(4, '0');
  const connections = readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, state, , , , , , inode]) => {
      return remote?.endsWith(`:${port}`) === true && state === ESTABLISHED && inodes.has(inode ?? '');
    }).length;
  return { descriptors, connections };
}

/** A descriptor may be closed between being listed and being read. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
