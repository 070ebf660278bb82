// Forwards TCP ports of the machine into a cluster's network. A socket belongs to the network namespace in which it was
// made: the listening ones are inherited from a process outside, the outgoing ones are made here, inside.
//
//   node forward.ts 10.123.0.1:6443 10.123.0.1:5000     file descriptor 3 goes to the first, 4 to the second

import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';

const FIRST_DESCRIPTOR = 3;

for (const [index, target] of process.argv.slice(2).entries()) {
  const [host, port] = target.split(':');
  const server = createServer({ allowHalfOpen: true }, (inner) => {
    const outer = connect({ host: host as string, port: Number(port), allowHalfOpen: true });
    // Either side may vanish at any time; the other is then torn down, which is all there is to do.
    pipeline(inner, outer, () => undefined);
    pipeline(outer, inner, () => undefined);
  });
  server.listen({ fd: FIRST_DESCRIPTOR + index });
}
