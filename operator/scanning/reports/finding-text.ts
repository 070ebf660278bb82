// What scanners say in words: how bad a finding is, which versions fix it, and whether anybody will.

import { SEVERITIES, type FixState, type Severity } from '../../api/scan-facts.ts';
import { textOf } from './read-report.ts';

const BY_WORD: ReadonlyMap<string, Severity> = new Map([
  ...SEVERITIES.map((severity) => [severity.toLowerCase(), severity] as const),
  // GitHub and Red Hat have words of their own.
  ['moderate', 'Medium'],
  ['important', 'High'],
]);

/** The worst rating among the words; undefined when none of them is one. UNKNOWN is none: a score may know better. */
export function severityOfWords(words: readonly string[]): Severity | undefined {
  const ranks = words.map((word) => SEVERITIES.indexOf(BY_WORD.get(word.trim().toLowerCase()) ?? 'Unknown'));
  const worst = SEVERITIES[ranks.reduce((a, b) => Math.max(a, b), 0)];
  return worst === 'Unknown' ? undefined : worst;
}

/** By the highest CVSS score; what is no number does not count. */
export function severityOfScores(scores: readonly (string | number)[]): Severity {
  const highest = scores.map(Number).reduce((a, b) => (b > a ? b : a), 0);
  if (highest >= 9) return 'Critical';
  if (highest >= 7) return 'High';
  if (highest >= 4) return 'Medium';
  return highest > 0 ? 'Low' : 'Unknown';
}

/** Of a list with commas. */
export function fixedVersionsOf(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .flatMap((version) => textOf(version, 256) ?? [])
    .slice(0, 8);
}

/** Trivy's status of a vulnerability, which its adapter for Harbor passes on. */
export const TRIVY_FIX_STATES: ReadonlyMap<string, FixState> = new Map([
  ['fixed', 'Fixed'],
  ['affected', 'Affected'],
  ['will_not_fix', 'WillNotFix'],
  ['fix_deferred', 'FixDeferred'],
  ['end_of_life', 'EndOfLife'],
]);
