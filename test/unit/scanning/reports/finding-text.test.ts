import { describe, expect, it } from '@jest/globals';
import type { Severity } from '../../../../operator/api/scan-facts.ts';
import {
  fixedVersionsOf,
  severityOfScores,
  severityOfWords,
} from '../../../../operator/scanning/reports/finding-text.ts';

describe('severityOfWords', () => {
  it.each<{ words: readonly string[]; want: Severity | undefined }>([
    { words: ['vulnerability', 'security', 'HIGH'], want: 'High' },
    { words: [' low ', 'Critical', 'medium'], want: 'Critical' },
    { words: ['negligible'], want: 'Negligible' },
    { words: ['moderate'], want: 'Medium' },
    { words: ['Important'], want: 'High' },
    { words: ['UNKNOWN'], want: undefined },
    { words: ['constructor', '9.8'], want: undefined },
    { words: [], want: undefined },
  ])('is $want for $words', ({ words, want }) => {
    expect(severityOfWords(words)).toBe(want);
  });
});

describe('severityOfScores', () => {
  it.each<{ scores: readonly (string | number)[]; want: Severity }>([
    { scores: ['10.0'], want: 'Critical' },
    { scores: [9], want: 'Critical' },
    { scores: ['8.9'], want: 'High' },
    { scores: ['7.0'], want: 'High' },
    { scores: ['6.9'], want: 'Medium' },
    { scores: ['4.0'], want: 'Medium' },
    { scores: ['3.9', 'HIGH'], want: 'Low' },
    { scores: ['0.1', '7.5'], want: 'High' },
    { scores: ['0.0'], want: 'Unknown' },
    { scores: ['-1', 'CVSS:3.1/AV:N', ''], want: 'Unknown' },
    { scores: [], want: 'Unknown' },
  ])('is $want for $scores', ({ scores, want }) => {
    expect(severityOfScores(scores)).toBe(want);
  });
});

describe('fixedVersionsOf', () => {
  it.each([
    { text: undefined, want: [] },
    { text: '  ', want: [] },
    { text: '3.0.16', want: ['3.0.16'] },
    { text: '6.21.2, 7.5.0,,', want: ['6.21.2', '7.5.0'] },
  ])('is $want for $text', ({ text, want }) => {
    expect(fixedVersionsOf(text)).toEqual(want);
  });

  it('keeps eight of many, and none of them longer than 256 characters', () => {
    const versions = fixedVersionsOf(Array<string>(20).fill('9'.repeat(300)).join(','));

    expect(versions).toEqual(Array<string>(8).fill('9'.repeat(256)));
  });
});
