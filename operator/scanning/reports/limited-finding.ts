// From the words of a scanner to a finding that keeps within its schema, however long they are.

import * as z from 'zod';
import { SEVERITIES, type Finding, type FixState, type Severity } from '../../api/scan-facts.ts';
import { parseDigest } from '../../image/digest.ts';
import { ReportError } from '../report-error.ts';
import { textOf } from './read-report.ts';

/** A text that may be missing. */
export const text = z.string().nullish();
type Text = string | null | undefined;

const MAX_FIXED_VERSIONS = 8;

interface ScannerWords {
  readonly id: Text;
  readonly package: Text;
  readonly version: Text;
  readonly purl?: Text;
  readonly severity: Severity;
  /** May repeat themselves and be empty. */
  readonly fixedVersions: readonly string[];
  /** What is true when no version has the fix. Absent: the scanner does not say. */
  readonly fixState?: FixState | undefined;
  readonly layerDiffId?: Text;
  readonly layerDigest?: Text;
  readonly path?: Text;
}

/**
 * `what`: the format, for messages. Throws a ReportError for a finding without a name or a package: it cannot be kept, and
 * without it the image would look better than it is.
 */
export function limitedFinding(what: string, words: ScannerWords): Finding {
  const id = textOf(words.id, 128);
  const name = textOf(words.package, 256);
  if (id === undefined || name === undefined)
    throw new ReportError('Unreadable', `${what}: a finding without a name or a package`);
  const purl = textOf(words.purl, 512);
  const layerDiffId = parseDigest(words.layerDiffId ?? undefined);
  const layerDigest = parseDigest(words.layerDigest ?? undefined);
  const path = textOf(words.path, 512);
  const versions = new Set(words.fixedVersions.flatMap((version) => textOf(version, 256) ?? []));
  return {
    id,
    aliases: [],
    package: name,
    version: textOf(words.version, 256) ?? '',
    ...(purl !== undefined && { purl }),
    severity: words.severity,
    fixState: versions.size > 0 ? 'Fixed' : (words.fixState ?? 'Unknown'),
    fixedVersions: [...versions].slice(0, MAX_FIXED_VERSIONS),
    ...(layerDiffId !== undefined && { layerDiffId }),
    ...(layerDigest !== undefined && { layerDigest }),
    ...(path !== undefined && { path }),
  };
}

/** Unknown for a word that is none of ours, in whatever case. */
export function severityOf(word: Text): Severity {
  const wanted = word?.trim().toLowerCase();
  return SEVERITIES.find((severity) => severity.toLowerCase() === wanted) ?? 'Unknown';
}

/** One of each: a package may be found in several ways. What counts goes before what is suppressed. */
export function uniqueFindings(findings: readonly Finding[]): readonly Finding[] {
  const kept = new Map<string, Finding>();
  for (const finding of findings) {
    const key = JSON.stringify([finding.id, finding.package, finding.version, finding.path]);
    const known = kept.get(key);
    if (known === undefined || (known.suppressed !== undefined && finding.suppressed === undefined))
      kept.set(key, finding);
  }
  return [...kept.values()];
}
