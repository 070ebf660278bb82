// File, flags and environment become one validated, frozen Config. This is the only reader of the environment; everything
// else is told. Flags win over the environment, which wins over the file; those two only choose the file, the log level,
// the ports and who this replica is.

import { parseArgs } from 'node:util';
import type * as z from 'zod';
import { parseYamlDocument } from './config/document.ts';
import { configFileSchema, isCertificateBundle } from './config/schema.ts';
import { TerminalError } from './errors.ts';
import type { Platform } from './image/platform.ts';
import { LOG_LEVELS, type LogLevel } from './telemetry/logger.ts';
import { buildInfo } from './version.ts';

/** How one registry host is talked to. Every absent field means: as for any other host. */
export interface RegistryConfig {
  /** `host[:port]` asked instead of this one. */
  readonly mirror?: string;
  /** PEM certificates trusted in addition to the system's. */
  readonly caPem?: string;
  /** Plain HTTP, or TLS without verification. */
  readonly insecure: boolean;
  /** Private, loopback and link-local addresses are allowed. */
  readonly allowPrivate: boolean;
  /** Other hosts that may issue this registry's tokens. */
  readonly tokenHosts: readonly string[];
  readonly requestsPerSecond?: number;
}

export interface Config {
  /** By host as image names carry it (`docker.io`, `registry.corp.example:5000`). */
  readonly registries: ReadonlyMap<string, RegistryConfig>;
  readonly namespaces: 'all' | readonly string[];
  /** Never empty. */
  readonly defaultPlatforms: readonly Platform[];
  readonly limits: {
    readonly policyReconciles: number;
    readonly rolloutReconciles: number;
    /** Rollouts in flight at once. */
    readonly rollouts: number;
  };
  readonly rollout: { readonly environmentRetryMs: number; readonly deleteStuckPods: boolean };
  readonly requiredGates: readonly RequiredGatesConfig[];
  readonly workloadKinds: readonly WorkloadKindConfig[];
  /** Absent: no policy can verify by query. */
  readonly prometheus?: PrometheusConfig;
  readonly userAgent: string;
  readonly log: { readonly level: LogLevel };
  readonly server: {
    /** Absent: every address. */
    readonly listenAddress?: string;
    readonly healthPort: number;
    readonly metricsPort: number;
  };
  readonly leaderElection: {
    readonly leaseName: string;
    readonly leaseDurationMs: number;
    readonly renewDeadlineMs: number;
    readonly retryPeriodMs: number;
  };
  readonly shutdownGracePeriodMs: number;
  /** This replica: where its Lease lives and how it signs. Outside a cluster: namespace `default`, pod name `slipway`. */
  readonly replica: { readonly namespace: string; readonly podName: string };
  /** Absent: the pod's service account, or the kubeconfig that kubectl would use. */
  readonly kubeconfigPath?: string;
  readonly kubeContext?: string;
}

export interface RequiredGatesConfig {
  /** Absent: every namespace. */
  readonly namespaceSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly approval?: { readonly required: number; readonly validForMs: number };
  readonly minimumAgeMs?: number;
  readonly pins: 'Report' | 'Enforce';
}

export interface WorkloadKindConfig {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Dotted, for example `spec.template`. */
  readonly podTemplatePath: string;
}

export interface PrometheusConfig {
  readonly url: string;
  readonly bearerTokenFile?: string;
  readonly caPem?: string;
}

export interface ConfigInput {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws when it cannot be read. */
  readonly readFile: (path: string) => string;
}

export const CONFIG_USAGE = `Usage: slipway-operator [options]

  --config FILE         configuration file        SLIPWAY_CONFIG
  --log-level LEVEL     ${LOG_LEVELS.join(', ').padEnd(26)}SLIPWAY_LOG_LEVEL
  --health-port PORT    /livez and /readyz        SLIPWAY_HEALTH_PORT
  --metrics-port PORT   /metrics                  SLIPWAY_METRICS_PORT
  --kubeconfig FILE     outside a cluster         KUBECONFIG
  --context NAME        context of the kubeconfig
  --help, --version`;

const OPTIONS = {
  config: { type: 'string' },
  'log-level': { type: 'string' },
  'health-port': { type: 'string' },
  'metrics-port': { type: 'string' },
  kubeconfig: { type: 'string' },
  context: { type: 'string' },
} as const;

/**
 * The whole configuration. Throws TerminalError `InvalidConfiguration`, whose message has one line per problem and names
 * file, line, column, field and remedy.
 */
export function loadConfig({ argv, env, readFile }: ConfigInput): Config {
  const flags = parseFlags(argv);
  const path = flags.config ?? nonEmpty(env['SLIPWAY_CONFIG']);
  const text = path === undefined ? '' : readOrExplain(readFile, path, 'configuration file');
  const file = parseConfig(text, path ?? 'defaults', readFile);
  const level = setting(flags, env, 'log-level', 'SLIPWAY_LOG_LEVEL', toLogLevel);
  const healthPort = setting(flags, env, 'health-port', 'SLIPWAY_HEALTH_PORT', toPort) ?? file.server.healthPort;
  const metricsPort = setting(flags, env, 'metrics-port', 'SLIPWAY_METRICS_PORT', toPort) ?? file.server.metricsPort;
  if (healthPort === metricsPort && healthPort !== 0) {
    throw invalid(`--health-port and --metrics-port are both ${healthPort}: choose two ports`);
  }
  return deepFreeze({
    ...file,
    log: { level: level ?? file.log.level },
    server: { ...file.server, healthPort, metricsPort },
    replica: {
      namespace: nonEmpty(env['POD_NAMESPACE']) ?? file.replica.namespace,
      podName: nonEmpty(env['POD_NAME']) ?? file.replica.podName,
    },
    ...(flags.kubeconfig !== undefined && { kubeconfigPath: flags.kubeconfig }),
    ...(flags.context !== undefined && { kubeContext: flags.context }),
  });
}

/**
 * What a configuration file alone says; `source` is its name in errors. `readFile` reads the `caFile`s it names; without
 * it such a file is refused. Throws as loadConfig does.
 */
export function parseConfig(text: string, source: string, readFile?: ConfigInput['readFile']): Config {
  const file = parseYamlDocument(text, source, configFileSchema);
  const { leaseName, leaseDuration, renewDeadline, retryPeriod } = file.leaderElection;
  const registries = new Map<string, RegistryConfig>();
  for (const [host, { mirror, caPem, caFile, requestsPerSecond, ...rest }] of file.registries) {
    const pem =
      caFile === undefined ? caPem : readCertificates(`${source}: registries["${host}"].caFile`, caFile, readFile);
    registries.set(host, {
      ...rest,
      ...(mirror !== undefined && { mirror }),
      ...(pem !== undefined && { caPem: pem }),
      ...(requestsPerSecond !== undefined && { requestsPerSecond }),
    });
  }
  const { listenAddress, healthPort, metricsPort } = file.server;
  return deepFreeze({
    registries,
    namespaces: file.namespaces,
    defaultPlatforms: file.defaultPlatforms,
    limits: file.limits,
    rollout: {
      environmentRetryMs: file.rollout.environmentRetry,
      deleteStuckPods: file.rollout.deleteStuckPods,
    },
    requiredGates: file.requiredGates.map(({ namespaceSelector, approval, minimumAge, pins }) => ({
      pins,
      ...(namespaceSelector !== undefined && { namespaceSelector }),
      ...(approval !== undefined && { approval: { required: approval.required, validForMs: approval.validFor } }),
      ...(minimumAge !== undefined && { minimumAgeMs: minimumAge }),
    })),
    workloadKinds: file.workloadKinds,
    ...(file.prometheus !== undefined && { prometheus: toPrometheus(file.prometheus) }),
    userAgent: file.userAgent ?? `slipway/${buildInfo.version}`,
    log: file.log,
    server: { healthPort, metricsPort, ...(listenAddress !== undefined && { listenAddress }) },
    leaderElection: {
      leaseName,
      leaseDurationMs: leaseDuration,
      renewDeadlineMs: renewDeadline,
      retryPeriodMs: retryPeriod,
    },
    shutdownGracePeriodMs: file.shutdownGracePeriod,
    replica: { namespace: 'default', podName: 'slipway' },
  });
}

function toPrometheus({
  url,
  bearerTokenFile,
  caPem,
}: NonNullable<z.output<typeof configFileSchema>['prometheus']>): PrometheusConfig {
  return {
    url,
    ...(bearerTokenFile !== undefined && { bearerTokenFile }),
    ...(caPem !== undefined && { caPem }),
  };
}

type Flags = { readonly [Name in keyof typeof OPTIONS]?: string | undefined };

function parseFlags(argv: readonly string[]): Flags {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: false }).values;
  } catch (thrown) {
    throw invalid(`${(thrown as Error).message}\n${CONFIG_USAGE}`, thrown);
  }
}

/** A setting from its flag or its environment variable, whichever is set first; an empty variable counts as not set. */
function setting<T>(
  flags: Flags,
  env: ConfigInput['env'],
  flag: keyof typeof OPTIONS,
  variable: string,
  convert: (text: string, name: string) => T,
): T | undefined {
  const given = flags[flag];
  if (given !== undefined) return convert(given, `--${flag}`);
  const inherited = nonEmpty(env[variable]);
  return inherited === undefined ? undefined : convert(inherited, variable);
}

function toLogLevel(text: string, name: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (level === undefined) throw invalid(`${name}: write ${LOG_LEVELS.join(' or ')}, not ${JSON.stringify(text)}`);
  return level;
}

function toPort(text: string, name: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(port <= 65_535)) throw invalid(`${name}: write a port from 0 to 65535, not ${JSON.stringify(text)}`);
  return port;
}

function readCertificates(field: string, path: string, readFile: ConfigInput['readFile'] | undefined): string {
  if (readFile === undefined) throw invalid(`${field}: files cannot be read here, use caPem`);
  const pem = readOrExplain(readFile, path, field);
  if (!isCertificateBundle(pem)) {
    throw invalid(`${field}: ${path} must hold PEM certificates (-----BEGIN CERTIFICATE-----), and no private key`);
  }
  return pem;
}

function readOrExplain(readFile: ConfigInput['readFile'], path: string, what: string): string {
  try {
    return readFile(path);
  } catch (thrown) {
    throw invalid(`${what}: ${path} cannot be read: ${(thrown as Error).message}`, thrown);
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function invalid(message: string, cause?: unknown): TerminalError {
  return new TerminalError(message, { code: 'InvalidConfiguration', cause });
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Object.isFrozen(value)) return value;
  // A Map stays writable in itself; its type is read-only and its values are frozen.
  const parts: Iterable<unknown> = value instanceof Map ? value.values() : Object.values(value);
  for (const part of parts) deepFreeze(part);
  return Object.freeze(value);
}
