// Expressions for the subject of an identity. Same engine and limits as for tags, but for the whole subject and not for
// a part of it: `https://github.com/acme` must not let `https://github.com/acme-evil/…` in.
// @see https://github.com/google/re2/wiki/Syntax

import { RE2JS } from 're2js';
import { toError } from '../errors.ts';

const MAX_LENGTH = 256;
const MAX_PROGRAM_SIZE = 1_000;

/** Match with `testExact`. Throws an Error whose message says what is wrong with the expression. */
export function compileSubject(source: string): RE2JS {
  if (source.length > MAX_LENGTH)
    throw new Error(`its subject has ${source.length} characters; at most ${MAX_LENGTH} are allowed`);
  const compiled = compile(source);
  const size = compiled.programSize();
  if (size > MAX_PROGRAM_SIZE) {
    throw new Error(`its subject is too costly (${size} instructions, at most ${MAX_PROGRAM_SIZE})`);
  }
  return compiled;
}

function compile(source: string): RE2JS {
  try {
    return RE2JS.compile(source);
  } catch (thrown) {
    const why = toError(thrown).message.replace(/^error parsing regexp: /, '');
    throw new Error(`its subject ${JSON.stringify(source)} is not an RE2 expression (${why})`, { cause: thrown });
  }
}
