import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { WORKLOAD_KINDS } from '../../operator/api/image-policy.ts';
import { KINDS } from '../../operator/api/kinds.ts';
import { parseConfig } from '../../operator/config.ts';
import { configFileSchema } from '../../operator/config/schema.ts';
import { CHART, find, helm, render, template, type ManifestObject } from '../support/chart.ts';

let defaults: readonly ManifestObject[];

beforeAll(async () => {
  defaults = await render();
}, 600_000);

function container(objects: readonly ManifestObject[]): ManifestObject['spec'] {
  return find(objects, 'Deployment')['spec'].template.spec.containers[0];
}

async function valuesConfig(): Promise<Record<string, unknown>> {
  const values = parse(await readFile(join(CHART, 'values.yaml'), 'utf8')) as { config: Record<string, unknown> };
  return values.config;
}

describe('the chart', () => {
  it('passes helm lint', async () => {
    const { code, stdout } = await helm(['lint', '--strict', CHART]);

    expect([code, stdout]).toEqual([0, expect.stringContaining('0 chart(s) failed')]);
    expect(stdout).not.toMatch(/\[(WARNING|ERROR)\]/);
  });

  it('asks for a Kubernetes that has admission policies', async () => {
    const old = await helm(['template', 'slipway', CHART, '--kube-version', '1.29.9']);
    const managed = await helm(['template', 'slipway', CHART, '--kube-version', '1.30.4-gke.100']);

    expect([old.code, managed.code]).toEqual([1, 0]);
    expect(old.stderr).toContain('requires kubeVersion: >=1.30.0-0');
  });

  it('consists of exactly these objects', () => {
    expect(defaults.map(({ kind, metadata }) => `${kind}/${metadata.name}`).sort()).toEqual(
      [
        ...KINDS.map(({ plural }) => `CustomResourceDefinition/${plural}.slipway.dev`),
        'ClusterRole/slipway',
        'ClusterRole/slipway-approver',
        'ClusterRole/slipway-editor',
        'ClusterRole/slipway-nodes',
        'ClusterRole/slipway-viewer',
        'ClusterRoleBinding/slipway',
        'ClusterRoleBinding/slipway-nodes',
        'ConfigMap/slipway-config',
        'Deployment/slipway',
        'NetworkPolicy/slipway',
        'PodDisruptionBudget/slipway',
        'Role/slipway-leader-election',
        'RoleBinding/slipway-leader-election',
        'Service/slipway-metrics',
        'ServiceAccount/slipway',
        'ValidatingAdmissionPolicy/slipway-decisions',
        'ValidatingAdmissionPolicy/slipway-jobs',
        'ValidatingAdmissionPolicy/slipway-pins',
        'ValidatingAdmissionPolicy/slipway-records',
        'ValidatingAdmissionPolicyBinding/slipway-decisions',
        'ValidatingAdmissionPolicyBinding/slipway-jobs',
        'ValidatingAdmissionPolicyBinding/slipway-pins',
        'ValidatingAdmissionPolicyBinding/slipway-records',
      ].sort(),
    );
  });

  it('labels every object, and keeps versions out of selectors', () => {
    for (const { kind, metadata } of defaults) {
      expect([kind, metadata.labels]).toEqual([
        kind,
        expect.objectContaining({ 'app.kubernetes.io/part-of': 'slipway' }),
      ]);
    }
    const selector = { 'app.kubernetes.io/name': 'slipway', 'app.kubernetes.io/instance': 'slipway' };
    expect(find(defaults, 'Deployment')['spec'].selector.matchLabels).toEqual(selector);
    expect(find(defaults, 'PodDisruptionBudget')['spec'].selector.matchLabels).toEqual(selector);
    expect(find(defaults, 'NetworkPolicy')['spec'].podSelector.matchLabels).toEqual(selector);
  });
});

describe('the CRDs of the chart', () => {
  it('are those in crds/, with the labels of the release', async () => {
    const names = await readdir(join(CHART, '..', '..', 'crds'));
    expect(names.length).toBe(KINDS.length);

    for (const name of names) {
      const file = parse(await readFile(join(CHART, '..', '..', 'crds', name), 'utf8')) as ManifestObject;
      const inChart = find(defaults, 'CustomResourceDefinition', file.metadata.name);
      expect(inChart['spec']).toEqual(file['spec']);
    }
  });

  it('outlive the release, unless crds.keep says otherwise', async () => {
    const kept = defaults.filter(({ kind }) => kind === 'CustomResourceDefinition');
    const dropped = (await render({ values: { 'crds.keep': false } })).filter(
      ({ kind }) => kind === 'CustomResourceDefinition',
    );

    expect(kept.map(({ metadata }) => metadata.annotations)).toEqual(
      KINDS.map(() => ({ 'helm.sh/resource-policy': 'keep' })),
    );
    expect(dropped.map(({ metadata }) => metadata.annotations)).toEqual(KINDS.map(() => undefined));
  });

  it('are left out by crds.install', async () => {
    const objects = await render({ values: { 'crds.install': false } });

    expect(objects.filter(({ kind }) => kind === 'CustomResourceDefinition')).toEqual([]);
  });
});

describe('the configuration', () => {
  it('has the defaults of the operator, written out', async () => {
    expect(parseConfig(stringify(await valuesConfig()), 'values.yaml')).toEqual(parseConfig('', 'defaults'));
  });

  it('shows every setting that has a default, and nothing else', async () => {
    const shown = Object.keys(await valuesConfig());
    // userAgent has a default that changes with every release; namespaces is written from watchNamespaces.
    const known = Object.keys(configFileSchema.shape).filter(
      (key) => !['namespaces', 'userAgent', 'prometheus'].includes(key),
    );

    expect(shown.sort()).toEqual(known.sort());
  });

  it.each([
    { when: 'all namespaces are served', values: {}, want: 'all' },
    { when: 'some are', values: { watchNamespaces: ['shop', 'billing'] }, want: ['shop', 'billing'] },
  ])('is what the operator can read when $when', async ({ values, want }) => {
    const text = find(await render({ values }), 'ConfigMap')['data']['config.yaml'] as string;

    expect(parseConfig(text, 'config.yaml').namespaces).toEqual(want);
  });

  it('starts new pods when it changes', async () => {
    const checksum = (objects: readonly ManifestObject[]): string =>
      find(objects, 'Deployment')['spec'].template.metadata.annotations['checksum/config'] as string;

    const changed = await render({ values: { 'config.log.level': 'debug' } });
    const same = await render({ values: { replicas: 3 } });

    expect(checksum(changed)).not.toBe(checksum(defaults));
    expect(checksum(same)).toBe(checksum(defaults));
  });
});

describe('values.schema.json', () => {
  it.each([
    { when: 'a value is misspelt', values: { replica: 3 }, want: "additional properties 'replica' not allowed" },
    {
      when: 'a setting of the operator is misspelt',
      values: { 'config.logs': {} },
      want: "additional properties 'logs' not allowed",
    },
    {
      when: 'namespaces would say what watchNamespaces says',
      values: { 'config.namespaces': ['shop'] },
      want: "additional properties 'namespaces' not allowed",
    },
    {
      when: 'the log level is none',
      values: { 'config.log.level': 'loud' },
      want: "value must be one of 'error', 'warn', 'info', 'debug'",
    },
    { when: 'a digest is cut short', values: { 'image.digest': 'sha256:abc' }, want: "at '/image/digest'" },
    { when: 'a port is none', values: { 'config.server.healthPort': 70000 }, want: "at '/config/server/healthPort'" },
    { when: 'a namespace cannot exist', values: { watchNamespaces: ['Shop'] }, want: "at '/watchNamespaces/0'" },
    {
      when: 'a registry has an unknown setting',
      values: { 'config.registries': { 'docker.io': { proxy: 'x' } } },
      want: "additional properties 'proxy' not allowed",
    },
  ])('refuses when $when', async ({ values, want }) => {
    const { code, stderr } = await template({ values });

    expect([code, stderr]).toEqual([1, expect.stringContaining(want)]);
  });

  it('closes every object that it describes field by field', async () => {
    const open: string[] = [];
    const visit = (path: string, schema: Record<string, unknown>): void => {
      if (schema['properties'] !== undefined && schema['additionalProperties'] !== false) open.push(path);
      for (const [name, child] of Object.entries(
        (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>,
      )) {
        visit(`${path}.${name}`, child);
      }
    };

    visit('', JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8')) as Record<string, unknown>);

    expect(open).toEqual([]);
  });
});

describe('the deployment', () => {
  it('meets the restricted Pod Security standard', () => {
    const pod = find(defaults, 'Deployment')['spec'].template.spec;

    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container(defaults).securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('probes and serves on the ports of the configuration', async () => {
    const moved = container(
      await render({ values: { 'config.server.healthPort': 9081, 'config.server.metricsPort': 9080 } }),
    );

    expect(moved.ports).toEqual([
      { name: 'metrics', containerPort: 9080 },
      { name: 'health', containerPort: 9081 },
    ]);
    expect(moved.livenessProbe.httpGet).toEqual({ path: '/livez', port: 'health' });
    expect(moved.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'health' });
  });

  it.each([
    { when: 'nothing is said', values: {}, want: 'ghcr.io/slipway-dev/slipway:0.1.0' },
    { when: 'a tag is', values: { 'image.tag': 'v9' }, want: 'ghcr.io/slipway-dev/slipway:v9' },
    {
      when: 'tag and digest are',
      values: {
        'image.tag': 'v9',
        'image.digest': `sha256:${'a'.repeat(64)}`,
        'image.repository': 'registry.corp:5000/slipway',
      },
      want: `registry.corp:5000/slipway@sha256:${'a'.repeat(64)}`,
    },
  ])('runs the image when $when', async ({ values, want }) => {
    expect(container(await render({ values })).image).toBe(want);
  });

  it('gives running work its time to end', () => {
    const graceSeconds = find(defaults, 'Deployment')['spec'].template.spec.terminationGracePeriodSeconds as number;

    expect(graceSeconds * 1000).toBeGreaterThan(parseConfig('', 'defaults').shutdownGracePeriodMs);
  });

  it('takes further environment, volumes and placement', async () => {
    const objects = await render({
      values: {
        extraEnv: [{ name: 'NODE_OPTIONS', value: '--max-old-space-size=384' }],
        extraVolumes: [{ name: 'ca', configMap: { name: 'corp-ca' } }],
        extraVolumeMounts: [{ name: 'ca', mountPath: '/ca' }],
        nodeSelector: { disk: 'ssd' },
        tolerations: [{ operator: 'Exists' }],
        affinity: { nodeAffinity: {} },
        imagePullSecrets: [{ name: 'login' }],
        podLabels: { team: 'platform' },
        podAnnotations: { note: 'x' },
      },
    });
    const { template: pod } = find(objects, 'Deployment')['spec'];

    expect(container(objects).env.at(-1)).toEqual({ name: 'NODE_OPTIONS', value: '--max-old-space-size=384' });
    expect(container(objects).volumeMounts.at(-1)).toEqual({ name: 'ca', mountPath: '/ca' });
    expect(pod.spec.volumes.at(-1)).toEqual({ name: 'ca', configMap: { name: 'corp-ca' } });
    expect(pod.spec).toMatchObject({
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      imagePullSecrets: [{ name: 'login' }],
    });
    expect(pod.metadata).toMatchObject({ labels: { team: 'platform' }, annotations: { note: 'x' } });
  });
});

describe('the rights', () => {
  const rulesFor = (objects: readonly ManifestObject[], kind: string, name: string): Map<string, readonly string[]> => {
    const rights = new Map<string, readonly string[]>();
    for (const rule of find(objects, kind, name)['rules'] as readonly {
      apiGroups: string[];
      resources: string[];
      verbs: string[];
    }[]) {
      for (const resource of rule.resources) rights.set(`${rule.apiGroups[0] ?? ''}/${resource}`, rule.verbs);
    }
    return rights;
  };

  it('reach every workload kind that a policy can name, to read and patch it', () => {
    const rights = rulesFor(defaults, 'ClusterRole', 'slipway');
    const resources = [...rights]
      .filter(([, verbs]) => verbs.includes('patch') && verbs.includes('watch'))
      .map(([resource]) => resource.split('/')[1]);

    expect(resources.sort()).toEqual(WORKLOAD_KINDS.map((kind) => `${kind.toLowerCase()}s`).sort());
  });

  it('read secrets one by one, and contain no wildcard', () => {
    const rights = rulesFor(defaults, 'ClusterRole', 'slipway');

    expect(rights.get('/secrets')).toEqual(['get']);
    for (const { kind, rules } of defaults.filter((object) => object.kind.endsWith('Role'))) {
      expect([kind, JSON.stringify(rules)]).toEqual([kind, expect.not.stringContaining('*')]);
    }
  });

  it('cover every kind of the API group', () => {
    const rights = rulesFor(defaults, 'ClusterRole', 'slipway');
    const viewer = rulesFor(defaults, 'ClusterRole', 'slipway-viewer');

    for (const { plural, status } of KINDS) {
      expect([...rights.keys()]).toEqual(
        expect.arrayContaining([
          `slipway.dev/${plural}`,
          ...(status === undefined ? [] : [`slipway.dev/${plural}/status`]),
        ]),
      );
      expect(viewer.get(`slipway.dev/${plural}`)).toEqual(['get', 'list', 'watch']);
    }
  });

  it('are a Role in each listed namespace, and no ClusterRole but that for nodes', async () => {
    const objects = await render({
      values: { watchNamespaces: ['shop', 'billing'], 'rbac.aggregateToUserRoles': false },
    });
    const withoutNodes = await render({ values: { watchNamespaces: ['shop'], 'rbac.nodes': false } });
    const bound = (list: readonly ManifestObject[], kind: string): string[] =>
      list
        .filter((object) => object.kind === kind)
        .map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`)
        .sort();

    expect(bound(objects, 'RoleBinding')).toEqual([
      'billing/slipway',
      'shop/slipway',
      'slipway-system/slipway-leader-election',
    ]);
    expect(bound(objects, 'ClusterRoleBinding')).toEqual(['/slipway-nodes']);
    expect(bound(withoutNodes, 'ClusterRoleBinding')).toEqual([]);
    const inNamespace = objects.find(({ kind, metadata }) => kind === 'Role' && metadata.namespace === 'shop');
    expect(inNamespace?.['rules']).toEqual(find(defaults, 'ClusterRole', 'slipway')['rules']);
  });
});

describe('the network policy', () => {
  const egressPorts = (objects: readonly ManifestObject[]): number[] =>
    (find(objects, 'NetworkPolicy')['spec'].egress[1].ports as readonly { port: number }[]).map(({ port }) => port);

  it('opens the API server and registries, also those on ports of their own', async () => {
    const objects = await render({
      values: {
        'config.registries': {
          'registry.corp:5000': { mirror: 'mirror.corp:8443' },
          'plain.corp': { insecure: true },
          'docker.io': {},
        },
      },
    });

    expect(egressPorts(defaults)).toEqual([443, 6443]);
    expect(egressPorts(objects).sort()).toEqual([443, 5000, 6443, 80, 8443].sort());
  });

  it.each([
    { url: 'http://prometheus.monitoring.svc:9090', port: 9090 },
    { url: 'http://prometheus.monitoring.svc/prefix', port: 80 },
    { url: 'https://prometheus.corp', port: 443 },
  ])('opens the port of Prometheus: $url', async ({ url, port }) => {
    const objects = await render({ values: { 'config.prometheus.url': url } });

    expect(egressPorts(objects)).toContain(port);
  });

  it('opens ports of pods for rollout.verify, and none where there are to be none', async () => {
    const verifying = (objects: readonly ManifestObject[]): readonly { to?: unknown; ports: unknown }[] =>
      (find(objects, 'NetworkPolicy')['spec'].egress as { to?: unknown; ports: unknown }[]).filter(({ to }) => to);

    expect(verifying(await render({ values: { 'networkPolicy.verifyPorts': [9000] } }))).toEqual([
      { to: [{ namespaceSelector: {} }], ports: [{ port: 9000, protocol: 'TCP' }] },
    ]);
    expect(verifying(await render({ values: { 'networkPolicy.verifyPorts': [] } }))).toEqual([]);
  });

  it('limits who may scrape', async () => {
    const peer = { namespaceSelector: { matchLabels: { name: 'monitoring' } } };
    const { ingress } = find(await render({ values: { 'networkPolicy.metricsFrom': [peer] } }), 'NetworkPolicy')[
      'spec'
    ];

    expect(ingress[1]).toEqual({ ports: [{ port: 'metrics', protocol: 'TCP' }], from: [peer] });
  });
});

describe('what can be left out', () => {
  it.each([
    { kind: 'PodDisruptionBudget', values: { 'podDisruptionBudget.enabled': false } },
    { kind: 'PodDisruptionBudget', values: { replicas: 1 } },
    { kind: 'NetworkPolicy', values: { 'networkPolicy.enabled': false } },
    { kind: 'ValidatingAdmissionPolicy', values: { 'admissionPolicy.enabled': false } },
    { kind: 'Service', values: { 'metrics.service.enabled': false } },
    { kind: 'ClusterRole', values: { 'rbac.create': false } },
    { kind: 'ServiceAccount', values: { 'serviceAccount.create': false, 'serviceAccount.name': 'mine' } },
  ])('is $kind by $values', async ({ kind, values }) => {
    expect(defaults.some((object) => object.kind === kind)).toBe(true);
    expect((await render({ values })).filter((object) => object.kind === kind)).toEqual([]);
  });

  it('names what is missing', async () => {
    const account = await template({ values: { 'serviceAccount.create': false } });
    const monitor = await template({
      values: { 'metrics.serviceMonitor.enabled': true, 'metrics.service.enabled': false },
    });

    expect(account.stderr).toContain('serviceAccount.name: name the account to use');
    expect(monitor.stderr).toContain('metrics.serviceMonitor needs metrics.service.enabled');
  });

  it('has a ServiceMonitor when asked for one', async () => {
    const objects = await render({
      values: { 'metrics.serviceMonitor.enabled': true, 'metrics.serviceMonitor.labels': { release: 'prom' } },
    });
    const monitor = find(objects, 'ServiceMonitor');
    const service = find(objects, 'Service');

    expect(monitor.metadata.labels).toMatchObject({ release: 'prom' });
    expect(service.metadata.labels).toMatchObject(monitor['spec'].selector.matchLabels as object);
  });
});
