// YAML and JSON files whose values know their lines, so that a message can point at the place to change.

import { isAlias, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, type Document } from 'yaml';

/** Keys and list positions from the document's root. */
export type Path = readonly (string | number)[];

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface SourceDocument {
  /** Plain data; undefined where the syntax is broken. */
  readonly value: unknown;
  /** Where the document begins. */
  readonly start: Place;
  readonly syntaxErrors: readonly (Place & { readonly message: string })[];
  /** The place of the value at a path, of its key, or of the nearest thing around it that exists. */
  placeOf(path: Path): Place;
}

/** Aliases may not multiply a small file into a huge value. */
const MAX_ALIASES = 100;

/** The documents of a file, empty ones left out. */
export function readDocuments(text: string): SourceDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  return [...documents]
    .filter((document) => document.errors.length > 0 || document.contents !== null)
    .map((document): SourceDocument => {
      const syntaxErrors = document.errors.map(({ message, pos }) => ({ ...place(pos[0]), message }));
      return {
        ...toValue(document, syntaxErrors, place),
        start: place(contentStart(document)),
        placeOf: (path) => place(offsetOf(document, path)),
      };
    });
}

function toValue(
  document: Document.Parsed,
  syntaxErrors: SourceDocument['syntaxErrors'],
  place: (offset: number) => Place,
): Pick<SourceDocument, 'value' | 'syntaxErrors'> {
  if (syntaxErrors.length > 0) return { value: undefined, syntaxErrors };
  try {
    return { value: document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown, syntaxErrors };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { value: undefined, syntaxErrors: [{ ...place(contentStart(document)), message }] };
  }
}

function contentStart(document: Document.Parsed): number {
  return isNode(document.contents) ? document.contents.range[0] : document.range[0];
}

function offsetOf(document: Document.Parsed, path: Path): number {
  let node: unknown = document.contents;
  let offset = contentStart(document);
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : key) === String(part));
      if (!isPair(pair)) return offset;
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      if (!isNode(node)) return offset;
      offset = node.range?.[0] ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}
