// Whether the maintenance windows have shut while a rollout waited for its turn.

import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { compileWindows } from '../../time/windows.ts';

/** Of a rollout that waits for its turn, and that no person asked for: why it may not begin now. */
export function findShutWindow({ spec, status }: ImageRollout, policy: ImagePolicy, nowMs: number): string | undefined {
  const { windows } = policy.spec.gates ?? {};
  const isAutomatic = spec.pin === undefined && spec.trigger !== 'Reject';
  const isSame = policy.metadata.generation === spec.policy.generation;
  if (status?.claim !== undefined || !isAutomatic || !isSame || windows === undefined) return undefined;
  const answer = compileWindows(windows).at(nowMs);
  return answer.isOpen ? undefined : answer.because;
}
