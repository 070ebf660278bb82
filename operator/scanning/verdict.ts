// From facts to a verdict: Pass, Fail or Unknown, a pure function of the facts, the rules, the exceptions and the time.
// Unknown is what cannot be relied on: it promotes nothing and takes nothing back.

import type { Finding, ScanFacts, Severity } from '../api/scan-facts.ts';
import { parseTimestampMs, toTimestamp } from '../time/duration.ts';
import { findException, type Exception } from './exceptions.ts';
import { countAtLeast, epochOf, findingKey, isAtLeast, isFixable } from './facts.ts';

export interface VerdictRules {
  readonly failOn: {
    /** This severity and above. */
    readonly severity: Exclude<Severity, 'Unknown' | 'Negligible'>;
    /** Only findings for which a fix exists. */
    readonly fixableOnly: boolean;
    /** What follows where the scanner knows the system only in part, as at its end of life, and found nothing else. */
    readonly incomplete: 'Unknown' | 'Pass';
  };
  /** NoWorse: only what the running image does not have. */
  readonly compare: 'Absolute' | 'NoWorse';
  /** Older facts make the verdict Unknown. */
  readonly maxAgeMs: number;
  /** Facts of a scanner that does not say which data it used are good enough. */
  readonly allowUnknownEpoch: boolean;
}

export interface VerdictInput {
  /** Absent: there was no scan yet that could be relied on. */
  readonly facts?: ScanFacts;
  /** What the same scanner says of the running image; for NoWorse. Absent: it was not scanned, or nothing runs. */
  readonly baseline?: ScanFacts;
  readonly rules: VerdictRules;
  /** Those that apply to this image. */
  readonly exceptions: readonly Exception[];
  readonly nowMs: number;
}

/**
 * NotScanned: no facts. TooOld: beyond maxAge. NotAssessed: the scanner recognised nothing. Incomplete: it knows the system
 * in part only. NoEpoch: it does not say which data it used. NoBaseline, AnotherEpoch: the running image was not scanned, or
 * not with the same data. TooManyFindings: not all of them could be kept, so that they cannot be compared.
 */
export type UnknownReason =
  | 'NotScanned'
  | 'TooOld'
  | 'NotAssessed'
  | 'Incomplete'
  | 'NoEpoch'
  | 'NoBaseline'
  | 'AnotherEpoch'
  | 'TooManyFindings';

export type Verdict =
  | {
      readonly kind: 'Pass';
      readonly message: string;
      /** When it ends by the passage of time alone: the facts are too old, or an exception expires. */
      readonly untilMs: number;
    }
  | {
      readonly kind: 'Fail';
      readonly message: string;
      /** The worst first; those that had no room are only in the message. */
      readonly blocking: readonly Finding[];
      readonly untilMs: number;
    }
  | { readonly kind: 'Unknown'; readonly reason: UnknownReason; readonly message: string };

export function judgeFacts({ facts, baseline, rules, exceptions, nowMs }: VerdictInput): Verdict {
  if (facts === undefined) return unknown('NotScanned', 'it was not scanned yet');
  const { severity, fixableOnly, incomplete } = rules.failOn;
  const finishedMs = parseTimestampMs(facts.finishedTime) ?? 0;
  const oldMs = finishedMs + rules.maxAgeMs;
  if (nowMs >= oldMs) return unknown('TooOld', `the last scan is of ${facts.finishedTime}, which is too old`);
  if (facts.assessed === 'None') return unknown('NotAssessed', `${facts.scanner.name} recognised nothing in it`);
  if (facts.database === undefined && !rules.allowUnknownEpoch)
    return unknown('NoEpoch', `${facts.scanner.name} does not say which vulnerability data it used`);

  let untilMs = oldMs;
  const blocking = facts.findings.filter((finding) => {
    const counts =
      finding.suppressed === undefined && isAtLeast(finding.severity, severity) && (!fixableOnly || isFixable(finding));
    if (!counts) return false;
    const exception = findException(finding, exceptions, nowMs);
    if (exception === undefined) return true;
    untilMs = Math.min(untilMs, exception.expiresMs ?? Infinity);
    return false;
  });
  const omitted = facts.omitted === undefined ? 0 : countAtLeast(facts.omitted, severity, fixableOnly);
  if (rules.compare === 'NoWorse' && blocking.length + omitted > 0) {
    const gained = compare({ facts, baseline, blocking, omitted });
    if ('kind' in gained) return gained;
    if (gained.length > 0) return failed(gained, 0, rules, untilMs, 'that the running image does not have');
  } else if (blocking.length + omitted > 0) {
    return failed(blocking, omitted, rules, untilMs);
  }

  if (facts.assessed === 'Partial' && incomplete === 'Unknown') return unknown('Incomplete', describeIncomplete(facts));
  const what = fixableOnly ? 'no fixable finding' : 'no finding';
  return { kind: 'Pass', message: `${what} of severity ${severity} or above, scanned ${facts.finishedTime}`, untilMs };
}

/** The blocking findings that the running image does not have, or why nobody can tell. */
function compare({
  facts,
  baseline,
  blocking,
  omitted,
}: {
  readonly facts: ScanFacts;
  readonly baseline: ScanFacts | undefined;
  readonly blocking: readonly Finding[];
  readonly omitted: number;
}): readonly Finding[] | Verdict {
  if (baseline === undefined) return unknown('NoBaseline', 'the running image was not scanned yet');
  if (epochOf(baseline) !== epochOf(facts) || baseline.scanner.name !== facts.scanner.name)
    return unknown('AnotherEpoch', 'the running image was scanned with other vulnerability data');
  const known = new Set(baseline.findings.filter(({ suppressed }) => suppressed === undefined).map(findingKey));
  const gained = blocking.filter((finding) => !known.has(findingKey(finding)));
  const isCut = omitted > 0 || (gained.length > 0 && baseline.omitted !== undefined);
  if (isCut) return unknown('TooManyFindings', 'there are too many findings to compare them with the running image');
  return gained;
}

const EXAMPLES = 3;

function failed(
  blocking: readonly Finding[],
  omitted: number,
  { failOn }: VerdictRules,
  untilMs: number,
  which = '',
): Verdict {
  const count = blocking.length + omitted;
  const what = `${count} ${failOn.fixableOnly ? 'fixable ' : ''}${count === 1 ? 'finding' : 'findings'} of severity ${failOn.severity} or above${which === '' ? '' : ` ${which}`}`;
  const examples = blocking.slice(0, EXAMPLES).map(describeFinding);
  const more = count - examples.length;
  if (more > 0) examples.push(`and ${more} more`);
  return { kind: 'Fail', message: `${what}: ${examples.join('; ')}`, blocking, untilMs };
}

/** `CVE-2026-30001 (Critical) in libssl3 3.0.15, fixed in 3.0.16`. */
export function describeFinding({ id, severity, package: name, version, fixedVersions }: Finding): string {
  const installed = version === '' ? name : `${name} ${version}`;
  const fix = fixedVersions.length === 0 ? '' : `, fixed in ${fixedVersions.join(' or ')}`;
  return `${id} (${severity}) in ${installed}${fix}`;
}

function describeIncomplete({ scanner, os }: ScanFacts): string {
  if (os?.endOfLife === true)
    return `${os.family} ${os.version} is at its end of life: nobody reports its vulnerabilities`;
  return `${scanner.name} knows this system only in part`;
}

function unknown(reason: UnknownReason, message: string): Verdict {
  return { kind: 'Unknown', reason, message };
}

/** How a verdict reads in a record: `Pass until 2026-01-06T08:00:00Z: …`. */
export function describeVerdict(verdict: Verdict): string {
  const until = verdict.kind === 'Pass' ? ` until ${toTimestamp(verdict.untilMs)}` : '';
  return `${verdict.kind}${until}: ${verdict.message}`;
}
