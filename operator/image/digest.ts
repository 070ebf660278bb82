// Content digests.
// @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests

/** `sha256:<64 lower-case hex>`. */
export type Digest = string & { readonly __brand: 'Digest' };

const DIGEST = /^sha256:[a-f0-9]{64}$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** The text as a Digest, or undefined when it is not a sha256 digest. */
export function parseDigest(text: string | undefined): Digest | undefined {
  return text !== undefined && isDigest(text) ? text : undefined;
}

/** The first 12 hex characters, as people quote a digest. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}
