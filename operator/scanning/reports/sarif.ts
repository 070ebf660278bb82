// SARIF, the format that every scanner writes and that knows neither packages nor versions nor systems. Good enough to
// take over findings; Trivy alone says in it which image it is about.
// @see https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html

import * as z from 'zod';
import type { Finding, ScanReport } from '../../api/scan-facts.ts';
import { parseDigest } from '../../image/digest.ts';
import { ReportError } from '../report-error.ts';
import { fixedVersionsOf, severityOfScores, severityOfWords } from './finding-text.ts';
import { limitFindings, listOf, readReport, textOf, timeOf } from './read-report.ts';

const WHAT = 'SARIF';
const VERSION = '2.1.0';

const optionalText = z.string().nullish();

const rule = z.object({
  id: optionalText,
  name: optionalText,
  properties: z
    .object({ 'security-severity': z.union([z.string(), z.number()]).nullish(), tags: listOf(z.string()) })
    .nullish(),
});

// Its `suppressions` are left aside: there are Grypes that write one beside every result.
const result = z.object({
  ruleId: optionalText,
  ruleIndex: z.number().nullish(),
  message: z.object({ text: optionalText }).nullish(),
  locations: listOf(
    z.object({
      physicalLocation: z.object({ artifactLocation: z.object({ uri: optionalText }).nullish() }).nullish(),
    }),
  ),
});

const run = z.object({
  tool: z.object({
    driver: z.object({ name: z.string(), version: optionalText, semanticVersion: optionalText, rules: listOf(rule) }),
  }),
  invocations: listOf(z.object({ executionSuccessful: z.boolean().nullish(), endTimeUtc: optionalText })),
  // No list at all stands for a run that scanned nothing, so that only an empty one says that nothing was found.
  results: z.array(result),
  properties: z.object({ imageName: optionalText, repoDigests: listOf(z.string()), imageID: optionalText }).nullish(),
});

// The version is judged first: another one looks different everywhere else.
const log = z.preprocess(requireVersion, z.object({ runs: z.array(run) }));

type Rule = z.output<typeof rule>;
type Result = z.output<typeof result>;
type Run = z.output<typeof run>;

/** Throws a ReportError when it cannot be relied on. Whose image it is about is for the caller to check. */
export function parseSarifReport(body: string): ScanReport {
  const { runs } = readReport(WHAT, body, log);
  const [first] = runs;
  if (first === undefined) throw new ReportError('Unreadable', `${WHAT}: there is no run in it`);
  if (runs.some(({ invocations }) => invocations.some((it) => it.executionSuccessful === false)))
    throw new ReportError('Unreadable', `${WHAT}: the scanner says that it failed`);
  const results = limitFindings(
    WHAT,
    runs.flatMap((it) => it.results),
  );

  const { driver } = first.tool;
  const finishedTime = finishedTimeOf(runs);
  return {
    subject: subjectOf(runs),
    scanner: {
      name: textOf(driver.name, 64) ?? 'unnamed',
      version: textOf(driver.version ?? driver.semanticVersion, 64) ?? '',
    },
    ...(finishedTime !== undefined && { finishedTime }),
    // The format cannot say whether the system was recognised, and one that was not looks just as clean.
    assessed: 'Partial',
    findings: results.length === 0 ? [] : runs.flatMap(findingsOf),
  };
}

function requireVersion(document: unknown): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const version = 'version' in document ? document.version : undefined;
  if (version === VERSION) return document;
  const found = typeof version === 'string' ? `version ${version.slice(0, 32)}` : 'no version';
  // zod lets an error pass that is none of its own.
  throw new ReportError('UnsupportedSchema', `${WHAT}: ${found}; ${VERSION} is understood`);
}

function subjectOf(runs: readonly Run[]): ScanReport['subject'] {
  const properties = runs.flatMap((it) => it.properties ?? []);
  const configDigests = new Set(properties.flatMap(({ imageID }) => parseDigest(imageID ?? undefined) ?? []));
  if (configDigests.size > 1)
    throw new ReportError('AnotherImage', `${WHAT}: it is about ${configDigests.size} images, and one was asked for`);
  const [configDigest] = configDigests;
  const references = properties.flatMap(({ imageName, repoDigests }) => [...repoDigests, imageName ?? '']);
  return {
    ...(configDigest !== undefined && { configDigest }),
    repoDigests: [...new Set(references.flatMap((it) => parseDigest(it.replace(/^.*@/, '')) ?? []))],
  };
}

/** The end of the run that ended first: the facts are no younger. Undefined unless all of them say it. */
function finishedTimeOf(runs: readonly Run[]): string | undefined {
  const ends = runs.map(({ invocations }) => timeOf(invocations.at(-1)?.endTimeUtc));
  return ends.every((end) => end !== undefined) ? ends.toSorted()[0] : undefined;
}

/** Tags that Trivy gives to what it finds beside vulnerabilities. */
const OTHER_KINDS: readonly string[] = ['misconfiguration', 'secret', 'license'];

function findingsOf({ tool, results }: Run): Finding[] {
  const { rules } = tool.driver;
  const byId = new Map(rules.map((it) => [it.id, it]));
  return results.flatMap((it) => {
    // The index first: ids need not be unique. But some write 0 for all.
    const indexed = rules[it.ruleIndex ?? -1];
    const ruleId = it.ruleId ?? indexed?.id;
    const found = indexed !== undefined && indexed.id === ruleId ? indexed : byId.get(ruleId);
    const isOther = found?.properties?.tags.some((tag) => OTHER_KINDS.includes(tag.toLowerCase())) === true;
    return isOther ? [] : [toFinding(ruleId, it, found)];
  });
}

function toFinding(
  ruleId: string | null | undefined,
  { message, locations }: Result,
  found: Rule | undefined,
): Finding {
  const { id, suffix } = readRuleId(ruleId);
  const text = message?.text ?? '';
  const fixedVersions = fixedVersionsOf(FIXED.exec(text)?.[1]);
  const uri = textOf(locations[0]?.physicalLocation?.artifactLocation?.uri, 512);
  // For a package of the system Trivy writes the repository there.
  const path = found?.name === 'OsPackageVulnerability' ? undefined : uri;
  return {
    id,
    aliases: [],
    package: textOf(PACKAGE.exec(text)?.[1], 256) ?? suffix ?? textOf(uri, 256) ?? 'unnamed',
    version: textOf(INSTALLED.exec(text)?.[1], 256) ?? '',
    severity:
      severityOfWords(found?.properties?.tags ?? []) ??
      severityOfScores([found?.properties?.['security-severity'] ?? '']),
    fixState: fixedVersions.length > 0 ? 'Fixed' : 'Unknown',
    fixedVersions,
    ...(path !== undefined && { path }),
  };
}

const PACKAGE = /^Package:(.*)$/m;
const INSTALLED = /^Installed Version:(.*)$/m;
const FIXED = /^Fixed Version:(.*)$/m;

const NAMED_RULE = /^(CVE-\d{4}-\d{4,}|GHSA(?:-[0-9a-z]{4}){3})-(.+)$/;

/** Grype puts the package behind the vulnerability: `CVE-2026-30001-libssl3`. */
function readRuleId(ruleId: string | null | undefined): { readonly id: string; readonly suffix?: string | undefined } {
  const id = textOf(ruleId, 128);
  if (id === undefined) throw new ReportError('Unreadable', `${WHAT}: a result does not say which vulnerability it is`);
  const [, name, suffix] = NAMED_RULE.exec(ruleId ?? '') ?? [];
  return name === undefined ? { id } : { id: name.slice(0, 128), suffix: textOf(suffix, 256) };
}
