// Advice about a Dockerfile as it is written. Build arguments count with their defaults; what cannot be resolved is left
// alone.
// @see https://docs.docker.com/reference/dockerfile/

import { applyRules, type Advice, type Rule } from './advice.ts';
import { readDockerfile, type Dockerfile } from './parsing/dockerfile.ts';
import { DOCKERFILE_BASE_RULES } from './rules/base.ts';
import { CACHE_RULES } from './rules/cache.ts';
import { COMPILER_RULES } from './rules/compilers.ts';
import { DOCKERFILE_LAYER_RULES } from './rules/layers.ts';
import { PACKAGE_RULES } from './rules/packages.ts';
import { SECRET_RULES } from './rules/secrets.ts';
import { SOURCE_RULES } from './rules/sources.ts';
import { DOCKERFILE_USER_RULES } from './rules/user.ts';

export const DOCKERFILE_RULES: readonly Rule<Dockerfile>[] = [
  ...SECRET_RULES,
  ...DOCKERFILE_BASE_RULES,
  ...DOCKERFILE_USER_RULES,
  ...COMPILER_RULES,
  ...SOURCE_RULES,
  ...CACHE_RULES,
  ...PACKAGE_RULES,
  ...DOCKERFILE_LAYER_RULES,
];

export interface DockerfileToAdvise {
  readonly dockerfile: string;
  /** Absent: the build context has none. Its text is not judged. */
  readonly dockerignore?: string | undefined;
  /** Where advice is located. */
  readonly fileName: string;
  /** Which bases are past their end of life at this time. */
  readonly nowMs: number;
}

/** In the order of the lines. Any text can be read: what is no Dockerfile gives no advice. Throws nothing. */
export function adviseDockerfile(input: DockerfileToAdvise): readonly Advice[] {
  const { dockerfile, dockerignore, fileName, nowMs } = input;
  const subject = readDockerfile(dockerfile, { hasDockerignore: dockerignore !== undefined, nowMs });
  return applyRules(DOCKERFILE_RULES, subject, fileName).toSorted((a, b) => lineOf(a) - lineOf(b));
}

function lineOf({ location }: Advice): number {
  return location !== undefined && 'line' in location ? location.line : 0;
}
