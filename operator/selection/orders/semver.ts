// By semantic version, the highest first, inside a range.

import { refusal } from '../rejection.ts';
import type { Range } from '../semver/range.ts';
import { compareVersions, parseVersion, type Version } from '../semver/version.ts';
import type { TagOrder } from './order.ts';

export interface SemverRules {
  readonly range: Range;
  readonly prerelease: boolean;
  /** Suffix without its hyphen that every candidate carries. Absent: a suffix is a prerelease. */
  readonly variant?: string | undefined;
}

export function semverOrder({ range, prerelease, variant }: SemverRules): TagOrder<Version> {
  const suffix = variant === undefined ? '' : `-${variant}`;
  const reader = {
    read(value: string) {
      if (suffix !== '' && !value.endsWith(suffix)) return refusal(parseVersion(value) ? 'OtherVariant' : 'NotSemver');
      // Fewer than three numbers is the habit of moving tags (`1`, `1.25`), and a bare date would be a huge major version.
      const version = parseVersion(suffix === '' ? value : value.slice(0, -suffix.length));
      if (!version) return refusal('NotSemver');
      if (range.includes(version, prerelease)) return version;
      const isHeldBack = version.prerelease !== '' && !prerelease && range.includes(version, true);
      return refusal(isHeldBack ? 'Prerelease' : 'OutOfRange');
    },
    readCurrent(value: string) {
      return parseVersion(value.endsWith(suffix) && suffix !== '' ? value.slice(0, -suffix.length) : value, 1);
    },
  };
  return {
    startReading: () => reader,
    compare: compareVersions,
    provesSpelling: true,
    wanted: `a version of three numbers${variant === undefined ? '' : ` with the suffix ${suffix}`} in the range ${range.source}`,
  };
}
