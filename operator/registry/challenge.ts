// WWW-Authenticate: which ways of logging in a registry offers. One header may hold several challenges and several
// headers may come; commas separate both challenges and their parameters, and may also stand inside quotes.
// @see https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

export interface Challenge {
  /** In lower case: `basic`, `bearer`, … */
  readonly scheme: string;
  /** Names in lower case. The first value wins where a name is repeated. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]/;
const MAX_LENGTH = 8_192;
const MAX_CHALLENGES = 16;

/** Reads what can be read; what is malformed is skipped, never guessed at. Takes time linear in the length. */
export function parseChallenges(headers: readonly string[]): readonly Challenge[] {
  return headers.flatMap((header) => parseHeader(header.slice(0, MAX_LENGTH))).slice(0, MAX_CHALLENGES);
}

function parseHeader(text: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const skip = (characters: string): void => {
    while (at < text.length && characters.includes(text.charAt(at))) at += 1;
  };
  const token = (): string => {
    const start = at;
    while (at < text.length && TOKEN.test(text.charAt(at))) at += 1;
    return text.slice(start, at);
  };

  while (at < text.length) {
    skip(' \t,');
    const word = token();
    if (word === '') {
      // Not a token: give up on everything up to the next comma outside quotes.
      at = skipToComma(text, at);
      continue;
    }
    const afterWord = at;
    skip(' \t');
    if (text.charAt(at) !== '=') {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
      continue;
    }
    const isToken68 =
      afterWord === at && /^=*(?:[ \t]*,|[ \t]*$)/.test(text.slice(at, at + 4)) && text.charAt(at + 1) !== '"';
    at += 1;
    skip(' \t');
    const value = text.charAt(at) === '"' ? quoted() : token();
    const current = challenges.at(-1);
    const name = word.toLowerCase();
    if (!isToken68 && value !== undefined && current !== undefined && !current.parameters.has(name)) {
      current.parameters.set(name, value);
    }
    if (at < text.length && !' \t,'.includes(text.charAt(at))) at = skipToComma(text, at);
  }
  return challenges;

  /** The quoted string at `at`, without quotes and escapes; undefined when it does not end. */
  function quoted(): string | undefined {
    const parts: string[] = [];
    at += 1;
    while (at < text.length) {
      const character = text.charAt(at);
      if (character === '"') {
        at += 1;
        return parts.join('');
      }
      if (character === '\\') at += 1;
      parts.push(text.charAt(at));
      at += 1;
    }
    return undefined;
  }
}

function skipToComma(text: string, from: number): number {
  let isQuoted = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === '\\' && isQuoted) at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === ',' && !isQuoted) return at;
  }
  return text.length;
}
