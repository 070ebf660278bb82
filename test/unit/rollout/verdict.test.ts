import { describe, expect, it } from '@jest/globals';
import {
  MAX_ATTEMPTS,
  ROLLOUT_STATES,
  type FailureClass,
  type ImageRolloutStatus,
  type RolloutState,
  type RolloutTargetStatus,
} from '../../../operator/api/image-rollout.ts';
import {
  failureOf,
  isFinished,
  isFreezing,
  isQuarantining,
  rolloutNumber,
  targetImageAfter,
} from '../../../operator/rollout/verdict.ts';
import { FROM_IMAGE, rolloutSpec, rolloutStatus, rolloutTarget, TO_IMAGE } from '../../support/builders/rollouts.ts';

const TIME = '2026-01-05T08:00:00Z';
const BACK = `${FROM_IMAGE}@sha256:${'b'.repeat(64)}`;
const GOOD = `ghcr.io/acme/web:0.9.0@sha256:${'9'.repeat(64)}`;

function failed(state: RolloutState, failureClass: FailureClass, attempt = 1) {
  const failure = { class: failureClass, reason: 'CrashLoopBackOff', message: 'it crashed', time: TIME };
  return { spec: rolloutSpec({ attempt }), status: { ...rolloutStatus(state, 'Failed'), failure } };
}

describe('isFinished, isFreezing', () => {
  const FINISHED = ['Succeeded', 'RolledBack', 'RollbackFailed', 'Held', 'Aborted'];

  it.each(ROLLOUT_STATES)('knows %s', (state) => {
    expect(isFinished({ state })).toBe(FINISHED.includes(state));
    expect(isFreezing({ spec: rolloutSpec(), status: { state } })).toBe(['RollbackFailed', 'Held'].includes(state));
  });

  it('are false before the claim', () => {
    expect(isFinished(undefined)).toBe(false);
    expect(isFreezing({ spec: rolloutSpec() })).toBe(false);
  });
});

describe('isQuarantining', () => {
  it.each<{ state: RolloutState; failureClass: FailureClass; attempt?: number; want: boolean }>([
    { state: 'RollingBack', failureClass: 'Image', want: true },
    { state: 'RolledBack', failureClass: 'Image', want: true },
    { state: 'RollbackFailed', failureClass: 'Image', want: true },
    { state: 'Held', failureClass: 'Image', want: true },
    // A pin in the middle of the undo does not make the image better.
    { state: 'Aborted', failureClass: 'Image', want: true },
    // Another target may still come to its end.
    { state: 'Verifying', failureClass: 'Image', want: false },
    { state: 'RolledBack', failureClass: 'Environment', want: false },
    { state: 'RolledBack', failureClass: 'Environment', attempt: MAX_ATTEMPTS - 1, want: false },
    { state: 'RolledBack', failureClass: 'Environment', attempt: MAX_ATTEMPTS, want: true },
    { state: 'Aborted', failureClass: 'Foreign', want: false },
    { state: 'RollingBack', failureClass: 'Foreign', attempt: MAX_ATTEMPTS, want: false },
  ])('is $want when $state by $failureClass at attempt $attempt', ({ state, failureClass, attempt, want }) => {
    expect(isQuarantining(failed(state, failureClass, attempt))).toBe(want);
  });

  it('counts a pinned image as well', () => {
    const rollout = failed('Held', 'Image');

    expect(isQuarantining({ ...rollout, spec: { ...rollout.spec, trigger: 'Pin', direction: 'Back' } })).toBe(true);
  });
});

describe('failureOf', () => {
  it('is undefined for the change of somebody else, and where nothing failed', () => {
    expect(failureOf(failed('Aborted', 'Foreign'))).toBeUndefined();
    expect(failureOf({ spec: rolloutSpec(), status: rolloutStatus('Succeeded', 'Healthy') })).toBeUndefined();
    expect(failureOf({ spec: rolloutSpec() })).toBeUndefined();
    expect(failureOf(failed('RolledBack', 'Image'))).toMatchObject({ reason: 'CrashLoopBackOff' });
  });
});

describe('targetImageAfter', () => {
  const container = { name: 'web', init: false, from: FROM_IMAGE, to: TO_IMAGE, back: BACK, lastGood: GOOD };
  const spec = rolloutSpec({ targets: [rolloutTarget({ containers: [container] })] });
  const after = (target: Partial<RolloutTargetStatus>, state: ImageRolloutStatus['state'] = 'Aborted') =>
    targetImageAfter({ spec, status: rolloutStatus(state, target.state ?? 'Pending', { target }) }, 0, 'web');

  it.each<{ when: string; target: Partial<RolloutTargetStatus>; want: string | undefined }>([
    { when: 'nothing was written', target: { state: 'Pending' }, want: undefined },
    { when: 'it was passed over', target: { state: 'Skipped' }, want: undefined },
    { when: 'somebody else was there first', target: { state: 'Contested' }, want: undefined },
    { when: 'it was written', target: { state: 'Applied', appliedTime: TIME }, want: TO_IMAGE },
    { when: 'it was there already', target: { state: 'Healthy' }, want: TO_IMAGE },
    { when: 'it failed', target: { state: 'Failed', appliedTime: TIME }, want: TO_IMAGE },
    { when: 'somebody took it away', target: { state: 'Contested', appliedTime: TIME }, want: TO_IMAGE },
    { when: 'it was to be set back', target: { state: 'Undoing', undo: 'Back' }, want: TO_IMAGE },
    { when: 'it could not be set back', target: { state: 'UndoFailed', undo: 'Back' }, want: TO_IMAGE },
    { when: 'it was set back', target: { state: 'Undone', undo: 'Back', undoTime: TIME }, want: BACK },
    { when: 'it is as before', target: { state: 'Restored', undo: 'Back', undoTime: TIME }, want: BACK },
    { when: 'it has the last good one', target: { state: 'Restored', undo: 'LastGood', undoTime: TIME }, want: GOOD },
    {
      when: 'it was set back and did not recover',
      target: { state: 'UndoFailed', undo: 'Back', appliedTime: TIME, undoTime: TIME },
      want: BACK,
    },
    {
      when: 'it was set back and then changed by somebody',
      target: { state: 'Contested', undo: 'LastGood', appliedTime: TIME, undoTime: TIME },
      want: GOOD,
    },
  ])('is $want when $when', ({ target, want }) => {
    expect(after(target)).toBe(want);
  });

  it('is undefined for a container or a target that the rollout does not change', () => {
    const rollout = { spec, status: rolloutStatus('Succeeded', 'Healthy') };

    expect(targetImageAfter(rollout, 0, 'sidecar')).toBeUndefined();
    expect(targetImageAfter(rollout, 1, 'web')).toBeUndefined();
    expect(targetImageAfter({ spec }, 0, 'web')).toBeUndefined();
  });
});

describe('rolloutNumber', () => {
  it.each([
    { name: 'web-41', want: 41 },
    { name: 'web-2-7', want: 7 },
    { name: 'web', want: 0 },
  ])('is $want for $name', ({ name, want }) => {
    expect(rolloutNumber({ metadata: { name } })).toBe(want);
  });
});
