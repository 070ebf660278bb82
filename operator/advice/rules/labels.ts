// What an image says about itself.
// @see https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys

import type { Finding, Rule } from '../advice.ts';
import { annotationOf, type ImageToAdvise } from '../image-to-advise.ts';

const PREFIX = 'org.opencontainers.image.';
const EXPECTED = ['title', 'version', 'source', 'revision', 'created'] as const;

export const LABEL_RULES: readonly Rule<ImageToAdvise>[] = [
  { id: 'labels-missing', title: 'Labels are missing', severity: 'Info', find: findMissingLabels },
];

function findMissingLabels(image: ImageToAdvise): readonly Finding[] {
  const missing = EXPECTED.filter((name) => {
    // The configuration has its own field for this one.
    if (name === 'created' && image.config.createdMs !== undefined) return false;
    return annotationOf(image, `${PREFIX}${name}`) === undefined;
  });
  if (missing.length === 0) return [];
  const names = missing.map((name) => `${PREFIX}${name}`).join(', ');
  return [
    { message: `The image does not say where it comes from: set ${names} as labels or annotations when it is built.` },
  ];
}
