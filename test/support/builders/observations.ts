// What is known about a policy at one moment, built from what a reader of a test can picture: which images run, which
// tags the registry has, and what happened before. Ranking and choosing are the real ones.

import type { ImageDecision, ImagePolicy, ImageRollout } from '../../../operator/api/kinds.ts';
import { combine } from '../../../operator/controllers/policy/gate-rules.ts';
import { findLowest, readLedger } from '../../../operator/controllers/policy/ledger.ts';
import type { PolicyObservation } from '../../../operator/controllers/policy/observation.ts';
import { imagesOf, readImage, type TargetContainer } from '../../../operator/controllers/policy/targets.ts';
import type { Digest } from '../../../operator/image/digest.ts';
import { formatRepository, parseRepository } from '../../../operator/image/reference.ts';
import { readDecisions } from '../../../operator/rollout/decisions.ts';
import { rolloutNumber } from '../../../operator/rollout/verdict.ts';
import type { Workload } from '../../../operator/rollout/workloads/workload.ts';
import { chooseCandidate, type TagFacts } from '../../../operator/selection/choose.ts';
import { summarizeTags } from '../../../operator/selection/explain.ts';
import { compareRunningTags, rankTags } from '../../../operator/selection/rank.ts';
import { compileTagRules } from '../../../operator/selection/tag-rules.ts';
import { candidate } from './images.ts';
import { imagePolicy } from './policies.ts';

export const NOW_MS = Date.parse('2026-01-05T12:00:00Z');

export interface ObservationOptions {
  readonly policy?: ImagePolicy;
  /** All of their containers are targets. */
  readonly workloads?: readonly Workload[];
  /** Tag → digest. Absent: nothing is known of the registry yet. */
  readonly tags?: Readonly<Record<string, Digest>>;
  /** Facts about tags that are not simply a digest. */
  readonly facts?: Readonly<Record<string, TagFacts>>;
  readonly rollouts?: readonly ImageRollout[];
  readonly decisions?: readonly ImageDecision[];
  /** Digests of the companions' tags: image → tag → digest. A container of theirs is recognised by its repository. */
  readonly companions?: Readonly<Record<string, Readonly<Record<string, Digest>>>>;
  /** Digest that the pods of every container report. */
  readonly podDigest?: Digest;
  readonly more?: Partial<PolicyObservation>;
}

/** Tags of `ghcr.io/acme/web`, each at the digest that the builder of images gives it. */
export function pushed(...tags: readonly string[]): Record<string, Digest> {
  return Object.fromEntries(tags.map((tag) => [tag, candidate(tag).digest]));
}

export function observation(options: ObservationOptions = {}): PolicyObservation {
  const {
    policy = imagePolicy(),
    workloads = [],
    tags,
    facts = {},
    rollouts = [],
    podDigest,
    companions = {},
  } = options;
  const images = imagesOf(policy);
  const repositories = images.map((image) => formatRepository(parseRepository(image)));
  const rules = compileTagRules(policy.spec.tags);
  const isAbove = (tag: string, other: string): boolean =>
    rankTags(rules, [tag], { current: other }).candidates[0]?.position === 'Above';
  const targets = workloads.flatMap((workload) =>
    workload.containers.map((container): TargetContainer => {
      const image = readImage(container.image);
      const part = image === undefined ? -1 : repositories.indexOf(formatRepository(image.repository));
      return { workload, container, part: Math.max(0, part), ...(image !== undefined && { image }) };
    }),
  );
  const lines = readLedger(targets, {
    recorded: policy.status?.targets ?? [],
    rollouts: rollouts.toSorted((a, b) => rolloutNumber(a) - rolloutNumber(b)),
    podDigest: () => podDigest,
  });
  const selected = policy.status?.selected;
  const lowest =
    findLowest(lines, (a, b) => compareRunningTags(rules, a, b), policy.spec.rollout.onForeignChange === 'Reassert') ??
    (selected && { tag: selected.tag, digest: selected.digest as Digest });
  const found = (): PolicyObservation['found'] => {
    if (tags === undefined) return undefined;
    const ranking = rankTags(rules, Object.keys(tags), { current: lowest?.tag });
    const choice = chooseCandidate(ranking, {
      nowMs: NOW_MS,
      requiredPlatforms: [],
      currentDigest: lowest?.digest,
      facts: (tag) => {
        const digest = tags[tag];
        return facts[tag] ?? (digest === undefined ? {} : { digest: { kind: 'Digest', digest } });
      },
    });
    return { choice, tags: summarizeTags(ranking, choice, { maxExamples: 20 }) };
  };
  const known = found();
  return {
    nowMs: NOW_MS,
    policy,
    images,
    rollouts,
    neighbours: [],
    neighboursResumedMs: 0,
    decisions: readDecisions(options.decisions ?? []),
    gateRules: combine(policy, []).gates,
    highestNumber: Math.max(0, ...rollouts.map(rolloutNumber)),
    lines,
    targetProblems: [],
    ...(lowest !== undefined && { lowest }),
    ...(known !== undefined && { found: known }),
    busy: new Map(),
    isAbove,
    companionDigest: (part, tag) => companions[images[part] ?? '']?.[tag],
    manifestsOf: () => [],
    isGone: () => false,
    environmentRetryMs: 300_000,
    followsDigest: rules.followsDigest,
    ...options.more,
  };
}
