// The checks of rollout.verify against real listeners and the answers that an API server gives.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KubeError } from '../../../../operator/kube/kube-error.ts';
import type { CheckOutcome } from '../../../../operator/rollout/checks/check.ts';
import { createChecks, type CheckDeps } from '../../../../operator/rollout/checks/index.ts';
import { compare } from '../../../../operator/rollout/checks/prometheus.ts';

const ROLLOUT = {
  namespace: 'shop',
  name: 'web-7',
  uid: '0123456789',
  tag: 'v1.1.0',
  digest: `sha256:${'a'.repeat(64)}`,
};
const servers: Server[] = [];

afterEach(async () => {
  await Promise.all(
    servers.splice(0).map(
      (server) =>
        new Promise((resolve) => {
          server.closeAllConnections();
          server.close(resolve);
        }),
    ),
  );
});

async function listen(handler: RequestListener): Promise<number> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

type Verify = Parameters<typeof createChecks>[0][number];

/** `objects` are what a get finds; what is created is kept there too. */
async function run(
  check: Verify,
  options: { objects?: Record<string, object>; prometheus?: CheckDeps['prometheus']; refuse?: KubeError } = {},
): Promise<CheckOutcome & { created?: object }> {
  const { objects = {}, prometheus, refuse } = options;
  let created: object | undefined;
  const client = {
    get: (_: unknown, { name }: { name: string }) => Promise.resolve(objects[name]),
    create: (_: unknown, __: string, object: { metadata: { name: string } }) => {
      if (refuse !== undefined) return Promise.reject(refuse);
      created = object;
      return Promise.resolve(object);
    },
  } as unknown as CheckDeps['client'];
  const [only] = createChecks([check], { client, prometheus });
  const outcome = await only!.run(ROLLOUT, new AbortController().signal);
  return { ...outcome, ...(created !== undefined && { created }) };
}

describe('an HTTP check', () => {
  const http = (port: number, more: object = {}): Verify => ({
    http: { service: 'web', port, path: '/healthz', scheme: 'HTTP', ...more },
  });
  const web = { web: { metadata: { name: 'web' }, spec: { type: 'ClusterIP', clusterIP: '127.0.0.1' } } };

  it.each([
    { status: 200, wanted: undefined, want: 'passed' },
    { status: 204, wanted: undefined, want: 'passed' },
    { status: 302, wanted: undefined, want: 'failed' },
    { status: 500, wanted: undefined, want: 'failed' },
    { status: 418, wanted: 418, want: 'passed' },
    { status: 200, wanted: 418, want: 'failed' },
  ])('of $status, wanted $wanted: $want', async ({ status, wanted, want }) => {
    let asked = '';
    const port = await listen((request, response) => {
      asked = `${request.headers.host ?? ''}${request.url ?? ''}`;
      response.writeHead(status, { location: 'http://169.254.169.254/' });
      response.end('a secret body');
    });

    const outcome = await run(http(port, wanted === undefined ? {} : { status: wanted }), { objects: web });

    expect(outcome.kind).toBe(want);
    expect(outcome.message).toContain(`answered ${status}`);
    expect(outcome.message).not.toContain('secret');
    expect(asked).toBe(`web.shop.svc:${port}/healthz`);
  });

  it('fails when nobody listens', async () => {
    expect(await run(http(9), { objects: web })).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('did not answer'),
    });
  });

  it.each([
    { when: 'there is no such Service', objects: {}, says: 'does not exist' },
    {
      when: 'it leads out of the cluster',
      objects: { web: { metadata: { name: 'web' }, spec: { type: 'ExternalName' } } },
      says: 'ExternalName',
    },
    {
      when: 'it has no address',
      objects: { web: { metadata: { name: 'web' }, spec: { clusterIP: 'None' } } },
      says: 'no address of its own',
    },
  ])('cannot tell when $when', async ({ objects, says }) => {
    expect(await run(http(80), { objects })).toMatchObject({ kind: 'unknown', message: expect.stringContaining(says) });
  });
});

describe('a Job check', () => {
  const template = {
    spec: {
      template: {
        spec: { containers: [{ name: 'smoke', image: 'smoke:1', env: [{ name: 'SLIPWAY_TAG', value: 'mine' }] }] },
      },
    },
  };
  const check: Verify = { job: { template } };
  const name = 'web-7-01234567-verify-0';
  const job = (type: string, owner = ROLLOUT.uid) => ({
    [name]: {
      metadata: { name, ownerReferences: [{ uid: owner }] },
      status: { conditions: [{ type, status: 'True', message: 'because' }] },
    },
  });

  it('creates the Job once, owned by the rollout, with what it is about in the environment', async () => {
    const { kind, created } = await run(check);

    expect(kind).toBe('pending');
    expect(created).toMatchObject({
      metadata: { name, ownerReferences: [{ kind: 'ImageRollout', uid: ROLLOUT.uid }] },
      spec: { backoffLimit: 2, template: { spec: { restartPolicy: 'Never' } } },
    });
    const { env } = (created as { spec: { template: { spec: { containers: { env: object[] }[] } } } }).spec.template
      .spec.containers[0]!;
    expect(env).toEqual([
      { name: 'SLIPWAY_TAG', value: 'mine' },
      { name: 'SLIPWAY_DIGEST', value: ROLLOUT.digest },
      { name: 'SLIPWAY_ROLLOUT', value: 'web-7' },
    ]);
  });

  it.each([
    { when: 'it has succeeded', objects: job('Complete'), want: { kind: 'passed' } },
    {
      when: 'it has failed',
      objects: job('Failed'),
      want: { kind: 'failed', isFinal: true, message: expect.stringContaining('because') },
    },
    { when: 'it is suspended', objects: job('Suspended'), want: { kind: 'pending' } },
    { when: "it is somebody else's", objects: job('Complete', 'else'), want: { kind: 'unknown' } },
  ])('is $want.kind when $when', async ({ objects, want }) => {
    expect(await run(check, { objects })).toMatchObject(want);
  });

  it('says why the Job was refused', async () => {
    const refuse = new KubeError('exceeded quota: one', { status: 403, reason: 'Forbidden' });

    expect(await run(check, { refuse })).toMatchObject({
      kind: 'unknown',
      message: expect.stringContaining('exceeded quota'),
    });
  });
});

describe('a Prometheus check', () => {
  const vector = (...values: readonly string[]) => ({
    status: 'success',
    data: { resultType: 'vector', result: values.map((value) => ({ metric: {}, value: [0, value] })) },
  });

  it.each([
    { body: vector('0.004'), threshold: '< 0.01', kind: 'passed', says: '0.004, wanted < 0.01' },
    { body: vector('0.0123456'), threshold: '<= 0.01', kind: 'failed', says: '0.01235' },
    { body: vector('5'), threshold: '>= 5', kind: 'passed', says: '5' },
    { body: vector('5'), threshold: '!= 5', kind: 'failed', says: '5' },
    { body: vector('-1'), threshold: '> -2', kind: 'passed', says: '-1' },
    {
      body: { status: 'success', data: { resultType: 'scalar', result: [0, '3'] } },
      threshold: '== 3',
      kind: 'passed',
      says: '3',
    },
    { body: vector(), threshold: '> 0', kind: 'unknown', says: 'no series' },
    { body: vector('1', '2'), threshold: '> 0', kind: 'unknown', says: '2 series' },
    { body: vector('NaN'), threshold: '> 0', kind: 'unknown', says: 'NaN' },
    {
      body: { status: 'success', data: { resultType: 'matrix', result: [] } },
      threshold: '> 0',
      kind: 'unknown',
      says: 'instant vector',
    },
    { body: { status: 'error', error: 'parse error' }, threshold: '> 0', kind: 'unknown', says: 'parse error' },
  ])('of $body with $threshold is $kind', ({ body, threshold, kind, says }) => {
    expect(compare(body, threshold)).toEqual({ kind, message: expect.stringContaining(says) });
  });

  it('asks with the token of a file, and says it to nobody else', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'slipway-prometheus-'));
    try {
      const bearerTokenFile = join(directory, 'token');
      await writeFile(bearerTokenFile, 'hunter2\n');
      let asked: (string | undefined)[] = [];
      const port = await listen((request, response) => {
        asked = [request.url, request.headers.authorization];
        response.end(JSON.stringify(vector('1')));
      });
      const prometheus = { url: `http://127.0.0.1:${port}/`, bearerTokenFile };

      const outcome = await run({ prometheus: { query: 'up{a="b"}', threshold: '> 0' } }, { prometheus });

      expect(outcome.kind).toBe('passed');
      expect(asked).toEqual(['/api/v1/query?query=up%7Ba%3D%22b%22%7D', 'Bearer hunter2']);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it.each([
    { when: 'none is configured', prometheus: undefined, says: 'prometheus.url' },
    { when: 'it does not answer', prometheus: { url: 'http://127.0.0.1:9' }, says: 'did not answer' },
  ])('cannot tell when $when', async ({ prometheus, says }) => {
    expect(await run({ prometheus: { query: 'up', threshold: '> 0' } }, { prometheus })).toMatchObject({
      kind: 'unknown',
      message: expect.stringContaining(says),
    });
  });
});
