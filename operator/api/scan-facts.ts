// What a scanner says about one image, in one shape whatever the scanner. Facts only: what follows from them is each
// policy's own verdict.

import * as z from 'zod';
import { sentence, timestamp } from './schema.ts';

/** From the least to the worst. Unknown: the scanner has no rating. */
export const SEVERITIES = ['Unknown', 'Negligible', 'Low', 'Medium', 'High', 'Critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Affected: no fix exists yet. WillNotFix, FixDeferred, EndOfLife: the vendor said so. Unknown: the scanner does not say. */
export const FIX_STATES = ['Fixed', 'Affected', 'WillNotFix', 'FixDeferred', 'EndOfLife', 'Unknown'] as const;
export type FixState = (typeof FIX_STATES)[number];

/** Full: the scanner knows this system. Partial: it does only in part, or the system is at its end of life. None: it recognised nothing. */
export const ASSESSMENTS = ['Full', 'Partial', 'None'] as const;
export type Assessment = (typeof ASSESSMENTS)[number];

const shortText = (): z.ZodString => z.string().max(256);

export const finding = z
  .object({
    id: z.string().min(1).max(128).describe('Name of the vulnerability. Example: CVE-2026-30001.'),
    aliases: z.array(z.string().max(128)).max(8).default([]).describe('Its other names, for example GHSA-….'),
    package: shortText().min(1).describe('The package it is in. Example: libssl3.'),
    version: shortText().describe('The version that is installed. Empty when the scanner does not say.'),
    purl: z.string().max(512).optional().describe('The package URL. Absent when the scanner gives none.'),
    severity: z.enum(SEVERITIES).describe('How bad it is, as the scanner rates it.'),
    fixState: z.enum(FIX_STATES).describe('Whether a fix exists.'),
    fixedVersions: z.array(shortText()).max(8).default([]).describe('Versions that have the fix.'),
    layerDiffId: z.string().max(71).optional().describe('diff_id of the layer that brought it. Absent when unknown.'),
    layerDigest: z.string().max(71).optional().describe('Digest of the layer that brought it. Absent when unknown.'),
    path: z.string().max(512).optional().describe('File that it was found in. Absent when unknown.'),
    knownExploited: z.boolean().optional().describe('true: it is known to be exploited.'),
    suppressed: z
      .object({
        by: z.enum(['Vex', 'Ignore', 'Policy']).describe('What suppressed it.'),
        status: z.string().max(64).describe('As the scanner says it, for example not_affected.'),
        statement: sentence(512).optional().describe('Why. Absent when nobody said so.'),
      })
      .optional()
      .describe('The scanner was told that it does not apply. Absent: it counts.'),
  })
  .describe('One vulnerability in one package.');

type Plain<T> = T extends readonly (infer Item)[]
  ? readonly Plain<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Plain<T[Key]> }
    : T;

export type Finding = Plain<z.output<typeof finding>>;

export const operatingSystem = z
  .object({
    family: z.string().max(64).describe('Example: debian.'),
    version: z.string().max(64).describe('Example: 12.10. Empty when the scanner does not say.'),
    endOfLife: z.boolean().describe('true: nobody fixes it any more.'),
  })
  .describe('The operating system of the image.');

export const scannerIdentity = z
  .object({
    name: z.string().min(1).max(64).describe('The program. Example: grype.'),
    version: z.string().max(64).describe('Its version. Empty when it does not say.'),
  })
  .describe('The program that scanned.');

export const database = z
  .object({
    id: z.string().max(128).optional().describe('Names this state of the data. Absent when only its time is known.'),
    updatedTime: timestamp().describe('When it was built.'),
  })
  .describe('The vulnerability data that was used.');

/** Everything one report says. */
export interface ScanReport {
  /** What the report says it is about; each as `sha256:…`, absent where the format does not say. */
  readonly subject: {
    /** Digest of the platform's manifest. */
    readonly digest?: string;
    /** Digest of the image configuration. */
    readonly configDigest?: string;
    /** Digests by which the image was asked for; may be that of an index. */
    readonly repoDigests: readonly string[];
    /** `linux/amd64`. */
    readonly platform?: string;
  };
  readonly scanner: z.output<typeof scannerIdentity>;
  /** Absent: the scanner does not say which data it used. */
  readonly database?: z.output<typeof database>;
  /** When the scan ended, RFC 3339. Absent where the format does not say. */
  readonly finishedTime?: string;
  /** Absent: not recognised. */
  readonly os?: z.output<typeof operatingSystem>;
  readonly assessed: Assessment;
  /** Suppressed ones included. */
  readonly findings: readonly Finding[];
}

const count = (): z.ZodInt => z.int().min(0);

/** How many findings of one severity there are. `fixable`: those of them for which a fix exists. */
const severityCount = z.object({
  total: count().describe('How many.'),
  fixable: count().describe('How many of them have a fix.'),
});

export const severityCounts = z
  .object({
    critical: severityCount.describe('Critical.'),
    high: severityCount.describe('High.'),
    medium: severityCount.describe('Medium.'),
    low: severityCount.describe('Low.'),
    negligible: severityCount.describe('Negligible.'),
    unknown: severityCount.describe('Without a rating.'),
  })
  .describe('Findings by severity, those left out that the scanner was told to suppress.');

export type SeverityCounts = Plain<z.output<typeof severityCounts>>;

/** What is kept of a report: all counts, and the findings from the worst down for as long as there is room. */
export const scanFacts = z
  .object({
    scanner: scannerIdentity,
    database: database.optional().describe('The data that was used. Absent when the scanner does not say.'),
    finishedTime: timestamp().describe('When the scan ended.'),
    os: operatingSystem.optional().describe('The operating system. Absent when it was not recognised.'),
    assessed: z
      .enum(ASSESSMENTS)
      .describe(
        'Full: the scanner knows this system. Partial: only in part, or its vendor fixes nothing any more. None: it recognised nothing.',
      ),
    counts: severityCounts,
    findings: z
      .array(finding)
      .max(2_000)
      .describe('Findings of severity Low and above or without a rating, the worst first, up to 48 KiB.'),
    omitted: severityCounts.optional().describe('Those of them that had no room. Absent: there are none.'),
  })
  .describe('What the scanner found.');

export type ScanFacts = Plain<z.output<typeof scanFacts>>;
