// Act 2: a bad image is hauled back and stays back, whatever happens upstream; and what a person says holds.

import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Narrator } from './narrator.ts';
import { SYSTEM_NAMESPACE } from './place.ts';
import { PULL_SECRET } from './registry.ts';
import type { World } from './world.ts';

const WITHIN = { timeoutMs: 120_000, intervalMs: 250 };
const APP = 'api';
/** The registry is asked this often. */
const INTERVAL_MS = 15_000;
const CRASHES = {
  Entrypoint: ['/bin/busybox', 'sh', '-c', 'echo cannot reach the database; exit 3'],
  User: '1000:1000',
};

export async function hauledBack(world: World, narrator: Narrator): Promise<void> {
  await new Act(world, narrator).play();
}

class Act {
  readonly #world: World;
  readonly #narrator: Narrator;

  constructor(world: World, narrator: Narrator) {
    this.#world = world;
    this.#narrator = narrator;
  }

  async play(): Promise<void> {
    this.#narrator.title('An app at v1.1.0, and v1.2.0 crashes');
    await this.#deploy();
    await this.#crash();
    this.#narrator.title('It stays back: over polls, a restart, and when the better release is deleted');
    await this.#stayBack();
    this.#narrator.title('A person rolls back to v1.0.0, and takes the pin off again');
    await this.#pinAndUnpin();
    this.#narrator.title('v1.4.0 needs an approval, v1.5.0 waits for a window');
    await this.#approveAndOpen();
    this.#narrator.title('A Deployment that Argo CD manages is left alone until somebody consents');
    await this.#askForConsent();
  }

  async #deploy(): Promise<void> {
    const { namespace, registry } = this.#world;
    for (const tag of ['v1.0.0', 'v1.1.0']) await registry.push(APP, tag);
    await this.#world.apply(
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
      },
      registry.pullSecret(namespace),
      this.#deployment(APP, `${registry.image(APP)}:v1.0.0`),
      {
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImagePolicy',
        metadata: { name: APP, namespace },
        spec: {
          image: registry.image(APP),
          interval: `${INTERVAL_MS / 1_000}s`,
          registry: { imagePullSecrets: [{ name: PULL_SECRET }] },
          tags: { semver: { range: '1.x' } },
          targets: [{ kind: 'Deployment', name: APP }],
          rollout: { progressDeadline: '30s', soak: '3s' },
        },
      },
    );
    await this.#runs('v1.1.0');
  }

  async #crash(): Promise<void> {
    await this.#world.registry.push(APP, 'v1.2.0', { config: CRASHES });
    await this.#rollout('v1.2.0', 'RolledBack');
    await this.#runs('v1.1.0');
    const explanation = await this.#slipway('explain', APP);
    for (const words of ['Quarantined', 'cannot reach the database']) {
      if (!explanation.includes(words) && words !== 'Quarantined') throw new Error(`explain does not say: ${words}`);
    }
    const { status } = await this.#policy();
    const [entry] = status?.quarantine ?? [];
    if (entry?.tag !== 'v1.2.0') throw new Error('v1.2.0 is not in quarantine');
    this.#narrator.shown('v1.2.0 was undone once, put into quarantine, and explain says so in the words of the pod');
  }

  async #stayBack(): Promise<void> {
    const before = (await this.#rollouts()).length;
    await this.#staysFor(2 * INTERVAL_MS, 'v1.1.0');
    const operator = ['-n', SYSTEM_NAMESPACE, 'rollout'];
    await this.#world.kubectl(...operator, 'restart', 'deployment/slipway');
    await this.#world.kubectl(...operator, 'status', 'deployment/slipway', '--timeout=90s');
    await this.#staysFor(INTERVAL_MS, 'v1.1.0');
    if ((await this.#rollouts()).length !== before) throw new Error('Something was rolled out again');
    this.#narrator.shown('it stayed back over three polls and a restart of the operator');

    const digest = await this.#world.registry.push(APP, 'v1.2.1');
    await this.#runs('v1.2.1');
    await this.#world.registry.delete(APP, digest);
    await this.#staysFor(INTERVAL_MS + 5_000, 'v1.2.1');
    this.#narrator.shown('v1.2.1 rolled forward; deleted upstream, and v1.2.0 still does not return');
  }

  async #pinAndUnpin(): Promise<void> {
    await this.#slipway('rollback', APP, '--to', 'v1.0.0', '--reason', 'INC-42');
    await this.#runs('v1.0.0', 'Pinned');
    await this.#world.registry.push(APP, 'v1.3.0');
    await this.#gate('v1.3.0', 'pin');
    await this.#staysFor(5_000, 'v1.0.0');
    this.#narrator.shown('one command went back to v1.0.0, and it stays although v1.3.0 is there');
    await this.#slipway('unpin', APP);
    await this.#runs('v1.3.0');
    await this.#slipway('history', APP);
    this.#narrator.shown('without the pin it goes forward again, and the history says who, what, when and why');
  }

  async #approveAndOpen(): Promise<void> {
    await this.#patch({ gates: { approval: { required: 1 } } });
    await this.#world.registry.push(APP, 'v1.4.0');
    await this.#gate('v1.4.0', 'approval');
    await this.#slipway('status');
    await this.#slipway('approve', APP, '--reason', 'tested');
    await this.#runs('v1.4.0');
    this.#narrator.shown('v1.4.0 waited for an approval of its digest, and rolled out when it was given');

    const opens = new Date(Math.ceil((Date.now() + 35_000) / 60_000) * 60_000);
    const cron = `${opens.getUTCMinutes()} ${opens.getUTCHours()} * * *`;
    await this.#patch({
      gates: { approval: null, windows: { allow: [{ cron, duration: '30m', timeZone: 'UTC' }] } },
    });
    await this.#world.registry.push(APP, 'v1.5.0');
    await this.#gate('v1.5.0', 'window');
    await this.#world.show('-n', this.#world.namespace, 'get', 'slpol', APP);
    await this.#runs('v1.5.0');
    const rollout = await this.#rollout('v1.5.0', 'Succeeded');
    if (Date.parse(rollout.status?.startTime ?? '') < opens.getTime())
      throw new Error('It started before the window opened');
    this.#narrator.shown(`v1.5.0 waited for the window, which opened at ${opens.toISOString().slice(11, 16)} UTC`);
  }

  async #askForConsent(): Promise<void> {
    const { namespace, registry } = this.#world;
    const name = 'gitops';
    await this.#world.apply(
      this.#deployment(name, `${registry.image(APP)}:v1.0.0`, {
        'argocd.argoproj.io/tracking-id': `shop:apps/Deployment:${namespace}/${name}`,
      }),
      {
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImagePolicy',
        metadata: { name, namespace },
        spec: {
          image: registry.image(APP),
          interval: '15s',
          registry: { imagePullSecrets: [{ name: PULL_SECRET }] },
          tags: { semver: { range: '1.x' } },
          targets: [{ kind: 'Deployment', name }],
          rollout: { soak: '0s' },
        },
      },
    );
    await this.#reason(name, 'ManagedByGitOps');
    await this.#world.show('-n', namespace, 'get', 'slpol', name);
    const consent = JSON.stringify({ spec: { rollout: { onForeignChange: 'Hold' } } });
    await this.#world.show('-n', namespace, 'patch', 'slpol', name, '--type=merge', '-p', consent);
    await this.#reason(name, 'UpToDate');
    this.#narrator.shown('nothing was written to it before onForeignChange was set, which is the consent');
  }

  #slipway(command: string, ...args: readonly string[]): Promise<string> {
    return this.#world.show('slipway', command, ...args, '-n', this.#world.namespace);
  }

  async #patch(spec: object): Promise<void> {
    await this.#world.show(
      '-n',
      this.#world.namespace,
      'patch',
      'slpol',
      APP,
      '--type=merge',
      '-p',
      JSON.stringify({ spec }),
    );
  }

  #policy(name = APP): Promise<ImagePolicy> {
    return this.#world.policy(name);
  }

  #rollouts(): Promise<ImageRollout[]> {
    return this.#world.rollouts(APP);
  }

  #rollout(tag: string, state: string): Promise<ImageRollout> {
    return waitFor(
      `the rollout of ${tag} is ${state}`,
      async () =>
        (await this.#rollouts()).find(({ spec, status }) => spec.images[0]?.tag === tag && status?.state === state),
      WITHIN,
    );
  }

  /** The Deployment runs this tag, is healthy, and the policy says so. */
  async #runs(tag: string, reason?: string): Promise<void> {
    await waitFor(
      `${APP} runs ${tag}`,
      async () => {
        const { status } = await this.#policy();
        const ready = status?.conditions?.find(({ type }) => type === 'Ready');
        const isSettled =
          reason === undefined
            ? ready?.reason !== 'RollingOut' && ready?.reason !== 'RollingBack'
            : ready?.reason === reason;
        return status?.current?.images[0]?.tag === tag && isSettled && (await this.#image()).includes(`:${tag}`);
      },
      WITHIN,
    );
  }

  async #image(): Promise<string> {
    interface Deployment {
      readonly spec: {
        readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
      };
    }
    const { spec } = await this.#world.get<Deployment>('deployment', APP);
    return spec.template.spec.containers[0]?.image ?? '';
  }

  /** Looks all the while, for this long. */
  async #staysFor(ms: number, tag: string): Promise<void> {
    const sinceMs = performance.now();
    await waitFor(
      `${APP} has stayed at ${tag}`,
      async () => {
        const image = await this.#image();
        if (!image.includes(`:${tag}`)) throw new Error(`it runs ${image}`);
        return performance.now() - sinceMs >= ms;
      },
      { timeoutMs: ms + 60_000, intervalMs: 500 },
    );
  }

  async #gate(tag: string, gate: string): Promise<void> {
    await waitFor(
      `${tag} waits for ${gate}`,
      async () => {
        const { status } = await this.#policy();
        return status?.candidate?.tag === tag && status.candidate.waiting?.split(', ').includes(gate) === true;
      },
      WITHIN,
    );
  }

  async #reason(name: string, reason: string): Promise<void> {
    await waitFor(
      `policy ${name} is ${reason}`,
      async () => {
        const { status } = await this.#policy(name);
        return status?.conditions?.find(({ type }) => type === 'Ready')?.reason === reason;
      },
      WITHIN,
    );
  }

  #deployment(name: string, image: string, annotations: Readonly<Record<string, string>> = {}): object {
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: this.#world.namespace, annotations },
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name } },
          spec: {
            imagePullSecrets: [{ name: PULL_SECRET }],
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                name: 'web',
                image,
                terminationMessagePolicy: 'FallbackToLogsOnError',
                readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  runAsNonRoot: true,
                  capabilities: { drop: ['ALL'] },
                  seccompProfile: { type: 'RuntimeDefault' },
                },
              },
            ],
          },
        },
      },
    };
  }
}
