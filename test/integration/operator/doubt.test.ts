// Doubt changes nothing: whatever a registry answers instead of the truth, conditions change and images do not, and when
// the registry comes to itself the newer tag rolls out. Each fault has a (scripted) registry of its own.

import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findCondition } from '../../../operator/api/conditions.ts';
import { createLogger } from '../../../operator/telemetry/logger.ts';
import { startControlPlane, type ControlPlane } from '../../support/control-plane.ts';
import { reaching, Shop, writesOf } from '../../support/operator-world.ts';
import { installCrds, startOperator, type TestOperator } from '../../support/operator.ts';
import { LOGIN, ScriptedRegistry, sendJson, type Script } from '../../support/scripted-registry.ts';
import { waitFor } from '../../support/wait.ts';

jest.setTimeout(90_000);

const isList: (kind: string) => boolean = (kind) => kind === 'list';
const answer =
  (status: number, body: string, headers: Record<string, string> = {}): Script =>
  ({ kind }, response) => {
    if (!isList(kind)) return false;
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
    return true;
  };

const FAULTS: readonly { readonly name: string; readonly reason: string; readonly script: Script }[] = [
  { name: '403', reason: 'Forbidden', script: answer(403, '{"errors":[{"code":"DENIED"}]}') },
  { name: '404', reason: 'RepositoryNotFound', script: answer(404, '{"errors":[{"code":"NAME_UNKNOWN"}]}') },
  { name: '429', reason: 'RateLimited', script: answer(429, '', { 'retry-after': '2' }) },
  { name: '500', reason: 'Unavailable', script: answer(500, 'oh no') },
  {
    name: 'an HTML page',
    reason: 'InvalidResponse',
    script: answer(200, '<html>Login</html>', { 'content-type': 'text/html' }),
  },
  { name: 'half a list', reason: 'InvalidResponse', script: answer(200, '{"name":"shop/web","tags":["v1.0.0","v1.') },
  { name: 'an empty list', reason: 'TagListEmpty', script: answer(200, '{"name":"shop/web","tags":[]}') },
  {
    name: 'an endless chain of pages',
    reason: 'InvalidResponse',
    script: answer(200, '{"tags":["v1.0.0"]}', { link: '</v2/shop/web/tags/list?last=v1.0.0>; rel="next"' }),
  },
  {
    name: 'a page on another host',
    reason: 'InvalidResponse',
    script: answer(200, '{"tags":["v1.0.0"]}', {
      link: '<http://169.254.169.254/v2/shop/web/tags/list?last=a>; rel="next"',
    }),
  },
  {
    name: 'a gzip bomb',
    reason: 'InvalidResponse',
    script: ({ kind }, response) => {
      if (kind !== 'list') return false;
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
      response.end(gzipSync(Buffer.alloc(64 * 1024 * 1024, ' ')));
      return true;
    },
  },
  {
    name: 'a lying digest',
    reason: 'CandidateUnreadable',
    script: ({ kind, method }, response) => {
      if (kind !== 'manifest' || method !== 'GET') return false;
      sendJson(response, 200, { schemaVersion: 2, lies: true });
      return true;
    },
  },
];

interface Stage {
  readonly fault: (typeof FAULTS)[number];
  readonly registry: ScriptedRegistry;
  readonly shop: Shop;
  readonly image: string;
  readonly pinned: Readonly<Record<'v1.0.0' | 'v1.1.0', string>>;
  readonly heal: () => void;
}

let controlPlane: ControlPlane;
let operator: TestOperator;
let stages: Stage[];
let login: { registry: ScriptedRegistry; shop: Shop; image: string; digest: string };
const written: string[] = [];

beforeAll(async () => {
  controlPlane = await startControlPlane({ audit: true });
  await installCrds(controlPlane);
  const registries = await Promise.all(FAULTS.map(() => ScriptedRegistry.start()));
  const guarded = await ScriptedRegistry.start({ auth: 'basic' });
  const stream = new PassThrough();
  stream.on('data', (chunk: Buffer) => written.push(chunk.toString('utf8')));
  operator = await startOperator({
    kubeconfigPath: controlPlane.kubeconfigPath,
    config: reaching(...registries, guarded),
    log: createLogger({ level: 'debug', stream }),
  });
  stages = await Promise.all(
    FAULTS.map(async (fault, index): Promise<Stage> => {
      const registry = registries[index] as ScriptedRegistry;
      const image = `${registry.host}/shop/web`;
      const pinned = {
        'v1.0.0': `${image}:v1.0.0@${registry.push('shop/web', 'v1.0.0')}`,
        'v1.1.0': `${image}:v1.1.0@${registry.push('shop/web', 'v1.1.0')}`,
      };
      const shop = await Shop.open(controlPlane, `doubt-${index}`);
      await shop.deploy('web', { containers: { web: pinned['v1.0.0'] } });
      const heal = registry.script(fault.script);
      await shop.policy('web', {
        image,
        tags: { semver: { range: '1.x' } },
        targets: [{ kind: 'Deployment', name: 'web' }],
      });
      return { fault, registry, shop, image, pinned, heal };
    }),
  );
  const shop = await Shop.open(controlPlane, 'doubt-login');
  login = { registry: guarded, shop, image: `${guarded.host}/shop/web`, digest: guarded.push('shop/web', 'v1.0.0') };
}, 120_000);

afterAll(async () => {
  await operator.stop();
  await Promise.all([...stages.map(({ registry }) => registry.stop()), login.registry.stop(), controlPlane.stop()]);
});

describe('a registry in doubt', () => {
  it.each(FAULTS.map(({ name, reason }, index) => ({ name, reason, index })))(
    'answers with $name: Ready says $reason, and no image changes',
    async ({ reason, index }) => {
      const { shop, pinned } = stages[index] as Stage;

      const { status } = await shop.settled('web', reason);

      expect(findCondition(status?.conditions, 'Ready')?.message).toMatch(/[a-z]/);
      expect(findCondition(status?.conditions, 'Stalled')).toBeUndefined();
      expect(await shop.images('web')).toEqual({ web: pinned['v1.0.0'] });
      expect(await shop.readRollouts('web')).toEqual([]);
    },
  );

  it('causes no write but to the status of the policy', async () => {
    const writes = writesOf(await controlPlane.auditEvents());

    expect(writes.length).toBeGreaterThan(FAULTS.length);
    expect(
      writes.filter(({ objectRef }) => objectRef?.resource !== 'imagepolicies' || objectRef.subresource !== 'status'),
    ).toEqual([]);
  });

  it('is forgiven when it comes to itself', async () => {
    for (const { heal } of stages) heal();

    const controllers = stages.map(({ shop }) => shop.playControllers(['web', 'Deployment']));
    await Promise.all(
      stages.map(({ shop, fault, pinned }) =>
        waitFor(`${fault.name} is over`, async () => (await shop.images('web'))['web'] === pinned['v1.1.0'], {
          timeoutMs: 60_000,
        }),
      ),
    );
    await Promise.all(stages.map(({ shop }) => shop.settled('web', 'UpToDate')));
    for (const playing of controllers) playing[Symbol.dispose]();
  });
});

describe('a registry that wants a login', () => {
  const spec = (): object => ({
    image: login.image,
    tags: { semver: { range: '1.x' } },
    registry: { imagePullSecrets: [{ name: 'login' }] },
  });

  async function writeSecret(password: string): Promise<void> {
    const auth = Buffer.from(`${LOGIN.username}:${password}`).toString('base64');
    await controlPlane.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'login', namespace: login.shop.namespace },
      type: 'kubernetes.io/dockerconfigjson',
      stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [login.registry.host]: { auth } } }) },
    });
  }

  it('is read as soon as the secret is there and right, and the secret appears nowhere', async () => {
    await login.shop.policy('web', spec());
    const missing = await login.shop.settled('web', 'PullSecretNotFound');
    expect(findCondition(missing.status?.conditions, 'Ready')?.message).toContain('Secret login does not exist');

    await writeSecret('a wrong password');
    await login.shop.settled('web', 'Unauthorized', 40_000);

    await writeSecret(LOGIN.password);
    const { status } = await login.shop.settled('web', 'Selected', 60_000);
    expect(status?.selected).toEqual({ tag: 'v1.0.0', digest: login.digest });

    const seen = [
      ...written,
      JSON.stringify(await login.shop.readPolicy('web')),
      JSON.stringify(await login.shop.request('GET', '/apis/events.k8s.io/v1/events')),
      await (await fetch(operator.metricsUrl)).text(),
      JSON.stringify(await controlPlane.auditEvents()),
    ].join('\n');
    const auth = Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64');
    for (const secret of ['a wrong password', LOGIN.password, auth]) expect(seen).not.toContain(secret);
    expect(written.length).toBeGreaterThan(10);
  });
});
