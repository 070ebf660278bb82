// ImageRollout: one move of one policy's workloads. The spec is the intent and the reasons for it, written before any
// workload is touched and never changed; the status is the progress and the result. The finished ones are the history.

import * as z from 'zod';
import { imagePolicySpec, workloadKind } from './image-policy.ts';
import { cel, conditions, digestString, duration, objectName, sentence, timestamp } from './schema.ts';

/** Why a rollout was started. */
export const ROLLOUT_TRIGGERS = [
  'NewTag',
  'NewDigest',
  'NewTarget',
  'Reassert',
  'Pin',
  'Unpin',
  'Reject',
  'Release',
  'Retry',
] as const;
export type RolloutTrigger = (typeof ROLLOUT_TRIGGERS)[number];

export const ROLLOUT_STATES = [
  'Pending',
  'Applying',
  'Verifying',
  'Soaking',
  'RollingBack',
  'Succeeded',
  'RolledBack',
  'RollbackFailed',
  'Held',
  'Aborted',
] as const;
/** @see operator/rollout/state-machine.ts for the transitions. */
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** States that never change again and that release the workloads. */
export const FINISHED_STATES: readonly RolloutState[] = [
  'Succeeded',
  'RolledBack',
  'RollbackFailed',
  'Held',
  'Aborted',
];

export const TARGET_STATES = [
  'Pending',
  'Applied',
  'Healthy',
  'Failed',
  'Gone',
  'Contested',
  'Skipped',
  'Undoing',
  'Undone',
  'Restored',
  'UndoFailed',
] as const;
/**
 * Where one workload stands. Pending: to be written. Applied: written, not healthy yet. Skipped: not written, because the
 * rollout failed before. Undoing: to be set back. Undone: set back, not healthy yet. Restored: set back and healthy.
 */
export type TargetState = (typeof TARGET_STATES)[number];

/** Image: it is at fault and goes into quarantine. Environment: something else is. Foreign: somebody else set an image. */
export const FAILURE_CLASSES = ['Image', 'Environment', 'Foreign'] as const;
export type FailureClass = (typeof FAILURE_CLASSES)[number];

/** After this many attempts that failed for the environment's sake, the image goes into quarantine all the same. */
export const MAX_ATTEMPTS = 3;

const target = z.object({
  kind: workloadKind().describe('Kind of the workload.'),
  name: objectName().describe('Its name.'),
  uid: z.string().min(1).max(64).describe('Its UID. A workload that was created anew is not touched.'),
  containers: z
    .array(
      z.object({
        name: z.string().min(1).max(63).describe('The container.'),
        init: z.boolean().default(false).describe('true for an init container. Default: false.'),
        from: z.string().min(1).max(640).describe('The image before, as the API server held it.'),
        to: z.string().min(1).max(640).describe('The image after: repository:tag@digest.'),
        back: z
          .string()
          .min(1)
          .max(640)
          .optional()
          .describe(
            'What restores the image before, by digest where that is known. Absent when it must not come back: it is in quarantine.',
          ),
        lastGood: z
          .string()
          .min(1)
          .max(640)
          .optional()
          .describe(
            'The newest image that was healthy here through its soak and is not in quarantine. Absent when there is none.',
          ),
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
        'NewTag: a newer tag. NewDigest: the same tag, pushed again. NewTarget: a workload that joined late. Reassert: somebody else had changed the image. Pin, Unpin: a person set or removed a pin. Reject: a person rejected what ran. Release: a person released it from quarantine. Retry: the last attempt failed for the sake of the environment.',
      ),
    attempt: z
      .int()
      .min(1)
      .max(MAX_ATTEMPTS)
      .default(1)
      .describe(`How often these images were tried on these workloads, this time included; at most ${MAX_ATTEMPTS}.`),
    pin: z
      .object({
        tag: z.string().max(128).optional().describe('The tag that was pinned.'),
        digest: digestString().optional().describe('The digest that was pinned.'),
      })
      .optional()
      .describe('The pin that this rollout carries out. Absent when it carries out none.'),
    decisions: z
      .array(z.string().max(64))
      .max(16)
      .optional()
      .describe(
        'UIDs of the ImageDecisions that this rollout uses up, and of rejections that it overrules because a person pinned the image.',
      ),
    images: z
      .array(
        z.object({
          image: z.string().min(1).max(255).describe('The repository, as the policy writes it.'),
          tag: z.string().min(1).max(128).optional().describe('The tag. Absent when a digest was pinned.'),
          digest: digestString().describe('The digest that the tag was resolved to, once, before anything else.'),
          digests: z
            .array(digestString())
            .max(32)
            .optional()
            .describe(
              'What is new with it: the digest and those of its platforms, less those that ran before. In quarantine it is recognised by these.',
            ),
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
        soak: duration({ most: '24h' }).default('0s').describe('As in the policy.'),
        onFailure: z.enum(['RollBack', 'Hold']).default('RollBack').describe('As in the policy; Hold for a pin.'),
        atomic: z.boolean().default(true).describe('As in the policy.'),
        verify: imagePolicySpec.shape.rollout.unwrap().shape.verify,
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
          undo: z
            .enum(['Back', 'LastGood', 'Blocked'])
            .optional()
            .describe(
              'What an undo brings back, settled at the claim: the image before, the last good one, or nothing (Blocked).',
            ),
          undoTime: timestamp().optional().describe('When the image was set back. Absent when it was not.'),
          resourceVersion: z.string().max(64).optional().describe('Version of the workload when it was claimed.'),
          appliedTime: timestamp()
            .optional()
            .describe('When the image was written. Absent when nothing had to be written.'),
        }),
      )
      .max(100)
      .optional()
      .describe('Progress, in the order of spec.targets.'),
    failure: z
      .object({
        class: z
          .enum(FAILURE_CLASSES)
          .describe(
            'Image: the image is at fault and goes into quarantine. Environment: something else is. Foreign: somebody else set an image.',
          ),
        reason: z.string().max(128).describe('A stable word for programs, for example CrashLoopBackOff.'),
        message: sentence().describe("What happened, with the pod's own words."),
        time: timestamp().describe('When it was noticed.'),
      })
      .optional()
      .describe('Why it failed. Absent while nothing has.'),
    verify: z
      .array(
        z.object({
          check: z.string().max(128).describe('Which check, for example http web:80/healthz.'),
          state: z.enum(['Pending', 'Passed', 'Failed']).describe('How it came out.'),
          failures: z.int().min(0).max(1000).optional().describe('How often in a row it did not pass. Absent: never.'),
          message: sentence().optional().describe('Its last answer, in a sentence.'),
        }),
      )
      .max(8)
      .optional()
      .describe('The checks of settings.verify, in order.'),
    awaitsRun: z
      .boolean()
      .optional()
      .describe('true: only the next run of a CronJob is missing. A newer image may take its place.'),
    interruptions: z
      .int()
      .min(0)
      .optional()
      .describe(
        'How often the soak started over because pods that were ready were not any more. The fifth time fails it.',
      ),
    soakTime: timestamp()
      .optional()
      .describe(
        'Since when every workload is well. Pods that come and go do not start it over; one that was well and is not does.',
      ),
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
