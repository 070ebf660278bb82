// Advice about an image as a registry has it. Nothing here needs a layer to be pulled. There is none about a missing
// HEALTHCHECK: Kubernetes does not run it.

import { applyRules, type Advice, type Rule } from './advice.ts';
import type { ImageToAdvise } from './image-to-advise.ts';
import { IMAGE_BASE_RULES } from './rules/base.ts';
import { LABEL_RULES } from './rules/labels.ts';
import { IMAGE_LAYER_RULES } from './rules/layers.ts';
import { REFERENCE_RULES } from './rules/reference.ts';
import { REFERRER_RULES } from './rules/referrers.ts';
import { IMAGE_USER_RULES } from './rules/user.ts';

export const IMAGE_RULES: readonly Rule<ImageToAdvise>[] = [
  ...REFERENCE_RULES,
  ...IMAGE_BASE_RULES,
  ...IMAGE_USER_RULES,
  ...IMAGE_LAYER_RULES,
  ...REFERRER_RULES,
  ...LABEL_RULES,
];

/** In the order of the rules. Throws nothing. */
export function adviseImage(image: ImageToAdvise): readonly Advice[] {
  return applyRules(IMAGE_RULES, image);
}
