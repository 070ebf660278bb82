// The chart's values.schema.json. Values are described here once; the operator's configuration among them is the schema
// that the operator itself reads it with, so that Helm refuses what the operator would.

import * as z from 'zod';
import { configFileSchema } from '../operator/config/schema.ts';
import type { GeneratedFile } from './generated-file.ts';

/** What Kubernetes checks by itself when it is applied. */
const passedOn = z.record(z.string(), z.unknown());
const list = z.array(passedOn);
const labels = z.record(z.string(), z.string());
const objectName = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/);
const namespaceName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
const port = z.int().min(1).max(65_535);

const config = configFileSchema.omit({ namespaces: true });

const values = z
  .strictObject({
    global: passedOn.describe('Set by Helm when the chart is part of another. Not used.'),
    fullnameOverride: objectName.max(52).describe('Name of the objects.'),
    image: z
      .strictObject({
        repository: z
          .string()
          .regex(/^[^@\s]+$/)
          .describe('Repository of the image, with its host.'),
        tag: z
          .string()
          .regex(/^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$/)
          .describe("Default: the chart's appVersion."),
        digest: z
          .string()
          .regex(/^(sha256:[a-f0-9]{64})?$/)
          .describe('Instead of the tag.'),
        pullPolicy: z.enum(['IfNotPresent', 'Always', 'Never']),
      })
      .partial()
      .describe("The operator's own image."),
    imagePullSecrets: z
      .array(z.strictObject({ name: objectName }))
      .describe("Pull secrets of the operator's own image."),
    replicas: z.int().min(0).max(9).describe('One works, the others stand by.'),
    watchNamespaces: z.array(namespaceName).max(500).describe('Namespaces served. Empty: all.'),
    config: config.describe("The operator's configuration file."),
    crds: z.strictObject({ install: z.boolean(), keep: z.boolean() }).partial(),
    rbac: z.strictObject({ create: z.boolean(), nodes: z.boolean(), aggregateToUserRoles: z.boolean() }).partial(),
    serviceAccount: z.strictObject({ create: z.boolean(), name: objectName, annotations: labels }).partial(),
    admissionPolicy: z.strictObject({ enabled: z.boolean() }).partial(),
    podDisruptionBudget: z.strictObject({ enabled: z.boolean() }).partial(),
    networkPolicy: z
      .strictObject({
        enabled: z.boolean(),
        metricsFrom: list,
        egressPorts: z.array(port).min(1),
        verifyPorts: z.array(port),
        extraEgress: list,
      })
      .partial(),
    metrics: z
      .strictObject({
        service: z.strictObject({ enabled: z.boolean(), annotations: labels }).partial(),
        serviceMonitor: z
          .strictObject({ enabled: z.boolean(), interval: z.string().regex(/^([0-9]+(h|m|s|ms))+$/), labels })
          .partial(),
      })
      .partial(),
    resources: passedOn,
    terminationGracePeriodSeconds: z.int().min(1).max(3_600),
    priorityClassName: objectName,
    nodeSelector: labels,
    tolerations: list,
    affinity: passedOn,
    topologySpreadConstraints: list,
    podAnnotations: labels,
    podLabels: labels,
    extraEnv: list,
    extraVolumes: list,
    extraVolumeMounts: list,
  })
  .partial();

export function generateChartSchema(): GeneratedFile[] {
  const schema = z.toJSONSchema(values, {
    // Helm 3 before 3.18 reads nothing newer.
    target: 'draft-07',
    io: 'input',
    reused: 'inline',
    override({ jsonSchema }) {
      // values.yaml has the defaults, and the operator's are in its own units.
      delete jsonSchema.default;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return [{ path: 'charts/slipway/values.schema.json', content: `${JSON.stringify(schema, null, 2)}\n` }];
}
