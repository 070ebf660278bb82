// The vulnerability report of Clair v4, `GET /matcher/api/v1/vulnerability_report/{digest}`: a small database of packages,
// distributions and vulnerabilities that refer to each other by ids. It says neither when nor with which data it was made.
// @see https://github.com/quay/claircore/blob/main/vulnerabilityreport.go

import * as z from 'zod';
import { SEVERITIES, type Assessment, type Finding, type ScanReport, type Severity } from '../../api/scan-facts.ts';
import { ReportError } from '../report-error.ts';
import { severityOfScores } from './finding-text.ts';
import { limitedFinding, severityOf, text } from './limited-finding.ts';
import { limitFindings, listOf, readReport, textOf } from './read-report.ts';

const WHAT = 'Clair report';

/** Entries by id; null when there are none. Not z.record: it drops an entry that is called `__proto__`. */
function byId<Schema extends z.ZodType>(entry: Schema) {
  return z.preprocess(toMap, z.map(z.string(), entry));
}

function toMap(value: unknown): unknown {
  return typeof value === 'object' && !Array.isArray(value) ? new Map(Object.entries(value ?? {})) : value;
}

const distribution = z.object({ did: text, version: text, version_id: text });
const environment = z.object({ introduced_in: text, distribution_id: text });
const vulnerability = z.object({ name: text, normalized_severity: text, fixed_in_version: text });

const schema = z.object({
  manifest_hash: z.string().min(1).max(256),
  packages: byId(z.object({ name: text, version: text })).optional(),
  distributions: byId(distribution).optional(),
  environments: byId(listOf(environment)).optional(),
  // Always there, if only as null: what lacks them is an index report or an error, and no image without vulnerabilities.
  vulnerabilities: byId(vulnerability),
  package_vulnerabilities: byId(listOf(z.string())),
  enrichments: byId(z.unknown())
    .optional()
    .transform((all) =>
      [...(all ?? [])].flatMap(([type, data]) => (type.includes('enricher=clair.cvss') ? [data] : [])),
    )
    .pipe(z.array(listOf(byId(listOf(z.object({ baseScore: z.number().nullish() })))))),
});

type Report = z.output<typeof schema>;
type Vulnerability = z.output<typeof vulnerability>;

/**
 * Throws a ReportError when it cannot be relied on. A release that no updater of Clair covers any more looks like a clean
 * one; the report has no sign of it.
 */
export function parseClairReport(body: string): ScanReport {
  const report = readReport(WHAT, body, schema);
  const os = systemOf(report);
  return {
    subject: { digest: report.manifest_hash, repoDigests: [] },
    scanner: { name: 'clair', version: '' },
    ...(os !== undefined && { os }),
    assessed: assess(report, os),
    findings: findingsOf(report),
  };
}

/** Clair answers 200 in any case, also where it found no packages, or no os-release in the layers that have them. */
function assess({ packages }: Report, os: ScanReport['os']): Assessment {
  if (packages === undefined || packages.size === 0) return 'None';
  return os === undefined ? 'Partial' : 'Full';
}

/** The distribution that most packages belong to: a layer that upgrades the system leaves two behind. */
function systemOf({ distributions, environments }: Report): ScanReport['os'] {
  const packages = new Map<string, number>();
  for (const [first] of environments?.values() ?? [])
    if (first?.distribution_id) packages.set(first.distribution_id, (packages.get(first.distribution_id) ?? 0) + 1);
  const count = (id: string) => packages.get(id) ?? 0;
  const [main] = [...(distributions ?? [])].toSorted(([a], [b]) => count(b) - count(a));
  const family = textOf(main?.[1].did, 64);
  if (main === undefined || family === undefined) return undefined;
  const version = textOf(main[1].version_id, 64) ?? textOf(main[1].version, 64) ?? '';
  return { family, version, endOfLife: false };
}

function findingsOf(report: Report): readonly Finding[] {
  const scores = scoresOf(report);
  const findings: Finding[] = [];
  for (const [packageId, ids] of report.package_vulnerabilities) {
    if (ids.length === 0) continue;
    const place = placeOf(report, packageId);
    const rated = [...new Set(ids)].map((id) => rate(vulnerabilityOf(report, id), scores.get(id)));
    // Several updaters may know the same vulnerability.
    for (const [id, same] of Map.groupBy(rated, ({ name }) => name)) {
      const severity = worst(same.map((one) => one.severity));
      findings.push(limitedFinding(WHAT, { id, ...place, severity, fixedVersions: same.flatMap(fixedVersionsOf) }));
    }
    limitFindings(WHAT, findings);
  }
  return findings;
}

/** Never skipped when it is not there: the finding would be lost, and the image look cleaner than it is. */
function vulnerabilityOf({ vulnerabilities }: Report, id: string): Vulnerability {
  const found = vulnerabilities.get(id);
  if (found !== undefined) return found;
  throw new ReportError('Unreadable', `${WHAT}: vulnerability ${id.slice(0, 64)} is referred to, but not there`);
}

/** The package must be there for the same reason. Its surroundings need not: without them a finding is still one. */
function placeOf({ packages, distributions, environments }: Report, packageId: string) {
  const found = packages?.get(packageId);
  if (found === undefined)
    throw new ReportError('Unreadable', `${WHAT}: package ${packageId.slice(0, 64)} is referred to, but not there`);
  const [first] = environments?.get(packageId) ?? [];
  const { did } = distributions?.get(first?.distribution_id ?? '') ?? {};
  return {
    package: found.name,
    version: found.version,
    purl: purlOf(did, found.name, found.version),
    layerDigest: first?.introduced_in,
  };
}

/** By the name of the distribution; namespaces as other scanners write them, so that findings can be compared. */
const PURL_TYPE: ReadonlyMap<string, string> = new Map([
  ['alpine', 'apk/alpine'],
  ['debian', 'deb/debian'],
  ['ubuntu', 'deb/ubuntu'],
  ['amzn', 'rpm/amazon'],
  ['ol', 'rpm/oracle'],
  ['opensuse-leap', 'rpm/opensuse'],
  ['photon', 'rpm/photon'],
  ['rhel', 'rpm/redhat'],
  ['sles', 'rpm/suse'],
]);

/** Only packages of the system have a distribution; what kind the others are Clair does not say. */
function purlOf(did: string | null | undefined, name: string | null | undefined, version: string | null | undefined) {
  const type = PURL_TYPE.get(did ?? '');
  if (type === undefined || !name) return undefined;
  const purl = `pkg:${type}/${encode(name)}${version ? `@${encode(version)}` : ''}`;
  // Cut off it would be that of another package.
  return purl.length <= 512 ? purl : undefined;
}

/** @see https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst#character-encoding */
function encode(part: string): string {
  return encodeURIComponent(part.trim().toWellFormed()).replaceAll('%3A', ':');
}

/** The highest CVSS score by the id of the vulnerability: an advisory may have one for each of its CVEs. */
function scoresOf({ enrichments }: Report): ReadonlyMap<string, number> {
  const scores = new Map<string, number>();
  for (const [id, list] of enrichments.flat().flatMap((entries) => [...entries]))
    for (const { baseScore } of list) scores.set(id, Math.max(scores.get(id) ?? 0, baseScore ?? 0));
  return scores;
}

/** Where there is no rating, as always with Alpine, the score decides. */
function rate(found: Vulnerability, score = 0): Vulnerability & { readonly severity: Severity } {
  const severity = severityOf(found.normalized_severity);
  return { ...found, severity: severity === 'Unknown' ? severityOfScores([score]) : severity };
}

function worst(severities: readonly Severity[]): Severity {
  return SEVERITIES.findLast((severity) => severities.includes(severity)) ?? 'Unknown';
}

/**
 * Packages of a language have the range that matched instead: `fixed=1.2.3&introduced=0`, or without a fix
 * `introduced=0&lastAffected=1.2.2`.
 * @see https://github.com/quay/claircore/blob/main/updater/osv/osv.go
 */
function fixedVersionsOf({ fixed_in_version: fixed }: Vulnerability): readonly string[] {
  if (!fixed) return [];
  return /^(?:fixed|introduced|lastAffected)=/.test(fixed) ? new URLSearchParams(fixed).getAll('fixed') : [fixed];
}
