// `history`: what was moved, when, by whose leave and how it ended.

import { Option, type Command } from 'commander';
import type { ImageRollout } from '../../api/kinds.ts';
import { shortDigest } from '../../image/digest.ts';
import { parseImage } from '../../image/reference.ts';
import { rolloutNumber } from '../../rollout/verdict.ts';
import { formatDurationMs, parseTimestampMs } from '../../time/duration.ts';
import { formatColumns } from '../columns.ts';
import { EXIT, type CliContext } from '../context.ts';
import { clusterCommand, withPolicy, type ClusterOptions } from './session.ts';

interface HistoryOptions extends ClusterOptions {
  readonly output: 'table' | 'json';
}

export interface HistoryEntry {
  readonly number: number;
  readonly name: string;
  readonly state: string;
  readonly trigger: string;
  readonly direction: string;
  readonly attempt: number;
  readonly from: readonly string[];
  readonly to: { readonly tag: string | null; readonly digest: string };
  readonly why: string;
  /** Every gate with its evidence. */
  readonly gates: readonly { readonly gate: string; readonly answer: string; readonly message: string }[];
  readonly startTime: string | null;
  readonly endTime: string | null;
  readonly failure: {
    readonly class: string;
    readonly reason: string;
    readonly message: string;
    readonly time: string;
  } | null;
  readonly message: string | null;
}

export function historyCommand(context: CliContext): Command {
  return clusterCommand('history')
    .summary('list what was moved, when, why and how it ended')
    .description('Lists the rollouts of an ImagePolicy, the newest first, with the reason for each and how it ended.')
    .argument('<policy>', 'name of the ImagePolicy')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(['table', 'json']).default('table'))
    .addHelpText('after', '\nExamples:\n  slipway history web -n shop\n  slipway history web -n shop -o json')
    .action((name: string, { output, ...options }: HistoryOptions) =>
      withPolicy(context, options, name, async ({ rollouts, policy, isComplete, say }) => {
        if (!isComplete) context.exitCode = EXIT.failed;
        const entries = rollouts.toReversed().map(toEntry);
        if (output === 'json') return say(JSON.stringify(entries, null, 2));
        if (entries.length === 0 && isComplete) return say(`${policy.metadata.name} has not been moved yet.`);
        for (const line of formatHistory(entries)) await say(line);
      }),
    );
}

export function toEntry({ metadata, spec, status }: ImageRollout): HistoryEntry {
  const [image] = spec.images;
  const from = spec.targets.flatMap(({ containers }) => containers.map((container) => nameOf(container.from)));
  return {
    number: rolloutNumber({ metadata }),
    name: metadata.name,
    state: status?.state ?? 'Pending',
    trigger: spec.trigger,
    direction: spec.direction,
    attempt: spec.attempt,
    from: [...new Set(from)],
    to: { tag: image?.tag ?? null, digest: image?.digest ?? '' },
    why: spec.decision.message,
    gates: spec.decision.gates,
    startTime: status?.startTime ?? null,
    endTime: status?.endTime ?? null,
    failure: status?.failure ?? null,
    message: status?.message ?? null,
  };
}

function nameOf(image: string): string {
  try {
    const { tag, digest } = parseImage(image);
    return tag ?? (digest === undefined ? image : shortDigest(digest));
  } catch {
    return image;
  }
}

export function formatHistory(entries: readonly HistoryEntry[]): string[] {
  const table = formatColumns([
    ['NO', 'STATE', 'TRIGGER', 'FROM', 'TO', 'STARTED', 'TOOK', 'WHY'],
    ...entries.map((entry) => [
      String(entry.number),
      entry.state,
      entry.trigger,
      entry.from.join(', '),
      entry.to.tag ?? shortDigest(entry.to.digest),
      entry.startTime ?? '-',
      tookOf(entry),
      entry.why,
    ]),
  ]);
  const failures = entries.flatMap(({ number, failure }) =>
    failure === null ? [] : [`${number}: ${failure.class}, ${failure.reason}: ${failure.message}`],
  );
  return (failures.length === 0 ? table : [...table, '', 'FAILURES', ...failures.map((line) => `  ${line}`)]).map(
    (line) => line.replaceAll(/\p{Cc}/gu, ' '),
  );
}

function tookOf({ startTime, endTime }: HistoryEntry): string {
  const startMs = parseTimestampMs(startTime ?? undefined);
  const endMs = parseTimestampMs(endTime ?? undefined);
  return startMs === undefined || endMs === undefined ? '-' : formatDurationMs(endMs - startMs);
}
