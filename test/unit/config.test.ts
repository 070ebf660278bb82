import { rootCertificates } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import * as z from 'zod';
import { loadConfig, parseConfig, type Config, type ConfigInput } from '../../operator/config.ts';
import { configFileSchema } from '../../operator/config/schema.ts';
import { TerminalError } from '../../operator/errors.ts';

const CERTIFICATES = rootCertificates.slice(0, 2).join('\n');
const NO_CERTIFICATE =
  '-----BEGIN CERTIFICATE-----\nMIIBbDCCARGgAwIBAgIUBUOrxFl9zDJG7GiIBHhXsLbMK2Uw\n-----END CERTIFICATE-----\n';

function load(input: Partial<ConfigInput> & { readonly files?: Readonly<Record<string, string>> } = {}): Config {
  const files = input.files ?? {};
  return loadConfig({
    argv: [],
    env: {},
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return text;
    },
    ...input,
  });
}

/** The problems of a configuration, one per line of the message. */
function problems(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(TerminalError);
    expect(thrown).toMatchObject({ code: 'InvalidConfiguration' });
    return (thrown as Error).message.split('\n');
  }
  throw new Error('The configuration was accepted');
}

/** `ab` makes a list called b of nine a's. */
function billionLaughs([from, to]: string): string {
  return `${to}: &${to} [${`*${from},`.repeat(9)}]`;
}

describe('parseConfig', () => {
  it('makes a whole configuration of an empty file', () => {
    expect(parseConfig('', 'slipway.yaml')).toMatchObject({
      namespaces: 'all',
      defaultPlatforms: [{ os: 'linux', architecture: 'amd64' }],
      userAgent: 'slipway/dev',
      log: { level: 'info' },
      server: { healthPort: 8081, metricsPort: 8080 },
      leaderElection: { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 },
      shutdownGracePeriodMs: 30_000,
    });
  });

  it('reads every field', () => {
    const text = `
      registries:
        index.docker.io: { mirror: 'mirror.corp.example:5000', requestsPerSecond: 0.5, tokenHosts: [gitlab.corp.example] }
        registry.shop.svc:5000: { insecure: true, allowPrivate: true }
      namespaces: [shop, web]
      defaultPlatforms: [linux/amd64, linux/arm64/v8]
      limits: { policyReconciles: 8 }
      userAgent: acme-slipway/1
      log: { level: debug }
      server: { listenAddress: 127.0.0.1, healthPort: 0, metricsPort: 0 }
      leaderElection: { leaseName: slipway-b, leaseDuration: 30s, renewDeadline: 20s, retryPeriod: 4s }
      shutdownGracePeriod: 1m
    `;

    const config = parseConfig(text, 'slipway.yaml');

    expect(Object.fromEntries(config.registries)).toEqual({
      'docker.io': {
        mirror: 'mirror.corp.example:5000',
        requestsPerSecond: 0.5,
        tokenHosts: ['gitlab.corp.example'],
        insecure: false,
        allowPrivate: false,
      },
      'registry.shop.svc:5000': { insecure: true, allowPrivate: true, tokenHosts: [] },
    });
    expect(config).toMatchObject({
      namespaces: ['shop', 'web'],
      defaultPlatforms: [
        { os: 'linux', architecture: 'amd64' },
        { os: 'linux', architecture: 'arm64' },
      ],
      limits: { policyReconciles: 8, rolloutReconciles: 4 },
      userAgent: 'acme-slipway/1',
      log: { level: 'debug' },
      server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 },
      leaderElection: {
        leaseName: 'slipway-b',
        leaseDurationMs: 30_000,
        renewDeadlineMs: 20_000,
        retryPeriodMs: 4_000,
      },
      shutdownGracePeriodMs: 60_000,
    });
  });

  it('takes null as not set, as Helm writes it', () => {
    expect(parseConfig('registries:\nlog: { level: null }\nnamespaces: ~', 'slipway.yaml')).toEqual(
      parseConfig('', 'slipway.yaml'),
    );
  });

  it('cannot be changed afterwards', () => {
    const config = parseConfig('registries: { ghcr.io: {} }', 'slipway.yaml');

    expect(() => Object.assign(config.server, { healthPort: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.registries.get('ghcr.io') ?? {}, { insecure: true })).toThrow(TypeError);
    expect(() => (config.defaultPlatforms as unknown[]).push('x')).toThrow(TypeError);
  });

  it.each([
    { when: 'YAML is broken', text: 'log: {', want: /^c:1:7: Flow map/ },
    { when: 'a key is written twice', text: 'log: {}\nlog: {}', want: /^c:2:1: Map keys must be unique/ },
    { when: 'it is no map', text: '[a]', want: /^c:1:1: write a map of fields$/ },
    {
      when: 'a field is unknown',
      text: 'log:\n  levle: info',
      want: /^c:2:3: log\.levle: there is no such field: check/,
    },
    {
      when: 'a level is unknown',
      text: 'log: { level: trace }',
      want: /^c:1:8: log\.level: write error or warn or info or debug$/,
    },
    {
      when: 'a host has a scheme',
      text: 'registries:\n  https://ghcr.io: {}',
      want: /^c:2:3: registries\["https:\/\/ghcr\.io"\]: write the host/,
    },
    {
      when: 'a host is no host',
      text: 'registries: { library: {} }',
      want: /^c:1:15: registries\.library: write the host/,
    },
    {
      when: 'a host comes twice',
      text: 'registries:\n  docker.io: {}\n  index.docker.io: {}',
      want: /^c:3:3: .* is docker\.io, which is listed already: keep one$/,
    },
    {
      when: 'a mirror has a path',
      text: 'registries: { ghcr.io: { mirror: a.example/x } }',
      want: /^c:1:26: registries\["ghcr\.io"\]\.mirror: write the host/,
    },
    {
      when: 'a flag is text',
      text: 'registries:\n  ghcr.io:\n    insecure: maybe',
      want: /^c:3:5: registries\["ghcr\.io"\]\.insecure: write true or false$/,
    },
    {
      when: 'a CA is no certificate',
      text: 'registries: { ghcr.io: { caPem: abc } }',
      want: /caPem: write PEM certificates/,
    },
    {
      when: 'a budget is zero',
      text: 'registries: { ghcr.io: { requestsPerSecond: 0 } }',
      want: /requestsPerSecond: must be at least 0\.01$/,
    },
    {
      when: 'a namespace is malformed',
      text: 'namespaces: [shop, Web]',
      want: /^c:1:20: namespaces\[1\]: write the name of a namespace/,
    },
    { when: 'namespaces is a word', text: 'namespaces: shop', want: /^c:1:1: namespaces: write all, or a list/ },
    { when: 'no namespace is left', text: 'namespaces: []', want: /^c:1:1: namespaces: / },
    {
      when: 'a platform is malformed',
      text: 'defaultPlatforms: [linux]',
      want: /is not a platform: write os\/architecture/,
    },
    { when: 'a number is no whole one', text: 'limits: { policyReconciles: 1.5 }', want: /write a whole number$/ },
    { when: 'a number is too big', text: 'limits: { policyReconciles: 65 }', want: /must be at most 64$/ },
    {
      when: 'a duration is malformed',
      text: 'shutdownGracePeriod: 1d',
      want: /^c:1:1: shutdownGracePeriod: "1d" is not a duration: write for example/,
    },
    { when: 'a duration has no unit', text: 'shutdownGracePeriod: 30', want: /write text, in quotes/ },
    { when: 'a duration is out of bounds', text: 'shutdownGracePeriod: 1h', want: /must be from 1s to 10m$/ },
    {
      when: 'a leader may outlive its lease',
      text: 'leaderElection: { renewDeadline: 20s }',
      want: /^c:1:19: leaderElection\.renewDeadline: must be shorter than leaseDuration/,
    },
    {
      when: 'there is no second try',
      text: 'leaderElection: { retryPeriod: 9s }',
      want: /retryPeriod: must leave room/,
    },
    {
      when: 'both ports are the same',
      text: 'server: { metricsPort: 8081 }',
      want: /metricsPort: must differ from healthPort/,
    },
    {
      when: 'an address is a name',
      text: 'server: { listenAddress: localhost }',
      want: /listenAddress: write an IP address/,
    },
    { when: 'an agent has a line break', text: 'userAgent: "a\\nb"', want: /userAgent: write printable ASCII/ },
    {
      when: 'aliases explode',
      text: ['a: &a [x]', ...['ab', 'bc', 'cd', 'de', 'ef'].map(billionLaughs)].join('\n'),
      want: /^c:1:1: Excessive alias count/,
    },
    { when: 'it is huge', text: `#${'x'.repeat(2 ** 20)}`, want: /^c: it is longer than 1 MiB/ },
  ])('says line, column, field and remedy when $when', ({ text, want }) => {
    expect(problems(() => parseConfig(text, 'c'))).toEqual([expect.stringMatching(want)]);
  });

  it('takes or refuses any text, and never fails otherwise', () => {
    const field = fc.constantFrom(...Object.keys(configFileSchema.shape), 'docker.io', 'level', 'healthPort');
    const tree = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, fc.jsonValue(), fc.dictionary(field, tie('value'))),
    })).value;
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      tree.map((value) => JSON.stringify(value)),
    );

    fc.assert(
      fc.property(text, (yaml) => {
        try {
          expect(parseConfig(yaml, 'c').server.healthPort).toBeGreaterThanOrEqual(0);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'InvalidConfiguration', message: expect.stringMatching(/^c:/) });
        }
      }),
      { numRuns: 500 },
    );
  });

  it('names every problem at once, in the order of the file', () => {
    const text = 'log: { level: trace }\nserver: { healthPort: 70000 }\nnamespace: all';

    expect(problems(() => parseConfig(text, 'c')).map((line) => line.split(': ')[1])).toEqual([
      'log.level',
      'server.healthPort',
      'namespace',
    ]);
  });

  it('does not repeat a login that was written into a host', () => {
    const [problem] = problems(() => parseConfig('registries: { "bob:hunter2@ghcr.io": {} }', 'c'));

    expect(problem).toContain('ghcr.io');
    expect(problem).not.toContain('hunter2');
  });

  it('describes every field of its schema', () => {
    const undescribed: string[] = [];
    const visit = (schema: z.core.JSONSchema.BaseSchema, path: string): void => {
      for (const [name, child] of Object.entries(schema.properties ?? {})) {
        if (typeof child !== 'object') continue;
        if (child.description === undefined) undescribed.push(`${path}.${name}`);
        visit(child, `${path}.${name}`);
      }
      if (typeof schema.additionalProperties === 'object') visit(schema.additionalProperties, `${path}.*`);
    };

    visit(z.toJSONSchema(configFileSchema, { io: 'input' }), '');

    expect(undescribed).toEqual([]);
  });
});

describe('loadConfig', () => {
  it('uses defaults without a file', () => {
    expect(load()).toEqual(parseConfig('', 'defaults'));
  });

  it.each([
    { when: 'by flag', argv: ['--config', '/etc/a.yaml'], env: { SLIPWAY_CONFIG: '/etc/b.yaml' }, want: 'debug' },
    { when: 'by environment', argv: [], env: { SLIPWAY_CONFIG: '/etc/b.yaml' }, want: 'warn' },
    { when: 'not at all', argv: [], env: { SLIPWAY_CONFIG: '' }, want: 'info' },
  ])('takes the file chosen $when', ({ argv, env, want }) => {
    const files = { '/etc/a.yaml': 'log: { level: debug }', '/etc/b.yaml': 'log: { level: warn }' };

    expect(load({ argv, env, files }).log.level).toBe(want);
  });

  it('lets flags win over environment and environment over the file', () => {
    const files = { f: 'log: { level: warn }\nserver: { healthPort: 1, metricsPort: 2, listenAddress: "::1" }' };
    const env = { SLIPWAY_CONFIG: 'f', SLIPWAY_LOG_LEVEL: 'error', SLIPWAY_HEALTH_PORT: '3' };

    const config = load({ argv: ['--log-level=debug', '--metrics-port', '4'], env, files });

    expect(config.log.level).toBe('debug');
    expect(config.server).toEqual({ healthPort: 3, metricsPort: 4, listenAddress: '::1' });
  });

  it('knows which replica it is', () => {
    const config = load({ env: { POD_NAME: 'slipway-7d', POD_NAMESPACE: 'slipway-system' } });

    expect(config.replica).toEqual({ podName: 'slipway-7d', namespace: 'slipway-system' });
  });

  it('takes kubeconfig and context from flags', () => {
    expect(load({ argv: ['--kubeconfig', 'k', '--context', 'c'] })).toMatchObject({
      kubeconfigPath: 'k',
      kubeContext: 'c',
    });
    expect(load()).not.toHaveProperty('kubeconfigPath');
  });

  it('reads the certificates a file names', () => {
    const files = { f: 'registries: { a.example: { caFile: ca.pem } }' };

    const config = load({ argv: ['--config', 'f'], files: { ...files, 'ca.pem': CERTIFICATES } });

    expect(config.registries.get('a.example')?.caPem).toBe(CERTIFICATES);
  });

  it.each([
    { when: 'it is missing', pem: undefined, want: /ca\.pem cannot be read: ENOENT/ },
    { when: 'it is no certificate', pem: NO_CERTIFICATE, want: /ca\.pem must hold PEM certificates/ },
    {
      when: 'it holds a private key',
      pem: `${CERTIFICATES}\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----`,
      want: /and no private key/,
    },
  ])('refuses a certificate file when $when', ({ pem, want }) => {
    const files = { f: 'registries: { a.example: { caFile: ca.pem } }', ...(pem !== undefined && { 'ca.pem': pem }) };

    expect(problems(() => load({ argv: ['--config', 'f'], files }))).toEqual([
      expect.stringMatching(new RegExp(`^f: registries\\["a\\.example"\\]\\.caFile: .*${want.source}`)),
    ]);
  });

  it.each([
    {
      when: 'the file is missing',
      argv: ['--config', 'none'],
      env: {},
      want: /^configuration file: none cannot be read: ENOENT/,
    },
    { when: 'a flag is unknown', argv: ['--verbose'], env: {}, want: /^Unknown option '--verbose'/ },
    { when: 'there is an argument too many', argv: ['start'], env: {}, want: /start/ },
    { when: 'a level is unknown', argv: ['--log-level', 'loud'], env: {}, want: /^--log-level: write error or warn/ },
    {
      when: 'a port is no port',
      argv: [],
      env: { SLIPWAY_METRICS_PORT: '80a' },
      want: /^SLIPWAY_METRICS_PORT: write a port/,
    },
    {
      when: 'a port is too big',
      argv: [],
      env: { SLIPWAY_HEALTH_PORT: '65536' },
      want: /^SLIPWAY_HEALTH_PORT: write a port/,
    },
    { when: 'both ports are the same', argv: ['--health-port', '8080'], env: {}, want: /both 8080/ },
  ])('refuses with a remedy when $when', ({ argv, env, want }) => {
    expect(problems(() => load({ argv, env }))[0]).toMatch(want);
  });
});
