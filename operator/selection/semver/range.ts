// Version ranges with the meaning that Helm, Flux and Argo CD users know (Masterminds/semver v3), which is not npm's:
// `=1.2` takes every patch, and naming a prerelease lets prereleases into the whole AND group.
// @see https://github.com/Masterminds/semver#checking-version-constraints

import { compareVersions, parseVersion, toVersionNumber, type Version, type VersionNumber } from './version.ts';

export interface Range {
  readonly source: string;
  /** `withPrereleases`: also where the range names none. */
  includes(version: Version, withPrereleases: boolean): boolean;
}

/** Versions written with fewer numbers, or with `x`, stand for all that begin like them. */
type Precision = 'any' | 'major' | 'minor' | 'patch';

interface Bound {
  readonly version: Version;
  readonly precision: Precision;
}

type Check = (version: Version) => boolean;

interface Group {
  readonly checks: readonly Check[];
  readonly namesPrerelease: boolean;
}

const MAX_LENGTH = 256;

// Ours, never the user's: one choice at each character, so it cannot backtrack far.
const TERM =
  /\s*(=>|=<|>=|<=|!=|~>|=|>|<|~|\^)?\s*v?([0-9]+|[xX*])(?:\.([0-9]+|[xX*]))?(?:\.([0-9]+|[xX*]))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?/y;
const HYPHEN = /\s+-\s+(?=[v0-9xX*])/y;
const SEPARATOR = /\s*,\s*|\s+/y;

/** Throws an Error whose message says what is wrong with the range, fit to follow the field's name. */
export function parseRange(source: string): Range {
  if (source.length > MAX_LENGTH) throw new Error(`has ${source.length} characters; at most ${MAX_LENGTH} are allowed`);
  const groups = source.split('||').map((text) => parseGroup(text, source));
  return {
    source,
    includes(version, withPrereleases) {
      for (const { checks, namesPrerelease } of groups) {
        if (version.prerelease !== '' && !withPrereleases && !namesPrerelease) continue;
        if (holdAll(checks, version)) return true;
      }
      return false;
    },
  };
}

/** A loop, because this runs for every tag and `every` would make a closure for each. */
function holdAll(checks: readonly Check[], version: Version): boolean {
  for (const check of checks) if (!check(version)) return false;
  return true;
}

function unreadable(rest: string, source: string): Error {
  const what = rest.trim() === '' ? 'a version is missing' : `cannot read ${JSON.stringify(rest.trim())}`;
  return new Error(
    `${JSON.stringify(source)} is not a version range (${what}): write for example 1.x, ^1.2 or >=1.2.0 <2`,
  );
}

/** Terms joined by commas or spaces: all of them must hold. */
function parseGroup(text: string, source: string): Group {
  const checks: Check[] = [];
  let namesPrerelease = false;
  const add = (operator: string, bound: Bound): void => {
    checks.push((CHECKS[operator] ?? isEqual)(bound));
    namesPrerelease ||= bound.version.prerelease !== '';
  };

  let at = 0;
  for (;;) {
    const term = readTerm(text, at);
    if (!term) throw unreadable(text.slice(at), source);
    HYPHEN.lastIndex = term.end;
    if (term.operator === '' && HYPHEN.test(text)) {
      const last = readTerm(text, HYPHEN.lastIndex);
      if (!last) throw unreadable(text.slice(HYPHEN.lastIndex), source);
      add('>=', term.bound);
      add('<=', last.bound);
      at = last.end;
    } else {
      add(term.operator, term.bound);
      at = term.end;
    }
    const rest = text.slice(at);
    if (rest.trim() === '') return { checks, namesPrerelease };
    SEPARATOR.lastIndex = at;
    if (!SEPARATOR.test(text)) throw unreadable(rest, source);
    at = SEPARATOR.lastIndex;
  }
}

function readTerm(text: string, at: number): { operator: string; bound: Bound; end: number } | undefined {
  TERM.lastIndex = at;
  const found = TERM.exec(text);
  if (!found) return undefined;
  const [, operator = '', major = '', minor, patch, prerelease = ''] = found;
  const precision = isWildcard(major) ? 'any' : isWildcard(minor) ? 'major' : isWildcard(patch) ? 'minor' : 'patch';
  const version: Version = {
    major: precision === 'any' ? 0 : toVersionNumber(major),
    minor: precision === 'any' || precision === 'major' ? 0 : toVersionNumber(minor ?? ''),
    patch: precision === 'patch' ? toVersionNumber(patch ?? '') : 0,
    prerelease,
  };
  const isValid = prerelease === '' || parseVersion(`0.0.0-${prerelease}`) !== undefined;
  return isValid ? { operator, bound: { version, precision }, end: TERM.lastIndex } : undefined;
}

function isWildcard(part: string | undefined): boolean {
  return part === undefined || part === 'x' || part === 'X' || part === '*';
}

function compareNumbers(a: VersionNumber, b: VersionNumber): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The difference in the numbers that the bound writes out; wildcards never differ. */
function compareToPrecision(version: Version, { version: bound, precision }: Bound): number {
  const major = compareNumbers(version.major, bound.major);
  if (major !== 0 || precision === 'major') return major;
  const minor = compareNumbers(version.minor, bound.minor);
  if (minor !== 0 || precision === 'minor') return minor;
  return compareVersions(version, bound);
}

function isZero({ version: { major, minor, patch } }: Bound): boolean {
  return major === 0 && minor === 0 && patch === 0;
}

/** `~1.2.3` and bare `1.2`: not below the bound, and the same minor version (same major where no minor is written). */
function isWithin(bound: Bound): Check {
  const { version: least, precision } = bound;
  if (precision === 'any' || (precision === 'patch' && isZero(bound)))
    return (version) => compareVersions(version, least) >= 0;
  return (version) =>
    version.major === least.major &&
    (precision === 'major' || version.minor === least.minor) &&
    compareVersions(version, least) >= 0;
}

/** `^`: not below the bound, and the same leftmost number that is not zero. */
function isCompatible(bound: Bound): Check {
  const { version: least, precision } = bound;
  const isAtLeast: Check = (version) => compareVersions(version, least) >= 0;
  if (precision === 'any') return isAtLeast;
  if (least.major !== 0 || precision === 'major')
    return (version) => version.major === least.major && isAtLeast(version);
  if (least.minor !== 0 || precision === 'minor') {
    return (version) => version.major === 0 && version.minor === least.minor && isAtLeast(version);
  }
  return (version) => version.major === 0 && version.minor === 0 && version.patch === least.patch && isAtLeast(version);
}

function isDifferent(bound: Bound): Check {
  const { version: other, precision } = bound;
  if (precision === 'major') return (version) => version.major !== other.major;
  if (precision === 'minor') {
    return (version) =>
      version.major !== other.major || version.minor !== other.minor || version.prerelease !== other.prerelease;
  }
  return (version) => compareVersions(version, other) !== 0;
}

function isEqual(bound: Bound): Check {
  return bound.precision === 'patch' ? (version) => compareVersions(version, bound.version) === 0 : isWithin(bound);
}

/** `<=1.2` takes every 1.2.x. `<=*` has no upper bound to speak of; as in the original it takes 0.0.x. */
function isAtMost(bound: Bound): Check {
  const effective: Bound = bound.precision === 'any' ? { ...bound, precision: 'minor' } : bound;
  return (version) => compareToPrecision(version, effective) <= 0;
}

const isAbove = (bound: Bound): Check => {
  return (version) => compareToPrecision(version, bound) > 0;
};
const isAtLeast = (bound: Bound): Check => {
  return (version) => compareVersions(version, bound.version) >= 0;
};
const isBelow = (bound: Bound): Check => {
  return (version) => compareVersions(version, bound.version) < 0;
};

const CHECKS: Readonly<Record<string, (bound: Bound) => Check>> = {
  '': isEqual,
  '=': isEqual,
  '!=': isDifferent,
  '>': isAbove,
  '>=': isAtLeast,
  '=>': isAtLeast,
  '<': isBelow,
  '<=': isAtMost,
  '=<': isAtMost,
  '~': isWithin,
  '~>': isWithin,
  '^': isCompatible,
};
