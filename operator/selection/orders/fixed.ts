// One tag whose digest is followed, also when it is moved back: nothing is newer or older here.

import { refusal } from '../rejection.ts';
import type { TagOrder } from './order.ts';

export function fixedOrder(fixedTag: string): TagOrder<null> {
  const reader = {
    read: (_value: string, tag: string) => (tag === fixedTag ? null : refusal('NotFixedTag')),
    readCurrent: (_value: string, tag: string) => (tag === fixedTag ? null : undefined),
  };
  return { startReading: () => reader, compare: () => 0, provesSpelling: true, wanted: `the tag ${fixedTag}` };
}
