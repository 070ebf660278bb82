// Tags that never name an image to run: what signing tools, referrers fallbacks and build caches leave beside images.
// @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema

/** cosign's `.sig`, `.att`, `.sbom`, and the bare fallback tag that lists a digest's referrers. */
const ATTACHED_TO_DIGEST = /^sha(?:256-[a-f0-9]{64}|512-[a-f0-9]{128})(?:\.[A-Za-z0-9._-]+)?$/;
/** What BuildKit's and GitLab's documentation call a cache exported to a registry, with any branch name around it. */
const BUILD_CACHE = /^(?:cache|(?:.+[-._])?build-?cache(?:[-._].+)?)$/;

export function isArtifactTag(tag: string): boolean {
  return (tag.startsWith('sha') && ATTACHED_TO_DIGEST.test(tag)) || (tag.includes('cache') && BUILD_CACHE.test(tag));
}
