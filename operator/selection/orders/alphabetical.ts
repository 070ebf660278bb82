// By bytes, as for dates written with the year first. Tags are ASCII, so comparing code units is comparing bytes.

import type { Direction, TagOrder } from './order.ts';

export function alphabeticalOrder(direction: Direction): TagOrder<string> {
  const reader = { read: (value: string) => value, readCurrent: (value: string) => value };
  const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
  return {
    startReading: () => reader,
    compare: direction === 'Ascending' ? compare : (a, b) => compare(b, a),
    provesSpelling: false,
    wanted: 'any tag',
  };
}
