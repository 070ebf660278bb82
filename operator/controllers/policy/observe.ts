// Everything that one policy's decision depends on, gathered at one moment: its own objects and workloads from the caches,
// its tags and digests from the TagSource, platforms and creation times from the registry client. What cannot be read
// becomes a problem or a missing fact, never an exception that hides the rest.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { MAX_REJECTED_EXAMPLES, type WorkloadKind } from '../../api/image-policy.ts';
import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { TerminalError, TransientError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Platform } from '../../image/platform.ts';
import { parseRepository, type Repository } from '../../image/reference.ts';
import { isTag, type Tag } from '../../image/tag.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Cache } from '../../kube/informer.ts';
import { formatKey, keyOf, type ObjectKey } from '../../kube/resource.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import type { RepositoryView, TagSource } from '../../registry/tag-source.ts';
import { isFinished } from '../../rollout/state-machine.ts';
import { workloadTypes } from '../../rollout/workloads/index.ts';
import { toWorkload, type Workload } from '../../rollout/workloads/workload.ts';
import type { Creation } from '../../selection/orders/order.ts';
import { chooseCandidate, type Choice, type TagFacts } from '../../selection/choose.ts';
import { summarizeTags } from '../../selection/explain.ts';
import { rankTags, rankTagsInSlices, type Ranking } from '../../selection/rank.ts';
import { compileTagRules, type TagRules } from '../../selection/tag-rules.ts';
import type { Clock } from '../../time/clock.ts';
import { parseDurationMs, parseTimestampMs } from '../../time/duration.ts';
import { pods, workloadResources } from '../resources.ts';
import type { AccessResolver } from './access.ts';
import { CreationTimes } from './creation-times.ts';
import { runningDigest, type PolicyObservation, type Problem, type TagSummary } from './decide.ts';
import { readLedger, rolloutNumber, type LedgerLine } from './ledger.ts';
import { digestOfPods } from './pod-digests.ts';
import type { CachedPolicy } from './projection.ts';
import { readImage, resolveTargets, type TargetContainer, type WorkloadLookup } from './targets.ts';

/** Index of the rollout cache: `namespace/policy` → its rollouts. */
export const ROLLOUTS_BY_POLICY = 'policy';
/** Index of the policy cache: `namespace/kind/name` or `namespace/kind/*` → policies with such a target. */
export const POLICIES_BY_TARGET = 'target';
/** Index of the workload caches. */
export const WORKLOADS_BY_NAMESPACE = 'namespace';

export interface PolicyObserverDeps {
  readonly client: Pick<KubeClient, 'get' | 'list'>;
  readonly policies: Cache<CachedPolicy>;
  readonly rollouts: Cache<ImageRollout>;
  readonly workloads: Readonly<Record<WorkloadKind, Cache<Workload>>>;
  /** Uid of a workload → rollouts that name it. */
  readonly rolloutsOf: (workloadUid: string) => readonly ImageRollout[];
  /** Platforms an image must run on where a policy names none. */
  readonly defaultPlatforms: () => readonly Platform[];
  readonly tagSource: Pick<TagSource, 'observe' | 'forget'>;
  readonly registry: Pick<RegistryClient, 'headManifest' | 'inspect'>;
  readonly access: AccessResolver;
  readonly clock: Clock;
}

interface Context {
  readonly signal: AbortSignal;
}

/** What is kept of a policy between two looks, only to save work: losing it costs a computation, never a decision. */
interface Kept {
  readonly generation: number;
  readonly rules: TagRules;
  wants: readonly Tag[];
  ranking?: { readonly key: string; readonly ranking: Ranking };
  /** Only with `newest`. */
  created?: ReadonlyMap<string, Creation>;
  /** The running tag that the listing no longer has, and the number of the listing in which it was first missing. */
  missing?: { readonly tag: string; readonly sequence: number };
}

/** What observing came to, besides the observation itself. */
export interface Observed {
  readonly observation: PolicyObservation;
  /** Look again after this long even if nothing wakes us. Absent: something will. */
  readonly lookAgainMs?: number;
}

const MAX_KEPT = 20_000;
/** Platforms → choice, at most this often: each round reads what the one before lacked. */
const MAX_ROUNDS = 8;
const ACCESS_CODES = new Set([
  'Unauthorized',
  'Forbidden',
  'RepositoryNotFound',
  'InvalidCaBundle',
  'UntrustedCertificate',
]);

export class PolicyObserver {
  readonly #deps: PolicyObserverDeps;
  readonly #creationTimes: CreationTimes;
  readonly #kept = new LRUCache<string, Kept>({ max: MAX_KEPT });

  constructor(deps: PolicyObserverDeps) {
    this.#deps = deps;
    this.#creationTimes = new CreationTimes(deps.registry);
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
    const kept = this.#compile(policy);
    if (!('rules' in kept)) {
      this.#deps.tagSource.forget(formatKey(key));
      return { observation: this.#unreadable(policy, rollouts, nowMs, kept) };
    }
    const repository = parseRepository(policy.spec.image);
    const { containers, problems } = resolveTargets(policy, repository, this.#lookup(key.namespace), (workload) =>
      this.#rivals(key.namespace, workload),
    );
    const lines = await this.#readLines(policy, containers, rollouts, context);
    const lowest = this.#lowest(policy, kept, lines);
    const base = {
      nowMs,
      policy,
      rollouts,
      lines,
      targetProblems: problems,
      ...(lowest !== undefined && { lowest }),
      busy: this.#busy(policy, lines),
      isAbove: (tag: string, other: string) => isAbove(kept, tag, other),
      followsDigest: kept.rules.followsDigest,
    };
    const registry = await this.#readRegistry(policy, repository, kept, lowest, nowMs, context);
    return {
      observation: {
        ...base,
        isSameImage: registry.isSameImage,
        ...(registry.problem !== undefined && { problem: registry.problem }),
        ...(registry.found !== undefined && { found: registry.found }),
      },
      ...(registry.lookAgainMs !== undefined && { lookAgainMs: registry.lookAgainMs }),
    };
  }

  forget(key: ObjectKey): void {
    this.#deps.tagSource.forget(formatKey(key));
    this.#kept.delete(formatKey(key));
  }

  #rolloutsOf(policy: ImagePolicy): ImageRollout[] {
    return this.#deps.rollouts
      .byIndex(ROLLOUTS_BY_POLICY, formatKey(keyOf(policy)))
      .filter(
        ({ spec, metadata }) => spec.policy.uid === policy.metadata.uid && metadata.deletionTimestamp === undefined,
      )
      .sort((a, b) => rolloutNumber(a) - rolloutNumber(b));
  }

  /** The compiled rules, or why the spec cannot be understood. */
  #compile(policy: CachedPolicy): Kept | Problem {
    if (policy.specProblem !== undefined) return { code: 'InvalidSpec', message: policy.specProblem, stalls: true };
    const key = formatKey(keyOf(policy));
    const generation = policy.metadata.generation ?? 0;
    const kept = this.#kept.get(key);
    if (kept?.generation === generation) return kept;
    try {
      parseRepository(policy.spec.image);
      const fresh: Kept = { generation, rules: compileTagRules(policy.spec.tags), wants: [] };
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
      rollouts,
      problem,
      lines: [],
      targetProblems: [],
      busy: new Map(),
      isAbove: () => false,
      isSameImage: () => false,
      followsDigest: false,
    };
  }

  #lookup(namespace: string): WorkloadLookup {
    const { workloads } = this.#deps;
    return {
      byName: (kind, name) => workloads[kind].get({ namespace, name }),
      byLabels: (kind, labels) => {
        const wanted = Object.entries(labels);
        return workloads[kind]
          .byIndex(WORKLOADS_BY_NAMESPACE, namespace)
          .filter(({ metadata }) => wanted.every(([key, value]) => metadata.labels[key] === value));
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
      const digest = digestOfPods(items, container.name);
      if (digest !== undefined) digests.set(`${uid}/${container.name}`, digest);
    }
    const read = (targets: readonly TargetContainer[]): LedgerLine[] =>
      readLedger(targets, recorded, rollouts, ({ workload, container }) =>
        digests.get(`${workload.metadata.uid}/${container.name}`),
      );
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
      const raw = await this.#deps.client.get(workloadResources[workload.kind], keyOf(workload), { signal });
      live.set(workload, raw === undefined ? undefined : toWorkload(workloadTypes[workload.kind], raw));
    }
    return containers.flatMap((target): TargetContainer[] => {
      if (!live.has(target.workload)) return [target];
      const workload = live.get(target.workload);
      const container = workload?.containers.find(({ name }) => name === target.container.name);
      if (workload === undefined || container === undefined) return [];
      const image = readImage(container.image);
      return [{ workload, container, ...(image !== undefined && { image }) }];
    });
  }

  #lowest(policy: ImagePolicy, kept: Kept, lines: readonly LedgerLine[]): PolicyObservation['lowest'] {
    const selected = policy.status?.selected;
    if (lines.length === 0) {
      return selected === undefined ? undefined : { tag: selected.tag, digest: selected.digest as Digest };
    }
    let lowest: LedgerLine | undefined;
    for (const line of lines) {
      const tag = line.target.image?.tag;
      const least = lowest?.target.image?.tag;
      if (lowest === undefined || (least !== undefined && (tag === undefined || isAbove(kept, least, tag))))
        lowest = line;
    }
    const tag = lowest?.target.image?.tag;
    const digest = lowest === undefined ? undefined : runningDigest(lowest);
    return { ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
  }

  #busy(policy: ImagePolicy, lines: readonly LedgerLine[]): Map<string, string> {
    const busy = new Map<string, string>();
    for (const { target } of lines) {
      const { uid } = target.workload.metadata;
      const other = this.#deps
        .rolloutsOf(uid)
        .find((rollout) => !isFinished(rollout.status) && rollout.spec.policy.uid !== policy.metadata.uid);
      if (other !== undefined) busy.set(uid, other.metadata.name);
    }
    return busy;
  }

  async #readRegistry(
    policy: ImagePolicy,
    repository: Repository,
    kept: Kept,
    lowest: PolicyObservation['lowest'],
    nowMs: number,
    { signal }: Context,
  ): Promise<{
    readonly problem?: Problem;
    readonly found?: NonNullable<PolicyObservation['found']>;
    readonly isSameImage: PolicyObservation['isSameImage'];
    readonly lookAgainMs?: number;
  }> {
    const { tagSource, access: resolver } = this.#deps;
    const subscriber = formatKey(keyOf(policy));
    const intervalMs = parseDurationMs(policy.spec.interval);
    const nothing = { isSameImage: () => false };
    let access: RegistryAccess;
    try {
      access = await resolver.resolve(policy, repository, signal);
    } catch (error) {
      if (!(error instanceof TerminalError)) throw error;
      tagSource.forget(subscriber);
      return {
        ...nothing,
        problem: { code: error.code, message: error.message, stalls: false },
        lookAgainMs: Math.min(intervalMs, 60_000),
      };
    }
    const ask = (wants: readonly Tag[]): RepositoryView =>
      tagSource.observe(subscriber, {
        repository,
        access,
        intervalMs,
        listTags: kept.rules.fixedTag === undefined,
        digestsOf: wants,
      });
    let view = ask(kept.wants);
    if (view.listingError !== undefined) {
      const { code, message } = view.listingError;
      if (ACCESS_CODES.has(code)) resolver.forget(policy.metadata.namespace ?? '');
      return {
        ...nothing,
        problem: { code, message, stalls: false },
        ...(ACCESS_CODES.has(code) && { lookAgainMs: intervalMs }),
      };
    }
    const tags = kept.rules.fixedTag === undefined ? view.listing?.tags : [kept.rules.fixedTag];
    if (tags === undefined) return nothing;

    const reader = new FactReader({ repository, access, registry: this.#deps.registry, view: () => view, signal });
    let problem: Problem | undefined;
    let ranking = await this.#rank(policy, kept, view, tags, repository, access, lowest);
    let choice: Choice | undefined;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      choice = chooseCandidate(ranking, {
        facts: reader.facts,
        requiredPlatforms: this.#deps.defaultPlatforms(),
        nowMs,
        ...(lowest?.digest !== undefined && { currentDigest: lowest.digest }),
        seen: (policy.status?.seen ?? []).map(({ tag, digest, firstSeenTime }) => ({
          tag,
          digest: digest as Digest,
          firstSeenTimeMs: parseTimestampMs(firstSeenTime) ?? nowMs,
        })),
        isRunningTagGone: isRunningTagGone(kept, view, lowest?.tag),
      });
      const { creationTimes, platforms } = choice.lacking;
      if (creationTimes.length > 0) {
        try {
          await this.#creationTimes.learn(repository, access, creationTimes, signal);
        } catch (error) {
          problem = toProblem(error, signal);
          break;
        }
        ranking = await this.#rank(policy, kept, view, tags, repository, access, lowest);
        if (ranking.uninspected.length >= creationTimes.length) break;
        continue;
      }
      const wants = tagsInUse(choice, lowest?.tag);
      view = ask(wants);
      kept.wants = wants;
      if (platforms.length === 0) break;
      await reader.inspect(platforms.map(({ digest }) => digest));
    }
    if (choice === undefined) return nothing;
    const summary: TagSummary | undefined =
      kept.rules.fixedTag === undefined
        ? summarizeTags(ranking, choice, { maxExamples: MAX_REJECTED_EXAMPLES })
        : undefined;
    return {
      isSameImage: reader.isSameImage,
      found: { choice, ...(summary !== undefined && { tags: summary as TagSummary }) },
      ...(problem !== undefined && { problem, lookAgainMs: intervalMs }),
      ...(ranking.uninspected.length > 0 && problem === undefined && { lookAgainMs: 1_000 }),
      ...(kept.missing !== undefined && { lookAgainMs: intervalMs }),
    };
  }

  async #rank(
    policy: ImagePolicy,
    kept: Kept,
    view: RepositoryView,
    tags: readonly string[],
    repository: Repository,
    access: RegistryAccess,
    lowest: PolicyObservation['lowest'],
  ): Promise<Ranking> {
    const { rules } = kept;
    const current = lowest?.tag;
    noteMissing(kept, view, current);
    const created = rules.needsCreationTimes ? this.#creationTimes.of(repository, access, tags) : undefined;
    if (created !== undefined) kept.created = created;
    const watched = policy.status?.seen?.map(({ tag }) => tag) ?? [];
    const key = JSON.stringify([view.listing?.hash ?? tags, current, watched, created?.size]);
    if (kept.ranking?.key === key && created === undefined) return kept.ranking.ranking;
    const slices = rankTagsInSlices(rules, tags, {
      ...(current !== undefined && { current }),
      ...(created !== undefined && { created }),
      watched: new Set(watched),
    });
    for (;;) {
      const slice = slices.next();
      if (slice.done === true) {
        kept.ranking = { key, ranking: slice.value };
        return slice.value;
      }
      await nextTurn();
    }
  }
}

interface FactReaderOptions {
  readonly repository: Repository;
  readonly access: RegistryAccess;
  readonly registry: Pick<RegistryClient, 'inspect'>;
  readonly view: () => RepositoryView;
  readonly signal: AbortSignal;
}

/** Facts about single tags: digests from the view, platforms as far as they were read in this look. */
class FactReader {
  readonly #options: FactReaderOptions;
  readonly #platforms = new Map<
    Digest,
    { readonly platforms: readonly Platform[]; readonly digests: readonly Digest[] }
  >();
  readonly #failures = new Map<Digest, string>();

  constructor(options: FactReaderOptions) {
    this.#options = options;
  }

  readonly facts = (tag: string): TagFacts => {
    const digest = this.#options.view().digest(tag);
    switch (digest.kind) {
      case 'pending':
        return {};
      case 'gone':
        return { digest: { kind: 'Gone' } };
      case 'failed':
        return { digest: { kind: 'Failed', message: digest.problem.message } };
      case 'known': {
        const failure = this.#failures.get(digest.digest);
        if (failure !== undefined) return { digest: { kind: 'Failed', message: failure } };
        const platforms = this.#platforms.get(digest.digest)?.platforms;
        return {
          digest: { kind: 'Digest', digest: digest.digest },
          ...(platforms !== undefined && { platforms: platforms.length === 0 ? 'NotAnImage' : platforms }),
        };
      }
    }
  };

  /** Whether the running digest is one of the candidate's platform manifests. */
  readonly isSameImage = (candidate: Digest, running: Digest): boolean =>
    this.#platforms.get(candidate)?.digests.includes(running) === true;

  async inspect(digests: readonly Digest[]): Promise<void> {
    const { repository, access, registry, signal } = this.#options;
    for (const digest of digests) {
      if (this.#platforms.has(digest)) continue;
      try {
        const { platforms } = await registry.inspect(repository, digest, access, signal, { withCreated: false });
        this.#platforms.set(digest, {
          platforms: platforms.map(({ platform }) => platform),
          digests: platforms.map((entry) => entry.digest),
        });
      } catch (error) {
        this.#failures.set(digest, toProblem(error, signal).message);
      }
    }
  }
}

function toProblem(error: unknown, signal: AbortSignal): Problem {
  if (!signal.aborted && (error instanceof TransientError || error instanceof TerminalError)) {
    return { code: error.code, message: error.message, stalls: false };
  }
  throw error;
}

/** Whether `tag` ranks above `other`, which is ordered without filter and range. */
function isAbove({ rules, created }: Kept, tag: string, other: string): boolean {
  return rankTags(rules, [tag], { current: other, created }).candidates[0]?.position === 'Above';
}

/** The tags whose digests are asked for every cycle: what runs, and the candidates that may still come into question. */
function tagsInUse(choice: Choice, current: string | undefined): Tag[] {
  const wanted = new Set<string>();
  if (current !== undefined) wanted.add(current);
  for (const examination of choice.examined) {
    if (examination.kind === 'Waiting') wanted.add(examination.tag);
    if (examination.kind === 'Eligible' && examination.candidate.position !== 'Current')
      wanted.add(examination.candidate.tag);
    if (examination.kind === 'Rejected' && examination.code === 'PlatformMissing') wanted.add(examination.tag);
  }
  return [...wanted].filter(isTag).sort();
}

/** Remembers since which listing the running tag is missing. */
function noteMissing(kept: Kept, { listing }: RepositoryView, current: string | undefined): void {
  const isMissing =
    listing !== undefined && current !== undefined && kept.rules.allowsDowngrade && !listing.tags.includes(current);
  if (!isMissing) delete kept.missing;
  else if (kept.missing?.tag !== current) kept.missing = { tag: current, sequence: listing.sequence };
}

/** Two complete listings without the running tag, and a direct 404 for it. */
function isRunningTagGone(kept: Kept, view: RepositoryView, current: string | undefined): boolean {
  const { missing } = kept;
  return (
    missing !== undefined &&
    missing.tag === current &&
    (view.listing?.sequence ?? 0) > missing.sequence &&
    view.digest(missing.tag).kind === 'gone'
  );
}
