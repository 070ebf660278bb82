// What must hold before a rollout: what the policy asks for, and what the operator's configuration demands of every
// policy in namespaces with certain labels. The stricter wins; in doubt about the labels, the demand applies.

import { LRUCache } from 'lru-cache';
import type { ImagePolicy } from '../../api/kinds.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { Clock } from '../../time/clock.ts';
import { parseDurationMs } from '../../time/duration.ts';
import { namespaces } from '../resources.ts';
import type { GateRules } from './observation.ts';

/** One entry of `requiredGates` in the operator's configuration. */
export interface RequiredGates {
  /** Absent: every namespace. */
  readonly namespaceSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly approval?: { readonly required: number; readonly validForMs: number };
  readonly minimumAgeMs?: number;
  readonly pins: 'Report' | 'Enforce';
}

export interface EffectiveRules {
  readonly gates: GateRules;
  /** What is demanded of every policy there, whatever it asks for itself. 0: nothing. */
  readonly minimumAgeFloorMs: number;
}

const KEEP_MS = 60_000;
const MAX_KEPT = 10_000;

export class GateRulesReader {
  readonly #required: readonly RequiredGates[];
  readonly #client: Pick<KubeClient, 'get'>;
  readonly #clock: Clock;
  readonly #labels = new LRUCache<
    string,
    { readonly labels: Readonly<Record<string, string>> | undefined; readonly readMs: number }
  >({ max: MAX_KEPT });

  constructor(deps: {
    readonly required: readonly RequiredGates[];
    readonly client: Pick<KubeClient, 'get'>;
    readonly clock: Clock;
  }) {
    this.#required = deps.required;
    this.#client = deps.client;
    this.#clock = deps.clock;
  }

  async read(policy: ImagePolicy, signal: AbortSignal): Promise<EffectiveRules> {
    const namespace = policy.metadata.namespace ?? '';
    const demands: RequiredGates[] = [];
    for (const demand of this.#required) if (await this.#applies(demand, namespace, signal)) demands.push(demand);
    return combine(policy, demands);
  }

  async #applies({ namespaceSelector }: RequiredGates, namespace: string, signal: AbortSignal): Promise<boolean> {
    if (namespaceSelector === undefined) return true;
    const labels = await this.#readLabels(namespace, signal);
    if (labels === undefined) return true;
    return Object.entries(namespaceSelector.matchLabels).every(([key, value]) => labels[key] === value);
  }

  /** Undefined: they may not be read. */
  async #readLabels(namespace: string, signal: AbortSignal): Promise<Readonly<Record<string, string>> | undefined> {
    const kept = this.#labels.get(namespace);
    const nowMs = this.#clock.monotonicMs();
    if (kept !== undefined && nowMs - kept.readMs < KEEP_MS) return kept.labels;
    let labels: Readonly<Record<string, string>> | undefined;
    try {
      labels =
        (await this.#client.get(namespaces, { namespace: '', name: namespace }, { signal }))?.metadata.labels ?? {};
    } catch (error) {
      if (!(error instanceof KubeError) || !error.isForbidden) throw error;
    }
    this.#labels.set(namespace, { labels, readMs: nowMs });
    return labels;
  }
}

/** The stricter of everything that is asked for. */
export function combine({ spec }: Pick<ImagePolicy, 'spec'>, demands: readonly RequiredGates[]): EffectiveRules {
  const asked = spec.gates?.approval;
  const approvals = [
    ...(asked === undefined ? [] : [{ required: asked.required, validForMs: parseDurationMs(asked.validFor) }]),
    ...demands.flatMap(({ approval }) => (approval === undefined ? [] : [approval])),
  ];
  const isEnforced = demands.some(({ pins, approval }) => pins === 'Enforce' && approval !== undefined);
  return {
    gates: {
      ...(approvals.length > 0 && {
        approval: {
          required: Math.max(...approvals.map(({ required }) => required)),
          validForMs: Math.min(...approvals.map(({ validForMs }) => validForMs)),
        },
      }),
      enforcedOnPins: isEnforced ? ['approval'] : [],
    },
    minimumAgeFloorMs: Math.max(0, ...demands.map(({ minimumAgeMs }) => minimumAgeMs ?? 0)),
  };
}
