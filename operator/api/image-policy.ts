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

/** The workload kinds that every operator can move; its configuration may add others (workloadKinds). */
export const WORKLOAD_KINDS = ['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob'] as const;
/** A kind with a pod template: one of WORKLOAD_KINDS, or one that the operator's configuration adds. */
export type WorkloadKind = string;
export type BuiltInKind = (typeof WORKLOAD_KINDS)[number];

/** The members of `spec.tags` of which exactly one is set. */
export const TAG_ORDERS = ['semver', 'numerical', 'alphabetical', 'newest', 'fixed'] as const;

/** A policy reaches at most this many workloads. */
export const MAX_TARGET_WORKLOADS = 100;
/** Rollouts are called `<policy>-<n>`; the rest of the 63 characters is for the number. */
export const MAX_POLICY_NAME_LENGTH = 52;
/** `status.tags.rejected` shows this many examples. */
export const MAX_REJECTED_EXAMPLES = 20;
/** Why something is in quarantine. */
export const QUARANTINE_CAUSES = ['Image', 'Environment', 'Rejected'] as const;
/** `status.quarantine` holds this many entries in full. */
export const MAX_QUARANTINE = 50;
/** `status.quarantined` holds this many older digests; with more, the policy stalls. */
export const MAX_QUARANTINED_DIGESTS = 1_000;
/** `status.spentDecisions` holds this many. */
export const MAX_SPENT_DECISIONS = 50;
/** `status.targets[].good` holds this many. */
export const MAX_GOOD_IMAGES = 3;
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

const containerNames = () =>
  z
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
    .meta(listSet);

/** Kind of a workload; whether the operator knows it is the operator's to say. */
export const workloadKind = (): z.ZodString =>
  z
    .string()
    .max(63)
    .meta(
      cel({
        rule: `self.matches('^[A-Z][A-Za-z0-9]*$')`,
        message: 'must be a kind, for example Deployment',
      }),
    );

const target = z
  .object({
    kind: workloadKind().describe(
      `Kind of the workload: ${WORKLOAD_KINDS.join(', ')}, or one that the operator's configuration adds under workloadKinds. Example: Deployment.`,
    ),
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
    containers: containerNames()
      .optional()
      .describe(
        'Names of (init) containers to move. Default: every (init) container whose image is of this repository.',
      ),
  })
  .meta(cel({ rule: 'has(self.name) != has(self.selector)', message: 'set either name or selector' }));

const repository = (): z.ZodString =>
  z
    .string()
    .max(255)
    .meta(
      cel({
        rule: `self.matches('^${REPOSITORY}$')`,
        messageExpression: IMAGE_REMEDY,
      }),
    );

const companion = z.object({
  image: repository().describe(
    'A repository whose images carry the same tags, without tag or digest. Example: ghcr.io/acme/worker.',
  ),
  containers: containerNames()
    .optional()
    .describe(
      'Names of the (init) containers of the targets that run it. Default: every (init) container whose image is of this repository.',
    ),
});

const CRON_FIELD = '[0-9A-Za-z*/,-]+';
const TIME_ZONE = '^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$';

const windows = (what: string) =>
  z
    .array(
      z.object({
        cron: z
          .string()
          .max(128)
          .meta(
            cel({
              rule: `self.matches('^${CRON_FIELD}( ${CRON_FIELD}){4}$')`,
              message: "must be five cron fields (minute hour day month weekday), for example '0 22 * * 1-5'",
            }),
          )
          .describe("When it begins: minute, hour, day of month, month, day of week. Example: '0 22 * * 1-5'."),
        duration: duration({ least: '1m', most: '8760h' }).describe('How long it lasts, in elapsed time. Example: 4h.'),
        timeZone: z
          .string()
          .max(64)
          .meta(
            cel({
              rule: `self.matches('${TIME_ZONE}') && self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0`,
              message: 'must be a time zone of the IANA database, for example Europe/Berlin or UTC',
            }),
          )
          .describe('IANA name of the time zone in which cron is read. Example: Europe/Berlin.'),
      }),
    )
    .min(1)
    .max(16)
    .optional()
    .describe(what);

const gates = z
  .object({
    approval: z
      .object({
        required: z
          .int()
          .min(1)
          .max(16)
          .default(1)
          .describe('How many different people must approve the digest. Default: 1.'),
        validFor: duration({ least: '1m', most: '8760h' })
          .default('168h')
          .describe('How long an approval counts after it was given. Default: 168h.'),
      })
      .optional()
      .describe('People must approve each digest first, with kubectl slipway approve or an ImageDecision.'),
    windows: z
      .object({
        allow: windows('A rollout starts only inside one of these. Default: at any time.'),
        deny: windows('No rollout starts inside any of these, whatever allow says.'),
      })
      .meta(cel({ rule: 'has(self.allow) || has(self.deny)', message: 'set allow, deny or both' }))
      .optional()
      .describe('When rollouts may start. What has started, and every undo, goes on outside of a window.'),
  })
  .optional()
  .describe('What must hold before a candidate rolls out. Default: nothing but what Slipway always checks.');

const VERIFY_CHECKS = ['http', 'job', 'prometheus'] as const;

const verify = z
  .array(
    z
      .object({
        http: z
          .object({
            service: objectName().describe('Name of a Service of this namespace. Example: web.'),
            port: z.int().min(1).max(65_535).default(80).describe('Port of the Service. Default: 80.'),
            path: z
              .string()
              .max(1024)
              .meta(cel({ rule: `self.startsWith('/')`, message: 'must begin with /' }))
              .default('/')
              .describe('Path and query. Example: /healthz. Default: /.'),
            scheme: z.enum(['HTTP', 'HTTPS']).default('HTTP').describe('HTTP or HTTPS (not verified). Default: HTTP.'),
            status: z
              .int()
              .min(100)
              .max(599)
              .optional()
              .describe('The status code that is wanted. Default: any from 200 to 299.'),
          })
          .optional()
          .describe('A request to a Service. Redirects are not followed; the body is not read.'),
        job: z
          .object({
            template: z
              .looseObject({})
              .meta({ 'x-kubernetes-preserve-unknown-fields': true })
              .describe(
                'A JobTemplateSpec of batch/v1: metadata and spec, as in a CronJob. $(SLIPWAY_TAG), $(SLIPWAY_DIGEST) and $(SLIPWAY_ROLLOUT) are set in the environment of its containers.',
              ),
          })
          .optional()
          .describe('A Job in this namespace, run once per rollout. It must succeed.'),
        prometheus: z
          .object({
            query: z
              .string()
              .min(1)
              .max(2048)
              .describe('PromQL whose result is one number. Example: the rate of errors.'),
            threshold: z
              .string()
              .max(64)
              .meta(
                cel({
                  rule: `self.matches('^(<|<=|>|>=|==|!=) ?-?[0-9]+([.][0-9]+)?$')`,
                  message: "must be a comparison and a number, for example '< 0.01'",
                }),
              )
              .describe("What the number must be. Example: '< 0.01'."),
          })
          .optional()
          .describe("A query to the Prometheus of the operator's configuration."),
      })
      .meta(cel(oneOf(VERIFY_CHECKS, 'check'))),
  )
  .max(8)
  .optional()
  .describe(
    'Checks that run as soon as every workload is healthy, and again while it soaks. One that fails fails the rollout.',
  );

const pin = z
  .object({
    tag: z
      .string()
      .max(128)
      .meta(
        cel({ rule: `self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')`, message: 'must be a tag, for example v1.4.2' }),
      )
      .optional()
      .describe('The tag to hold. It is resolved to a digest once. Example: v1.4.2.'),
    digest: z
      .string()
      .max(71)
      .meta(
        cel({
          rule: `self.matches('^sha256:[a-f0-9]{64}$')`,
          message: 'must be a digest: sha256: and 64 hexadecimal digits',
        }),
      )
      .optional()
      .describe('The digest to hold.'),
    reason: sentence(512).optional().describe('Why, for those who find it. Example: INC-42.'),
  })
  .meta(cel(oneOf(['tag', 'digest'], 'pin')))
  .optional()
  .describe(
    'Hold this image until the pin is removed; automation waits. Setting it needs the verb pin on imagepolicies.',
  );

export const imagePolicySpec = z
  .object({
    image: repository().describe(
      'The repository to follow, without tag or digest; short names of Docker Hub are completed. Cannot be changed. Example: ghcr.io/acme/web.',
    ),
    companions: z
      .array(companion)
      .max(7)
      .meta(listMap('image'))
      .optional()
      .describe(
        'Images that are one change with image: a tag is a candidate only if every repository has it, and all go forward and back together.',
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
    gates,
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
        soak: duration({ most: '24h' })
          .default('1m')
          .describe('How long every workload must stay healthy before the image counts as good. Default: 1m.'),
        verify,
        onFailure: z
          .enum(['RollBack', 'Hold'])
          .default('RollBack')
          .describe(
            'RollBack: bring back the last good image. Hold: leave the failed one and wait for a person. Default: RollBack.',
          ),
        atomic: z
          .boolean()
          .default(true)
          .describe('Several workloads: when one fails, all go back. false: only the failed one does. Default: true.'),
        cooldown: duration({ most: '8760h' })
          .default('0s')
          .describe('The least time between two rollouts that automation starts. An undo never waits. Default: 0s.'),
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
          .describe('How many finished ImageRollouts are kept, besides those that still prove something. Default: 10.'),
      })
      .prefault({})
      .describe('How workloads are moved. Every field has a safe default.'),
    pin,
  })
  .meta(
    cel(
      {
        rule: 'self.image == oldSelf.image',
        message: 'image cannot be changed: create another policy',
        fieldPath: '.image',
        reason: 'FieldValueForbidden',
      },
      {
        rule: '!has(self.companions) || self.companions.all(companion, companion.image != self.image)',
        message: 'a companion is another repository than image',
        fieldPath: '.companions',
      },
      {
        rule: '!has(self.companions) || !has(self.pin) || has(self.pin.tag)',
        message: 'with companions a pin names a tag, because every repository has a digest of its own',
        fieldPath: '.pin',
      },
    ),
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

const quarantineEntry = z.object({
  images: z
    .array(
      z.object({
        image: z.string().max(255).describe('The repository.'),
        digests: z
          .array(digestString())
          .min(1)
          .max(32)
          .describe('The digests by which it is recognised, under any tag.'),
      }),
    )
    .min(1)
    .max(8)
    .describe('What is held back: an image, or several that were one change.'),
  tag: z.string().max(128).optional().describe('The tag it had.'),
  cause: z
    .enum(QUARANTINE_CAUSES)
    .describe('Image: it failed. Environment: three tries failed for other reasons. Rejected: a person rejected it.'),
  message: sentence(512).optional().describe('What happened, in a sentence.'),
  rollout: z.string().max(253).optional().describe('The ImageRollout that failed. Absent when a person rejected it.'),
  sinceTime: timestamp().describe('Since when.'),
  releasedTime: timestamp().optional().describe('When a person released it. Absent while it is in force.'),
});

export type QuarantineEntry = z.output<typeof quarantineEntry>;

const taggedDigest = {
  tag: z.string().max(128).optional().describe('The tag. Absent when the image runs by digest alone.'),
  digest: digestString().optional().describe('The digest the tag was resolved to. Absent while unknown.'),
};

const companionDigests = z
  .array(
    z.object({
      image: z.string().max(255).describe('The repository.'),
      digest: digestString().describe('The digest.'),
    }),
  )
  .max(7);

export const imagePolicyStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation of the spec that this status speaks about.'),
    conditions: conditions()
      .optional()
      .describe('Ready, and while they apply Reconciling, Stalled, ManualHold, Frozen and RollbackUnavailable.'),
    candidate: z
      .object({
        ...taggedDigest,
        companions: companionDigests.optional().describe('Its digests in the repositories of the companions.'),
        waiting: sentence(256).optional().describe('The gates that are not open, in words; absent when all are.'),
        waitingFor: z.array(gateAnswer).max(16).optional().describe('The gates that are not open.'),
      })
      .optional()
      .describe('The best tag by the order that is newer than what runs. Absent when there is none.'),
    next: z
      .object({
        ...taggedDigest,
        waitingFor: z.array(gateAnswer).max(16).optional().describe('The gates that are not open.'),
      })
      .optional()
      .describe('The one that will move, when an older one stands in for a candidate that is held back.'),
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
          good: z
            .array(z.string().max(640))
            .max(MAX_GOOD_IMAGES)
            .optional()
            .describe(
              'Images that were healthy here through their soak, the newest first: what an undo can bring back.',
            ),
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
    quarantine: z
      .array(quarantineEntry)
      .max(MAX_QUARANTINE)
      .optional()
      .describe('What never rolls out again by itself, the newest first.'),
    quarantined: z
      .array(digestString())
      .max(MAX_QUARANTINED_DIGESTS)
      .optional()
      .describe(`Digests of older quarantines than the ${MAX_QUARANTINE} above.`),
    pin: z
      .object({
        ...taggedDigest,
        companions: companionDigests.optional().describe('The digests of the companions.'),
        sinceTime: timestamp().describe('When Slipway first saw the pin.'),
      })
      .optional()
      .describe('The pin as it was resolved. Absent when nothing is pinned.'),
    resumedTime: timestamp()
      .optional()
      .describe('Up to when a person has ended every freeze, by a Resume or by setting a pin.'),
    spentDecisions: z
      .array(z.string().max(64))
      .max(MAX_SPENT_DECISIONS)
      .optional()
      .describe('UIDs of ImageDecisions that have acted and will not act again.'),
    lastRollout: z.int().min(0).optional().describe('The highest number that a rollout of this policy has had.'),
  })
  .describe('What Slipway observed.');

export type ImagePolicySpec = z.output<typeof imagePolicySpec>;
export type ImagePolicyStatus = z.output<typeof imagePolicyStatus>;
export type TargetSpec = ImagePolicySpec['targets'][number];
