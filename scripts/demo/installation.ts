// Slipway as an administrator installs it: the image from the Dockerfile, the chart with helm, a namespace that enforces
// the restricted Pod Security standard.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../../test/support/processes.ts';
import { buildOperatorImage } from '../image/operator-image.ts';
import type { Narrator } from './narrator.ts';
import type { OperatorImageReference } from './options.ts';
import { SYSTEM_NAMESPACE, type Place } from './place.ts';
import { PULL_SECRET, type DemoRegistry } from './registry.ts';
import type { World } from './world.ts';

const ROOT = join(import.meta.dirname, '../..');
/** A lost leader is replaced sooner than by default: nobody likes to watch a demo wait. */
const LEADER_ELECTION = { leaseDuration: '6s', renewDeadline: '4s', retryPeriod: '1s' };

export async function install(place: Place, world: World, narrator: Narrator): Promise<void> {
  const { registry } = place;
  narrator.title('Slipway, from its Dockerfile and its chart');
  const image = place.operatorImage ?? (await buildAndPush(registry, narrator));
  await world.apply(
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: SYSTEM_NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    registry.pullSecret(SYSTEM_NAMESPACE),
  );
  const values = {
    image,
    imagePullSecrets: [{ name: PULL_SECRET }],
    // What the demo brings, it takes away again.
    crds: { keep: false },
    config: {
      registries: { [registry.host]: { allowPrivate: true, insecure: registry.isPlainHttp } },
      leaderElection: LEADER_ELECTION,
    },
  };
  const chart = join(ROOT, 'charts/slipway');
  const release = ['slipway', chart, '--namespace', SYSTEM_NAMESPACE];
  await mustRun([place.helm, 'install', ...release, '--wait', '--timeout=180s', '--values=-'], {
    env: place.env,
    input: JSON.stringify(values),
    timeoutMs: 240_000,
  });
  narrator.shown(
    'helm installed it into a namespace that enforces the restricted Pod Security standard; two replicas are ready',
  );
}

async function buildAndPush(registry: DemoRegistry, narrator: Narrator): Promise<OperatorImageReference> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const image = await buildOperatorImage({ version, revision: 'local', report: (line) => narrator.progress(line) });
  const digest = await image.push({
    reference: `${registry.pushReference('slipway')}:${version}`,
    credentials: registry.login,
    plainHttp: registry.isPlainHttp,
  });
  narrator.shown(`the operator's image is built and pushed: ${Math.round(image.sizeBytes / 1e6)} MB`);
  return { repository: registry.image('slipway'), digest };
}
