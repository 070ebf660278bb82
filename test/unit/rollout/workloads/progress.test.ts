// How far each kind of workload has come, by the statuses that its controller writes while it moves.

import { describe, expect, it } from '@jest/globals';
import { workloadTypes } from '../../../../operator/rollout/workloads/index.ts';
import type { Progress } from '../../../../operator/rollout/workloads/workload.ts';
import {
  cronJobObject,
  daemonSetObject,
  deploymentObject,
  statefulSetObject,
  type Json,
} from '../../../support/builders/workloads.ts';

interface Row {
  readonly when: string;
  readonly generation?: number;
  readonly spec?: Json;
  readonly status?: Json;
  readonly want: Progress['kind'];
  /** Part of the message. */
  readonly says?: string;
}

function check(progress: Progress, { want, says }: Row): void {
  expect(progress.kind).toBe(want);
  if (progress.kind !== 'healthy') {
    expect(progress.message).not.toBe('');
    expect(progress.message).not.toMatch(/undefined|NaN|null/);
    if (says !== undefined) expect(progress.message).toContain(says);
  }
}

describe('deployment.progress', () => {
  it.each<Row>([
    { when: 'every pod is new and available', want: 'healthy' },
    { when: 'it was just created', status: {}, want: 'progressing', says: 'not seen' },
    {
      when: 'the controller has not seen the change, though its numbers look fine',
      generation: 2,
      status: { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'the first new pod is not ready',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        updatedReplicas: 1,
        readyReplicas: 2,
        availableReplicas: 2,
        unavailableReplicas: 1,
      },
      want: 'progressing',
      says: '1 of 2 pods have the new image',
    },
    {
      when: 'no new pod could be created',
      generation: 2,
      status: { observedGeneration: 2, replicas: 2, readyReplicas: 2, availableReplicas: 2 },
      want: 'progressing',
      says: '0 of 2 pods have the new image',
    },
    {
      when: 'an old pod is still there',
      generation: 2,
      status: { observedGeneration: 2, replicas: 3, updatedReplicas: 2, readyReplicas: 3, availableReplicas: 3 },
      want: 'progressing',
      says: '1 pods with the old image',
    },
    {
      when: 'all are new and one waits for minReadySeconds',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 2,
        updatedReplicas: 2,
        readyReplicas: 2,
        availableReplicas: 1,
        unavailableReplicas: 1,
      },
      want: 'progressing',
      says: '1 of 2 pods are available',
    },
    {
      when: 'all are new and none is available',
      generation: 2,
      status: { observedGeneration: 2, replicas: 2, updatedReplicas: 2, unavailableReplicas: 2 },
      want: 'progressing',
      says: '0 of 2 pods are available',
    },
    {
      when: 'Recreate has stopped the old pods',
      generation: 2,
      spec: { strategy: { type: 'Recreate' } },
      status: { observedGeneration: 2 },
      want: 'progressing',
      says: '0 of 2 pods have the new image',
    },
    {
      when: 'spec.replicas is absent',
      spec: { replicas: undefined },
      status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 },
      want: 'healthy',
    },
    { when: 'it is paused', spec: { paused: true }, want: 'paused' },
    {
      when: 'it is paused before the controller has seen it',
      generation: 2,
      spec: { paused: true },
      status: { observedGeneration: 1 },
      want: 'paused',
    },
    { when: 'it is scaled to zero', spec: { replicas: 0 }, status: { observedGeneration: 1 }, want: 'idle' },
    {
      when: 'it is being scaled to zero',
      generation: 2,
      spec: { replicas: 0 },
      status: { observedGeneration: 2, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 },
      want: 'progressing',
      says: 'stopping',
    },
    {
      when: 'it was scaled to zero a moment ago',
      generation: 2,
      spec: { replicas: 0 },
      status: { observedGeneration: 1 },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'it runs and Kubernetes gave up on its deadline',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        updatedReplicas: 1,
        readyReplicas: 2,
        availableReplicas: 2,
        conditions: [{ type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded' }],
      },
      want: 'progressing',
    },
  ])('is $want when $when', (row) => {
    const { generation = 1, spec, status } = row;
    const raw = deploymentObject({ generation, ...(spec && { spec }), ...(status && { status }) });

    check(workloadTypes.Deployment.progress(raw), row);
  });
});

describe('statefulSet.progress', () => {
  const OLD = 'web-5d4f8c7b9';
  const NEW = 'web-66b8d4f5c';

  it.each<Row>([
    { when: 'every pod is new and available', want: 'healthy' },
    {
      when: 'it was just created',
      status: { replicas: 0, availableReplicas: 0 },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'the controller has not seen the change, though its numbers look fine',
      generation: 2,
      status: {
        observedGeneration: 1,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 3,
        updatedReplicas: 3,
        currentRevision: OLD,
        updateRevision: OLD,
      },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'the first pod is being replaced',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 2,
        availableReplicas: 2,
        currentReplicas: 2,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'progressing',
      says: '0 of 3 pods have the new image',
    },
    {
      when: 'one pod is replaced',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 2,
        updatedReplicas: 1,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'progressing',
      says: '1 of 3 pods have the new image',
    },
    {
      when: 'all are replaced and the last is not ready',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 2,
        availableReplicas: 2,
        updatedReplicas: 3,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'progressing',
      says: '2 of 3 pods are available',
    },
    {
      when: 'all are replaced and available and the controller has completed the update',
      generation: 2,
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 3,
        updatedReplicas: 3,
        currentRevision: NEW,
        updateRevision: NEW,
      },
      want: 'healthy',
    },
    {
      when: 'it was set back to the current revision while a pod of the failed one is stuck',
      generation: 3,
      status: {
        observedGeneration: 3,
        replicas: 3,
        readyReplicas: 2,
        availableReplicas: 2,
        currentReplicas: 2,
        updatedReplicas: 2,
        currentRevision: OLD,
        updateRevision: OLD,
      },
      want: 'progressing',
      says: '2 of 3 pods have the new image',
    },
    {
      when: 'OnDelete was set back to the revision it started from, which no pod runs any more',
      generation: 3,
      spec: { updateStrategy: { type: 'OnDelete' } },
      // OnDelete never completes an update, so currentRevision stays the first one.
      status: {
        observedGeneration: 3,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentRevision: OLD,
        updateRevision: OLD,
      },
      want: 'paused',
      says: '0 of 3 pods have the new image',
    },
    {
      when: 'a partition holds back two pods and the third is replaced',
      generation: 2,
      spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } },
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 2,
        updatedReplicas: 1,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'healthy',
    },
    {
      when: 'a partition holds back two pods and the third is not yet replaced',
      generation: 2,
      spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } },
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 3,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'progressing',
      says: '0 of 1 pods',
    },
    {
      when: 'a partition holds back every pod',
      generation: 2,
      spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 3 } } },
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 3,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'paused',
      says: 'partition 3',
    },
    {
      when: 'a partition is larger than the set',
      spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 10 } } },
      want: 'paused',
      says: 'partition 10',
    },
    {
      when: 'OnDelete waits for somebody to delete the pods',
      generation: 2,
      spec: { updateStrategy: { type: 'OnDelete' } },
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 2,
        updatedReplicas: 1,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'paused',
      says: 'OnDelete',
    },
    {
      when: 'OnDelete and all pods were deleted',
      generation: 2,
      spec: { updateStrategy: { type: 'OnDelete' } },
      status: {
        observedGeneration: 2,
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        updatedReplicas: 3,
        currentRevision: OLD,
        updateRevision: NEW,
      },
      want: 'healthy',
    },
    {
      when: 'it is scaled to zero',
      spec: { replicas: 0 },
      status: { observedGeneration: 1, replicas: 0, availableReplicas: 0, currentRevision: OLD, updateRevision: OLD },
      want: 'idle',
    },
    {
      when: 'it is being scaled to zero',
      generation: 2,
      spec: { replicas: 0 },
      status: {
        observedGeneration: 2,
        replicas: 2,
        readyReplicas: 2,
        availableReplicas: 2,
        currentReplicas: 2,
        updatedReplicas: 2,
        currentRevision: OLD,
        updateRevision: OLD,
      },
      want: 'progressing',
      says: 'stopping',
    },
    {
      when: 'spec.replicas is absent',
      spec: { replicas: undefined },
      status: {
        observedGeneration: 1,
        replicas: 1,
        readyReplicas: 1,
        availableReplicas: 1,
        currentReplicas: 1,
        updatedReplicas: 1,
        currentRevision: OLD,
        updateRevision: OLD,
      },
      want: 'healthy',
    },
  ])('is $want when $when', (row) => {
    const { generation = 1, spec, status } = row;
    const raw = statefulSetObject({ generation, ...(spec && { spec }), ...(status && { status }) });

    check(workloadTypes.StatefulSet.progress(raw), row);
  });
});

describe('daemonSet.progress', () => {
  it.each<Row>([
    { when: 'every node has the new pod', want: 'healthy' },
    {
      when: 'it was just created',
      status: { currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'the controller has not seen the change, though its numbers look fine',
      generation: 2,
      status: {
        observedGeneration: 1,
        currentNumberScheduled: 2,
        desiredNumberScheduled: 2,
        numberAvailable: 2,
        numberMisscheduled: 0,
        numberReady: 2,
        updatedNumberScheduled: 2,
      },
      want: 'progressing',
      says: 'not seen',
    },
    {
      when: 'no node has the new pod yet',
      generation: 2,
      status: {
        observedGeneration: 2,
        currentNumberScheduled: 2,
        desiredNumberScheduled: 2,
        numberAvailable: 2,
        numberMisscheduled: 0,
        numberReady: 2,
      },
      want: 'progressing',
      says: '0 of 2 pods have the new image',
    },
    {
      when: 'the last new pod is not available',
      generation: 2,
      status: {
        observedGeneration: 2,
        currentNumberScheduled: 2,
        desiredNumberScheduled: 2,
        numberAvailable: 1,
        numberMisscheduled: 0,
        numberReady: 1,
        numberUnavailable: 1,
        updatedNumberScheduled: 2,
      },
      want: 'progressing',
      says: '1 of 2 pods are available',
    },
    {
      when: 'OnDelete waits for somebody to delete the pods',
      generation: 2,
      spec: { updateStrategy: { type: 'OnDelete' } },
      status: {
        observedGeneration: 2,
        currentNumberScheduled: 2,
        desiredNumberScheduled: 2,
        numberAvailable: 2,
        numberMisscheduled: 0,
        numberReady: 2,
        updatedNumberScheduled: 1,
      },
      want: 'paused',
      says: 'OnDelete',
    },
    {
      when: 'no node is selected',
      status: {
        observedGeneration: 1,
        currentNumberScheduled: 0,
        desiredNumberScheduled: 0,
        numberMisscheduled: 0,
        numberReady: 0,
      },
      want: 'idle',
    },
  ])('is $want when $when', (row) => {
    const { generation = 1, spec, status } = row;
    const raw = daemonSetObject({ generation, ...(spec && { spec }), ...(status && { status }) });

    check(workloadTypes.DaemonSet.progress(raw), row);
  });
});

describe('cronJob.progress', () => {
  it.each<Row>([
    { when: 'it waits for its next run', want: 'idle', says: 'next run' },
    { when: 'it never ran', status: {}, want: 'idle', says: 'next run' },
    { when: 'a run is active', status: { active: [{ kind: 'Job', name: 'web-1' }] }, want: 'idle', says: 'next run' },
    { when: 'it is suspended', spec: { suspend: true }, want: 'idle', says: 'suspended' },
  ])('is $want when $when', (row) => {
    const raw = cronJobObject({ ...(row.spec && { spec: row.spec }), ...(row.status && { status: row.status }) });

    check(workloadTypes.CronJob.progress(raw), row);
  });
});
