// What Harbor and its pluggable scanners say: the report, which any adapter writes and Harbor passes on by MIME type, and
// the overview by which an artifact tells how far its scan is.
// @see https://github.com/goharbor/pluggable-scanner-spec/blob/master/api/spec/scanner-adapter-openapi-v1.2.yaml

import * as z from 'zod';
import type { ScanReport } from '../../api/scan-facts.ts';
import { ReportError } from '../report-error.ts';
import { TRIVY_FIX_STATES } from './finding-text.ts';
import { limitedFinding, severityOf, text } from './limited-finding.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';

const WHAT = 'Harbor report';
const MIME_TYPE = 'application/vnd.security.vulnerability.report; version=1.1';
/** Before Harbor 2.0; the same in all that is read here. */
const OLD_MIME_TYPE = 'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0';

const scanner = z.object({ name: text, version: text }).nullish();

const vulnerability = z.object({
  id: text,
  package: text,
  version: text,
  fix_version: text,
  severity: text,
  // Only the adapter of Trivy has these.
  status: text,
  purl: text,
  layer: z.object({ digest: text, diff_id: text }).nullish(),
});

const report = z.object({
  generated_at: z.string(),
  artifact: z.object({ digest: text }).nullish(),
  scanner,
  severity: text,
  vulnerabilities: listOf(vulnerability),
  media_type: text,
});

/**
 * A report, or Harbor's `{mime: report}`. Harbor's own reports do not name the artifact: there the subject has no digest,
 * and it is the one that was asked for. The format does not say what the scanner recognised either, so a report counts as
 * Full. Throws a ReportError when it cannot be relied on.
 */
export function parseHarborReport(body: string): ScanReport {
  const found = readReport(WHAT, body, z.preprocess(unwrap, report.optional()));
  if (found === undefined) throw new ReportError('Empty', `${WHAT}: it was not scanned yet`);
  // What such a report of packages has instead.
  if (typeof found.media_type === 'string')
    throw new ReportError('UnsupportedSchema', `${WHAT}: a list of packages, not of vulnerabilities`);
  const vulnerabilities = limitFindings(WHAT, found.vulnerabilities);
  // Trivy's adapter leaves the list out when there is nothing in it, and the severity with it.
  if (vulnerabilities.length === 0 && severityOf(found.severity) !== 'Unknown')
    throw new ReportError('Unreadable', `${WHAT}: of severity ${found.severity ?? ''}, but without a vulnerability`);
  const digest = textOf(found.artifact?.digest, 256);
  const finishedTime = timeOf(found.generated_at);
  return {
    subject: { ...(digest !== undefined && { digest }), repoDigests: [] },
    scanner: toIdentity(found.scanner),
    ...(finishedTime !== undefined && { finishedTime }),
    assessed: 'Full',
    findings: vulnerabilities.map(toFinding),
  };
}

/** Undefined for Harbor's `{}`: there is no report of any type. */
function unwrap(document: unknown): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const entries = new Map<string, unknown>(Object.entries(document));
  if (entries.size === 0) return undefined;
  return entries.get(MIME_TYPE) ?? entries.get(OLD_MIME_TYPE) ?? document;
}

function toFinding(found: z.output<typeof vulnerability>): ScanReport['findings'][number] {
  return limitedFinding(WHAT, {
    id: found.id,
    package: found.package,
    version: found.version,
    purl: found.purl,
    severity: severityOf(found.severity),
    fixedVersions: found.fix_version?.split(',') ?? [],
    fixState: TRIVY_FIX_STATES.get(found.status ?? ''),
    layerDiffId: found.layer?.diff_id,
    layerDigest: found.layer?.digest,
  });
}

function toIdentity(from: z.output<typeof scanner>): ScanReport['scanner'] {
  return { name: textOf(from?.name, 64) ?? 'unknown', version: textOf(from?.version, 64) ?? '' };
}

/** Absent: never scanned. `status` in Harbor's words. */
export type HarborOverview =
  | { readonly kind: 'absent' }
  | { readonly kind: 'running'; readonly status: string }
  | { readonly kind: 'failed'; readonly status: string }
  | { readonly kind: 'done'; readonly finishedTime?: string; readonly scanner: ScanReport['scanner'] };

const RUNNING = new Set(['Pending', 'Scheduled', 'Running']);

const overview = z.object({ scan_status: z.string(), end_time: text, scanner }).nullish();

const artifact = z.object({
  // By it an artifact is told from an error, which is no artifact without a scan.
  digest: z.string().min(1),
  scan_overview: z.object({ [MIME_TYPE]: overview, [OLD_MIME_TYPE]: overview }).nullish(),
});

/**
 * From an artifact with its `scan_overview`. That of an index is merged from its children, and done as soon as one of them
 * is: ask for the child that runs. Throws a ReportError when it is no artifact.
 */
export function parseHarborOverview(body: string): HarborOverview {
  const { scan_overview: overviews } = readReport('Harbor artifact', body, artifact);
  const found = overviews?.[MIME_TYPE] ?? overviews?.[OLD_MIME_TYPE];
  const status = textOf(found?.scan_status, 64) ?? 'NotScanned';
  if (!found || status === 'NotScanned') return { kind: 'absent' };
  if (RUNNING.has(status)) return { kind: 'running', status };
  // Stopped and Error, and what a later Harbor may call it: only Success is one.
  if (status !== 'Success') return { kind: 'failed', status };
  const finishedTime = timeOf(found.end_time);
  return { kind: 'done', ...(finishedTime !== undefined && { finishedTime }), scanner: toIdentity(found.scanner) };
}
