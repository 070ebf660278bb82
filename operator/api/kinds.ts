// The kinds of the API group: everything a CRD needs beside the schema, and the types of whole objects.

import type * as z from 'zod';
import { imageDecisionSpec, type ImageDecisionSpec } from './image-decision.ts';
import {
  imagePolicySpec,
  imagePolicyStatus,
  MAX_POLICY_NAME_LENGTH,
  type ImagePolicySpec,
  type ImagePolicyStatus,
} from './image-policy.ts';
import {
  imageRolloutSpec,
  imageRolloutStatus,
  type ImageRolloutSpec,
  type ImageRolloutStatus,
} from './image-rollout.ts';
import type { KubeObject } from './object.ts';
import type { Rule } from './schema.ts';

export const API_GROUP = 'slipway.dev';
export const API_VERSION = 'v1alpha1';
export const API_GROUP_VERSION = `${API_GROUP}/${API_VERSION}`;

/** On a workload: the ImageRollout that is moving it right now. Set with the image, cleared when the rollout finishes. */
export const ROLLOUT_ANNOTATION = 'slipway.dev/rollout';
/** The field manager of every write to a workload. */
export const FIELD_MANAGER = 'slipway';

export interface ImagePolicy extends KubeObject {
  readonly spec: ImagePolicySpec;
  /** Absent until the first reconcile. */
  readonly status?: ImagePolicyStatus;
}

export interface ImageDecision extends KubeObject {
  readonly spec: ImageDecisionSpec;
}

export interface ImageRollout extends KubeObject {
  readonly spec: ImageRolloutSpec;
  /** Absent until claimed. */
  readonly status?: ImageRolloutStatus;
}

/** @see https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** 0: always shown; 1: only with `-o wide`. */
  readonly priority?: 0 | 1;
}

export interface KindDefinition {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** What the kind is, in a sentence or two, for `kubectl explain` and the docs. */
  readonly description: string;
  readonly spec: z.ZodType;
  /** Absent: the kind has no status. */
  readonly status?: z.ZodType;
  /** Rules on the object as a whole. */
  readonly rules: readonly Rule[];
  readonly columns: readonly PrinterColumn[];
  /** JSON paths that field selectors may use. */
  readonly selectableFields: readonly string[];
}

const age: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Time since creation.',
};

export const imagePolicyKind: KindDefinition = {
  kind: 'ImagePolicy',
  plural: 'imagepolicies',
  singular: 'imagepolicy',
  shortNames: ['slpol'],
  description: 'ImagePolicy says which image to follow, what must hold before it runs, and which workloads run it.',
  spec: imagePolicySpec,
  status: imagePolicyStatus,
  rules: [
    {
      rule: `size(self.metadata.name) <= ${MAX_POLICY_NAME_LENGTH}`,
      message: `metadata.name: at most ${MAX_POLICY_NAME_LENGTH} characters, because rollouts are named after the policy`,
    },
  ],
  columns: [
    { name: 'Image', type: 'string', jsonPath: '.spec.image', description: 'The repository.' },
    { name: 'Current', type: 'string', jsonPath: '.status.current.images[0].tag', description: 'The tag in use.' },
    {
      name: 'Candidate',
      type: 'string',
      jsonPath: '.status.candidate.tag',
      description: 'The newer tag, if there is one.',
    },
    {
      name: 'Waiting For',
      type: 'string',
      jsonPath: '.status.candidate.waiting',
      description: 'What the candidate waits for.',
    },
    {
      name: 'Ready',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].status',
      description: 'True when the newest tag that qualifies is in use.',
    },
    age,
    {
      name: 'Digest',
      type: 'string',
      jsonPath: '.status.current.images[0].digest',
      description: 'The digest in use.',
      priority: 1,
    },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      description: 'The state in a sentence.',
      priority: 1,
    },
  ],
  selectableFields: ['.spec.image'],
};

export const imageRolloutKind: KindDefinition = {
  kind: 'ImageRollout',
  plural: 'imagerollouts',
  singular: 'imagerollout',
  shortNames: ['slroll'],
  description:
    'ImageRollout is one move of the workloads of one ImagePolicy: the intent, the reasons, the progress and the result. Slipway writes it; the finished ones are the history.',
  spec: imageRolloutSpec,
  status: imageRolloutStatus,
  rules: [{ rule: '!has(oldSelf.status) || has(self.status)', message: 'the status of a rollout cannot be removed' }],
  columns: [
    { name: 'Policy', type: 'string', jsonPath: '.spec.policy.name', description: 'The policy.' },
    { name: 'Direction', type: 'string', jsonPath: '.spec.direction', description: 'Forward or Back.' },
    { name: 'Tag', type: 'string', jsonPath: '.spec.images[0].tag', description: 'The tag that rolls out.' },
    { name: 'Trigger', type: 'string', jsonPath: '.spec.trigger', description: 'Why it was started.' },
    { name: 'State', type: 'string', jsonPath: '.status.state', description: 'Where it stands.' },
    age,
    { name: 'Digest', type: 'string', jsonPath: '.spec.images[0].digest', description: 'Its digest.', priority: 1 },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.message',
      description: 'The state in a sentence.',
      priority: 1,
    },
  ],
  selectableFields: ['.spec.policy.name'],
};

export const imageDecisionKind: KindDefinition = {
  kind: 'ImageDecision',
  plural: 'imagedecisions',
  singular: 'imagedecision',
  shortNames: ['sldec'],
  description:
    'ImageDecision is one decision of one person about one ImagePolicy: approve, reject or release a digest, or resume after a hold. It never changes.',
  spec: imageDecisionSpec,
  rules: [],
  columns: [
    { name: 'Policy', type: 'string', jsonPath: '.spec.policy', description: 'The policy.' },
    { name: 'Decision', type: 'string', jsonPath: '.spec.decision', description: 'What was decided.' },
    { name: 'By', type: 'string', jsonPath: '.spec.by', description: 'Who decided.' },
    age,
    { name: 'Digest', type: 'string', jsonPath: '.spec.digest', description: 'The digest.', priority: 1 },
    { name: 'Reason', type: 'string', jsonPath: '.spec.reason', description: 'Why.', priority: 1 },
  ],
  selectableFields: ['.spec.policy'],
};

/** Every kind, in the order in which people meet them. */
export const KINDS: readonly KindDefinition[] = [imagePolicyKind, imageDecisionKind, imageRolloutKind];
