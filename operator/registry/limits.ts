// Everything a registry could make us wait for or hold in memory has a bound here, in one place.

/** Sizes in bytes of the decompressed body, times in milliseconds. */
export interface RegistryLimits {
  /** A manifest, an index or an image configuration. The specification asks registries to accept 4 MiB. */
  readonly manifestBytes: number;
  readonly tokenBytes: number;
  readonly tagPageBytes: number;
  /** What is read of a failed answer's body; the rest is cut off. */
  readonly errorBytes: number;
  /** Decompressed bytes per compressed byte, once a body is larger than `ratioFloorBytes`. */
  readonly compressionRatio: number;
  readonly ratioFloorBytes: number;
  /** Distinct tags of one repository. More: `TagListTruncated`. */
  readonly tags: number;
  /** Pages of one listing. More: `TagListTruncated`. */
  readonly tagPages: number;
  /** Consecutive pages that bring no new tag but promise another page. */
  readonly idlePages: number;
  readonly redirects: number;
  /** From the first look-up to the end of the TLS handshake. */
  readonly connectMs: number;
  /** Longest silence while waiting for headers or for the next bytes. */
  readonly idleMs: number;
  /** One request with its answer, however lively the other side is. */
  readonly exchangeMs: number;
  /** A whole listing, all pages. */
  readonly listingMs: number;
}

export const DEFAULT_LIMITS: RegistryLimits = {
  manifestBytes: 4 * 1024 * 1024,
  tokenBytes: 64 * 1024,
  tagPageBytes: 8 * 1024 * 1024,
  errorBytes: 8 * 1024,
  compressionRatio: 100,
  ratioFloorBytes: 64 * 1024,
  tags: 200_000,
  tagPages: 2_000,
  idlePages: 8,
  redirects: 5,
  connectMs: 10_000,
  idleMs: 15_000,
  exchangeMs: 60_000,
  listingMs: 300_000,
};
