// The commands of a RUN, as far as advice needs them: who is called with which words. No shell: what is inside of a
// substitution is left as it stands, and only the outer quotes are removed.

export interface Command {
  /** Without its directory: `apt-get` for `/usr/bin/apt-get`. */
  readonly name: string;
  readonly args: readonly string[];
  /** `NAME=value` before the name, or in an `export`. */
  readonly assignments: readonly (readonly [name: string, value: string])[];
}

/** Words before a command that do not change what it does for us. */
const PREFIXES: ReadonlySet<string> = new Set([
  ...['if', 'then', 'elif', 'else', 'do', 'while', 'until', '!', '{', '}', 'time', 'exec', 'command', 'sudo', 'env'],
]);
const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=([^]*)$/;
const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'ash', 'dash', 'zsh']);

/** The commands of a script, and of the scripts that it hands to `sh -c`. */
export function splitCommands(script: string): readonly Command[] {
  return splitSentences(script).flatMap((words) => toCommands(words));
}

/** The command of a JSON array of words, and of the script that it hands to `sh -c`. */
export function toCommands(words: readonly string[], isInner = false): readonly Command[] {
  const command = toCommand(words);
  const script = isInner ? undefined : scriptOf(command);
  if (script === undefined) return [command];
  return [command, ...splitSentences(script).flatMap((inner) => toCommands(inner, true))];
}

/** Absent: the command is no shell with a script among its words. */
function scriptOf({ name, args }: Command): string | undefined {
  const option = args.findIndex((word) => /^-[a-z]*c$/.test(word));
  return SHELLS.has(name) && option !== -1 ? args[option + 1] : undefined;
}

function toCommand(words: readonly string[]): Command {
  const assignments: (readonly [string, string])[] = [];
  let index = 0;
  for (; index < words.length; index += 1) {
    const word = words[index] ?? '';
    const assignment = ASSIGNMENT.exec(word);
    if (assignment) assignments.push([assignment[1] ?? '', assignment[2] ?? '']);
    else if (!PREFIXES.has(word) && !(word.startsWith('-') && index > 0)) break;
  }
  const name = (words[index] ?? '').replace(/^.*\//s, '');
  const args = words.slice(index + 1);
  if (name === 'export') {
    for (const word of args) {
      const assignment = ASSIGNMENT.exec(word);
      if (assignment) assignments.push([assignment[1] ?? '', assignment[2] ?? '']);
    }
  }
  return { name, args, assignments };
}

/** The words of each simple command, split at `;`, `&&`, `|`, brackets and line ends. */
function splitSentences(script: string): readonly (readonly string[])[] {
  const sentences: string[][] = [];
  let words: string[] = [];
  let index = 0;
  while (index < script.length) {
    const char = script.charAt(index);
    if (isSeparator(script, index)) {
      if (words.length > 0) sentences.push(words);
      words = [];
      index += 1;
    } else if (script.startsWith('\\\n', index)) index += 2;
    else if (char === ' ' || char === '\t') index += 1;
    else if (char === '#') index = endOfLine(script, index);
    else {
      const { word, end } = readWord(script, index);
      words.push(word);
      index = end;
    }
  }
  if (words.length > 0) sentences.push(words);
  return sentences;
}

/** The `&` of `2>&1` and `&>` is none. */
function isSeparator(script: string, index: number): boolean {
  const char = script.charAt(index);
  if (char === '&') return !/[<>]/.test(script.charAt(index - 1)) && script.charAt(index + 1) !== '>';
  return char !== '' && ';|()\n'.includes(char);
}

function endOfLine(script: string, from: number): number {
  const end = script.indexOf('\n', from);
  return end === -1 ? script.length : end;
}

function readWord(script: string, start: number): { readonly word: string; readonly end: number } {
  let word = '';
  let quote = '';
  let index = start;
  while (index < script.length) {
    const char = script.charAt(index);
    if (quote === '' && (char === ' ' || char === '\t' || isSeparator(script, index))) break;
    const substitution = quote === "'" ? index : endOfSubstitution(script, index);
    if (substitution > index) {
      word += script.slice(index, substitution);
      index = substitution;
      continue;
    }
    if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === '\\' && quote !== "'") {
      index += 1;
      // A line that goes on in the next one.
      if (script.charAt(index) !== '\n') word += script.charAt(index);
    } else word += char;
    index += 1;
  }
  return { word, end: index };
}

/** Where `$(…)`, `${…}` or `` `…` `` that begins here ends. `from` itself: none begins, or it has no end. */
function endOfSubstitution(script: string, from: number): number {
  const opening = script.charAt(from) === '`' ? '`' : script.slice(from, from + 2);
  if (opening === '`') {
    const end = script.indexOf('`', from + 1);
    return end === -1 ? script.length : end + 1;
  }
  if (opening !== '$(' && opening !== '${') return from;
  const [open, close] = opening === '$(' ? ['(', ')'] : ['{', '}'];
  let depth = 0;
  for (let index = from + 1; index < script.length; index += 1) {
    if (script.charAt(index) === open) depth += 1;
    else if (script.charAt(index) === close) depth -= 1;
    if (depth === 0) return index + 1;
  }
  return script.length;
}
