// Which entry of which pull secret fits an image, by the kubelet's rules.

import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseRepository } from '../../../operator/image/reference.ts';
import { type DockerConfigSecret, selectCredential } from '../../../operator/registry/pull-secret.ts';

function secret(auths: unknown, overrides: Partial<DockerConfigSecret> = {}): DockerConfigSecret {
  return {
    uid: 'uid-1',
    resourceVersion: '1',
    name: 'pull',
    dockerConfigJson: JSON.stringify({ auths }),
    ...overrides,
  };
}

/** A login named after the address it stands at. */
function at(...addresses: string[]): DockerConfigSecret {
  return secret(
    Object.fromEntries(
      addresses.map((address) => [address, { username: address.replaceAll(':', '~'), password: 'p' }]),
    ),
  );
}

function chosen(image: string, ...secrets: DockerConfigSecret[]): string | undefined {
  return selectCredential(parseRepository(image), secrets)?.username.replaceAll('~', ':');
}

describe('selectCredential', () => {
  it.each([
    { when: 'the host is the same', image: 'ghcr.io/acme/web', entries: ['quay.io', 'ghcr.io'], want: 'ghcr.io' },
    {
      when: 'the address has a scheme',
      image: 'ghcr.io/acme/web',
      entries: ['https://ghcr.io'],
      want: 'https://ghcr.io',
    },
    {
      when: 'the address names the API',
      image: 'ghcr.io/acme/web',
      entries: ['https://ghcr.io/v2/'],
      want: 'https://ghcr.io/v2/',
    },
    { when: "the host's case differs", image: 'ghcr.io/acme/web', entries: ['GHCR.io'], want: 'GHCR.io' },
    {
      when: 'the path is the longest',
      image: 'ghcr.io/acme/team/web',
      entries: ['ghcr.io', 'ghcr.io/acme/team', 'ghcr.io/acme'],
      want: 'ghcr.io/acme/team',
    },
    {
      when: 'the path is the whole repository',
      image: 'ghcr.io/acme/web',
      entries: ['ghcr.io/acme/web'],
      want: 'ghcr.io/acme/web',
    },
    {
      when: 'the path only begins like the repository',
      image: 'ghcr.io/acme-evil/web',
      entries: ['ghcr.io/acme'],
      want: undefined,
    },
    { when: 'the port is the same', image: 'localhost:5000/a', entries: ['localhost:5000'], want: 'localhost:5000' },
    { when: 'the port differs', image: 'localhost:5001/a', entries: ['localhost:5000', 'localhost'], want: undefined },
    { when: 'only the entry has a port', image: 'ghcr.io/a/b', entries: ['ghcr.io:443'], want: undefined },
    { when: 'the host is a suffix', image: 'evil-ghcr.io/a/b', entries: ['ghcr.io'], want: undefined },
    { when: 'the host is a prefix', image: 'ghcr.io.evil.example/a', entries: ['ghcr.io'], want: undefined },
    {
      when: 'Docker Hub is written as its own client does',
      image: 'nginx',
      entries: ['https://index.docker.io/v1/'],
      want: 'https://index.docker.io/v1/',
    },
    { when: 'Docker Hub is written docker.io', image: 'acme/web', entries: ['docker.io'], want: 'docker.io' },
    {
      when: "Docker Hub is written as its API's host",
      image: 'acme/web',
      entries: ['registry-1.docker.io'],
      want: 'registry-1.docker.io',
    },
    {
      when: 'Docker Hub has a path',
      image: 'acme/web',
      entries: ['docker.io/other', 'index.docker.io/acme'],
      want: 'index.docker.io/acme',
    },
    { when: 'a star stands for a label', image: 'eu.gcr.io/a/b', entries: ['*.gcr.io'], want: '*.gcr.io' },
    {
      when: 'a star stands for part of a label',
      image: 'registry7.corp.example/a',
      entries: ['reg*y*.corp.example'],
      want: 'reg*y*.corp.example',
    },
    {
      when: 'a star would have to stand for two labels',
      image: 'a.b.gcr.io/x',
      entries: ['*.gcr.io'],
      want: undefined,
    },
    { when: 'a star would have to stand for nothing', image: 'gcr.io/a/b', entries: ['*.gcr.io'], want: undefined },
    {
      when: 'parts around a star overlap',
      image: 'aba.corp.example/x',
      entries: ['ab*ba.corp.example'],
      want: undefined,
    },
    {
      when: 'a star has a port',
      image: 'a.corp.example:5000/x',
      entries: ['*.corp.example', '*.corp.example:5000'],
      want: '*.corp.example:5000',
    },
    {
      when: 'a host is written out beside a star',
      image: 'eu.gcr.io/a/b',
      entries: ['*.gcr.io/a', 'eu.gcr.io'],
      want: 'eu.gcr.io',
    },
    { when: 'nothing fits', image: 'quay.io/a/b', entries: ['ghcr.io'], want: undefined },
    {
      when: 'the host is an IPv6 address',
      image: '[fd00::5]:5000/a',
      entries: ['[fd00::5]:5000'],
      want: '[fd00::5]:5000',
    },
  ])('chooses $want when $when', ({ image, entries, want }) => {
    expect(chosen(image, at(...entries))).toBe(want);
  });

  it('takes the first of two secrets that fit equally well', () => {
    const first = secret({ 'ghcr.io': { username: 'first', password: 'p' } });
    const second = secret({ 'ghcr.io': { username: 'second', password: 'p' } }, { uid: 'uid-2' });

    expect(chosen('ghcr.io/a/b', first, second)).toBe('first');
  });

  it.each([
    { when: 'auth holds it', value: { auth: Buffer.from('me:se:cret').toString('base64') }, want: ['me', 'se:cret'] },
    {
      when: 'auth has no padding',
      value: { auth: Buffer.from('me:x').toString('base64').replace(/=+$/, '') },
      want: ['me', 'x'],
    },
    { when: 'fields hold it', value: { username: 'me', password: 'secret' }, want: ['me', 'secret'] },
    {
      when: 'both do, and auth wins',
      value: { username: 'no', password: 'no', auth: Buffer.from('me:x').toString('base64') },
      want: ['me', 'x'],
    },
    {
      when: 'the password is not ASCII',
      value: { auth: Buffer.from('me:pässwörd').toString('base64') },
      want: ['me', 'pässwörd'],
    },
  ])('reads the login when $when', ({ value, want }) => {
    const credential = selectCredential(parseRepository('ghcr.io/a/b'), [secret({ 'ghcr.io': value })]);

    expect([credential?.username, credential?.password.reveal()]).toEqual(want);
  });

  it('passes over an entry without a login', () => {
    expect(chosen('ghcr.io/a/b', secret({ 'ghcr.io/a': {}, 'ghcr.io': { username: 'me', password: 'x' } }))).toBe('me');
  });

  it('does not care about malformed entries of other hosts', () => {
    expect(
      chosen(
        'ghcr.io/a/b',
        secret({ 'quay.io': { auth: '!!' }, '': {}, 'ghcr.io': { username: 'me', password: 'x' } }),
      ),
    ).toBe('me');
  });

  it.each([
    { when: 'it is not JSON', given: secret({}, { dockerConfigJson: '{"auths":{"ghcr.io":{"password":"hunter2"' }) },
    { when: 'it is a list', given: secret({}, { dockerConfigJson: '["hunter2"]' }) },
    { when: 'there are no auths', given: secret({}, { dockerConfigJson: '{"hunter2":1}' }) },
    { when: 'auths are a list', given: secret(['hunter2']) },
    { when: 'the entry is text', given: secret({ 'ghcr.io': 'hunter2' }) },
    { when: 'auth is not base64', given: secret({ 'ghcr.io': { auth: 'hunter2!' } }) },
    { when: 'auth has no colon', given: secret({ 'ghcr.io': { auth: Buffer.from('hunter2').toString('base64') } }) },
    { when: 'the password is a number', given: secret({ 'ghcr.io': { username: 'a', password: 42 } }) },
    { when: 'the user name has a colon', given: secret({ 'ghcr.io': { username: 'hunter2:x', password: 'y' } }) },
  ])('refuses a secret when $when, naming it and not its content', ({ given }) => {
    const select = () => selectCredential(parseRepository('ghcr.io/a/b'), [given]);

    expect(select).toThrow(
      expect.objectContaining({ code: 'InvalidPullSecret', message: expect.stringContaining('"pull"') as unknown }),
    );
    try {
      select();
    } catch (thrown) {
      expect(inspect(thrown, { depth: 9 })).not.toContain('hunter2');
    }
  });

  it('has a key that depends on the secret, its version, the entry and the host, and on nothing that is secret', () => {
    const repository = parseRepository('ghcr.io/a/b');
    const keyOf = (given: DockerConfigSecret, image = repository) => selectCredential(image, [given])?.key;
    const base = secret({ 'ghcr.io': { username: 'me', password: 'x' } });

    expect(keyOf(base)).toBe(keyOf(secret({ 'ghcr.io': { username: 'me', password: 'other' } })));
    expect(keyOf(base)).not.toBe(keyOf({ ...base, uid: 'uid-2' }));
    expect(keyOf(base)).not.toBe(keyOf({ ...base, resourceVersion: '2' }));
    expect(keyOf(base)).not.toBe(keyOf(secret({ 'ghcr.io/a': { username: 'me', password: 'x' } })));
    const pattern = secret({ '*.gcr.io': { username: 'me', password: 'x' } });
    expect(keyOf(pattern, parseRepository('eu.gcr.io/a'))).not.toBe(keyOf(pattern, parseRepository('us.gcr.io/a')));
  });

  it('does not show the password when printed', () => {
    const credential = selectCredential(parseRepository('ghcr.io/a/b'), [
      secret({ 'ghcr.io': { username: 'me', password: 'hunter2' } }),
    ]);

    expect(`${JSON.stringify(credential)} ${inspect(credential, { depth: 9, showHidden: true })}`).not.toContain(
      'hunter2',
    );
  });

  it('throws nothing but InvalidPullSecret, and never offers a login for another host', () => {
    const address = fc.oneof(
      fc.webUrl(),
      fc.domain(),
      fc.string(),
      fc.constantFrom('*', '*.*', 'ghcr.io*', 'ghcr.io/', ':5000', '//', '[::1]'),
    );
    fc.assert(
      fc.property(fc.dictionary(address, fc.anything()), (auths) => {
        try {
          const credential = selectCredential(parseRepository('ghcr.io/acme/web'), [secret(auths)]);
          expect(credential?.host ?? 'ghcr.io').toBe('ghcr.io');
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'InvalidPullSecret' });
        }
      }),
    );
  });

  it('takes linear time for a pattern of stars', () => {
    const pattern = `${'a*'.repeat(2_000)}b.corp.example`;
    const startMs = performance.now();

    chosen(`${'a'.repeat(200)}.corp.example/x`, at(pattern));

    expect(performance.now() - startMs).toBeLessThan(500);
  });
});
