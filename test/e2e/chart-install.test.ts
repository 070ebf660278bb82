import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { API_GROUP_VERSION } from '../../operator/api/kinds.ts';
import { CHART, helm, setFlags, type Values } from '../support/chart.ts';
import { startControlPlane, type ControlPlane } from '../support/control-plane.ts';
import { EXAMPLE_DIGEST, policyManifest, rolloutManifest, type JsonObject } from '../support/fixtures/manifests.ts';
import type { CommandResult } from '../support/processes.ts';
import { waitFor } from '../support/wait.ts';

const NAMESPACE = 'slipway-system';
const ACCOUNT = `system:serviceaccount:${NAMESPACE}:slipway`;
const POLICIES = `/apis/${API_GROUP_VERSION}/namespaces/shop/imagepolicies`;
const ROLLOUTS = `/apis/${API_GROUP_VERSION}/namespaces/shop/imagerollouts`;

jest.setTimeout(60_000);

let server: ControlPlane;

async function namespace(name: string, labels: Record<string, string> = {}): Promise<void> {
  await server.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
}

async function mustHelm(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await helm([...args, '--namespace', NAMESPACE], server.kubeconfigPath);
  if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

const install = (values: Values = {}, release = 'slipway'): Promise<string> =>
  mustHelm('install', release, CHART, ...setFlags(values));

/** kubectl as somebody else, or as the administrator. */
function as(user: string, ...args: readonly string[]): Promise<CommandResult> {
  return server.kubectl(...args, ...(user === 'admin' ? [] : [`--as=${user}`, '--as-group=system:authenticated']));
}

/** `resource` is `kind`, `kind/name` or `kind+subresource`; `where` is empty for what has no namespace. */
async function mayDo(user: string, verb: string, resource: string, where: string): Promise<boolean> {
  const [kindAndName = '', subresource] = resource.split('+');
  const flags = [
    ...(where === '' ? [] : ['-n', where]),
    ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
  ];
  const { stdout, stderr } = await as(user, 'auth', 'can-i', verb, kindAndName, ...flags);
  // A question about a resource that does not exist is answered too, with a warning.
  if (stderr.includes("doesn't have a resource type")) throw new Error(stderr);
  return stdout.trim() === 'yes';
}

async function write(user: string, verb: 'create' | 'apply', object: JsonObject): Promise<CommandResult> {
  const path = join(server.directory, 'object.json');
  await writeFile(path, JSON.stringify(object));
  return as(user, verb, '-n', 'shop', '-f', path);
}

beforeAll(async () => {
  server = await startControlPlane({ controllerManager: true });
  await namespace(NAMESPACE, {
    'pod-security.kubernetes.io/enforce': 'restricted',
    'pod-security.kubernetes.io/enforce-version': 'latest',
  });
  await namespace('shop');
  await namespace('elsewhere');
}, 600_000);

afterAll(() => server.stop());

describe('a release for all namespaces', () => {
  let notes: string;

  beforeAll(async () => {
    notes = await install();
    await waitFor('policies are served', async () => (await server.request('GET', POLICIES)).status === 200);
  }, 120_000);

  afterAll(async () => {
    await mustHelm('uninstall', 'slipway');
  });

  it('says what to do next, in commands that are right', () => {
    expect(notes).toContain('Slipway 0.1.0 is installed and serves all namespaces.');
    expect(notes).toContain(`kubectl -n ${NAMESPACE} rollout status deployment/slipway`);
    expect(notes).toContain('kind: ImagePolicy');
    expect(notes).toContain('Uninstalling the release keeps the CRDs');
  });

  it('gets its two pods through the restricted Pod Security standard', async () => {
    await waitFor('both pods exist', async () => {
      const { body } = await server.request('GET', `/api/v1/namespaces/${NAMESPACE}/pods`);
      return (body as { items: unknown[] }).items.length === 2;
    });
    const { stdout } = await server.kubectl(
      'get',
      'events',
      '-n',
      NAMESPACE,
      '--field-selector=type=Warning',
      '-o',
      'name',
    );
    expect(stdout).toBe('');
  });

  it.each([
    { verb: 'list', resource: 'imagepolicies.slipway.dev', where: 'shop', may: true },
    { verb: 'watch', resource: 'imagerollouts.slipway.dev', where: 'shop', may: true },
    { verb: 'update', resource: 'imagepolicies.slipway.dev', where: 'shop', may: false },
    { verb: 'patch', resource: 'imagepolicies.slipway.dev+status', where: 'shop', may: true },
    { verb: 'create', resource: 'imagerollouts.slipway.dev', where: 'shop', may: true },
    { verb: 'delete', resource: 'imagerollouts.slipway.dev', where: 'shop', may: true },
    { verb: 'update', resource: 'imagerollouts.slipway.dev', where: 'shop', may: false },
    { verb: 'patch', resource: 'deployments.apps', where: 'shop', may: true },
    { verb: 'patch', resource: 'cronjobs.batch', where: 'shop', may: true },
    { verb: 'delete', resource: 'deployments.apps', where: 'shop', may: false },
    { verb: 'update', resource: 'deployments.apps', where: 'shop', may: false },
    { verb: 'get', resource: 'secrets', where: 'shop', may: true },
    { verb: 'list', resource: 'secrets', where: 'shop', may: false },
    { verb: 'watch', resource: 'secrets', where: NAMESPACE, may: false },
    { verb: 'list', resource: 'configmaps', where: 'shop', may: false },
    { verb: 'list', resource: 'pods', where: 'shop', may: true },
    { verb: 'delete', resource: 'pods', where: 'shop', may: false },
    { verb: 'create', resource: 'pods', where: 'shop', may: false },
    { verb: 'list', resource: 'imagedecisions.slipway.dev', where: 'shop', may: true },
    { verb: 'create', resource: 'imagedecisions.slipway.dev', where: 'shop', may: false },
    { verb: 'create', resource: 'jobs.batch', where: 'shop', may: true },
    { verb: 'delete', resource: 'jobs.batch', where: 'shop', may: false },
    { verb: 'get', resource: 'services', where: 'shop', may: true },
    { verb: 'get', resource: 'namespaces', where: 'shop', may: false },
    { verb: 'list', resource: 'nodes', where: '', may: true },
    { verb: 'patch', resource: 'nodes', where: '', may: false },
    { verb: 'create', resource: 'events.events.k8s.io', where: 'shop', may: true },
    { verb: 'create', resource: 'leases.coordination.k8s.io', where: NAMESPACE, may: true },
    { verb: 'patch', resource: 'leases.coordination.k8s.io/slipway-operator', where: NAMESPACE, may: true },
    { verb: 'patch', resource: 'leases.coordination.k8s.io/other', where: NAMESPACE, may: false },
    { verb: 'create', resource: 'leases.coordination.k8s.io', where: 'shop', may: false },
    { verb: 'impersonate', resource: 'users', where: '', may: false },
    { verb: 'create', resource: 'clusterroles.rbac.authorization.k8s.io', where: '', may: false },
  ])('lets the operator $verb $resource in "$where": $may', async ({ verb, resource, where, may }) => {
    expect(await mayDo(ACCOUNT, verb, resource, where)).toBe(may);
  });

  describe('for people with the roles view and edit', () => {
    beforeAll(async () => {
      for (const [user, role] of [
        ['vera', 'view'],
        ['eddie', 'edit'],
        ['ada', 'admin'],
      ]) {
        await server.apply({
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'RoleBinding',
          metadata: { name: user, namespace: 'shop' },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
          subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
        });
      }
      await waitFor('the roles are aggregated', () => mayDo('ada', 'create', 'imagepolicies.slipway.dev', 'shop'));
    });

    it.each([
      { user: 'vera', verb: 'list', resource: 'imagerollouts.slipway.dev', may: true },
      { user: 'vera', verb: 'create', resource: 'imagepolicies.slipway.dev', may: false },
      { user: 'eddie', verb: 'create', resource: 'imagepolicies.slipway.dev', may: true },
      { user: 'eddie', verb: 'delete', resource: 'imagepolicies.slipway.dev', may: true },
      { user: 'eddie', verb: 'list', resource: 'imagerollouts.slipway.dev', may: true },
      { user: 'eddie', verb: 'create', resource: 'imagerollouts.slipway.dev', may: false },
      { user: 'eddie', verb: 'patch', resource: 'imagepolicies.slipway.dev+status', may: false },
      { user: 'ada', verb: 'patch', resource: 'imagepolicies.slipway.dev', may: true },
      { user: 'ada', verb: 'create', resource: 'imagerollouts.slipway.dev', may: false },
      { user: 'vera', verb: 'list', resource: 'imagedecisions.slipway.dev', may: true },
      { user: 'eddie', verb: 'create', resource: 'imagedecisions.slipway.dev', may: false },
      { user: 'eddie', verb: 'approve', resource: 'imagepolicies.slipway.dev', may: false },
      { user: 'eddie', verb: 'pin', resource: 'imagepolicies.slipway.dev', may: false },
      { user: 'ada', verb: 'create', resource: 'imagedecisions.slipway.dev', may: true },
      { user: 'ada', verb: 'delete', resource: 'imagedecisions.slipway.dev', may: false },
      { user: 'ada', verb: 'approve', resource: 'imagepolicies.slipway.dev', may: true },
      { user: 'ada', verb: 'pin', resource: 'imagepolicies.slipway.dev', may: true },
    ])('$user may $verb $resource: $may', async ({ user, verb, resource, may }) => {
      expect(await mayDo(user, verb, resource, 'shop')).toBe(may);
    });
  });

  describe('by its admission policy', () => {
    beforeAll(async () => {
      expect(await write('admin', 'create', policyManifest())).toMatchObject({ code: 0 });
      // A policy is in force a moment after it was created.
      await waitFor(
        'others are refused',
        async () => (await write('admin', 'create', rolloutManifest({ metadata: { name: 'probe-1' } }))).code !== 0,
      );
    });

    const asAdmin = (...args: readonly string[]): Promise<CommandResult> => server.kubectl(...args, '-n', 'shop');

    it('type-checks without a warning', async () => {
      const policy = await waitFor('the policy is type-checked', async () => {
        const { body } = await server.request(
          'GET',
          '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/slipway-records',
        );
        const { status } = body as { status?: { observedGeneration?: number; typeChecking?: object } };
        return status?.observedGeneration !== undefined && status;
      });

      expect(policy.typeChecking).toEqual({});
    });

    it('lets the operator write rollouts and status', async () => {
      const created = await write(ACCOUNT, 'create', rolloutManifest());
      const status = await as(
        ACCOUNT,
        'patch',
        '-n',
        'shop',
        'slroll',
        'web-1',
        '--subresource=status',
        '--type=merge',
        '-p',
        '{"status":{"state":"Pending"}}',
      );
      const policy = await as(
        ACCOUNT,
        'patch',
        '-n',
        'shop',
        'slpol',
        'web',
        '--subresource=status',
        '--type=merge',
        '-p',
        '{"status":{"lastRollout":1}}',
      );

      expect([created.stderr, status.stderr, policy.stderr]).toEqual(['', '', '']);
    });

    it('refuses rollouts that others write, whoever they are', async () => {
      const { code, stderr } = await write('admin', 'create', rolloutManifest({ metadata: { name: 'web-2' } }));

      expect(code).toBe(1);
      expect(stderr).toContain(
        `an ImageRollout is written by Slipway alone (${ACCOUNT}), not by admin: change the ImagePolicy instead`,
      );
    });

    it.each([
      { what: 'a rollout', args: ['slroll', 'web-1', '-p', '{"status":{"state":"Succeeded"}}'] },
      { what: 'a policy', args: ['slpol', 'web', '-p', '{"status":{"lastRollout":9}}'] },
    ])('refuses a status of $what that others write', async ({ args }) => {
      const { code, stderr } = await asAdmin('patch', ...args, '--subresource=status', '--type=merge');

      expect(code).toBe(1);
      expect(stderr).toContain(`a status is written by Slipway alone (${ACCOUNT}), not by admin`);
    });

    it('lets people write policies, label rollouts and delete them', async () => {
      const policy = await asAdmin('patch', 'slpol', 'web', '--type=merge', '-p', '{"spec":{"suspend":true}}');
      const labelled = await asAdmin('label', 'slroll', 'web-1', 'note=x');
      const annotated = await asAdmin('annotate', 'slroll', 'web-1', 'note=x');
      const deleted = await asAdmin('delete', 'slroll', 'web-1');

      expect([policy.stderr, labelled.stderr, annotated.stderr, deleted.stderr]).toEqual(['', '', '', '']);
    });

    it('lets the garbage collector take a rollout with its policy, also in the foreground', async () => {
      await write('admin', 'create', policyManifest({ metadata: { name: 'gone' } }));
      const { body } = await server.request('GET', `${POLICIES}/gone`);
      const { uid } = (body as { metadata: { uid: string } }).metadata;
      const owner = {
        apiVersion: API_GROUP_VERSION,
        kind: 'ImagePolicy',
        name: 'gone',
        uid,
        controller: true,
        blockOwnerDeletion: true,
      };
      const created = await write(
        ACCOUNT,
        'create',
        rolloutManifest({ metadata: { name: 'gone-1', ownerReferences: [owner] } }),
      );
      expect(created.stderr).toBe('');

      await server.kubectl('delete', 'slpol', 'gone', '-n', 'shop', '--cascade=foreground', '--wait=false');

      // The garbage collector looks for new kinds every 30 seconds.
      await waitFor(
        'both are gone',
        async () => {
          const answers = await Promise.all([
            server.request('GET', `${POLICIES}/gone`),
            server.request('GET', `${ROLLOUTS}/gone-1`),
          ]);
          return answers.every(({ status }) => status === 404);
        },
        { timeoutMs: 90_000 },
      );
    }, 120_000);
  });
});

describe('the admission policies about people', () => {
  const decision = (name: string, spec: JsonObject): JsonObject => ({
    apiVersion: API_GROUP_VERSION,
    kind: 'ImageDecision',
    metadata: { name },
    spec: { policy: 'web', ...spec },
  });
  const approve = { decision: 'Approve', digest: EXAMPLE_DIGEST };
  const patch = (user: string, change: object): Promise<CommandResult> =>
    as(user, 'patch', '-n', 'shop', 'slpol', 'web', '--type=merge', '-p', JSON.stringify(change));

  beforeAll(async () => {
    await install({ 'crds.install': false });
    for (const [user, role] of [
      ['eddie', 'edit'],
      ['ada', 'admin'],
      ['polly', 'slipway-editor'],
      ['polly', 'slipway-viewer'],
    ] as const) {
      await server.apply({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: `${user}-${role}`, namespace: 'shop' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
      });
    }
    await server.apply({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'decide', namespace: 'shop' },
      rules: [{ apiGroups: ['slipway.dev'], resources: ['imagedecisions'], verbs: ['create'] }],
    });
    await server.apply({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'eddie-decides', namespace: 'shop' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'decide' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'eddie' }],
    });
    expect(await write('admin', 'apply', policyManifest())).toMatchObject({ code: 0 });
    await waitFor('the roles are aggregated', () => mayDo('ada', 'pin', 'imagepolicies.slipway.dev', 'shop'));
    await waitFor(
      'the policies are in force',
      async () => (await write('eddie', 'create', decision('probe', { ...approve, by: 'ada' }))).code !== 0,
    );
  }, 120_000);

  afterAll(async () => {
    await mustHelm('uninstall', 'slipway');
  });

  it.each(['decisions', 'pins', 'jobs'])('type-check without a warning: %s', async (name) => {
    const status = await waitFor('the policy is type-checked', async () => {
      const { body } = await server.request(
        'GET',
        `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/slipway-${name}`,
      );
      const seen = (body as { status?: { observedGeneration?: number; typeChecking?: object } }).status;
      return seen?.observedGeneration !== undefined && seen;
    });

    expect(status.typeChecking).toEqual({});
  });

  it('let a person decide in their own name', async () => {
    expect(await write('ada', 'create', decision('mine', { ...approve, by: 'ada' }))).toMatchObject({ code: 0 });
  });

  it.each([
    { who: 'ada', by: 'eddie', says: 'spec.by: a decision is made in your own name: write ada, not eddie' },
    { who: 'eddie', by: 'eddie', says: 'eddie may not decide about ImagePolicy web: it needs the verb approve' },
    { who: 'admin', by: 'ada', says: 'a decision is made in your own name' },
  ])('refuse a decision of $by that $who writes', async ({ who, by, says }) => {
    const { code, stderr } = await write(who, 'create', decision('no', { ...approve, by }));

    expect(code).toBe(1);
    expect(stderr).toContain(says);
  });

  it('refuse a pin by who may only edit, and leave everything else to them', async () => {
    const refused = await patch('eddie', { spec: { pin: { tag: 'v1.0.0' } } });
    expect(refused.stderr).toContain(
      'spec.pin: eddie may not pin ImagePolicy web: it needs the verb pin on imagepolicies.slipway.dev',
    );

    expect(await patch('ada', { spec: { pin: { tag: 'v1.0.0', reason: 'INC-42' } } })).toMatchObject({ code: 0 });
    expect(await patch('eddie', { spec: { suspend: true } })).toMatchObject({ code: 0 });
    expect((await patch('eddie', { spec: { pin: { reason: 'mine' } } })).code).toBe(1);
    // The companion would move with the pin.
    expect((await patch('eddie', { spec: { companions: [{ image: 'ghcr.io/acme/worker' }] } })).code).toBe(1);
    expect(await patch('eddie', { spec: { interval: '6m' } })).toMatchObject({ code: 0 });
    expect(await patch('eddie', { spec: { pin: null } })).toMatchObject({ code: 0 });
  });

  it('refuse a Job of rollout.verify by who may not create Jobs, and leave other checks to them', async () => {
    const smoke = { name: 'smoke', image: 'ghcr.io/acme/smoke:1' };
    const job = { job: { template: { spec: { template: { spec: { containers: [smoke] } } } } } };
    const http = { http: { service: 'web', port: 80, path: '/healthz' } };
    const verify = (...checks: readonly object[]) => ({ spec: { rollout: { verify: checks } } });

    expect((await patch('polly', verify(http, job))).stderr).toContain(
      'spec.rollout.verify: polly may not have Jobs run in namespace shop: it needs the verb create on jobs.batch',
    );
    expect(await patch('polly', verify(http))).toMatchObject({ code: 0 });
    expect(await patch('admin', verify(http, job))).toMatchObject({ code: 0 });
    // What is there already does not keep anybody from editing the rest.
    expect(await patch('polly', { spec: { suspend: true } })).toMatchObject({ code: 0 });
    expect(await patch('polly', verify(job))).toMatchObject({ code: 0 });
    expect(await patch('polly', verify())).toMatchObject({ code: 0 });
  });
});

describe('a release for one namespace', () => {
  beforeAll(async () => {
    const notes = await install({ watchNamespaces: ['shop'], 'rbac.nodes': false, 'crds.install': false }, 'one');
    expect(notes).toContain('is installed and serves shop.');
  });

  afterAll(async () => {
    await mustHelm('uninstall', 'one');
  });

  const account = `system:serviceaccount:${NAMESPACE}:one-slipway`;

  it.each([
    { verb: 'patch', resource: 'deployments.apps', where: 'shop', may: true },
    { verb: 'get', resource: 'secrets', where: 'shop', may: true },
    { verb: 'get', resource: 'secrets', where: 'elsewhere', may: false },
    { verb: 'patch', resource: 'deployments.apps', where: 'elsewhere', may: false },
    { verb: 'list', resource: 'imagepolicies.slipway.dev', where: 'elsewhere', may: false },
    { verb: 'get', resource: 'secrets', where: NAMESPACE, may: false },
    { verb: 'list', resource: 'nodes', where: '', may: false },
  ])('lets the operator $verb $resource in "$where": $may', async ({ verb, resource, where, may }) => {
    expect(await mayDo(account, verb, resource, where)).toBe(may);
  });
});

describe('the life of a release', () => {
  let newer: string;

  beforeAll(async () => {
    newer = await mkdtemp(join(tmpdir(), 'slipway-chart-'));
    await cp(CHART, newer, { recursive: true });
    const path = join(newer, 'templates', 'crds', 'imagepolicies.yaml');
    const text = await readFile(path, 'utf8');
    const field = '                suspend:\n';
    expect(text.split(field).length).toBe(2);
    const added =
      '                note:\n                  type: string\n                  maxLength: 64\n                  description: Added later.\n';
    await writeFile(path, text.replace(field, `${added}${field}`));
    await install();
  }, 120_000);

  afterAll(async () => {
    await rm(newer, { recursive: true, force: true });
  });

  const noted = policyManifest({ metadata: { name: 'noted' }, spec: { note: 'kept' } });
  const noteOf = async (): Promise<unknown> => {
    const { body } = await server.request('GET', `${POLICIES}/noted`);
    return (body as { spec?: { note?: unknown } }).spec?.note;
  };

  it('upgrades over a field that was added, and keeps every policy', async () => {
    await write('admin', 'create', policyManifest({ metadata: { name: 'older' } }));
    const before = await write('admin', 'create', noted);

    await mustHelm('upgrade', 'slipway', newer);
    await waitFor('the new field is served', async () => (await write('admin', 'create', noted)).code === 0);

    expect(before.stderr).toContain('unknown field "spec.note"');
    expect(await noteOf()).toBe('kept');
    expect((await server.request('GET', `${POLICIES}/older`)).status).toBe(200);
  });

  it('uninstalls without taking the policies along, and takes them over when installed again', async () => {
    const said = await mustHelm('uninstall', 'slipway');
    const kept = await server.request('GET', `${POLICIES}/older`);

    await mustHelm('install', 'slipway', newer);

    expect(said).toContain('imagepolicies.slipway.dev');
    expect(kept.status).toBe(200);
    expect(await noteOf()).toBe('kept');
    expect((await server.kubectl('get', 'deployment,validatingadmissionpolicy', '-A', '-o', 'name')).stdout).toContain(
      'deployment.apps/slipway',
    );
  });

  it('leaves nothing but the CRDs behind', async () => {
    await mustHelm('uninstall', 'slipway');

    const left = await server.kubectl(
      'get',
      'crd,clusterrole,clusterrolebinding,validatingadmissionpolicy',
      '-l',
      'app.kubernetes.io/part-of=slipway',
      '-o',
      'name',
    );
    const inNamespace = await server.kubectl(
      'get',
      'all,cm,role,rolebinding,netpol,pdb',
      '-n',
      NAMESPACE,
      '-l',
      'app.kubernetes.io/part-of=slipway,app.kubernetes.io/managed-by=Helm',
      '-o',
      'name',
    );

    expect(left.stdout.trim().split('\n').sort()).toEqual([
      'customresourcedefinition.apiextensions.k8s.io/imagedecisions.slipway.dev',
      'customresourcedefinition.apiextensions.k8s.io/imagepolicies.slipway.dev',
      'customresourcedefinition.apiextensions.k8s.io/imagerollouts.slipway.dev',
    ]);
    expect(inNamespace.stdout.replaceAll(/pod\/.*\n|replicaset.apps\/.*\n/g, '')).toBe('');
  });
});
