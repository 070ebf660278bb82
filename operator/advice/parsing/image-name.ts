// The text of an image in a place where it need not be one.

import { SlipwayError } from '../../errors.ts';
import { parseImage, type ImageReference } from '../../image/reference.ts';

/** Absent: no image. A rule has nothing to say about what it cannot read. */
export function parseImageOrNothing(text: string): ImageReference | undefined {
  try {
    return parseImage(text);
  } catch (thrown) {
    if (thrown instanceof SlipwayError) return undefined;
    throw thrown;
  }
}
