// The explanation as a page for people.

import { shortDigest } from '../../image/digest.ts';
import { formatDurationMs, parseTimestampMs } from '../../time/duration.ts';
import { formatColumns } from '../columns.ts';
import type { ExplainedRollout, Explanation } from './explanation.ts';

/** A list of at most this many tags is shown whole; of a longer one, a few of each reason. */
const SHOWN_WHOLE = 50;
const EXAMPLES_PER_REASON = 5;

export function formatExplanation(explanation: Explanation): string[] {
  const sections = [
    formatHead(explanation),
    formatTargets(explanation),
    formatGates(explanation),
    formatQuarantine(explanation),
    formatTags(explanation),
    formatOpenRollout(explanation),
    formatLastRollouts(explanation),
    ['NEXT', ...explanation.next.map((sentence) => `  ${sentence}`)],
    explanation.notes.length === 0 ? [] : ['NOTES', ...explanation.notes.map((sentence) => `  ${sentence}`)],
  ];
  return (
    sections
      .filter((section) => section.length > 0)
      .flatMap((section, index) => (index === 0 ? section : ['', ...section]))
      // Tags, images and messages come from elsewhere; they must not steer a terminal.
      .map((line) => line.replaceAll(/\p{Cc}/gu, ' '))
  );
}

function formatHead(explanation: Explanation): string[] {
  const { policy, ready, conditions, current, selected, candidate } = explanation;
  const { namespace, name, image, order, suspended } = policy;
  return formatColumns([
    ['POLICY', `${namespace}/${name}${suspended ? ' (suspended)' : ''}`],
    ['IMAGE', `${image}, ${order}`],
    [
      'STATE',
      ready === null
        ? 'unknown: Slipway has not looked at this policy yet'
        : `${ready.status === 'True' ? 'Ready' : 'Not ready'} (${ready.reason}) since ${since(explanation, ready.sinceTime)}: ${sentence(ready.message)}`,
    ],
    ...conditions
      .filter(({ type, message }) => type === 'ManualHold' || message !== ready?.message)
      .map(({ type, reason, message }) => [type.toUpperCase(), `${reason}: ${sentence(message)}`]),
    [
      'CURRENT',
      current === null
        ? 'none'
        : [
            nameImage(current.tag, current.digest),
            ...(current.sinceTime === null ? [] : [` since ${since(explanation, current.sinceTime)}`]),
            current.rollout === null ? ', found running' : `, brought by ${current.rollout}`,
          ].join(''),
    ],
    ...(selected === null || selected.digest === current?.digest
      ? []
      : [['SELECTED', nameImage(selected.tag, selected.digest)]]),
    ...(explanation.pin === null
      ? []
      : [
          [
            'PIN',
            `${nameImage(explanation.pin.tag, explanation.pin.digest)}${explanation.pin.reason === null ? '' : `: ${explanation.pin.reason}`}`,
          ],
        ]),
    ...(explanation.standIn === null
      ? []
      : [['STANDS IN', nameImage(explanation.standIn.tag, explanation.standIn.digest)]]),
    [
      'CANDIDATE',
      candidate !== null
        ? nameImage(candidate.tag, candidate.digest)
        : ready?.status === 'True'
          ? 'none: no tag that qualifies is newer'
          : 'none',
    ],
  ]);
}

function formatTargets({ targets }: Explanation): string[] {
  if (targets.length === 0) return [];
  return formatColumns([
    ['TARGET', 'CONTAINER', 'STATE', 'IMAGE'],
    ...targets.map(({ workload, container, image, state, message }) => [
      workload,
      container ?? '-',
      state,
      [shortImage(image), message].filter((part) => part !== null).join('; '),
    ]),
  ]);
}

function formatGates(explanation: Explanation): string[] {
  const { candidate } = explanation;
  if (candidate === null) return [];
  return [
    ...formatColumns([
      ['GATE', 'ANSWER', 'SINCE', 'WHY'],
      ...candidate.gates.map(({ gate, answer, sinceTime, message }) => [
        gate,
        answer,
        sinceTime === null ? '-' : since(explanation, sinceTime),
        message ?? '',
      ]),
    ]),
  ];
}

function formatQuarantine(explanation: Explanation): string[] {
  const { quarantine } = explanation;
  if (quarantine.length === 0) return [];
  return formatColumns([
    ['QUARANTINE', 'CAUSE', 'SINCE', 'BY', 'WHY'],
    ...quarantine.map(({ tag, cause, sinceTime, rollout, message }) => [
      tag ?? '-',
      cause,
      since(explanation, sinceTime),
      rollout ?? '-',
      message ?? '',
    ]),
  ]);
}

function formatTags({ tags }: Explanation): string[] {
  if (tags === null) return [];
  const counts = Object.entries(tags.rejectedByReason).map(([reason, count]) => `${reason} ${count}`);
  const shown = tags.tags.length <= SHOWN_WHOLE ? tags.tags : examplesOf(tags.tags);
  const passedOver = Object.values(tags.rejectedByReason).reduce((sum, count) => sum + count, 0);
  const isPartial = shown.length < (tags.source === 'registry' ? tags.total : passedOver);
  return [
    ...formatColumns([
      [
        'TAGS',
        `${tags.total} listed${tags.source === 'registry' ? ' just now' : ''}, ${tags.considered} take part in the order`,
      ],
      ['PASSED OVER', counts.join(', ') || 'none'],
    ]),
    ...(shown.length === 0
      ? []
      : [
          '',
          ...formatColumns([
            ['TAG', 'REASON', 'MESSAGE'],
            ...shown.map(({ tag, reason, message }) => [tag, reason, message]),
          ]),
        ]),
    ...(isPartial && shown.length > 0
      ? [`(examples; ${tags.source === 'registry' ? '-o json lists every tag' : '--live lists every tag'})`]
      : []),
  ];
}

function examplesOf<T extends { readonly reason: string }>(tags: readonly T[]): T[] {
  const counts = new Map<string, number>();
  return tags.filter(({ reason }) => {
    const count = (counts.get(reason) ?? 0) + 1;
    counts.set(reason, count);
    return count <= EXAMPLES_PER_REASON;
  });
}

function formatOpenRollout({ rollout }: Explanation): string[] {
  if (rollout === null) return [];
  const { name, trigger, tag, digest, state, message, decision, targets } = rollout;
  return [
    ...formatColumns([
      ['ROLLOUT', `${name} to ${nameImage(tag, digest)} (${trigger}): ${state}`],
      ['WHY', sentence(decision)],
      ...(message === null ? [] : [['PROGRESS', sentence(message)]]),
    ]),
    ...formatColumns(targets.map((target) => [`  ${target.workload}`, target.state, target.message ?? ''])),
  ];
}

function formatLastRollouts(explanation: Explanation): string[] {
  const { lastRollouts } = explanation;
  if (lastRollouts.length === 0) return [];
  return formatColumns([
    ['LAST ROLLOUTS', 'TAG', 'TRIGGER', 'STATE', 'ENDED', 'MESSAGE'],
    ...lastRollouts.map((rollout: ExplainedRollout) => [
      rollout.name,
      rollout.tag ?? '-',
      rollout.trigger,
      rollout.state,
      rollout.endTime === null ? '-' : since(explanation, rollout.endTime),
      rollout.message ?? '',
    ]),
  ]);
}

/** `1.2.3 (0123456789ab)` */
function nameImage(tag: string | null, digest: string | null): string {
  const short = digest === null ? 'digest unknown' : shortDigest(digest);
  return tag === null ? short : `${tag} (${short})`;
}

/** The image with its digest cut to what people quote. */
function shortImage(image: string | null): string | null {
  return image === null ? null : image.replace(/@sha256:([a-f0-9]{12})[a-f0-9]{52}$/, '@sha256:$1…');
}

function since({ time }: Explanation, timestamp: string): string {
  const agoMs = (parseTimestampMs(time) ?? NaN) - (parseTimestampMs(timestamp) ?? NaN);
  if (Number.isNaN(agoMs)) return timestamp;
  const days = Math.floor(agoMs / 86_400_000);
  return days >= 3 ? `${timestamp.slice(0, 10)} (${days}d ago)` : `${timestamp} (${formatDurationMs(agoMs)} ago)`;
}

function sentence(message: string): string {
  const text = message.trimEnd();
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
