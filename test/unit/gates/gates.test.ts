import { describe, expect, it } from '@jest/globals';
import type { GateInput, GateWorkload } from '../../../operator/gates/gate.ts';
import { gates, judgeCandidate } from '../../../operator/gates/index.ts';
import { candidate } from '../../support/builders/images.ts';

const web: GateWorkload = { title: 'Deployment web' };
const api: GateWorkload = { title: 'Deployment api' };
const failed = { name: 'web-3', message: 'not healthy within 10m' };

function input(more: Partial<GateInput> = {}): GateInput {
  const { tag, digest } = candidate();
  return { tag, digest, isSuspended: false, holds: [], workloads: [web], ...more };
}

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
      when: 'a rollout to this digest failed',
      given: { workloads: [api, { ...web, failedRollout: failed }] },
      gate: 'failed-before',
      answer: 'Closed',
      reason: 'FailedBefore',
      says: 'rollout web-3 to this digest failed (not healthy within 10m)',
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
    expect(shut).toEqual([{ gate, answer, reason, message: expect.stringContaining(says) }]);
  });

  it.each([
    { when: 'nothing is in the way', given: {} },
    { when: 'there are no workloads', given: { workloads: [] } },
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
        workloads: [{ ...web, failedRollout: failed, busyWith: 'api-7', managed: 'Helm manages it' }],
      }),
    );

    expect(answer).toBe('Closed');
    expect(verdicts.map(({ answer: one }) => one)).toEqual(['Closed', 'Waiting', 'Waiting', 'Waiting', 'Waiting']);
  });

  it('says nothing longer than a status may hold', () => {
    const long = 'x'.repeat(5_000);
    const { verdicts } = judgeCandidate(
      input({ holds: [long], workloads: [{ ...web, failedRollout: { name: 'web-3', message: long }, managed: long }] }),
    );

    for (const { message } of verdicts) expect(message.length).toBeLessThanOrEqual(1_024);
  });
});

describe('gates', () => {
  it('have names of their own', () => {
    const names = gates.map(({ name }) => name);

    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });
});
