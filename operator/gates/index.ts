// Every gate, in the order in which people read them. To add one: a file beside this one, a line here.

import { consent } from './consent.ts';
import { failedBefore } from './failed-before.ts';
import { foreignChange } from './foreign-change.ts';
import type { Gate, GateInput, GateVerdict } from './gate.ts';
import { suspension } from './suspension.ts';
import { workload } from './workload.ts';

export const gates: readonly Gate[] = [failedBefore, foreignChange, consent, suspension, workload];

/** What all gates together say of one candidate: Closed beats Waiting beats Open. */
export interface GateSummary {
  readonly answer: GateVerdict['answer'];
  readonly verdicts: readonly GateVerdict[];
}

export function judgeCandidate(input: GateInput): GateSummary {
  const verdicts = gates.map((gate): GateVerdict => ({ gate: gate.name, ...gate.judge(input) }));
  const has = (answer: GateVerdict['answer']) => verdicts.some((verdict) => verdict.answer === answer);
  return { answer: has('Closed') ? 'Closed' : has('Waiting') ? 'Waiting' : 'Open', verdicts };
}
