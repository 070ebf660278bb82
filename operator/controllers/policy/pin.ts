// Resolves `spec.pin` to digests, once: what the status says of it afterwards is what holds, whatever becomes of the tag.

import type { ImagePolicy } from '../../api/kinds.ts';
import { SlipwayError } from '../../errors.ts';
import { isDigest, type Digest } from '../../image/digest.ts';
import type { Repository } from '../../image/reference.ts';
import type { Tag } from '../../image/tag.ts';
import type { RegistryAccess, RegistryClient } from '../../registry/client.ts';
import { INSPECTION_MS } from './fact-reader.ts';
import type { PinFact } from './observation.ts';

export interface PinSource {
  /** As the policy spells it. */
  readonly image: string;
  readonly repository: Repository;
  readonly access: RegistryAccess;
}

/** What the status holds about this very pin; undefined when it has to be asked for. */
export function recordedPin({ spec, status }: ImagePolicy, images: readonly string[]): PinFact | undefined {
  const { pin } = spec;
  const known = status?.pin;
  if (pin === undefined || known?.digest === undefined) return undefined;
  const isSame = pin.tag === undefined ? pin.digest === known.digest : pin.tag === known.tag;
  if (!isSame) return undefined;
  const digests = images.map((image, part) =>
    part === 0 ? known.digest : known.companions?.find((companion) => companion.image === image)?.digest,
  );
  if (!digests.every((digest) => digest !== undefined)) return undefined;
  return { kind: 'resolved', ...(pin.tag !== undefined && { tag: pin.tag }), digests: digests as Digest[] };
}

/** Asks the registry. Every repository must have it. */
export async function resolvePin(
  pin: NonNullable<ImagePolicy['spec']['pin']>,
  sources: readonly PinSource[],
  registry: Pick<RegistryClient, 'headManifest'>,
  signal: AbortSignal,
): Promise<PinFact> {
  const reference = (pin.tag ?? pin.digest) as Tag | Digest;
  const field = pin.tag === undefined ? 'spec.pin.digest' : 'spec.pin.tag';
  const digests: Digest[] = [];
  for (const { image, repository, access } of sources) {
    const deadline = AbortSignal.timeout(INSPECTION_MS);
    try {
      const either = AbortSignal.any([signal, deadline]);
      const found = await registry.headManifest(repository, reference, access, either);
      if (found === undefined) {
        return {
          kind: 'unresolved',
          message: `${field}: ${image} has no ${reference}: pin a tag or a digest that is there, or remove the pin`,
        };
      }
      digests.push(found.digest);
    } catch (error) {
      if (signal.aborted) throw error;
      if (deadline.aborted) return { kind: 'unresolved', message: `${field}: ${image} did not answer in time` };
      if (!(error instanceof SlipwayError)) throw error;
      return { kind: 'unresolved', message: `${field}: ${error.message}` };
    }
  }
  return { kind: 'resolved', ...(pin.tag !== undefined && { tag: pin.tag }), digests: digests.filter(isDigest) };
}
