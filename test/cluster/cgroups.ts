// The cgroups below which a cluster's pods live: made before kubelet starts, which wants to find them, and removed after
// the last process is gone. Knows version 1 (a tree per controller, also in hybrid mode) and version 2 (one tree).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from '../support/wait.ts';

const ROOT = '/sys/fs/cgroup';

/** The trees in which a cluster needs a group, as folders. */
function trees(): readonly string[] {
  if (isUnified()) return [ROOT];
  // In hybrid mode an empty tree of version 2 is among them, in which container runtimes leave groups as well.
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, path, type]) => type?.startsWith('cgroup') && path?.startsWith(`${ROOT}/`));
  return mounts.map(([, path]) => path as string);
}

function isUnified(): boolean {
  return existsSync(join(ROOT, 'cgroup.controllers'));
}

/** Makes `/<name>` in every tree. */
export async function createCgroup(name: string): Promise<void> {
  for (const tree of trees()) {
    const path = join(tree, name);
    if (isUnified()) await passOn(tree);
    await mkdir(path, { recursive: true });
    if (isUnified()) {
      await passOn(path);
      continue;
    }
    // A cpuset is born empty in version 1, and nothing can run in it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(join(tree, file))) await writeFile(join(path, file), readFileSync(join(tree, file)));
    }
  }
}

/** Version 2: a group has only the controllers that its parent passes on. */
async function passOn(path: string): Promise<void> {
  const words = (file: string): readonly string[] =>
    readFileSync(join(path, file), 'utf8').trim().split(/\s+/).filter(Boolean);
  const passed = words('cgroup.subtree_control');
  const missing = words('cgroup.controllers').filter((controller) => !passed.includes(controller));
  if (missing.length === 0) return;
  await writeFile(join(path, 'cgroup.subtree_control'), missing.map((controller) => `+${controller}`).join(' '));
}

/** Removes `/<name>` and all groups below it, in every tree. Their processes must have been killed. */
export async function removeCgroup(name: string): Promise<void> {
  for (const tree of trees()) {
    const path = join(tree, name);
    // A killed process leaves its group a moment after it is gone from /proc: until then the group is busy.
    await waitFor(`${path} is removed`, async () => {
      await removeGroup(path);
      return true;
    });
  }
}

async function removeGroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeGroup(join(path, entry.name));
  }
  await rmdir(path);
}
