// What the operator is disturbed at: each scenario is a short story with the same end whatever happens to the operator.
// People and the cluster play their parts by what they see, once each, so a story goes on where a killed operator left it.

import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';

export type Quality = 'good' | 'crashes' | 'homeless' | 'never ready';

/** What a person sees when looking. */
export interface View {
  readonly policy: ImagePolicy;
  readonly rollouts: readonly ImageRollout[];
  readonly ready: string | undefined;
}

/** What a person can do. */
export interface Hand {
  edit(spec: object): Promise<void>;
  decide(decision: string, tag?: string): Promise<void>;
}

export interface PersonalStep {
  readonly when: (view: View) => boolean;
  readonly act: (hand: Hand) => Promise<void>;
}

export interface Scenario {
  readonly name: string;
  /** Names of the Deployments; all run v1.0.0 at first. */
  readonly workloads: readonly string[];
  /** Merged into the policy's spec. */
  readonly spec?: { readonly rollout?: object; readonly [field: string]: unknown };
  /** How a tag fares on a workload. Default: good. */
  readonly quality?: (tag: string, workload: string) => Quality;
  /** In order; each is taken once. */
  readonly steps?: readonly PersonalStep[];
  /** Reason of Ready at the end, and how many rollouts there are then. */
  readonly end: { readonly ready: string; readonly rollouts: number };
}

const on =
  (tag: string, quality: Quality) =>
  (other: string): Quality =>
    other === tag ? quality : 'good';

export const SCENARIOS: readonly Scenario[] = [
  { name: 'forward', workloads: ['web'], end: { ready: 'UpToDate', rollouts: 1 } },
  {
    name: 'undo',
    workloads: ['web'],
    quality: on('v1.1.0', 'crashes'),
    end: { ready: 'CandidateRejected', rollouts: 1 },
  },
  {
    name: 'environment',
    workloads: ['web'],
    spec: { rollout: { progressDeadline: '2s' } },
    quality: on('v1.1.0', 'homeless'),
    end: { ready: 'CandidateRejected', rollouts: 3 },
  },
  {
    name: 'atomic',
    workloads: ['web', 'api'],
    quality: (tag, workload) => (tag === 'v1.1.0' && workload === 'web' ? 'crashes' : 'good'),
    end: { ready: 'CandidateRejected', rollouts: 1 },
  },
  {
    name: 'pin',
    workloads: ['web'],
    quality: on('v1.1.0', 'never ready'),
    steps: [
      {
        when: ({ rollouts }) => rollouts.some(({ status }) => status?.state === 'Verifying'),
        act: (hand) => hand.edit({ pin: { tag: 'v1.0.0', reason: 'INC-42' } }),
      },
    ],
    end: { ready: 'Pinned', rollouts: 2 },
  },
  {
    name: 'reject',
    workloads: ['web'],
    steps: [
      {
        when: ({ ready, rollouts }) => ready === 'UpToDate' && rollouts.length === 1,
        act: (hand) => hand.decide('Reject', 'v1.1.0'),
      },
    ],
    end: { ready: 'CandidateRejected', rollouts: 2 },
  },
  {
    name: 'release',
    workloads: ['web'],
    quality: on('v1.1.0', 'crashes'),
    steps: [
      {
        when: ({ ready, rollouts }) => ready === 'CandidateRejected' && rollouts.length === 1,
        act: (hand) => hand.decide('Release', 'v1.1.0'),
      },
    ],
    end: { ready: 'CandidateRejected', rollouts: 2 },
  },
  {
    name: 'unpin',
    workloads: ['web'],
    spec: { pin: { tag: 'v1.0.0' } },
    steps: [{ when: ({ ready }) => ready === 'Pinned', act: (hand) => hand.edit({ pin: null }) }],
    end: { ready: 'UpToDate', rollouts: 1 },
  },
];
