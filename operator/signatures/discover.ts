// Where the signatures of an image lie: in artifacts that refer to its digest, listed by the registry, or, as cosign wrote
// them before version 3, under a tag that is made of the digest. What is found here proves nothing yet.
// @see https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
// @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md

import * as z from 'zod';
import { isDigest, type Digest } from '../image/digest.ts';
import type { Tag } from '../image/tag.ts';
import { BUNDLE_MEDIA_TYPE } from './bundle.ts';
import type { LegacySignature } from './legacy.ts';
import { readJson } from './read-json.ts';
import { SIGN_PREDICATE } from './statement.ts';

const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const PREDICATE = 'dev.sigstore.bundle.predicateType';
const SIGNATURE = 'dev.cosignproject.cosign/signature';
const CERTIFICATE = 'dev.sigstore.cosign/certificate';
const REKOR_BUNDLE = 'dev.sigstore.cosign/bundle';
const TIMESTAMP = 'dev.sigstore.cosign/rfc3161timestamp';

/** Something to fetch. */
export interface Located {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** Its digest is that of the payload. */
export interface LocatedSignature extends Located, LegacySignature {}

const descriptor = z.object({
  mediaType: z.string().default(''),
  digest: z.string().refine(isDigest),
  size: z.int().nonnegative(),
  artifactType: z.string().optional(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
// What refers to an image is anybody's: an entry that cannot be read is left out, and hides none of the others.
const entries = z
  .array(z.unknown())
  .transform((list) => list.flatMap((entry) => descriptor.safeParse(entry).data ?? []));
const index = z.object({ manifests: entries });
const manifest = z.object({ layers: entries });

type Descriptor = z.output<typeof descriptor>;

/** `sha256-<64 hex>.sig`, in the image's repository. */
export function legacyTag(digest: Digest): Tag {
  return `${digest.replace(':', '-')}.sig` as Tag;
}

/**
 * From the index of what refers to an image (JSON), the manifests that hold a bundle with a signature, or with any statement
 * if asked for. Registries need not filter, so everything that refers to the image may be listed. Throws a SignatureError.
 */
export function listBundleManifests(
  referrers: string,
  options: { readonly allowAnyPredicate?: boolean } = {},
): readonly Located[] {
  return readJson('the list of referrers', referrers, index)
    .manifests.filter(({ artifactType }) => artifactType === BUNDLE_MEDIA_TYPE)
    .filter(({ annotations }) => {
      // Annotations are optional: without them the bundle itself has to tell.
      const predicate = annotations?.[PREDICATE];
      return predicate === undefined || predicate === SIGN_PREDICATE || options.allowAnyPredicate === true;
    })
    .map(toLocated);
}

/** From such a manifest (JSON), the bundles. Throws a SignatureError. */
export function listBundles(bundleManifest: string): readonly Located[] {
  return readJson('the manifest of the signature', bundleManifest, manifest)
    .layers.filter(({ mediaType }) => mediaType === BUNDLE_MEDIA_TYPE)
    .map(toLocated);
}

/** From the manifest under the legacy tag (JSON), the signatures: one layer each. Throws a SignatureError. */
export function listLegacySignatures(signatureManifest: string): readonly LocatedSignature[] {
  return readJson('the manifest of the signatures', signatureManifest, manifest)
    .layers.filter(({ mediaType }) => mediaType === SIMPLE_SIGNING)
    .flatMap((layer) => {
      const { [SIGNATURE]: signature, [CERTIFICATE]: certificate, ...others } = layer.annotations ?? {};
      const { [REKOR_BUNDLE]: bundle, [TIMESTAMP]: timestamp } = others;
      if (!signature) return [];
      return {
        ...toLocated(layer),
        signature,
        // Empty annotations are what some tools write for none.
        ...(certificate && { certificate }),
        ...(bundle && { bundle }),
        ...(timestamp && { timestamp }),
      };
    });
}

function toLocated({ digest, size }: Descriptor): Located {
  return { digest, sizeBytes: size };
}
