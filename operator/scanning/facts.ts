// From a report to the facts that are kept: is it about the image that was asked for, how many findings of what severity,
// and the findings themselves from the worst down, as far as they fit into an object of the API server.

import {
  SEVERITIES,
  type Finding,
  type ScanFacts,
  type ScanReport,
  type Severity,
  type SeverityCounts,
} from '../api/scan-facts.ts';
import { toTimestamp } from '../time/duration.ts';
import { ReportError } from './report-error.ts';

/** What the findings of one scan may take up, in bytes of JSON. */
export const MAX_FINDINGS_BYTES = 48 * 1024;
const MAX_KEPT = 2_000;

/** The image whose scan was asked for. */
export interface AskedImage {
  /** Digest of the platform's manifest. */
  readonly digest: string;
  /** Digest of its configuration. */
  readonly configDigest: string;
}

/**
 * Throws a ReportError unless the report says, by one digest at least, that it is about this image, and by none that it is
 * about another. `repoDigests` prove nothing against it: they may name the index.
 */
export function assertSubject({ subject }: Pick<ScanReport, 'subject'>, asked: AskedImage): void {
  const { digest, configDigest, repoDigests } = subject;
  const isOther =
    (digest !== undefined && digest !== asked.digest) ||
    (configDigest !== undefined && configDigest !== asked.configDigest);
  const isSame = digest === asked.digest || configDigest === asked.configDigest || repoDigests.includes(asked.digest);
  if (isSame && !isOther) return;
  const about = digest ?? configDigest ?? repoDigests[0];
  throw new ReportError(
    'AnotherImage',
    about === undefined
      ? `the report does not say which image it is about, and ${asked.digest} was asked for`
      : `the report is about ${about}, and ${asked.digest} was asked for`,
  );
}

/** `nowMs` stands in for the end of the scan where the report does not tell. */
export function toFacts(report: ScanReport, nowMs: number): ScanFacts {
  const counted = report.findings.filter(({ suppressed }) => suppressed === undefined);
  const worth = report.findings.filter(({ severity }) => severity !== 'Negligible').toSorted(compareFindings);
  const kept = fit(worth);
  const left = worth.slice(kept.length).filter(({ suppressed }) => suppressed === undefined);
  return {
    scanner: report.scanner,
    ...(report.database !== undefined && { database: report.database }),
    finishedTime: report.finishedTime ?? toTimestamp(nowMs),
    ...(report.os !== undefined && { os: report.os }),
    assessed: report.assessed,
    counts: countFindings(counted),
    findings: kept,
    ...(left.length > 0 && { omitted: countFindings(left) }),
  };
}

/** The state of the vulnerability data by which two scans can be compared; the end of the scan where there is none. */
export function epochOf({ database, finishedTime }: Pick<ScanFacts, 'database' | 'finishedTime'>): string {
  return database?.id ?? database?.updatedTime ?? finishedTime;
}

/**
 * What makes a finding the same one in another image, at another time: neither its severity, which flips, nor the version
 * of the package.
 */
export function findingKey({ id, purl, package: name, path = '' }: Finding): string {
  if (purl === undefined) return `${id}|${name}|${path}`;
  return `${id}|${purl.replace(/[?#].*$/, '').replace(/@[^/@]*$/, '')}`;
}

export function isFixable({ fixState }: Finding): boolean {
  return fixState === 'Fixed';
}

export function isAtLeast(severity: Severity, threshold: Severity): boolean {
  return rank(severity) >= rank(threshold);
}

export function countFindings(findings: readonly Finding[]): SeverityCounts {
  const of = (severity: Severity) => {
    const all = findings.filter((finding) => finding.severity === severity);
    return { total: all.length, fixable: all.filter(isFixable).length };
  };
  return {
    critical: of('Critical'),
    high: of('High'),
    medium: of('Medium'),
    low: of('Low'),
    negligible: of('Negligible'),
    unknown: of('Unknown'),
  };
}

/** How many of the counted findings are at the threshold or above it. */
export function countAtLeast(counts: SeverityCounts, threshold: Severity, fixableOnly: boolean): number {
  const by: Readonly<Record<Severity, { readonly total: number; readonly fixable: number }>> = {
    Critical: counts.critical,
    High: counts.high,
    Medium: counts.medium,
    Low: counts.low,
    Negligible: counts.negligible,
    Unknown: counts.unknown,
  };
  return SEVERITIES.filter((severity) => isAtLeast(severity, threshold))
    .map((severity) => (fixableOnly ? by[severity].fixable : by[severity].total))
    .reduce((sum, some) => sum + some, 0);
}

/** The worst first, what counts before what is suppressed; the rest only so that the order is always the same. */
function compareFindings(a: Finding, b: Finding): number {
  return (
    rank(b.severity) - rank(a.severity) ||
    Number(a.suppressed !== undefined) - Number(b.suppressed !== undefined) ||
    Number(isFixable(b)) - Number(isFixable(a)) ||
    compareText(a.id, b.id) ||
    compareText(a.package, b.package) ||
    compareText(a.path ?? '', b.path ?? '')
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

/** As many as have room, from the first on. */
function fit(findings: readonly Finding[]): readonly Finding[] {
  let bytes = 0;
  let count = 0;
  for (const finding of findings.slice(0, MAX_KEPT)) {
    bytes += Buffer.byteLength(JSON.stringify(finding)) + 1;
    if (bytes > MAX_FINDINGS_BYTES) break;
    count += 1;
  }
  return findings.slice(0, count);
}
