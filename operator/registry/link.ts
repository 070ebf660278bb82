// The Link header of a paged listing, and the rule that a next page is a page of the same listing: a registry must not
// be able to send our requests, which carry a login, anywhere else.
// @see https://www.rfc-editor.org/rfc/rfc8288

const MAX_LENGTH = 8_192;

/** The target of the first link with relation `next`, exactly as written; undefined when there is none. Linear time. */
export function nextLink(headers: readonly string[]): string | undefined {
  for (const header of headers) {
    const found = nextIn(header.slice(0, MAX_LENGTH));
    if (found !== undefined) return found;
  }
  return undefined;
}

function nextIn(text: string): string | undefined {
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf('<', at);
    if (open === -1) return undefined;
    const close = text.indexOf('>', open);
    if (close === -1) return undefined;
    const end = endOfPart(text, close + 1, ',');
    if (isNext(text.slice(close + 1, end))) return text.slice(open + 1, close);
    at = end + 1;
  }
  return undefined;
}

/** Where the part that starts at `from` ends: at the next `separator` outside quotes, or at the end of the text. */
function endOfPart(text: string, from: number, separator: string): number {
  let isQuoted = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === '\\' && isQuoted) at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === separator && !isQuoted) return at;
  }
  return text.length;
}

/** Whether the first `rel` among a link's parameters holds `next`. */
function isNext(parameters: string): boolean {
  for (let at = 0; at < parameters.length;) {
    const end = endOfPart(parameters, at, ';');
    const [name = '', ...rest] = parameters.slice(at, end).split('=');
    at = end + 1;
    if (name.trim().toLowerCase() !== 'rel') continue;
    const value = rest.join('=').trim().replace(/^"|"$/g, '');
    return value.toLowerCase().split(/\s/).includes('next');
  }
  return false;
}

/**
 * The next page's URL, or the reason why it is not followed. `first` is the URL of the first page: scheme, host, port and
 * path must be the same, only the query differs.
 */
export function resolveNextPage(
  link: string,
  current: URL,
  first: URL,
): { readonly url: URL } | { readonly refused: string } {
  const url = URL.parse(link, current.href);
  if (url === null) return { refused: 'its Link to the next page is not a URL' };
  if (url.username !== '' || url.password !== '') return { refused: 'its Link to the next page carries a login' };
  if (url.origin !== first.origin)
    return { refused: 'its Link to the next page leads to another host, port or scheme' };
  if (url.pathname !== first.pathname) return { refused: 'its Link to the next page leads to another path' };
  url.hash = '';
  return { url };
}
