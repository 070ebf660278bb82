// From a policy's targets to the containers that it may move, and who else claims them.

import { MAX_TARGET_WORKLOADS, WORKLOAD_KINDS, type TargetSpec, type WorkloadKind } from '../../api/image-policy.ts';
import type { ImagePolicy } from '../../api/kinds.ts';
import {
  isSameRepository,
  parseImage,
  parseRepository,
  type ImageReference,
  type Repository,
} from '../../image/reference.ts';
import type { Workload, WorkloadContainer } from '../../rollout/workloads/workload.ts';

/** The workloads of the policy's namespace, as the caches have them. */
export interface WorkloadLookup {
  /** Whether the operator moves workloads of this kind. */
  knows(kind: WorkloadKind): boolean;
  /** Whether the API server serves them: the CRD of a configured kind may be missing. */
  serves(kind: WorkloadKind): boolean;
  byName(kind: WorkloadKind, name: string): Workload | undefined;
  byLabels(kind: WorkloadKind, labels: Readonly<Record<string, string>>): readonly Workload[];
}

export interface TargetContainer {
  readonly workload: Workload;
  readonly container: WorkloadContainer;
  /** Which of the policy's images it runs: 0 is `spec.image`, 1 the first companion, and so on. */
  readonly part: number;
  /** The live image, parsed. Absent when it is not one that Slipway can read. */
  readonly image?: ImageReference;
}

/** Something about the targets that people should know. `stalls` means that nothing moves until a person acts. */
export interface TargetProblem {
  readonly reason:
    | 'UnknownTargetKind'
    | 'TargetKindUnavailable'
    | 'TargetNotFound'
    | 'NoMatchingContainer'
    | 'TooManyTargets'
    | 'TargetConflict';
  readonly message: string;
  readonly stalls: boolean;
}

export interface ResolvedTargets {
  /** Sorted by kind, name, init containers first, position. */
  readonly containers: readonly TargetContainer[];
  readonly problems: readonly TargetProblem[];
}

export function titleOf(workload: Pick<Workload, 'kind' | 'metadata'>): string {
  return `${workload.kind} ${workload.metadata.name}`;
}

/** Key under which policies that name a workload are indexed: `namespace/kind/name`, `*` for those with a selector. */
export function targetIndexKeys(policy: ImagePolicy): string[] {
  const namespace = policy.metadata.namespace ?? '';
  return policy.spec.targets.map(({ kind, name }) => `${namespace}/${kind}/${name ?? '*'}`);
}

/** The live image, parsed; undefined when it is not one that Slipway can read. */
export function readImage(image: string): ImageReference | undefined {
  try {
    return parseImage(image);
  } catch {
    return undefined;
  }
}

function matchesTarget(target: TargetSpec, workload: Workload): boolean {
  if (target.kind !== workload.kind) return false;
  if (target.name !== undefined) return target.name === workload.metadata.name;
  const labels = Object.entries(target.selector?.matchLabels ?? {});
  return labels.length > 0 && labels.every(([key, value]) => workload.metadata.labels[key] === value);
}

/** The repositories of a policy, `spec.image` first. Throws as parseRepository does. */
export function repositoriesOf({ spec }: Pick<ImagePolicy, 'spec'>): Repository[] {
  return imagesOf({ spec }).map(parseRepository);
}

/** As the policy spells them: position by position what `repositoriesOf` gives. */
export function imagesOf({ spec }: Pick<ImagePolicy, 'spec'>): string[] {
  return [spec.image, ...(spec.companions ?? []).map(({ image }) => image)];
}

/** The names by which containers are chosen for a part; undefined when they are chosen by their repository. */
function namesOf({ spec }: ImagePolicy, target: TargetSpec, part: number): readonly string[] | undefined {
  return part === 0 ? target.containers : spec.companions?.[part - 1]?.containers;
}

/** Whether one of the policy's targets is this workload. */
export function reachesWorkload(policy: ImagePolicy, workload: Workload): boolean {
  return policy.spec.targets.some((target) => matchesTarget(target, workload));
}

/**
 * Which of the policy's images a container runs; undefined when none. Named containers of another repository are not
 * taken over; one that had an image of a repository, as the record says, stays a target.
 */
function partOf(
  policy: ImagePolicy,
  target: TargetSpec,
  container: WorkloadContainer,
  repositories: readonly Repository[],
  recorded: string | undefined,
): number | undefined {
  for (const text of [recorded, container.image]) {
    const image = text === undefined ? undefined : readImage(text);
    if (image === undefined) continue;
    const part = repositories.findIndex((repository) => isSameRepository(image.repository, repository));
    if (part >= 0 && namesOf(policy, target, part)?.includes(container.name) !== false) return part;
  }
  return undefined;
}

/** Whether the policy would move this container. */
export function claimsContainer(policy: ImagePolicy, workload: Workload, container: WorkloadContainer): boolean {
  const targets = policy.spec.targets.filter((target) => matchesTarget(target, workload));
  if (targets.length === 0) return false;
  const image = readImage(container.image);
  return imagesOf(policy).some((name, part) => {
    const isOfIt = image !== undefined && isOf(image, name);
    return targets.some((target) => namesOf(policy, target, part)?.includes(container.name) ?? isOfIt);
  });
}

function isOf(image: ImageReference, name: string): boolean {
  try {
    return isSameRepository(image.repository, parseRepository(name));
  } catch {
    return false;
  }
}

/**
 * The containers a policy moves. A container with a record in `status.targets` stays one of them when somebody gives it
 * an image of another repository: that is a foreign change, not a lost target.
 */
export function resolveTargets(
  policy: ImagePolicy,
  repositories: readonly Repository[],
  lookup: WorkloadLookup,
  rivals: (workload: Workload) => readonly ImagePolicy[],
): ResolvedTargets {
  const problems: TargetProblem[] = [];
  const found = new Map<string, TargetContainer>();
  const workloadUids = new Set<string>();
  const recorded = new Map(
    (policy.status?.targets ?? []).map(({ uid, container, image }) => [`${uid}/${container}`, image]),
  );

  for (const target of policy.spec.targets) {
    if (!lookup.knows(target.kind)) {
      problems.push({
        reason: 'UnknownTargetKind',
        message: `targets: ${target.kind} is no kind that this operator moves: write ${WORKLOAD_KINDS.join(', ')}, or add it to workloadKinds of the operator's configuration`,
        stalls: true,
      });
      continue;
    }
    if (!lookup.serves(target.kind)) {
      problems.push({
        reason: 'TargetKindUnavailable',
        message: `targets: the API server does not serve ${target.kind} yet: install its CRD`,
        stalls: false,
      });
      continue;
    }
    const workloads = findWorkloads(target, lookup);
    if (workloads.length === 0) {
      const what =
        target.name === undefined
          ? `no ${target.kind} has the labels of the selector`
          : `${target.kind} ${target.name} does not exist`;
      problems.push({
        reason: 'TargetNotFound',
        message: `${what} in namespace ${policy.metadata.namespace ?? ''}`,
        stalls: false,
      });
    }
    for (const workload of workloads) {
      workloadUids.add(workload.metadata.uid);
      const parts = workload.containers.flatMap((container) => {
        const record = recorded.get(`${workload.metadata.uid}/${container.name}`);
        const part = partOf(policy, target, container, repositories, record);
        return part === undefined ? [] : [{ container, part }];
      });
      problems.push(...describeMissingContainers(policy, target, workload, parts));
      for (const { container, part } of parts) {
        const image = readImage(container.image);
        found.set(`${workload.metadata.uid}/${container.name}`, {
          workload,
          container,
          part,
          ...(image !== undefined && { image }),
        });
      }
    }
  }
  if (workloadUids.size > MAX_TARGET_WORKLOADS) {
    problems.push({
      reason: 'TooManyTargets',
      message: `the targets match ${workloadUids.size} workloads, and a policy moves at most ${MAX_TARGET_WORKLOADS}: narrow the selectors or split the policy`,
      stalls: true,
    });
  }
  const kept = new Set([...workloadUids].slice(0, MAX_TARGET_WORKLOADS));
  const containers = [...found.values()].filter(({ workload }) => kept.has(workload.metadata.uid)).sort(byPosition);
  problems.push(...findIdleCompanions(policy, containers), ...findConflicts(policy, containers, rivals));
  return { containers, problems };
}

function findWorkloads(target: TargetSpec, lookup: WorkloadLookup): readonly Workload[] {
  if (target.name === undefined) {
    const workloads = lookup.byLabels(target.kind, target.selector?.matchLabels ?? {});
    return workloads.toSorted((a, b) => compare(a.metadata.name, b.metadata.name));
  }
  const workload = lookup.byName(target.kind, target.name);
  return workload === undefined ? [] : [workload];
}

function describeMissingContainers(
  policy: ImagePolicy,
  target: TargetSpec,
  workload: Workload,
  parts: readonly { readonly container: WorkloadContainer; readonly part: number }[],
): TargetProblem[] {
  const problem = (message: string): TargetProblem => ({ reason: 'NoMatchingContainer', message, stalls: false });
  if (target.containers === undefined) {
    return parts.length > 0
      ? []
      : [problem(`no container of ${titleOf(workload)} has an image of ${policy.spec.image}`)];
  }
  return target.containers.flatMap((name) => {
    if (parts.some(({ container, part }) => part === 0 && container.name === name)) return [];
    const container = workload.containers.find((candidate) => candidate.name === name);
    return container === undefined
      ? [problem(`${titleOf(workload)} has no container ${name}`)]
      : [
          problem(
            `container ${name} of ${titleOf(workload)} runs ${container.image}, which is not of ${policy.spec.image}`,
          ),
        ];
  });
}

function findIdleCompanions(policy: ImagePolicy, containers: readonly TargetContainer[]): TargetProblem[] {
  if (containers.length === 0) return [];
  return (policy.spec.companions ?? []).flatMap(({ image }, index): TargetProblem[] =>
    containers.some(({ part }) => part === index + 1)
      ? []
      : [
          {
            reason: 'NoMatchingContainer',
            message: `companions: no container of the targets runs an image of ${image}`,
            stalls: false,
          },
        ],
  );
}

function findConflicts(
  policy: ImagePolicy,
  containers: readonly TargetContainer[],
  rivals: (workload: Workload) => readonly ImagePolicy[],
): TargetProblem[] {
  return containers.flatMap(({ workload, container }): TargetProblem[] => {
    const others = rivals(workload)
      .filter((rival) => rival.metadata.uid !== policy.metadata.uid && rival.metadata.deletionTimestamp === undefined)
      .filter((rival) => claimsContainer(rival, workload, container))
      .map(({ metadata }) => metadata.name)
      .sort();
    if (others.length === 0) return [];
    return [
      {
        reason: 'TargetConflict',
        message: `container ${container.name} of ${titleOf(workload)} is also a target of policy ${others.join(', ')}: let one policy have it (targets[].containers)`,
        stalls: true,
      },
    ];
  });
}

function byPosition(a: TargetContainer, b: TargetContainer): number {
  return (
    compare(a.workload.kind, b.workload.kind) ||
    compare(a.workload.metadata.name, b.workload.metadata.name) ||
    Number(b.container.init) - Number(a.container.init) ||
    a.container.index - b.container.index
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
