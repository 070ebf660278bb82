import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { API_GROUP, API_GROUP_VERSION, KINDS } from '../../../operator/api/kinds.ts';
import { startControlPlane, type ControlPlane, type RawAnswer } from '../../support/control-plane.ts';
import {
  EXAMPLE_DIGEST,
  mergePatch,
  policyManifest,
  rolloutManifest,
  type JsonObject,
} from '../../support/fixtures/manifests.ts';
import { waitFor } from '../../support/wait.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const POLICIES = `/apis/${API_GROUP_VERSION}/namespaces/default/imagepolicies`;
const ROLLOUTS = `/apis/${API_GROUP_VERSION}/namespaces/default/imagerollouts`;
const MERGE = 'application/merge-patch+json';
const APPLY = 'application/apply-patch+yaml';

let server: ControlPlane;

beforeAll(async () => {
  server = await startControlPlane();
  const applied = await server.kubectl('apply', '-f', join(ROOT, 'crds'));
  expect(applied.stderr).toBe('');
  await waitFor('both kinds are served and documented', async () => {
    const answers = await Promise.all([server.request('GET', POLICIES), server.request('GET', ROLLOUTS)]);
    const explained = await Promise.all(
      KINDS.map(({ plural }) => server.kubectl('explain', `${plural}.${API_GROUP}.spec`)),
    );
    return answers.every(({ status }) => status === 200) && explained.every(({ code }) => code === 0);
  });
}, 600_000);

afterAll(() => server.stop());

/** What `kubectl apply` prints per problem, without the line that only says that there may be more. */
function refusals(answer: RawAnswer): string[] {
  const body = answer.body as {
    message: string;
    details?: { causes?: readonly { field?: string; message: string }[] };
  };
  const causes = (body.details?.causes ?? []).filter(
    ({ message }) => !message.includes('some validation rules were not checked'),
  );
  return causes.length > 0 ? causes.map(({ field, message }) => `${field ?? ''}: ${message}`) : [body.message];
}

function tryToCreate(path: string, manifest: JsonObject): Promise<RawAnswer> {
  return server.request('POST', `${path}?dryRun=All&fieldValidation=Strict`, manifest);
}

describe('the CRDs', () => {
  it('are established, structural and within the cost limits', async () => {
    const { body } = await server.request('GET', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions');
    const items = (
      body as {
        items: readonly {
          metadata: { name: string };
          status: { conditions: readonly { type: string; status: string }[] };
        }[];
      }
    ).items;

    expect(items.map(({ metadata }) => metadata.name)).toEqual(
      KINDS.map(({ plural }) => `${plural}.${API_GROUP}`).sort(),
    );
    for (const { status } of items) {
      expect(status.conditions.map(({ type, status: value }) => `${type}=${value}`).sort()).toEqual([
        'Established=True',
        'NamesAccepted=True',
      ]);
    }
  });

  it.each(KINDS)('serve $kind under its short name and the category slipway', async ({ shortNames, plural }) => {
    const { body } = await server.request('GET', `/apis/${API_GROUP_VERSION}`);
    const resources = (body as { resources: readonly { name: string; shortNames?: string[]; categories?: string[] }[] })
      .resources;

    expect(resources.find(({ name }) => name === plural)).toMatchObject({ shortNames, categories: ['slipway'] });
  });

  it('explain every field of spec and status', async () => {
    const { stdout } = await server.kubectl('explain', `imagepolicies.${API_GROUP}.spec.tags`);

    expect(stdout).toContain('Which tags qualify and which of them is the newest.');
    expect(stdout).toMatch(
      /digest\t<string>\n {2}enum: Follow, Ignore\n {4}Follow: a tag that is pushed again is a new candidate/,
    );
    for (const { plural } of KINDS) {
      const recursive = await server.kubectl('explain', '--recursive', `${plural}.${API_GROUP}`);
      expect(recursive.stdout).not.toContain('<no description>');
    }
  });

  it('can be selected by the fields that say so', async () => {
    await server.apply({
      ...policyManifest({
        metadata: { name: 'by-field', namespace: 'default' },
        spec: { image: 'ghcr.io/acme/by-field' },
      }),
    });

    const { body } = await server.request('GET', `${POLICIES}?fieldSelector=spec.image%3Dghcr.io/acme/by-field`);

    expect(
      (body as { items: readonly { metadata: { name: string } }[] }).items.map(({ metadata }) => metadata.name),
    ).toEqual(['by-field']);
    await server.request('DELETE', `${POLICIES}/by-field`);
  });
});

describe('a new ImagePolicy', () => {
  it('gets every default, also inside objects that were not written', async () => {
    const { status, body } = await tryToCreate(
      POLICIES,
      policyManifest({ spec: { tags: { semver: null, numerical: {} }, targets: null } }),
    );

    expect(status).toBe(201);
    expect((body as { spec: unknown }).spec).toEqual({
      image: 'ghcr.io/acme/web',
      suspend: false,
      interval: '5m',
      tags: { numerical: { direction: 'Ascending' }, digest: 'Follow', downgrade: 'Never' },
      targets: [],
      rollout: {
        progressDeadline: '10m',
        soak: '1m',
        onFailure: 'RollBack',
        atomic: true,
        cooldown: '0s',
        historyLimit: 10,
      },
    });
  });

  it.each([
    'nginx',
    'library/nginx',
    'localhost:5000/app',
    'registry.corp.example:5000/team/app_x/y--z',
    '[::1]:5000/app',
    'ghcr.io/acme/web.api',
  ])('takes the repository %s', async (image) => {
    expect((await tryToCreate(POLICIES, policyManifest({ spec: { image } }))).status).toBe(201);
  });

  it.each(['1.x', '*', '^1.2', '~1.2.3-0', '>=1.2.0 <2', '>= 1.2, < 2 || 3.x', '1.2 - 2.3.4', 'v1.x', '=1.2.3+b1'])(
    'takes the range %s',
    async (range) => {
      expect((await tryToCreate(POLICIES, policyManifest({ spec: { tags: { semver: { range } } } }))).status).toBe(201);
    },
  );

  const tooManyTargets = Array.from({ length: 65 }, (_, index) => ({ kind: 'Deployment', name: `w${index}` }));
  const target = (patch: JsonObject): JsonObject => ({
    spec: { targets: [mergePatch({ kind: 'Deployment', name: 'web' }, patch)] },
  });
  const tags = (patch: JsonObject): JsonObject => ({ spec: { tags: patch } });
  const windows = (patch: JsonObject): JsonObject => ({
    spec: {
      gates: {
        windows: { allow: [mergePatch({ cron: '0 22 * * 1-5', duration: '4h', timeZone: 'Europe/Berlin' }, patch)] },
      },
    },
  });
  const verify = (check: JsonObject): JsonObject => ({ spec: { rollout: { verify: [check] } } });
  const image = (value: string): JsonObject => ({ spec: { image: value } });
  const remedy = {
    duration: (bounds: string) => `must be a duration such as 90s, 5m or 1h30m, ${bounds}`,
    order:
      'order of the tags: set exactly one of semver, numerical, alphabetical, newest, fixed (an order without settings is written as newest: {})',
    repository: 'must be host/path in lower case, for example ghcr.io/acme/web',
    tagged: 'must be a repository without tag or digest, for example ghcr.io/acme/web',
    range: 'must be a range of semantic versions, for example 1.x, ^1.2 or >=1.2.0 <2',
    re2: 'evaluating rule: must be an RE2 expression (no lookaround, no backreferences)',
    object: 'must be the name of an object: lower-case letters, digits, - and .',
  };

  it.each<{ when: string; patch: JsonObject; want: string }>([
    { when: 'image is missing', patch: { spec: { image: null } }, want: 'spec.image: Required value' },
    { when: 'image is empty', patch: image(''), want: `spec.image: Invalid value: "": ${remedy.repository}` },
    {
      when: 'image has a scheme',
      patch: image('https://ghcr.io/acme/web'),
      want: 'spec.image: Invalid value: "https://ghcr.io/acme/web": must be host/path without a scheme, for example ghcr.io/acme/web',
    },
    {
      when: 'image has a login in the host',
      patch: image('bot:token@ghcr.io/acme/web'),
      want: 'spec.image: Invalid value: "bot:token@ghcr.io/acme/web": must not carry credentials: use registry.imagePullSecrets',
    },
    {
      when: 'image has a user in the host',
      patch: image('bot@ghcr.io/acme/web'),
      want: 'spec.image: Invalid value: "bot@ghcr.io/acme/web": must not carry credentials: use registry.imagePullSecrets',
    },
    {
      when: 'image has a tag',
      patch: image('ghcr.io/acme/web:v1'),
      want: `spec.image: Invalid value: "ghcr.io/acme/web:v1": ${remedy.tagged}`,
    },
    {
      when: 'image has a digest',
      patch: image(`web@sha256:${'a'.repeat(64)}`),
      want: `spec.image: Invalid value: "web@sha256:${'a'.repeat(64)}": ${remedy.tagged}`,
    },
    {
      when: 'image has capitals',
      patch: image('ghcr.io/Acme/web'),
      want: `spec.image: Invalid value: "ghcr.io/Acme/web": ${remedy.repository}`,
    },
    {
      when: 'image begins with capitals',
      patch: image('Acme/web'),
      want: `spec.image: Invalid value: "Acme/web": ${remedy.repository}`,
    },
    {
      when: 'image ends in a slash',
      patch: image('ghcr.io/acme/'),
      want: `spec.image: Invalid value: "ghcr.io/acme/": ${remedy.repository}`,
    },
    {
      when: 'image has a port of six digits',
      patch: image('localhost:500000/web'),
      want: `spec.image: Invalid value: "localhost:500000/web": ${remedy.repository}`,
    },
    {
      when: 'image is too long',
      patch: image(`ghcr.io/${'a'.repeat(255)}`),
      want: 'spec.image: Too long: may not be more than 255 bytes',
    },
    {
      when: 'interval is too short',
      patch: { spec: { interval: '5s' } },
      want: `spec.interval: Invalid value: "5s": ${remedy.duration('between 15s and 168h')}`,
    },
    {
      when: 'interval is in days',
      patch: { spec: { interval: '1d' } },
      want: `spec.interval: Invalid value: "1d": ${remedy.duration('between 15s and 168h')}`,
    },
    {
      when: 'interval is empty',
      patch: { spec: { interval: '' } },
      want: `spec.interval: Invalid value: "": ${remedy.duration('between 15s and 168h')}`,
    },
    {
      when: 'interval is beyond what Go reads',
      patch: { spec: { interval: '99999999999999h' } },
      want: `spec.interval: Invalid value: "99999999999999h": ${remedy.duration('between 15s and 168h')}`,
    },
    {
      when: 'interval is a number',
      patch: { spec: { interval: 300 } },
      want: 'spec.interval: Invalid value: "integer": spec.interval in body must be of type string: "integer"',
    },
    {
      when: 'suspend is a word',
      patch: { spec: { suspend: 'yes' } },
      want: 'spec.suspend: Invalid value: "string": spec.suspend in body must be of type boolean: "string"',
    },
    { when: 'tags are missing', patch: { spec: { tags: null } }, want: 'spec.tags: Required value' },
    { when: 'no order is set', patch: tags({ semver: null }), want: `spec.tags: Invalid value: ${remedy.order}` },
    { when: 'two orders are set', patch: tags({ newest: {} }), want: `spec.tags: Invalid value: ${remedy.order}` },
    {
      when: 'range is missing',
      patch: tags({ semver: { range: null } }),
      want: 'spec.tags.semver.range: Required value',
    },
    {
      when: 'range is no range',
      patch: tags({ semver: { range: 'latest' } }),
      want: `spec.tags.semver.range: Invalid value: "latest": ${remedy.range}`,
    },
    {
      when: 'range is empty',
      patch: tags({ semver: { range: '' } }),
      want: `spec.tags.semver.range: Invalid value: "": ${remedy.range}`,
    },
    {
      when: 'variant begins with a hyphen',
      patch: tags({ semver: { variant: '-alpine' } }),
      want: 'spec.tags.semver.variant: Invalid value: "-alpine": must be a tag suffix without its hyphen, for example alpine',
    },
    {
      when: 'direction is no direction',
      patch: tags({ semver: null, numerical: { direction: 'Up' } }),
      want: 'spec.tags.numerical.direction: Unsupported value: "Up": supported values: "Ascending", "Descending"',
    },
    {
      when: 'the fixed tag is missing',
      patch: tags({ semver: null, fixed: {} }),
      want: 'spec.tags.fixed.tag: Required value',
    },
    {
      when: 'the fixed tag is no tag',
      patch: tags({ semver: null, fixed: { tag: 'a b' } }),
      want: 'spec.tags.fixed.tag: Invalid value: "a b": must be a tag, for example latest',
    },
    {
      when: 'filter does not parse',
      patch: tags({ filter: '^v(.*$' }),
      want: `spec.tags.filter: Invalid value: "string": error parsing regexp: missing closing ): \`^v(.*$\` ${remedy.re2}`,
    },
    {
      when: 'filter looks ahead',
      patch: tags({ filter: '(?!x)' }),
      want: `spec.tags.filter: Invalid value: "string": error parsing regexp: invalid or unsupported Perl syntax: \`(?!\` ${remedy.re2}`,
    },
    {
      when: 'filter refers back',
      patch: tags({ filter: String.raw`(a)\1` }),
      want: `spec.tags.filter: Invalid value: "string": error parsing regexp: invalid escape sequence: \`\\1\` ${remedy.re2}`,
    },
    {
      when: 'filter explodes',
      patch: tags({ filter: '((a{1,100}){1,100}){1,100}' }),
      want: `spec.tags.filter: Invalid value: "string": error parsing regexp: invalid repeat count: \`{1,100}\` ${remedy.re2}`,
    },
    {
      when: 'filter is too long',
      patch: tags({ filter: 'a'.repeat(257) }),
      want: 'spec.tags.filter: Too long: may not be more than 256 bytes',
    },
    {
      when: 'extract has no filter',
      patch: tags({ extract: '$v' }),
      want: 'spec.tags.extract: Invalid value: extract needs a filter with named groups',
    },
    {
      when: 'an exclusion does not parse',
      patch: tags({ exclude: ['a', '('] }),
      want: `spec.tags.exclude[1]: Invalid value: "string": error parsing regexp: missing closing ): \`(\` ${remedy.re2}`,
    },
    {
      when: 'digest is in lower case',
      patch: tags({ digest: 'follow' }),
      want: 'spec.tags.digest: Unsupported value: "follow": supported values: "Follow", "Ignore"',
    },
    {
      when: 'downgrade is no choice',
      patch: tags({ downgrade: 'Yes' }),
      want: 'spec.tags.downgrade: Unsupported value: "Yes": supported values: "Never", "Allowed"',
    },
    {
      when: 'minimumAge is in days',
      patch: tags({ minimumAge: '3d' }),
      want: `spec.tags.minimumAge: Invalid value: "3d": ${remedy.duration('at most 8760h')}`,
    },
    {
      when: 'a platform has no architecture',
      patch: tags({ platforms: ['linux'] }),
      want: 'spec.tags.platforms[0]: Invalid value: "linux": must be os/architecture, for example linux/amd64',
    },
    {
      when: 'a platform is there twice',
      patch: tags({ platforms: ['linux/amd64', 'linux/amd64'] }),
      want: 'spec.tags.platforms[1]: Duplicate value: "linux/amd64"',
    },
    {
      when: 'platforms are empty',
      patch: tags({ platforms: [] }),
      want: 'spec.tags.platforms: Invalid value: 0: spec.tags.platforms in body should have at least 1 items',
    },
    { when: 'a target has no kind', patch: target({ kind: null }), want: 'spec.targets[0].kind: Required value' },
    {
      when: 'the kind of a target is none',
      patch: target({ kind: 'deployments' }),
      want: 'spec.targets[0].kind: Invalid value: "deployments": must be a kind, for example Deployment',
    },
    {
      when: 'a window has four cron fields',
      patch: windows({ cron: '0 22 * *' }),
      want: `spec.gates.windows.allow[0].cron: Invalid value: "0 22 * *": must be five cron fields (minute hour day month weekday), for example '0 22 * * 1-5'`,
    },
    ...[
      { timeZone: 'Mars/Base', found: '"string": unknown time zone Mars/Base evaluating rule' },
      { timeZone: 'Local', found: '"Local"' },
      { timeZone: '+02:00', found: '"+02:00"' },
    ].map(({ timeZone, found }) => ({
      when: `the time zone of a window is ${timeZone}`,
      patch: windows({ timeZone }),
      want: `spec.gates.windows.allow[0].timeZone: Invalid value: ${found}: must be a time zone of the IANA database, for example Europe/Berlin or UTC`,
    })),
    {
      when: 'windows are neither allowed nor denied',
      patch: { spec: { gates: { windows: {} } } },
      want: 'spec.gates.windows: Invalid value: set allow, deny or both',
    },
    {
      when: 'a pin names both a tag and a digest',
      patch: { spec: { pin: { tag: 'v1.0.0', digest: EXAMPLE_DIGEST } } },
      want: 'spec.pin: Invalid value: pin: set exactly one of tag, digest',
    },
    {
      when: 'a pin names nothing',
      patch: { spec: { pin: { reason: 'INC-42' } } },
      want: 'spec.pin: Invalid value: pin: set exactly one of tag, digest',
    },
    {
      when: 'the digest of a pin is none',
      patch: { spec: { pin: { digest: 'sha256:abc' } } },
      want: 'spec.pin.digest: Invalid value: "sha256:abc": must be a digest: sha256: and 64 hexadecimal digits',
    },
    {
      when: 'a companion is the image itself',
      patch: { spec: { companions: [{ image: 'ghcr.io/acme/web' }] } },
      want: 'spec.companions: Invalid value: a companion is another repository than image',
    },
    {
      when: 'a digest is pinned with companions',
      patch: { spec: { companions: [{ image: 'ghcr.io/acme/worker' }], pin: { digest: EXAMPLE_DIGEST } } },
      want: 'spec.pin: Invalid value: with companions a pin names a tag, because every repository has a digest of its own',
    },
    {
      when: 'a check asks two things',
      patch: verify({ http: { service: 'web' }, prometheus: { query: 'up', threshold: '> 0' } }),
      want: 'spec.rollout.verify[0]: Invalid value: check: set exactly one of http, job, prometheus',
    },
    {
      when: 'the path of a check does not begin with a slash',
      patch: verify({ http: { service: 'web', path: 'healthz' } }),
      want: 'spec.rollout.verify[0].http.path: Invalid value: "healthz": must begin with /',
    },
    {
      when: 'a threshold is no comparison',
      patch: verify({ prometheus: { query: 'up', threshold: '0.01' } }),
      want: `spec.rollout.verify[0].prometheus.threshold: Invalid value: "0.01": must be a comparison and a number, for example '< 0.01'`,
    },
    {
      when: 'a soak is longer than a day',
      patch: { spec: { rollout: { soak: '25h' } } },
      want: 'spec.rollout.soak: Invalid value: "25h": must be a duration such as 90s, 5m or 1h30m, at most 24h',
    },
    {
      when: 'a target has neither name nor selector',
      patch: target({ name: null }),
      want: 'spec.targets[0]: Invalid value: set either name or selector',
    },
    {
      when: 'a target has name and selector',
      patch: target({ selector: { matchLabels: { app: 'web' } } }),
      want: 'spec.targets[0]: Invalid value: set either name or selector',
    },
    {
      when: 'a target has no name of an object',
      patch: target({ name: 'Web_1' }),
      want: `spec.targets[0].name: Invalid value: "Web_1": ${remedy.object}`,
    },
    {
      when: 'a selector has no labels',
      patch: target({ name: null, selector: { matchLabels: {} } }),
      want: 'spec.targets[0].selector.matchLabels: Invalid value: needs at least one label: an empty selector would take every workload of the kind',
    },
    {
      when: 'a selector is empty',
      patch: target({ name: null, selector: {} }),
      want: 'spec.targets[0].selector.matchLabels: Required value',
    },
    {
      when: 'a selector has labels that cannot exist',
      patch: target({ name: null, selector: { matchLabels: { 'a b': 'c' } } }),
      want: 'spec.targets[0].selector.matchLabels: Invalid value: must be labels as Kubernetes allows them, for example app: web',
    },
    {
      when: 'a container has no name of one',
      patch: target({ containers: ['Web'] }),
      want: 'spec.targets[0].containers[0]: Invalid value: "Web": must be the name of a container',
    },
    {
      when: 'there are too many targets',
      patch: { spec: { targets: tooManyTargets } },
      want: 'spec.targets: Too many: 65: must have at most 64 items',
    },
    {
      when: 'progressDeadline is nothing',
      patch: { spec: { rollout: { progressDeadline: '0s' } } },
      want: `spec.rollout.progressDeadline: Invalid value: "0s": ${remedy.duration('between 1s and 24h')}`,
    },
    {
      when: 'onForeignChange is no choice',
      patch: { spec: { rollout: { onForeignChange: 'Ignore' } } },
      want: 'spec.rollout.onForeignChange: Unsupported value: "Ignore": supported values: "Hold", "Reassert"',
    },
    {
      when: 'historyLimit is zero',
      patch: { spec: { rollout: { historyLimit: 0 } } },
      want: 'spec.rollout.historyLimit: Invalid value: 0: spec.rollout.historyLimit in body should be greater than or equal to 1',
    },
    {
      when: 'historyLimit is a word',
      patch: { spec: { rollout: { historyLimit: 'ten' } } },
      want: 'spec.rollout.historyLimit: Invalid value: "string": spec.rollout.historyLimit in body must be of type integer: "string"',
    },
    {
      when: 'a pull secret has no name of an object',
      patch: { spec: { registry: { imagePullSecrets: [{ name: 'A B' }] } } },
      want: `spec.registry.imagePullSecrets[0].name: Invalid value: "A B": ${remedy.object}`,
    },
    {
      when: 'a pull secret is there twice',
      patch: { spec: { registry: { imagePullSecrets: [{ name: 'a' }, { name: 'a' }] } } },
      want: 'spec.registry.imagePullSecrets[1]: Duplicate value: {"name":"a"}',
    },
    {
      when: 'a CA is in no known kind',
      patch: { spec: { registry: { caBundleRef: { kind: 'File', name: 'ca' } } } },
      want: 'spec.registry.caBundleRef.kind: Unsupported value: "File": supported values: "ConfigMap", "Secret"',
    },
    {
      when: 'the name is too long',
      patch: { metadata: { name: 'a'.repeat(53) } },
      want: '<nil>: Invalid value: metadata.name: at most 52 characters, because rollouts are named after the policy',
    },
    { when: 'spec is missing', patch: { spec: null }, want: 'spec: Required value' },
  ])('is refused with one sentence when $when', async ({ patch, want }) => {
    const answer = await tryToCreate(POLICIES, policyManifest(patch));

    expect(refusals(answer)).toEqual([want]);
    expect(answer.status).toBe(422);
  });

  it.each([
    { when: 'a field is misspelt', patch: tags({ semvr: { range: '1.x' } }), field: 'spec.tags.semvr' },
    {
      when: 'a reference leaves the namespace',
      patch: { spec: { registry: { imagePullSecrets: [{ name: 'a', namespace: 'b' }] } } },
      field: 'spec.registry.imagePullSecrets[0].namespace',
    },
  ])('is refused by name when $when', async ({ patch, field }) => {
    const answer = await tryToCreate(POLICIES, policyManifest(patch));

    expect(answer.status).toBe(400);
    expect(refusals(answer)[0]).toContain(`unknown field "${field}"`);
  });

  it('counts a bare `newest:` as not set', async () => {
    const spec = { ...(policyManifest()['spec'] as JsonObject), tags: { newest: null } };

    expect(refusals(await tryToCreate(POLICIES, { ...policyManifest(), spec }))).toEqual([
      `spec.tags: Invalid value: ${remedy.order}`,
    ]);
  });
});

describe('an ImagePolicy that exists', () => {
  beforeAll(() => server.apply({ ...policyManifest({ metadata: { namespace: 'default' } }) }));

  it('keeps its image', async () => {
    const answer = await server.request('PATCH', `${POLICIES}/web`, { spec: { image: 'ghcr.io/acme/other' } }, MERGE);

    expect(refusals(answer)).toEqual(['spec.image: Forbidden: image cannot be changed: create another policy']);
  });

  it('may change everything else', async () => {
    const answer = await server.request(
      'PATCH',
      `${POLICIES}/web`,
      { spec: { suspend: true, tags: { semver: null, newest: {} } } },
      MERGE,
    );

    expect(answer.status).toBe(200);
  });

  it('keeps a status that was applied, and shows it in its columns', async () => {
    const { body } = await server.request('GET', `${POLICIES}/web`);
    const { generation } = (body as { metadata: { generation: number } }).metadata;
    const digest = `sha256:${'cd'.repeat(32)}`;
    const status = {
      observedGeneration: generation,
      conditions: [
        {
          type: 'Ready',
          status: 'False',
          observedGeneration: generation,
          lastTransitionTime: '2026-01-02T03:04:05Z',
          reason: 'Waiting',
          message: 'v1.1.0 waits for the workload',
        },
      ],
      current: { images: [{ image: 'ghcr.io/acme/web', tag: 'v1.0.0', digest }] },
      candidate: {
        tag: 'v1.1.0',
        digest,
        waiting: 'workload',
        waitingFor: [{ gate: 'workload', answer: 'Waiting', reason: 'WorkloadBusy', message: 'web-3 moves it' }],
      },
      tags: { total: 12, considered: 2, rejectedByReason: { OutOfRange: 10 } },
      lastRollout: 3,
    };
    const apply = await server.request(
      'PATCH',
      `${POLICIES}/web/status?fieldManager=slipway`,
      { apiVersion: API_GROUP_VERSION, kind: 'ImagePolicy', status },
      APPLY,
    );

    const { body: after } = await server.request('GET', `${POLICIES}/web`);
    const columns = await server.kubectl('get', 'slpol', 'web');
    const wide = await server.kubectl('get', 'slipway', '-o', 'wide');

    expect(apply.status).toBe(200);
    expect((after as { status: unknown }).status).toEqual(status);
    expect((after as { metadata: { generation: number } }).metadata.generation).toBe(generation);
    expect(columns.stdout).toMatch(
      /^NAME +IMAGE +CURRENT +CANDIDATE +WAITING FOR +READY +AGE\nweb +ghcr.io\/acme\/web +v1.0.0 +v1.1.0 +workload +False +\d+s\n$/,
    );
    expect(wide.stdout).toMatch(/DIGEST +MESSAGE\n.*sha256:(?:cd){32} +v1\.1\.0 waits for the workload\n/);
  });

  afterAll(() => server.request('DELETE', `${POLICIES}/web`));

  it('loses a status that was sent with the spec', async () => {
    const { body } = await tryToCreate(
      POLICIES,
      policyManifest({ metadata: { name: 'other' }, status: { lastRollout: 9 } }),
    );

    expect((body as { status?: unknown }).status).toBeUndefined();
  });
});

describe('an ImageRollout', () => {
  const setStatus = (name: string, status: JsonObject | null): Promise<RawAnswer> =>
    server.request('PATCH', `${ROLLOUTS}/${name}/status`, { status }, MERGE);
  const create = async (name: string, patch: JsonObject = {}): Promise<void> => {
    const answer = await server.request(
      'POST',
      ROLLOUTS,
      rolloutManifest(mergePatch({ metadata: { name } }, patch) as JsonObject),
    );
    expect([answer.status, answer.body]).toEqual([201, expect.anything()]);
  };

  it('never changes its spec, and may change its labels', async () => {
    await create('fixed-1');

    const spec = await server.request('PATCH', `${ROLLOUTS}/fixed-1`, { spec: { trigger: 'Reassert' } }, MERGE);
    const added = await server.request('PATCH', `${ROLLOUTS}/fixed-1`, { spec: { decision: { gates: [] } } }, MERGE);
    const labels = await server.request('PATCH', `${ROLLOUTS}/fixed-1`, { metadata: { labels: { a: 'b' } } }, MERGE);

    const sentence = 'spec: Invalid value: a rollout cannot be changed: it is the record of what was decided';
    expect([refusals(spec), refusals(added), labels.status]).toEqual([[sentence], [sentence], 200]);
  });

  it('goes through its states, and never changes once it is finished', async () => {
    await create('finished-1');

    for (const state of ['Pending', 'Applying', 'Verifying', 'Succeeded']) {
      expect((await setStatus('finished-1', { state, message: state })).status).toBe(200);
    }

    expect((await setStatus('finished-1', { state: 'Succeeded', message: 'Succeeded' })).status).toBe(200);
    expect(refusals(await setStatus('finished-1', { message: 'no' }))).toEqual([
      'status: Invalid value: a finished rollout never changes',
    ]);
    expect(refusals(await setStatus('finished-1', { state: 'Pending' }))).toEqual([
      'status: Invalid value: a finished rollout never changes',
    ]);
    expect(refusals(await setStatus('finished-1', null))).toEqual([
      '<nil>: Invalid value: the status of a rollout cannot be removed',
    ]);
    expect((await server.kubectl('get', 'slroll', 'finished-1')).stdout).toMatch(
      /^NAME +POLICY +DIRECTION +TAG +TRIGGER +STATE +AGE\nfinished-1 +web +Forward +v1.1.0 +NewTag +Succeeded +\d+s\n$/,
    );
    expect((await server.request('DELETE', `${ROLLOUTS}/finished-1`)).status).toBe(200);
  });

  it('is written and finished at the largest size that fits into etcd', async () => {
    const long = 'a'.repeat(300);
    const containers = Array.from({ length: 16 }, (_, index) => ({
      name: `c${index}`,
      init: false,
      from: long,
      to: `${long}b`,
    }));
    const targets = Array.from({ length: 100 }, (_, index) => ({
      kind: 'Deployment',
      name: `w${index}`,
      uid: `u${index}`,
      containers,
    }));
    await create('large-1', { spec: { targets } });
    const progress = (state: string): JsonObject[] =>
      targets.map(({ kind, name }) => ({
        kind,
        name,
        state,
        message: 'healthy '.repeat(25),
        resourceVersion: '1234567',
      }));

    const first = await setStatus('large-1', { state: 'Verifying', targets: progress('Applied') });
    const last = await setStatus('large-1', { state: 'Succeeded', targets: progress('Healthy') });
    const again = await setStatus('large-1', { message: 'no' });

    expect([first.status, last.status]).toEqual([200, 200]);
    expect(refusals(again)).toEqual(['status: Invalid value: a finished rollout never changes']);
  });

  it.each([
    {
      when: 'the digest is cut short',
      patch: { images: [{ image: 'a', tag: 'b', digest: 'sha256:abc' }] },
      want: 'spec.images[0].digest: Invalid value: "sha256:abc": spec.images[0].digest in body should match \'^sha256:[a-f0-9]{64}$\'',
    },
    {
      when: 'nothing would move',
      patch: { targets: [] },
      want: 'spec.targets: Invalid value: 0: spec.targets in body should have at least 1 items',
    },
    { when: 'the decision is missing', patch: { decision: null }, want: 'spec.decision: Required value' },
    {
      when: 'the time is no time',
      patch: { decision: { time: 'now' } },
      want: 'spec.decision.time: Invalid value: "now": spec.decision.time in body must be of type date-time: "now"',
    },
  ])('is refused when $when', async ({ patch, want }) => {
    expect(refusals(await tryToCreate(ROLLOUTS, rolloutManifest({ spec: patch })))).toEqual([want]);
  });
});

describe('the examples', () => {
  it('apply as they are', async () => {
    const folder = join(ROOT, 'examples');
    const files = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(0);

    for (const file of files) {
      const text = await readFile(join(folder, file), 'utf8');
      for (const document of parseAllDocuments(text)) expect(document.errors).toEqual([]);
      const applied = await server.kubectl('create', '--dry-run=server', '--validate=strict', '-f', join(folder, file));
      expect([file, applied.stderr]).toEqual([file, '']);
    }
  });
});

describe('the CRD files', () => {
  it('mean the same to a reader of YAML 1.1 and of YAML 1.2', async () => {
    for (const file of await readdir(join(ROOT, 'crds'))) {
      const text = await readFile(join(ROOT, 'crds', file), 'utf8');
      expect(parse(text, { version: '1.1' })).toEqual(parse(text, { version: '1.2' }));
    }
  });
});

describe('a new ImageDecision', () => {
  const DECISIONS = `/apis/${API_GROUP_VERSION}/namespaces/default/imagedecisions`;
  const decision = (spec: JsonObject): JsonObject => ({
    apiVersion: API_GROUP_VERSION,
    kind: 'ImageDecision',
    metadata: { generateName: 'web-' },
    spec: { policy: 'web', by: 'jane', decision: 'Approve', digest: EXAMPLE_DIGEST, ...spec },
  });

  it.each([
    { when: 'it approves a digest', spec: { expirationTime: '2026-12-31T00:00:00Z', reason: 'tested' } },
    { when: 'it rejects one', spec: { decision: 'Reject' } },
    { when: 'it releases one', spec: { decision: 'Release' } },
  ])('is taken when $when', async ({ spec }) => {
    expect((await tryToCreate(DECISIONS, decision(spec))).status).toBe(201);
  });

  it.each([
    {
      when: 'an approval names no digest',
      manifest: mergePatch(decision({}), { spec: { digest: null } }) as JsonObject,
      want: 'spec: Invalid value: Approve, Reject and Release need the digest they are about; Resume has none',
    },
    {
      when: 'a Resume names one',
      manifest: decision({ decision: 'Resume' }),
      want: 'spec: Invalid value: Approve, Reject and Release need the digest they are about; Resume has none',
    },
    {
      when: 'a Reject expires',
      manifest: decision({ decision: 'Reject', expirationTime: '2026-12-31T00:00:00Z' }),
      want: 'spec.expirationTime: Invalid value: only an Approve expires',
    },
  ])('is refused with one sentence when $when', async ({ manifest, want }) => {
    expect(refusals(await tryToCreate(DECISIONS, manifest))).toEqual([want]);
  });

  it('never changes', async () => {
    const { body } = await server.request('POST', DECISIONS, decision({}));
    const { name } = (body as { metadata: { name: string } }).metadata;

    const answer = await server.request(
      'PATCH',
      `${DECISIONS}/${name}`,
      { spec: { reason: 'something else' } },
      'application/merge-patch+json',
    );

    expect(refusals(answer)).toEqual(['spec: Invalid value: a decision cannot be changed: make another one']);
  });
});
