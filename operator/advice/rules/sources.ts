// What is copied into an image, and from where.

import type { Finding, Rule } from '../advice.ts';
import type { Dockerfile } from '../parsing/dockerfile.ts';
import { parseImageOrNothing } from '../parsing/image-name.ts';
import { flagValues, hasFlag, mountsOf, type Instruction } from '../parsing/instruction.ts';
import { isLatest } from './base.ts';

export const SOURCE_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'remote-file-unverified', title: 'Remote file without checksum', severity: 'Medium', find: findRemoteFiles },
  { id: 'copy-from-latest', title: 'Files from an image without version', severity: 'Medium', find: findLatestSources },
  { id: 'dockerignore-missing', title: 'No .dockerignore', severity: 'Low', find: findMissingDockerignore },
];

/** `COPY .` from the build context, with nothing left out. */
export function copiesContext(instruction: Instruction): boolean {
  const { keyword, words } = instruction;
  if (keyword !== 'COPY' && keyword !== 'ADD') return false;
  if (hasFlag(instruction, 'from') || hasFlag(instruction, 'exclude')) return false;
  return words.slice(0, -1).some(({ value }) => value === '.' || value === './');
}

function findMissingDockerignore({ hasDockerignore, stages, shipped }: Dockerfile): readonly Finding[] {
  if (hasDockerignore) return [];
  return stages.flatMap((stage) =>
    stage.instructions.filter(copiesContext).map(({ keyword, line }) => ({
      line,
      severity: shipped.includes(stage) ? ('Medium' as const) : ('Low' as const),
      message: `${keyword} . takes the whole build context, with .git and whatever secrets lie in it: add a .dockerignore, or copy by name.`,
    })),
  );
}

function findRemoteFiles({ stages }: Dockerfile): readonly Finding[] {
  return stages
    .flatMap(({ instructions }) => instructions)
    .filter((instruction) => instruction.keyword === 'ADD' && !hasFlag(instruction, 'checksum'))
    .flatMap(({ line, words }) => {
      const host = words
        .slice(0, -1)
        .map(({ raw, value }) => remoteHost(value ?? raw))
        .find((name) => name !== undefined);
      if (host === undefined) return [];
      // The host only: the rest of a URL may carry a secret.
      return [
        {
          line,
          message: `ADD takes whatever ${host} answers at the time of the build: write ADD --checksum=sha256:… before the URL.`,
        },
      ];
    });
}

/** Absent: no file behind http. Git repositories are fetched by commit. */
function remoteHost(word: string): string | undefined {
  if (!/^https?:\/\//i.test(word) || /\.git(?:[#?]|$)/.test(word)) return undefined;
  return URL.parse(word)?.hostname;
}

function findLatestSources({ stages }: Dockerfile): readonly Finding[] {
  const names = new Set(stages.map(({ name }) => name));
  return stages
    .flatMap(({ instructions }) => instructions)
    .flatMap((instruction) =>
      sourcesOf(instruction)
        .filter(({ text }) => !names.has(text.toLowerCase()) && isLatestSource(text))
        .map(({ how, text }) => ({
          line: instruction.line,
          message: `${how} takes files from ${text}, which is another version with each build: name a version and its digest.`,
        })),
    );
}

function sourcesOf(instruction: Instruction) {
  if (instruction.keyword === 'COPY') {
    return flagValues(instruction, 'from').map((text) => ({ how: 'COPY --from', text }));
  }
  return mountsOf(instruction).flatMap((mount) => {
    const text = mount.get('from');
    return text === undefined ? [] : [{ how: 'RUN --mount', text }];
  });
}

/** A bare word without tag may be the index of a stage, or a named context of the build. */
function isLatestSource(text: string): boolean {
  const image = parseImageOrNothing(text);
  return image !== undefined && isLatest(image) && (image.tag !== undefined || text.includes('/'));
}
