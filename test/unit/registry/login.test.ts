// Logging in: what a challenge asks for is learned once, tokens are reused and renewed, and a login is sent nowhere else
// (R10, I12).

import { describe, expect, it } from '@jest/globals';
import type { Tag } from '../../../operator/image/tag.ts';
import { Redacted } from '../../../operator/telemetry/redaction.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { basic, LOGIN, type ScriptedRegistry, sendJson } from '../../support/scripted-registry.ts';
import { loginFor, never, rejection, startPair } from './client-fixture.ts';

const v1 = 'v1' as Tag;

/** What was asked, in short: `401`s are not marked, because a server's view has none. */
function asked(registry: ScriptedRegistry): string[] {
  return registry.requests.map(
    ({ kind, authorization = 'anonymous' }) => `${kind} ${authorization.split(' ')[0]?.toLowerCase() ?? ''}`,
  );
}

describe('a registry with Basic logins', () => {
  it('is challenged once, then gets the login at once', async () => {
    const { client, registry, repository } = await startPair({ auth: 'basic' });
    registry.push('acme/web', 'v1');
    registry.push('acme/api', 'v1');
    const access = { credential: loginFor(registry.host) };

    await client.listTags(repository, access, never);
    await client.headManifest(repository, v1, access, never);
    await client.listTags({ ...repository, path: 'acme/api' }, access, never);

    expect(asked(registry)).toEqual(['list anonymous', 'list basic', 'manifest basic', 'list basic']);
  });

  it('is not asked again and again with a login it refuses (R1: 401 loop)', async () => {
    const { client, registry, repository } = await startPair({ auth: 'basic' });
    const access = { credential: loginFor(registry.host, { password: new Redacted('wrong') }) };

    const error = await rejection(client.listTags(repository, access, never));

    expect(error).toMatchObject({
      code: 'Unauthorized',
      message: expect.stringContaining('the login of pull secret "pull"') as unknown,
    });
    expect(asked(registry)).toEqual(['list anonymous', 'list basic']);
  });

  it('is told that a login is missing', async () => {
    const { client, registry, repository } = await startPair({ auth: 'basic' });

    const error = await rejection(client.listTags(repository, {}, never));

    expect(error).toMatchObject({
      code: 'Unauthorized',
      message: expect.stringContaining('registry.imagePullSecrets') as unknown,
    });
    expect(asked(registry)).toEqual(['list anonymous']);
  });

  it('never sees a login that was meant for another host', async () => {
    const { client, registry, repository } = await startPair({ auth: 'basic' });

    await rejection(client.listTags(repository, { credential: loginFor('ghcr.io') }, never));

    expect(asked(registry)).toEqual(['list anonymous']);
  });
});

describe('a registry with tokens', () => {
  it('costs one request per use once the token is there', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    const access = { credential: loginFor(registry.host) };

    await client.listTags(repository, access, never);
    await client.listTags(repository, access, never);
    await client.headManifest(repository, v1, access, never);

    expect(asked(registry)).toEqual(['list anonymous', 'token basic', 'list bearer', 'list bearer', 'manifest bearer']);
    expect(Object.fromEntries(registry.requests[1]?.query ?? [])).toEqual({
      service: 'scripted',
      scope: 'repository:acme/web:pull',
      account: LOGIN.username,
    });
  });

  it('is not challenged again for another repository, but its token is another', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    registry.push('acme/api', 'v1');
    const access = { credential: loginFor(registry.host) };
    await client.listTags(repository, access, never);
    registry.requests.length = 0;

    await client.listTags({ ...repository, path: 'acme/api' }, access, never);

    expect(asked(registry)).toEqual(['token basic', 'list bearer']);
    expect(registry.requests[0]?.query.get('scope')).toBe('repository:acme/api:pull');
  });

  it('issues one token for many who wait for the same', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    const access = { credential: loginFor(registry.host) };

    await Promise.all(Array.from({ length: 5 }, () => client.headManifest(repository, v1, access, never)));

    expect(registry.count('token')).toBe(1);
  });

  it.each([
    { when: 'the secret has changed', other: { key: 'another key' } },
    { when: 'the secret is another', other: { key: 'a third key', secretName: 'other' } },
  ])('does not reuse a token when $when (R10)', async ({ other }) => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    await client.listTags(repository, { credential: loginFor(registry.host) }, never);

    await client.listTags(repository, { credential: loginFor(registry.host, other) }, never);

    expect(registry.count('token')).toBe(2);
  });

  it('does not lend a token to those who are anonymous', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    await client.listTags(repository, { credential: loginFor(registry.host) }, never);

    await expect(client.listTags(repository, {}, never)).rejects.toMatchObject({ code: 'Unauthorized' });
  });

  it.each([
    { when: 'expires_in is 300', expiresIn: 300, lifeMs: 270_000 },
    { when: 'expires_in is absent', expiresIn: undefined, lifeMs: 30_000 },
    { when: 'expires_in is 0', expiresIn: 0, lifeMs: 30_000 },
    { when: 'expires_in is negative', expiresIn: -5, lifeMs: 30_000 },
    { when: 'expires_in is text', expiresIn: '300', lifeMs: 30_000 },
    { when: 'expires_in is huge', expiresIn: 1e12, lifeMs: 3_570_000 },
  ])('is asked for a new token half a minute early when $when (R10)', async ({ expiresIn, lifeMs }) => {
    const clock = new FakeClock();
    const { client, registry, repository } = await startPair({ auth: 'bearer', client: { clock } });
    registry.push('acme/web', 'v1');
    registry.expiresIn = expiresIn;
    const access = { credential: loginFor(registry.host) };
    await client.listTags(repository, access, never);

    await clock.advance(lifeMs - 1);
    await client.listTags(repository, access, never);
    expect(registry.count('token')).toBe(1);

    await clock.advance(1);
    await client.listTags(repository, access, never);
    expect(registry.count('token')).toBe(2);
  });

  it('is asked for one new token when the old one is refused, in the middle of the pages too (R10)', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.setTags('acme/web', ['a', 'b', 'c', 'd']);
    registry.pageSize = 2;
    const access = { credential: loginFor(registry.host) };
    let hasRevoked = false;
    registry.script(({ query }) => {
      if (query.has('last') && !hasRevoked) {
        hasRevoked = true;
        registry.revokeTokens();
      }
      return false;
    });

    expect(await client.listTags(repository, access, never)).toEqual(['a', 'b', 'c', 'd']);
    expect(registry.count('token')).toBe(2);
  });

  it('is not asked for ever when it refuses the tokens it was given (R1: 401 loop)', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.script(({ kind }) => {
      if (kind === 'list') registry.revokeTokens();
      return false;
    });

    await expect(client.listTags(repository, { credential: loginFor(registry.host) }, never)).rejects.toMatchObject({
      code: 'Unauthorized',
    });
    expect(registry.count('token')).toBe(1);
    expect(registry.count('list')).toBe(2);
  });

  it('gets a wider scope when it says that the scope was too narrow, but never one to write (R10)', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.script(({ kind, authorization }, response) => {
      if (kind !== 'list') return false;
      const last =
        registry.requests
          .filter((request) => request.kind === 'token')
          .at(-1)
          ?.query.get('scope') ?? '';
      if (authorization !== undefined && last.includes('metadata_read')) sendJson(response, 200, { tags: ['a'] });
      else {
        const scope = 'repository:acme/web:pull,push,metadata_read,* repository:acme/other:pull';
        sendJson(
          response,
          401,
          {},
          {
            'www-authenticate': `Bearer realm="${registry.url}/token",service="s",scope="${authorization === undefined ? '' : scope}"`,
          },
        );
      }
      return true;
    });

    expect(await client.listTags(repository, { credential: loginFor(registry.host) }, never)).toEqual(['a']);
    expect(registry.requests.filter(({ kind }) => kind === 'token').map(({ query }) => query.get('scope'))).toEqual([
      'repository:acme/web:pull',
      'repository:acme/web:metadata_read,pull',
    ]);
  });

  it('may offer Basic as well; the token is preferred', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    registry.script(({ kind, authorization }, response) => {
      if (kind !== 'list' || authorization !== undefined) return false;
      sendJson(
        response,
        401,
        {},
        { 'www-authenticate': `Basic realm="a, b", Bearer realm="${registry.url}/token",service="scripted"` },
      );
      return true;
    });

    await client.listTags(repository, { credential: loginFor(registry.host) }, never);

    expect(asked(registry)).toEqual(['list anonymous', 'token basic', 'list bearer']);
  });

  it('keeps the query of its realm', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    registry.realm = `${registry.url}/token?account=someone&tenant=7`;

    await client.listTags(repository, { credential: loginFor(registry.host) }, never);

    const query = registry.requests[1]?.query;
    expect([query?.get('tenant'), query?.getAll('account')]).toEqual(['7', [LOGIN.username]]);
  });

  it.each([
    { when: 'answers 500', status: 500, body: {}, code: 'Unavailable' },
    { when: 'answers 503', status: 503, body: {}, code: 'Unavailable' },
    { when: 'answers 429', status: 429, body: {}, code: 'RateLimited' },
    { when: 'answers 401', status: 401, body: {}, code: 'Unauthorized' },
    { when: 'answers 403', status: 403, body: {}, code: 'Unauthorized' },
    { when: 'sends no token', status: 200, body: { expires_in: 300 }, code: 'InvalidResponse' },
    { when: 'sends a number', status: 200, body: { token: 5 }, code: 'InvalidResponse' },
    { when: 'sends null', status: 200, body: null, code: 'InvalidResponse' },
    {
      when: 'sends a line break in the token',
      status: 200,
      body: { token: 'a\r\nX-Evil: 1' },
      code: 'InvalidResponse',
    },
    { when: 'sends more than 64 KiB', status: 200, body: { token: 'a'.repeat(70_000) }, code: 'InvalidResponse' },
  ])('is reported when its token server $when (R10)', async ({ status, body, code }) => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.script(({ kind }, response) => kind === 'token' && (sendJson(response, status, body), true));

    await expect(client.listTags(repository, { credential: loginFor(registry.host) }, never)).rejects.toMatchObject({
      code,
    });
  });

  it('does not quote a token that it could not read', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.script(({ kind }, response) => kind === 'token' && (response.end('{"token":"s3cr3t" oops'), true));

    const error = await rejection(client.listTags(repository, { credential: loginFor(registry.host) }, never));

    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
      expect(cause.message).not.toContain('s3cr3t');
  });

  it('understands access_token', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.script(({ kind, authorization }, response) => {
      if (kind === 'token') sendJson(response, 200, { access_token: 'abc' });
      else if (authorization === 'Bearer abc') sendJson(response, 200, { tags: ['a'] });
      else return false;
      return true;
    });

    expect(await client.listTags(repository, { credential: loginFor(registry.host) }, never)).toEqual(['a']);
  });

  it('leaves others waiting undisturbed when one gives up', async () => {
    const { client, registry, repository } = await startPair({ auth: 'bearer' });
    registry.push('acme/web', 'v1');
    const access = { credential: loginFor(registry.host) };
    const impatient = new AbortController();
    const gate = Promise.withResolvers<undefined>();
    registry.script(({ kind }, response) => {
      if (kind !== 'token') return false;
      impatient.abort(new Error('no time'));
      void gate.promise.then(() => sendJson(response, 200, { token: 'late' }));
      return true;
    });
    registry.script(
      ({ authorization }, response) =>
        authorization === 'Bearer late' && (sendJson(response, 200, { tags: ['a'] }), true),
    );

    const first = rejection(client.listTags(repository, access, impatient.signal));
    const second = client.listTags(repository, access, never);
    expect((await first).message).toBe('no time');
    gate.resolve(undefined);

    expect(await second).toEqual(['a']);
  });
});

describe('a registry that hides what it has from those who have not logged in', () => {
  it.each([403, 404])('is asked for its challenge at /v2/ when it answers %i', async (status) => {
    const { client, registry, repository } = await startPair({ auth: 'basic' });
    registry.push('acme/web', 'v1');
    registry.script(
      ({ kind, authorization }, response) =>
        kind === 'list' && authorization === undefined && (sendJson(response, status, {}), true),
    );

    expect(await client.listTags(repository, { credential: loginFor(registry.host) }, never)).toEqual(['v1']);
    expect(asked(registry)).toEqual(['list anonymous', 'ping anonymous', 'list basic']);
  });

  it('is believed when /v2/ has no challenge either', async () => {
    const { client, registry, repository } = await startPair();

    await expect(client.listTags(repository, { credential: loginFor(registry.host) }, never)).rejects.toMatchObject({
      code: 'RepositoryNotFound',
    });
    expect(asked(registry)).toEqual(['list anonymous', 'ping anonymous']);
  });
});

describe('errors', () => {
  it('never hold a login (I12)', async () => {
    const { client, registry, repository, requests } = await startPair({ auth: 'basic' });
    registry.script(
      (_, response) => (
        sendJson(response, 401, { errors: [{ code: 'X', message: basic(LOGIN) }] }, { 'www-authenticate': 'Basic' }),
        true
      ),
    );

    const error = await rejection(client.listTags(repository, { credential: loginFor(registry.host) }, never));

    const told = JSON.stringify([error, error.message, error.stack, requests]);
    expect(told).not.toContain(LOGIN.password);
    expect(told).not.toContain(basic(LOGIN).slice(6));
  });
});
