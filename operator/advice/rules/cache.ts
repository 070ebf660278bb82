// The order of instructions: what seldom changes comes first, or the build cache never helps.

import type { Finding, Rule } from '../advice.ts';
import type { Dockerfile, Stage } from '../parsing/dockerfile.ts';
import { mountsOf, type Instruction } from '../parsing/instruction.ts';
import type { Command } from '../parsing/shell.ts';
import { copiesContext } from './sources.ts';

export const CACHE_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'copy-before-install', title: 'Sources copied before dependencies', severity: 'Low', find: findEarlyCopies },
];

interface Installer {
  /** The first words that make it install; none: it also does without any. */
  readonly verbs: readonly string[];
  /** What to copy before the install. Absent: nothing, the install needs no file of the sources. */
  readonly manifest?: string;
}

const INSTALLERS: ReadonlyMap<string, Installer> = new Map<string, Installer>([
  ['npm', { verbs: ['ci', 'install', 'i'], manifest: 'package.json and package-lock.json' }],
  ['yarn', { verbs: ['install', ''], manifest: 'package.json and yarn.lock' }],
  ['pnpm', { verbs: ['install', 'i'], manifest: 'package.json and pnpm-lock.yaml' }],
  ['pip', { verbs: ['install'], manifest: 'the requirements file' }],
  ['poetry', { verbs: ['install'], manifest: 'pyproject.toml and poetry.lock' }],
  ['pipenv', { verbs: ['install', 'sync'], manifest: 'Pipfile and Pipfile.lock' }],
  ['bundle', { verbs: ['install', ''], manifest: 'Gemfile and Gemfile.lock' }],
  ['composer', { verbs: ['install'], manifest: 'composer.json and composer.lock' }],
  ['go', { verbs: ['mod'], manifest: 'go.mod and go.sum' }],
  ['apt-get', { verbs: ['install'] }],
  ['apt', { verbs: ['install'] }],
  ['apk', { verbs: ['add'] }],
  ['yum', { verbs: ['install'] }],
  ['dnf', { verbs: ['install'] }],
  ['microdnf', { verbs: ['install'] }],
]);

interface Found {
  readonly name: string;
  readonly manifest: string | undefined;
}

/**
 * Not where the same program installed before the copy, here or in a stage below: the author knows, and the second
 * install needs the sources.
 */
function findEarlyCopies({ stages }: Dockerfile): readonly Finding[] {
  const installedIn = new Map<Stage, ReadonlySet<string>>();
  return stages.flatMap((stage) => {
    const below = stage.base.kind === 'stage' ? installedIn.get(stage.base.stage) : undefined;
    installedIn.set(stage, new Set([...(below ?? []), ...installersOf(stage).map(({ name }) => name)]));
    return findEarlyCopy(stage, below ?? new Set());
  });
}

function findEarlyCopy({ instructions }: Stage, below: ReadonlySet<string>): readonly Finding[] {
  const early = new Set(below);
  let copy: Instruction | undefined;
  for (const instruction of instructions) {
    if (copiesContext(instruction)) copy ??= instruction;
    const installers = installersIn(instruction);
    const late = installers.find(({ name }) => copy !== undefined && !early.has(name) && !hasCache(instruction));
    if (copy !== undefined && late !== undefined) return [describe(copy, instruction, late)];
    for (const { name } of installers) early.add(name);
  }
  return [];
}

function installersOf({ instructions }: Stage): readonly Found[] {
  return instructions.flatMap(installersIn);
}

function describe(copy: Instruction, install: Instruction, { name, manifest }: Found): Finding {
  const remedy =
    manifest === undefined
      ? 'install before the copy'
      : `copy ${manifest} first, install, and copy the rest after that`;
  return {
    line: copy.line,
    message: `${copy.keyword} . comes before the ${name} of line ${install.line}, so every change of a source installs all again: ${remedy}.`,
  };
}

function hasCache(instruction: Instruction): boolean {
  return mountsOf(instruction).some((mount) => mount.get('type') === 'cache');
}

function installersIn({ commands }: Instruction): readonly Found[] {
  return commands.flatMap((command) => {
    const name = /^pip[0-9.]*$/.test(command.name) ? 'pip' : command.name;
    const installer = INSTALLERS.get(name);
    return installer !== undefined && isInstall(command, installer) ? [{ name, manifest: installer.manifest }] : [];
  });
}

const GLOBAL_OR_HELP: ReadonlySet<string> = new Set(['-g', '--global', '-v', '--version', '--help']);

/** Not so where files are installed that came with the copy: `pip install .`, `apt-get install ./app.deb`. */
function isInstall({ args }: Command, { verbs }: Installer): boolean {
  const words = args.filter((word) => !word.startsWith('-') && !/[<>]/.test(word));
  if (!verbs.includes(words[0] ?? '') || args.some((word) => GLOBAL_OR_HELP.has(word))) return false;
  if (words[0] === 'mod') return words[1] === 'download';
  if (args.includes('-r') || args.includes('--requirement')) return true;
  return !words.slice(1).some((word) => /^[./]/.test(word) || /\.(?:deb|rpm|apk|whl|tgz)$/.test(word));
}
