// What package managers leave behind. Only what ends up in the image counts, and only within one RUN: a later one deletes
// nothing from the layer before. Whoever mounts a cache keeps it out of the layer.

import type { Finding, Rule } from '../advice.ts';
import type { Dockerfile } from '../parsing/dockerfile.ts';
import { declarationsOf, mountsOf, type Instruction } from '../parsing/instruction.ts';
import type { Command } from '../parsing/shell.ts';

export const PACKAGE_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'apt-lists-kept', title: 'Lists of apt kept', severity: 'Low', find: findAptLists },
  { id: 'apt-recommends', title: 'Recommended packages installed', severity: 'Info', find: findAptRecommends },
  { id: 'apk-cache-kept', title: 'Cache of apk kept', severity: 'Low', find: findApkCaches },
  { id: 'pip-cache-kept', title: 'Cache of pip kept', severity: 'Low', find: findPipCaches },
  { id: 'dnf-cache-kept', title: 'Cache of yum or dnf kept', severity: 'Low', find: findDnfCaches },
];

const APT: ReadonlySet<string> = new Set(['apt-get', 'apt']);
const DNF: ReadonlySet<string> = new Set(['yum', 'dnf', 'microdnf']);

function shippedRuns({ shipped }: Dockerfile): readonly Instruction[] {
  return shipped
    .flatMap(({ instructions }) => instructions)
    .filter((run) => !mountsOf(run).some((mount) => ['cache', 'tmpfs'].includes(mount.get('type') ?? '')));
}

function findAptLists(dockerfile: Dockerfile): readonly Finding[] {
  return shippedRuns(dockerfile)
    .filter(({ commands, text }) => {
      const apt = commands.filter(({ name }) => APT.has(name));
      const fetches = apt.some(({ args }) => args.includes('update'));
      const isCleaned =
        /\/var\/lib\/(?:apt|\{|\*)/.test(text) ||
        apt.some(({ args }) => args.includes('distclean') || args.includes('dist-clean'));
      return fetches && !isCleaned;
    })
    .map(({ line }) => ({
      line,
      message: 'RUN leaves the lists of apt in the layer: end it with && rm -rf /var/lib/apt/lists/*.',
    }));
}

function findAptRecommends(dockerfile: Dockerfile): readonly Finding[] {
  const isConfigured = dockerfile.shipped.some(({ instructions }) =>
    instructions.some(({ text }) => /APT::Install-Recommends/i.test(text)),
  );
  if (isConfigured) return [];
  return shippedRuns(dockerfile)
    .filter(({ commands }) => commands.some(installsRecommended))
    .map(({ line }) => ({
      line,
      message: 'apt-get install brings recommended packages that nobody asked for: add --no-install-recommends.',
    }));
}

function installsRecommended({ name, args }: Command): boolean {
  return APT.has(name) && packagesAfter(args, 'install').length > 0 && !args.includes('--no-install-recommends');
}

function findApkCaches(dockerfile: Dockerfile): readonly Finding[] {
  return shippedRuns(dockerfile)
    .filter(
      ({ commands, text }) =>
        !text.includes('/var/cache/') &&
        commands.some(
          ({ name, args }) =>
            name === 'apk' &&
            args.some((word) => ['add', 'update', 'upgrade'].includes(word)) &&
            !args.includes('--no-cache'),
        ),
    )
    .map(({ line }) => ({
      line,
      message:
        'RUN leaves the index of apk in the layer: use apk add --no-cache, which also makes apk update needless.',
    }));
}

function findPipCaches(dockerfile: Dockerfile): readonly Finding[] {
  const isConfigured = dockerfile.shipped.some(({ instructions }) =>
    instructions.some(
      (instruction) =>
        declarationsOf(instruction).some(({ name }) => name === 'PIP_NO_CACHE_DIR') ||
        /no-cache-dir (?:true|1)|XDG_CACHE_HOME/.test(instruction.text),
    ),
  );
  if (isConfigured) return [];
  return shippedRuns(dockerfile)
    .filter(
      ({ commands, text }) =>
        !/PIP_NO_CACHE_DIR|\.cache|pip[0-9.]* cache (?:purge|remove)/.test(text) && commands.some(fillsPipCache),
    )
    .map(({ line }) => ({
      line,
      message: 'RUN leaves the downloads of pip in the layer: use pip install --no-cache-dir, or a cache mount.',
    }));
}

/** Wheels that lie on the disk are not cached. */
function fillsPipCache({ name, args }: Command): boolean {
  const isModule = /^python[0-9.]*$/.test(name) && args[0] === '-m' && args[1] === 'pip';
  if (!isModule && !/^pip[0-9.]*$/.test(name)) return false;
  if (args.includes('--no-cache-dir') || args.includes('--no-index')) return false;
  return packagesAfter(args, 'install').some((word) => !/^\.?\//.test(word) && !word.endsWith('.whl'));
}

function findDnfCaches(dockerfile: Dockerfile): readonly Finding[] {
  return shippedRuns(dockerfile)
    .filter(({ commands, text }) => {
      const dnf = commands.filter(({ name }) => DNF.has(name));
      const installs = dnf.some(
        ({ args }) =>
          packagesAfter(args, 'install').length > 0 && !args.some((word) => word.startsWith('--installroot')),
      );
      return installs && !text.includes('/var/cache') && !dnf.some(({ args }) => args.includes('clean'));
    })
    .map(({ line }) => ({
      line,
      message:
        'RUN leaves the cache of the package manager in the layer: end it with && dnf clean all (yum, microdnf).',
    }));
}

/** The words after the verb that are no options. None: the verb is not there, or nothing follows. */
function packagesAfter(args: readonly string[], verb: string): readonly string[] {
  const at = args.indexOf(verb);
  return at === -1 ? [] : args.slice(at + 1).filter((word) => !word.startsWith('-') && !/[<>]/.test(word));
}
