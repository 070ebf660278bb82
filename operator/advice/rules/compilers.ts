// Compilers in what is shipped: they make it large, and whoever gets in has a workshop.

import type { Finding, Rule } from '../advice.ts';
import { isCompilerImage } from '../official-images.ts';
import { rootBase, type Dockerfile } from '../parsing/dockerfile.ts';
import type { Instruction } from '../parsing/instruction.ts';
import type { Command } from '../parsing/shell.ts';

export const COMPILER_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'compilers-in-image', title: 'Compilers in the image', severity: 'Medium', find: findCompilers },
];

const COMPILERS: ReadonlySet<string> = new Set([
  ...['build-essential', 'build-base', 'alpine-sdk', 'base-devel', 'gcc', 'g++', 'gcc-c++', 'clang', 'cmake'],
  ...['golang', 'golang-go', 'rustc', 'cargo', 'maven', 'gradle'],
]);
const INSTALL = new Map([
  ['apt-get', 'install'],
  ['apt', 'install'],
  ['apk', 'add'],
  ['yum', 'install'],
  ['dnf', 'install'],
  ['microdnf', 'install'],
]);
const REMOVE: ReadonlySet<string> = new Set(['purge', 'remove', 'autoremove', 'autopurge', 'del', 'erase']);
const REMEDY = 'compile in an earlier stage, and copy the result into one without them.';

function findCompilers({ shipped }: Dockerfile): readonly Finding[] {
  const base = rootBase(shipped);
  const [root] = shipped;
  const findings: Finding[] = [];
  if (base?.kind === 'image' && root !== undefined && isCompilerImage(base.image)) {
    findings.push({
      line: root.line,
      message: `The image is built on ${base.text} and ships its compilers: ${REMEDY}`,
    });
  }
  for (const instruction of shipped.flatMap(({ instructions }) => instructions)) {
    const compiler = installedCompiler(instruction);
    if (compiler === undefined) continue;
    findings.push({ line: instruction.line, message: `RUN leaves ${compiler} in the image: ${REMEDY}` });
  }
  return findings;
}

/** Absent: none, or removed again in the same layer. */
function installedCompiler({ commands }: Instruction): string | undefined {
  const isRemoved = commands.some(({ name, args }) => INSTALL.has(name) && args.some((word) => REMOVE.has(word)));
  return isRemoved ? undefined : commands.map(compilerOf).find((name) => name !== undefined);
}

function compilerOf({ name, args }: Command): string | undefined {
  const verb = INSTALL.get(name);
  if (verb === undefined || !args.includes(verb)) return undefined;
  return args
    .map((word) => word.replace(/[=<>~].*$/s, ''))
    .find((word) => COMPILERS.has(word) || /^(?:gcc|g\+\+|clang)-[0-9]{1,2}$/.test(word));
}
