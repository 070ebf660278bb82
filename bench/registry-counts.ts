// What the counting registry tells about what it was asked, and the arithmetic on it.

export type RequestKind = 'list' | 'head' | 'manifest' | 'blob' | 'token' | 'challenge' | 'ping';

export interface KindCount {
  readonly requests: number;
  /** Bytes of bodies as sent, compressed where they were. */
  readonly bytes: number;
}

/** One pushed tag. Times are milliseconds of the wall clock with a fraction. */
export interface Sighting {
  readonly repository: string;
  readonly tag: string;
  readonly pushedMs: number;
  /** When the first list with the tag had been sent. Absent: none yet. */
  listedMs?: number;
}

export interface RegistryCounts {
  readonly byKind: Partial<Record<RequestKind, KindCount>>;
  readonly sightings: readonly Sighting[];
}

const NONE: KindCount = { requests: 0, bytes: 0 };

export function countOf(counts: RegistryCounts, kind: RequestKind): KindCount {
  return counts.byKind[kind] ?? NONE;
}

/** What was asked between two readings, by kind; kinds that were not asked for are left out. */
export function countsBetween(before: RegistryCounts, after: RegistryCounts): RegistryCounts {
  const byKind: Partial<Record<RequestKind, KindCount>> = {};
  for (const kind of Object.keys(after.byKind) as RequestKind[]) {
    const requests = countOf(after, kind).requests - countOf(before, kind).requests;
    if (requests > 0) byKind[kind] = { requests, bytes: countOf(after, kind).bytes - countOf(before, kind).bytes };
  }
  return { byKind, sightings: after.sightings.slice(before.sightings.length) };
}

export function totalOf({ byKind }: RegistryCounts): KindCount {
  return Object.values(byKind).reduce(
    (sum, { requests, bytes }) => ({ requests: sum.requests + requests, bytes: sum.bytes + bytes }),
    NONE,
  );
}
