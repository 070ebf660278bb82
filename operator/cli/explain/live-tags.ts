// The tags as the registry lists them at this moment, judged by the policy's own rules from here: every tag gets its
// reason. What goes wrong becomes a sentence, because what the operator found last is still worth showing.

import type { ImagePolicy } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';
import { SlipwayError } from '../../errors.ts';
import { parseDigest, type Digest } from '../../image/digest.ts';
import { formatPlatform, normalizePlatform, type Platform } from '../../image/platform.ts';
import { parseRepository, type Repository } from '../../image/reference.ts';
import { isTag } from '../../image/tag.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { defineResource } from '../../kube/resource.ts';
import { RegistryClient } from '../../registry/client.ts';
import type { RegistryAccess } from '../../registry/credential.ts';
import { chooseCandidate, isComplete, type Choice, type TagFacts } from '../../selection/choose.ts';
import { explainReason, judgeTags, summarizeTags } from '../../selection/explain.ts';
import type { Creation } from '../../selection/orders/order.ts';
import { rankTags, type Ranking } from '../../selection/rank.ts';
import { compileTagRules, type TagRules } from '../../selection/tag-rules.ts';
import type { Clock } from '../../time/clock.ts';
import { parseTimestampMs } from '../../time/duration.ts';
import type { ExplainedTag } from '../selection.ts';
import { readAccess } from './access.ts';
import { type ClusterReader } from './cluster.ts';

export type LiveTags =
  | {
      readonly kind: 'Listed';
      readonly total: number;
      readonly considered: number;
      readonly rejectedByReason: Readonly<Record<string, number>>;
      /** Every tag, in byte order. */
      readonly tags: readonly ExplainedTag[];
      readonly notes: readonly string[];
    }
  /** A sentence. */
  | { readonly kind: 'Unreadable'; readonly why: string };

export interface LiveOptions {
  /** Secrets and nodes are read with the caller's rights. */
  readonly cluster: ClusterReader;
  readonly clock: Clock;
  readonly random: () => number;
  readonly userAgent: string;
  /** Plain HTTP, or HTTPS without verification. */
  readonly isInsecure: boolean;
}

const TIMEOUT_MS = 60_000;
/** Each round asks for what the one before lacked: digests, then platforms, of at most five candidates. */
const MAX_ROUNDS = 8;
/** Tags that are inspected for their creation times. */
const MAX_INSPECTIONS = 200;

interface Node extends KubeObject {
  readonly status?: { readonly nodeInfo?: { readonly operatingSystem?: string; readonly architecture?: string } };
}

const nodes = defineResource<Node>({ group: '', version: 'v1', kind: 'Node', plural: 'nodes', namespaced: false });

export async function readLiveTags(policy: ImagePolicy, options: LiveOptions): Promise<LiveTags> {
  const { clock, random, userAgent, isInsecure } = options;
  let registry: RegistryClient | undefined;
  try {
    const repository = parseRepository(policy.spec.image);
    // Who runs this command could reach these addresses by any other program: nothing is guarded here.
    const host = { allowPrivate: true, insecure: isInsecure };
    registry = new RegistryClient({ hosts: new Map([[repository.host, host]]), clock, random, userAgent });
    const access = await readAccess(options.cluster, policy, repository);
    return await new LiveReader(policy, registry, repository, access, options).read();
  } catch (thrown) {
    if (thrown instanceof SlipwayError) return { kind: 'Unreadable', why: thrown.message };
    if (thrown instanceof DOMException && thrown.name === 'TimeoutError') {
      return { kind: 'Unreadable', why: `the registry did not answer everything within ${TIMEOUT_MS / 1_000}s` };
    }
    throw thrown;
  } finally {
    await registry?.close();
  }
}

class LiveReader {
  readonly #policy: ImagePolicy;
  readonly #registry: RegistryClient;
  readonly #repository: Repository;
  readonly #access: RegistryAccess;
  readonly #options: LiveOptions;
  readonly #rules: TagRules;
  readonly #signal = AbortSignal.timeout(TIMEOUT_MS);
  readonly #facts = new Map<string, TagFacts>();
  readonly #notes: string[] = [];

  constructor(
    policy: ImagePolicy,
    registry: RegistryClient,
    repository: Repository,
    access: RegistryAccess,
    options: LiveOptions,
  ) {
    this.#policy = policy;
    this.#registry = registry;
    this.#repository = repository;
    this.#access = access;
    this.#options = options;
    this.#rules = compileTagRules(policy.spec.tags);
  }

  async read(): Promise<LiveTags> {
    const rules = this.#rules;
    const tags = await this.#registry.listTags(this.#repository, this.#access, this.#signal);
    const { status, spec } = this.#policy;
    const running = spec.targets.length === 0 ? status?.selected : status?.current?.images[0];
    const watched = new Set(status?.seen?.map(({ tag }) => tag));
    const created = rules.needsCreationTimes ? await this.#creationTimes(tags) : undefined;
    const ranking = rankTags(rules, tags, { current: running?.tag, created, watched });
    const choice = await this.#choose(ranking, parseDigest(running?.digest), await this.#requiredPlatforms());
    const { total, considered, rejectedByReason } = summarizeTags(ranking, choice, { maxExamples: 0 });
    return {
      kind: 'Listed',
      total,
      considered,
      rejectedByReason,
      tags: Array.from(judgeTags(ranking, choice), ({ tag, reason }) => ({
        tag,
        reason,
        message: explainReason(reason, tag, ranking, choice),
      })),
      notes: this.#notes,
    };
  }

  async #requiredPlatforms(): Promise<readonly Platform[]> {
    if (this.#rules.platforms !== undefined) return this.#rules.platforms;
    try {
      const { items } = await this.#options.cluster.listAll(nodes);
      const distinct = new Map<string, Platform>();
      for (const { status } of items) {
        const { operatingSystem, architecture } = status?.nodeInfo ?? {};
        if (!operatingSystem || !architecture) continue;
        const platform = normalizePlatform(operatingSystem, architecture);
        distinct.set(formatPlatform(platform), platform);
      }
      if (distinct.size > 0) return [...distinct.values()];
    } catch (thrown) {
      if (!(thrown instanceof KubeError)) throw thrown;
    }
    this.#notes.push(
      'Platforms were not looked at: the policy names none, and the nodes cannot be read with your rights.',
    );
    return [];
  }

  async #choose(ranking: Ranking, currentDigest: Digest | undefined, platforms: readonly Platform[]): Promise<Choice> {
    const nowMs = this.#options.clock.now();
    const seen = (this.#policy.status?.seen ?? []).flatMap(({ tag, digest: text, firstSeenTime }) => {
      const digest = parseDigest(text);
      return digest === undefined ? [] : [{ tag, digest, firstSeenTimeMs: parseTimestampMs(firstSeenTime) ?? nowMs }];
    });
    const choose = (): Choice =>
      chooseCandidate(ranking, {
        facts: (tag) => this.#facts.get(tag) ?? {},
        requiredPlatforms: platforms,
        nowMs,
        currentDigest,
        seen,
      });
    let choice = choose();
    for (let round = 0; round < MAX_ROUNDS && !isComplete(choice); round += 1) {
      for (const tag of choice.lacking.digests) await this.#learnDigest(tag);
      for (const { tag, digest } of choice.lacking.platforms) await this.#learnPlatforms(tag, digest);
      const next = choose();
      // What failed is on record, so asking once more would change nothing.
      if (next.lacking.digests.join() === choice.lacking.digests.join() && next.lacking.platforms.length === 0)
        return next;
      choice = next;
    }
    return choice;
  }

  async #learnDigest(tag: string): Promise<void> {
    if (!isTag(tag) || this.#facts.has(tag)) return;
    try {
      const descriptor = await this.#registry.headManifest(this.#repository, tag, this.#access, this.#signal);
      const digest: TagFacts['digest'] =
        descriptor === undefined ? { kind: 'Gone' } : { kind: 'Digest', digest: descriptor.digest };
      this.#facts.set(tag, { digest });
    } catch (thrown) {
      this.#facts.set(tag, { digest: { kind: 'Failed', message: this.#toMessage(thrown) } });
    }
  }

  async #learnPlatforms(tag: string, digest: Digest): Promise<void> {
    try {
      const { platforms } = await this.#registry.inspect(this.#repository, digest, this.#access, this.#signal, {
        withCreated: false,
      });
      this.#facts.set(tag, {
        digest: { kind: 'Digest', digest },
        platforms: platforms.length === 0 ? 'NotAnImage' : platforms.map(({ platform }) => platform),
      });
    } catch (thrown) {
      this.#facts.set(tag, { digest: { kind: 'Failed', message: this.#toMessage(thrown) } });
    }
  }

  async #creationTimes(tags: readonly string[]): Promise<ReadonlyMap<string, Creation>> {
    const created = new Map<string, Creation>();
    const wanted = rankTags(this.#rules, tags, { created }).uninspected;
    if (wanted.length > MAX_INSPECTIONS) {
      this.#notes.push(`Only ${MAX_INSPECTIONS} of ${wanted.length} tags were inspected for their creation times.`);
    }
    for (const tag of wanted.slice(0, MAX_INSPECTIONS)) {
      if (!isTag(tag)) continue;
      const descriptor = await this.#registry.headManifest(this.#repository, tag, this.#access, this.#signal);
      if (descriptor === undefined) {
        created.set(tag, { timeMs: 0, digest: '' });
        continue;
      }
      const facts = await this.#registry.inspect(this.#repository, descriptor.digest, this.#access, this.#signal);
      created.set(tag, { timeMs: facts.created ?? 0, digest: descriptor.digest });
    }
    return created;
  }

  #toMessage(thrown: unknown): string {
    if (thrown instanceof SlipwayError) return thrown.message;
    throw thrown;
  }
}
