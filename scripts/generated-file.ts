// What a generator returns.

/** A file that is generated. `path` is relative to the repository. */
export interface GeneratedFile {
  readonly path: string;
  readonly content: string;
}

/** Stands in the first line of every generated file. A file that has it and is no longer generated is removed. */
export const GENERATED_MARK = 'Generated from operator/api by `make generate`. Do not edit.';
