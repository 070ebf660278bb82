// How a workload names its image.

import type { Finding, Rule } from '../advice.ts';
import type { ImageToAdvise } from '../image-to-advise.ts';
import { parseImageOrNothing } from '../parsing/image-name.ts';

/** Tags that by convention are moved to whatever was built last. */
const MOVING_TAGS: ReadonlySet<string> = new Set([
  ...['latest', 'stable', 'edge', 'nightly', 'canary', 'rolling', 'current', 'lts', 'mainline', 'snapshot', 'unstable'],
  ...['main', 'master', 'trunk', 'head', 'dev', 'develop', 'development', 'staging', 'prod', 'production'],
]);

export const REFERENCE_RULES: readonly Rule<ImageToAdvise>[] = [
  { id: 'image-moving-tag', title: 'Image by a tag that moves', severity: 'Medium', find: findMovingTag },
  { id: 'image-unpinned', title: 'Image without digest', severity: 'Low', find: findMissingDigest },
];

function findMovingTag({ reference }: ImageToAdvise): readonly Finding[] {
  const tag = movingTagOf(reference);
  if (tag === undefined) return [];
  return [
    {
      message:
        `${reference} follows the tag ${tag}, which is moved to every new build, so two pods may run different code: ` +
        'name a version and pin its digest.',
    },
  ];
}

function findMissingDigest({ reference }: ImageToAdvise): readonly Finding[] {
  const image = parseImageOrNothing(reference);
  if (image === undefined || image.digest !== undefined || movingTagOf(reference) !== undefined) return [];
  return [
    {
      message: `${reference} can be pushed over: pin it as ${reference}@sha256:… so that every pod runs the same bytes.`,
    },
  ];
}

/** Absent: the reference is pinned, names another tag, or is no image. */
function movingTagOf(reference: string): string | undefined {
  const image = parseImageOrNothing(reference);
  if (image === undefined || image.digest !== undefined) return undefined;
  const tag = image.tag ?? 'latest';
  return MOVING_TAGS.has(tag.toLowerCase()) ? tag : undefined;
}
