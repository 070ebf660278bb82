// A front of a real API server whose connections can become black holes: they stay open and nothing comes through any more,
// as when a firewall has forgotten them.

import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { ControlPlane } from './control-plane.ts';

export class BlackHole implements AsyncDisposable {
  readonly #controlPlane: ControlPlane;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #swallowed = new WeakSet<Socket>();

  private constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
    this.#server = createServer((client) => {
      this.#relay(client);
    });
  }

  static async start(controlPlane: ControlPlane): Promise<BlackHole> {
    const front = new BlackHole(controlPlane);
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve));
    return front;
  }

  /** A kubeconfig by which a client comes through this front, as a cluster administrator. */
  async writeKubeconfig(path: string): Promise<string> {
    const { port } = this.#server.address() as AddressInfo;
    const direct = await readFile(this.#controlPlane.kubeconfigPath, 'utf8');
    await writeFile(path, direct.replace(this.#controlPlane.server, `https://127.0.0.1:${port}`));
    return path;
  }

  /** Every connection of now carries nothing more; later ones do. */
  swallow(): void {
    for (const socket of this.#sockets) this.#swallowed.add(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #relay(client: Socket): void {
    const upstream = connect(Number(new URL(this.#controlPlane.server).port), '127.0.0.1');
    for (const [from, to] of [[client, upstream] as const, [upstream, client] as const]) {
      this.#sockets.add(from);
      from.on('data', (chunk) => this.#swallowed.has(from) || to.write(chunk));
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
