// The rarer days of a policy: tags that move, vanish or change their meaning, workloads and policies that come and go in
// the middle of a rollout, logins that are wrong at first. Most need the registry to be asked a second time, so all
// scenes play at once, each in a namespace and a repository of its own, and each test awaits the end of one.

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../../operator/api/conditions.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY } from '../../support/monitor/monitor.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import type { ImageOptions } from '../../support/registries-image.ts';
import { LOGIN, ScriptedRegistry } from '../../support/scripted-registry.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(120_000);

/** Two polls and what follows from them. */
const SECOND_POLL_MS = 45_000;
const SEMVER = { semver: { range: '1.x' } };
const WEB = [{ kind: 'Deployment', name: 'web' }];

interface Scene {
  readonly shop: Shop;
  readonly path: string;
  readonly image: string;
  push(tag: string, options?: ImageOptions): string;
  /** The image of a tag as it was last pushed here. */
  pinned(tag: string): string;
  /** Complete and failed listings of the repository so far. */
  listings(): number;
}

let controlPlane: ControlPlane;
let registry: ScriptedRegistry;
let guarded: ScriptedRegistry;
let operator: TestOperator;

async function open(name: string, at: ScriptedRegistry): Promise<Scene> {
  const shop = await Shop.open(controlPlane, name);
  const path = `${name}/web`;
  const image = `${at.host}/${path}`;
  const digests = new Map<string, string>();
  return {
    shop,
    path,
    image,
    push: (tag, options) => {
      const digest = at.push(path, tag, options);
      digests.set(tag, digest);
      return digest;
    },
    pinned: (tag) => `${image}:${tag}@${digests.get(tag) ?? 'unknown'}`,
    listings: () => at.requests.filter(({ kind, repository }) => kind === 'list' && repository === path).length,
  };
}

function dockerConfig(name: string, namespace: string, document: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': document },
  };
}

function login(): string {
  return JSON.stringify({ auths: { [guarded.host]: LOGIN } });
}

const SCENES: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'a tag that is pushed again rolls out'({ shop, image, push, pinned }) {
    push('v1.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await shop.settled('web', 'UpToDate');

    push('v1.0.0');
    const [rollout] = await shop.rolledOut('web', 1, 'Succeeded', SECOND_POLL_MS);

    expect(rollout?.spec.trigger).toBe('NewDigest');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
  },

  async 'a tag that is pushed again stays where digests are ignored, and a higher one rolls out'(scene) {
    const { shop, image, push, pinned, listings } = scene;
    push('v1.0.0');
    const old = pinned('v1.0.0');
    await shop.deploy('web', { containers: { web: old } });
    await shop.policy('web', { image, tags: { ...SEMVER, digest: 'Ignore' }, targets: WEB });
    await shop.settled('web', 'UpToDate');

    push('v1.0.0');
    const before = listings();
    await waitFor('the registry was asked again', () => listings() > before, { timeoutMs: SECOND_POLL_MS });
    push('v1.0.1');
    expect(await shop.images('web')).toEqual({ web: old });

    using _controllers = shop.playControllers(['web', 'Deployment']);
    const [rollout] = await shop.rolledOut('web', 1, 'Succeeded', SECOND_POLL_MS);
    expect(rollout?.spec).toMatchObject({ trigger: 'NewTag', images: [{ tag: 'v1.0.1' }] });
  },

  async 'a fixed tag is followed when it is moved back'({ shop, image, push, pinned }) {
    push('stable', { nonce: 'first' });
    const first = pinned('stable');
    push('stable', { nonce: 'second' });
    await shop.deploy('web', { containers: { web: pinned('stable') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: { fixed: { tag: 'stable' } }, targets: WEB });
    await shop.settled('web', 'UpToDate');

    push('stable', { nonce: 'first' });
    await shop.rolledOut('web', 1, 'Succeeded', SECOND_POLL_MS);

    expect(await shop.images('web')).toEqual({ web: first });
  },

  async 'a running tag that is gone gives way to a lower one only where that is allowed'({
    shop,
    image,
    push,
    pinned,
    path,
    listings,
  }) {
    push('v1.0.0');
    push('v1.1.0');
    for (const name of ['web', 'never']) await shop.deploy(name, { containers: { web: pinned('v1.1.0') } });
    registry.deleteTag(path, 'v1.1.0');
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: { ...SEMVER, downgrade: 'Allowed' }, targets: WEB });
    await shop.policy('never', { image, tags: SEMVER, targets: [{ kind: 'Deployment', name: 'never' }] });

    const [rollout] = await shop.rolledOut('web', 1, 'Succeeded', SECOND_POLL_MS);

    expect(listings()).toBeGreaterThanOrEqual(2);
    expect(rollout?.spec.decision.message).toContain('gone from the registry');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
    expect(await shop.images('never')).toEqual({ web: pinned('v1.1.0') });
    expect(await shop.readRollouts('never')).toEqual([]);
  },

  async 'the same digest under a higher tag is selected, and nothing is written'({ shop, image, push, pinned }) {
    push('v1.0.0', { nonce: 'same' });
    push('v1.1.0', { nonce: 'same' });
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const { metadata } = await shop.workload('web');
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    const { status } = await shop.settled('web', 'UpToDate');

    expect(status?.selected?.tag).toBe('v1.1.0');
    expect((await shop.workload('web')).metadata.resourceVersion).toBe(metadata.resourceVersion);
    expect(await shop.readRollouts('web')).toEqual([]);
  },

  async 'the older of several targets moves by the order newest'({ shop, image, push, pinned }) {
    push('zebra', { created: new Date('2026-01-01') });
    push('mango', { created: new Date('2026-02-01') });
    push('apple', { created: new Date('2026-03-01') });
    await shop.deploy('a', { containers: { web: pinned('apple') } });
    await shop.deploy('b', { containers: { web: pinned('zebra') } });
    await shop.deploy('c', { containers: { web: pinned('mango') } });
    using _controllers = shop.playControllers(['b', 'Deployment'], ['c', 'Deployment']);
    await shop.policy('web', {
      image,
      tags: { newest: {} },
      targets: ['a', 'b', 'c'].map((name) => ({ kind: 'Deployment', name })),
    });

    const [rollout] = await shop.rolledOut('web', 1);

    expect(rollout?.spec.targets.map(({ name }) => name)).toEqual(['b', 'c']);
    const { status } = await shop.settled('web', 'UpToDate');
    expect(status?.current?.images).toMatchObject([{ tag: 'apple' }]);
  },

  async 'a policy that is deleted in the middle leaves the workload, and a new one of its name goes on'(scene) {
    const { shop, image, push, pinned } = scene;
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const spec = { image, tags: SEMVER, targets: WEB };
    await shop.policy('web', spec);
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));

    await shop.remove('imagepolicies/web');
    const [rollout] = await shop.rolledOut('web', 1, 'Aborted');
    expect(rollout?.status?.message).toContain('the policy is gone');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.1.0') });
    expect((await shop.workload('web')).metadata.annotations ?? {}).not.toHaveProperty(['slipway.dev/rollout']);

    // Nobody collects garbage here, so the old rollout still has the name that the new policy would use first.
    push('v1.2.0');
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', spec);
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.2.0'));
    const { status } = await shop.settled('web', 'UpToDate');
    expect(status).toMatchObject({ lastRollout: 2, current: { rollout: 'web-2' } });
  },

  async 'a rollout that is deleted in the middle counts as aborted, and what it wrote as ours'({
    shop,
    image,
    push,
    pinned,
  }) {
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));

    await shop.remove('imagerollouts/web-1');

    const { status } = await shop.settled('web', 'UpToDate');
    expect(status?.targets).toMatchObject([{ image: pinned('v1.1.0') }]);
    expect(await shop.readRollouts('web')).toEqual([]);
  },

  async 'a workload that is deleted in the middle and created anew is met anew'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    await waitFor('the image is written', async () => (await shop.images('web'))['web'] === pinned('v1.1.0'));

    await shop.remove(shop.path('Deployment', 'web'));
    const [rollout] = await shop.rolledOut('web', 1, 'Aborted');
    expect(rollout?.status?.targets).toMatchObject([{ state: 'Gone' }]);
    await shop.settled('web', 'TargetNotFound');

    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    const { status } = await shop.settled('web', 'UpToDate');
    expect(status?.lastRollout).toBe(2);
    expect(await shop.images('web')).toEqual({ web: pinned('v1.1.0') });
  },

  async 'a hundred workloads move together, and one more stalls'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v1.1.0');
    const names = Array.from({ length: 101 }, (_, index) => `job-${index}`);
    await controlPlane.apply(
      ...names.map((name) => ({
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: { name, namespace: shop.namespace, labels: { tier: 'night' } },
        spec: {
          schedule: '0 0 1 1 *',
          suspend: true,
          jobTemplate: {
            spec: {
              template: {
                spec: { restartPolicy: 'Never', containers: [{ name: 'web', image: pinned('v1.0.0') }] },
              },
            },
          },
        },
      })),
    );
    await shop.policy('web', {
      image,
      tags: SEMVER,
      targets: [{ kind: 'CronJob', selector: { matchLabels: { tier: 'night' } } }],
    });
    const { status } = await shop.settled('web', 'TooManyTargets');
    expect(findCondition(status?.conditions, 'Stalled')?.message).toContain('match 101 workloads');
    expect(await shop.readRollouts('web')).toEqual([]);

    await shop.remove(shop.path('CronJob', 'job-100'));
    const [rollout] = await shop.rolledOut('web', 1, 'Succeeded', 60_000);

    expect(rollout?.spec.targets).toHaveLength(100);
    await shop.settled('web', 'UpToDate');
    const writes = writesOf(await controlPlane.auditEvents(), shop.namespace).filter(
      ({ objectRef }) => objectRef?.resource === 'cronjobs',
    );
    // The image with the mark, and the mark off again.
    expect(writes).toHaveLength(200);
  },

  async 'a hold outlasts a spec that cannot be understood'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.1.0') } });
    const spec = { image, tags: SEMVER, targets: WEB };
    await shop.policy('web', spec);
    await shop.settled('web', 'UpToDate');
    await shop.setImage('web', 'web', pinned('v1.0.0'));
    const held = await shop.settled('web', 'ManualHold');

    await shop.policy('web', { ...spec, tags: { ...SEMVER, filter: '[a-z]{900}[a-z]{900}' } });
    await shop.settled('web', 'InvalidFilter');
    await shop.request(
      'PATCH',
      `${shop.api}/imagepolicies/web`,
      { spec: { tags: { filter: null } } },
      'application/merge-patch+json',
    );
    const { status } = await shop.settled('web', 'ManualHold');

    expect(findCondition(status?.conditions, 'ManualHold')?.message).toBe(
      findCondition(held.status?.conditions, 'ManualHold')?.message,
    );
    expect(await shop.readRollouts('web')).toEqual([]);
  },

  async 'what only the operator can judge stalls with a remedy, and is forgiven when it is repaired'({
    shop,
    image,
    push,
  }) {
    push('v1.0.0');
    const broken = [
      { name: 'costly', tags: { ...SEMVER, filter: '.{1000}' }, reason: 'InvalidFilter', says: 'use fewer or smaller' },
      { name: 'no-range', tags: { semver: { range: '1.2.3-01' } }, reason: 'InvalidRange', says: 'write for example' },
      {
        name: 'no-group',
        tags: { ...SEMVER, filter: '^v(?P<version>.*)$', extract: '$nope' },
        reason: 'InvalidExtract',
        says: 'its groups are $version',
      },
    ];
    for (const { name, tags } of broken) await shop.policy(name, { image, tags });
    await shop.policy('sane', { image, tags: SEMVER });

    for (const { name, reason, says } of broken) {
      const { status } = await shop.settled(name, reason);
      expect(findCondition(status?.conditions, 'Stalled')).toMatchObject({ status: 'True', reason });
      expect(findCondition(status?.conditions, 'Stalled')?.message).toContain(says);
    }
    await shop.settled('sane', 'Selected');

    for (const { name } of broken) {
      const repaired = { spec: { tags: { filter: null, extract: null, ...SEMVER } } };
      await shop.request('PATCH', `${shop.api}/imagepolicies/${name}`, repaired, 'application/merge-patch+json');
      const { status } = await shop.settled(name, 'Selected');
      expect(findCondition(status?.conditions, 'Stalled')).toBeUndefined();
    }
  },

  async 'a foreign image above every tag is taken back where told to'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v2.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { onForeignChange: 'Reassert' } });
    await shop.settled('web', 'UpToDate');

    await shop.setImage('web', 'web', pinned('v2.0.0'));
    const [rollout] = await shop.rolledOut('web', 1);

    expect(rollout?.spec.trigger).toBe('Reassert');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
  },

  async 'a write that an admission policy refuses is tried for as long as the deadline, and quoted'(scene) {
    const { shop, image, push, pinned } = scene;
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const name = `frozen.${shop.namespace}.test`;
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': shop.namespace } };
    const resourceRules = [
      { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['deployments'] },
    ];
    await controlPlane.apply(
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicy',
        metadata: { name },
        spec: {
          matchConstraints: { namespaceSelector, resourceRules },
          validations: [
            { expression: 'object.spec.template == oldObject.spec.template', message: 'no change before christmas' },
          ],
        },
      },
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicyBinding',
        metadata: { name },
        spec: { policyName: name, validationActions: ['Deny'] },
      },
    );
    await shop.deploy('probe', { containers: { web: pinned('v1.0.0') } });
    let count = 0;
    await waitFor('the admission policy is in force', () =>
      shop.setImage('probe', 'web', `${image}:probe-${(count += 1)}`).then(
        () => false,
        () => true,
      ),
    );
    await shop.policy('web', { image, tags: SEMVER, targets: WEB, rollout: { progressDeadline: '15s' } });

    const [rollout] = await shop.rolledOut('web', 1, 'RolledBack', SECOND_POLL_MS);

    expect(rollout?.status?.failure).toMatchObject({
      class: 'Environment',
      reason: 'WriteRefused',
      message: expect.stringContaining('no change before christmas'),
    });
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
    const refused = (await controlPlane.auditEvents()).filter(
      ({ objectRef, verb, responseStatus }) =>
        objectRef?.namespace === shop.namespace && verb === 'patch' && responseStatus?.code === 422,
    );
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(10);
  },

  async 'a webhook that is broken for good keeps no result from being told'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    const name = `broken.${shop.namespace}.test`;
    await controlPlane.apply({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name },
      webhooks: [
        {
          name,
          clientConfig: { url: 'https://127.0.0.1:1/' },
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': shop.namespace } },
          rules: [{ apiGroups: ['apps'], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['deployments'] }],
          matchConditions: [
            {
              name: 'takes-the-mark-off',
              expression:
                "has(oldObject.metadata.annotations) && 'slipway.dev/rollout' in oldObject.metadata.annotations && " +
                "!(has(object.metadata.annotations) && 'slipway.dev/rollout' in object.metadata.annotations)",
            },
          ],
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
        },
      ],
    });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });

    await shop.rolledOut('web', 1, 'Succeeded', SECOND_POLL_MS);

    expect((await shop.workload('web')).metadata.annotations).toHaveProperty(['slipway.dev/rollout']);
    push('v1.2.0');
    await shop.rolledOut('web', 2, 'Succeeded', SECOND_POLL_MS);
    expect(await shop.images('web')).toEqual({ web: pinned('v1.2.0') });
  },

  async 'others may write the policy all the time'({ shop, image, push, pinned }) {
    push('v1.0.0');
    push('v1.1.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    using _controllers = shop.playControllers(['web', 'Deployment']);
    await shop.policy('web', { image, tags: SEMVER, targets: WEB });
    let isOver = false;
    const disturbing = (async (): Promise<void> => {
      for (let count = 0; !isOver; count += 1) {
        await shop.request(
          'PATCH',
          `${shop.api}/imagepolicies/web`,
          { metadata: { annotations: { count: String(count) } } },
          'application/merge-patch+json',
        );
      }
    })();

    try {
      await shop.rolledOut('web', 1);
    } finally {
      isOver = true;
      await disturbing;
    }
    await shop.settled('web', 'UpToDate');
    expect(await shop.readRollouts('web')).toHaveLength(1);
  },
};

const LOGIN_SCENES: typeof SCENES = {
  async 'a secret that is repaired is read at the next try'({ shop, image, push }) {
    push('v1.0.0');
    await controlPlane.apply(dockerConfig('login', shop.namespace, `{"auths": {"${guarded.host}": {"auth": "bm8="}}}`));
    await shop.policy('web', { image, tags: SEMVER, registry: { imagePullSecrets: [{ name: 'login' }] } });
    const broken = await shop.settled('web', 'InvalidPullSecret');
    expect(findCondition(broken.status?.conditions, 'Ready')?.message).toContain('login');
    expect(JSON.stringify(broken)).not.toContain('bm8=');

    await controlPlane.apply(dockerConfig('login', shop.namespace, login()));

    await shop.settled('web', 'Selected', SECOND_POLL_MS);
  },

  async 'a service account and its secret may come later'({ shop, image, push }) {
    push('v1.0.0');
    await shop.policy('web', { image, tags: SEMVER, registry: { serviceAccountName: 'puller' } });
    await shop.settled('web', 'ServiceAccountNotFound');

    await controlPlane.apply(dockerConfig('login', shop.namespace, login()), {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'puller', namespace: shop.namespace },
      imagePullSecrets: [{ name: 'not-there' }, { name: 'login' }],
    });

    await shop.settled('web', 'Selected', SECOND_POLL_MS);
  },

  async 'a certificate bundle may come later'({ shop, image, push }) {
    push('v1.0.0');
    const bundle = (data: object): object => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'corp-ca', namespace: shop.namespace },
      data,
    });
    await controlPlane.apply(dockerConfig('login', shop.namespace, login()), bundle({ 'other.crt': 'none' }));
    await shop.policy('web', {
      image,
      tags: SEMVER,
      registry: {
        imagePullSecrets: [{ name: 'login' }],
        caBundleRef: { kind: 'ConfigMap', name: 'corp-ca', key: 'ca.crt' },
      },
    });
    const { status } = await shop.settled('web', 'CaBundleNotFound');
    expect(findCondition(status?.conditions, 'Ready')?.message).toContain('has no key ca.crt');

    await controlPlane.apply(bundle({ 'ca.crt': controlPlane.ca }));

    await shop.settled('web', 'Selected', SECOND_POLL_MS);
  },

  async 'a login that is taken away changes a condition, and no image'({ shop, image, push, pinned }) {
    push('v1.0.0');
    await shop.deploy('web', { containers: { web: pinned('v1.0.0') } });
    await controlPlane.apply(dockerConfig('login', shop.namespace, login()));
    const spec = { image, tags: SEMVER, targets: WEB, registry: { imagePullSecrets: [{ name: 'login' }] } };
    await shop.policy('web', spec);
    await shop.settled('web', 'UpToDate');
    push('v1.1.0');
    const wrong = JSON.stringify({ auths: { [guarded.host]: { username: 'mate', password: 'walked the plank' } } });
    await controlPlane.apply(dockerConfig('other', shop.namespace, wrong));

    await shop.policy('web', { ...spec, registry: { imagePullSecrets: [{ name: 'other' }] } });
    const { status } = await shop.settled('web', 'Unauthorized');

    expect(status?.selected?.tag).toBe('v1.0.0');
    expect(JSON.stringify(status)).not.toContain('plank');
    expect(await shop.images('web')).toEqual({ web: pinned('v1.0.0') });
    expect(await shop.readRollouts('web')).toEqual([]);
  },
};

const ALL = [
  ...Object.entries(SCENES).map(([title, play]) => ({ title, play, at: () => registry })),
  ...Object.entries(LOGIN_SCENES).map(([title, play]) => ({ title, play, at: () => guarded })),
];
const played = new Map<string, Promise<unknown>>();

beforeAll(async () => {
  [controlPlane, registry, guarded] = await Promise.all([
    startControlPlane({ auditPolicy: MONITOR_AUDIT_POLICY }),
    ScriptedRegistry.start(),
    ScriptedRegistry.start({ auth: 'basic' }),
  ]);
  await installCrds(controlPlane);
  operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: reaching(registry, guarded),
  });
  for (const [index, { title, play, at }] of ALL.entries()) {
    const end = open(`edge-${index}`, at())
      .then(play)
      .then(
        () => undefined,
        (error: unknown) => error,
      );
    played.set(title, end);
  }
}, 120_000);

afterAll(async () => {
  await Promise.all(played.values());
  await operator.stop();
  await Promise.all([registry.stop(), guarded.stop(), controlPlane.stop()]);
}, 120_000);

describe('on rarer days', () => {
  it.each(ALL.map(({ title }) => title))('%s', async (title) => {
    const error = await played.get(title);
    if (error !== undefined) throw error as Error;
  });

  it('breaks no promise that the monitor knows', async () => {
    await Promise.all(played.values());
    const events = await controlPlane.auditEvents();

    expect(writesOf(events).length).toBeGreaterThan(50);
    expect(findViolations(events, { secrets: [LOGIN.password], isOver: false })).toEqual([]);
  });
});
