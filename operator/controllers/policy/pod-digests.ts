// Which digest the pods of a workload really run, where the workload names only a tag.

import { parseDigest, type Digest } from '../../image/digest.ts';
import type { Pod } from '../resources.ts';

/**
 * The one digest that every pod's container reports for this image, or undefined while there is no pod, one has not
 * started the container or has another image, or they differ.
 */
export function digestOfPods(pods: readonly Pod[], container: string, image: string): Digest | undefined {
  let agreed: Digest | undefined;
  for (const { metadata, spec, status } of pods) {
    if (metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed')
      continue;
    const wanted = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find(
      ({ name }) => name === container,
    );
    // A pod of an earlier template says nothing about this one.
    if (wanted?.image !== image) return undefined;
    const reported = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].find(
      ({ name }) => name === container,
    );
    // containerd reports `repo@sha256:…`; a bare `sha256:…` is the config's digest, which is another thing.
    const digest = parseDigest(/@(sha256:[a-f0-9]{64})$/.exec(reported?.imageID ?? '')?.[1]);
    if (digest === undefined || (agreed !== undefined && agreed !== digest)) return undefined;
    agreed = digest;
  }
  return agreed;
}
