import { describe, expect, it } from '@jest/globals';
import { CreationTimes } from '../../../../operator/controllers/policy/creation-times.ts';
import { TerminalError, TransientError } from '../../../../operator/errors.ts';
import type { Digest } from '../../../../operator/image/digest.ts';
import { parseRepository } from '../../../../operator/image/reference.ts';
import type { RegistryClient } from '../../../../operator/registry/client.ts';
import { digestOf } from '../../../support/builders/images.ts';

const WEB = parseRepository('ghcr.io/acme/web');
const { signal } = new AbortController();

/** A registry with these tags; the built-in image of a digest states its time. */
function registry(tags: Readonly<Record<string, Digest | Error>>, times: ReadonlyMap<Digest, number>) {
  const client: Pick<RegistryClient, 'headManifest' | 'inspect'> = {
    headManifest: (_repository, tag) => {
      const found = tags[tag];
      if (found instanceof Error) return Promise.reject(found);
      return Promise.resolve(found === undefined ? undefined : { digest: found, mediaType: 'manifest' });
    },
    inspect: (_repository, digest) => {
      const created = times.get(digest);
      return Promise.resolve({
        digest,
        mediaType: 'manifest',
        platforms: [],
        ...(created !== undefined && { created }),
      });
    },
  };
  return new CreationTimes(client);
}

describe('CreationTimes', () => {
  const [january, june] = [digestOf('january'), digestOf('june')];
  const times = new Map([
    [january, 1],
    [june, 6],
  ]);

  it('reads what runs by its digest, also when its tag is gone, and does not forget it', async () => {
    const running = [{ tag: 'build-b', digest: june }];
    const created = registry({ 'build-a': january }, times);

    await created.learn(WEB, {}, ['build-a'], running, signal);

    const known = created.of(WEB, {}, ['build-a'], running);
    expect([...known]).toEqual([
      ['build-b', { timeMs: 6, digest: june }],
      ['build-a', { timeMs: 1, digest: january }],
    ]);
  });

  it('refuses to guess the age of what runs where nothing tells its digest', async () => {
    const created = registry({ 'build-a': january }, times);

    await expect(created.learn(WEB, {}, ['build-a'], [{ tag: 'build-b' }], signal)).rejects.toMatchObject({
      code: 'RunningImageUnknown',
    });
  });

  it('passes over a candidate that nobody can read, and stops at a registry that is in trouble', async () => {
    const unreadable = new TerminalError('schema 1', { code: 'InvalidResponse' });
    const trouble = new TransientError('503', { code: 'Unavailable' });

    const created = registry({ old: unreadable, gone: january }, times);
    await created.learn(WEB, {}, ['old', 'yanked'], [], signal);

    expect([...created.of(WEB, {}, ['old', 'yanked'], [])]).toEqual([
      ['old', { timeMs: 0, digest: '' }],
      ['yanked', { timeMs: 0, digest: '' }],
    ]);
    await expect(registry({ a: trouble }, times).learn(WEB, {}, ['a'], [], signal)).rejects.toBe(trouble);
  });
});
