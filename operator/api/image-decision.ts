// ImageDecision: one decision of one person about one policy. It never changes; who wants something else makes another one.
// Decisions are read in the order of their creation, then of their names.

import * as z from 'zod';
import { cel, digestString, objectName, sentence, timestamp } from './schema.ts';

export const DECISIONS = ['Approve', 'Reject', 'Release', 'Resume'] as const;
export type Decision = (typeof DECISIONS)[number];

export const imageDecisionSpec = z
  .object({
    policy: objectName().describe('Name of the ImagePolicy in this namespace. Example: web.'),
    digest: digestString()
      .optional()
      .describe(
        'The digest it is about: that of image, where the policy has companions; an Approve is needed for every digest that would move. Not set for Resume.',
      ),
    decision: z
      .enum(DECISIONS)
      .describe(
        'Approve: it may roll out. Reject: it never does, and if it runs it goes back. Release: it may be tried once more although it is in quarantine or rejected. Resume: go on after a hold or a freeze.',
      ),
    by: z
      .string()
      .min(1)
      .max(253)
      .describe(
        'Who decides: the user name that the API server knows, see kubectl auth whoami. Example: jane@acme.dev.',
      ),
    reason: sentence(512).optional().describe('Why, for those who read the history.'),
    expirationTime: timestamp()
      .optional()
      .describe('Only for Approve: when it stops counting; validFor of the policy may end it earlier.'),
  })
  .meta(
    cel(
      { rule: 'self == oldSelf', message: 'a decision cannot be changed: make another one' },
      {
        rule: `(self.decision == 'Resume') != has(self.digest)`,
        message: 'Approve, Reject and Release need the digest they are about; Resume has none',
      },
      {
        rule: `!has(self.expirationTime) || self.decision == 'Approve'`,
        message: 'only an Approve expires',
        fieldPath: '.expirationTime',
      },
    ),
  )
  .describe('The decision. Never changes.');

export type ImageDecisionSpec = z.output<typeof imageDecisionSpec>;
