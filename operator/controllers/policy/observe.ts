// Everything that one policy's decision depends on, gathered at one moment: its own objects and workloads from the caches,
// its tags and digests from the TagSource, platforms and creation times from the registry client. What cannot be read
// becomes a problem or a missing fact, never an exception that hides the rest.

import { LRUCache } from 'lru-cache';
import type { ImageDecision, ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { TerminalError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { formatPinnedImage } from '../../image/reference.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Cache } from '../../kube/informer.ts';
import { formatKey, keyOf, type ObjectKey } from '../../kube/resource.ts';
import { readDecisions, type Decisions } from '../../rollout/decisions.ts';
import { isFinished, rolloutNumber } from '../../rollout/verdict.ts';
import { toWorkload, type Workload } from '../../rollout/workloads/workload.ts';
import { compileTagRules } from '../../selection/tag-rules.ts';
import type { Clock } from '../../time/clock.ts';
import { parseTimestampMs } from '../../time/duration.ts';
import { compileWindows, type Windows } from '../../time/windows.ts';
import { pods } from '../resources.ts';
import { requireKind, type WorkloadKinds } from '../workload-kinds.ts';
import type { EffectiveRules, GateRulesReader } from './gate-rules.ts';
import { findLowest, readLedger, type LedgerLine, runningDigest } from './ledger.ts';
import type { PolicyObservation, Problem } from './observation.ts';
import { digestOfPods } from './pod-digests.ts';
import type { CachedPolicy } from './projection.ts';
import { TagMemory, type RunningImage, type TagReader } from './tag-reader.ts';
import {
  imagesOf,
  readImage,
  repositoriesOf,
  resolveTargets,
  type TargetContainer,
  type WorkloadLookup,
} from './targets.ts';

/** Index of the rollout cache: `namespace/policy` → its rollouts. */
export const ROLLOUTS_BY_POLICY = 'policy';
/** Index of the decision cache: `namespace/policy` → the decisions about it. */
export const DECISIONS_BY_POLICY = 'policy';
/** Index of the policy cache: `namespace/kind/name` or `namespace/kind/*` → policies with such a target. */
export const POLICIES_BY_TARGET = 'target';
/** Index of the workload caches. */
export const WORKLOADS_BY_NAMESPACE = 'namespace';

export interface PolicyObserverDeps {
  readonly client: Pick<KubeClient, 'get' | 'list'>;
  readonly policies: Cache<CachedPolicy>;
  readonly rollouts: Cache<ImageRollout>;
  readonly decisions: Cache<ImageDecision>;
  readonly workloads: WorkloadKinds;
  /** Uid of a workload → rollouts that name it. */
  readonly rolloutsOf: (workloadUid: string) => readonly ImageRollout[];
  readonly tags: Pick<TagReader, 'read' | 'forget'>;
  readonly gateRules: Pick<GateRulesReader, 'read'>;
  /** How long the second attempt waits after the first failed for the sake of the environment. */
  readonly environmentRetryMs: number;
  readonly clock: Clock;
}

interface Context {
  readonly signal: AbortSignal;
}

interface Kept {
  readonly uid: string;
  readonly generation: number;
  readonly minimumAgeFloorMs: number;
  readonly memory: TagMemory;
  readonly windows?: Windows;
}

/** What observing came to, besides the observation itself. */
export interface Observed {
  readonly observation: PolicyObservation;
  /** Look again after this long even if nothing wakes us. Absent: something will. */
  readonly lookAgainMs?: number;
}

const MAX_KEPT = 20_000;

export class PolicyObserver {
  readonly #deps: PolicyObserverDeps;
  readonly #kept = new LRUCache<string, Kept>({ max: MAX_KEPT });

  constructor(deps: PolicyObserverDeps) {
    this.#deps = deps;
  }

  /** Undefined when there is no such policy, or it is being deleted. */
  async observe(key: ObjectKey, context: Context): Promise<Observed | undefined> {
    const policy = this.#deps.policies.get(key);
    if (policy === undefined || policy.metadata.deletionTimestamp !== undefined) {
      this.forget(key);
      return undefined;
    }
    const nowMs = this.#deps.clock.now();
    const rollouts = this.#rolloutsOf(policy);
    const rules = await this.#deps.gateRules.read(policy, context.signal);
    const compiled = this.#compile(policy, rules);
    if ('code' in compiled) {
      this.#deps.tags.forget(formatKey(key));
      return { observation: this.#unreadable(policy, rollouts, nowMs, compiled) };
    }
    const { memory, windows } = compiled;
    const repositories = repositoriesOf(policy);
    const { containers, problems } = resolveTargets(policy, repositories, this.#lookup(key.namespace), (workload) =>
      this.#rivals(key.namespace, workload),
    );
    const lines = await this.#readLines(policy, containers, rollouts, context);
    const lowest = this.#lowest(policy, memory, lines);
    const images = imagesOf(policy);
    const neighbours = this.#neighbours(policy, lines);
    const base = {
      nowMs,
      policy,
      images,
      rollouts,
      neighbours,
      neighboursResumedMs: this.#resumedMs(neighbours),
      highestNumber: this.#highestNumber(policy),
      decisions: this.#decisions(policy),
      gateRules: rules.gates,
      ...(windows !== undefined && { window: windows.at(nowMs) }),
      environmentRetryMs: this.#deps.environmentRetryMs,
      lines,
      targetProblems: problems,
      ...(lowest !== undefined && memory.canCompare && { lowest }),
      busy: busyWith(neighbours),
      isAbove: (tag: string, other: string) => memory.isAbove(tag, other),
      followsDigest: memory.rules.followsDigest,
    };
    const answer = await this.#deps.tags.read({
      policy,
      images,
      repositories,
      memory,
      lowest,
      running: runningImages(lines),
      nowMs,
      signal: context.signal,
    });
    return {
      observation: {
        ...base,
        companionDigest: answer.companionDigest,
        manifestsOf: answer.manifestsOf,
        isGone: answer.isGone,
        ...(answer.pin !== undefined && { pin: answer.pin }),
        ...(answer.problem !== undefined && { problem: answer.problem }),
        ...(answer.found !== undefined && { found: answer.found }),
      },
      ...(answer.lookAgainMs !== undefined && { lookAgainMs: answer.lookAgainMs }),
    };
  }

  forget(key: ObjectKey): void {
    this.#deps.tags.forget(formatKey(key));
    this.#kept.delete(formatKey(key));
  }

  #highestNumber(policy: ImagePolicy): number {
    const namesakes = this.#deps.rollouts.byIndex(ROLLOUTS_BY_POLICY, formatKey(keyOf(policy)));
    return Math.max(0, ...namesakes.map(rolloutNumber));
  }

  #rolloutsOf(policy: ImagePolicy): ImageRollout[] {
    return this.#deps.rollouts
      .byIndex(ROLLOUTS_BY_POLICY, formatKey(keyOf(policy)))
      .filter(
        ({ spec, metadata }) => spec.policy.uid === policy.metadata.uid && metadata.deletionTimestamp === undefined,
      )
      .sort((a, b) => rolloutNumber(a) - rolloutNumber(b));
  }

  /** What is remembered of the policy's tags, with its compiled rules; or why the spec cannot be understood. */
  #compile(policy: CachedPolicy, { minimumAgeFloorMs }: EffectiveRules): Kept | Problem {
    if (policy.specProblem !== undefined) return { code: 'InvalidSpec', message: policy.specProblem, stalls: true };
    const key = formatKey(keyOf(policy));
    const { uid, generation = 0 } = policy.metadata;
    const kept = this.#kept.get(key);
    if (kept?.uid === uid && kept.generation === generation && kept.minimumAgeFloorMs === minimumAgeFloorMs)
      return kept;
    try {
      repositoriesOf(policy);
      const { tags, gates } = policy.spec;
      const fresh: Kept = {
        uid,
        generation,
        minimumAgeFloorMs,
        memory: new TagMemory(compileTagRules(tags, { minimumAgeFloorMs })),
        ...(gates?.windows !== undefined && { windows: compileWindows(gates.windows) }),
      };
      this.#kept.set(key, fresh);
      return fresh;
    } catch (error) {
      if (!(error instanceof TerminalError)) throw error;
      return { code: error.code, message: `spec: ${error.message}`, stalls: true };
    }
  }

  #unreadable(
    policy: ImagePolicy,
    rollouts: readonly ImageRollout[],
    nowMs: number,
    problem: Problem,
  ): PolicyObservation {
    return {
      nowMs,
      policy,
      images: [policy.spec.image],
      rollouts,
      neighbours: [],
      neighboursResumedMs: 0,
      highestNumber: this.#highestNumber(policy),
      decisions: this.#decisions(policy),
      gateRules: { enforcedOnPins: [] },
      problem,
      lines: [],
      targetProblems: [],
      busy: new Map(),
      isAbove: () => false,
      companionDigest: () => undefined,
      manifestsOf: () => [],
      isGone: () => false,
      followsDigest: false,
      environmentRetryMs: this.#deps.environmentRetryMs,
    };
  }

  #lookup(namespace: string): WorkloadLookup {
    const { workloads } = this.#deps;
    return {
      knows: (kind) => workloads.has(kind),
      serves: (kind) => workloads.get(kind)?.isServed() === true,
      byName: (kind, name) => workloads.get(kind)?.cache.get({ namespace, name }),
      byLabels: (kind, labels) => {
        const wanted = Object.entries(labels);
        const inNamespace = workloads.get(kind)?.cache.byIndex(WORKLOADS_BY_NAMESPACE, namespace) ?? [];
        return inNamespace.filter(({ metadata }) => wanted.every(([key, value]) => metadata.labels[key] === value));
      },
    };
  }

  #rivals(namespace: string, workload: Workload): readonly ImagePolicy[] {
    const { policies } = this.#deps;
    return [
      ...policies.byIndex(POLICIES_BY_TARGET, `${namespace}/${workload.kind}/${workload.metadata.name}`),
      ...policies.byIndex(POLICIES_BY_TARGET, `${namespace}/${workload.kind}/*`),
    ];
  }

  async #readLines(
    policy: ImagePolicy,
    containers: readonly TargetContainer[],
    rollouts: readonly ImageRollout[],
    { signal }: Context,
  ): Promise<LedgerLine[]> {
    const recorded = policy.status?.targets ?? [];
    const digests = new Map<string, Digest>();
    for (const { workload, container, image } of containers) {
      const uid = workload.metadata.uid;
      const entry = recorded.find((line) => line.uid === uid && line.container === container.name);
      const isKnown = image?.digest !== undefined || (entry?.digest !== undefined && entry.image === container.image);
      if (isKnown || workload.podSelector === undefined) continue;
      const { items } = await this.#deps.client.list(pods, {
        namespace: workload.metadata.namespace,
        labelSelector: workload.podSelector,
        limit: 500,
        signal,
      });
      const digest = digestOfPods(items, container.name, container.image);
      if (digest !== undefined) digests.set(`${uid}/${container.name}`, digest);
    }
    // While an image is pinned, what was selected before is somebody else's doing.
    const selected = policy.spec.pin === undefined ? policy.status?.selected : policy.status?.pin;
    const decided =
      selected?.digest === undefined
        ? undefined
        : formatPinnedImage(policy.spec.image, selected.tag, selected.digest as Digest);
    const decidedFor = ({ part }: TargetContainer): string | undefined => (part === 0 ? decided : undefined);
    const podDigest = ({ workload, container }: TargetContainer): Digest | undefined =>
      digests.get(`${workload.metadata.uid}/${container.name}`);
    const read = (targets: readonly TargetContainer[]): LedgerLine[] =>
      readLedger(targets, { recorded, rollouts, podDigest, decided: decidedFor });
    const lines = read(containers);
    const doubtful = new Set(
      lines.filter(({ standing }) => standing === 'foreign').map(({ target }) => target.workload),
    );
    return doubtful.size === 0 ? lines : read(await this.#readLive(containers, doubtful, signal));
  }

  /** Caches of different kinds run apart: before somebody is blamed for a change, the workload is read live. */
  async #readLive(
    containers: readonly TargetContainer[],
    doubtful: ReadonlySet<Workload>,
    signal: AbortSignal,
  ): Promise<TargetContainer[]> {
    const live = new Map<Workload, Workload | undefined>();
    for (const workload of doubtful) {
      const { resource, type } = requireKind(this.#deps.workloads, workload.kind);
      const raw = await this.#deps.client.get(resource, keyOf(workload), { signal });
      live.set(workload, raw === undefined ? undefined : toWorkload(type, raw));
    }
    return containers.flatMap((target): TargetContainer[] => {
      if (!live.has(target.workload)) return [target];
      const workload = live.get(target.workload);
      const container = workload?.containers.find(({ name }) => name === target.container.name);
      if (workload === undefined || container === undefined) return [];
      const image = readImage(container.image);
      return [{ workload, container, part: target.part, ...(image !== undefined && { image }) }];
    });
  }

  #lowest(policy: ImagePolicy, memory: TagMemory, lines: readonly LedgerLine[]): PolicyObservation['lowest'] {
    const selected = policy.status?.selected;
    if (lines.length === 0) {
      return selected === undefined ? undefined : { tag: selected.tag, digest: selected.digest as Digest };
    }
    const takesBack = policy.spec.rollout.onForeignChange === 'Reassert';
    return findLowest(lines, (a, b) => memory.compareRunning(a, b), takesBack);
  }

  #decisions(policy: ImagePolicy): Decisions {
    return readDecisions(this.#deps.decisions.byIndex(DECISIONS_BY_POLICY, formatKey(keyOf(policy))));
  }

  /** Rollouts of other policies on the same workloads. */
  #neighbours(policy: ImagePolicy, lines: readonly LedgerLine[]): ImageRollout[] {
    const uids = new Set(lines.map(({ target }) => target.workload.metadata.uid));
    const found = new Map<string, ImageRollout>();
    for (const uid of uids) {
      for (const rollout of this.#deps.rolloutsOf(uid)) {
        if (rollout.spec.policy.uid !== policy.metadata.uid) found.set(rollout.metadata.uid, rollout);
      }
    }
    return [...found.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  #resumedMs(neighbours: readonly ImageRollout[]): number {
    const times = neighbours.map(({ metadata, spec }) => {
      const policy = this.#deps.policies.get({ namespace: metadata.namespace ?? '', name: spec.policy.name });
      return parseTimestampMs(policy?.status?.resumedTime) ?? 0;
    });
    return Math.max(0, ...times);
  }
}

function busyWith(neighbours: readonly ImageRollout[]): Map<string, string> {
  const busy = new Map<string, string>();
  for (const { metadata, spec, status } of neighbours) {
    if (isFinished(status)) continue;
    for (const { uid } of spec.targets) if (!busy.has(uid)) busy.set(uid, metadata.name);
  }
  return busy;
}

function runningImages(lines: readonly LedgerLine[]): RunningImage[] {
  return lines.map((line) => {
    const tag = line.target.image?.tag;
    const digest = runningDigest(line);
    return {
      part: line.target.part,
      ...(tag !== undefined && { tag }),
      ...(digest !== undefined && { digest }),
    };
  });
}
