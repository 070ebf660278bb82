// Loopback ports for programs that cannot bind port 0 themselves. They come from below the kernel's ephemeral range, so
// that no outgoing connection takes one between the check and the use, and a program can be restarted on its old port.

import { once } from 'node:events';
import { createServer } from 'node:net';

const LOWEST = 15_000;
const HIGHEST = 32_000;

const handedOut = new Set<number>();

/**
 * A port on 127.0.0.1 that was free a moment ago and that this process has not handed out before. Another process may
 * still win the race: whoever starts a program on it must be ready to try again with another.
 */
export async function freePort(random: () => number = Math.random): Promise<number> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const port = LOWEST + Math.floor(random() * (HIGHEST - LOWEST));
    if (handedOut.has(port) || !(await isFree(port))) continue;
    handedOut.add(port);
    return port;
  }
  throw new Error(`No free port found between ${LOWEST} and ${HIGHEST}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
