// OpenVEX: who says that a vulnerability does, or does not, concern an image. Reading leaves out what is not valid, finding
// picks the one statement that speaks most precisely and last, writing tells others what has been accepted here.
// @see https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md

import * as z from 'zod';
import { formatRepository, parseRepository } from '../image/reference.ts';
import { parseTimestampMs, toTimestamp } from '../time/duration.ts';
import type { Exception } from './exceptions.ts';
import { coversPurl, parsePurl, type PackageUrl } from './purl.ts';
import { ReportError } from './report-error.ts';
import { listOf, readReport, textOf } from './reports/read-report.ts';

/** From the one that lets a finding pass to the one that is the most careful. */
export const VEX_STATUSES = ['not_affected', 'fixed', 'under_investigation', 'affected'] as const;
export type VexStatus = (typeof VEX_STATUSES)[number];

const JUSTIFICATIONS = [
  'component_not_present',
  'vulnerable_code_not_present',
  'vulnerable_code_not_in_execute_path',
  'vulnerable_code_cannot_be_controlled_by_adversary',
  'inline_mitigations_already_exist',
] as const;

/** An image or a package, by one name at least; with none in a product that is not named. */
export interface VexComponent {
  /** False: nothing says what it is. */
  readonly isNamed: boolean;
  readonly purls: readonly PackageUrl[];
  /** `sha256:…`; absent where the document gives none. */
  readonly digest?: string;
}

export interface VexProduct extends VexComponent {
  /** The packages in it that are meant; empty: all of it. */
  readonly subcomponents: readonly VexComponent[];
}

export interface VexStatement {
  readonly documentId: string;
  readonly author: string;
  /** Its name and aliases. */
  readonly vulnerabilityIds: readonly string[];
  readonly status: VexStatus;
  readonly justification?: (typeof JUSTIFICATIONS)[number];
  readonly impactStatement?: string;
  readonly actionStatement?: string;
  readonly timeMs: number;
  /** Empty: only what encloses the document says what it is about. */
  readonly products: readonly VexProduct[];
}

export interface VexDocument {
  readonly id: string;
  readonly author: string;
  /** The valid ones. */
  readonly statements: readonly VexStatement[];
}

const WHAT = 'OpenVEX';
/** Tools go on writing the first, without a version, for documents of 0.2. */
const CONTEXT = /^https:\/\/openvex\.dev\/ns(?:\/v0\.[0-2]\.\d+)?$/;
const WRITTEN_CONTEXT = 'https://openvex.dev/ns/v0.2.0';

const optionalText = z
  .string()
  .nullish()
  .transform((text) => textOf(text, 512));

const component = z.object({
  '@id': optionalText,
  identifiers: z.record(z.string(), z.string()).nullish(),
  hashes: z.record(z.string(), z.string()).nullish(),
});
/** 0.0.1 has texts where 0.2 has objects. */
const named = <Shape extends z.ZodType>(object: Shape, key: string) =>
  z.preprocess((value) => (typeof value === 'string' ? { [key]: value } : value), object);

const statement = z.object({
  vulnerability: named(z.object({ '@id': optionalText, name: optionalText, aliases: listOf(z.string()) }), 'name'),
  products: listOf(named(component.extend({ subcomponents: listOf(named(component, '@id')) }), '@id')),
  status: z.enum(VEX_STATUSES),
  justification: z.enum(JUSTIFICATIONS).nullish().catch(undefined),
  impact_statement: optionalText,
  action_statement: optionalText,
  timestamp: z.string().nullish(),
});

const document = z.object({
  '@context': z.string(),
  '@id': optionalText,
  author: optionalText,
  timestamp: z.string().nullish(),
  statements: listOf(z.unknown()),
});

/** Throws a ReportError for what is no OpenVEX document; of one that is, only the valid statements are kept. */
export function parseOpenVex(body: string): VexDocument {
  const read = readReport(WHAT, body, document);
  if (!CONTEXT.test(read['@context']))
    throw new ReportError('UnsupportedSchema', `${WHAT}: ${read['@context'].slice(0, 128)} is not known, 0.2 is`);
  const origin = { documentId: read['@id'] ?? '', author: read.author ?? '' };
  const issuedMs = timeMsOf(read.timestamp);
  return {
    id: origin.documentId,
    author: origin.author,
    statements: read.statements.flatMap((raw) => {
      const { success, data } = statement.safeParse(raw);
      return success ? toStatement(data, origin, issuedMs) : [];
    }),
  };
}

/** None when it is not valid: without a name or a time, or not_affected without a reason. */
function toStatement(
  read: z.output<typeof statement>,
  origin: Pick<VexStatement, 'documentId' | 'author'>,
  issuedMs: number | undefined,
): VexStatement[] {
  const { vulnerability, status, justification, impact_statement: impact, action_statement: action } = read;
  const vulnerabilityIds = [vulnerability.name, vulnerability['@id'], ...vulnerability.aliases]
    .map((id) => textOf(id, 512))
    .filter((id) => id !== undefined);
  const timeMs = timeMsOf(read.timestamp) ?? issuedMs;
  const hasReason = typeof justification === 'string' || impact !== undefined;
  if (vulnerabilityIds.length === 0 || timeMs === undefined || (status === 'not_affected' && !hasReason)) return [];
  return [
    {
      ...origin,
      vulnerabilityIds,
      status,
      ...(typeof justification === 'string' && { justification }),
      ...(impact !== undefined && { impactStatement: impact }),
      ...(action !== undefined && { actionStatement: action }),
      timeMs,
      products: read.products.map((product) => ({
        ...toComponent(product),
        subcomponents: product.subcomponents.map(toComponent),
      })),
    },
  ];
}

function toComponent({ '@id': id, identifiers, hashes }: z.output<typeof component>): VexComponent {
  const names = [...(id === undefined ? [] : [id]), ...Object.values(identifiers ?? {})];
  const sha256 = hashes?.['sha-256']?.toLowerCase();
  return {
    isNamed: names.length > 0 || Object.keys(hashes ?? {}).length > 0,
    purls: names.map(parsePurl).filter((purl) => purl !== undefined),
    ...(sha256 !== undefined && { digest: `sha256:${sha256}` }),
  };
}

/** Undefined for none, for one that is no time, and for the year 1, which Go writes for none. */
function timeMsOf(text: string | null | undefined): number | undefined {
  const timeMs = parseTimestampMs(text ?? undefined);
  return timeMs !== undefined && timeMs > 0 ? timeMs : undefined;
}

/** The image that a finding is in. */
export interface VexImage {
  /** The last part of the repository: `web`. */
  readonly name: string;
  /** `sha256:…`, of the platform's manifest. */
  readonly digest: string;
  /** `registry.example.com/shop/web`. */
  readonly repositoryUrl: string;
}

export interface VexQuery {
  /** The vulnerability's name and its other names. */
  readonly vulnerabilityIds: readonly string[];
  readonly image: VexImage;
  /** Of the package. Absent: only what is said of the whole image applies. */
  readonly purl?: string | undefined;
}

/**
 * The statement that holds: of those about the digest the latest, else of those about the repository, else of those about
 * the package wherever it is. Of several at the same time the most careful one. Undefined: nobody says anything.
 */
export function findVexStatement(
  documents: readonly VexDocument[],
  { vulnerabilityIds, image, purl }: VexQuery,
): VexStatement | undefined {
  const ids = new Set(vulnerabilityIds.map((id) => id.toLowerCase()));
  const parsed = purl === undefined ? undefined : parsePurl(purl);
  let best: { readonly precision: number; readonly statement: VexStatement } | undefined;
  for (const { statements } of documents) {
    for (const candidate of statements) {
      if (!candidate.vulnerabilityIds.some((id) => ids.has(id.toLowerCase()))) continue;
      const precision = most(candidate.products.map((product) => precisionOf(product, image, parsed)));
      if (precision === Precision.None || precision < (best?.precision ?? Precision.None)) continue;
      if (precision === best?.precision && !wins(candidate, best.statement)) continue;
      best = { precision, statement: candidate };
    }
  }
  return best?.statement;
}

const Precision = { None: 0, Package: 1, Repository: 2, Digest: 3 } as const;

/** Not Math.max(...): a document may have more products than a call has arguments. */
function most(precisions: readonly number[]): number {
  return precisions.reduce((best, precision) => Math.max(best, precision), Precision.None);
}

function precisionOf(product: VexProduct, image: VexImage, purl: PackageUrl | undefined): number {
  const means = ({ purls }: VexComponent): boolean =>
    purl !== undefined && purls.some((pattern) => coversPurl(pattern, purl));
  const { subcomponents } = product;
  const meansPart = subcomponents.some(means);
  const ofImage =
    product.digest === image.digest ? Precision.Digest : most(product.purls.map((it) => precisionOfImage(it, image)));
  if (ofImage !== Precision.None) return subcomponents.length === 0 || meansPart ? ofImage : Precision.None;
  // A product that is something else says nothing here, even where it has the same package in it.
  const ofPackage = product.isNamed ? subcomponents.length === 0 && means(product) : meansPart;
  return ofPackage ? Precision.Package : Precision.None;
}

function precisionOfImage({ type, name, version, qualifiers }: PackageUrl, image: VexImage): number {
  const { repository_url: repositoryUrl, ...others } = qualifiers;
  if (type !== 'oci' || name !== image.name) return Precision.None;
  if (repositoryUrl !== undefined && !isRepository(repositoryUrl, image)) return Precision.None;
  if (version !== undefined) return version === image.digest ? Precision.Digest : Precision.None;
  // Without a repository it would be everybody's image of that name; a tag or an architecture means only some digests.
  const isRepositoryOnly = repositoryUrl !== undefined && Object.keys(others).length === 0;
  return isRepositoryOnly ? Precision.Repository : Precision.None;
}

/** vexctl leaves the name out of the repository, others write all of it. */
function isRepository(url: string, { name, repositoryUrl }: VexImage): boolean {
  const wanted = canonical(repositoryUrl);
  return canonical(url) === wanted || canonical(`${url}/${name}`) === wanted;
}

/** One name for each repository: Docker Hub has several. */
function canonical(url: string): string {
  const bare = url.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  try {
    return formatRepository(parseRepository(bare));
  } catch {
    return bare;
  }
}

function wins(candidate: VexStatement, best: VexStatement): boolean {
  if (candidate.timeMs !== best.timeMs) return candidate.timeMs > best.timeMs;
  const carefulness = VEX_STATUSES.indexOf(candidate.status) - VEX_STATUSES.indexOf(best.status);
  // The text only so that the order of the documents does not matter.
  return carefulness > 0 || (carefulness === 0 && JSON.stringify(candidate) > JSON.stringify(best));
}

/** An exception, and what readers outside the cluster cannot know. */
export interface ExportedException extends Exception {
  /** Package URLs of the images that it is for. Absent: what encloses the document says it, as an attestation does. */
  readonly products?: readonly string[];
  /** Why it was accepted. */
  readonly reason?: string;
}

/** An OpenVEX document, as it is written. */
export interface OpenVex {
  readonly '@context': string;
  readonly '@id': string;
  readonly author: string;
  readonly timestamp: string;
  readonly version: number;
  readonly statements: readonly {
    readonly vulnerability: { readonly name: string };
    readonly products?: readonly { readonly '@id': string }[];
    readonly status: VexStatus;
    readonly status_notes: string;
    readonly action_statement: string;
  }[];
}

/**
 * What has been accepted and not expired. The status is `affected`: an accepted vulnerability is still there, and OpenVEX
 * knows no end, so that `not_affected` would outlive the exception wherever the document is read.
 */
export function toOpenVex(
  exceptions: readonly ExportedException[],
  { author, nowMs, id }: { readonly author: string; readonly nowMs: number; readonly id: string },
): OpenVex {
  return {
    '@context': WRITTEN_CONTEXT,
    '@id': id,
    author,
    timestamp: toTimestamp(nowMs),
    version: 1,
    statements: exceptions
      .filter(({ expiresMs = Infinity }) => expiresMs > nowMs)
      .map((exception) => ({
        vulnerability: { name: exception.id },
        ...(exception.products !== undefined && { products: exception.products.map((purl) => ({ '@id': purl })) }),
        status: 'affected',
        status_notes: exception.source,
        action_statement: describeException(exception),
      })),
  };
}

/** `Accepted in openssl until 2026-07-01T00:00:00Z: not reachable`. */
function describeException({ package: name, expiresMs, reason }: ExportedException): string {
  const where = name === undefined ? '' : ` in ${name}`;
  const until = expiresMs === undefined ? '' : ` until ${toTimestamp(expiresMs)}`;
  return `Accepted${where}${until}${reason === undefined ? '' : `: ${reason}`}`;
}
