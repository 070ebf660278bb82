// A client for the leader alone: no write leaves once the lead may be lost. The check runs synchronously right before the
// request is sent, after everything that can wait; what is on its way by then is stopped by compare-and-set.

import type { CallOptions, KubeClient } from './client.ts';
import type { LeaderElector } from './lease.ts';

/** `client`, whose writes reject with NotLeaderError unless `elector` leads at that moment. Reads pass. */
export function fenced(client: KubeClient, elector: Pick<LeaderElector, 'assertLeader'>): KubeClient {
  const fence = <O extends CallOptions>(options: O | undefined): O & CallOptions =>
    ({
      ...options,
      beforeSend: () => {
        options?.beforeSend?.();
        elector.assertLeader();
      },
    }) as O & CallOptions;
  return {
    get: (resource, key, options) => client.get(resource, key, options),
    list: (resource, options) => client.list(resource, options),
    listAll: (resource, options) => client.listAll(resource, options),
    create: (resource, namespace, object, options) => client.create(resource, namespace, object, fence(options)),
    patchJson: (resource, key, operations, options) => client.patchJson(resource, key, operations, fence(options)),
    patchMerge: (resource, key, body, options) => client.patchMerge(resource, key, body, fence(options)),
    replaceStatus: (resource, object, options) => client.replaceStatus(resource, object, fence(options)),
    delete: (resource, key, options) => client.delete(resource, key, fence(options)),
    raw: (request) => client.raw(request.method === 'GET' ? request : fence(request)),
  };
}
