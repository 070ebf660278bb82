// Who may start: one rollout per workload at a time, and a bounded number in flight altogether, so that a hundred policies
// that see a new image at once do not move a hundred workloads at once. Pending rollouts form one line: claimed ones first,
// then by age. What a person asked for does not stand in it.

import type { ImageRollout } from '../../api/kinds.ts';
import type { Cache } from '../../kube/informer.ts';
import { isFinished, rolloutNumber } from '../../rollout/verdict.ts';

/** The rollout that must finish before this one may claim; undefined when none must. */
export function findBlocker(rollout: ImageRollout, others: Iterable<ImageRollout>): string | undefined {
  let first: ImageRollout | undefined;
  for (const other of others) {
    if (other.metadata.uid === rollout.metadata.uid || isFinished(other.status)) continue;
    if (rank(other) < rank(rollout) && (first === undefined || rank(other) < rank(first))) first = other;
  }
  return first?.metadata.name;
}

/** Those of `others` that only await the next run of a CronJob and make way for this one, once they are told. */
export function findSuperseded(rollout: ImageRollout, others: Iterable<ImageRollout>): ImageRollout[] {
  return [...others].filter(
    (other) => other.status?.awaitsRun === true && !isFinished(other.status) && isNewer(rollout, other),
  );
}

/** Whether the same policy asked for `a` after `b`. */
export function isNewer(a: ImageRollout, b: ImageRollout): boolean {
  return a.spec.policy.uid === b.spec.policy.uid && rolloutNumber(a) > rolloutNumber(b);
}

function rank({ metadata, status }: ImageRollout): string {
  const claimed = status?.claim === undefined ? '1' : '0';
  return [claimed, metadata.creationTimestamp ?? '', metadata.namespace ?? '', metadata.name].join(' ');
}

const PERSONAL_TRIGGERS = new Set(['Pin', 'Reject']);

export class Turns {
  readonly #rollouts: Pick<Cache<ImageRollout>, 'list'>;
  readonly #max: number;
  /** Rollouts that a worker has in hand: their claim may be on its way to the API server. */
  readonly #inHand = new Map<string, ImageRollout>();
  /** Rollouts that were told to wait. */
  readonly #waiting = new Map<string, ImageRollout>();

  constructor(options: { readonly rollouts: Pick<Cache<ImageRollout>, 'list'>; readonly max: number }) {
    this.#rollouts = options.rollouts;
    this.#max = options.max;
  }

  /** Counts as in flight from its first `wait` without an answer until disposed. */
  hold(rollout: ImageRollout): Disposable {
    return { [Symbol.dispose]: () => void this.#inHand.delete(rollout.metadata.uid) };
  }

  /** Why it may not claim yet, as a sentence; undefined when it may. Taking the turn and being told so are one step. */
  wait(rollout: ImageRollout): string | undefined {
    const { uid } = rollout.metadata;
    this.#waiting.delete(uid);
    if (rollout.status?.claim !== undefined || PERSONAL_TRIGGERS.has(rollout.spec.trigger)) return undefined;
    if (this.#inHand.has(uid)) return undefined;
    let inFlight = 0;
    let ahead = 0;
    for (const other of this.#rollouts.list()) {
      if (other.metadata.uid === uid || !this.#takesTurn(other)) continue;
      if (other.status?.claim !== undefined || this.#inHand.has(other.metadata.uid)) inFlight += 1;
      if (rank(other) < rank(rollout)) ahead += 1;
    }
    if (inFlight >= this.#max || ahead >= this.#max) {
      this.#waiting.set(uid, rollout);
      return `${this.#max} rollouts are in flight, as many as limits.rollouts allows`;
    }
    this.#inHand.set(uid, rollout);
    return undefined;
  }

  /** Those to ask again now that one has ended: the first in line. */
  callUp(): ImageRollout[] {
    const open = new Set(
      [...this.#rollouts.list()].filter(({ status }) => !isFinished(status)).map(({ metadata }) => metadata.uid),
    );
    for (const uid of this.#waiting.keys()) if (!open.has(uid)) this.#waiting.delete(uid);
    return [...this.#waiting.values()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)).slice(0, this.#max);
  }

  #takesTurn({ status, spec }: ImageRollout): boolean {
    return (
      !isFinished(status) &&
      status?.awaitsRun !== true &&
      status?.suspendedTime === undefined &&
      !PERSONAL_TRIGGERS.has(spec.trigger)
    );
  }
}
