// The JSON that Trivy writes for an image or its SBOM (`trivy image -f json`), and what `trivy version -f json` says of the
// data that a report without a server does not name.
// @see https://github.com/aquasecurity/trivy/blob/main/pkg/types/report.go

import * as z from 'zod';
import type { Assessment, Finding, ScanReport, Severity } from '../../api/scan-facts.ts';
import { parseDigest } from '../../image/digest.ts';
import { formatPlatform, normalizePlatform } from '../../image/platform.ts';
import { ReportError } from '../report-error.ts';
import { TRIVY_FIX_STATES } from './finding-text.ts';
import { uniqueFindings } from './limited-finding.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';

const WHAT = 'Trivy report';
const SCHEMA_VERSION = 2;
/** `sha256:` and 64 digits. */
const DIGEST_LENGTH = 71;
/** The end of the year 9999, beyond which a time has no RFC 3339 form. */
const MAX_UNIX_SECONDS = 253_402_300_799;

const text = z.string().nullish();
const named = z.string().trim().min(1);

/** DownloadedAt is left out: it is the year 1 for a database that was put in place by hand. */
const database = z.object({ UpdatedAt: text }).nullish();

const vulnerability = z.object({
  VulnerabilityID: named,
  VendorIDs: listOf(z.string()),
  PkgName: named,
  PkgPath: text,
  PkgIdentifier: z.object({ PURL: text }).nullish(),
  InstalledVersion: text,
  FixedVersion: text,
  Status: text,
  Severity: text,
  Layer: z.object({ Digest: text, DiffID: text }).nullish(),
});

const modifiedVulnerability = z.object({ Status: text, Statement: text, Finding: vulnerability });

const result = z.object({
  Target: text,
  Class: text,
  Vulnerabilities: listOf(vulnerability),
  // Secrets, licences and misconfigurations are modified too, and have another shape.
  ExperimentalModifiedFindings: listOf(z.looseObject({ Type: text }))
    .transform((modified) => modified.filter(({ Type: type }) => type === 'vulnerability'))
    .pipe(z.array(modifiedVulnerability)),
});

const operatingSystem = z.object({ Family: text, Name: text, EOSL: z.boolean().nullish() });

const report = z.object({
  Trivy: z.object({ Version: text, Server: z.object({ VulnerabilityDB: database }).nullish() }).nullish(),
  // Seconds since 1970 in older versions.
  CreatedAt: z.union([z.string(), z.number().max(MAX_UNIX_SECONDS)]).nullish(),
  Metadata: z
    .object({
      ImageID: text,
      RepoDigests: listOf(z.string()),
      OS: operatingSystem.nullish(),
      ImageConfig: z.object({ os: text, architecture: text, variant: text }).nullish(),
    })
    .nullish(),
  Results: listOf(result),
});

// The version is judged first: another one may look different everywhere else.
const versionedReport = z.preprocess(requireVersion, report);

type Vulnerability = z.output<typeof vulnerability>;
type ModifiedVulnerability = z.output<typeof modifiedVulnerability>;
type Result = z.output<typeof result>;
type Metadata = NonNullable<z.output<typeof report>['Metadata']>;

/**
 * Throws a ReportError when the report cannot be relied on. Whose image it is about is for the caller to check, and so is
 * the log of the scan: a release that the database does not know looks like a clean one here.
 */
export function parseTrivyReport(body: string): ScanReport {
  const {
    Trivy: trivy,
    CreatedAt: created,
    Metadata: metadata,
    Results: results,
  } = readReport(WHAT, body, versionedReport);
  const findings = limitFindings(WHAT, results.flatMap(toFindings));
  const data = toDatabase(trivy?.Server?.VulnerabilityDB);
  const finishedTime = timeOf(created);
  const os = toOperatingSystem(metadata?.OS);
  return {
    subject: toSubject(metadata),
    scanner: { name: 'trivy', version: textOf(trivy?.Version, 64) ?? '' },
    ...(data !== undefined && { database: data }),
    ...(finishedTime !== undefined && { finishedTime }),
    ...(os !== undefined && { os }),
    assessed: assess(results, os),
    findings: uniqueFindings(findings),
  };
}

interface TrivyVersion {
  readonly version: string;
  /** Absent: there is none yet, or it does not say of when it is. */
  readonly database?: NonNullable<ScanReport['database']>;
}

/** Output of `trivy version -f json`; a server answers `GET /version` with the same. Throws a ReportError. */
export function parseTrivyVersion(body: string): TrivyVersion {
  const info = readReport('Trivy version', body, z.object({ Version: named, VulnerabilityDB: database }));
  const data = toDatabase(info.VulnerabilityDB);
  return { version: info.Version.slice(0, 64), ...(data !== undefined && { database: data }) };
}

function requireVersion(document: unknown): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const version = 'SchemaVersion' in document ? document.SchemaVersion : undefined;
  if (version === SCHEMA_VERSION) return document;
  const found = typeof version === 'number' ? `schema version ${version}` : 'no schema version';
  // zod lets an error pass that is none of its own.
  throw new ReportError('UnsupportedSchema', `${WHAT}: ${found}; ${SCHEMA_VERSION} is understood`);
}

function toSubject(metadata: Metadata | null | undefined): ScanReport['subject'] {
  const configDigest = textOf(metadata?.ImageID, DIGEST_LENGTH);
  const { os, architecture, variant } = metadata?.ImageConfig ?? {};
  return {
    ...(configDigest !== undefined && { configDigest }),
    repoDigests: (metadata?.RepoDigests ?? []).flatMap((reference) => parseDigest(reference.split('@').at(-1)) ?? []),
    ...(os && architecture && { platform: formatPlatform(normalizePlatform(os, architecture, variant ?? undefined)) }),
  };
}

function toDatabase(data: z.output<typeof database>): ScanReport['database'] {
  const updatedTime = timeOf(data?.UpdatedAt);
  return updatedTime === undefined ? undefined : { updatedTime };
}

function toOperatingSystem(os: z.output<typeof operatingSystem> | null | undefined): ScanReport['os'] {
  const family = textOf(os?.Family, 64);
  // `none` stands for packages without a system that is known.
  if (family === undefined || family === 'none') return undefined;
  return { family, version: textOf(os?.Name, 64) ?? '', endOfLife: os?.EOSL === true };
}

/** A class of packages has a result even when nothing was found; it has none when it was not looked at. */
function assess(results: readonly Result[], os: ScanReport['os']): Assessment {
  const classes = new Set(results.map(({ Class: kind }) => kind));
  if (!classes.has('os-pkgs') && !classes.has('lang-pkgs')) return 'None';
  // Packages of an application in a system that is unknown, or that Trivy has no data for, are only a part of the image.
  return os !== undefined && !os.endOfLife && classes.has('os-pkgs') ? 'Full' : 'Partial';
}

function toFindings(from: Result): readonly Finding[] {
  return [
    ...from.Vulnerabilities.map((found) => toFinding(found, from)),
    ...from.ExperimentalModifiedFindings.map((modified) => toModified(modified, from)),
  ];
}

function toFinding(found: Vulnerability, from: Result): Finding {
  const { VulnerabilityID: id, PkgName: name } = found;
  const purl = textOf(found.PkgIdentifier?.PURL, 512);
  const layerDiffId = parseDigest(found.Layer?.DiffID ?? undefined);
  const layerDigest = parseDigest(found.Layer?.Digest ?? undefined);
  const path = textOf(found.PkgPath, 512) ?? pathOf(from);
  const fixedVersions = texts(found.FixedVersion?.split(',') ?? [], 256);
  return {
    id: textOf(id, 128) ?? id,
    aliases: texts(found.VendorIDs, 128).filter((alias) => alias !== id),
    package: textOf(name, 256) ?? name,
    version: textOf(found.InstalledVersion, 256) ?? '',
    ...(purl !== undefined && { purl }),
    severity: SEVERITY.get(found.Severity ?? '') ?? 'Unknown',
    // Versions before 0.44 have no status.
    fixState: TRIVY_FIX_STATES.get(found.Status ?? '') ?? (fixedVersions.length > 0 ? 'Fixed' : 'Unknown'),
    fixedVersions,
    ...(layerDiffId !== undefined && { layerDiffId }),
    ...(layerDigest !== undefined && { layerDigest }),
    ...(path !== undefined && { path }),
  };
}

/** What Trivy calls the packages that it collects from all over the image; each of them has its own path. */
const COLLECTIONS = new Set(['Conda', 'Java', 'Kubernetes', 'Node.js', 'Python', 'Ruby']);

/** Packages of a lock file or a binary have no path but that of the file they were read from, which is the target. */
function pathOf({ Class: kind, Target: target }: Result): string | undefined {
  if (kind !== 'lang-pkgs' || COLLECTIONS.has(target ?? '')) return undefined;
  return textOf(target, 512);
}

/** Those of another status are only marked, not suppressed: Trivy means to list changed severities here too. */
const SUPPRESSING = new Set(['ignored', 'not_affected', 'fixed']);

function toModified({ Status: status, Statement: said, Finding: found }: ModifiedVulnerability, from: Result): Finding {
  const finding = toFinding(found, from);
  if (typeof status !== 'string' || !SUPPRESSING.has(status)) return finding;
  const statement = textOf(said, 512);
  return {
    ...finding,
    suppressed: { by: suppressorOf(status, said), status, ...(statement !== undefined && { statement }) },
  };
}

function suppressorOf(status: string, statement: string | null | undefined): 'Vex' | 'Ignore' | 'Policy' {
  if (status !== 'ignored') return 'Vex';
  // The only sign by which Trivy tells a policy from a list: the source is a file of any name in both cases.
  return statement === 'Filtered by Rego' ? 'Policy' : 'Ignore';
}

const SEVERITY: ReadonlyMap<string, Severity> = new Map([
  ['LOW', 'Low'],
  ['MEDIUM', 'Medium'],
  ['HIGH', 'High'],
  ['CRITICAL', 'Critical'],
]);

const MAX_TEXTS = 8;

function texts(list: readonly string[], maxLength: number): readonly string[] {
  return [...new Set(list.flatMap((entry) => textOf(entry, maxLength) ?? []))].slice(0, MAX_TEXTS);
}
