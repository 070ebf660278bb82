// The JSON that Grype writes for an image (`grype -o json`).
// @see https://github.com/anchore/grype/tree/main/grype/presenter/models

import * as z from 'zod';
import type { Assessment, Finding, FixState, ScanReport } from '../../api/scan-facts.ts';
import { ReportError } from '../report-error.ts';
import { limitedFinding, severityOf, text, uniqueFindings } from './limited-finding.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';

const WHAT = 'Grype report';
/** Major version of the database's schema, by which the report is told from those of other versions. */
const SCHEMA_VERSION = /^v?6(?:\.|$)/;
/** What Grype says of packages whose distribution it does not follow any more, or never did. */
const DISTRO_ALERT = /^distro-(?:eol|unknown|disabled)$/;
const EOL_ALERT = 'distro-eol';

const vulnerability = z.object({
  id: z.string(),
  severity: text,
  knownExploited: listOf(z.unknown()),
  fix: z.object({ versions: listOf(z.string()), state: text }).nullish(),
});

const match = z.object({
  vulnerability,
  relatedVulnerabilities: listOf(z.object({ id: z.string(), knownExploited: listOf(z.unknown()) })),
  artifact: z.object({
    name: z.string(),
    version: text,
    purl: text,
    locations: listOf(z.object({ path: text, layerID: text })),
  }),
});

const ignoredMatch = match.extend({
  appliedIgnoreRules: listOf(
    z.object({
      namespace: text,
      reason: text,
      'fix-state': text,
      'vex-status': text,
      'vex-justification': text,
    }),
  ),
});

const schema = z.object({
  // Null when there is none; a report without it is not whole.
  matches: z
    .array(match)
    .nullable()
    .transform((matches) => matches ?? []),
  ignoredMatches: listOf(ignoredMatch),
  alertsByPackage: listOf(z.object({ alerts: listOf(z.object({ type: text })) })),
  source: z.object({
    target: z.object({
      manifestDigest: text,
      imageID: text,
      repoDigests: listOf(z.string()),
      architecture: text,
      os: text,
    }),
  }),
  distro: z.object({ name: text, version: text }).nullish(),
  descriptor: z.object({
    name: z.literal('grype'),
    version: text,
    timestamp: text,
    db: z.object({
      // Absent before schema 6.
      status: z
        .object({
          schemaVersion: z.string(),
          built: text,
          valid: z.boolean().nullish(),
          error: text,
        })
        .nullish(),
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
  if (!status || !SCHEMA_VERSION.test(status.schemaVersion)) {
    const version = status?.schemaVersion ?? 'older than 6';
    throw new ReportError('UnsupportedSchema', `${WHAT}: database schema ${version}; 6 is understood`);
  }
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
    findings: uniqueFindings(findings),
  };
}

/** It does not list packages: without a distribution and without a match there is no sign that it recognised anything. */
function assess(family: string | undefined, findings: number, isAlerted: boolean): Assessment {
  if (family === undefined) return findings === 0 ? 'None' : 'Partial';
  return isAlerted ? 'Partial' : 'Full';
}

function toFinding({ vulnerability: found, relatedVulnerabilities, artifact }: Match): Finding {
  const layered = artifact.locations.find(({ layerID }) => layerID) ?? artifact.locations[0];
  const aliases = relatedVulnerabilities.map(({ id }) => id.slice(0, 128)).filter((id) => id !== found.id);
  const isExploited = [found, ...relatedVulnerabilities].some(({ knownExploited }) => knownExploited.length > 0);
  return {
    ...limitedFinding(WHAT, {
      id: found.id,
      package: artifact.name,
      version: artifact.version,
      purl: artifact.purl,
      severity: severityOf(found.severity),
      fixedVersions: found.fix?.versions ?? [],
      fixState: FIX_STATES.get(found.fix?.state?.toLowerCase() ?? ''),
      layerDiffId: layered?.layerID,
      path: layered?.path,
    }),
    aliases: [...new Set(aliases)].slice(0, 8),
    ...(isExploited && { knownExploited: true }),
  };
}

function toSuppressed(ignored: IgnoredMatch): Finding {
  const rules = ignored.appliedIgnoreRules;
  const vex = rules.find((rule) => textOf(rule['vex-status'], 64) !== undefined || rule.namespace === 'vex');
  const rule = vex ?? rules[0];
  // `--only-fixed` and its like leave a rule about the state of the fix: that is the policy of whoever ran the scan.
  const isPolicy = vex === undefined && textOf(rule?.['fix-state'], 64) !== undefined;
  const statement = textOf(rule?.['vex-justification'] ?? rule?.reason, 512);
  return {
    ...toFinding(ignored),
    suppressed: {
      by: vex !== undefined ? 'Vex' : isPolicy ? 'Policy' : 'Ignore',
      status: textOf(rule?.['vex-status'], 64) ?? 'ignored',
      ...(statement !== undefined && { statement }),
    },
  };
}

const FIX_STATES: ReadonlyMap<string, FixState> = new Map([
  ['fixed', 'Fixed'],
  ['not-fixed', 'Affected'],
  ['wont-fix', 'WillNotFix'],
]);
