// One offline answer: the ranking of a list, and the forms in which it is shown.

import {
  explainReason,
  judgeTags,
  offlineOutcome,
  summarizeTags,
  type Outcome,
  type Reason,
} from '../selection/explain.ts';
import { rankTags, type Ranking } from '../selection/rank.ts';
import type { TagRules } from '../selection/tag-rules.ts';
import type { TagList } from './tags-source.ts';

export interface ExplainedTag {
  readonly tag: string;
  readonly reason: Reason;
  readonly message: string;
}

export interface Selection {
  readonly ranking: Ranking;
  readonly outcome: Outcome;
  /** Absent when no tag qualifies. */
  readonly selected?: string;
  /** Every tag with its reason, in the list's order. */
  verdicts(): ExplainedTag[];
  /** What `-o json` prints; the fields are named in the help text of `slipway select`. */
  toJson(options: { readonly withMessages: boolean }): object;
}

export function selectOffline(rules: TagRules, { tags, created }: TagList, current: string | undefined): Selection {
  const ranking = rankTags(rules, tags, { current, created });
  const outcome = offlineOutcome(ranking);
  const selected = outcome.chosen?.tag;
  const explain = (tag: string, reason: Reason): ExplainedTag => ({
    tag,
    reason,
    message: explainReason(reason, tag, ranking, outcome),
  });
  return {
    ranking,
    outcome,
    ...(selected !== undefined && { selected }),
    verdicts: () => Array.from(judgeTags(ranking, outcome), ({ tag, reason }) => explain(tag, reason)),
    toJson({ withMessages }) {
      const { total, considered, rejectedByReason } = summarizeTags(ranking, outcome, { maxExamples: 0 });
      const judged = judgeTags(ranking, outcome);
      return {
        selected: selected ?? null,
        value: ranking.candidates.find(({ tag }) => tag === selected)?.value ?? null,
        current: current ?? null,
        change: selected !== undefined && selected !== current,
        order: rules.orderName,
        total,
        considered,
        rejectedByReason,
        tags: withMessages ? Array.from(judged, ({ tag, reason }) => explain(tag, reason)) : [...judged],
      };
    },
  };
}
