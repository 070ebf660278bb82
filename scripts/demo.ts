// `make demo`: the product on a real cluster, from nothing, told while it happens.

import { constants } from 'node:os';
import { TerminalError, toError } from '../operator/errors.ts';
import { pushedTagReachesPods } from './demo/act-1.ts';
import { hauledBack } from './demo/act-2.ts';
import { install } from './demo/installation.ts';
import { Narrator } from './demo/narrator.ts';
import { parseOptions, usage, type DemoOptions } from './demo/options.ts';
import { keptRegistry, openPlace } from './demo/place.ts';
import { World } from './demo/world.ts';

interface Act {
  readonly title: string;
  play(world: World, narrator: Narrator): Promise<void>;
}

/** In the order in which they are played. */
const ACTS: readonly Act[] = [
  { title: 'A pushed tag reaches the pods', play: pushedTagReachesPods },
  { title: 'Hauled back, and it stays back', play: hauledBack },
];
const USAGE = usage(ACTS.map(({ title }) => title));
const EXIT_USAGE = 2;

class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`Stopped by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

async function main(): Promise<number> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  let options: DemoOptions;
  try {
    options = parseOptions(process.env, ACTS.length);
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    process.stderr.write(`${error.message}\n\n${USAGE}\n`);
    return EXIT_USAGE;
  }
  const isColoured = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  const narrator = new Narrator({ out: process.stdout, isColoured, now: () => performance.now() });
  return options.push === undefined ? play(options, narrator) : push(options.push, options, narrator);
}

async function play({ act, keep, place: where }: DemoOptions, narrator: Narrator): Promise<number> {
  const cleanup = new AsyncDisposableStack();
  let world: World | undefined;
  let farewell: readonly string[] = [];
  let exitCode = 0;
  const interruption = Promise.withResolvers<never>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interruption.reject(new Interrupted(signal)));
  }
  const story = async (): Promise<void> => {
    narrator.title('A cluster');
    const place = await openPlace(where, { narrator, keep, cleanup });
    farewell = place.farewell;
    world = new World(place, narrator);
    await install(place, world, narrator);
    for (const { play: playAct } of act === undefined ? ACTS : ACTS.slice(act - 1, act)) await playAct(world, narrator);
    narrator.summary();
  };
  try {
    await Promise.race([story(), interruption.promise]);
  } catch (thrown) {
    const error = toError(thrown);
    narrator.failure(error.message);
    exitCode = error instanceof Interrupted ? error.exitCode : 1;
    if (world !== undefined && exitCode === 1) narrator.say(`How everything was then:\n\n${await world.diagnosis()}`);
  }
  if (keep && exitCode <= 1 && farewell.length > 0) {
    narrator.title('Everything is left running. Try:');
    for (const line of farewell) narrator.say(line);
    return exitCode;
  }
  if (world !== undefined) narrator.progress('Cleaning up ...');
  await cleanup.disposeAsync();
  return exitCode;
}

async function push(tag: string, { place }: DemoOptions, narrator: Narrator): Promise<number> {
  try {
    const registry = await keptRegistry(place);
    narrator.shown(`pushed ${registry.image('web')}:${tag}, ${await registry.push('web', tag)}`);
    return 0;
  } catch (error) {
    narrator.failure(toError(error).message);
    return 1;
  }
}

// Not exitCode: an interrupted story goes on in the background, in a world that is gone.
process.exit(await main());
