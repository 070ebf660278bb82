// Advice for people, for programs, and for the code scanning of forges.

import type { Advice } from './advice.ts';
import { toSarif } from './sarif.ts';

export const ADVICE_FORMATS = ['text', 'json', 'sarif'] as const;
export type AdviceFormat = (typeof ADVICE_FORMATS)[number];

/** Without a line end at the end. Text: a line per advice, as compilers write it; empty when there is none. */
export function formatAdvice(advice: readonly Advice[], format: AdviceFormat): string {
  switch (format) {
    case 'text':
      return advice.map(formatLine).join('\n');
    case 'json':
      return JSON.stringify(advice, undefined, 2);
    case 'sarif':
      return JSON.stringify(toSarif(advice), undefined, 2);
  }
}

function formatLine({ rule, severity, message, location }: Advice): string {
  // Names come from files that somebody else may have written, and go to a terminal.
  return `${formatLocation(location)}${severity}: ${message} [${rule}]`.replace(/\p{Cc}/gu, '?');
}

function formatLocation(location: Advice['location']): string {
  if (location === undefined) return '';
  return 'file' in location ? `${location.file}:${location.line}: ` : `layer ${location.layer}: `;
}
