// Makes addresses inside a cluster reachable as ports of 127.0.0.1 outside, without touching the machine's network: no
// link, no route, no firewall rule. See forward.ts for the trick.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Sandbox } from './sandbox.ts';

export interface ForwarderOptions {
  readonly directory: string;
  /** `address:port` inside. */
  readonly targets: readonly string[];
  readonly detached: boolean;
}

/** Starts forwarding and returns the ports outside, in the order of the targets. It ends with the sandbox. */
export async function startForwarder(sandbox: Sandbox, options: ForwarderOptions): Promise<readonly number[]> {
  const { directory, targets, detached } = options;
  const servers = targets.map(() => createServer());
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  await sandbox.start({
    name: 'forwarder',
    command: process.execPath,
    args: [fileURLToPath(new URL('./forward.ts', import.meta.url)), ...targets],
    logPath: join(directory, 'logs', 'forwarder.log'),
    detached,
    descriptors: servers.map(descriptorOf),
  });
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

/** Node has a listening socket's descriptor but does not document where. */
function descriptorOf(server: Server): number {
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  if (!Number.isInteger(fd) || fd < 0) throw new Error('This version of Node does not tell the descriptor of a socket');
  return fd;
}
