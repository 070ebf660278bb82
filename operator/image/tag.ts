// Tags.
// @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests

/** A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`. */
export type Tag = string & { readonly __brand: 'Tag' };

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export function isTag(text: string): text is Tag {
  return TAG.test(text);
}
