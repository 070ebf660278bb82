// What the order compares, built from the groups of the filter: a template with Go's rules for `$1`, `$name`, `${name}`
// and `$$`, except that a group which does not exist is an error and not an empty string.
// @see https://pkg.go.dev/regexp#Regexp.Expand

import type { Expression } from './expression.ts';

const MAX_LENGTH = 256;

/** Text from `match`, the offsets that `Expression.match` returned for `tag`. */
export type Extractor = (tag: string, match: ArrayLike<number>) => string;

type Piece = string | number;

/** Throws an Error whose message says what is wrong with the template, fit to follow the field's name. */
export function compileExtract(template: string, filter: Expression): Extractor {
  if (template.length > MAX_LENGTH)
    throw new Error(`has ${template.length} characters; at most ${MAX_LENGTH} are allowed`);
  const pieces = parseTemplate(template, filter);
  const [only] = pieces;
  if (pieces.length === 1 && typeof only === 'number') return (tag, match) => group(tag, match, only);
  return (tag, match) => {
    let text = '';
    for (const piece of pieces) text += typeof piece === 'string' ? piece : group(tag, match, piece);
    return text;
  };
}

function group(tag: string, match: ArrayLike<number>, index: number): string {
  const start = match[2 * index] ?? -1;
  return start < 0 ? '' : tag.slice(start, match[2 * index + 1]);
}

/** Literal text and group numbers, in order. Like Go, `$1x` names the group `1x`, and a lone `$` is itself. */
function parseTemplate(template: string, filter: Expression): Piece[] {
  const pieces: Piece[] = [];
  let literal = '';
  let at = 0;
  while (at < template.length) {
    const dollar = template.indexOf('$', at);
    if (dollar === -1) break;
    literal += template.slice(at, dollar);
    const reference = /^\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))/.exec(template.slice(dollar));
    if (!reference) {
      literal += '$';
      at = dollar + 1;
      continue;
    }
    const [whole, escaped, braced, bare] = reference;
    at = dollar + whole.length;
    if (escaped !== undefined) {
      literal += '$';
      continue;
    }
    if (literal !== '') pieces.push(literal);
    literal = '';
    pieces.push(groupNumber(braced ?? bare ?? '', template, filter));
  }
  literal += template.slice(at);
  if (literal !== '') pieces.push(literal);
  return pieces;
}

function groupNumber(name: string, template: string, filter: Expression): number {
  const number = /^[0-9]+$/.test(name) ? Number(name) : filter.groupNames[name];
  if (number !== undefined && number <= filter.groupCount) return number;
  const digits = /^[0-9]+(?=[A-Za-z_])/.exec(name)?.[0];
  const remedy =
    digits === undefined
      ? `its groups are ${groupList(filter)}`
      : `write \${${digits}} where text follows the number of a group`;
  throw new Error(`${JSON.stringify(template)} uses group ${name}, which the filter does not have: ${remedy}`);
}

function groupList(filter: Expression): string {
  const names = Object.keys(filter.groupNames).map((name) => `$${name}`);
  const numbers = Array.from({ length: filter.groupCount }, (_, index) => `$${index + 1}`);
  return names.length + numbers.length === 0
    ? 'none: add one, for example (?P<version>.*)'
    : [...names, ...numbers].join(', ');
}
