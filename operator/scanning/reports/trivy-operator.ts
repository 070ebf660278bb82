// The objects in which trivy-operator keeps what Trivy found. They lack much of Trivy's own report: layers, whether the
// vendor will fix it, what was suppressed, and the data that was used.
// @see https://github.com/aquasecurity/trivy-operator/blob/main/pkg/apis/aquasecurity/v1alpha1/vulnerability_types.go

import * as z from 'zod';
import type { Assessment, ScanReport } from '../../api/scan-facts.ts';
import { ReportError } from '../report-error.ts';
import { limitedFinding, severityOf, text } from './limited-finding.ts';
import { limitFindings, textOf, timeOf } from './read-report.ts';

const WHAT = 'VulnerabilityReport of trivy-operator';
const API_VERSION = 'aquasecurity.github.io/v1alpha1';
const KINDS = ['VulnerabilityReport', 'ClusterVulnerabilityReport'];

const typeMeta = z.object({ apiVersion: text, kind: text });

const vulnerability = z.object({
  vulnerabilityID: text,
  resource: text,
  installedVersion: text,
  fixedVersion: text,
  severity: text,
  packagePath: text,
  packagePURL: text,
});

const schema = z.object({
  report: z.object({
    updateTimestamp: z.string(),
    scanner: z.object({ name: text, version: text }).nullish(),
    artifact: z.object({ digest: text }).nullish(),
    os: z.object({ family: text, name: text, eosl: z.boolean().nullish() }).nullish(),
    // Always there, if only as null: other reports of trivy-operator have another list.
    vulnerabilities: z.array(vulnerability).nullable(),
  }),
});

type Payload = z.output<typeof schema>['report'];

/**
 * From the object as the API server holds it. Its digest may be that of an index, or missing, so it is only one of the
 * repoDigests. Throws a ReportError when it cannot be relied on.
 */
export function readVulnerabilityReport(object: unknown): ScanReport {
  const report = toPayload(object);
  const finishedTime = timeOf(report.updateTimestamp);
  // The object may be of any age, and would pass for new.
  if (finishedTime === undefined) throw new ReportError('Unreadable', `${WHAT}: report.updateTimestamp: no time`);
  const vulnerabilities = limitFindings(WHAT, report.vulnerabilities ?? []);
  const digest = textOf(report.artifact?.digest, 256);
  const os = toOperatingSystem(report.os);
  return {
    subject: { repoDigests: digest === undefined ? [] : [digest] },
    scanner: { name: textOf(report.scanner?.name, 64) ?? 'Trivy', version: textOf(report.scanner?.version, 64) ?? '' },
    finishedTime,
    ...(os !== undefined && { os }),
    assessed: assess(os, vulnerabilities.length),
    findings: vulnerabilities.map((found) =>
      limitedFinding(WHAT, {
        id: found.vulnerabilityID,
        package: found.resource,
        version: found.installedVersion,
        purl: found.packagePURL,
        severity: severityOf(found.severity),
        fixedVersions: found.fixedVersion?.split(',') ?? [],
        path: found.packagePath,
      }),
    ),
  };
}

function toPayload(object: unknown): Payload {
  if (object === undefined || object === null) throw new ReportError('Empty', `${WHAT}: there is none`);
  const { apiVersion, kind } = typeMeta.safeParse(object).data ?? {};
  // An entry of a list may have neither.
  if ((apiVersion ?? API_VERSION) !== API_VERSION || !KINDS.includes(kind ?? 'VulnerabilityReport'))
    throw new ReportError('UnsupportedSchema', `${WHAT}: ${kind ?? 'an object'} of ${apiVersion ?? API_VERSION}`);
  const parsed = schema.safeParse(object);
  if (parsed.success) return parsed.data.report;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new ReportError('Unreadable', `${WHAT}: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'no object'}`);
}

function toOperatingSystem(os: Payload['os']): ScanReport['os'] {
  const family = textOf(os?.family, 64);
  // `none` is what Trivy calls packages without a system that it knows.
  if (family === undefined || family === 'none') return undefined;
  return { family, version: textOf(os?.name, 64) ?? '', endOfLife: os?.eosl === true };
}

/** It does not list packages: without a system and without a finding there is no sign that anything was recognised. */
function assess(os: ScanReport['os'], findings: number): Assessment {
  if (os === undefined) return findings === 0 ? 'None' : 'Partial';
  return os.endOfLife ? 'Partial' : 'Full';
}
