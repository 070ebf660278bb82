// The result as a table for people. Counts do not depend on the machine: missing one's target is a failure. Times do, and
// their targets are for a quiet machine.

export interface Figure {
  readonly name: string;
  readonly value: number;
  /** `ms`, `MiB`, `kB`, …; absent for plain counts. */
  readonly unit?: string;
  /** The value may be this much at most. Absent: for information. */
  readonly atMost?: number;
  /** True for what is counted, not timed. */
  readonly isCount: boolean;
}

export interface Section {
  readonly title: string;
  readonly figures: readonly Figure[];
}

export function isMet({ value, atMost }: Figure): boolean {
  return atMost === undefined || value <= atMost;
}

/** Counts that miss their target. */
export function missedCounts(sections: readonly Section[]): readonly Figure[] {
  return sections.flatMap(({ figures }) => figures).filter((figure) => figure.isCount && !isMet(figure));
}

export function formatTable(sections: readonly Section[]): string {
  const rows = sections.flatMap(({ title, figures }) => [
    ['', title, '', ''],
    ...figures.map((figure) => [
      figure.atMost === undefined ? ' ' : isMet(figure) ? '✓' : '✗',
      `  ${figure.name}`,
      `${formatNumber(figure.value)}${figure.unit === undefined ? '' : ` ${figure.unit}`}${figure.isCount ? '' : ' *'}`,
      figure.atMost === undefined ? '' : `<= ${formatNumber(figure.atMost)}`,
    ]),
  ]);
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]!.length));
  const lines = rows.map(([mark, name, value, target]) =>
    `${mark!.padEnd(1)} ${name!.padEnd(width(1))}  ${value!.padStart(width(2))}  ${target!}`.trimEnd(),
  );
  return [...lines, '', '* depends on the machine and on what else it does; counts do not.'].join('\n');
}

function formatNumber(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}
