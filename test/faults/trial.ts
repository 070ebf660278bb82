// One trial: a scenario on a real API server with a real operator process behind a proxy that disturbs it. The harness plays
// the cluster's controllers and the people. At the end the world is compared with that of the undisturbed run, and the
// monitor reads the audit log.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import YAML from 'yaml';
import { findCondition } from '../../operator/api/conditions.ts';
import { isFinished } from '../../operator/rollout/verdict.ts';
import { ApiProxy, type Fault, type Interception, type ProxiedRequest } from '../support/api-proxy.ts';
import { BlackHole } from '../support/black-hole.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { reaching, Shop } from '../support/operator-world.ts';
import { startProcess, type RunningProcess } from '../support/processes.ts';
import type { TestRegistry } from '../support/registries.ts';
import { waitFor } from '../support/wait.ts';
import type { Hand, PersonalStep, Quality, Scenario, View } from './scenarios.ts';

const ROOT = join(import.meta.dirname, '../..');
const SETTLES_WITHIN_MS = 90_000;
const TELLS_WITHIN_MS = 20_000;

/** What every trial shares. */
export interface Stage {
  readonly controlPlane: ControlPlane;
  readonly registry: TestRegistry;
  readonly goods: Goods;
}

/** A repository with the tags of every scenario. */
export interface Goods {
  readonly repository: string;
  readonly digests: Readonly<Record<string, string>>;
}

export async function pushGoods(registry: TestRegistry, name: string): Promise<Goods> {
  const repository = `${name}/web`;
  const digests: Record<string, string> = {};
  for (const tag of ['v1.0.0', 'v1.1.0']) digests[tag] = await registry.push(repository, tag);
  return { repository, digests };
}

export type Disturbance =
  | { readonly kind: 'none' }
  /** SIGKILL at the n-th write, before it reaches the API server or after it was committed. */
  | { readonly kind: 'kill'; readonly write: number; readonly when: Interception['when'] }
  /** Every n-th write meets this. */
  | { readonly kind: 'storm'; readonly every: number; readonly fault: Fault }
  /** Watches hang from the beginning, for a while. */
  | { readonly kind: 'deaf'; readonly forMs: number }
  /** When the first rollout is there, every connection goes silent and stays open. */
  | { readonly kind: 'silence' }
  /** The n-th write is never answered. */
  | { readonly kind: 'hang'; readonly write: number }
  /** At the n-th write the registry forgets its best tag, and has it again later. */
  | { readonly kind: 'shrink'; readonly write: number; readonly forMs: number }
  /** The process is stopped at its n-th write, another one takes over, and it is continued when all that time has passed. */
  | { readonly kind: 'freeze'; readonly write: number; readonly forMs: number };

/** The end of a story, without what differs from run to run. */
export interface Ending {
  readonly ready: string | undefined;
  readonly images: Readonly<Record<string, string>>;
  readonly marks: readonly string[];
  readonly rollouts: readonly string[];
  readonly quarantine: readonly string[];
}

export interface TrialResult {
  readonly ending: Ending;
  readonly writes: number;
  /** What the operator was doing when it was disturbed. */
  readonly struckAt: string | undefined;
}

let serial = 0;

/** Plays the scenario; returns when its end is `wanted`, or as it is when it does not become that. */
export async function play(
  stage: Stage,
  scenario: Scenario,
  disturbance: Disturbance,
  wanted?: Ending,
): Promise<TrialResult> {
  const { controlPlane } = stage;
  const namespace = `${scenario.name}-${(serial += 1)}`;
  const shop = await Shop.open(controlPlane, namespace);
  const goods = disturbance.kind === 'shrink' ? await pushGoods(stage.registry, namespace) : stage.goods;
  const image = `${stage.registry.host}/${goods.repository}`;
  for (const name of scenario.workloads)
    await shop.deploy(name, { containers: { web: `${image}:v1.0.0@${goods.digests['v1.0.0'] ?? ''}` } });
  await using proxy = await ApiProxy.start(controlPlane);
  await using front = await BlackHole.start(controlPlane);
  const theatre = new Theatre(shop, goods, scenario);
  const start = (name: string) => startOperator(stage, disturbance.kind === 'silence' ? front : proxy, namespace, name);
  const first = await start('first');
  const others: RunningProcess[] = [];
  let struckAt: string | undefined;
  try {
    const struck = disturb(disturbance, {
      proxy,
      front,
      first,
      theatre,
      forget: async (tag) => {
        await stage.registry.deleteTag(goods.repository, tag);
      },
      restore: async (tag) => {
        await stage.registry.retag(goods.repository, goods.digests[tag] ?? '', tag);
      },
      strike: (what) => {
        struckAt = what ?? proxy.writes.at(-1);
      },
      takeOver: async () => {
        await release(controlPlane, namespace);
        others.push(await start('second'));
      },
    });
    const { rollout, ...spec } = scenario.spec ?? {};
    await shop.policy('web', {
      image,
      tags: { semver: { range: '1.x' } },
      targets: scenario.workloads.map((name) => ({ kind: 'Deployment', name })),
      ...(rollout !== undefined && { rollout }),
      ...spec,
    });
    theatre.begin();
    await theatre.ended();
    await struck.settle();
    await theatre.ended();
    const ending = await theatre.ending(wanted);
    // A write that comes after the end may have been struck just now.
    proxy.interception = undefined;
    await struck.settle();
    return { ending, writes: proxy.writes.length, struckAt };
  } catch (error) {
    const logs = [first, ...others].map((process) => process.logTail(6)).join('\n');
    throw new Error(
      `${scenario.name}, ${JSON.stringify(disturbance)} at ${struckAt ?? 'nothing'}: ${(error as Error).message}\n${logs.slice(-3_000)}`,
      {
        cause: error,
      },
    );
  } finally {
    theatre.end();
    for (const process of [first, ...others]) {
      process.kill('SIGCONT');
      process.kill('SIGKILL');
      await process.ended;
    }
  }
}

interface Struck {
  /** Waits for what the disturbance still does. */
  settle(): Promise<void>;
}

/** What a disturbance lays its hands on. */
interface Means {
  readonly proxy: ApiProxy;
  readonly front: BlackHole;
  readonly first: RunningProcess;
  readonly theatre: Theatre;
  forget(tag: string): Promise<void>;
  restore(tag: string): Promise<void>;
  /** Notes that it has happened; without words: at the last write. */
  strike(what?: string): void;
  takeOver(): Promise<void>;
}

function disturb(disturbance: Disturbance, means: Means): Struck {
  const { proxy, front, first, theatre, strike, takeOver } = means;
  const nothing: Struck = { settle: () => Promise.resolve() };
  switch (disturbance.kind) {
    case 'none':
      return nothing;
    case 'storm': {
      const { every, fault } = disturbance;
      proxy.fault = ({ write }: ProxiedRequest) => {
        if (write === 0 || write % every !== 0) return undefined;
        strike();
        return fault;
      };
      return nothing;
    }
    case 'deaf': {
      const untilMs = performance.now() + disturbance.forMs;
      proxy.fault = ({ isWatch }: ProxiedRequest) => {
        if (!isWatch || performance.now() >= untilMs) return undefined;
        strike('a watch');
        return { kind: 'hang' };
      };
      return nothing;
    }
    case 'silence':
      theatre.onFirstRollout = () => {
        strike('the first rollout');
        front.swallow();
      };
      return nothing;
    case 'hang':
      proxy.fault = ({ write }: ProxiedRequest) => {
        if (write !== disturbance.write) return undefined;
        strike();
        return { kind: 'hang' };
      };
      return nothing;
    case 'shrink': {
      let restored: Promise<void> | undefined;
      proxy.interception = {
        write: disturbance.write,
        when: 'before',
        act: async () => {
          strike();
          proxy.interception = undefined;
          await means.forget('v1.1.0');
          restored = delay(disturbance.forMs).then(() => means.restore('v1.1.0'));
        },
      };
      return {
        async settle() {
          await restored;
        },
      };
    }
    case 'kill': {
      const { write, when } = disturbance;
      let replaced: Promise<void> | undefined;
      const replace = async () => {
        strike();
        first.kill('SIGKILL');
        await first.ended;
        proxy.interception = undefined;
        await takeOver();
      };
      proxy.interception = { write, when, act: () => (replaced = replace()) };
      return {
        async settle() {
          await replaced;
        },
      };
    }
    case 'freeze': {
      const { write, forMs } = disturbance;
      let frozen: Promise<void> | undefined;
      let replaced: Promise<void> | undefined;
      proxy.interception = {
        write,
        when: 'before',
        act: () => {
          strike();
          first.kill('SIGSTOP');
          proxy.interception = undefined;
          frozen = delay(forMs);
          return (replaced = takeOver());
        },
      };
      return {
        async settle() {
          if (frozen === undefined) return;
          await Promise.all([frozen, replaced]);
          first.kill('SIGCONT');
          // It finds out that it does not lead any more, and ends.
          await Promise.race([first.ended, delay(5_000)]);
        },
      };
    }
  }
}

/** As if the leader's lease had run out, without the wait. */
async function release(controlPlane: ControlPlane, namespace: string): Promise<void> {
  await controlPlane.request(
    'PATCH',
    `/apis/coordination.k8s.io/v1/namespaces/default/leases/${namespace}`,
    { spec: { holderIdentity: '' } },
    'application/merge-patch+json',
  );
}

async function startOperator(
  { controlPlane, registry }: Stage,
  front: Pick<ApiProxy | BlackHole, 'writeKubeconfig'>,
  namespace: string,
  name: string,
): Promise<RunningProcess> {
  const file = join(controlPlane.directory, `${namespace}-${name}`);
  await writeFile(
    `${file}.yaml`,
    YAML.stringify({
      ...reaching(registry),
      namespaces: [namespace],
      rollout: { environmentRetry: '1s' },
      server: { listenAddress: '127.0.0.1', healthPort: 0, metricsPort: 0 },
      leaderElection: { leaseName: namespace, leaseDuration: '60s', renewDeadline: '50s', retryPeriod: '1s' },
    }),
  );
  return startProcess({
    name: `operator ${name} of ${namespace}`,
    command: join(ROOT, 'node_modules/.bin/node'),
    args: [
      join(ROOT, 'operator/main.ts'),
      `--config=${file}.yaml`,
      `--kubeconfig=${await front.writeKubeconfig(`${file}.kubeconfig`)}`,
    ],
    env: { POD_NAME: name, POD_NAMESPACE: 'default' },
    logPath: `${file}.log`,
  });
}

/** Plays the controllers and the people of one namespace, until the end. */
class Theatre {
  /** Called once. */
  onFirstRollout: (() => void) | undefined;
  readonly #shop: Shop;
  readonly #goods: Goods;
  readonly #scenario: Scenario;
  readonly #steps: PersonalStep[];
  readonly #crashed = new Set<string>();
  #isOver = false;

  constructor(shop: Shop, goods: Goods, scenario: Scenario) {
    this.#shop = shop;
    this.#goods = goods;
    this.#scenario = scenario;
    this.#steps = [...(scenario.steps ?? [])];
  }

  begin(): void {
    const play = async (): Promise<void> => {
      while (!this.#isOver) {
        for (const name of this.#scenario.workloads) await this.#playController(name);
        await this.#playPerson();
        if (this.onFirstRollout !== undefined && (await this.#shop.readRollouts('web')).length > 0) {
          this.onFirstRollout();
          this.onFirstRollout = undefined;
        }
        await delay(50);
      }
    };
    play().catch(() => undefined);
  }

  end(): void {
    this.#isOver = true;
  }

  async #playController(name: string): Promise<void> {
    const { metadata, status, spec } = (await this.#shop.workload(name)) as {
      metadata: { generation: number };
      status?: { observedGeneration?: number };
      spec: { template: { spec: { containers: { image: string }[] } } };
    };
    if (metadata.generation === status?.observedGeneration) return;
    const image = spec.template.spec.containers[0]?.image ?? '';
    const tag = /:(v[^@]+)@/.exec(image)?.[1] ?? '';
    const quality = this.#scenario.quality?.(tag, name) ?? 'good';
    if (quality === 'good') return this.#shop.becomeHealthy(name);
    await this.#becomeUnwell(name, metadata.generation, image, quality);
  }

  async #becomeUnwell(name: string, generation: number, image: string, quality: Quality): Promise<void> {
    await this.#shop.request(
      'PATCH',
      `${this.#shop.path('Deployment', name)}/status`,
      {
        status: {
          observedGeneration: generation,
          replicas: 1,
          updatedReplicas: 1,
          availableReplicas: 0,
          readyReplicas: 0,
        },
      },
      'application/merge-patch+json',
    );
    if (quality === 'never ready' || this.#crashed.has(name)) return;
    this.#crashed.add(name);
    const pods = `/api/v1/namespaces/${this.#shop.namespace}/pods`;
    await this.#shop.request('POST', pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { app: name } },
      spec: { containers: [{ name: 'web', image }] },
    });
    const crashing = {
      phase: 'Running',
      containerStatuses: [
        {
          name: 'web',
          image,
          imageID: '',
          ready: false,
          restartCount: 5,
          state: { waiting: { reason: 'CrashLoopBackOff' } },
          lastState: { terminated: { exitCode: 3, reason: 'Error', message: 'no database' } },
        },
      ],
    };
    const homeless = {
      phase: 'Pending',
      conditions: [
        { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes are available' },
      ],
    };
    await this.#shop.request(
      'PATCH',
      `${pods}/${name}/status`,
      { status: quality === 'crashes' ? crashing : homeless },
      'application/merge-patch+json',
    );
  }

  async #playPerson(): Promise<void> {
    const [step] = this.#steps;
    if (step === undefined || !step.when(await this.#look())) return;
    this.#steps.shift();
    const shop = this.#shop;
    const hand: Hand = {
      edit: async (spec) => {
        await shop.request('PATCH', `${shop.api}/imagepolicies/web`, { spec }, 'application/merge-patch+json');
      },
      decide: async (decision, tag) => {
        // The API server keeps whole seconds; a person comes later than what they react to.
        await delay(1_000);
        await shop.request('POST', `${shop.api}/imagedecisions`, {
          apiVersion: 'slipway.dev/v1alpha1',
          kind: 'ImageDecision',
          metadata: { generateName: 'web-' },
          spec: { policy: 'web', decision, by: 'jane', ...(tag !== undefined && { digest: this.#goods.digests[tag] }) },
        });
      },
    };
    await step.act(hand);
  }

  async #look(): Promise<View> {
    const [policy, rollouts] = await Promise.all([this.#shop.readPolicy('web'), this.#shop.readRollouts('web')]);
    return { policy, rollouts, ready: findCondition(policy.status?.conditions, 'Ready')?.reason };
  }

  /** Waits for the end of the story. */
  async ended(): Promise<void> {
    const { ready: wanted, rollouts: count } = this.#scenario.end;
    let last = '';
    try {
      await waitFor(
        `it ends ${wanted}`,
        async () => {
          const { ready, rollouts, policy } = await this.#look();
          last = `${ready ?? 'nothing'}, ${rollouts.map(({ metadata, status }) => `${metadata.name} ${status?.state ?? 'Pending'}`).join(', ')}`;
          const isSeen = policy.status?.observedGeneration === policy.metadata.generation;
          const isOver = rollouts.length === count && rollouts.every(({ status }) => isFinished(status));
          return this.#steps.length === 0 && isSeen && ready === wanted && isOver;
        },
        { timeoutMs: SETTLES_WITHIN_MS, intervalMs: 100 },
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; it is ${last}`, { cause: error });
    }
  }

  /** The end when it is `wanted`, or for want of that as soon as it stays: a policy tells of its last rollout a moment later. */
  async ending(wanted?: Ending): Promise<Ending> {
    let ending: Ending | undefined;
    const isThere = async (): Promise<boolean> => {
      const before = wanted ?? ending;
      ending = await this.#readEnding();
      return isDeepStrictEqual(ending, before);
    };
    const within = { timeoutMs: TELLS_WITHIN_MS, intervalMs: 1_000 };
    await waitFor('it is as wanted', isThere, within).catch(() => undefined);
    return ending ?? this.#readEnding();
  }

  /** The tag of an image, if it has the digest of that tag as well. */
  #nameOf(image: string): string {
    const [, tag = '', digest] = /:([^:@/]+)@(.+)$/.exec(image) ?? [];
    return digest !== undefined && this.#goods.digests[tag] === digest ? tag : image;
  }

  async #readEnding(): Promise<Ending> {
    const { policy, rollouts, ready } = await this.#look();
    const images: Record<string, string> = {};
    const marks: string[] = [];
    for (const name of this.#scenario.workloads) {
      images[name] = this.#nameOf((await this.#shop.images(name))['web'] ?? '');
      const { metadata } = (await this.#shop.workload(name)) as { metadata: { annotations?: Record<string, string> } };
      const mark = metadata.annotations?.['slipway.dev/rollout'];
      if (mark !== undefined) marks.push(`${name} ${mark}`);
    }
    return {
      ready,
      images,
      marks,
      rollouts: rollouts.map(({ metadata, spec, status }) =>
        [
          metadata.name,
          spec.trigger,
          spec.attempt,
          spec.images[0]?.tag,
          status?.state,
          status?.failure?.class ?? '-',
        ].join(' '),
      ),
      quarantine: (policy.status?.quarantine ?? []).map(
        ({ tag, cause, releasedTime }) => `${tag ?? ''} ${cause}${releasedTime === undefined ? '' : ' released'}`,
      ),
    };
  }
}
