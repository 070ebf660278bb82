// What should be attached to an image. Who did not look says nothing, and then neither do we.

import type { Finding, Rule } from '../advice.ts';
import type { ImageToAdvise } from '../image-to-advise.ts';

export const REFERRER_RULES: readonly Rule<ImageToAdvise>[] = [
  { id: 'signature-missing', title: 'No signature', severity: 'Medium', find: findMissingSignature },
  { id: 'provenance-missing', title: 'No provenance', severity: 'Low', find: findMissingProvenance },
  { id: 'sbom-missing', title: 'No SBOM', severity: 'Low', find: findMissingSbom },
];

function findMissingSignature({ reference, hasSignature }: ImageToAdvise): readonly Finding[] {
  if (hasSignature !== false) return [];
  return [
    {
      message: `${reference} is not signed, so nobody can tell who built it: sign its digest, for example with cosign.`,
    },
  ];
}

function findMissingProvenance({ reference, hasProvenance }: ImageToAdvise): readonly Finding[] {
  if (hasProvenance !== false) return [];
  return [
    {
      message: `${reference} has no provenance, so its source and build cannot be traced: build it with docker buildx build --provenance=mode=max, or attach an attestation.`,
    },
  ];
}

function findMissingSbom({ reference, hasSbom }: ImageToAdvise): readonly Finding[] {
  if (hasSbom !== false) return [];
  return [
    {
      message: `${reference} has no SBOM, so what is in it has to be guessed: build it with docker buildx build --sbom=true, or attach one.`,
    },
  ];
}
