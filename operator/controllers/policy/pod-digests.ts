// Which digest the pods of a workload really run, where the workload names only a tag.

import { parseDigest, type Digest } from '../../image/digest.ts';
import type { Pod } from '../resources.ts';

/**
 * The one digest that every pod's container reports, or undefined while there is no pod, one has not started the
 * container, or they differ.
 */
export function digestOfPods(pods: readonly Pod[], container: string): Digest | undefined {
  let agreed: Digest | undefined;
  for (const { status } of pods) {
    if (status?.phase === 'Succeeded' || status?.phase === 'Failed') continue;
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
