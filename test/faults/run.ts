// Many trials, several at a time: every write of every scenario is struck before and after, and the other faults are played
// at each scenario. What differs from the undisturbed end, and what the monitor finds, is a violation.

import { isDeepStrictEqual } from 'node:util';
import { startControlPlane } from '../support/control-plane.ts';
import { findViolations, MONITOR_AUDIT_POLICY } from '../support/monitor/monitor.ts';
import { installCrds } from '../support/operator.ts';
import { startDistribution } from '../support/registries.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { play, pushGoods, type Disturbance, type Ending, type Stage } from './trial.ts';

export interface FaultRun {
  readonly trials: number;
  /** Trials in which the fault struck. */
  readonly struck: number;
  readonly violations: readonly string[];
}

export interface FaultOptions {
  /** Trials at the same time. */
  readonly atOnce: number;
  /** Which of the kills of a scenario are played; all unless told otherwise. */
  readonly sample?: (trial: { readonly scenario: string; readonly index: number }) => boolean;
  /** Play the faults other than kills. */
  readonly withStorms: boolean;
  readonly report?: (line: string) => void;
}

const STORMS: readonly Disturbance[] = [
  { kind: 'storm', every: 2, fault: { kind: 'answer', status: 409 } },
  { kind: 'storm', every: 3, fault: { kind: 'answer', status: 429, retryAfterS: 1 } },
  { kind: 'storm', every: 3, fault: { kind: 'lose answer' } },
  { kind: 'storm', every: 4, fault: { kind: 'answer', status: 503 } },
  { kind: 'deaf', forMs: 5_000 },
  { kind: 'silence' },
  { kind: 'hang', write: 3 },
  { kind: 'shrink', write: 3, forMs: 20_000 },
  { kind: 'freeze', write: 2, forMs: 30_000 },
  { kind: 'freeze', write: 4, forMs: 30_000 },
];

interface Trial {
  readonly scenario: Scenario;
  readonly disturbance: Disturbance;
}

export async function runFaults({ atOnce, sample, withStorms, report }: FaultOptions): Promise<FaultRun> {
  const [controlPlane, registry] = await Promise.all([
    startControlPlane({ auditPolicy: MONITOR_AUDIT_POLICY }),
    startDistribution(),
  ]);
  try {
    await installCrds(controlPlane);
    const stage: Stage = { controlPlane, registry, goods: await pushGoods(registry, 'shop') };
    const undisturbed = new Map<string, Ending>();
    const trials: Trial[] = [];
    const first = SCENARIOS.map((scenario) => ({ scenario, disturbance: { kind: 'none' } as const }));
    const violations: string[] = [];
    await inLanes(first, atOnce, async ({ scenario }) => {
      const { ending, writes } = await play(stage, scenario, { kind: 'none' });
      undisturbed.set(scenario.name, ending);
      report?.(`${scenario.name}: ${writes} writes, ends ${ending.ready ?? ''}: ${ending.rollouts.join('; ')}`);
      for (let index = 0; index < writes * 2; index += 1) {
        if (sample?.({ scenario: scenario.name, index }) === false) continue;
        trials.push({
          scenario,
          disturbance: { kind: 'kill', write: Math.floor(index / 2) + 1, when: index % 2 === 0 ? 'before' : 'after' },
        });
      }
      if (withStorms) trials.push(...STORMS.map((disturbance) => ({ scenario, disturbance })));
    });
    const complain = (violation: string): void => {
      violations.push(violation);
      report?.(`✗ ${violation}`);
    };
    let struck = 0;
    let done = 0;
    await inLanes(trials, atOnce, async ({ scenario, disturbance }) => {
      const what = `${scenario.name}, ${describe(disturbance)}`;
      try {
        const wanted = undisturbed.get(scenario.name);
        const { ending, struckAt } = await play(stage, scenario, disturbance, wanted);
        if (struckAt !== undefined) struck += 1;
        if (!isDeepStrictEqual(ending, wanted))
          complain(
            `${what} at ${struckAt ?? 'nothing'}: ends ${JSON.stringify(ending)} instead of ${JSON.stringify(wanted)}`,
          );
      } catch (error) {
        complain(`${what}: ${(error as Error).message}`);
      }
      done += 1;
      if (done % 20 === 0) report?.(`${done} of ${trials.length} trials, ${violations.length} violations`);
    });
    for (const { invariant, message, auditID } of findViolations(await controlPlane.auditEvents()))
      complain(`${invariant}: ${message} (${auditID ?? ''})`);
    return { trials: trials.length + first.length, struck, violations };
  } finally {
    await Promise.all([registry.stop(), controlPlane.stop()]);
  }
}

function describe(disturbance: Disturbance): string {
  switch (disturbance.kind) {
    case 'kill':
      return `killed ${disturbance.when} write ${disturbance.write}`;
    case 'storm':
      return `every ${disturbance.every} writes ${disturbance.fault.kind}${disturbance.fault.kind === 'answer' ? ` ${disturbance.fault.status}` : ''}`;
    case 'freeze':
      return `stopped at write ${disturbance.write} and continued after a takeover`;
    case 'deaf':
      return `without news for ${disturbance.forMs} ms`;
    case 'silence':
      return 'every connection silent once';
    case 'hang':
      return `write ${disturbance.write} never answered`;
    case 'shrink':
      return `the registry without its best tag from write ${disturbance.write} on`;
    case 'none':
      return 'undisturbed';
  }
}

async function inLanes<T>(items: readonly T[], lanes: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
