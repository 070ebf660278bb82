// Reasons for people: what became of every tag, counted, exemplified, and put into sentences that say what was wanted.

import { formatDurationMs, toTimestamp } from '../time/duration.ts';
import type { Examination } from './choose.ts';
import { MAX_EXAMINED, MAX_SEEN, reasonAt, type Ranking } from './rank.ts';
import { REJECTION_CODES, type RejectionCode } from './rejection.ts';
import { parseVersion } from './semver/version.ts';

/** `Selected`: the choice. `Current`: it runs and qualifies. */
export type Reason = RejectionCode | 'Selected' | 'Current';

/** What a sentence may refer to. Without facts from a registry only the chosen tag is known. */
export interface Outcome {
  readonly chosen?: { readonly tag: string } | undefined;
  readonly examined?: readonly Examination[] | undefined;
}

export interface TagVerdict {
  readonly tag: string;
  readonly reason: Reason;
}

export interface RejectedTag {
  readonly tag: string;
  readonly reason: RejectionCode;
  readonly message: string;
}

/** `status.tags`: the same for the same set of tags, whatever the order of the list. */
export interface TagsSummary {
  readonly total: number;
  readonly considered: number;
  readonly rejectedByReason: Readonly<Partial<Record<RejectionCode, number>>>;
  /** A few of each reason, sorted by tag. */
  readonly rejected: readonly RejectedTag[];
}

/** The outcome as far as a list of tags alone can tell: the best candidate, taken to be usable. */
export function offlineOutcome(ranking: Ranking): Outcome {
  const [best] = ranking.uninspected.length === 0 ? ranking.candidates : [];
  return best ? { chosen: best } : {};
}

/** The reason for one tag after another, in the list's order. */
export function* judgeTags(ranking: Ranking, outcome: Outcome): Generator<TagVerdict> {
  const known = knownReasons(ranking, outcome);
  for (const [index, tag] of ranking.tags.entries()) {
    yield { tag, reason: known.get(tag) ?? reasonAt(ranking, index) ?? 'Current' };
  }
}

/** Reasons that facts or the choice decided, instead of the list alone. */
function knownReasons(ranking: Ranking, { chosen, examined = [] }: Outcome): Map<string, Reason> {
  const reasons = new Map<string, Reason>();
  for (const { tag, tiesWith } of ranking.candidates) {
    if (tiesWith !== undefined && tiesWith === chosen?.tag) reasons.set(tag, 'DuplicateOf');
  }
  for (const examination of examined) {
    if (examination.kind === 'Rejected') reasons.set(examination.tag, examination.code);
    if (examination.kind === 'Waiting') reasons.set(examination.tag, 'Pending');
  }
  if (chosen) reasons.set(chosen.tag, chosen.tag === ranking.current ? 'Current' : 'Selected');
  return reasons;
}

export function summarizeTags(
  ranking: Ranking,
  outcome: Outcome,
  options: { readonly maxExamples: number; readonly maxExamplesPerReason?: number },
): TagsSummary {
  const { maxExamples, maxExamplesPerReason = 3 } = options;
  const counts = new Map<RejectionCode, number>();
  const examples = new Map<RejectionCode, string[]>();
  for (const { tag, reason } of judgeTags(ranking, outcome)) {
    if (reason === 'Selected' || reason === 'Current') continue;
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
    keepGreatest(examples, reason, tag, maxExamplesPerReason);
  }
  // What had to be examined was closest to being chosen, so its reasons come first.
  const codes = [...REJECTION_CODES].reverse();
  const shown = codes
    .flatMap((reason) => (examples.get(reason) ?? []).map((tag) => ({ tag, reason })))
    .slice(0, maxExamples);
  return {
    total: ranking.tags.length,
    considered: ranking.considered,
    rejectedByReason: Object.fromEntries(
      REJECTION_CODES.filter((code) => counts.has(code)).map((code) => [code, counts.get(code)]),
    ),
    rejected: shown
      .map(({ tag, reason }) => ({ tag, reason, message: explainRejection(reason, tag, ranking, outcome) }))
      .sort((a, b) => (a.tag < b.tag ? -1 : 1)),
  };
}

/** Keeps the tags that are greatest in bytes: a rule that does not depend on the order of the list. */
function keepGreatest(examples: Map<RejectionCode, string[]>, reason: RejectionCode, tag: string, most: number): void {
  const kept = examples.get(reason);
  if (!kept) {
    examples.set(reason, [tag]);
    return;
  }
  if (kept.includes(tag)) return;
  if (kept.length < most) kept.push(tag);
  else if (tag > (kept.at(-1) ?? '')) kept[kept.length - 1] = tag;
  else return;
  kept.sort((a, b) => (a > b ? -1 : 1));
}

/** A sentence about one tag, for any reason. */
export function explainReason(reason: Reason, tag: string, ranking: Ranking, outcome: Outcome): string {
  if (reason === 'Selected') return `${tag} is the best tag that qualifies.`;
  if (reason === 'Current') return `${tag} is in use and qualifies.`;
  return explainRejection(reason, tag, ranking, outcome);
}

/** Why a tag was passed over, and what was wanted instead. */
export function explainRejection(code: RejectionCode, tag: string, ranking: Ranking, outcome: Outcome): string {
  const { rules, current } = ranking;
  const { input } = rules;
  const examination = outcome.examined?.find((candidate) => candidate.kind !== 'Eligible' && candidate.tag === tag);
  const compared = comparedValue(ranking, tag);
  const what = compared === tag ? tag : `${tag} (compared as ${JSON.stringify(compared)})`;
  switch (code) {
    case 'NotMatched':
      return `${tag} does not match the filter ${input.filter ?? ''}.`;
    case 'Excluded':
      return `${tag} matches the exclusion ${rules.exclude.find((expression) => expression.test(tag))?.source ?? ''}.`;
    case 'Artifact':
      return `${tag} is the tag of a signature, an attestation or a build cache, never of an image to run.`;
    case 'InvalidTag':
      return `${JSON.stringify(tag.slice(0, 140))} is not a tag: letters, digits, _, - and ., at most 128.`;
    case 'ExtractedEmpty':
      return `${tag} matches the filter, but extract ${input.extract ?? ''} makes nothing of it.`;
    case 'NotSemver':
      return parseVersion(compared, 1)
        ? `${what} has fewer than three numbers; wanted: ${rules.order.wanted}.`
        : `${what} is not a semantic version; wanted: ${rules.order.wanted}.`;
    case 'OutOfRange':
      return `${what} is outside the range ${input.semver?.range ?? ''}.`;
    case 'Prerelease':
      return `${what} is a prerelease; set semver.prerelease, name a prerelease in the range, or set semver.variant if its suffix is a variant.`;
    case 'OtherVariant':
      return `${what} does not end in -${input.semver?.variant ?? ''}.`;
    case 'NotNumeric':
      return `${what} is not a decimal number.`;
    case 'NotFixedTag':
      return `${tag} is not the tag that is followed, ${rules.fixedTag ?? ''}.`;
    case 'CreationTimeUnknown':
      return `${tag} has not been inspected for its creation time yet.`;
    case 'CreationTimeUnusable':
      return `${tag} states no creation time of its own: it is zero, or shared with another image.`;
    case 'NotNewer':
      return `${what} is not above ${current ?? 'what runs'}, which is in use.`;
    case 'Superseded':
      return supersededBy(what, ranking, outcome);
    case 'DuplicateOf':
      return `${what} compares as equal to ${outcome.chosen?.tag ?? 'the chosen tag'}, which comes first by its bytes.`;
    case 'NotExamined':
      return `${what} ranks below the best ${MAX_EXAMINED} candidates, and only those are looked at.`;
    case 'Pending':
      return `${tag} could not be judged yet${messageOf(examination)}.`;
    case 'TagGone':
      return `${tag} was listed, but the registry no longer finds it.`;
    case 'CompanionMissing':
      return `${tag} is not in ${missingImage(examination)}, whose images move together with this one.`;
    case 'NotAnImage':
      return `${tag} is not a container image.`;
    case 'PlatformMissing':
      return `${tag} lacks the platform ${missingPlatforms(examination)}.`;
    case 'TooYoung':
      return `${tag} has not been there for ${formatDurationMs(rules.minimumAgeMs)} yet${ripeTime(examination)}.`;
    case 'SeenFull':
      return `${tag} waits to be noted: the age of ${MAX_SEEN} other tags is being watched already.`;
  }
}

function comparedValue({ rules }: Ranking, tag: string): string {
  const found = rules.extract && rules.filter?.match(tag);
  return (found && rules.extract(tag, found)) || tag;
}

function supersededBy(what: string, ranking: Ranking, { chosen }: Outcome): string {
  const better = chosen?.tag ?? ranking.candidates[0]?.tag;
  return better === undefined ? `${what} is not the best candidate.` : `${what} ranks below ${better}.`;
}

function messageOf(examination: Examination | undefined): string {
  if (examination?.kind !== 'Waiting') return '';
  return examination.message === undefined
    ? `: its ${examination.lacks.toLowerCase()} is unknown`
    : `: ${examination.message}`;
}

function missingPlatforms(examination: Examination | undefined): string {
  return (examination?.kind === 'Rejected' && examination.missingPlatforms?.join(', ')) || 'that is needed';
}

function missingImage(examination: Examination | undefined): string {
  return (examination?.kind === 'Rejected' && examination.missingImage) || 'the repository of a companion';
}

function ripeTime(examination: Examination | undefined): string {
  if (examination?.kind !== 'Rejected' || examination.oldEnoughTimeMs === undefined) return '';
  return `: not before ${toTimestamp(examination.oldEnoughTimeMs)}`;
}
