// `make demo`: the product on a real cluster, from nothing, told while it happens.

import { toError } from '../operator/errors.ts';
import { pushedTagReachesPods } from './demo/act-1.ts';
import { Narrator } from './demo/narrator.ts';
import { createWorld, type World } from './demo/world.ts';

/** In the order in which they are played. */
const ACTS: readonly { readonly title: string; play(world: World, narrator: Narrator): Promise<void> }[] = [
  { title: 'A pushed tag reaches the pods', play: pushedTagReachesPods },
];

const USAGE = `Usage: make demo [ACT=n] [KEEP=1] [CLUSTER=current]

  ACT=n            play act n only; there ${ACTS.length === 1 ? 'is one' : `are ${ACTS.length}`}:
${ACTS.map(({ title }, index) => `                     ${index + 1}  ${title}`).join('\n')}
  KEEP=1           leave everything running at the end, and say how to use it
  CLUSTER=current  use the cluster that kubectl points at, with
                     REGISTRY=host/path REGISTRY_LOGIN=user:password [REGISTRY_PLAIN_HTTP=1]`;

async function main(): Promise<number> {
  const { ACT, KEEP, CLUSTER } = process.env;
  const act = ACT === undefined || ACT === '' ? undefined : Number(ACT);
  const isUsable =
    (act === undefined || ACTS[act - 1] !== undefined) && [undefined, '', 'own', 'current'].includes(CLUSTER);
  if (process.argv.includes('--help') || !isUsable) {
    process.stdout.write(`${USAGE}\n`);
    return isUsable ? 0 : 2;
  }
  const narrator = new Narrator();
  const keep = KEEP !== undefined && KEEP !== '' && KEEP !== '0';
  let world: World | undefined;
  try {
    world = await createWorld(narrator, { keep, useCurrent: CLUSTER === 'current' });
    for (const { play } of act === undefined ? ACTS : ACTS.slice(act - 1, act)) await play(world, narrator);
    narrator.summary();
    if (keep) {
      narrator.title('Everything is left running. Try:');
      for (const line of world.farewell) narrator.say(line);
    }
    return 0;
  } catch (error) {
    narrator.failure(toError(error));
    if (world !== undefined) process.stderr.write(`\nThe end of the operator's log:\n${await world.operatorLog()}\n`);
    return 1;
  } finally {
    if (!keep) await world?.close();
  }
}

process.exitCode = await main();
