// Users' regular expressions. They run on a linear-time engine and never on the built-in one; an expression whose
// compiled form is huge is refused, because linear in the tag is still slow when every character costs thousands of steps.
// @see https://github.com/google/re2/wiki/Syntax

import { RE2JS } from 're2js';
import { toError } from '../errors.ts';

const MAX_LENGTH = 256;
const MAX_PROGRAM_SIZE = 1_000;

/** A compiled expression. Matches anywhere in the tag unless it is anchored. */
export interface Expression {
  readonly source: string;
  /** Instructions of the compiled program: what a character may cost at most. */
  readonly size: number;
  readonly groupCount: number;
  /** Group numbers by name. */
  readonly groupNames: Readonly<Record<string, number>>;
  test(tag: string): boolean;
  /** Start and end of the whole match and of every group, pairwise, -1 where a group took no part; undefined: no match. */
  match(tag: string): ArrayLike<number> | undefined;
}

/** Throws an Error whose message says what is wrong with the expression, fit to follow the field's name. */
export function compileExpression(source: string): Expression {
  if (source.length > MAX_LENGTH) throw new Error(`has ${source.length} characters; at most ${MAX_LENGTH} are allowed`);
  const compiled = compile(source);
  const size = compiled.programSize();
  if (size > MAX_PROGRAM_SIZE) {
    throw new Error(
      `${JSON.stringify(source)} is too costly (${size} instructions, at most ${MAX_PROGRAM_SIZE}): use fewer or smaller repetitions`,
    );
  }
  const engine = compiled.re2();
  return {
    source,
    size,
    groupCount: compiled.groupCount(),
    groupNames: compiled.namedGroups(),
    test: (tag) => compiled.test(tag),
    // The engine's own search is twice as fast as a Matcher, which searches once for the match and once for its groups.
    match: (tag) => (engine.findSubmatchIndex(tag) as ArrayLike<number> | null) ?? undefined,
  };
}

function compile(source: string): RE2JS {
  try {
    return RE2JS.compile(source);
  } catch (thrown) {
    const why = toError(thrown).message.replace(/^error parsing regexp: /, '');
    throw new Error(
      `${JSON.stringify(source)} is not an RE2 expression (${why}); lookaround and backreferences do not exist in RE2`,
      { cause: thrown },
    );
  }
}
