// The registries that other integration tests stand on: each speaks its version's dialect, asks for its login, and tells
// who asked for what.

import { existsSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import {
  type RegistryAuth,
  startDistribution,
  startDockerRegistry,
  type TestRegistry,
} from '../../support/registries.ts';

const STARTS_WITHIN_MS = 600_000; // The first start on a machine installs or builds the registry.

const PROGRAMS = [
  { program: 'docker-registry 2.8.2', start: startDockerRegistry },
  { program: 'distribution 3.1.2', start: startDistribution },
];
const SETUPS = (['none', 'basic', 'token'] as const).flatMap((auth) => [false, true].map((tls) => ({ auth, tls })));

/** GETs as a client would: asks, reads the challenge, logs in, asks again. */
async function get(registry: TestRegistry, path: string): Promise<{ status: number; body: string; link?: string }> {
  const dispatcher = new Agent(registry.ca === undefined ? {} : { connect: { ca: registry.ca } });
  const login = `Basic ${Buffer.from(`${registry.username}:${registry.password}`).toString('base64')}`;
  async function send(url: string, authorization?: string) {
    const headers = { 'user-agent': 'client/1', ...(authorization === undefined ? {} : { authorization }) };
    const answer = await request(url, { dispatcher, headers });
    return { status: answer.statusCode, headers: answer.headers, body: await answer.body.text() };
  }
  try {
    let answer = await send(registry.url + path);
    const challenge = String(answer.headers['www-authenticate'] ?? '');
    const bearer = /realm="([^"]+)",service="([^"]+)",scope="([^"]+)"/.exec(challenge);
    if (bearer) {
      const { body } = await send(`${bearer[1]}?service=${bearer[2]}&scope=${bearer[3]}`, login);
      answer = await send(registry.url + path, `Bearer ${(JSON.parse(body) as { token: string }).token}`);
    } else if (challenge) {
      answer = await send(registry.url + path, login);
    }
    const { link } = answer.headers;
    return { status: answer.status, body: answer.body, ...(typeof link === 'string' ? { link } : {}) };
  } finally {
    await dispatcher.destroy();
  }
}

describe.each(PROGRAMS)('$program', ({ program, start }) => {
  it.each(SETUPS)(
    'serves what was pushed, with auth $auth and tls $tls',
    async ({ auth, tls }: { auth: RegistryAuth; tls: boolean }) => {
      await using registry = await start({ auth, tls });
      const digest = await registry.push('acme/api', '1.0.0', { platforms: ['linux/amd64', 'linux/arm64'] });
      await registry.push('acme/api', '1.1.0');
      await registry.retag('acme/api', '1.0.0', 'stable');
      await registry.deleteTag('acme/api', '1.1.0');

      const list = await get(registry, '/v2/acme/api/tags/list');

      expect(JSON.parse(list.body).tags.sort()).toEqual(['1.0.0', 'stable']);
      expect(await registry.pusher.resolve('acme/api', 'stable')).toBe(digest);
      const requests = await registry.requests();
      expect(requests.map(({ status }) => status)).toEqual(auth === 'none' ? [200] : [401, 200]);
      expect(requests[0]).toMatchObject({ method: 'GET', path: '/v2/acme/api/tags/list', userAgent: 'client/1' });
      expect(registry.tokenServer?.requests.map(({ scopes }) => scopes)).toEqual(
        auth === 'token' ? [['repository:acme/api:pull']] : undefined,
      );
      expect(registry.url.startsWith(tls ? 'https:' : 'http:')).toBe(true);
    },
    STARTS_WITHIN_MS,
  );

  it(
    program.startsWith('distribution') ? 'pages its tags' : 'ignores the page size',
    async () => {
      await using registry = await start();
      for (const tag of ['c', 'a', 'b']) await registry.push('acme/api', tag);

      const page = await get(registry, '/v2/acme/api/tags/list?n=2');

      const { tags } = JSON.parse(page.body) as { tags: readonly string[] };
      expect(tags).toHaveLength(program.startsWith('distribution') ? 2 : 3);
      expect(page.link !== undefined).toBe(program.startsWith('distribution'));
    },
    STARTS_WITHIN_MS,
  );

  it(
    'leaves no files behind',
    async () => {
      const registry = await start();

      await registry.stop();

      expect(existsSync(registry.logPath)).toBe(false);
    },
    STARTS_WITHIN_MS,
  );
});
