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
  type RolloutTargetStatus,
  type TargetState,
} from '../../../operator/api/image-rollout.ts';
import type { CheckOutcome } from '../../../operator/rollout/checks/check.ts';
import type { TargetHealth } from '../../../operator/rollout/health/target-health.ts';
import {
  compareImages,
  nextStep,
  undoImage,
  type ObservedTarget,
  type RolloutObservation,
  type RolloutStep,
} from '../../../operator/rollout/state-machine.ts';
import { isFinished, isQuarantining, targetImageAfter } from '../../../operator/rollout/verdict.ts';
import type { Progress, Workload } from '../../../operator/rollout/workloads/workload.ts';
import { parseDurationMs, parseTimestampMs } from '../../../operator/time/duration.ts';
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
/** How often it asks checks. */
const CHECK_INTERVAL_MS = 9_500;
const DENIED = 'admission webhook "policy.example.com" denied the request: image is not allowed';

/** How a workload fares: crash is the fault of its image, full that of the cluster. */
export type Mood = Progress['kind'] | 'crash' | 'full' | 'awaitingRun' | 'running';

export type Settings = Partial<ImageRolloutSpec['settings']>;

/** Everything that can happen. `target` is taken modulo the number of targets. */
export type Action =
  | { readonly do: 'step' | 'observe' | 'perform' | 'crash' | 'crashAfterWrite' | 'zombiePerform' | 'sync' }
  | { readonly do: 'newLeader'; readonly lag: number }
  | { readonly do: 'advance' | 'jump'; readonly ms: number }
  | {
      readonly do:
        'suspend' | 'resume' | 'editPolicy' | 'deletePolicy' | 'block' | 'unblock' | 'pin' | 'reject' | 'supersede';
    }
  | { readonly do: 'answer'; readonly answer: CheckOutcome['kind'] | 'failedForGood' }
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
        | 'accept'
        /** It will not become healthy with the image before, either. */
        | 'sicken';
      readonly target: number;
    }
  | { readonly do: 'recreate'; readonly target: number; readonly image: 'from' | 'to' | 'foreign' };

interface SimulatedWorkload {
  uid: string;
  version: number;
  images: Map<string, string>;
  rollout: string | undefined;
  mood: Mood;
  /** When its run began. */
  runStartMs: number;
}

/** What Slipway wrote last: container → image. */
type Written = ReadonlyMap<string, string>;

interface Prepared {
  readonly step: RolloutStep;
  readonly observation: RolloutObservation;
  readonly statusVersion: number;
}

/** One replica's view: what it believes the rollout's status is, and what it remembers about the targets. */
interface Operator {
  readonly holder: string;
  readonly epoch: number;
  /** Somebody else leads by now. */
  isDeposed: boolean;
  statusVersion: number;
  /** Memory of refused writes, lost in a crash. */
  problems: Map<number, string>;
  /** What the checks have just answered, and when they were asked; lost in a crash. */
  checks: RolloutObservation['checks'];
  askedMs: number;
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
  #policy: NonNullable<RolloutObservation['policy']> | undefined = { generation: 1, suspend: false };
  #isBlocked = false;
  #isRejected = false;
  #isSuperseded = false;
  #answer: CheckOutcome = { kind: 'passed', message: 'answered 200' };
  readonly #sick = new Set<number>();
  readonly #lastWritten = new Map<number, Written>();
  readonly #workloads: (SimulatedWorkload | undefined)[];
  readonly #refused = new Set<number>();
  /** Targets that people changed before a write was on record, so that it can no longer be recognised. */
  readonly #blurred = new Set<number>();
  #leader: Operator;
  #zombie: Operator | undefined;
  #serial = 0;

  constructor(targets: readonly RolloutTarget[], settings: Settings = {}) {
    this.spec = rolloutSpec({ targets: [...targets], settings: { ...rolloutSpec().settings, ...settings } });
    this.writes = targets.map(() => 0);
    this.undos = targets.map(() => 0);
    this.#workloads = targets.map((target) => this.#create(target, 'from', target.uid));
    this.#leader = newOperator(0, 0);
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
    const { rollout } = simulated;
    return workload({
      kind: target.kind,
      name: target.name,
      uid: simulated.uid,
      resourceVersion: String(simulated.version),
      containers: imagesOf(false),
      initContainers: imagesOf(true),
      progress: progressOf(simulated),
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
      case 'crashAfterWrite': {
        const step = this.#leader.prepared?.step;
        // The end takes two writes: the marks come off, then it is put on record.
        if (step?.kind === 'finish') this.#release(this.#leader, step.release);
        else this.#perform(this.#leader);
        return this.#crash();
      }
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
          this.#policy = { ...this.#policy, generation: this.#policy.generation + 1, suspend: action.do === 'suspend' };
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
      case 'pin':
        if (this.#policy !== undefined)
          this.#policy = { ...this.#policy, generation: this.#policy.generation + 1, pin: { tag: '0.9.0' } };
        return;
      case 'reject':
        this.#isRejected = true;
        return;
      case 'supersede':
        this.#isSuperseded = true;
        return;
      case 'answer':
        this.#answer =
          action.answer === 'failedForGood'
            ? { kind: 'failed', message: 'Job failed', isFinal: true }
            : { kind: action.answer, message: `answered ${action.answer}` };
        return;
      case 'sicken':
        this.#sick.add(index);
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
    const isHandMade = action.do.startsWith('set') || action.do === 'removeContainer';
    // Set back, not yet on record, and changed again: nobody can tell that from a target that was never set back.
    if (isHandMade && this.undos[index]! > 0 && this.status?.targets?.[index]?.state === 'Undoing')
      this.#blurred.add(index);
    switch (action.do) {
      case 'mood':
        simulated.mood = action.mood;
        simulated.runStartMs = this.nowMs;
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
    // CronJobs run at last.
    for (const simulated of this.#workloads)
      if (simulated?.mood === 'awaitingRun' || simulated?.mood === 'running') simulated.mood = 'healthy';
    const { progressDeadline, soak } = this.spec.settings;
    const deadlineMs = parseDurationMs(progressDeadline);
    const { deadlineTime, soakTime, claim } = this.status ?? {};
    // The clock may have jumped back since these were written.
    const leftMs = [deadlineTime, soakTime, claim?.time].map((time) => (parseTimestampMs(time) ?? 0) - this.nowMs);
    const latestMs = this.nowMs + Math.max(0, ...leftMs) + 2 * parseDurationMs(soak) + 5 * deadlineMs + 120_000;
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
      runStartMs: 0,
    };
    for (const { name } of target.containers) created.images.set(name, '');
    this.#setImages(created, target, image);
    created.mood = 'healthy';
    return created;
  }

  #setImages(simulated: SimulatedWorkload, target: RolloutTarget, image: 'from' | 'to' | 'foreign'): void {
    for (const { name, from, to } of target.containers) {
      if (simulated.images.has(name)) {
        simulated.images.set(name, image === 'from' ? from : image === 'to' ? to : 'ghcr.io/acme/web:hotfix');
      }
    }
    if (simulated.mood === 'healthy') simulated.mood = 'progressing';
  }

  #crash(): void {
    const { holder, epoch } = this.#leader;
    this.#leader = { ...newOperator(epoch, this.history.length - 1), holder };
  }

  /** The old leader does not know, and the new one's cache may be behind. */
  #elect(lag: number): void {
    this.#zombie = this.#leader;
    this.#zombie.isDeposed = true;
    const epoch = this.#leader.epoch + 1;
    this.#leader = newOperator(epoch, Math.max(0, this.history.length - 1 - lag));
  }

  #observe(operator: Operator): Prepared {
    const status = this.history[operator.statusVersion];
    const targets = this.spec.targets.map((_, index): ObservedTarget => {
      const live = this.live(index);
      const health = live === undefined ? undefined : this.#health(status, index);
      const writeProblem = operator.problems.get(index);
      return { ...(live && { live }), ...(health && { health }), ...(writeProblem !== undefined && { writeProblem }) };
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
      ...(this.#isRejected && { rejected: 'rejected by jane' }),
      ...(this.#isSuperseded && { supersededBy: 'web-2' }),
      targets,
      ...(operator.checks !== undefined && { checks: operator.checks }),
    };
    const step = nextStep(observation);
    checkStep(observation, step);
    return { step, observation, statusVersion: operator.statusVersion };
  }

  /** As the controller asks for it: while something is expected of the target, and not otherwise. */
  #health(status: ImageRolloutStatus | undefined, index: number): TargetHealth | undefined {
    const state = status?.targets?.[index]?.state;
    const isForward = status?.state === 'Verifying' || status?.state === 'Soaking';
    const isAsked = isForward ? state === 'Applied' || state === 'Healthy' : state === 'Undone';
    const simulated = this.#workloads[index];
    return isAsked && simulated !== undefined ? healthOf(simulated) : undefined;
  }

  #perform(operator: Operator): void {
    const { prepared } = operator;
    operator.prepared = undefined;
    if (prepared === undefined) return;
    const { step, statusVersion } = prepared;
    switch (step.kind) {
      case 'wait':
        operator.checks = undefined;
        return;
      case 'record':
        this.#record(operator, step.status, statusVersion);
        // Each answer counts once.
        if (operator.checks !== undefined) operator.checks = [];
        return;
      case 'finish':
        this.#release(operator, step.release);
        return this.#record(operator, step.status, statusVersion);
      case 'apply':
        return this.#apply(operator, step.index, prepared.observation);
      case 'undo':
        return this.#undo(operator, step.index, prepared.observation);
      case 'check':
        return this.#ask(operator, step.indexes);
    }
  }

  #release(operator: Operator, indexes: readonly number[]): void {
    if (operator.isDeposed) return;
    for (const index of indexes) {
      const simulated = this.#workloads[index];
      if (simulated?.rollout !== ROLLOUT_NAME) continue;
      simulated.rollout = undefined;
      simulated.version = ++this.#serial;
    }
  }

  #ask(operator: Operator, indexes: readonly number[]): void {
    const isRecent = Math.abs(this.nowMs - operator.askedMs) < CHECK_INTERVAL_MS;
    const verify = this.spec.settings.verify ?? [];
    operator.checks = isRecent ? [] : verify.map((_, index) => (indexes.includes(index) ? this.#answer : undefined));
    if (!isRecent) operator.askedMs = this.nowMs;
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
    const simulated = this.#reach(operator, index, observation);
    if (simulated === undefined) return;
    const { containers } = this.spec.targets[index]!;
    for (const { name, from, to } of containers)
      assert.ok([from, to].includes(simulated.images.get(name) ?? ''), 'wrote over an image of somebody else');
    this.writes[index] = this.writes[index]! + 1;
    if (!this.#blurred.has(index)) assert.equal(this.writes[index], 1, 'one write per target');
    assert.equal(this.status?.failure, undefined, 'went on after the failure was on record');
    this.#write(simulated, index, new Map(containers.map(({ name, to }) => [name, to])));
  }

  #undo(operator: Operator, index: number, observation: RolloutObservation): void {
    const simulated = this.#reach(operator, index, observation);
    if (simulated === undefined) return;
    const { containers } = this.spec.targets[index]!;
    const entry = this.status?.targets?.[index];
    const back = new Map<string, string>();
    for (const container of containers) {
      const image = undoImage(entry ?? {}, container);
      assert.ok(image !== undefined, 'nothing is known to be good');
      assert.ok([container.to, image].includes(simulated.images.get(container.name) ?? ''), 'undid somebody else');
      back.set(container.name, image);
    }
    this.undos[index] = this.undos[index]! + 1;
    if (!this.#blurred.has(index)) assert.equal(this.undos[index], 1, 'one undo per target');
    assert.ok(this.status?.failure !== undefined, 'set back before the failure was on record');
    assert.equal(this.status.state, 'RollingBack');
    assert.equal(this.spec.settings.onFailure, 'RollBack');
    this.#write(simulated, index, back);
    simulated.mood = this.#sick.has(index) ? 'progressing' : 'healthy';
  }

  /** The workload, if the API server takes the write. */
  #reach(operator: Operator, index: number, observation: RolloutObservation): SimulatedWorkload | undefined {
    const simulated = this.#workloads[index];
    operator.problems.delete(index);
    if (simulated === undefined) return undefined;
    if (String(simulated.version) !== observation.targets[index]?.live?.metadata.resourceVersion) return undefined;
    if (this.#refused.has(index)) {
      operator.problems.set(index, DENIED);
      return undefined;
    }
    // A rollout ends a lease or more after its leader was deposed: by then the fence holds back what that one prepared.
    const isOver = this.isFinished || this.status?.failure !== undefined;
    if (operator.isDeposed && isOver) return undefined;
    assert.ok(this.status?.claim !== undefined && !this.isFinished, 'written outside of the claimed time');
    return simulated;
  }

  #write(simulated: SimulatedWorkload, index: number, images: Written): void {
    simulated.version = ++this.#serial;
    simulated.rollout = ROLLOUT_NAME;
    for (const [name, image] of images) if (simulated.images.has(name)) simulated.images.set(name, image);
    if (simulated.mood === 'healthy') simulated.mood = 'progressing';
    this.#lastWritten.set(index, images);
  }

  #checkEnd(): void {
    const { status } = this;
    if (status === undefined) throw new Error('finished without a status');
    const states = (status.targets ?? []).map(({ state }) => state);
    assert.ok(
      parseTimestampMs(status.endTime)! >= (parseTimestampMs(status.startTime) ?? 0),
      'it ended before it began',
    );
    if (status.claim !== undefined) this.#checkResult(status, states);
    for (const [index, target] of this.spec.targets.entries()) {
      const live = this.live(index);
      if (status.claim !== undefined) assert.notEqual(live?.rollout, ROLLOUT_NAME, 'the mark is left behind');
      // What was written last is on record, however it ended: the ledger of the policy relies on it.
      if (live?.metadata.uid !== target.uid || this.#blurred.has(index) || status.claim === undefined) continue;
      for (const [container, image] of this.#lastWritten.get(index) ?? []) {
        if (live.containers.find(({ name }) => name === container)?.image !== image) continue;
        const recorded = targetImageAfter({ spec: this.spec, status }, index, container);
        assert.equal(recorded, image, 'a write is not on record');
      }
    }
    // It stays as it is, whoever looks.
    this.nowMs += 3_600_000;
    assert.deepEqual(this.#observe(this.#leader).step, { kind: 'wait' });
  }

  /** The result follows from the targets. */
  #checkResult(status: ImageRolloutStatus, states: readonly TargetState[]): void {
    const { onFailure, atomic, verify = [] } = this.spec.settings;
    const { failure, targets = [] } = status;
    assert.equal(states.length, this.spec.targets.length);
    const isRightlyQuarantined = failure?.class === 'Image' && status.state !== 'Aborted';
    if (isRightlyQuarantined) assert.ok(isQuarantining({ spec: this.spec, status }));
    if (failure === undefined || failure.class === 'Foreign')
      assert.ok(!isQuarantining({ spec: this.spec, status }), 'nothing failed');
    // An abort for somebody else's sake leaves the others where they stand.
    if (status.state !== 'Aborted' && status.state !== 'Held')
      for (const state of states) assert.ok(FINAL_STATES.includes(state), `a target is left ${state}`);
    switch (status.state) {
      case 'Succeeded':
        assert.equal(failure, undefined);
        assert.ok(states.includes('Healthy'), 'nothing runs it');
        for (const state of states) assert.ok(state === 'Healthy' || state === 'Gone', `${state} is no success`);
        if (status.unproven !== true)
          assert.deepEqual(
            status.verify?.map(({ state }) => state) ?? [],
            verify.map(() => 'Passed'),
          );
        return;
      case 'RolledBack':
        assert.ok(failure !== undefined && failure.class !== 'Foreign');
        assert.ok(!states.includes('UndoFailed') && !states.includes('Failed'));
        if (atomic) assert.ok(!states.includes('Healthy'), 'one was left behind');
        return;
      case 'RollbackFailed':
        assert.ok(failure !== undefined && states.includes('UndoFailed'));
        return;
      case 'Held':
        assert.ok(failure !== undefined);
        assert.ok(onFailure === 'Hold' || targets.some(({ undo }) => undo === 'Blocked'), 'nothing stood in the way');
        return;
      default: {
        assert.equal(status.state, 'Aborted');
        const isEnded = this.#policy === undefined || this.#policy.pin !== undefined || this.#isSuperseded;
        assert.ok(isEnded || states.includes('Contested') || states.every((state) => state === 'Gone'));
      }
    }
  }
}

function newOperator(epoch: number, statusVersion: number): Operator {
  return {
    holder: `replica-${epoch % 2}`,
    epoch,
    statusVersion,
    isDeposed: false,
    problems: new Map(),
    checks: undefined,
    askedMs: -Infinity,
    prepared: undefined,
  };
}

function progressOf({ mood }: SimulatedWorkload): Progress {
  if (mood === 'healthy') return { kind: mood };
  const message = `it is ${mood}`;
  if (mood === 'awaitingRun' || mood === 'idle') return { kind: 'idle', message };
  return mood === 'paused' ? { kind: mood, message } : { kind: 'progressing', message };
}

function healthOf(simulated: SimulatedWorkload): TargetHealth {
  const { mood, runStartMs } = simulated;
  const message = `it is ${mood}`;
  switch (mood) {
    case 'crash':
      return { kind: 'failing', class: 'Image', reason: 'CrashLoopBackOff', message, isDefinite: true };
    case 'full':
      return { kind: 'failing', class: 'Environment', reason: 'Unschedulable', message, isDefinite: false };
    case 'awaitingRun':
      return { kind: mood, message };
    case 'running':
      return { kind: mood, message, startTimeMs: runStartMs };
    default:
      return progressOf(simulated);
  }
}

/** Where a target may go from its state. What is not named here stays for ever. */
const TRANSITIONS: Readonly<Partial<Record<TargetState, readonly TargetState[]>>> = {
  Pending: ['Applied', 'Healthy', 'Failed', 'Gone', 'Contested', 'Skipped', 'Undoing'],
  Applied: ['Healthy', 'Failed', 'Gone', 'Contested', 'Undoing'],
  Healthy: ['Applied', 'Failed', 'Gone', 'Contested', 'Undoing'],
  Failed: ['Undoing'],
  Undoing: ['Undone', 'Gone', 'Contested', 'UndoFailed'],
  Undone: ['Restored', 'Gone', 'Contested', 'UndoFailed'],
};

/** What must hold for a step, by what it was decided from. */
function checkStep(observation: RolloutObservation, step: RolloutStep): void {
  const { status, claimant, spec, targets, policy } = observation;
  if (isFinished(status)) assert.deepEqual(step, { kind: 'wait' });
  if (step.kind === 'wait') {
    const canBeEnded =
      isFinished(status) ||
      policy?.suspend === true ||
      status?.awaitsRun === true ||
      (observation.blockedBy !== undefined && status?.claim === undefined);
    if (step.wakeAtMs === undefined) assert.ok(canBeEnded, 'waits for nothing');
    else assert.ok(step.wakeAtMs > observation.nowMs, 'waits for a time that is over');
  }
  if (step.kind === 'apply') {
    assert.equal(policy?.suspend, false);
    assert.equal(status?.claim?.holder, claimant.holder);
    assert.equal(status.claim.epoch, claimant.epoch);
    assert.equal(status.targets?.[step.index]?.state, 'Pending');
    assert.equal(status.failure, undefined);
    assert.equal(compareImages(spec.targets[step.index]!, targets[step.index]?.live), 'before');
  }
  if (step.kind === 'undo') {
    assert.equal(policy?.suspend, false);
    assert.equal(status?.claim?.holder, claimant.holder);
    assert.equal(status.claim.epoch, claimant.epoch);
    assert.equal(status.state, 'RollingBack');
    assert.ok(status.failure !== undefined, 'set back before the failure was on record');
    assert.equal(status.targets?.[step.index]?.state, 'Undoing');
  }
  if (step.kind === 'check') {
    assert.ok(step.indexes.length > 0, 'asks nothing');
    assert.equal(policy?.suspend, false);
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
    const before: readonly RolloutTargetStatus[] = status?.targets ?? [];
    for (const [index, { state, undo, appliedTime, undoTime }] of before.entries()) {
      const after: RolloutTargetStatus | undefined = step.status.targets?.[index];
      const mayBecome = [state, ...(TRANSITIONS[state] ?? [])];
      assert.ok(after !== undefined && mayBecome.includes(after.state), `${state} became ${after?.state ?? 'nothing'}`);
      assert.equal(after.undo, undo, 'what an undo brings back is settled at the claim');
      if (appliedTime !== undefined) assert.equal(after.appliedTime, appliedTime);
      if (undoTime !== undefined) assert.equal(after.undoTime, undoTime);
    }
    // A failure is never taken back; the image's outweighs the environment's.
    const { failure } = step.status;
    if (status?.failure !== undefined) {
      assert.ok(failure !== undefined, 'a failure is forgotten');
      if (status.failure.class === 'Image' || status.state === 'RollingBack') assert.deepEqual(failure, status.failure);
    }
    if (status?.state === 'RollingBack') assert.ok(step.kind === 'finish' || step.status.state === 'RollingBack');
  }
}
