// What an image is built on: pinned, young enough, and still maintained.

import type { ImageReference } from '../../image/reference.ts';
import type { Finding, Rule } from '../advice.ts';
import { findEndOfLife } from '../end-of-life.ts';
import { annotationOf, type ImageToAdvise } from '../image-to-advise.ts';
import type { Dockerfile } from '../parsing/dockerfile.ts';
import { parseImageOrNothing } from '../parsing/image-name.ts';

const DAY_MS = 86_400_000;
const DEFAULT_MAX_BASE_AGE_DAYS = 90;

const END_OF_LIFE = { id: 'base-image-end-of-life', title: 'Base image past its end of life' } as const;
const UNPINNED = { id: 'base-image-unpinned', title: 'Base image without digest' } as const;

export const DOCKERFILE_BASE_RULES: readonly Rule<Dockerfile>[] = [
  { ...END_OF_LIFE, severity: 'High', find: findEndedBases },
  { id: 'base-image-latest', title: 'Base image without version', severity: 'Medium', find: findLatestBases },
  { ...UNPINNED, severity: 'Low', find: findUnpinnedBases },
];

export const IMAGE_BASE_RULES: readonly Rule<ImageToAdvise>[] = [
  { ...END_OF_LIFE, severity: 'High', find: findEndedBase },
  { id: 'base-image-old', title: 'Base image is old', severity: 'Medium', find: findOldBase },
  { ...UNPINNED, severity: 'Low', find: findUnrecordedBase },
];

/** `latest`, written or left out, and no digest. */
export function isLatest({ tag, digest }: ImageReference): boolean {
  return digest === undefined && (tag === undefined || tag === 'latest');
}

/** Every FROM that names an image, also in stages that only `--target` reaches. */
function basesOf({ stages }: Dockerfile) {
  return stages.flatMap(({ base, line }) => (base.kind === 'image' ? [{ ...base, line }] : []));
}

function findEndedBases(dockerfile: Dockerfile): readonly Finding[] {
  return basesOf(dockerfile).flatMap(({ text, image, line }) => {
    const ended = findEndOfLife(image, dockerfile.nowMs);
    if (ended === undefined) return [];
    return [
      {
        line,
        message: `${text} has ${ended.release}, which gets no fixes since ${ended.date}: build on a release that does.`,
      },
    ];
  });
}

function findLatestBases(dockerfile: Dockerfile): readonly Finding[] {
  return basesOf(dockerfile)
    .filter(({ image }) => isLatest(image))
    .map(({ text, image, line }) => ({
      line,
      message:
        `${text}${image.tag === undefined ? ' without a tag means latest and' : ''} can be another version with each ` +
        'build: name a version and its digest.',
    }));
}

function findUnpinnedBases(dockerfile: Dockerfile): readonly Finding[] {
  return basesOf(dockerfile)
    .filter(({ image }) => image.digest === undefined && !isLatest(image))
    .map(({ text, line }) => ({
      line,
      message: `${text} can be pushed over: write ${text}@sha256:… so that a build is repeatable and a new base is a change that one can see.`,
    }));
}

/** The base that the image says it has. Absent: it does not say, or no image. */
function baseOf(image: ImageToAdvise): { readonly text: string; readonly image: ImageReference } | undefined {
  const text = annotationOf(image, 'org.opencontainers.image.base.name');
  const parsed = text === undefined ? undefined : parseImageOrNothing(text);
  return text === undefined || parsed === undefined ? undefined : { text, image: parsed };
}

function findEndedBase(image: ImageToAdvise): readonly Finding[] {
  const base = baseOf(image);
  const ended = base && findEndOfLife(base.image, image.nowMs);
  if (image.endOfLife === false || (image.endOfLife === undefined && ended === undefined)) return [];
  const what = base === undefined ? 'The system in the image' : `The base image ${base.text}`;
  const since = ended === undefined ? '' : ` (${ended.release}, ended ${ended.date})`;
  return [{ message: `${what} gets no more fixes${since}: rebuild on a release that is maintained.` }];
}

function findOldBase(image: ImageToAdvise): readonly Finding[] {
  const { nowMs, baseCreatedMs, maxBaseAgeDays = DEFAULT_MAX_BASE_AGE_DAYS } = image;
  // Reproducible builds are dated to the epoch or before.
  if (baseCreatedMs === undefined || baseCreatedMs <= 0) return [];
  const ageDays = Math.floor((nowMs - baseCreatedMs) / DAY_MS);
  if (ageDays <= maxBaseAgeDays) return [];
  const name = baseOf(image)?.text;
  return [
    {
      message:
        `The base image${name === undefined ? '' : ` ${name}`} is ${ageDays} days old, more than ${maxBaseAgeDays}: ` +
        'rebuild on a newer one to take up its fixes.',
    },
  ];
}

function findUnrecordedBase(image: ImageToAdvise): readonly Finding[] {
  const base = baseOf(image);
  if (base === undefined || base.image.digest !== undefined) return [];
  if (annotationOf(image, 'org.opencontainers.image.base.digest') !== undefined) return [];
  return [
    {
      message:
        `The image says that it is built on ${base.text}, but not on which digest: ` +
        'pin the base, and set org.opencontainers.image.base.digest, so that a newer one can be told from it.',
    },
  ];
}
