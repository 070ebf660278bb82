// A small world in which the real decisions are carried out: a registry, two workloads, people, a clock that jumps, and an
// operator that may be killed at any write. It performs what `decide` and the rollout state machine ask for as the
// controllers do, and checks the invariants after every write by its own notes, not by the operator's records.

import assert from 'node:assert/strict';
import type { ImageDecisionSpec } from '../../../../operator/api/image-decision.ts';
import type { ImageRolloutStatus } from '../../../../operator/api/image-rollout.ts';
import {
  API_GROUP_VERSION,
  type ImageDecision,
  type ImagePolicy,
  type ImageRollout,
} from '../../../../operator/api/kinds.ts';
import { decide } from '../../../../operator/controllers/policy/decide.ts';
import type { PinFact } from '../../../../operator/controllers/policy/observation.ts';
import type { Digest } from '../../../../operator/image/digest.ts';
import { parseImage } from '../../../../operator/image/reference.ts';
import { readDecisions } from '../../../../operator/rollout/decisions.ts';
import type { TargetHealth } from '../../../../operator/rollout/health/target-health.ts';
import { nextStep, undoImage, type ObservedTarget } from '../../../../operator/rollout/state-machine.ts';
import { isFinished, rolloutNumber } from '../../../../operator/rollout/verdict.ts';
import type { Workload } from '../../../../operator/rollout/workloads/workload.ts';
import { toTimestamp } from '../../../../operator/time/duration.ts';
import { digestOf } from '../../../support/builders/images.ts';
import { NOW_MS, observation } from '../../../support/builders/observations.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { workload } from '../../../support/builders/workloads.ts';

export const NAMES = ['a', 'b'] as const;
export type Name = (typeof NAMES)[number];
export const TAGS = ['1.0.0', '1.1.0', '1.2.0', '1.3.0', '2.0.0'] as const;
export type Quality = 'good' | 'crashes' | 'homeless' | 'slow to fail';

export type Event =
  | { readonly kind: 'push'; readonly tag: string; readonly quality: Quality }
  | { readonly kind: 'delete tag'; readonly tag: string }
  | { readonly kind: 'set image'; readonly name: Name; readonly tag: string }
  | { readonly kind: 'suspend'; readonly suspend: boolean }
  | { readonly kind: 'registry'; readonly isUp: boolean }
  | { readonly kind: 'pin'; readonly tag: string | undefined }
  | { readonly kind: 'decide'; readonly decision: ImageDecisionSpec['decision']; readonly tag: string }
  | { readonly kind: 'recreate'; readonly name: Name }
  | { readonly kind: 'pass time'; readonly ms: number }
  /** The operator is killed before or after one of its next writes. */
  | { readonly kind: 'kill'; readonly write: number; readonly isAfter: boolean };

export interface Settings {
  readonly running: readonly [string, string];
  readonly onForeignChange?: string;
  readonly onFailure?: string;
  readonly atomic?: boolean;
  readonly historyLimit?: number;
  readonly soak?: string;
}

interface LiveWorkload {
  uid: string;
  version: number;
  image: string;
  mark: string | undefined;
}

/** A write of the operator to a workload, as it was seen from outside. */
export interface Write {
  readonly name: Name;
  readonly uid: string;
  readonly rollout: string;
  readonly isBack: boolean;
  readonly from: string;
  readonly to: string;
  readonly digest: string;
  readonly trigger: string;
  /** How often a person had acted before. */
  readonly acts: number;
  readonly attempt: number;
}

class Killed extends Error {}

/** More looks than any settling takes. */
const MAX_LOOKS = 60;
const MAX_STEPS = 60;

export class World {
  readonly writes: Write[] = [];
  nowMs = NOW_MS;
  #policy: ImagePolicy;
  #rollouts: ImageRollout[] = [];
  readonly #decisions: ImageDecision[] = [];
  readonly #workloads = new Map<Name, LiveWorkload>();
  readonly #tags = new Map<string, Digest>();
  readonly #quality = new Map<string, Quality>();
  /** Rollouts as they were when they finished. */
  readonly #ended = new Map<string, string>();
  #isUp = true;
  #serial = 0;
  #acts = 0;
  #kill: { after: number; isAfter: boolean } | undefined;
  #epoch = 0;

  constructor({ running, ...rollout }: Settings) {
    this.#policy = imagePolicy({ spec: { rollout: { soak: '0s', ...rollout } } });
    for (const [index, name] of NAMES.entries()) {
      const tag = running[index] ?? '1.0.0';
      if (!this.#tags.has(tag)) this.happen({ kind: 'push', tag, quality: 'good' });
      this.#workloads.set(name, {
        uid: `uid-of-${name}`,
        version: ++this.#serial,
        image: this.#pinned(tag),
        mark: undefined,
      });
    }
  }

  get policy(): ImagePolicy {
    return this.#policy;
  }

  get rollouts(): readonly ImageRollout[] {
    return this.#rollouts;
  }

  image(name: Name): string {
    return this.#workloads.get(name)?.image ?? '';
  }

  isGood(image: string): boolean {
    return (this.#quality.get(parseImage(image).digest ?? '') ?? 'good') === 'good';
  }

  get bestTag(): string | undefined {
    return [...this.#tags.keys()]
      .filter((tag) => tag.startsWith('1.'))
      .sort()
      .at(-1);
  }

  happen(it: Event): void {
    switch (it.kind) {
      case 'push': {
        const digest = digestOf(`push ${++this.#serial}`);
        this.#tags.set(it.tag, digest);
        this.#quality.set(digest, it.quality);
        return;
      }
      case 'delete tag':
        this.#tags.delete(it.tag);
        return;
      case 'set image': {
        const live = this.#workloads.get(it.name);
        if (live === undefined || !this.#tags.has(it.tag)) return;
        live.image = this.#pinned(it.tag);
        live.version = ++this.#serial;
        this.#act();
        return;
      }
      case 'suspend':
        this.#edit({ suspend: it.suspend });
        return;
      case 'registry':
        this.#isUp = it.isUp;
        return;
      case 'pin': {
        const { pin: _, ...spec } = this.#policy.spec;
        this.#policy = { ...this.#policy, spec };
        this.#edit(it.tag === undefined ? {} : { pin: { tag: it.tag } });
        return;
      }
      case 'decide':
        this.#decide(it);
        return;
      case 'recreate':
        this.#workloads.set(it.name, {
          uid: `uid-${++this.#serial}`,
          version: this.#serial,
          image: this.#pinned('1.0.0'),
          mark: undefined,
        });
        this.#act();
        return;
      case 'pass time':
        this.nowMs += it.ms;
        return;
      case 'kill':
        this.#kill = { after: it.write, isAfter: it.isAfter };
    }
  }

  /** The operator works until there is nothing to do but wait for time; then time passes, until nothing ever comes. */
  settle(): void {
    for (let look = 0; look < MAX_LOOKS; look += 1) {
      let wakeMs: number | undefined;
      try {
        wakeMs = this.#work();
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        this.#epoch += 1;
        continue;
      }
      this.#check();
      if (wakeMs === undefined) return;
      if (wakeMs > this.nowMs) this.nowMs = wakeMs;
    }
    throw new Error(
      `it never comes to rest: ${JSON.stringify(this.writes.slice(-4))} ${JSON.stringify(this.#policy.status?.conditions)}`,
    );
  }

  /** Everything that can be done now. The result is when there is more; undefined: never. */
  #work(): number | undefined {
    let wakes: number[] = [];
    for (let round = 0; round < MAX_LOOKS; round += 1) {
      const before = this.#serial;
      wakes = [];
      for (const { metadata } of this.#rollouts) {
        const wakeMs = this.#advance(metadata.name);
        if (wakeMs !== undefined) wakes.push(wakeMs);
      }
      const lookMs = this.#look();
      if (lookMs !== undefined) wakes.push(lookMs);
      if (this.#serial === before) return wakes.length === 0 ? undefined : Math.min(...wakes);
    }
    throw new Error(`it works without end: ${JSON.stringify(this.#policy.status)}`);
  }

  /** One look of the policy controller. */
  #look(): number | undefined {
    const { status, create, prune, lookAgainMs } = decide(this.#observe());
    if (create !== undefined) {
      assert.ok(!this.#rollouts.some(({ metadata }) => metadata.name === create.name), 'a number is used twice');
      this.#write(() => {
        this.#rollouts.push({
          apiVersion: API_GROUP_VERSION,
          kind: 'ImageRollout',
          metadata: {
            name: create.name,
            namespace: 'shop',
            uid: `uid-of-${create.name}`,
            resourceVersion: '1',
            generation: 1,
            creationTimestamp: toTimestamp(this.nowMs),
          },
          spec: create.spec,
        });
      });
    }
    if (JSON.stringify(status) !== JSON.stringify(this.#policy.status))
      this.#write(() => void (this.#policy = { ...this.#policy, status }));
    for (const name of prune) {
      this.#write(() => void (this.#rollouts = this.#rollouts.filter(({ metadata }) => metadata.name !== name)));
    }
    return lookAgainMs === undefined ? undefined : this.nowMs + lookAgainMs;
  }

  #observe() {
    return observation({
      policy: this.#policy,
      workloads: NAMES.map((name) => this.#live(name)),
      ...(this.#isUp && this.#tags.size > 0 && { tags: Object.fromEntries(this.#tags) }),
      rollouts: this.#rollouts,
      decisions: this.#decisions,
      more: {
        nowMs: this.nowMs,
        ...(!this.#isUp && { problem: { code: 'Unavailable', message: 'no answer', stalls: false } }),
        ...(this.#policy.spec.pin !== undefined && { pin: this.#resolvePin(this.#policy.spec.pin.tag ?? '') }),
      },
    });
  }

  #resolvePin(tag: string): PinFact {
    const known = this.#policy.status?.pin;
    if (known?.tag === tag && known.digest !== undefined)
      return { kind: 'resolved', tag, digests: [known.digest as Digest] };
    const digest = this.#isUp ? this.#tags.get(tag) : undefined;
    return digest === undefined
      ? { kind: 'unresolved', message: `spec.pin.tag: there is no ${tag}` }
      : { kind: 'resolved', tag, digests: [digest] };
  }

  /** One rollout as far as it goes now. */
  #advance(name: string): number | undefined {
    for (let count = 0; count < MAX_STEPS; count += 1) {
      const rollout = this.#rollouts.find(({ metadata }) => metadata.name === name);
      if (rollout === undefined || isFinished(rollout.status)) return undefined;
      const { spec, status } = rollout;
      const { spec: asked, metadata } = this.#policy;
      const rejected = this.#rejection(rollout);
      const step = nextStep({
        nowMs: this.nowMs,
        name,
        generation: 1,
        spec,
        ...(status !== undefined && { status }),
        policy: {
          generation: metadata.generation ?? 0,
          suspend: asked.suspend,
          ...(asked.pin !== undefined && { pin: asked.pin }),
        },
        ...(rejected !== undefined && { rejected }),
        claimant: { holder: `replica-${this.#epoch}`, epoch: this.#epoch },
        targets: spec.targets.map((target, index) =>
          this.#target(target.name as Name, status?.targets?.[index]?.state),
        ),
      });
      switch (step.kind) {
        case 'wait':
          return step.wakeAtMs;
        case 'record':
          this.#record(name, step.status);
          break;
        case 'finish':
          for (const index of step.release) this.#release(name, spec.targets[index]?.name as Name);
          this.#record(name, step.status);
          return undefined;
        case 'apply':
        case 'undo':
          this.#writeImage(rollout, step.index, step.kind === 'undo');
          break;
        case 'check':
          throw new Error('no checks are asked for');
      }
    }
    throw new Error(`rollout ${name} goes round in circles`);
  }

  #rejection({ spec }: ImageRollout): string | undefined {
    const { rejections } = readDecisions(this.#decisions);
    const made = spec.images.map(({ digest }) => rejections.get(digest)).find((it) => it !== undefined);
    return made !== undefined && spec.decisions?.includes(made.uid) !== true ? `rejected by ${made.by}` : undefined;
  }

  #target(name: Name, state: string | undefined): ObservedTarget {
    const live = this.#live(name);
    const isAsked = state === 'Applied' || state === 'Healthy' || state === 'Undone';
    return { live, ...(isAsked && { health: this.#health(name) }) };
  }

  #health(name: Name): TargetHealth {
    const digest = parseImage(this.image(name)).digest ?? '';
    switch (this.#quality.get(digest)) {
      case 'crashes':
        return { kind: 'failing', class: 'Image', reason: 'CrashLoopBackOff', message: 'it crashes', isDefinite: true };
      case 'slow to fail':
        return { kind: 'failing', class: 'Image', reason: 'Unready', message: 'not ready', isDefinite: false };
      case 'homeless':
        return {
          kind: 'failing',
          class: 'Environment',
          reason: 'Unschedulable',
          message: 'no room',
          isDefinite: false,
        };
      default:
        return { kind: 'healthy' };
    }
  }

  #live(name: Name): Workload {
    const live = this.#workloads.get(name);
    if (live === undefined) throw new Error(`there is no ${name}`);
    const isWell = this.isGood(live.image);
    return workload({
      name,
      uid: live.uid,
      resourceVersion: String(live.version),
      containers: { web: live.image },
      progress: isWell ? { kind: 'healthy' } : { kind: 'progressing', message: '0 of 1 pods are available' },
      ...(live.mark !== undefined && { rollout: live.mark }),
    });
  }

  #writeImage({ metadata, spec, status }: ImageRollout, index: number, isBack: boolean): void {
    const target = spec.targets[index];
    const container = target?.containers[0];
    const live = this.#workloads.get(target?.name as Name);
    if (target === undefined || container === undefined || live === undefined) throw new Error('nothing to write');
    const to = isBack ? undoImage(status?.targets?.[index] ?? {}, container) : container.to;
    const from = isBack ? container.to : container.from;
    assert.ok(to !== undefined, 'an undo without an image');
    assert.equal(live.uid, target.uid, 'a workload that was created anew is written');
    assert.equal(live.image, from, 'written over what was not expected');
    if (isBack) assert.ok(status?.failure !== undefined, 'set back before the failure was on record');
    assert.ok(status?.claim !== undefined && !isFinished(status), 'written outside of the claimed time');
    assert.equal(this.#policy.spec.suspend, false, 'written while suspended');
    this.#write(() => {
      live.image = to;
      live.version = ++this.#serial;
      live.mark = metadata.name;
      this.writes.push({
        name: target.name as Name,
        uid: live.uid,
        rollout: metadata.name,
        isBack,
        from,
        to,
        digest: parseImage(to).digest ?? '',
        trigger: spec.trigger,
        acts: this.#acts,
        attempt: spec.attempt,
      });
    });
  }

  #release(rollout: string, name: Name): void {
    const live = this.#workloads.get(name);
    if (live?.mark !== rollout) return;
    this.#write(() => {
      live.mark = undefined;
      live.version = ++this.#serial;
    });
  }

  #record(name: string, status: ImageRolloutStatus): void {
    this.#write(() => {
      this.#rollouts = this.#rollouts.map((rollout) =>
        rollout.metadata.name === name
          ? { ...rollout, status: JSON.parse(JSON.stringify(status)) as ImageRolloutStatus }
          : rollout,
      );
    });
  }

  /** A write to the API server: the operator may be killed before it or after it. */
  #write(commit: () => void): void {
    const isStruck = this.#kill !== undefined && --this.#kill.after <= 0;
    const isAfter = this.#kill?.isAfter === true;
    if (isStruck) this.#kill = undefined;
    if (isStruck && !isAfter) throw new Killed();
    this.#serial += 1;
    commit();
    if (isStruck) throw new Killed();
  }

  #decide({ decision, tag }: Extract<Event, { kind: 'decide' }>): void {
    const digest = this.#tags.get(tag);
    if (decision !== 'Resume' && digest === undefined) return;
    // A second later, as the API server keeps whole seconds.
    this.nowMs += 1_000;
    this.#serial += 1;
    this.#decisions.push({
      apiVersion: API_GROUP_VERSION,
      kind: 'ImageDecision',
      metadata: {
        name: `decision-${String(this.#serial).padStart(6, '0')}`,
        namespace: 'shop',
        uid: `uid-of-decision-${this.#serial}`,
        resourceVersion: '1',
        creationTimestamp: toTimestamp(this.nowMs),
      },
      spec: { policy: 'web', decision, by: 'jane', ...(decision !== 'Resume' && digest !== undefined && { digest }) },
    });
    this.#act();
  }

  #edit(change: object): void {
    const { metadata, spec } = this.#policy;
    this.#policy = {
      ...this.#policy,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      spec: { ...spec, ...change },
    };
    this.#act();
  }

  #act(): void {
    this.#acts += 1;
    this.nowMs += 1_000;
  }

  #pinned(tag: string): string {
    return `ghcr.io/acme/web:${tag}@${this.#tags.get(tag) ?? digestOf('first')}`;
  }

  /** What must hold whenever nothing is under way. */
  #check(): void {
    for (const rollout of this.#rollouts) {
      const { name } = rollout.metadata;
      if (!isFinished(rollout.status)) continue;
      const now = JSON.stringify(rollout.status);
      assert.equal(this.#ended.get(name) ?? now, now, `finished rollout ${name} has changed`);
      this.#ended.set(name, now);
    }
    const open = this.#rollouts.filter(({ status }) => !isFinished(status));
    assert.ok(open.length <= 1, 'two rollouts of one policy are open');
    const numbers = this.#rollouts.map(rolloutNumber);
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      'history is not in order',
    );
  }
}
