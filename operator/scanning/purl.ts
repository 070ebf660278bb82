// Package URLs: what scanners, attestations and VEX call a package or an image.
// @see https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst

export interface PackageUrl {
  /** Example: deb. */
  readonly type: string;
  /** Example: debian. Empty when there is none. */
  readonly namespace: string;
  readonly name: string;
  /** Absent: any. */
  readonly version?: string;
  readonly qualifiers: Readonly<Record<string, string>>;
}

/** Undefined for what is no package URL, one with a broken escape included. */
export function parsePurl(text: string): PackageUrl | undefined {
  const parts = /^pkg:\/*([a-z][a-z0-9.+-]*)\/+([^?#]+)(?:\?([^#]*))?(?:#.*)?$/i.exec(text.trim());
  if (parts === null) return undefined;
  const [, type = '', path = '', query = ''] = parts;
  // A scope may be written with a bare @, so that only one behind the last slash begins the version.
  const at = path.lastIndexOf('@');
  const hasVersion = at > path.lastIndexOf('/') + 1;
  try {
    const segments = (hasVersion ? path.slice(0, at) : path).split('/').filter(Boolean).map(decodeURIComponent);
    const name = segments.pop();
    const version = hasVersion ? decodeURIComponent(path.slice(at + 1)) : '';
    if (name === undefined) return undefined;
    return {
      type: type.toLowerCase(),
      namespace: segments.join('/'),
      name,
      ...(version !== '' && { version }),
      qualifiers: parseQualifiers(query),
    };
  } catch (thrown) {
    if (thrown instanceof URIError) return undefined;
    throw thrown;
  }
}

/** Not URLSearchParams: it takes the + of a Debian version for a space. */
function parseQualifiers(query: string): Record<string, string> {
  const pairs = query.split('&').map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    return [pair.slice(0, Math.max(equals, 0)).toLowerCase(), decodeURIComponent(pair.slice(equals + 1))];
  });
  return Object.fromEntries(pairs.filter(([key, value]) => key !== '' && value !== ''));
}

/** Whether `pattern` means this package: what it does not say may be anything. */
export function coversPurl(pattern: PackageUrl, purl: PackageUrl): boolean {
  return (
    pattern.type === purl.type &&
    pattern.namespace === purl.namespace &&
    pattern.name === purl.name &&
    (pattern.version === undefined || pattern.version === purl.version) &&
    Object.entries(pattern.qualifiers).every(([key, value]) => purl.qualifiers[key] === value)
  );
}

/** Systems whose namespace is the vendor, which is no part of the name that a scanner shows. */
const VENDOR_NAMESPACES: readonly string[] = ['alpm', 'apk', 'deb', 'rpm'];

/** The name by which scanners call the package: `libssl3`, `@acme/web`, `org.acme:web`. */
export function packageNameOf({ type, namespace, name }: PackageUrl): string {
  if (namespace === '' || VENDOR_NAMESPACES.includes(type)) return name;
  return `${namespace}${type === 'maven' ? ':' : '/'}${name}`;
}
