// What a rule of good image practice has to say, and the shape every rule has. A rule reads its subject and nothing else;
// when in doubt it keeps silent, because advice that is wrong once is not read twice.

/** From the least to the worst. Info: tidier. Low: worth a change. Medium: a risk. High: act now. */
export const ADVICE_SEVERITIES = ['Info', 'Low', 'Medium', 'High'] as const;
export type AdviceSeverity = (typeof ADVICE_SEVERITIES)[number];

/** A line of a file, counted from 1, or a layer of the manifest, counted from 0. */
export type AdviceLocation = { readonly file: string; readonly line: number } | { readonly layer: number };

export interface Advice {
  /** Kebab-case and stable, for example `base-image-unpinned`. */
  readonly rule: string;
  readonly severity: AdviceSeverity;
  /** The same for every advice of a rule. */
  readonly title: string;
  /** A sentence that names the thing and the remedy. Never holds a secret's value. */
  readonly message: string;
  /** Absent where the advice is about the image as a whole. */
  readonly location?: AdviceLocation;
}

/** One thing that a rule found. */
export interface Finding {
  readonly message: string;
  /** Line of the Dockerfile, counted from 1. */
  readonly line?: number;
  /** Index of the layer, counted from 0. */
  readonly layer?: number;
  /** Absent: the severity of the rule. */
  readonly severity?: AdviceSeverity;
}

export interface Rule<Subject> {
  readonly id: string;
  readonly title: string;
  readonly severity: AdviceSeverity;
  readonly find: (subject: Subject) => readonly Finding[];
}

/** Runs the rules in their order. `fileName` is where findings with a line are located. */
export function applyRules<Subject>(
  rules: readonly Rule<Subject>[],
  subject: Subject,
  fileName = '',
): readonly Advice[] {
  return rules.flatMap(({ id, title, severity, find }) =>
    find(subject).map(({ message, line, layer, severity: own }) => ({
      rule: id,
      severity: own ?? severity,
      title,
      message,
      ...(line !== undefined && { location: { file: fileName, line } }),
      ...(layer !== undefined && { location: { layer } }),
    })),
  );
}
