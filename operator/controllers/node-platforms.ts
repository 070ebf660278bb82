// Which platforms an image must run on where a policy names none: those of the cluster's nodes.

import { formatPlatform, normalizePlatform, type Platform } from '../image/platform.ts';
import type { Cache, Projection } from '../kube/informer.ts';
import type { Node } from './resources.ts';

/** A node as it is cached. */
export interface NodePlatform extends Projection {
  /** Absent until the kubelet has reported it. */
  readonly platform?: Platform;
}

export function projectNode({ metadata, status }: Node): NodePlatform {
  const { name, uid, resourceVersion } = metadata;
  const { operatingSystem, architecture } = status?.nodeInfo ?? {};
  return {
    metadata: { name, uid, resourceVersion },
    ...(operatingSystem && architecture && { platform: normalizePlatform(operatingSystem, architecture) }),
  };
}

export class NodePlatforms {
  readonly #nodes: Cache<NodePlatform> | undefined;
  readonly #fallback: readonly Platform[];
  #required: readonly Platform[];
  #notify: () => void = () => undefined;

  /** `nodes` is absent where they may not be read; `fallback` then stands in, as it does while there is no node. */
  constructor(nodes: Cache<NodePlatform> | undefined, fallback: readonly Platform[]) {
    this.#nodes = nodes;
    this.#fallback = fallback;
    this.#required = fallback;
  }

  /** Distinct and sorted; never empty. */
  get required(): readonly Platform[] {
    return this.#required;
  }

  onChange(notify: () => void): void {
    this.#notify = notify;
  }

  /** Call when a node changed. Cheap where its platform did not. */
  refresh(): void {
    const distinct = new Map<string, Platform>();
    for (const { platform } of this.#nodes?.list() ?? []) {
      if (platform !== undefined) distinct.set(formatPlatform(platform), platform);
    }
    const names = [...distinct.keys()].sort();
    if (names.join() === this.#required.map(formatPlatform).join()) return;
    this.#required = names.length === 0 ? this.#fallback : names.flatMap((name) => distinct.get(name) ?? []);
    this.#notify();
  }
}
