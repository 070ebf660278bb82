// As much of CEL as the kinds' validation rules use, so that `slipway validate` gives the API server's own sentences
// without a cluster. An expression it cannot read is an error, and a test reads every rule of every kind.
// @see https://github.com/google/cel-spec/blob/master/doc/langdef.md

import { RE2JS } from 're2js';
import { parseDurationMs } from '../time/duration.ts';

type Scope = Readonly<Record<string, unknown>>;
type Evaluate = (scope: Scope) => unknown;

/** A compiled expression. Evaluating throws where CEL would have an error, for example on a malformed duration. */
export type CelProgram = (scope: Scope) => unknown;

/** The expression is beyond this subset. */
export class CelUnsupportedError extends Error {}

const TOKEN =
  /\s*(?:(r?)'((?:[^'\\]|\\.)*)'|(r?)"((?:[^"\\]|\\.)*)"|([0-9]+)|([A-Za-z_][A-Za-z0-9_]*)|(\|\||&&|==|!=|<=|>=|[-+<>!?:.,()[\]]))/y;

interface Token {
  readonly kind: 'string' | 'number' | 'name' | 'sign' | 'end';
  readonly text: string;
}

/** Throws CelUnsupportedError. */
export function compileCel(source: string): CelProgram {
  const parser = new Parser(tokenize(source), source);
  return parser.parse();
}

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  const text = source.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (!found) throw new CelUnsupportedError(`cannot read CEL at ${JSON.stringify(text.slice(at))}`);
    const [, raw1, single, raw2, double, digits, name, sign] = found;
    const quoted = single ?? double;
    if (quoted !== undefined) tokens.push({ kind: 'string', text: raw1 || raw2 ? quoted : unescape(quoted) });
    else if (digits !== undefined) tokens.push({ kind: 'number', text: digits });
    else if (name !== undefined) tokens.push({ kind: 'name', text: name });
    else tokens.push({ kind: 'sign', text: sign ?? '' });
  }
  return [...tokens, { kind: 'end', text: '' }];
}

function unescape(text: string): string {
  const known: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };
  return text.replace(/\\(.)/g, (_, character: string) => known[character] ?? character);
}

/** Operators that take two sides, the loosest first. */
const LEVELS: readonly (readonly string[])[] = [['||'], ['&&'], ['==', '!=', '<=', '>=', '<', '>', 'in'], ['+', '-']];

/** Recursive descent over the tokens; each method returns a function that evaluates what it read. */
class Parser {
  readonly #tokens: readonly Token[];
  readonly #source: string;
  #at = 0;

  constructor(tokens: readonly Token[], source: string) {
    this.#tokens = tokens;
    this.#source = source;
  }

  parse(): Evaluate {
    const expression = this.#conditional();
    if (this.#next.kind !== 'end') throw this.#unsupported();
    return expression;
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '' };
  }

  #unsupported(): CelUnsupportedError {
    return new CelUnsupportedError(`cannot read ${JSON.stringify(this.#next.text)} in the CEL rule ${this.#source}`);
  }

  #take(text: string): boolean {
    const { kind } = this.#next;
    if (kind === 'string' || kind === 'number' || this.#next.text !== text) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#unsupported();
  }

  #name(): string {
    const { kind, text } = this.#next;
    if (kind !== 'name') throw this.#unsupported();
    this.#at += 1;
    return text;
  }

  #conditional(): Evaluate {
    const condition = this.#binary(0);
    if (!this.#take('?')) return condition;
    const whenTrue = this.#conditional();
    this.#expect(':');
    const whenFalse = this.#conditional();
    return (scope) => (isTrue(condition(scope)) ? whenTrue(scope) : whenFalse(scope));
  }

  #binary(level: number): Evaluate {
    const operators = LEVELS[level];
    if (!operators) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const operator = operators.find((candidate) => this.#take(candidate));
      if (operator === undefined) return left;
      left = combine(operator, left, this.#binary(level + 1));
    }
  }

  #unary(): Evaluate {
    if (this.#take('!')) {
      const operand = this.#unary();
      return (scope) => !isTrue(operand(scope));
    }
    return this.#member();
  }

  #member(): Evaluate {
    let object = this.#primary();
    for (;;) {
      if (this.#take('[')) {
        const of = object;
        const index = this.#conditional();
        this.#expect(']');
        object = (scope) => select(of(scope), index(scope));
      } else if (this.#take('.')) {
        const of = object;
        const name = this.#name();
        object = this.#take('(') ? this.#method(of, name) : (scope) => select(of(scope), name);
      } else {
        return object;
      }
    }
  }

  #method(object: Evaluate, name: string): Evaluate {
    if (name === 'all' || name === 'exists' || name === 'exists_one') {
      const variable = this.#name();
      this.#expect(',');
      const body = this.#conditional();
      this.#expect(')');
      return (scope) => {
        const elements = elementsOf(object(scope));
        const holding = elements.filter((element) => isTrue(body({ ...scope, [variable]: element }))).length;
        if (name === 'all') return holding === elements.length;
        return name === 'exists' ? holding > 0 : holding === 1;
      };
    }
    const args = this.#arguments();
    const method = METHODS[name];
    if (!method) throw new CelUnsupportedError(`the method ${name} of the CEL rule ${this.#source}`);
    return (scope) => method(object(scope), ...args.map((argument) => argument(scope)));
  }

  #arguments(): Evaluate[] {
    const args: Evaluate[] = [];
    if (this.#take(')')) return args;
    do args.push(this.#conditional());
    while (this.#take(','));
    this.#expect(')');
    return args;
  }

  #primary(): Evaluate {
    const { kind, text } = this.#next;
    if (kind === 'string' || kind === 'number') {
      this.#at += 1;
      const value = kind === 'number' ? Number(text) : text;
      return () => value;
    }
    if (this.#take('(')) {
      const inner = this.#conditional();
      this.#expect(')');
      return inner;
    }
    if (this.#take('[')) return this.#list();
    const name = this.#name();
    if (name === 'true' || name === 'false') return () => name === 'true';
    if (name === 'null') return () => null;
    if (!this.#take('(')) return (scope) => select(scope, name);
    return name === 'has' ? this.#has() : this.#call(name);
  }

  #list(): Evaluate {
    const elements: Evaluate[] = [];
    if (!this.#take(']')) {
      do elements.push(this.#conditional());
      while (this.#take(','));
      this.#expect(']');
    }
    return (scope) => elements.map((element) => element(scope));
  }

  /** `has(a.b.c)`: whether c is there; a and b must be. */
  #has(): Evaluate {
    const path = [this.#name()];
    while (this.#take('.')) path.push(this.#name());
    this.#expect(')');
    const last = path.pop() ?? '';
    return (scope) => Object.hasOwn(path.reduce(select, scope) as object, last);
  }

  #call(name: string): Evaluate {
    const args = this.#arguments();
    const call = FUNCTIONS[name];
    if (!call) throw new CelUnsupportedError(`the function ${name} of the CEL rule ${this.#source}`);
    return (scope) => call(...args.map((argument) => argument(scope)));
  }
}

function combine(operator: string, left: Evaluate, right: Evaluate): Evaluate {
  switch (operator) {
    case '||':
      return (scope) => decide(true, left, right, scope);
    case '&&':
      return (scope) => decide(false, left, right, scope);
    case '==':
      return (scope) => isDeepEqual(left(scope), right(scope));
    case '!=':
      return (scope) => !isDeepEqual(left(scope), right(scope));
    case 'in':
      return (scope) => elementsOf(right(scope)).includes(left(scope));
    case '+':
      return (scope) => (left(scope) as string) + (right(scope) as string);
    case '-':
      return (scope) => (left(scope) as number) - (right(scope) as number);
    case '<':
      return (scope) => (left(scope) as number) < (right(scope) as number);
    case '<=':
      return (scope) => (left(scope) as number) <= (right(scope) as number);
    case '>':
      return (scope) => (left(scope) as number) > (right(scope) as number);
    default:
      return (scope) => (left(scope) as number) >= (right(scope) as number);
  }
}

/** The side that is `decisive` decides, even where the other one is an error. */
function decide(decisive: boolean, left: Evaluate, right: Evaluate, scope: Scope): boolean {
  let first: boolean;
  try {
    first = isTrue(left(scope));
  } catch (thrown) {
    if (isTrue(right(scope)) === decisive) return decisive;
    throw thrown;
  }
  return first === decisive ? decisive : isTrue(right(scope));
}

function isTrue(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Error('no such overload: a condition must be true or false');
  return value;
}

function isDeepEqual(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** A list's elements or a map's keys. */
function elementsOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : Object.keys(value as object);
}

function select(object: unknown, key: unknown): unknown {
  if (typeof object !== 'object' || object === null || !Object.hasOwn(object, String(key))) {
    throw new Error(`no such key: ${String(key)}`);
  }
  return (object as Scope)[String(key)];
}

function sizeOf(value: unknown): number {
  if (typeof value === 'string') return Array.from(value).length;
  return Array.isArray(value) ? value.length : Object.keys(value as object).length;
}

const METHODS: Readonly<Record<string, (self: unknown, ...args: unknown[]) => unknown>> = {
  matches: (self, pattern) => RE2JS.compile(pattern as string).test(self as string),
  contains: (self, part) => (self as string).includes(part as string),
  getHours: (self, zone) =>
    Number(
      new Intl.DateTimeFormat('en', { timeZone: zone as string, hour: 'numeric', hourCycle: 'h23' }).format(
        self as number,
      ),
    ),
  startsWith: (self, part) => (self as string).startsWith(part as string),
  endsWith: (self, part) => (self as string).endsWith(part as string),
  size: sizeOf,
};

const FUNCTIONS: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
  size: sizeOf,
  duration: (text) => parseDurationMs(text as string),
  timestamp: (text) => Date.parse(text as string),
  string: (value) => String(value),
};
