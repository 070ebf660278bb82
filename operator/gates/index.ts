// Every gate, in the order in which people read them. To add one: a file beside this one, a line here.

import { approval } from './approval.ts';
import { consent } from './consent.ts';
import { cooldown } from './cooldown.ts';
import { foreignChange } from './foreign-change.ts';
import { freeze } from './freeze.ts';
import type { Gate, GateInput, GateVerdict } from './gate.ts';
import { pin } from './pin.ts';
import { quarantine } from './quarantine.ts';
import { rejection } from './rejection.ts';
import { retry } from './retry.ts';
import { suspension } from './suspension.ts';
import { window } from './window.ts';
import { workload } from './workload.ts';

export const gates: readonly Gate[] = [
  quarantine,
  rejection,
  pin,
  freeze,
  foreignChange,
  consent,
  suspension,
  approval,
  window,
  cooldown,
  retry,
  workload,
];

/** What all gates together say of one candidate: Closed beats Waiting beats Open. */
export interface GateSummary {
  readonly answer: GateVerdict['answer'];
  readonly verdicts: readonly GateVerdict[];
  /** Gates that were not asked, because a person decided. */
  readonly notEnforced: readonly string[];
}

export interface JudgeOptions {
  /** A person named this image: only the gates that bind people are asked. */
  readonly isPin?: boolean;
  /** Gates that bind pins as well, by order of the operator's configuration. */
  readonly enforced?: readonly string[];
}

export function judgeCandidate(input: GateInput, options: JudgeOptions = {}): GateSummary {
  const { isPin = false, enforced = [] } = options;
  const isAsked = ({ name, bindsPins }: Gate): boolean => !isPin || bindsPins === true || enforced.includes(name);
  const verdicts = gates.filter(isAsked).map((gate): GateVerdict => ({ gate: gate.name, ...gate.judge(input) }));
  const has = (answer: GateVerdict['answer']) => verdicts.some((verdict) => verdict.answer === answer);
  return {
    answer: has('Closed') ? 'Closed' : has('Waiting') ? 'Waiting' : 'Open',
    verdicts,
    notEnforced: gates.filter((gate) => !isAsked(gate)).map(({ name }) => name),
  };
}
