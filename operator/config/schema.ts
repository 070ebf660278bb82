// The shape of the operator's configuration file, which the chart writes from its `config` value. Only what the operator
// does today is in it: an unknown field is refused, so a setting never sits there without effect.

import { X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { parsePlatform, type Platform } from '../image/platform.ts';
import { parseRepository } from '../image/reference.ts';
import { LOG_LEVELS } from '../telemetry/logger.ts';
import { parseDurationMs } from '../time/duration.ts';

/** A duration with bounds; what comes out is milliseconds. */
function duration(minMs: number, maxMs: number, bounds: string) {
  return z.string().transform((text, context) => {
    try {
      const durationMs = parseDurationMs(text);
      if (durationMs >= minMs && durationMs <= maxMs) return durationMs;
      context.addIssue({ code: 'custom', message: `must be ${bounds}` });
    } catch (thrown) {
      context.addIssue({ code: 'custom', message: (thrown as Error).message });
    }
    return z.NEVER;
  });
}

const HOST_REMEDY =
  'write the host as in image names, without scheme, path or login: ghcr.io or registry.corp.example:5000';

/** The host of `host/path`, Docker Hub's other names folded into `docker.io`; undefined when image names cannot carry it. */
function canonicalHost(text: string): string | undefined {
  try {
    const { host, path } = parseRepository(`${text}/slipway/image`);
    return path === 'slipway/image' ? host : undefined;
  } catch {
    return undefined;
  }
}

const registryHost = z.string().transform((text, context) => {
  const host = canonicalHost(text);
  if (host !== undefined) return host;
  context.addIssue({ code: 'custom', message: HOST_REMEDY });
  return z.NEVER;
});

const platform = z.string().transform((text, context): Platform => {
  try {
    return parsePlatform(text);
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: (thrown as Error).message });
    return z.NEVER;
  }
});

/** Whether a text is one or more PEM certificates and nothing but them (comments between them are fine). */
export function isCertificateBundle(pem: string): boolean {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || pem.includes('PRIVATE KEY')) return false;
  return blocks.every((block) => {
    try {
      return new X509Certificate(block).raw.length > 0;
    } catch {
      return false;
    }
  });
}

const namespaceName = z
  .string()
  .regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'write the name of a namespace: lower case letters, digits and -');

const port = z.int().min(0).max(65_535);

const registry = z
  .strictObject({
    mirror: registryHost
      .optional()
      .describe('Host that is asked instead of this one, with the same paths. Example: mirror.corp.example:5000.'),
    caPem: z
      .string()
      .refine(isCertificateBundle, 'write PEM certificates (-----BEGIN CERTIFICATE-----), and no private key')
      .optional()
      .describe("PEM certificates trusted for this host, in addition to the system's."),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe('Path of a file with PEM certificates, instead of caPem. Read once, at start.'),
    insecure: z
      .boolean()
      .default(false)
      .describe('Plain HTTP, or TLS without verification. Only for registries inside your own network.'),
    allowPrivate: z
      .boolean()
      .default(false)
      .describe(
        'Allow addresses in private, loopback and link-local ranges for this host. Needed for a registry inside the cluster.',
      ),
    tokenHosts: z
      .array(registryHost)
      .max(16)
      .default([])
      .describe(
        'Other hosts that may issue tokens for this registry, where its login server has another name. Example: [gitlab.corp.example].',
      ),
    requestsPerSecond: z
      .number()
      .min(0.01)
      .max(1_000)
      .optional()
      .describe('Requests per second sent to this host at most. Example: 5.'),
  })
  .refine((value) => value.caPem === undefined || value.caFile === undefined, {
    path: ['caFile'],
    message: 'caPem is set as well: keep one of the two',
  });

const leaderElection = z
  .strictObject({
    leaseName: z
      .string()
      .regex(
        /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/,
        'write the name of a Lease: lower case letters, digits, - and .',
      )
      .default('slipway-operator')
      .describe(
        "Name of the Lease in the operator's namespace. Two installations that watch the same namespaces must share it.",
      ),
    leaseDuration: duration(5_000, 600_000, 'from 5s to 10m')
      .default(15_000)
      .describe('How long a leader that fell silent keeps the lease. Default: 15s.'),
    renewDeadline: duration(2_000, 600_000, 'from 2s to 10m')
      .default(10_000)
      .describe('A leader that could not renew for this long stops writing. Default: 10s.'),
    retryPeriod: duration(1_000, 60_000, 'from 1s to 1m')
      .default(2_000)
      .describe('Time between two tries to take or renew the lease. Default: 2s.'),
  })
  .refine((value) => value.renewDeadline < value.leaseDuration, {
    path: ['renewDeadline'],
    message: 'must be shorter than leaseDuration (15s unless set), or two leaders may write at once',
  })
  .refine((value) => value.retryPeriod * 1.2 < value.renewDeadline, {
    path: ['retryPeriod'],
    message: 'must leave room for a second try before renewDeadline (10s unless set): at most 80% of it',
  });

const server = z
  .strictObject({
    listenAddress: z
      .union([z.ipv4(), z.ipv6()], 'write an IP address, for example 127.0.0.1')
      .optional()
      .describe('Address both listeners bind to. Default: every address of the pod.'),
    healthPort: port.default(8_081).describe('Port of /livez and /readyz. 0 takes a free one. Default: 8081.'),
    metricsPort: port.default(8_080).describe('Port of /metrics. 0 takes a free one. Default: 8080.'),
  })
  .refine((value) => value.healthPort !== value.metricsPort || value.healthPort === 0, {
    path: ['metricsPort'],
    message: 'must differ from healthPort (8081 unless set)',
  });

const requiredGates = z.strictObject({
  namespaceSelector: z
    .strictObject({ matchLabels: z.record(z.string(), z.string()) })
    .optional()
    .describe('Labels of the namespaces that this is demanded in. Default: all.'),
  approval: z
    .strictObject({
      required: z.int().min(1).max(16).default(1).describe('How many different people must approve. Default: 1.'),
      validFor: duration(60_000, 31_536_000_000, 'from 1m to 8760h')
        .default(604_800_000)
        .describe('How long an approval counts. Default: 168h.'),
    })
    .optional()
    .describe('Every digest needs approvals.'),
  minimumAge: duration(0, 31_536_000_000, 'at most 8760h')
    .optional()
    .describe('How long a tag must have pointed at the same digest. Example: 72h.'),
  pins: z
    .enum(['Report', 'Enforce'])
    .default('Report')
    .describe('Enforce: a pin needs the approvals too. Report: it does not, and the record says so. Default: Report.'),
});

const workloadKind = z.strictObject({
  group: z.string().min(1).max(253).describe('API group. Example: argoproj.io.'),
  version: z.string().min(1).max(63).describe('API version. Example: v1alpha1.'),
  kind: z
    .string()
    .regex(/^[A-Z][A-Za-z0-9]{0,62}$/, 'write a kind, for example Rollout')
    .describe('Kind, as targets[].kind names it. Example: Rollout.'),
  plural: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/, 'write the plural in lower case, for example rollouts')
    .describe('Plural, as the API server names it. Example: rollouts.'),
  podTemplatePath: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*){0,7}$/, 'write a path such as spec.template')
    .default('spec.template')
    .describe('Where the pod template is. Default: spec.template.'),
});

const prometheus = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, message: 'write an address such as http://prometheus.monitoring.svc:9090' })
      .describe('Its address. Example: http://prometheus.monitoring.svc:9090.'),
    bearerTokenFile: z.string().min(1).optional().describe('File whose content is sent as a bearer token.'),
    caPem: z
      .string()
      .refine(isCertificateBundle, 'write PEM certificates (-----BEGIN CERTIFICATE-----), and no private key')
      .optional()
      .describe("PEM certificates trusted for it, in addition to the system's."),
  })
  .describe('A Prometheus that queries are put to.');

/** What a configuration file may say. Everything has a default: an empty file is a good one. */
export const configFileSchema = z.strictObject({
  registries: z
    .record(z.string(), registry)
    .transform((entries, context) => {
      const byHost = new Map<string, z.output<typeof registry>>();
      for (const [name, settings] of Object.entries(entries)) {
        const host = canonicalHost(name);
        if (host === undefined) {
          context.addIssue({ code: 'custom', path: [name], message: HOST_REMEDY });
        } else if (byHost.has(host)) {
          context.addIssue({ code: 'custom', path: [name], message: `is ${host}, which is listed already: keep one` });
        } else {
          byHost.set(host, settings);
        }
      }
      return byHost;
    })
    .prefault({})
    .describe(
      'Settings per registry host. A host that is not listed is used with the defaults: HTTPS, system certificates, public addresses.',
    ),
  namespaces: z
    .union(
      [z.literal('all'), z.array(namespaceName).min(1).max(500)],
      'write all, or a list of namespaces: [shop, web]',
    )
    .default('all')
    .describe('The namespaces whose policies are served. The chart grants rights to match.'),
  defaultPlatforms: z
    .array(platform)
    .min(1)
    .max(16)
    .default([{ os: 'linux', architecture: 'amd64' }])
    .describe(
      'Platforms an image must have, where a policy names none and the nodes may not be read. Default: [linux/amd64].',
    ),
  limits: z
    .strictObject({
      policyReconciles: z.int().min(1).max(64).default(4).describe('Policies worked on at once. Default: 4.'),
      rolloutReconciles: z.int().min(1).max(64).default(4).describe('Rollouts worked on at once. Default: 4.'),
      rollouts: z
        .int()
        .min(1)
        .max(1_000)
        .default(20)
        .describe(
          'Rollouts in flight at once; others wait for their turn. What a person asks for, and every undo, does not wait. Default: 20.',
        ),
    })
    .prefault({})
    .describe('How much is done at once.'),
  rollout: z
    .strictObject({
      environmentRetry: duration(1_000, 86_400_000, 'from 1s to 24h')
        .default(300_000)
        .describe(
          'How long the second attempt waits after the first failed for reasons outside of the image; the third waits three times as long. Default: 5m.',
        ),
      deleteStuckPods: z
        .boolean()
        .default(false)
        .describe(
          'Delete the pods of a StatefulSet that hang on a failed image after an undo (kubernetes#67250). Needs the right to delete pods. Default: false; a message then gives the command.',
        ),
    })
    .prefault({})
    .describe('How rollouts are carried out.'),
  requiredGates: z
    .array(requiredGates)
    .max(64)
    .default([])
    .describe('What must hold before any rollout in certain namespaces, whatever the policies there ask for.'),
  workloadKinds: z
    .array(workloadKind)
    .max(16)
    .default([])
    .superRefine((kinds, context) => {
      const seen = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob']);
      for (const [index, { kind }] of kinds.entries()) {
        if (seen.has(kind))
          context.addIssue({
            code: 'custom',
            path: [index, 'kind'],
            message: `${kind} is known already: leave it out`,
          });
        seen.add(kind);
      }
    })
    .describe('Further kinds with a pod template that policies may move. The chart grants the rights.'),
  prometheus: prometheus.optional().describe('Where rollout.verify asks its queries. Default: nowhere.'),
  userAgent: z
    .string()
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?$/, 'write printable ASCII, at most 200 characters')
    .optional()
    .describe('How the operator names itself to registries and the API server. Default: slipway/<version>.'),
  log: z
    .strictObject({ level: z.enum(LOG_LEVELS).default('info').describe('error, warn, info or debug. Default: info.') })
    .prefault({})
    .describe('What is logged, as JSON lines on stdout.'),
  server: server.prefault({}).describe('The listeners.'),
  leaderElection: leaderElection.prefault({}).describe('Which replica works: the one that holds the Lease.'),
  shutdownGracePeriod: duration(1_000, 600_000, 'from 1s to 10m')
    .default(30_000)
    .describe(
      "Time for running work to end after SIGTERM. Keep the pod's terminationGracePeriodSeconds above it. Default: 30s.",
    ),
});
