// By the creation time that the image states. Build tools that make images reproducible write a constant there, so a time
// that two different images share, or one at the epoch, says nothing and its tags are passed over.

import { refusal } from '../rejection.ts';
import type { Creation, ReadingContext, TagOrder } from './order.ts';

export function newestOrder(): TagOrder<Creation> {
  return {
    startReading(context) {
      const shared = sharedTimes(context);
      return {
        read(_value, tag) {
          const creation = context.created.get(tag);
          if (!creation) return refusal('CreationTimeUnknown');
          return isStated(creation) && !shared.has(creation.timeMs) ? creation : refusal('CreationTimeUnusable');
        },
        readCurrent(_value, tag) {
          const creation = context.created.get(tag);
          return creation && isStated(creation) ? creation : undefined;
        },
      };
    },
    compare: (a, b) => a.timeMs - b.timeMs,
    provesSpelling: false,
    wanted: 'an image that states its own creation time',
  };
}

/** The epoch, or what lies before it (a zero time in Go is in the year 1), is a time left out. */
function isStated({ timeMs }: Creation): boolean {
  return Number.isFinite(timeMs) && timeMs > 0;
}

/** Times that two different images claim. Two tags of one digest are aliases and share their time rightly. */
function sharedTimes({ created, isMatched }: ReadingContext): ReadonlySet<number> {
  const digestOf = new Map<number, string>();
  const shared = new Set<number>();
  for (const [tag, { timeMs, digest }] of created) {
    if (!isMatched(tag)) continue;
    const other = digestOf.get(timeMs);
    if (other === undefined) digestOf.set(timeMs, digest);
    else if (other !== digest) shared.add(timeMs);
  }
  return shared;
}
