// A small world for the rollout state machine: a store that refuses stale writes, workloads that people and controllers
// change, and operators that take one step at a time, crash anywhere and are deposed without noticing. It performs steps
// as the rollout controller does, and checks what must hold after each.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import {
  imageRolloutStatus,
  type ImageRolloutSpec,
  type ImageRolloutStatus,
  type RolloutTarget,
  type TargetState,
} from '../../../operator/api/image-rollout.ts';
import {
  compareImages,
  nextStep,
  type ObservedTarget,
  type RolloutObservation,
  type RolloutStep,
} from '../../../operator/rollout/state-machine.ts';
import { isFinished } from '../../../operator/rollout/verdict.ts';
import type { Progress, Workload } from '../../../operator/rollout/workloads/workload.ts';
import { parseTimestampMs } from '../../../operator/time/duration.ts';
import { rolloutSpec } from '../../support/builders/rollouts.ts';
import { workload } from '../../support/builders/workloads.ts';

export const START_MS = Date.UTC(2026, 0, 5, 8);
export const ROLLOUT_NAME = 'web-1';
const FINAL_STATES: readonly TargetState[] = [
  'Healthy',
  'Failed',
  'Gone',
  'Contested',
  'Skipped',
  'Restored',
  'UndoFailed',
];
/** How long the controller waits before it tries a refused write again. */
const WRITE_RETRY_MS = 10_000;

const BACK_DIGEST = `sha256:${'b'.repeat(64)}`;

export type Mood = Progress['kind'];

/** Everything that can happen. `target` is taken modulo the number of targets. */
export type Action =
  | { readonly do: 'step' | 'observe' | 'perform' | 'crash' | 'crashAfterWrite' | 'zombiePerform' | 'sync' }
  | { readonly do: 'newLeader'; readonly lag: number }
  | { readonly do: 'advance' | 'jump'; readonly ms: number }
  | { readonly do: 'suspend' | 'resume' | 'editPolicy' | 'deletePolicy' | 'block' | 'unblock' }
  | { readonly do: 'mood'; readonly target: number; readonly mood: Mood }
  | {
      readonly do:
        | 'setForeign'
        | 'setFrom'
        | 'setOneFrom'
        | 'setTo'
        | 'strip'
        | 'touch'
        | 'delete'
        | 'removeContainer'
        | 'refuse'
        | 'accept';
      readonly target: number;
    }
  | { readonly do: 'recreate'; readonly target: number; readonly image: 'from' | 'to' | 'foreign' };

interface SimulatedWorkload {
  uid: string;
  version: number;
  images: Map<string, string>;
  rollout: string | undefined;
  mood: Mood;
}

interface Prepared {
  readonly step: RolloutStep;
  readonly observation: RolloutObservation;
  readonly statusVersion: number;
}

/** One replica's view: what it believes the rollout's status is, and what it remembers about the targets. */
interface Operator {
  readonly holder: string;
  readonly epoch: number;
  statusVersion: number;
  /** Memory of refused writes, lost in a crash. */
  problems: Map<number, string>;
  prepared: Prepared | undefined;
}

export class RolloutSimulator {
  readonly spec: ImageRolloutSpec;
  nowMs = START_MS;
  /** Every version of the status, the last one being the truth. */
  readonly history: (ImageRolloutStatus | undefined)[] = [undefined];
  /** Successful writes by Slipway, per target: forward, and back. */
  readonly writes: number[];
  readonly undos: number[];
  #policy: { generation: number; suspend: boolean } | undefined = { generation: 1, suspend: false };
  #isBlocked = false;
  readonly #workloads: (SimulatedWorkload | undefined)[];
  readonly #refused = new Set<number>();
  /** Targets whose annotation people took off before the write was on record: the write can no longer be recognised. */
  readonly #blurred = new Set<number>();
  #leader: Operator;
  #zombie: Operator | undefined;
  #serial = 0;

  constructor(targets: readonly RolloutTarget[], progressDeadline: string) {
    // What an undo brings back is the same image by digest.
    const withBack = targets.map((target) => ({
      ...target,
      containers: target.containers.map((container) => ({ ...container, back: `${container.from}@${BACK_DIGEST}` })),
    }));
    this.spec = rolloutSpec({
      targets: withBack,
      settings: { progressDeadline, soak: '0s', onFailure: 'RollBack', atomic: true },
    });
    this.writes = targets.map(() => 0);
    this.undos = targets.map(() => 0);
    this.#workloads = targets.map((target) => this.#create(target, 'from', target.uid));
    this.#leader = { holder: 'replica-0', epoch: 0, statusVersion: 0, problems: new Map(), prepared: undefined };
  }

  get status(): ImageRolloutStatus | undefined {
    return this.history.at(-1);
  }

  get isFinished(): boolean {
    return isFinished(this.status);
  }

  get leaderEpoch(): number {
    return this.#leader.epoch;
  }

  live(index: number): Workload | undefined {
    const simulated = this.#workloads[index];
    const target = this.spec.targets[index]!;
    if (simulated === undefined) return undefined;
    const imagesOf = (init: boolean) =>
      Object.fromEntries(
        target.containers
          .filter((container) => container.init === init && simulated.images.has(container.name))
          .map(({ name }) => [name, simulated.images.get(name)!]),
      );
    const { mood, rollout } = simulated;
    return workload({
      kind: target.kind,
      name: target.name,
      uid: simulated.uid,
      resourceVersion: String(simulated.version),
      containers: imagesOf(false),
      initContainers: imagesOf(true),
      progress: mood === 'healthy' ? { kind: mood } : { kind: mood, message: `it is ${mood}` },
      ...(rollout !== undefined && { rollout }),
    });
  }

  act(action: Action): void {
    const index = 'target' in action ? action.target % this.spec.targets.length : 0;
    const simulated = this.#workloads[index];
    const target = this.spec.targets[index]!;
    switch (action.do) {
      case 'step':
        this.#leader.prepared ??= this.#observe(this.#leader);
        return this.#perform(this.#leader);
      case 'observe':
        this.#leader.prepared = this.#observe(this.#leader);
        return;
      case 'perform':
        return this.#perform(this.#leader);
      case 'zombiePerform':
        if (this.#zombie !== undefined) this.#perform(this.#zombie);
        return;
      case 'crash':
        return this.#crash();
      case 'crashAfterWrite':
        this.#perform(this.#leader);
        return this.#crash();
      case 'sync':
        this.#leader.statusVersion = this.history.length - 1;
        return;
      case 'newLeader':
        return this.#elect(action.lag);
      case 'advance':
      case 'jump':
        this.nowMs += action.ms;
        return;
      case 'suspend':
      case 'resume':
        if (this.#policy !== undefined && this.#policy.suspend !== (action.do === 'suspend')) {
          this.#policy = { generation: this.#policy.generation + 1, suspend: action.do === 'suspend' };
        }
        return;
      case 'editPolicy':
        if (this.#policy !== undefined) this.#policy = { ...this.#policy, generation: this.#policy.generation + 1 };
        return;
      case 'deletePolicy':
        this.#policy = undefined;
        return;
      case 'block':
      case 'unblock':
        this.#isBlocked = action.do === 'block';
        return;
      case 'refuse':
        this.#refused.add(index);
        return;
      case 'accept':
        this.#refused.delete(index);
        return;
      case 'recreate':
        this.#workloads[index] = this.#create(target, action.image, `recreated-${++this.#serial}`);
        return;
      case 'delete':
        this.#workloads[index] = undefined;
        return;
      default:
        if (simulated !== undefined) this.#change(simulated, target, index, action);
    }
  }

  /** What people and controllers do to a workload that is there. */
  #change(simulated: SimulatedWorkload, target: RolloutTarget, index: number, action: Action): void {
    simulated.version = ++this.#serial;
    switch (action.do) {
      case 'mood':
        simulated.mood = action.mood;
        return;
      case 'touch':
        return;
      case 'strip':
        if (simulated.rollout === ROLLOUT_NAME && this.status?.targets?.[index]?.state === 'Pending')
          this.#blurred.add(index);
        simulated.rollout = undefined;
        return;
      case 'removeContainer':
        simulated.images.delete(target.containers[0]!.name);
        return;
      case 'setForeign':
        return this.#setImages(simulated, target, 'foreign');
      case 'setFrom':
        return this.#setImages(simulated, target, 'from');
      case 'setTo':
        return this.#setImages(simulated, target, 'to');
      case 'setOneFrom': {
        const { name, from } = target.containers[0]!;
        if (simulated.images.has(name)) simulated.images.set(name, from);
        return;
      }
      default:
        throw new Error(`${action.do} is nothing that is done to a workload`);
    }
  }

  /** Nobody interferes any more and time passes: the rollout must come to its end. */
  letItFinish(): void {
    this.act({ do: 'resume' });
    this.act({ do: 'unblock' });
    this.act({ do: 'sync' });
    this.#leader.prepared = undefined;
    const deadlineMs = 600_000;
    const leftMs = Math.max(0, (parseTimestampMs(this.status?.deadlineTime) ?? this.nowMs) - this.nowMs);
    const latestMs = this.nowMs + leftMs + 4 * deadlineMs + 120_000;
    const maxStepsAtOnce = 40 + 8 * this.spec.targets.length;
    let stepsAtOnce = 0;
    while (!this.isFinished) {
      stepsAtOnce += 1;
      if (stepsAtOnce > maxStepsAtOnce) throw new Error(`goes round in circles: ${JSON.stringify(this.status)}`);
      if (this.nowMs > latestMs) throw new Error(`no end in time: ${JSON.stringify(this.status)}`);
      this.#leader.prepared ??= this.#observe(this.#leader);
      const { step } = this.#leader.prepared;
      const isTryingAgain = (step.kind === 'apply' || step.kind === 'undo') && this.#leader.problems.has(step.index);
      if (step.kind === 'wait') {
        if (step.wakeAtMs === undefined) throw new Error(`waits for nothing: ${JSON.stringify(this.status)}`);
        this.nowMs = step.wakeAtMs;
        stepsAtOnce = 0;
        this.#leader.prepared = undefined;
      } else if (isTryingAgain) {
        this.nowMs += WRITE_RETRY_MS;
        stepsAtOnce = 0;
        this.#leader.problems.clear();
        this.#leader.prepared = undefined;
      } else {
        this.#perform(this.#leader);
      }
    }
    this.#checkEnd();
  }

  #create(target: RolloutTarget, image: 'from' | 'to' | 'foreign', uid: string): SimulatedWorkload {
    const created: SimulatedWorkload = {
      uid,
      version: ++this.#serial,
      images: new Map(),
      rollout: undefined,
      mood: 'healthy',
    };
    for (const { name } of target.containers) created.images.set(name, '');
    this.#setImages(created, target, image);
    created.mood = 'healthy';
    return created;
  }

  #setImages(simulated: SimulatedWorkload, target: RolloutTarget, image: 'from' | 'to' | 'back' | 'foreign'): void {
    const images = { foreign: () => 'ghcr.io/acme/web:hotfix' };
    for (const container of target.containers) {
      const { name } = container;
      if (simulated.images.has(name)) {
        simulated.images.set(name, image === 'foreign' ? images.foreign() : (container[image] ?? container.from));
      }
    }
    if (simulated.mood === 'healthy') simulated.mood = 'progressing';
  }

  #crash(): void {
    this.#leader.problems.clear();
    this.#leader.prepared = undefined;
    this.#leader.statusVersion = this.history.length - 1;
  }

  /** The old leader does not know, and the new one's cache may be behind. */
  #elect(lag: number): void {
    this.#zombie = this.#leader;
    const epoch = this.#leader.epoch + 1;
    this.#leader = {
      holder: `replica-${epoch % 2}`,
      epoch,
      statusVersion: Math.max(0, this.history.length - 1 - lag),
      problems: new Map(),
      prepared: undefined,
    };
  }

  #observe(operator: Operator): Prepared {
    const status = this.history[operator.statusVersion];
    const targets = this.spec.targets.map((_, index): ObservedTarget => {
      const live = this.live(index);
      const writeProblem = operator.problems.get(index);
      return { ...(live && { live }), ...(writeProblem !== undefined && { writeProblem }) };
    });
    const observation: RolloutObservation = {
      nowMs: this.nowMs,
      name: ROLLOUT_NAME,
      generation: 1,
      spec: this.spec,
      ...(status !== undefined && { status }),
      ...(this.#policy !== undefined && { policy: this.#policy }),
      claimant: { holder: operator.holder, epoch: operator.epoch },
      ...(this.#isBlocked && { blockedBy: 'other-7' }),
      targets,
    };
    const step = nextStep(observation);
    checkStep(observation, step);
    return { step, observation, statusVersion: operator.statusVersion };
  }

  #perform(operator: Operator): void {
    const { prepared } = operator;
    operator.prepared = undefined;
    if (prepared === undefined) return;
    const { step, statusVersion } = prepared;
    switch (step.kind) {
      case 'wait':
        return;
      case 'record':
        return this.#record(operator, step.status, statusVersion);
      case 'finish':
        for (const index of step.release) {
          const simulated = this.#workloads[index];
          if (simulated?.rollout !== ROLLOUT_NAME) continue;
          simulated.rollout = undefined;
          simulated.version = ++this.#serial;
        }
        return this.#record(operator, step.status, statusVersion);
      case 'apply':
        return this.#apply(operator, step.index, prepared.observation);
      case 'undo':
        return this.#undo(operator, step.index, prepared.observation);
      case 'check':
        throw new Error('no checks are asked for');
    }
  }

  #record(operator: Operator, status: ImageRolloutStatus, statusVersion: number): void {
    if (statusVersion !== this.history.length - 1) {
      operator.statusVersion = this.history.length - 1;
      return;
    }
    // What the API server would refuse: a finished rollout that changes, a value out of bounds, an unknown field.
    assert.ok(!this.isFinished, 'a finished rollout was written again');
    const stored = JSON.parse(JSON.stringify(status)) as ImageRolloutStatus;
    assert.deepEqual(imageRolloutStatus.parse(stored), stored);
    this.history.push(stored);
    operator.statusVersion = this.history.length - 1;
  }

  #apply(operator: Operator, index: number, observation: RolloutObservation): void {
    const observed = observation.targets[index]?.live;
    const simulated = this.#workloads[index];
    if (simulated === undefined) return;
    if (String(simulated.version) !== observed?.metadata.resourceVersion) {
      operator.problems.delete(index);
      return;
    }
    if (this.#refused.has(index)) {
      operator.problems.set(index, 'admission webhook "policy.example.com" denied the request: image is not allowed');
      return;
    }
    operator.problems.delete(index);
    this.writes[index] = this.writes[index]! + 1;
    if (!this.#blurred.has(index)) assert.equal(this.writes[index], 1, 'one write per target');
    assert.ok(this.status?.claim !== undefined && !this.isFinished, 'written outside of the claimed time');
    simulated.version = ++this.#serial;
    simulated.rollout = ROLLOUT_NAME;
    this.#setImages(simulated, this.spec.targets[index]!, 'to');
  }

  #undo(operator: Operator, index: number, observation: RolloutObservation): void {
    const observed = observation.targets[index]?.live;
    const simulated = this.#workloads[index];
    if (simulated === undefined) return;
    if (String(simulated.version) !== observed?.metadata.resourceVersion) {
      operator.problems.delete(index);
      return;
    }
    if (this.#refused.has(index)) {
      operator.problems.set(index, 'admission webhook "policy.example.com" denied the request: image is not allowed');
      return;
    }
    operator.problems.delete(index);
    this.undos[index] = this.undos[index]! + 1;
    if (!this.#blurred.has(index)) assert.equal(this.undos[index], 1, 'one undo per target');
    assert.ok(this.status?.failure !== undefined, 'set back before the failure was on record');
    assert.ok(!this.isFinished, 'set back after the end');
    simulated.version = ++this.#serial;
    simulated.rollout = ROLLOUT_NAME;
    this.#setImages(simulated, this.spec.targets[index]!, 'back');
  }

  #checkEnd(): void {
    const { status } = this;
    if (status === undefined) throw new Error('finished without a status');
    const states = (status.targets ?? []).map(({ state }) => state);
    assert.ok(
      parseTimestampMs(status.endTime)! >= (parseTimestampMs(status.startTime) ?? 0),
      'it ended before it began',
    );
    if (this.#policy !== undefined && status.claim !== undefined) {
      // Every target came to its end, and the result follows from them.
      assert.equal(states.length, this.spec.targets.length);
      // An abort for somebody else's sake leaves the others where they stand.
      if (status.state !== 'Aborted')
        for (const state of states) assert.ok(FINAL_STATES.includes(state), `a target is left ${state}`);
      if (status.state === 'Succeeded') {
        assert.equal(status.failure, undefined);
        assert.ok(states.includes('Healthy'), 'nothing runs it');
      } else if (status.state === 'RollbackFailed') assert.ok(states.includes('UndoFailed'));
      else if (status.state === 'RolledBack') assert.ok(!states.includes('UndoFailed') && status.failure !== undefined);
      else if (status.state === 'Held') assert.ok(status.targets?.some(({ undo }) => undo === 'Blocked'));
      else assert.ok(states.includes('Contested') || states.every((state) => state === 'Gone'));
    }
    for (const [index, target] of this.spec.targets.entries()) {
      const entry = status.targets?.[index];
      const live = this.live(index);
      if (status.claim !== undefined) assert.notEqual(live?.rollout, ROLLOUT_NAME, 'the mark is left behind');
      // What was written is on record, however it ended: the ledger of the policy relies on it.
      const isWritten = this.writes[index]! > 0 && live?.metadata.uid === target.uid && !this.#blurred.has(index);
      if (isWritten && this.#policy !== undefined) {
        assert.ok(
          ['Applied', 'Healthy', 'Failed'].includes(entry?.state ?? '') || entry?.appliedTime !== undefined,
          'a write is not on record',
        );
      }
    }
    // It stays as it is, whoever looks.
    this.nowMs += 3_600_000;
    assert.deepEqual(this.#observe(this.#leader).step, { kind: 'wait' });
  }
}

/** What must hold for a step, by what it was decided from. */
function checkStep(observation: RolloutObservation, step: RolloutStep): void {
  const { status, claimant, spec, targets, policy } = observation;
  if (isFinished(status)) assert.deepEqual(step, { kind: 'wait' });
  if (step.kind === 'wait') {
    const canBeEnded =
      isFinished(status) ||
      policy?.suspend === true ||
      (observation.blockedBy !== undefined && status?.claim === undefined);
    if (step.wakeAtMs === undefined) assert.ok(canBeEnded, 'waits for nothing');
    else assert.ok(step.wakeAtMs > observation.nowMs, 'waits for a time that is over');
  }
  if (step.kind === 'apply') {
    assert.equal(policy?.suspend, false);
    assert.equal(status?.claim?.holder, claimant.holder);
    assert.equal(status.claim.epoch, claimant.epoch);
    assert.equal(status.targets?.[step.index]?.state, 'Pending');
    assert.equal(compareImages(spec.targets[step.index]!, targets[step.index]?.live), 'before');
  }
  if (step.kind === 'record') {
    assert.ok(!isDeepStrictEqual(JSON.parse(JSON.stringify(step.status)), status), 'records what is on record');
    assert.ok(!isFinished(step.status));
  }
  if (step.kind === 'finish') {
    assert.ok(isFinished(step.status));
    for (const [index, target] of spec.targets.entries()) {
      const isHealthy = policy !== undefined && step.status.targets?.[index]?.state === 'Healthy';
      if (isHealthy) assert.equal(compareImages(target, targets[index]?.live), 'after');
    }
  }
  if (step.kind === 'record' || step.kind === 'finish') {
    for (const [index, { state }] of (status?.targets ?? []).entries()) {
      const isOver = state === 'Failed' || state === 'Gone' || state === 'Contested';
      if (isOver) assert.equal(step.status.targets?.[index]?.state, state);
      else if (state !== 'Pending') assert.notEqual(step.status.targets?.[index]?.state, 'Pending');
    }
  }
}
