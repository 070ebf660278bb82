// Semantic versions, read loosely as registries hold them: a leading `v`, leading zeros (`2026.01.31`). Numbers have any
// length and are exact. The parser walks the characters once, because a repository may have a hundred thousand tags.
// @see https://semver.org/spec/v2.0.0.html

/** Small numbers are numbers and large ones bigints; `<` and `>` compare the two exactly, and equal ones are `===`. */
export type VersionNumber = number | bigint;

export interface Version {
  readonly major: VersionNumber;
  readonly minor: VersionNumber;
  readonly patch: VersionNumber;
  /** Dot-separated identifiers without the hyphen; empty for a release. */
  readonly prerelease: string;
}

/** How many of the three numbers are written out. */
export type Precision = 1 | 2 | 3;

/** A decimal of this many digits is an exact JavaScript number. */
const EXACT_DIGITS = 15;
/** A decimal of this many digits is a machine integer. */
const SMALL_DIGITS = 9;

const ZERO = 48;
const NINE = 57;
const DOT = 46;
const HYPHEN = 45;
const PLUS = 43;
const LOWER_V = 118;

/**
 * The version in a text with all three numbers, or undefined. With `least`, fewer numbers do as well and the missing ones
 * are zero.
 */
export function parseVersion(text: string, least: Precision = 3): Version | undefined {
  return parsePlainRelease(text) ?? parseAnyVersion(text, least);
}

/** What nearly every tag is, `1.2.3` or `v1.2.3` with numbers of at most nine digits, at half the cost. */
function parsePlainRelease(text: string): Version | undefined {
  const { length } = text;
  let at = text.charCodeAt(0) === LOWER_V ? 1 : 0;
  let start = at;
  let digit = 0;
  let major = 0;
  while (at < length && (digit = text.charCodeAt(at) - ZERO) >= 0 && digit <= 9) {
    major = major * 10 + digit;
    at += 1;
  }
  if (at === start || at - start > SMALL_DIGITS || at >= length || digit !== DOT - ZERO) return undefined;
  at += 1;
  start = at;
  let minor = 0;
  while (at < length && (digit = text.charCodeAt(at) - ZERO) >= 0 && digit <= 9) {
    minor = minor * 10 + digit;
    at += 1;
  }
  if (at === start || at - start > SMALL_DIGITS || at >= length || digit !== DOT - ZERO) return undefined;
  at += 1;
  start = at;
  let patch = 0;
  while (at < length && (digit = text.charCodeAt(at) - ZERO) >= 0 && digit <= 9) {
    patch = patch * 10 + digit;
    at += 1;
  }
  if (at === start || at - start > SMALL_DIGITS || at !== length) return undefined;
  return { major, minor, patch, prerelease: '' };
}

function parseAnyVersion(text: string, least: Precision): Version | undefined {
  let at = text.charCodeAt(0) === LOWER_V ? 1 : 0;
  let major: VersionNumber = 0;
  let minor: VersionNumber = 0;
  let patch: VersionNumber = 0;
  for (let part = 1; part <= 3; part += 1) {
    const start = at;
    let value = 0;
    let code = text.charCodeAt(at);
    while (code >= ZERO && code <= NINE) {
      value = value * 10 + (code - ZERO);
      at += 1;
      code = text.charCodeAt(at);
    }
    if (at === start) return undefined;
    const number = at - start > EXACT_DIGITS ? toVersionNumber(text.slice(start, at)) : value;
    if (part === 1) major = number;
    else if (part === 2) minor = number;
    else patch = number;
    if (code !== DOT || part === 3) {
      if (part < least) return undefined;
      break;
    }
    at += 1;
  }
  if (at === text.length) return { major, minor, patch, prerelease: '' };
  let prerelease = '';
  if (text.charCodeAt(at) === HYPHEN) {
    const end = identifiersEnd(text, at + 1, true);
    if (end === -1) return undefined;
    prerelease = text.slice(at + 1, end);
    at = end;
  }
  if (text.charCodeAt(at) === PLUS) {
    at = identifiersEnd(text, at + 1, false);
    if (at === -1) return undefined;
  }
  return at === text.length ? { major, minor, patch, prerelease } : undefined;
}

export function toVersionNumber(digits: string): VersionNumber {
  const significant = digits.replace(/^0+(?=[0-9])/, '');
  return significant.length > EXACT_DIGITS ? BigInt(significant) : Number(significant);
}

/**
 * Where the dot-separated identifiers that begin at `start` end: at a `+` or at the end of the text. -1 where one is
 * empty, has a foreign character, or (in a prerelease) is a number with a leading zero.
 */
function identifiersEnd(text: string, start: number, isPrerelease: boolean): number {
  let begin = start;
  let isNumber = true;
  for (let at = start; ; at += 1) {
    const code = text.charCodeAt(at);
    const isEnd = at === text.length || code === DOT || (isPrerelease && code === PLUS);
    if (isEnd) {
      if (at === begin) return -1;
      if (isPrerelease && isNumber && at - begin > 1 && text.charCodeAt(begin) === ZERO) return -1;
      if (code !== DOT) return at;
      begin = at + 1;
      isNumber = true;
      continue;
    }
    if (code >= ZERO && code <= NINE) continue;
    isNumber = false;
    const isLetter = (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
    if (!isLetter && code !== HYPHEN) return -1;
  }
}

/** Precedence: negative, zero or positive. A release is above its prereleases; build metadata plays no part. */
export function compareVersions(a: Version, b: Version): number {
  if (a.major !== b.major) return a.major < b.major ? -1 : 1;
  if (a.minor !== b.minor) return a.minor < b.minor ? -1 : 1;
  if (a.patch !== b.patch) return a.patch < b.patch ? -1 : 1;
  if (a.prerelease === b.prerelease) return 0;
  if (a.prerelease === '') return 1;
  if (b.prerelease === '') return -1;
  return comparePrereleases(a.prerelease, b.prerelease);
}

function comparePrereleases(a: string, b: string): number {
  const left = a.split('.');
  const right = b.split('.');
  for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
    const order = compareIdentifiers(left[index] ?? '', right[index] ?? '');
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** Numbers by value and below everything else; the rest by bytes. */
function compareIdentifiers(a: string, b: string): number {
  if (a === b) return 0;
  const isNumberA = /^[0-9]+$/.test(a);
  const isNumberB = /^[0-9]+$/.test(b);
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  // Neither has leading zeros, so the longer number is the greater.
  if (isNumberA && a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}
