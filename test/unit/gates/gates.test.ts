import { describe, expect, it } from '@jest/globals';
import type { GateInput, GateWorkload } from '../../../operator/gates/gate.ts';
import { gates, judgeCandidate } from '../../../operator/gates/index.ts';
import { candidate } from '../../support/builders/images.ts';

const web: GateWorkload = { title: 'Deployment web' };
const api: GateWorkload = { title: 'Deployment api' };
const NOW_MS = Date.parse('2026-01-05T12:00:00Z');
const LATER_MS = NOW_MS + 3_600_000;

function input(more: Partial<GateInput> = {}): GateInput {
  const { tag, digest } = candidate();
  return { nowMs: NOW_MS, tag, digest, isSuspended: false, holds: [], workloads: [web], ...more };
}

const people = (...names: readonly string[]) => names.map((person) => ({ person, untilMs: LATER_MS }));

interface Row {
  readonly when: string;
  readonly given: Partial<GateInput>;
  readonly gate: string;
  readonly answer: 'Open' | 'Waiting' | 'Closed';
  readonly reason: string;
  readonly says: string;
}

describe('judgeCandidate', () => {
  it.each<Row>([
    {
      when: 'it is in quarantine',
      given: { quarantined: 'in quarantine since yesterday' },
      gate: 'quarantine',
      answer: 'Closed',
      reason: 'Quarantined',
      says: 'since yesterday',
    },
    {
      when: 'a person rejected it',
      given: { rejected: 'rejected by jane: wrong logo' },
      gate: 'rejection',
      answer: 'Closed',
      reason: 'Rejected',
      says: 'wrong logo',
    },
    {
      when: 'something else is pinned',
      given: { pinned: '1.0.0 is pinned' },
      gate: 'pin',
      answer: 'Waiting',
      reason: 'Pinned',
      says: '1.0.0 is pinned',
    },
    {
      when: 'the policy is frozen',
      given: { frozen: 'web-3 ended RollbackFailed' },
      gate: 'freeze',
      answer: 'Waiting',
      reason: 'Frozen',
      says: 'web-3',
    },
    {
      when: 'nobody has approved it',
      given: { approval: { required: 1, digests: ['0123456789ab'], by: [] } },
      gate: 'approval',
      answer: 'Waiting',
      reason: 'AwaitingApproval',
      says: 'needs the approval of 1 person, and nobody has approved it',
    },
    {
      when: 'one of two has approved it',
      given: { approval: { required: 2, digests: ['0123456789ab'], by: [{ person: 'jane', untilMs: LATER_MS }] } },
      gate: 'approval',
      answer: 'Waiting',
      reason: 'AwaitingApproval',
      says: 'approved by jane (until 2026-01-05T13:00:00Z)',
    },
    {
      when: 'no window is open',
      given: { window: { isOpen: false, opensMs: LATER_MS, because: 'outside of the allowed windows' } },
      gate: 'window',
      answer: 'Waiting',
      reason: 'WindowShut',
      says: 'outside of the allowed windows',
    },
    {
      when: 'a cooldown is on',
      given: { cooldownUntilMs: LATER_MS },
      gate: 'cooldown',
      answer: 'Waiting',
      reason: 'CoolingDown',
      says: '2026-01-05T13:00:00Z',
    },
    {
      when: 'the next attempt is not due',
      given: { retry: { rollout: 'web-3', attempt: 2, dueMs: LATER_MS } },
      gate: 'retry',
      answer: 'Waiting',
      reason: 'RetryPending',
      says: 'attempt 2 of 3, after web-3 failed',
    },
    {
      when: 'somebody else changed an image',
      given: { holds: ['kubectl-set changed container web of Deployment web from a to b'] },
      gate: 'foreign-change',
      answer: 'Waiting',
      reason: 'ManualHold',
      says: 'kubectl-set changed container web',
    },
    {
      when: 'two were changed',
      given: { holds: ['first', 'second'] },
      gate: 'foreign-change',
      answer: 'Waiting',
      reason: 'ManualHold',
      says: 'first; second',
    },
    {
      when: 'a GitOps tool manages a workload',
      given: { workloads: [web, { ...api, managed: 'Argo CD manages it' }] },
      gate: 'consent',
      answer: 'Waiting',
      reason: 'ManagedByGitOps',
      says: 'Deployment api: Argo CD manages it',
    },
    {
      when: 'the policy is suspended',
      given: { isSuspended: true },
      gate: 'suspension',
      answer: 'Waiting',
      reason: 'Suspended',
      says: 'spec.suspend',
    },
    {
      when: 'another rollout moves a workload',
      given: { workloads: [{ ...web, busyWith: 'api-7' }] },
      gate: 'workload',
      answer: 'Waiting',
      reason: 'WorkloadBusy',
      says: 'rollout api-7 is moving Deployment web',
    },
    {
      when: 'a workload is paused',
      given: { workloads: [{ ...web, pausedBecause: 'the Deployment is paused' }] },
      gate: 'workload',
      answer: 'Waiting',
      reason: 'WorkloadPaused',
      says: 'Deployment web: the Deployment is paused',
    },
    {
      when: 'one is paused and another busy',
      given: {
        workloads: [
          { ...web, pausedBecause: 'paused' },
          { ...api, busyWith: 'api-7' },
        ],
      },
      gate: 'workload',
      answer: 'Waiting',
      reason: 'WorkloadBusy',
      says: 'api-7',
    },
  ])('answers $answer ($reason) when $when, and every other gate is open', ({ given, gate, answer, reason, says }) => {
    const summary = judgeCandidate(input(given));

    expect(summary.answer).toBe(answer);
    const shut = summary.verdicts.filter((verdict) => verdict.answer !== 'Open');
    expect(shut).toEqual([expect.objectContaining({ gate, answer, reason, message: expect.stringContaining(says) })]);
  });

  it.each([
    { when: 'nothing is in the way', given: {} },
    { when: 'there are no workloads', given: { workloads: [] } },
    {
      when: 'two have approved it',
      given: { approval: { required: 2, digests: ['0123456789ab'], by: people('jane', 'john') } },
    },
    { when: 'a window is open', given: { window: { isOpen: true as const, untilMs: LATER_MS } } },
    { when: 'the cooldown is over', given: { cooldownUntilMs: NOW_MS } },
    { when: 'the next attempt is due', given: { retry: { rollout: 'web-3', attempt: 2, dueMs: NOW_MS } } },
  ])('is open when $when, with a sentence of evidence from each gate', ({ given }) => {
    const { answer, verdicts } = judgeCandidate(input(given));

    expect(answer).toBe('Open');
    expect(verdicts.map(({ gate }) => gate)).toEqual(gates.map(({ name }) => name));
    for (const verdict of verdicts) {
      expect(verdict).toMatchObject({ answer: 'Open', reason: 'Open' });
      expect(verdict.message).toMatch(/\w+ \w+/);
    }
  });

  it('is closed by one gate whatever others wait for, and tells all of it', () => {
    const { answer, verdicts } = judgeCandidate(
      input({
        isSuspended: true,
        holds: ['held'],
        quarantined: 'it failed',
        workloads: [{ ...web, busyWith: 'api-7', managed: 'Helm manages it' }],
      }),
    );

    expect(answer).toBe('Closed');
    expect(verdicts.filter(({ answer: one }) => one === 'Waiting').map(({ gate }) => gate)).toEqual([
      'foreign-change',
      'consent',
      'suspension',
      'workload',
    ]);
  });

  it('says nothing longer than a status may hold', () => {
    const long = 'x'.repeat(5_000);
    const { verdicts } = judgeCandidate(
      input({ holds: [long], quarantined: long, rejected: long, workloads: [{ ...web, managed: long }] }),
    );

    for (const { message } of verdicts) expect(message.length).toBeLessThanOrEqual(1_024);
  });
});

describe('judgeCandidate, when a person named the image', () => {
  const everything = input({
    quarantined: 'it failed',
    rejected: 'rejected by jane',
    approval: { required: 1, digests: ['0123456789ab'], by: [] },
    window: { isOpen: false, because: 'shut' },
    cooldownUntilMs: LATER_MS,
    retry: { rollout: 'web-3', attempt: 2, dueMs: LATER_MS },
  });

  it('asks none of the gates that only bind automation, and says which', () => {
    const { answer, notEnforced } = judgeCandidate(everything, { isPin: true });

    expect(answer).toBe('Open');
    expect(notEnforced).toEqual(['quarantine', 'rejection', 'pin', 'approval', 'window', 'cooldown', 'retry']);
  });

  it('asks those that the configuration enforces on pins', () => {
    const { answer, verdicts } = judgeCandidate(everything, { isPin: true, enforced: ['approval'] });

    expect(answer).toBe('Waiting');
    expect(verdicts.filter((verdict) => verdict.answer === 'Waiting').map(({ gate }) => gate)).toEqual(['approval']);
  });

  it.each([
    { when: 'the policy is suspended', given: { isSuspended: true } },
    { when: 'the policy is frozen', given: { frozen: 'frozen' } },
    { when: 'another rollout moves the workload', given: { workloads: [{ ...web, busyWith: 'api-7' }] } },
    { when: 'another tool manages the workload', given: { workloads: [{ ...web, managed: 'Helm manages it' }] } },
  ])('waits all the same when $when', ({ given }) => {
    expect(judgeCandidate(input(given), { isPin: true }).answer).toBe('Waiting');
  });
});

describe('gates', () => {
  it('have names of their own', () => {
    const names = gates.map(({ name }) => name);

    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });
});
