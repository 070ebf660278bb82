// Secrets that would end up in the image or its history. Messages name the variable, never its value.
// @see https://docs.docker.com/build/building/secrets/

import type { Finding, Rule } from '../advice.ts';
import type { Dockerfile } from '../parsing/dockerfile.ts';
import { declarationsOf, mountsOf, type Declaration, type Instruction } from '../parsing/instruction.ts';
import { findSecretInCommands } from '../secrets/commands.ts';
import { holdsKnownSecret, isSecret, isSecretName } from '../secrets/secret.ts';

export const SECRET_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'secret-in-env', title: 'Secret in ENV', severity: 'High', find: findSecretsInEnv },
  { id: 'secret-in-arg', title: 'Secret in ARG', severity: 'High', find: findSecretsInArg },
  { id: 'secret-in-run', title: 'Secret in RUN', severity: 'High', find: findSecretsInRun },
  { id: 'secret-arg-used', title: 'Build argument with a secret', severity: 'High', find: findSecretArgumentsUsed },
];

function allInstructions({ globals, stages }: Dockerfile): readonly Instruction[] {
  return [...globals, ...stages.flatMap(({ instructions }) => instructions)];
}

function hasSecretValue({ name, raw, value }: Declaration): boolean {
  const written = value ?? raw;
  return written !== undefined && (isSecret(name, written) || holdsKnownSecret(written));
}

function findSecretsInEnv(dockerfile: Dockerfile): readonly Finding[] {
  return allInstructions(dockerfile)
    .filter(({ keyword }) => keyword === 'ENV')
    .flatMap((instruction) =>
      declarationsOf(instruction)
        .filter(hasSecretValue)
        .map(({ name }) => ({
          line: instruction.line,
          message: `ENV ${name} puts a secret into the image, where whoever pulls it can read it: give it to the container at run time, and to the build with RUN --mount=type=secret.`,
        })),
    );
}

function findSecretsInArg(dockerfile: Dockerfile): readonly Finding[] {
  return allInstructions(dockerfile)
    .filter(({ keyword }) => keyword === 'ARG')
    .flatMap((instruction) =>
      declarationsOf(instruction)
        .filter(hasSecretValue)
        .map(({ name }) => ({
          line: instruction.line,
          message: `ARG ${name} has a secret as its default, which stays in the Dockerfile and in the history of the image: use RUN --mount=type=secret.`,
        })),
    );
}

function findSecretsInRun(dockerfile: Dockerfile): readonly Finding[] {
  return allInstructions(dockerfile).flatMap(({ keyword, line, commands, text }) => {
    if (keyword !== 'RUN') return [];
    const what = holdsKnownSecret(text) ? 'a token or private key' : findSecretInCommands(commands);
    if (what === undefined) return [];
    return [
      {
        line,
        message: `RUN has ${what} in its text, which stays in the history of the image: use RUN --mount=type=secret.`,
      },
    ];
  });
}

/** The history of an image keeps the arguments of every RUN. Only stages that are shipped have one. */
function findSecretArgumentsUsed({ shipped }: Dockerfile): readonly Finding[] {
  const instructions = shipped.flatMap((stage) => stage.instructions);
  const names = new Set<string>();
  return instructions.flatMap((instruction) => {
    if (instruction.keyword === 'ARG') {
      for (const { name, raw } of declarationsOf(instruction)) {
        if (raw === undefined && isSecretName(name)) names.add(name);
      }
    }
    if (names.size === 0 || (instruction.keyword !== 'RUN' && instruction.keyword !== 'ENV')) return [];
    const used = variablesIn(instruction.text).find((name) => names.has(name) && !isMounted(instruction, name));
    if (used === undefined) return [];
    // Said once.
    names.delete(used);
    return [
      {
        line: instruction.line,
        message: `${instruction.keyword} uses the build argument ${used}, whose value stays in the history of the image: use RUN --mount=type=secret,id=${used.toLowerCase()},env=${used}.`,
      },
    ];
  });
}

function variablesIn(text: string): readonly string[] {
  return [...text.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map(([, name = '']) => name);
}

function isMounted(instruction: Instruction, name: string): boolean {
  return mountsOf(instruction).some((mount) => mount.get('type') === 'secret' && mount.get('env') === name);
}
