// Whoever meets a reason looks it up in docs/how-to/troubleshoot.md and gets advice from `slipway explain`. Reasons are read
// out of the code that gives them, so that a new one without a word for people fails here.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { CONDITION_TYPES } from '../../../operator/api/conditions.ts';
import { ROLLOUT_STATES } from '../../../operator/api/image-rollout.ts';
import { ADVICE } from '../../../operator/cli/explain/next-steps.ts';
import { gates } from '../../../operator/gates/index.ts';
import { REGISTRY_PROBLEM_CODES } from '../../../operator/registry/problem.ts';
import { REJECTION_CODES } from '../../../operator/selection/rejection.ts';

const ROOT = join(import.meta.dirname, '../../..');

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Every quoted PascalCase word of a file. */
function wordsIn(path: string): string[] {
  return [...read(path).matchAll(/'([A-Z][a-z]+(?:[A-Z][A-Za-z]*)?)'/g)].map(([, word = '']) => word);
}

function except(words: readonly string[], ...others: readonly string[]): string[] {
  return [...new Set(words)].filter((word) => !others.includes(word)).sort();
}

const CONDITION_WORDS = [
  ...CONDITION_TYPES.filter((type) => type !== 'ManualHold' && type !== 'Frozen'),
  'True',
  'False',
  'Unknown',
];
const GATE_WORDS = ['Open', 'Waiting', 'Closed'];

/** Reasons of Ready, by the file that gives them. */
const READY_REASONS: Readonly<Record<string, readonly string[]>> = {
  'operator/controllers/policy/status.ts': except(
    wordsIn('operator/controllers/policy/status.ts'),
    ...CONDITION_WORDS,
    ...['Open', 'Closed', 'Reject'],
    // Reasons of the conditions ManualHold and RollbackUnavailable.
    ...['ForeignChange', 'FieldContested', 'ImageGone'],
  ),
  'operator/controllers/policy/targets.ts': except(
    [...read('operator/controllers/policy/targets.ts').matchAll(/reason: ((?:'\w+'(?: \| )?)+)/g)].flatMap(
      ([, union = '']) => union.split(' | ').map((word) => word.replaceAll("'", '')),
    ),
  ),
  'operator/controllers/policy/access.ts': except(
    [...read('operator/controllers/policy/access.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code),
  ),
  'operator/controllers/policy/observe.ts': except(
    [...read('operator/controllers/policy/observe.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code),
  ),
  'operator/controllers/policy/tag-reader.ts': except(
    [...read('operator/controllers/policy/tag-reader.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code),
  ),
  'operator/controllers/policy/creation-times.ts': except(
    [...read('operator/controllers/policy/creation-times.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code),
  ),
  'operator/selection/tag-rules-input.ts': except(
    [...read('operator/selection/tag-rules-input.ts').matchAll(/^ {2}\| '(\w+)'/gm)].map(([, code = '']) => code),
  ),
  'operator/time/windows.ts': ['InvalidWindow'],
  'operator/image/reference.ts': except(
    [...read('operator/image/reference.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code),
  ),
  'operator/registry/problem.ts': REGISTRY_PROBLEM_CODES,
};

const GATE_REASONS = readdirSync(join(ROOT, 'operator/gates')).flatMap((file) =>
  except(wordsIn(`operator/gates/${file}`), ...GATE_WORDS),
);

const ready = Object.entries(READY_REASONS).flatMap(([file, reasons]) => reasons.map((reason) => ({ file, reason })));
const page = read('docs/how-to/troubleshoot.md');

describe('reasons of Ready', () => {
  it('are found in every file that gives them', () => {
    for (const [file, reasons] of Object.entries(READY_REASONS)) expect([file, reasons.length]).not.toEqual([file, 0]);
    expect(ready.map(({ reason }) => reason)).toEqual(
      expect.arrayContaining([
        'UpToDate',
        'Suspended',
        'TargetConflict',
        'PullSecretNotFound',
        'InvalidSpec',
        'InvalidRange',
      ]),
    );
    expect(GATE_REASONS).toEqual(expect.arrayContaining(['Quarantined', 'WorkloadBusy', 'ManagedByGitOps']));
  });

  it.each(ready)('$reason ($file) is explained in the troubleshooting guide', ({ reason }) => {
    expect(page).toContain(`\`${reason}\``);
  });

  it.each(ready)('$reason ($file) has advice in slipway explain', ({ reason }) => {
    expect(Object.keys(ADVICE)).toContain(reason);
  });

  it('are the only ones that advice is given for', () => {
    const known = new Set(ready.map(({ reason }) => reason));

    expect(Object.keys(ADVICE).filter((reason) => !known.has(reason))).toEqual([]);
  });
});

describe('the troubleshooting guide', () => {
  it.each([
    ...GATE_REASONS.map((word) => ({ kind: 'reason of a gate', word })),
    ...gates.map(({ name }) => ({ kind: 'gate', word: name })),
    ...REJECTION_CODES.map((word) => ({ kind: 'reason of a tag', word })),
    ...ROLLOUT_STATES.map((word) => ({ kind: 'state of a rollout', word })),
    ...['ForeignChange', 'FieldContested'].map((word) => ({ kind: 'reason of ManualHold', word })),
    ...['Held', 'RollbackFailed', 'FlapGuard'].map((word) => ({ kind: 'reason of Frozen', word })),
  ])('explains the $kind $word', ({ word }) => {
    expect(page).toContain(`\`${word}\``);
  });

  it('names no reason that does not exist', () => {
    const known = new Set<string>([
      ...ready.map(({ reason }) => reason),
      ...GATE_REASONS,
      ...REJECTION_CODES,
      ...ROLLOUT_STATES,
      ...CONDITION_TYPES,
      ...['ForeignChange', 'FieldContested', 'ImageGone', 'FlapGuard', 'Reassert', 'Ready'],
    ]);
    const named = [...page.matchAll(/`([A-Z][a-z]+(?:[A-Z][A-Za-z]*)?)`/g)].map(([, word = '']) => word);

    expect(named.filter((word) => !known.has(word))).toEqual([]);
  });
});
