// Real registries for tests: Debian's docker-registry 2.8.2 (tags unsorted and unpaged, no referrers) and distribution
// 3.1.2 (sorted, paged), each without login, with a basic login or with a token server, over http or https.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import YAML from 'yaml';
import type { Digest } from '../../operator/image/digest.ts';
import { createAuthority, type KeyPair } from '../cluster/certificates.ts';
import { ensureTools } from '../cluster/tools.ts';
import { type RunningProcess, startProcess } from './processes.ts';
import { type ImageOptions, ImagePusher, PUSHER_USER_AGENT } from './registries-image.ts';
import { TOKEN_ISSUER, TOKEN_SERVICE, TokenServer } from './registries-token.ts';
import { GiveUp, waitFor } from './wait.ts';

export type RegistryAuth = 'none' | 'basic' | 'token';

export interface RegistryOptions {
  /** Default `none`. */
  readonly auth?: RegistryAuth;
  /** Serve https with a certificate of an authority of its own. Default: plain http. */
  readonly tls?: boolean;
}

/** A request the registry answered, from its own access log. */
export interface RegistryRequest {
  readonly method: string;
  /** With the query: `/v2/acme/api/tags/list?n=100`. */
  readonly path: string;
  readonly status: number;
  readonly userAgent: string;
  /** Since the epoch, a whole second. */
  readonly timeMs: number;
}

export interface TestRegistry extends AsyncDisposable {
  /** As image references name it: `127.0.0.1:<port>`. */
  readonly host: string;
  /** `http://` or `https://` and the host. */
  readonly url: string;
  /** The authority that signed the certificate, PEM. Absent without TLS. */
  readonly ca?: string;
  /** The one login that is accepted; without authentication nobody asks for it. */
  readonly username: string;
  readonly password: string;
  readonly logPath: string;
  /** Present with token authentication. */
  readonly tokenServer?: TokenServer;
  /** For blobs, manifests and artifacts of any kind. */
  readonly pusher: ImagePusher;
  /** What clients asked so far, oldest first, without the traffic of this harness. */
  requests(): Promise<readonly RegistryRequest[]>;
  push(repository: string, tag: string, image?: ImageOptions): Promise<Digest>;
  /** Lets `to` name what `from` (tag or digest) names now. */
  retag(repository: string, from: string, to: string): Promise<Digest>;
  /** Removes a tag and leaves its manifest. Done on the disk, because the API of 2.8.2 cannot. */
  deleteTag(repository: string, tag: string): Promise<void>;
  stop(): Promise<void>;
}

export const REGISTRY_LOGIN = { username: 'slipway', password: 'ropes and anchors' } as const;
/** The login as a line of an htpasswd file: bcrypt at its lowest cost, so that no test waits for it. */
export const REGISTRY_HTPASSWD = `${REGISTRY_LOGIN.username}:$2a$04$9P3DQrFlSEwDkMYR23IbQurcywYj0GwU6IpmPPKIrEQxHB.MnlQ4W\n`;

/** Debian's docker-registry 2.8.2. */
export async function startDockerRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const tools = await ensureTools(['docker-registry', 'openssl']);
  return startRegistry(tools['docker-registry'], options);
}

/** distribution 3.1.2. */
export async function startDistribution(options: RegistryOptions = {}): Promise<TestRegistry> {
  const tools = await ensureTools(['distribution', 'openssl']);
  return startRegistry(tools.distribution, options);
}

export interface RegistryConfigOptions {
  /** `host:port`; port 0 takes a free one, which the log then names. */
  readonly address: string;
  readonly storage: string;
  readonly tls?: KeyPair;
  /** The `auth` section. */
  readonly auth?: object;
}

/** A configuration file that both versions understand: on disk, deletable, with an access log and nothing cached. */
export function registryConfig(options: RegistryConfigOptions): string {
  return YAML.stringify({
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: false } },
    storage: {
      filesystem: { rootdirectory: options.storage },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr: options.address,
      secret: randomUUID(),
      relativeurls: true,
      ...(options.tls === undefined ? {} : { tls: { certificate: options.tls.certPath, key: options.tls.keyPath } }),
    },
    ...(options.auth === undefined ? {} : { auth: options.auth }),
  });
}

/** The requests in an access log (Apache's combined format), without those of this harness. */
export function parseAccessLog(text: string): readonly RegistryRequest[] {
  const found: RegistryRequest[] = [];
  for (const line of text.split('\n')) {
    const match = /^\S+ \S+ \S+ \[([^\]]+)\] "([A-Z]+) (\S+) HTTP\/[^"]+" (\d+) \d+ "[^"]*" "([^"]*)"/.exec(line);
    const [, time = '', method, path, status, userAgent] = match ?? [];
    if (method === undefined || path === undefined || userAgent === PUSHER_USER_AGENT) continue;
    // 25/Nov/2026:17:40:14 +0000
    const timeMs = Date.parse(time.replaceAll('/', ' ').replace(':', ' '));
    found.push({ method, path, status: Number(status), userAgent: userAgent ?? '', timeMs });
  }
  return found;
}

/**
 * Asks the registry something of our own and waits until its access log shows it: then it shows all that was answered
 * before, too.
 */
export async function settledAccessLog(url: string, logPath: string, dispatcher?: Agent): Promise<string> {
  const marker = randomUUID();
  const answer = await request(`${url}/v2/?${marker}`, {
    headers: { 'user-agent': PUSHER_USER_AGENT },
    ...(dispatcher === undefined ? {} : { dispatcher }),
  });
  await answer.body.dump();
  return waitFor('the access log is complete', async () => {
    const text = await readFile(logPath, 'utf8');
    return text.includes(marker) && text;
  });
}

async function startRegistry(program: string, options: RegistryOptions): Promise<TestRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-registry-'));
  const cleanups: (() => void | Promise<void>)[] = [];
  const removeFiles = (): void => rmSync(directory, { recursive: true, force: true });
  process.once('exit', removeFiles);
  cleanups.push(removeFiles, () => void process.off('exit', removeFiles));
  async function stop(): Promise<void> {
    for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
  }

  try {
    const { auth = 'none' } = options;
    const authority = options.tls ? await createAuthority(directory, 'authority') : undefined;
    const tls = await authority?.issueServer('registry', ['127.0.0.1', 'localhost']);
    const tokens = auth === 'token' ? await startTokenServer(directory, tls) : undefined;
    if (tokens) cleanups.push(() => tokens.server.stop());

    const htpasswdPath = join(directory, 'htpasswd');
    await writeFile(htpasswdPath, REGISTRY_HTPASSWD);
    const configPath = join(directory, 'config.yaml');
    const storage = join(directory, 'storage');
    await writeFile(
      configPath,
      registryConfig({
        address: '127.0.0.1:0',
        storage,
        ...(tls === undefined ? {} : { tls }),
        ...(auth === 'basic' ? { auth: { htpasswd: { realm: 'slipway', path: htpasswdPath } } } : {}),
        ...(tokens === undefined ? {} : { auth: { token: tokens.section } }),
      }),
    );
    const logPath = join(directory, 'registry.log');
    const registry = await startProcess({
      name: 'registry',
      command: program,
      args: ['serve', configPath],
      // Version 3 exports traces to a collector on localhost unless told not to.
      env: { OTEL_TRACES_EXPORTER: 'none' },
      logPath,
    });
    cleanups.push(() => registry.stop(2000));
    const host = await listeningAddress(registry);
    const url = `${tls ? 'https' : 'http'}://${host}`;
    const dispatcher = new Agent(authority === undefined ? {} : { connect: { ca: authority.certificate } });
    cleanups.push(() => dispatcher.destroy());

    const { username, password } = REGISTRY_LOGIN;
    const pusher = new ImagePusher({
      url,
      dispatcher,
      authorization(repository) {
        if (auth === 'none') return undefined;
        if (!tokens) return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
        const actions = ['pull', 'push', 'delete'];
        return `Bearer ${tokens.server.issue(username, [{ type: 'repository', name: repository, actions }])}`;
      },
    });
    return {
      host,
      url,
      ...(authority === undefined ? {} : { ca: authority.certificate }),
      username,
      password,
      logPath,
      ...(tokens === undefined ? {} : { tokenServer: tokens.server }),
      pusher,
      requests: async () => parseAccessLog(await settledAccessLog(url, logPath, dispatcher)),
      push: (repository, tag, image) => pusher.push(repository, tag, image),
      retag: (repository, from, to) => pusher.retag(repository, from, to),
      deleteTag: (repository, tag) =>
        rm(join(storage, 'docker/registry/v2/repositories', repository, '_manifests/tags', tag), { recursive: true }),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startTokenServer(
  directory: string,
  tls: KeyPair | undefined,
): Promise<{ readonly server: TokenServer; readonly section: object }> {
  const signers = await createAuthority(directory, 'token-signer');
  const server = new TokenServer({
    ...REGISTRY_LOGIN,
    signer: await signers.issueClient('token-signing', { user: TOKEN_ISSUER }),
    ...(tls === undefined ? {} : { tls }),
  });
  await server.start();
  const section = {
    realm: server.realm,
    service: TOKEN_SERVICE,
    issuer: TOKEN_ISSUER,
    rootcertbundle: signers.certPath,
  };
  return { server, section };
}

async function listeningAddress(registry: RunningProcess): Promise<string> {
  return waitFor('the registry listens', () => {
    const log = registry.logTail(200);
    if (!registry.isRunning()) throw new GiveUp(`The registry ended before it listened:\n${log}`);
    return /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1];
  });
}
