// One policy, explained: from what was read to the answer that `-o json` prints and the table is made of. Pure.

import { findCondition } from '../../api/conditions.ts';
import type { ImageRollout } from '../../api/kinds.ts';
import { gates } from '../../gates/index.ts';
import { parseImage, parseRepository, isSameRepository, type Repository } from '../../image/reference.ts';
import { isLive } from '../../rollout/quarantine.ts';
import { isFinished } from '../../rollout/verdict.ts';
import type { Progress, Workload, WorkloadContainer } from '../../rollout/workloads/workload.ts';
import type { ExplainedTag } from '../selection.ts';
import { foretell } from './next-steps.ts';
import type { Situation } from './situation.ts';

export interface Explanation {
  /** The moment that all "ago" are relative to. */
  readonly time: string;
  readonly policy: {
    readonly namespace: string;
    readonly name: string;
    readonly image: string;
    /** `semver 1.x` */
    readonly order: string;
    readonly interval: string;
    readonly suspended: boolean;
  };
  /** Null before the operator's first look. */
  readonly ready: { status: string; reason: string; message: string; sinceTime: string } | null;
  /** The others that are there: Reconciling, Stalled, ManualHold. */
  readonly conditions: readonly { type: string; reason: string; message: string; sinceTime: string }[];
  /** False: the status speaks about an earlier spec, or there is none yet. */
  readonly upToDate: boolean;
  readonly current: {
    readonly tag: string | null;
    readonly digest: string | null;
    readonly sinceTime: string | null;
    readonly rollout: string | null;
  } | null;
  readonly selected: { readonly tag: string; readonly digest: string } | null;
  readonly targets: readonly ExplainedTarget[];
  /** Images that never roll out again by themselves, the newest first. */
  readonly quarantine: readonly {
    readonly tag: string | null;
    readonly cause: string;
    readonly message: string | null;
    readonly rollout: string | null;
    readonly sinceTime: string;
  }[];
  readonly pin: { readonly tag: string | null; readonly digest: string | null; readonly reason: string | null } | null;
  /** An older candidate that stands in for one that is held back. */
  readonly standIn: { readonly tag: string | null; readonly digest: string | null } | null;
  readonly candidate: {
    readonly tag: string | null;
    readonly digest: string | null;
    readonly gates: readonly ExplainedGate[];
  } | null;
  readonly tags: {
    /** `operator`: as the operator found them last. `registry`: listed now. */
    readonly source: 'operator' | 'registry';
    readonly total: number;
    readonly considered: number;
    readonly rejectedByReason: Readonly<Record<string, number>>;
    /** From the operator examples, from the registry every tag. */
    readonly tags: readonly ExplainedTag[] | readonly { tag: string; reason: string; message: string }[];
  } | null;
  /** The one under way. */
  readonly rollout: ExplainedRollout | null;
  /** Finished ones, the newest first, at most three. */
  readonly lastRollouts: readonly ExplainedRollout[];
  readonly next: readonly string[];
  readonly notes: readonly string[];
}

export interface ExplainedTarget {
  /** `Deployment web` */
  readonly workload: string;
  /** Null where the workload, or a container to move, is missing. */
  readonly container: string | null;
  readonly image: string | null;
  /** `healthy`, `progressing`, `paused`, `idle`, `missing` */
  readonly state: string;
  readonly message: string | null;
}

export interface ExplainedGate {
  readonly gate: string;
  readonly answer: 'Open' | 'Waiting' | 'Closed';
  readonly reason: string;
  readonly message: string | null;
  readonly sinceTime: string | null;
}

export interface ExplainedRollout {
  readonly name: string;
  readonly trigger: string;
  readonly tag: string | null;
  readonly digest: string | null;
  readonly state: string;
  readonly message: string | null;
  readonly decision: string;
  readonly startTime: string | null;
  readonly endTime: string | null;
  readonly deadlineTime: string | null;
  readonly targets: readonly { workload: string; state: string; message: string | null }[];
}

const LAST_ROLLOUTS = 3;

export function explainSituation(situation: Situation): Explanation {
  const { policy, rollouts, nowMs, live } = situation;
  const { metadata, spec, status } = policy;
  const ready = findCondition(status?.conditions, 'Ready');
  const current = status?.current?.images[0];
  const open = rollouts.find((rollout) => !isFinished(rollout.status));
  const finished = rollouts.filter((rollout) => isFinished(rollout.status));
  return {
    time: new Date(nowMs).toISOString(),
    policy: {
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      image: spec.image,
      order: describeOrder(spec.tags),
      interval: spec.interval,
      suspended: spec.suspend,
    },
    ready:
      ready === undefined
        ? null
        : {
            status: ready.status,
            reason: ready.reason,
            message: ready.message,
            sinceTime: ready.lastTransitionTime,
          },
    conditions: (status?.conditions ?? [])
      .filter(({ type, status: is }) => type !== 'Ready' && is === 'True')
      .map(({ type, reason, message, lastTransitionTime }) => ({
        type,
        reason,
        message,
        sinceTime: lastTransitionTime,
      })),
    upToDate: status?.observedGeneration !== undefined && status.observedGeneration === metadata.generation,
    current:
      current === undefined
        ? null
        : {
            tag: current.tag ?? null,
            digest: current.digest ?? null,
            sinceTime: status?.current?.sinceTime ?? null,
            rollout: status?.current?.rollout ?? null,
          },
    selected: status?.selected ?? null,
    quarantine: (status?.quarantine ?? []).filter(isLive).map((entry) => ({
      tag: entry.tag ?? null,
      cause: entry.cause,
      message: entry.message ?? null,
      rollout: entry.rollout ?? null,
      sinceTime: entry.sinceTime,
    })),
    pin:
      spec.pin === undefined
        ? null
        : {
            tag: spec.pin.tag ?? null,
            digest: status?.pin?.digest ?? spec.pin.digest ?? null,
            reason: spec.pin.reason ?? null,
          },
    standIn: status?.next === undefined ? null : { tag: status.next.tag ?? null, digest: status.next.digest ?? null },
    targets: explainTargets(situation),
    candidate: explainCandidate(situation),
    tags: explainTags(situation),
    rollout: open === undefined ? null : explainRollout(open),
    lastRollouts: finished.slice(-LAST_ROLLOUTS).reverse().map(explainRollout),
    next: foretell(situation),
    notes: [
      ...situation.notes,
      ...(live?.kind === 'Listed' ? live.notes : []),
      ...(live?.kind === 'Unreadable'
        ? [`The registry could not be read from here, so this is what the operator found last: ${live.why}.`]
        : []),
    ],
  };
}

function describeOrder(tags: Situation['policy']['spec']['tags']): string {
  if (tags.semver !== undefined) {
    const { range, variant, prerelease } = tags.semver;
    const extras = [
      ...(variant === undefined ? [] : [`variant ${variant}`]),
      ...(prerelease ? ['prereleases too'] : []),
    ];
    return ['semver', range, ...(extras.length > 0 ? [`(${extras.join(', ')})`] : [])].join(' ');
  }
  if (tags.fixed !== undefined) return `fixed ${tags.fixed.tag}`;
  const direction = (tags.numerical ?? tags.alphabetical)?.direction;
  const name = tags.numerical !== undefined ? 'numerical' : tags.alphabetical !== undefined ? 'alphabetical' : 'newest';
  return direction === 'Descending' ? `${name} descending` : name;
}

function explainTargets({ policy, targets }: Situation): ExplainedTarget[] {
  const shown = new Map<string, ExplainedTarget>();
  for (const target of targets) {
    if ('problem' in target) {
      shown.set(target.title, {
        workload: target.title,
        container: null,
        image: null,
        state: 'missing',
        message: target.problem,
      });
      continue;
    }
    const { title, workload } = target;
    const containers = workload.containers.filter((container) => isTarget(policy, workload, container));
    if (containers.length === 0) {
      shown.set(title, {
        workload: title,
        container: null,
        image: null,
        state: 'missing',
        message: `no container to move: none of ${workload.containers.map(({ name }) => name).join(', ')} has an image of ${policy.spec.image}`,
      });
    }
    for (const { name, image } of containers) {
      shown.set(`${title}/${name}`, {
        workload: title,
        container: name,
        image,
        state: workload.progress.kind,
        message: messageOf(workload.progress),
      });
    }
  }
  return [...shown.values()];
}

function messageOf(progress: Progress): string | null {
  return progress.kind === 'healthy' ? null : progress.message;
}

/** Containers that are named or have an image of the repository, and those that once had one. */
function isTarget({ spec, status }: Situation['policy'], workload: Workload, container: WorkloadContainer): boolean {
  const { kind, metadata } = workload;
  const isRecorded = status?.targets?.some(
    ({ uid, container: name }) => uid === metadata.uid && name === container.name,
  );
  if (isRecorded === true) return true;
  const repository = attempt(() => parseRepository(spec.image));
  const image = attempt(() => parseImage(container.image));
  if (!isSame(image?.repository, repository)) return false;
  return spec.targets.some(
    (target) =>
      target.kind === kind &&
      (target.name === undefined || target.name === metadata.name) &&
      target.containers?.includes(container.name) !== false,
  );
}

function isSame(a: Repository | undefined, b: Repository | undefined): boolean {
  return a !== undefined && b !== undefined && isSameRepository(a, b);
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** The status names only the gates that are not open; the others are open. */
function explainCandidate({ policy }: Situation): Explanation['candidate'] {
  const candidate = policy.status?.candidate;
  if (candidate === undefined) return null;
  const waitingFor = candidate.waitingFor ?? [];
  const names = new Set([...gates.map(({ name }) => name), ...waitingFor.map(({ gate }) => gate)]);
  return {
    tag: candidate.tag ?? null,
    digest: candidate.digest ?? null,
    gates: [...names].map((gate): ExplainedGate => {
      const found = waitingFor.find((answer) => answer.gate === gate);
      return found === undefined
        ? { gate, answer: 'Open', reason: 'Open', message: null, sinceTime: null }
        : {
            gate,
            answer: found.answer,
            reason: found.reason,
            message: found.message,
            sinceTime: found.sinceTime ?? null,
          };
    }),
  };
}

function explainTags({ policy, live }: Situation): Explanation['tags'] {
  if (live?.kind === 'Listed') {
    const { total, considered, rejectedByReason, tags } = live;
    return { source: 'registry', total, considered, rejectedByReason, tags };
  }
  const found = policy.status?.tags;
  if (found === undefined) return null;
  const { total, considered, rejectedByReason = {}, rejected = [] } = found;
  return { source: 'operator', total, considered, rejectedByReason, tags: rejected };
}

function explainRollout({ metadata, spec, status }: ImageRollout): ExplainedRollout {
  const image = spec.images[0];
  return {
    name: metadata.name,
    trigger: spec.trigger,
    tag: image?.tag ?? null,
    digest: image?.digest ?? null,
    state: status?.state ?? 'Pending',
    message: status?.message ?? null,
    decision: spec.decision.message,
    startTime: status?.startTime ?? null,
    endTime: status?.endTime ?? null,
    deadlineTime: status?.deadlineTime ?? null,
    targets: spec.targets.map(({ kind, name }, index) => ({
      workload: `${kind} ${name}`,
      state: status?.targets?.[index]?.state ?? 'Pending',
      message: status?.targets?.[index]?.message ?? null,
    })),
  };
}
