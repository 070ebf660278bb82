import { describe, expect, it } from '@jest/globals';
import type { Decision } from '../../../operator/api/image-decision.ts';
import type { ImageDecision } from '../../../operator/api/kinds.ts';
import { describeRejection, readDecisions } from '../../../operator/rollout/decisions.ts';
import { digestOf } from '../../support/builders/images.ts';

const DIGEST = digestOf('v1.1.0');
const START_MS = Date.parse('2026-01-05T08:00:00Z');
const HOUR_MS = 3_600_000;

/** Made so many minutes after the start. */
function made(
  minutes: number,
  decision: Decision,
  more: { readonly by?: string; readonly name?: string; readonly expirationTime?: string } = {},
): ImageDecision {
  const { by = 'jane', name = `d-${minutes}`, expirationTime } = more;
  return {
    apiVersion: 'slipway.dev/v1alpha1',
    kind: 'ImageDecision',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-of-${name}`,
      resourceVersion: '1',
      creationTimestamp: new Date(START_MS + minutes * 60_000).toISOString(),
    },
    spec: {
      policy: 'web',
      decision,
      by,
      ...(decision !== 'Resume' && { digest: DIGEST }),
      ...(expirationTime !== undefined && { expirationTime }),
    },
  };
}

const approvers = (decisions: readonly ImageDecision[], atMs = START_MS + HOUR_MS, validForMs = 24 * HOUR_MS) =>
  readDecisions(decisions)
    .approvals(DIGEST, validForMs, atMs)
    .map(({ by }) => by);

describe('readDecisions', () => {
  it.each<{ when: string; given: readonly ImageDecision[]; want: boolean }>([
    { when: 'it was rejected', given: [made(0, 'Reject')], want: true },
    { when: 'it was released since', given: [made(0, 'Reject'), made(1, 'Release')], want: false },
    { when: 'it was rejected again', given: [made(0, 'Reject'), made(1, 'Release'), made(2, 'Reject')], want: true },
    { when: 'it was approved since', given: [made(0, 'Reject'), made(1, 'Approve')], want: true },
    {
      when: 'both came in one second, by name',
      given: [made(0, 'Release', { name: 'b' }), made(0, 'Reject', { name: 'a' })],
      want: false,
    },
  ])('holds a rejection: $want when $when', ({ given, want }) => {
    expect(readDecisions(given.toReversed()).rejections.has(DIGEST)).toBe(want);
  });

  it.each<{ when: string; given: readonly ImageDecision[]; want: readonly string[] }>([
    {
      when: 'two people approve',
      given: [made(0, 'Approve'), made(1, 'Approve', { by: 'john' })],
      want: ['jane', 'john'],
    },
    { when: 'one approves twice', given: [made(0, 'Approve'), made(1, 'Approve')], want: ['jane'] },
    { when: 'a rejection came after', given: [made(0, 'Approve'), made(1, 'Reject')], want: [] },
    { when: 'a rejection came before', given: [made(0, 'Reject'), made(1, 'Approve')], want: ['jane'] },
    {
      when: 'one has expired',
      given: [made(0, 'Approve', { expirationTime: '2026-01-05T08:30:00Z' }), made(1, 'Approve', { by: 'john' })],
      want: ['john'],
    },
    { when: 'nobody did', given: [made(0, 'Resume')], want: [] },
  ])('counts $want when $when', ({ given, want }) => {
    expect(approvers(given)).toEqual(want);
  });

  it('ends an approval by the earlier of both times', () => {
    const given = [made(0, 'Approve', { expirationTime: '2026-01-06T08:00:00Z' })];

    expect(approvers(given, START_MS + 2 * HOUR_MS - 1, 2 * HOUR_MS)).toEqual(['jane']);
    expect(approvers(given, START_MS + 2 * HOUR_MS, 2 * HOUR_MS)).toEqual([]);
    expect(approvers(given, START_MS + 24 * HOUR_MS, 48 * HOUR_MS)).toEqual([]);
  });

  it('keeps resumes in their order, and leaves out what is being deleted', () => {
    const gone = made(3, 'Reject');
    const { resumes, rejections } = readDecisions([
      made(2, 'Resume'),
      made(1, 'Resume'),
      { ...gone, metadata: { ...gone.metadata, deletionTimestamp: '2026-01-05T09:00:00Z' } },
    ]);

    expect(resumes.map(({ name }) => name)).toEqual(['d-1', 'd-2']);
    expect(rejections.size).toBe(0);
  });
});

describe('readDecisions, long after', () => {
  const LATER_MS = START_MS + 500 * 24 * HOUR_MS;

  it.each<{ when: string; given: readonly ImageDecision[]; want: readonly string[] }>([
    { when: 'a rejection is in force', given: [made(0, 'Reject')], want: [] },
    { when: 'a rejection was released', given: [made(0, 'Reject'), made(1, 'Release')], want: ['d-0'] },
    { when: 'only the release is left', given: [made(1, 'Release')], want: ['d-1'] },
    { when: 'others are over', given: [made(0, 'Approve'), made(1, 'Resume')], want: ['d-0', 'd-1'] },
  ])('forgets $want when $when', ({ given, want }) => {
    expect(readDecisions(given).obsolete(LATER_MS)).toEqual(want);
    expect(readDecisions(given).obsolete(START_MS + 24 * HOUR_MS)).toEqual([]);
  });
});

describe('describeRejection', () => {
  it('says who, and why where that was said', () => {
    const [first] = readDecisions([made(0, 'Reject')]).rejections.values();

    expect(describeRejection(first!)).toBe('rejected by jane');
    expect(describeRejection({ ...first!, reason: 'wrong logo' })).toBe('rejected by jane: wrong logo');
  });
});
