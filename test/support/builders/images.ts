// Digests and candidates that read like what they stand for.

import { createHash } from 'node:crypto';
import type { Digest } from '../../../operator/image/digest.ts';

/** A real-looking digest; the same seed always gives the same one. */
export function digestOf(seed: string): Digest {
  return `sha256:${createHash('sha256').update(seed).digest('hex')}` as Digest;
}

/** What a policy would move to: a tag of `repository` and its digest, and the image as Slipway writes it. */
export function candidate(
  tag = '1.1.0',
  repository = 'ghcr.io/acme/web',
): { readonly tag: string; readonly digest: Digest; readonly image: string } {
  const digest = digestOf(`${repository}:${tag}`);
  return { tag, digest, image: `${repository}:${tag}@${digest}` };
}
