// What a scanner found, as a statement about an image that somebody may have signed. Who signed it, and whether that counts,
// was decided before.
// @see https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md
// @see https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md

import * as z from 'zod';
import type { Finding, ScanReport } from '../../api/scan-facts.ts';
import { parseDigest } from '../../image/digest.ts';
import { packageNameOf, parsePurl } from '../purl.ts';
import { ReportError } from '../report-error.ts';
import { fixedVersionsOf, severityOfScores, severityOfWords } from './finding-text.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';
import { parseTrivyReport } from './trivy.ts';

const WHAT = 'Vulnerability attestation';
const STATEMENTS: readonly unknown[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];
const VULNS = ['https://in-toto.io/attestation/vulns/v0.2', 'https://in-toto.io/attestation/vulns/v0.1'] as const;
const COSIGN = 'https://cosign.sigstore.dev/attestation/vuln/v1';
const PREDICATES: readonly unknown[] = [...VULNS, COSIGN];

const optionalText = z.string().nullish();

const subject = listOf(z.object({ digest: z.record(z.string(), z.string()).nullish() }));
const scanner = z.object({
  uri: optionalText,
  version: optionalText,
  db: z.object({ lastUpdate: optionalText }).nullish(),
});
// Required: without it a statement would be as young as the moment at which it is read.
const metadata = z.object({ scanFinishedOn: z.string().transform(timeOf).pipe(z.string()) });

const vulnerability = z.object({
  id: z
    .string()
    .transform((id) => textOf(id, 128))
    .pipe(z.string()),
  severity: listOf(z.object({ score: z.union([z.string(), z.number()]).nullish() })),
  annotations: listOf(z.record(z.string(), z.unknown())),
});
// The text of v0.1 has it one level further down than its own example, and than v0.2.
const entry = z.union([vulnerability, z.object({ vulnerability }).transform((nested) => nested.vulnerability)]);

const statement = z.preprocess(
  requireKnown,
  z.discriminatedUnion('predicateType', [
    z.object({
      predicateType: z.enum(VULNS),
      subject,
      // An empty list says that nothing was found, and so does null, which Go writes for it; no list at all says nothing.
      predicate: z.object({ scanner: scanner.extend({ result: z.array(entry).nullable() }), metadata }),
    }),
    z.object({
      predicateType: z.literal(COSIGN),
      subject,
      predicate: z.object({ scanner: scanner.extend({ result: z.unknown() }), metadata }),
    }),
  ]),
);

type Vulnerability = z.output<typeof vulnerability>;
type Statement = z.output<typeof statement>;
type Scanner = Statement['predicate']['scanner'];

/**
 * An in-toto statement, out of its envelope. Throws a ReportError when it cannot be relied on, and for the result of a
 * scanner other than Trivy in cosign's predicate, which has no form. Whose image it is about is for the caller to check.
 */
export function parseVulnerabilityStatement(body: string): ScanReport {
  const read = readReport(WHAT, body, statement);
  if (read.predicateType === COSIGN) return fromCosign(read);
  const { scanner: by, metadata: times } = read.predicate;
  return {
    subject: subjectOf(read),
    scanner: scannerOf(by),
    ...databaseOf(by),
    finishedTime: times.scanFinishedOn,
    assessed: 'Full',
    findings: limitFindings(WHAT, limitFindings(WHAT, by.result ?? []).flatMap(toFindings)),
  };
}

function requireKnown(document: unknown): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const type = '_type' in document ? document._type : undefined;
  const predicateType = 'predicateType' in document ? document.predicateType : undefined;
  if (STATEMENTS.includes(type) && PREDICATES.includes(predicateType)) return document;
  const found = STATEMENTS.includes(type) ? predicateType : type;
  // zod lets an error pass that is none of its own.
  throw new ReportError(
    'UnsupportedSchema',
    `${WHAT}: ${typeof found === 'string' ? found.slice(0, 128) : 'no type'}; ${PREDICATES.join(', ')} are understood`,
  );
}

/** Trivy leaves the data unnamed there; its own report inside names it where a server was used. */
function fromCosign(read: Extract<Statement, { predicateType: typeof COSIGN }>): ScanReport {
  const { scanner: by, metadata: times } = read.predicate;
  const isTrivy = typeof by.result === 'object' && by.result !== null && 'SchemaVersion' in by.result;
  if (!isTrivy)
    throw new ReportError(
      'UnsupportedSchema',
      `${WHAT}: the result of ${scannerOf(by).name} is not understood, Trivy's is`,
    );
  const inner = parseTrivyReport(JSON.stringify(by.result));
  const { finishedTime: scannedTime = times.scanFinishedOn } = inner;
  return {
    ...inner,
    // What was signed is the subject; of the report only what could contradict it.
    subject: { ...inner.subject, ...subjectOf(read) },
    scanner: { name: inner.scanner.name, version: inner.scanner.version || scannerOf(by).version },
    ...databaseOf(by),
    // `trivy convert` writes the time of the conversion.
    finishedTime: scannedTime < times.scanFinishedOn ? scannedTime : times.scanFinishedOn,
  };
}

function subjectOf(read: Pick<Statement, 'subject'>): ScanReport['subject'] {
  const digests = new Set(
    read.subject.flatMap(({ digest }) => parseDigest(`sha256:${digest?.['sha256'] ?? ''}`) ?? []),
  );
  const [digest] = digests;
  // Of several none is the one, but each of them is meant.
  return { ...(digest !== undefined && digests.size === 1 && { digest }), repoDigests: [...digests] };
}

/** `trivy` of `pkg:github/aquasecurity/trivy@v0.74.0`, `grype` of `https://github.com/anchore/grype`. */
function scannerOf({ uri, version }: Pick<Scanner, 'uri' | 'version'>): ScanReport['scanner'] {
  const purl = parsePurl(uri ?? '');
  const last = uri?.split('/').findLast((part) => part !== '');
  return {
    name: textOf(purl?.name ?? last, 64) ?? 'unnamed',
    version: textOf(version, 64) ?? textOf(purl?.version, 64) ?? '',
  };
}

/** Its version is no name: it is `2` for years, and scans with data of different days would look alike. */
function databaseOf({ db }: Pick<Scanner, 'db'>): Pick<ScanReport, 'database'> {
  const updatedTime = timeOf(db?.lastUpdate);
  return updatedTime === undefined ? {} : { database: { updatedTime } };
}

/** One for each package that the annotations name. */
function toFindings(found: Vulnerability): Finding[] {
  const packages = found.annotations.filter((annotation) => annotated(annotation, 'package') !== undefined);
  return packages.length === 0 ? [toFinding(found, {})] : packages.map((about) => toFinding(found, about));
}

type Annotation = Vulnerability['annotations'][number];

function toFinding({ id, severity }: Vulnerability, about: Annotation): Finding {
  const name = annotated(about, 'package');
  const purl = parsePurl(name ?? '');
  const scores = severity.flatMap(({ score }) => score ?? []);
  const fixedVersions = fixedVersionsOf(annotated(about, 'fixedVersion'));
  const layerDiffId = parseDigest(annotated(about, 'layer'));
  return {
    id,
    aliases: [],
    package: textOf(purl === undefined ? name : packageNameOf(purl), 256) ?? 'unnamed',
    version: textOf(purl?.version, 256) ?? '',
    ...(purl !== undefined && { purl: textOf(name, 512) ?? '' }),
    severity: severityOfWords(scores.map(String)) ?? severityOfScores(scores),
    fixState: fixedVersions.length > 0 ? 'Fixed' : 'Unknown',
    fixedVersions,
    ...(layerDiffId !== undefined && { layerDiffId }),
  };
}

/** The annotations have no form of their own: these are the names that Slipway writes. */
function annotated(annotation: Annotation, key: 'package' | 'fixedVersion' | 'layer'): string | undefined {
  const value = annotation[key];
  return typeof value === 'string' ? textOf(value, 1024) : undefined;
}
