// ImageRollout: one move of one policy's workloads. The spec is the intent and the reasons for it, written before any
// workload is touched and never changed; the status is the progress and the result. The finished ones are the history.

import * as z from 'zod';
import { WORKLOAD_KINDS } from './image-policy.ts';
import { cel, conditions, digestString, duration, objectName, sentence, timestamp } from './schema.ts';

/** Why a rollout was started. */
export const ROLLOUT_TRIGGERS = ['NewTag', 'NewDigest', 'NewTarget', 'Reassert'] as const;
export type RolloutTrigger = (typeof ROLLOUT_TRIGGERS)[number];

export const ROLLOUT_STATES = ['Pending', 'Applying', 'Verifying', 'Succeeded', 'Held', 'Aborted'] as const;
/** @see operator/rollout/state-machine.ts for the transitions. */
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** States that never change again and that release the workloads. */
export const FINISHED_STATES: readonly RolloutState[] = ['Succeeded', 'Held', 'Aborted'];

export const TARGET_STATES = ['Pending', 'Applied', 'Healthy', 'Failed', 'Gone', 'Contested'] as const;
export type TargetState = (typeof TARGET_STATES)[number];

const target = z.object({
  kind: z.enum(WORKLOAD_KINDS).describe('Kind of the workload.'),
  name: objectName().describe('Its name.'),
  uid: z.string().min(1).max(64).describe('Its UID. A workload that was created anew is not touched.'),
  containers: z
    .array(
      z.object({
        name: z.string().min(1).max(63).describe('The container.'),
        init: z.boolean().default(false).describe('true for an init container. Default: false.'),
        from: z.string().min(1).max(640).describe('The image before, as the API server held it.'),
        to: z.string().min(1).max(640).describe('The image after: repository:tag@digest.'),
      }),
    )
    .min(1)
    .max(32)
    .describe('The containers to change, and nothing else.'),
});

export const imageRolloutSpec = z
  .object({
    policy: z
      .object({
        name: objectName().describe('Name of the ImagePolicy.'),
        uid: z.string().min(1).max(64).describe('Its UID.'),
        generation: z.int().min(0).describe('The generation of its spec that was in force.'),
      })
      .describe('The policy that asked for this move.'),
    direction: z
      .enum(['Forward', 'Back'])
      .describe('Forward: to what automation wants. Back: to an earlier image that a person asked for.'),
    trigger: z
      .enum(ROLLOUT_TRIGGERS)
      .describe(
        'NewTag: a newer tag. NewDigest: the same tag, pushed again. NewTarget: a workload that joined late. Reassert: somebody else had changed the image.',
      ),
    images: z
      .array(
        z.object({
          image: z.string().min(1).max(255).describe('The repository, as the policy writes it.'),
          tag: z.string().min(1).max(128).describe('The tag.'),
          digest: digestString().describe('The digest that the tag was resolved to, once, before anything else.'),
        }),
      )
      .min(1)
      .max(8)
      .describe('What rolls out.'),
    targets: z.array(target).min(1).max(100).describe('The workloads and what changes in each.'),
    settings: z
      .object({
        progressDeadline: duration({ least: '1s', most: '24h' }).describe(
          'As in the policy when the rollout was created.',
        ),
      })
      .describe("The policy's rollout settings, frozen."),
    decision: z
      .object({
        time: timestamp().describe('When it was decided.'),
        message: sentence().describe('Why this image, in a sentence.'),
        gates: z
          .array(
            z.object({
              gate: z.string().max(64).describe('The gate.'),
              answer: z.enum(['Open', 'NotEnforced']).describe('Open, or not enforced and therefore not asked.'),
              message: sentence().describe('The evidence.'),
            }),
          )
          .max(16)
          .describe('Every gate and its evidence.'),
      })
      .describe('The record of why. Written with the intent, before any workload is touched.'),
  })
  .meta(cel({ rule: 'self == oldSelf', message: 'a rollout cannot be changed: it is the record of what was decided' }))
  .describe('The intent. Never changes.');

export const imageRolloutStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation that this status speaks about.'),
    conditions: conditions().optional().describe('Ready, and while they apply Reconciling and Stalled.'),
    state: z.enum(ROLLOUT_STATES).describe('One word for people: where this rollout stands.'),
    message: sentence(2048).optional().describe('The state in a sentence.'),
    claim: z
      .object({
        holder: z.string().max(253).describe('The replica that acts.'),
        epoch: z.int().min(0).describe('The number of leader changes when it claimed.'),
        time: timestamp().describe('When it claimed.'),
      })
      .optional()
      .describe('Who moves the workloads. Absent while pending.'),
    targets: z
      .array(
        z.object({
          kind: z.string().max(63).describe('Kind of the workload.'),
          name: z.string().max(253).describe('Its name.'),
          state: z.enum(TARGET_STATES).describe('Where this workload stands.'),
          message: sentence().optional().describe('Its health, or what went wrong, in a sentence.'),
          resourceVersion: z.string().max(64).optional().describe('Version of the workload when it was claimed.'),
          appliedTime: timestamp()
            .optional()
            .describe('When the image was written. Absent when nothing had to be written.'),
        }),
      )
      .max(100)
      .optional()
      .describe('Progress, in the order of spec.targets.'),
    unproven: z
      .boolean()
      .optional()
      .describe('true: no pod has run this image yet (scaled to zero, suspended, or a CronJob before its next run).'),
    deadlineTime: timestamp().optional().describe('When a workload that is still not healthy counts as failed.'),
    suspendedTime: timestamp()
      .optional()
      .describe(
        'Since when the policy is suspended; the deadline moves by as long as that lasts. Absent while it is not.',
      ),
    startTime: timestamp().optional().describe('When the first workload was about to be changed.'),
    endTime: timestamp().optional().describe('When the rollout finished.'),
  })
  .meta(
    cel({
      rule: `!(oldSelf.state in ['${FINISHED_STATES.join("', '")}']) || self == oldSelf`,
      message: 'a finished rollout never changes',
    }),
  )
  .describe('Progress and result.');

export type ImageRolloutSpec = z.output<typeof imageRolloutSpec>;
export type ImageRolloutStatus = z.output<typeof imageRolloutStatus>;
export type RolloutTarget = ImageRolloutSpec['targets'][number];
export type RolloutTargetStatus = NonNullable<ImageRolloutStatus['targets']>[number];
