import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { connect as connectSocket, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TerminalError, TransientError } from '../../../operator/errors.ts';
import { connect, type KubeConnection } from '../../../operator/kube/connection.ts';
import { defineResource, type KubeObject } from '../../../operator/kube/resource.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ScriptedApiServer } from '../../support/scripted-api-server.ts';

const configMaps = defineResource<KubeObject>({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' });

interface Kubeconfig {
  readonly server?: string;
  readonly cluster?: object;
  readonly user?: object;
  readonly namespace?: string;
}

describe('connect', () => {
  let server: ScriptedApiServer;
  let folder: string;
  const connections: KubeConnection[] = [];

  beforeEach(async () => {
    server = await ScriptedApiServer.start({ resources: [configMaps] });
    folder = mkdtempSync(join(tmpdir(), 'slipway-kubeconfig-'));
  });

  afterEach(async () => {
    await Promise.all(connections.splice(0).map((connection) => connection.close()));
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  function write({ server: url = server.url, cluster = {}, user = {}, namespace }: Kubeconfig): string {
    const path = join(folder, 'kubeconfig');
    const ca = Buffer.from(server.ca).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'main',
      contexts: [{ name: 'main', context: { cluster: 'c', user: 'u', namespace } }],
      clusters: [
        {
          name: 'c',
          cluster: { server: url, ...(url.startsWith('https:') && { 'certificate-authority-data': ca }), ...cluster },
        },
      ],
      users: [{ name: 'u', user }],
    };
    // JSON is YAML.
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  async function open(config: Kubeconfig, options: Parameters<typeof connect>[0] = {}): Promise<KubeConnection> {
    const connection = await connect({ kubeconfigPath: write(config), ...options });
    connections.push(connection);
    return connection;
  }

  const authorization = (): string | undefined => server.requests.at(-1)?.headers['authorization'];

  it('sends the token of the kubeconfig', async () => {
    const connection = await open({ user: { token: 'secret' }, namespace: 'shop' });

    await connection.client.list(configMaps);

    expect(authorization()).toBe('Bearer secret');
    expect([connection.namespace, connection.server]).toEqual(['shop', server.url]);
  });

  it('sends user and password, and impersonates', async () => {
    const connection = await open({ user: { username: 'ann', password: 'pw', as: 'bob' } });

    await connection.client.list(configMaps);

    expect(authorization()).toBe(`Basic ${Buffer.from('ann:pw').toString('base64')}`);
    expect(server.requests.at(-1)?.headers['impersonate-user']).toBe('bob');
    expect(connection.namespace).toBe('default');
  });

  it('reads a token file again after a while, and at once when the server refuses the old token', async () => {
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, 'first\n');
    const clock = new FakeClock();
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    const connection = await open({ user }, { clock });
    await connection.client.list(configMaps);
    expect(authorization()).toBe('Bearer first');

    writeFileSync(tokenFile, 'second\n');
    await connection.client.list(configMaps);
    expect(authorization()).toBe('Bearer first');

    server.once('list', (reply) => reply.fail(401, 'Unauthorized', 'Unauthorized'));
    await connection.client.list(configMaps);
    expect(authorization()).toBe('Bearer second');
  });

  it('goes on with the token it has while the file is missing', async () => {
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, 'first');
    const clock = new FakeClock();
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    const connection = await open({ user }, { clock });
    await connection.client.list(configMaps);

    rmSync(tokenFile);
    server.once('list', (reply) => reply.fail(401, 'Unauthorized', 'Unauthorized'));
    await connection.client.list(configMaps);

    expect(authorization()).toBe('Bearer first');
  });

  it('says that there are no credentials yet, which may pass', async () => {
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile: join(folder, 'none') } } };
    const connection = await open({ user });

    const error = await connection.client.list(configMaps).catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(TransientError);
    expect(error).toMatchObject({ code: 'CredentialsUnavailable' });
  });

  it('runs an exec plug-in once for many calls, and again when its token is refused', async () => {
    const plugin = join(folder, 'plugin.sh');
    writeFileSync(
      plugin,
      `#!/bin/sh
echo run >> ${folder}/runs
n=$(wc -l < ${folder}/runs | tr -d ' ')
case "$KUBERNETES_EXEC_INFO" in *client.authentication.k8s.io/v1*) ;; *) exit 1;; esac
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"token-'$n'"}}'
`,
    );
    chmodSync(plugin, 0o755);
    const connection = await open({
      user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' } },
    });

    await Promise.all(Array.from({ length: 20 }, () => connection.client.list(configMaps)));
    expect(authorization()).toBe('Bearer token-1');

    server.once('list', (reply) => reply.fail(401, 'Unauthorized', 'Unauthorized'));
    await connection.client.list(configMaps);
    expect(authorization()).toBe('Bearer token-2');
  });

  it('says what an exec plug-in complained about', async () => {
    const connection = await open({
      user: {
        exec: {
          apiVersion: 'client.authentication.k8s.io/v1',
          command: 'sh',
          args: ['-c', 'echo please log in >&2; exit 1'],
        },
      },
    });

    await expect(connection.client.list(configMaps)).rejects.toMatchObject({
      code: 'CredentialsUnavailable',
      message: expect.stringContaining('please log in'),
    });
  });

  it('does not wait longer for a plug-in than for anything else', async () => {
    const connection = await open({
      user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sleep', args: ['2'] } },
    });

    await expect(connection.client.list(configMaps, { timeoutMs: 100 })).rejects.toMatchObject({ reason: 'Timeout' });
  });

  it('goes through the proxy that the kubeconfig names', async () => {
    const tunnels: string[] = [];
    const sockets = new Set<Socket>();
    const proxy = createServer().on('connect', (request: IncomingMessage, client: Socket) => {
      tunnels.push(`${request.url} ${request.headers['proxy-authorization']}`);
      const [host, port] = (request.url ?? '').split(':');
      const upstream = connectSocket(Number(port), host, () => {
        client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    const connection = await open({
      cluster: { 'proxy-url': `http://me:pw@127.0.0.1:${port}` },
      user: { token: 'secret' },
    });

    await connection.client.list(configMaps);

    const target = new URL(server.url).host;
    expect(tunnels).toEqual([`${target} Basic ${Buffer.from('me:pw').toString('base64')}`]);
    expect(server.requests.at(-1)?.httpVersion).toBe('2.0');
    expect(server.requests.at(-1)?.headers['proxy-authorization']).toBeUndefined();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  });

  it('says what a proxy answered that will not let it through', async () => {
    const proxy = createServer().on('connect', (_request: IncomingMessage, client: Socket) => {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    const connection = await open({ cluster: { 'proxy-url': `http://127.0.0.1:${port}` } });

    await expect(connection.client.list(configMaps, { timeoutMs: 5_000 })).rejects.toThrow(
      `Connecting through the proxy 127.0.0.1:${port}: it answered 407 to CONNECT`,
    );
    await new Promise((resolve) => proxy.close(resolve));
  });

  it.each([
    {
      when: 'a proxy it cannot speak to',
      config: { cluster: { 'proxy-url': 'socks5://127.0.0.1:1080' } },
      want: 'only http:// and https:// proxies are supported',
    },
    { when: 'a context that does not exist', config: {}, context: 'other', want: 'no context "other"; it has main' },
    {
      when: 'the address that stands for nothing',
      config: { server: 'http://localhost:8080' },
      want: 'No Kubernetes cluster is configured',
    },
  ])('refuses $when', async ({ config, context, want }) => {
    const error = await connect({ kubeconfigPath: write(config), context }).catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(TerminalError);
    expect((error as Error).message).toContain(want);
  });

  it('refuses a server in the clear unless that was allowed', async () => {
    const connection = await open({ server: 'http://127.0.0.1:1', user: { token: 'secret' } });

    const error = await connection.client.list(configMaps).catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(TerminalError);
    expect(error).toMatchObject({ code: 'InsecureServer' });
  });

  it.each([
    { when: 'does not exist', text: undefined, want: 'ENOENT' },
    { when: 'is no YAML', text: '{', want: 'Reading' },
  ])('names a kubeconfig that $when', async ({ text, want }) => {
    const path = join(folder, 'broken');
    if (text !== undefined) writeFileSync(path, text);

    await expect(connect({ kubeconfigPath: path })).rejects.toMatchObject({
      code: 'InvalidKubeconfig',
      message: expect.stringContaining(want),
    });
  });

  it('takes the configuration of the environment when no path is given', async () => {
    const kubeconfig = write({ user: { token: 'secret' }, namespace: 'from-env' });
    const module = new URL('../../../operator/kube/connection.ts', import.meta.url).href;
    const script = `const { connect } = await import(${JSON.stringify(module)}); console.log((await connect()).namespace);`;

    const run = (env: Record<string, string>): Promise<string> =>
      new Promise((resolve) => {
        const options = { env: { PATH: process.env['PATH'] ?? '', ...env } };
        execFile(process.execPath, ['--input-type=module', '-e', script], options, (_error, stdout, stderr) =>
          resolve(stdout + stderr),
        );
      });

    expect(await run({ KUBECONFIG: kubeconfig })).toBe('from-env\n');
    expect(await run({ HOME: folder })).toContain('No Kubernetes cluster is configured');
  });
});
