// The little Markdown that generated pages need.

/** Text that must not be read as markup. */
export function prose(text: string): string {
  return text.replace(/[<*]/g, (character) => `\\${character}`);
}

/** Text for a cell of a table. */
export function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

/** The anchor that GitHub makes of a heading. */
export function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^a-z0-9 _-]/g, '')
    .replaceAll(' ', '-');
}

/** `1 to 5`, `at most 5`, `at least 1`. */
export function range(least: number | undefined, most: number | undefined): string {
  if (most === undefined) return `at least ${least ?? 0}`;
  return least === undefined || least === 0 ? `at most ${most}` : `${least} to ${most}`;
}
