// How many layers there are and how much has to be pulled. Sizes are as in the manifest: compressed.

import type { Finding, Rule } from '../advice.ts';
import type { ImageToAdvise } from '../image-to-advise.ts';
import type { Dockerfile } from '../parsing/dockerfile.ts';

const MAX_LAYERS = 25;
const MAX_RUNS = 10;
const MEGABYTE = 1_000_000;
const MAX_IMAGE_BYTES = 500 * MEGABYTE;
const MAX_LAYER_BYTES = 250 * MEGABYTE;
/** An empty tar has 1 KiB, less when compressed: builders write it for instructions that change nothing. */
const EMPTY_LAYER_BYTES = 1_024;

export const DOCKERFILE_LAYER_RULES: readonly Rule<Dockerfile>[] = [
  { id: 'too-many-run-layers', title: 'Many RUN layers', severity: 'Info', find: findManyRuns },
];

export const IMAGE_LAYER_RULES: readonly Rule<ImageToAdvise>[] = [
  { id: 'too-many-layers', title: 'Many layers', severity: 'Info', find: findManyLayers },
  { id: 'image-too-large', title: 'Large image', severity: 'Low', find: findLargeImage },
  { id: 'layer-too-large', title: 'Large layer', severity: 'Low', find: findLargeLayers },
  { id: 'layer-duplicated', title: 'Layer twice in the image', severity: 'Info', find: findDuplicateLayers },
];

function findManyRuns({ shipped }: Dockerfile): readonly Finding[] {
  const final = shipped.at(-1);
  const runs = final?.instructions.filter(({ keyword }) => keyword === 'RUN') ?? [];
  if (final === undefined || runs.length <= MAX_RUNS) return [];
  return [
    {
      line: final.line,
      message: `The final stage has ${runs.length} RUN instructions, a layer each: join those that belong together, or do the work in an earlier stage and copy its result.`,
    },
  ];
}

function findManyLayers({ manifest: { layers } }: ImageToAdvise): readonly Finding[] {
  if (layers.length <= MAX_LAYERS) return [];
  return [
    {
      message: `The image has ${layers.length} layers, more than ${MAX_LAYERS}: join RUN instructions, or copy the result of an earlier stage.`,
    },
  ];
}

function findLargeImage(image: ImageToAdvise): readonly Finding[] {
  const bytes = distinctLayers(image).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (bytes <= MAX_IMAGE_BYTES) return [];
  return [
    {
      message: `The image has ${megabytes(bytes)} of compressed layers, more than ${megabytes(MAX_IMAGE_BYTES)}: use a smaller base, and leave what only the build needs in an earlier stage.`,
    },
  ];
}

function findLargeLayers(image: ImageToAdvise): readonly Finding[] {
  return distinctLayers(image)
    .filter(({ sizeBytes }) => sizeBytes > MAX_LAYER_BYTES)
    .map(({ layer, sizeBytes }) => ({
      layer,
      message: `Layer ${layer} has ${megabytes(sizeBytes)} compressed, more than ${megabytes(MAX_LAYER_BYTES)}: split off what seldom changes, so that an update does not pull it again.`,
    }));
}

/** A layer that is there twice is pulled once. */
function distinctLayers({ manifest: { layers } }: ImageToAdvise) {
  return layers
    .map(({ digest, sizeBytes = 0 }, layer) => ({ digest, sizeBytes, layer }))
    .filter(({ digest }, layer) => layers.findIndex((other) => other.digest === digest) === layer);
}

function findDuplicateLayers({ manifest: { layers } }: ImageToAdvise): readonly Finding[] {
  const first = new Map<string, number>();
  const findings: Finding[] = [];
  for (const [layer, { digest, sizeBytes = 0 }] of layers.entries()) {
    const before = first.get(digest);
    if (before === undefined) first.set(digest, layer);
    else if (sizeBytes > EMPTY_LAYER_BYTES) {
      findings.push({
        layer,
        message: `Layer ${layer} is the same as layer ${before}: drop the instruction that adds the same files again.`,
      });
    }
  }
  return findings;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / MEGABYTE)} MB`;
}
