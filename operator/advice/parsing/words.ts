// Words of a Dockerfile's instruction and the variables in them. What cannot be resolved makes the whole word unknown,
// never a wrong text.
// @see https://docs.docker.com/reference/dockerfile/#environment-replacement

export interface WordContext {
  /** Absent: not set, or set to what is not known. */
  readonly lookUp: (name: string) => string | undefined;
  /** The Dockerfile's escape character. */
  readonly escape: string;
}

/** An image's name has at most 255 characters, its tag 128; nothing longer needs resolving. Bounds doubling variables. */
const MAX_RESOLVED_LENGTH = 512;
const MAX_DEPTH = 8;

/** Splits at blanks outside of quotes. Quotes and escapes are kept. */
export function splitWords(text: string, escape: string): readonly string[] {
  const words: string[] = [];
  let quote = '';
  let start = -1;
  for (let index = 0; index < text.length; index += 1) {
    const char = text.charAt(index);
    if (quote === '' && isBlank(char)) {
      if (start !== -1) words.push(text.slice(start, index));
      start = -1;
      continue;
    }
    if (start === -1) start = index;
    if (char === escape && quote !== "'") index += 1;
    else if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
  }
  if (start !== -1) words.push(text.slice(start));
  return words;
}

/** The word with its quotes removed and its variables replaced. Absent: it holds what cannot be resolved. */
export function expandWord(word: string, context: WordContext, depth = 0): string | undefined {
  let value = '';
  let quote = '';
  for (let index = 0; index < word.length; index += 1) {
    const char = word.charAt(index);
    if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === context.escape && quote !== "'") value += word.charAt((index += 1));
    else if (char === '$' && quote !== "'") {
      const variable = readVariable(word, index);
      if (variable === undefined) return undefined;
      const resolved = resolve(variable, context, depth);
      if (resolved === undefined) return undefined;
      value += resolved;
      if (value.length > MAX_RESOLVED_LENGTH) return undefined;
      index = variable.last;
    } else value += char;
  }
  return value;
}

interface Variable {
  readonly name: string;
  /** `:-`, `+` and so on. */
  readonly operator?: string | undefined;
  readonly operand?: string | undefined;
  /** Index of its last character. */
  readonly last: number;
}

/** The variable whose `$` is at `start`. Absent: none that we understand. */
function readVariable(word: string, start: number): Variable | undefined {
  if (word.charAt(start + 1) !== '{') {
    const name = /[A-Za-z_][A-Za-z0-9_]*/y;
    name.lastIndex = start + 1;
    const found = name.exec(word);
    return found ? { name: found[0], last: start + found[0].length } : undefined;
  }
  const last = closingBrace(word, start + 2);
  const found = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+])([^]*))?$/.exec(word.slice(start + 2, last));
  if (last === -1 || found === null) return undefined;
  const [, name = '', operator, operand] = found;
  return { name, operator, operand, last };
}

function closingBrace(word: string, from: number): number {
  let depth = 1;
  for (let index = from; index < word.length; index += 1) {
    if (word.charAt(index) === '{') depth += 1;
    else if (word.charAt(index) === '}') depth -= 1;
    if (depth === 0) return index;
  }
  return -1;
}

function resolve({ name, operator, operand = '' }: Variable, context: WordContext, depth: number) {
  const value = context.lookUp(name);
  if (operator === undefined) return value;
  const isSet = value !== undefined && (value !== '' || !operator.startsWith(':'));
  if (operator.endsWith('-')) return isSet ? value : expandOperand(operand, context, depth);
  if (isSet) return expandOperand(operand, context, depth);
  // Without a value in the file, the build may still give it one.
  return value === undefined ? undefined : '';
}

function expandOperand(operand: string, context: WordContext, depth: number): string | undefined {
  return depth >= MAX_DEPTH ? undefined : expandWord(operand, context, depth + 1);
}

function isBlank(char: string): boolean {
  return char === ' ' || char === '\t' || char === '\n';
}
