// The JSON that Grype writes for an image (`grype -o json`).
// @see https://github.com/anchore/grype/tree/main/grype/presenter/models

import * as z from 'zod';
import type { Assessment, Finding, FixState, ScanReport, Severity } from '../../api/scan-facts.ts';
import { ReportError } from '../report-error.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';

const WHAT = 'Grype report';
/** Major version of the database's schema, by which the report is told from those of other versions. */
const SCHEMA_VERSION = /^v?6(?:\.|$)/;
/** What Grype says of packages whose distribution it does not follow any more, or never did. */
const DISTRO_ALERT = /^distro-(?:eol|unknown|disabled)$/;
const EOL_ALERT = 'distro-eol';

const vulnerability = z.object({
  id: z.string(),
  severity: z.string().nullish(),
  knownExploited: listOf(z.unknown()),
  fix: z.object({ versions: listOf(z.string()), state: z.string().nullish() }).nullish(),
});

const match = z.object({
  vulnerability,
  relatedVulnerabilities: listOf(z.object({ id: z.string() })),
  artifact: z.object({
    name: z.string(),
    version: z.string().nullish(),
    purl: z.string().nullish(),
    locations: listOf(z.object({ path: z.string().nullish(), layerID: z.string().nullish() })),
  }),
});

const ignoredMatch = match.extend({
  appliedIgnoreRules: listOf(
    z.object({
      namespace: z.string().nullish(),
      reason: z.string().nullish(),
      'vex-status': z.string().nullish(),
      'vex-justification': z.string().nullish(),
    }),
  ),
});

const schema = z.object({
  matches: listOf(match),
  ignoredMatches: listOf(ignoredMatch),
  alertsByPackage: listOf(z.object({ alerts: listOf(z.object({ type: z.string().nullish() })) })),
  source: z.object({
    target: z.object({
      manifestDigest: z.string().nullish(),
      imageID: z.string().nullish(),
      repoDigests: listOf(z.string()),
      architecture: z.string().nullish(),
      os: z.string().nullish(),
    }),
  }),
  distro: z.object({ name: z.string().nullish(), version: z.string().nullish() }).nullish(),
  descriptor: z.object({
    name: z.literal('grype'),
    version: z.string().nullish(),
    timestamp: z.string().nullish(),
    db: z.object({
      status: z.object({
        schemaVersion: z.string(),
        built: z.string().nullish(),
        valid: z.boolean().nullish(),
        error: z.string().nullish(),
      }),
    }),
  }),
});

type Match = z.output<typeof match>;
type IgnoredMatch = z.output<typeof ignoredMatch>;

/** Throws a ReportError when it cannot be relied on. Whose image it is about is for the caller to check. */
export function parseGrypeReport(body: string): ScanReport {
  const report = readReport(WHAT, body, schema);
  const { descriptor, source, distro } = report;
  const { status } = descriptor.db;
  if (!SCHEMA_VERSION.test(status.schemaVersion))
    throw new ReportError('UnsupportedSchema', `${WHAT}: database schema ${status.schemaVersion}; 6 is understood`);
  const error = textOf(status.error, 256);
  if (status.valid === false || error !== undefined)
    throw new ReportError('Unreadable', `${WHAT}: its database is not valid${error === undefined ? '' : `: ${error}`}`);
  limitFindings(WHAT, report.matches);
  limitFindings(WHAT, report.ignoredMatches);

  const { target } = source;
  const alerts = new Set(report.alertsByPackage.flatMap((entry) => entry.alerts.map(({ type }) => type ?? '')));
  const family = textOf(distro?.name, 64);
  const finishedTime = timeOf(descriptor.timestamp);
  const updatedTime = timeOf(status.built);
  const digest = textOf(target.manifestDigest, 71);
  const configDigest = textOf(target.imageID, 71);
  const findings = [...report.matches.map(toFinding), ...report.ignoredMatches.map(toSuppressed)];
  return {
    subject: {
      ...(digest !== undefined && { digest }),
      ...(configDigest !== undefined && { configDigest }),
      repoDigests: target.repoDigests.map((reference) => reference.replace(/^.*@/, '')),
      ...(textOf(target.architecture, 32) && { platform: `${target.os ?? 'linux'}/${target.architecture ?? ''}` }),
    },
    scanner: { name: descriptor.name, version: textOf(descriptor.version, 64) ?? '' },
    ...(updatedTime !== undefined && { database: { updatedTime } }),
    ...(finishedTime !== undefined && { finishedTime }),
    ...(family !== undefined && {
      os: { family, version: textOf(distro?.version, 64) ?? '', endOfLife: alerts.has(EOL_ALERT) },
    }),
    assessed: assess(
      family,
      findings.length,
      [...alerts].some((type) => DISTRO_ALERT.test(type)),
    ),
    findings: unique(findings),
  };
}

/** It does not list packages: without a distribution and without a match there is no sign that it recognised anything. */
function assess(family: string | undefined, findings: number, isAlerted: boolean): Assessment {
  if (family === undefined) return findings === 0 ? 'None' : 'Partial';
  return isAlerted ? 'Partial' : 'Full';
}

function toFinding({ vulnerability: found, relatedVulnerabilities, artifact }: Match): Finding {
  const [location] = artifact.locations;
  const purl = textOf(artifact.purl, 512);
  const layerDiffId = textOf(location?.layerID, 71);
  const path = textOf(location?.path, 512);
  const aliases = relatedVulnerabilities.map(({ id }) => id.slice(0, 128)).filter((id) => id !== found.id);
  return {
    id: textOf(found.id, 128) ?? 'unnamed',
    aliases: [...new Set(aliases)].slice(0, 8),
    package: textOf(artifact.name, 256) ?? 'unnamed',
    version: textOf(artifact.version, 256) ?? '',
    ...(purl !== undefined && { purl }),
    severity: toSeverity(found.severity),
    fixState: toFixState(found.fix?.state),
    fixedVersions: (found.fix?.versions ?? []).flatMap((version) => textOf(version, 256) ?? []).slice(0, 8),
    ...(layerDiffId !== undefined && { layerDiffId }),
    ...(path !== undefined && { path }),
    ...(found.knownExploited.length > 0 && { knownExploited: true }),
  };
}

function toSuppressed(ignored: IgnoredMatch): Finding {
  const [rule] = ignored.appliedIgnoreRules;
  const status = textOf(rule?.['vex-status'], 64);
  const statement = textOf(rule?.['vex-justification'] ?? rule?.reason, 512);
  return {
    ...toFinding(ignored),
    suppressed: {
      by: status !== undefined || rule?.namespace === 'vex' ? 'Vex' : 'Ignore',
      status: status ?? 'ignored',
      ...(statement !== undefined && { statement }),
    },
  };
}

const SEVERITY: Readonly<Record<string, Severity>> = {
  negligible: 'Negligible',
  low: 'Low',
  medium: 'Medium',
  high: 'High',
  critical: 'Critical',
};

function toSeverity(text: string | null | undefined): Severity {
  return SEVERITY[text?.toLowerCase() ?? ''] ?? 'Unknown';
}

const FIX_STATE: Readonly<Record<string, FixState>> = {
  fixed: 'Fixed',
  'not-fixed': 'Affected',
  'wont-fix': 'WillNotFix',
};

function toFixState(text: string | null | undefined): FixState {
  return FIX_STATE[text?.toLowerCase() ?? ''] ?? 'Unknown';
}

/** One package may match in several ways. */
function unique(findings: readonly Finding[]): readonly Finding[] {
  const seen = new Map<string, Finding>();
  for (const finding of findings) {
    const key = JSON.stringify([finding.id, finding.package, finding.version, finding.path]);
    // What counts goes before what is suppressed.
    if (seen.get(key)?.suppressed === undefined && seen.has(key)) continue;
    seen.set(key, finding);
  }
  return [...seen.values()];
}
