// ImagePolicy: which image to follow, what must hold before it runs, and where it runs. The schema is the only source of
// the CRD, the TypeScript types, the field reference and `kubectl explain`.

import * as z from 'zod';
import {
  cel,
  conditions,
  digestString,
  duration,
  listMap,
  listSet,
  objectName,
  oneOf,
  re2,
  sentence,
  timestamp,
} from './schema.ts';

/** The workload kinds that a policy can move. */
export const WORKLOAD_KINDS = ['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob'] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

/** The members of `spec.tags` of which exactly one is set. */
export const TAG_ORDERS = ['semver', 'numerical', 'alphabetical', 'newest', 'fixed'] as const;

/** A policy reaches at most this many workloads. */
export const MAX_TARGET_WORKLOADS = 100;
/** Rollouts are called `<policy>-<n>`; the rest of the 63 characters is for the number. */
export const MAX_POLICY_NAME_LENGTH = 52;
/** `status.tags.rejected` shows this many examples. */
export const MAX_REJECTED_EXAMPLES = 20;
/** `status.seen` holds this many entries; further tags wait. */
export const MAX_SEEN_TAGS = 50;

const HOST_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const PATH_PART = '[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*';
// Hosts in lower case only: `Acme/web` is a slip of the pen, and read as a host it would never answer.
const REPOSITORY = `((${HOST_LABEL}([.]${HOST_LABEL})*|[[][a-f0-9:]+[]])(:[0-9]{1,5})?/)?${PATH_PART}(/${PATH_PART})*`;
const IMAGE_REMEDY = [
  `self.contains('://') ? 'must be host/path without a scheme, for example ghcr.io/acme/web'`,
  `self.matches('^[^/]*@.*/') ? 'must not carry credentials: use registry.imagePullSecrets'`,
  `self.contains('@') || self.matches(':[^/]*$') ? 'must be a repository without tag or digest, for example ghcr.io/acme/web'`,
  `'must be host/path in lower case, for example ghcr.io/acme/web'`,
].join(' : ');

const RANGE_TERM = [
  '(=>|=<|>=|<=|!=|~>|[=><~^])?',
  String.raw`\s*v?`,
  '([0-9]+|[xX*])([.]([0-9]+|[xX*]))?([.]([0-9]+|[xX*]))?',
  '(-[-0-9A-Za-z]+([.][-0-9A-Za-z]+)*)?([+][-0-9A-Za-z]+([.][-0-9A-Za-z]+)*)?',
].join('');
const RANGE_GROUP = String.raw`\s*${RANGE_TERM}((\s*,\s*|\s+-\s+|\s+)${RANGE_TERM})*\s*`;
/**
 * Lets through everything that `operator/selection` can read as a range and hardly anything else, so that most slips are
 * refused when applied. RE2: not for the built-in engine, which it could keep busy.
 */
export const SEMVER_RANGE = `^${RANGE_GROUP}([|][|]${RANGE_GROUP})*$`;

const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
const LABEL_VALUE = '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$';

const direction = (): z.ZodDefault<z.ZodEnum<{ Ascending: 'Ascending'; Descending: 'Descending' }>> =>
  z
    .enum(['Ascending', 'Descending'])
    .default('Ascending')
    .describe('Ascending: the greatest value is the newest. Descending: the least is. Default: Ascending.');

const registry = z
  .object({
    imagePullSecrets: z
      .array(
        z.object({
          name: objectName().describe('Name of a Secret of type kubernetes.io/dockerconfigjson in this namespace.'),
        }),
      )
      .max(16)
      .meta(listMap('name'))
      .optional()
      .describe(
        'Secrets with the logins of the registry. The entry with the same host (port included) and the longest matching path is used. Example: [{ name: ghcr }].',
      ),
    serviceAccountName: objectName()
      .optional()
      .describe('A ServiceAccount of this namespace whose imagePullSecrets are used as well. Example: web.'),
    caBundleRef: z
      .object({
        kind: z.enum(['ConfigMap', 'Secret']).describe('ConfigMap or Secret.'),
        name: objectName().describe('Its name, in this namespace.'),
        key: z
          .string()
          .min(1)
          .max(253)
          .default('ca.crt')
          .describe('The key that holds PEM certificates. Default: ca.crt.'),
      })
      .optional()
      .describe('Certificates, in PEM, that the registry may be signed by, on top of the public ones.'),
  })
  .optional()
  .describe('How to reach the registry. Without it the registry is read anonymously.');

const tags = z
  .object({
    filter: re2()
      .optional()
      .describe(
        "Only tags that match are considered. RE2, not anchored, at most 256 characters; named groups (?P<name>…) can be used by extract. Example: '^v(?P<version>.*)$'.",
      ),
    extract: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe(
        'What the order compares, built from the groups of filter; the original tag is what rolls out. Example: $version. Default: the whole tag.',
      ),
    exclude: z
      .array(re2())
      .max(16)
      .optional()
      .describe(
        "Tags that match any of these RE2 expressions are dropped. Signatures, attestations and build caches always are. Example: ['-debug$'].",
      ),
    semver: z
      .object({
        range: z
          .string()
          .max(256)
          .meta(
            cel({
              rule: `self.matches(r'${SEMVER_RANGE}')`,
              message: 'must be a range of semantic versions, for example 1.x, ^1.2 or >=1.2.0 <2',
            }),
          )
          .describe("Semantic versions in this range, the highest first. Examples: 1.x, ^1.2, '>=1.2.0 <2'."),
        prerelease: z
          .boolean()
          .default(false)
          .describe('Also consider prereleases, even where the range names none. Default: false.'),
        variant: z
          .string()
          .max(64)
          .meta(
            cel({
              rule: `self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')`,
              message: 'must be a tag suffix without its hyphen, for example alpine',
            }),
          )
          .optional()
          .describe(
            'Only tags with exactly this suffix, which does not count as a prerelease. Example: alpine takes 1.2.3-alpine.',
          ),
      })
      .optional()
      .describe('Order by semantic version. Example: { range: 1.x }.'),
    numerical: z
      .object({ direction: direction() })
      .optional()
      .describe('Order by number: decimals of any length, compared exactly. Write numerical: {} for ascending.'),
    alphabetical: z
      .object({ direction: direction() })
      .optional()
      .describe('Order by bytes, as for dates such as 2026-01-31. Write alphabetical: {} for ascending.'),
    newest: z
      .object({})
      .optional()
      .describe(
        'Order by the creation time that the image states. Write newest: {} (a bare newest: counts as not set).',
      ),
    fixed: z
      .object({
        tag: z
          .string()
          .max(128)
          .meta(
            cel({
              rule: `self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')`,
              message: 'must be a tag, for example latest',
            }),
          )
          .describe('The tag. Example: latest.'),
      })
      .optional()
      .describe('Follow the digest of one tag, also when it is moved back.'),
    digest: z
      .enum(['Follow', 'Ignore'])
      .default('Follow')
      .describe(
        'Follow: a tag that is pushed again is a new candidate. Ignore: only a higher tag is. Default: Follow.',
      ),
    platforms: z
      .array(
        z
          .string()
          .max(64)
          .meta(
            cel({
              rule: `self.matches('^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$')`,
              message: 'must be os/architecture, for example linux/amd64',
            }),
          ),
      )
      .min(1)
      .max(16)
      .meta(listSet)
      .optional()
      .describe(
        "Platforms that an image must support, all of them. Example: [linux/amd64, linux/arm64]. Default: those of the cluster's nodes.",
      ),
    minimumAge: duration({ most: '8760h' })
      .optional()
      .describe(
        'How long a tag must have pointed at the same digest, counted from when Slipway first saw it, before it is considered. Example: 72h. Default: no minimum.',
      ),
    downgrade: z
      .enum(['Never', 'Allowed'])
      .default('Never')
      .describe(
        'Allowed: when the running tag is gone from the registry (missing from two complete listings and not found directly), the best remaining tag may roll out although it is lower. Default: Never.',
      ),
  })
  .meta(
    cel(oneOf(TAG_ORDERS, 'order of the tags', 'an order without settings is written as newest: {}'), {
      rule: '!has(self.extract) || has(self.filter)',
      message: 'extract needs a filter with named groups',
      fieldPath: '.extract',
    }),
  )
  .describe('Which tags qualify and which of them is the newest. Exactly one order is set.');

const target = z
  .object({
    kind: z.enum(WORKLOAD_KINDS).describe('Kind of the workload.'),
    name: objectName().optional().describe('Name of one workload in this namespace. Either name or selector.'),
    selector: z
      .object({
        matchLabels: z
          .record(z.string().max(317), z.string().max(63))
          .meta({
            ...cel(
              {
                rule: 'self.size() > 0',
                message: 'needs at least one label: an empty selector would take every workload of the kind',
              },
              {
                rule: `self.all(key, key.matches('${LABEL_KEY}') && self[key].matches('${LABEL_VALUE}'))`,
                message: 'must be labels as Kubernetes allows them, for example app: web',
              },
            ),
            maxProperties: 16,
          })
          .describe('Labels that a workload must carry, all of them. Example: { app: web }.'),
      })
      .optional()
      .describe('Every workload of the kind, in this namespace, with these labels.'),
    containers: z
      .array(
        z
          .string()
          .max(63)
          .meta(
            cel({
              rule: `self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,
              message: 'must be the name of a container',
            }),
          ),
      )
      .min(1)
      .max(32)
      .meta(listSet)
      .optional()
      .describe(
        'Names of (init) containers to move. Default: every (init) container whose image is of this repository.',
      ),
  })
  .meta(cel({ rule: 'has(self.name) != has(self.selector)', message: 'set either name or selector' }));

export const imagePolicySpec = z
  .object({
    image: z
      .string()
      .max(255)
      .meta(
        cel({
          rule: `self.matches('^${REPOSITORY}$')`,
          messageExpression: IMAGE_REMEDY,
        }),
      )
      .describe(
        'The repository to follow, without tag or digest; short names of Docker Hub are completed. Cannot be changed. Example: ghcr.io/acme/web.',
      ),
    suspend: z
      .boolean()
      .default(false)
      .describe(
        'true: go on watching and reporting, but start nothing; an open rollout pauses where it is. Default: false.',
      ),
    interval: duration({ least: '15s', most: '168h' })
      .default('5m')
      .describe(
        'How often the registry is asked. Policies of one repository share the requests. At least 15s. Default: 5m.',
      ),
    registry,
    tags,
    targets: z
      .array(target)
      .max(64)
      .default([])
      .describe(
        'The workloads to move. Empty: the policy only selects, and other tooling reads status.selected. Example: [{ kind: Deployment, name: web }].',
      ),
    rollout: z
      .object({
        progressDeadline: duration({ least: '1s', most: '24h' })
          .default('10m')
          .describe('A workload that is not healthy this long after the change counts as failed. Default: 10m.'),
        onForeignChange: z
          .enum(['Hold', 'Reassert'])
          .optional()
          .describe(
            'What to do when somebody else changes the image. Hold: stand back. Reassert: roll the selected digest again, once per foreign change. Not set: Hold, and workloads that GitOps tools or Helm manage are not touched at all; setting it is the consent.',
          ),
        historyLimit: z
          .int()
          .min(1)
          .max(100)
          .default(10)
          .describe('How many finished ImageRollouts are kept. Default: 10.'),
      })
      .prefault({})
      .describe('How workloads are moved. Every field has a safe default.'),
  })
  .meta(
    cel({
      rule: 'self.image == oldSelf.image',
      message: 'image cannot be changed: create another policy',
      fieldPath: '.image',
      reason: 'FieldValueForbidden',
    }),
  )
  .describe('What people ask for.');

const gateAnswer = z.object({
  gate: z.string().max(64).describe('The gate, for example workload.'),
  answer: z
    .enum(['Open', 'Waiting', 'Closed'])
    .describe('Waiting may open by itself; Closed will not for this candidate.'),
  reason: z.string().max(128).describe('A stable word for programs.'),
  message: sentence().describe('A sentence for people.'),
  sinceTime: timestamp().optional().describe('Since when the gate has given this answer.'),
});

export type GateAnswer = z.output<typeof gateAnswer>;

const taggedDigest = {
  tag: z.string().max(128).optional().describe('The tag. Absent when the image runs by digest alone.'),
  digest: digestString().optional().describe('The digest the tag was resolved to. Absent while unknown.'),
};

export const imagePolicyStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation of the spec that this status speaks about.'),
    conditions: conditions().optional().describe('Ready, and while they apply Reconciling, Stalled and ManualHold.'),
    candidate: z
      .object({
        ...taggedDigest,
        waiting: sentence(256).optional().describe('The gates that are not open, in words; absent when all are.'),
        waitingFor: z.array(gateAnswer).max(16).optional().describe('The gates that are not open.'),
      })
      .optional()
      .describe('The best tag by the order that is newer than what runs. Absent when there is none.'),
    selected: z
      .object({
        tag: z.string().max(128).describe('The tag.'),
        digest: digestString().describe('Its digest.'),
      })
      .optional()
      .describe('The best tag whose gates are all open: what a Git tool should write.'),
    current: z
      .object({
        images: z
          .array(
            z.object({
              image: z.string().max(255).describe('The repository.'),
              ...taggedDigest,
            }),
          )
          .max(8)
          .describe('The image in use; where targets differ, the lowest.'),
        sinceTime: timestamp().optional().describe('When it came into use, as far as Slipway saw it.'),
        rollout: z
          .string()
          .max(253)
          .optional()
          .describe('The ImageRollout that brought it. Absent when it was found running.'),
      })
      .optional()
      .describe('What runs now.'),
    targets: z
      .array(
        z.object({
          kind: z.string().max(63).describe('Kind of the workload.'),
          name: z.string().max(253).describe('Its name.'),
          uid: z.string().max(64).describe('Its UID: a workload that was created anew is met anew.'),
          container: z.string().max(63).describe('The (init) container.'),
          image: z
            .string()
            .max(640)
            .describe('The image that Slipway last accepted or wrote here. Any other one is a foreign change.'),
          digest: digestString()
            .optional()
            .describe('The digest its pods ran when it was accepted, where the image names none.'),
          rollout: z
            .int()
            .min(0)
            .optional()
            .describe('Number of the newest rollout that this entry takes into account.'),
        }),
      )
      .max(3200)
      .optional()
      .describe('Per container, what Slipway last accepted or wrote.'),
    tags: z
      .object({
        total: z.int().min(0).describe('Tags in the last complete listing.'),
        considered: z.int().min(0).describe('Tags that took part in the ordering.'),
        rejectedByReason: z
          .record(z.string().max(64), z.int().min(0))
          .meta({ maxProperties: 32 })
          .optional()
          .describe('How many tags were passed over, by reason.'),
        rejected: z
          .array(
            z.object({
              tag: z.string().max(128).describe('The tag.'),
              reason: z.string().max(64).describe('A stable word for programs.'),
              message: sentence(512).describe('Why, in a sentence.'),
            }),
          )
          .max(MAX_REJECTED_EXAMPLES)
          .optional()
          .describe(`At most ${MAX_REJECTED_EXAMPLES} examples.`),
      })
      .optional()
      .describe('What was found in the registry.'),
    seen: z
      .array(
        z.object({
          tag: z.string().max(128).describe('The tag.'),
          digest: digestString().describe('The digest it pointed at.'),
          firstSeenTime: timestamp().describe('When Slipway first saw this pair.'),
        }),
      )
      .max(MAX_SEEN_TAGS)
      .optional()
      .describe('When candidates were first seen. Only with minimumAge.'),
    lastRollout: z.int().min(0).optional().describe('The highest number that a rollout of this policy has had.'),
  })
  .describe('What Slipway observed.');

export type ImagePolicySpec = z.output<typeof imagePolicySpec>;
export type ImagePolicyStatus = z.output<typeof imagePolicyStatus>;
export type TargetSpec = ImagePolicySpec['targets'][number];
