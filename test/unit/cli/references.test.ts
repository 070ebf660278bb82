import { describe, expect, it } from '@jest/globals';
import type { ImagePolicyStatus } from '../../../operator/api/image-policy.ts';
import type { ImageRollout } from '../../../operator/api/kinds.ts';
import { previousImage, resolveReference, wholeOf } from '../../../operator/cli/people/references.ts';
import { candidate, digestOf } from '../../support/builders/images.ts';
import { imagePolicy } from '../../support/builders/policies.ts';
import { imageRollout, rolloutStatus, rolloutTarget } from '../../support/builders/rollouts.ts';

const WEB = 'ghcr.io/acme/web';
const WORKER = 'ghcr.io/acme/worker';
const at = (tag: string): string => candidate(tag).image;
const named = (tag: string) => ({ tag, digest: candidate(tag).digest });
const worker = (tag: string): string => `${WORKER}:${tag}@${digestOf(`worker ${tag}`)}`;

function policy(current: string, status: Partial<ImagePolicyStatus> = {}, spec: object = {}) {
  return imagePolicy({
    spec: { ...spec },
    status: { current: { images: [{ image: WEB, ...named(current) }] }, ...status },
  });
}

/** A forward rollout of the container `web`, in this state. */
function rollout(
  number: number,
  from: string,
  to: string,
  state: 'Succeeded' | 'RolledBack' | 'Held' | 'Verifying' | 'Aborted',
  more: object = {},
): ImageRollout {
  return imageRollout({
    number,
    spec: {
      images: [{ image: WEB, ...named(to) }],
      targets: [
        rolloutTarget({ containers: [{ name: 'web', init: false, from: at(from), to: at(to), back: at(from) }] }),
      ],
      ...more,
    },
    status: rolloutStatus(state, 'Healthy'),
  });
}

const good = (...images: readonly string[]): Partial<ImagePolicyStatus> => ({
  targets: [{ kind: 'Deployment', name: 'web', uid: 'u', container: 'web', image: images[0]!, good: [...images] }],
});

describe('previousImage', () => {
  it.each<{ when: string; given: Parameters<typeof previousImage>; want: string }>([
    {
      when: 'a release has just succeeded',
      given: [
        policy('1.2.0', good(at('1.2.0'), at('1.1.0'))),
        [rollout(1, '1.0.0', '1.1.0', 'Succeeded'), rollout(2, '1.1.0', '1.2.0', 'Succeeded')],
      ],
      want: '1.1.0',
    },
    {
      when: 'a bad release was left as it is',
      given: [policy('1.2.0', good(at('1.1.0'), at('1.0.0'))), [rollout(2, '1.1.0', '1.2.0', 'Held')]],
      want: '1.1.0',
    },
    {
      when: 'a release is on its way, and not everywhere yet',
      given: [policy('1.1.0', good(at('1.1.0'), at('1.0.0'))), [rollout(2, '1.1.0', '1.2.0', 'Verifying')]],
      want: '1.1.0',
    },
    {
      when: 'a pin had brought an older one, and was removed',
      given: [
        policy('1.2.0', good(at('1.2.0'), at('1.1.0'))),
        [
          rollout(2, '1.2.0', '1.1.0', 'Succeeded', { direction: 'Back', trigger: 'Pin' }),
          rollout(3, '1.1.0', '1.2.0', 'Succeeded'),
        ],
      ],
      want: '1.1.0',
    },
    { when: 'it was never moved', given: [policy('1.2.0', good(at('1.2.0'), at('1.1.0'))), []], want: '1.1.0' },
    {
      when: 'the workload of a companion comes first',
      given: [policy('1.2.0', good(worker('1.2.0'), worker('1.1.0'), at('1.2.0'), at('1.1.0'))), []],
      want: '1.1.0',
    },
    {
      when: 'the one before is in quarantine',
      given: [
        policy('1.2.0', {
          ...good(at('1.2.0'), at('1.1.0'), at('1.0.0')),
          quarantine: [
            {
              images: [{ image: WEB, digests: [candidate('1.1.0').digest] }],
              cause: 'Image',
              sinceTime: '2026-01-05T08:00:00Z',
            },
          ],
        }),
        [rollout(2, '1.1.0', '1.2.0', 'Succeeded')],
      ],
      want: '1.0.0',
    },
  ])('is $want when $when', ({ given, want }) => {
    expect(previousImage(...given)).toEqual(named(want));
  });

  it.each<{ when: string; given: Parameters<typeof previousImage>; says: string }>([
    {
      when: 'somebody has gone back already',
      given: [
        policy('1.1.0', good(at('1.1.0'), at('1.2.0')), { pin: { tag: '1.1.0' } }),
        [rollout(2, '1.1.0', '1.2.0', 'Succeeded')],
      ],
      says: 'pinned to 1.1.0 already',
    },
    {
      when: 'it went back by itself',
      given: [policy('1.1.0', good(at('1.1.0'), at('1.0.0'))), [rollout(2, '1.1.0', '1.2.0', 'RolledBack')]],
      says: 'went back from 1.2.0 by itself (web-2)',
    },
    { when: 'nothing ran before', given: [policy('1.1.0', good(at('1.1.0'))), []], says: 'on record' },
  ])('is not guessed when $when', ({ given, says }) => {
    expect(() => previousImage(...given)).toThrow(says);
    expect(() => previousImage(...given)).toThrow('--to <tag or digest>');
  });
});

describe('resolveReference', () => {
  it('does not take the digest of a companion for another push of the tag', () => {
    const suite = policy('1.1.0', {
      quarantine: [
        {
          images: [{ image: WORKER, digests: [digestOf('worker 1.2.0')] }],
          tag: '1.2.0',
          cause: 'Image',
          sinceTime: '2026-01-05T08:00:00Z',
          rollout: 'web-2',
        },
      ],
      ...good(worker('1.1.0'), at('1.1.0')),
    });

    expect(resolveReference('1.1.0', suite, [])).toEqual(named('1.1.0'));
    expect(resolveReference('1.2.0', suite, [rollout(2, '1.1.0', '1.2.0', 'RolledBack')])).toEqual(named('1.2.0'));
  });
});

describe('wholeOf', () => {
  const companions = [{ image: WORKER, digest: digestOf('worker 1.2.0') }];
  const all = [candidate('1.2.0').digest, digestOf('worker 1.2.0')];

  it.each<{ when: string; given: Parameters<typeof wholeOf>; want: readonly string[] }>([
    {
      when: 'it is the candidate',
      given: [named('1.2.0'), policy('1.1.0', { candidate: { ...named('1.2.0'), companions } }), []],
      want: all,
    },
    {
      when: 'it has rolled out',
      given: [
        named('1.2.0'),
        policy('1.2.0'),
        [rollout(1, '1.1.0', '1.2.0', 'Succeeded', { images: [{ image: WEB, ...named('1.2.0') }, ...companions] })],
      ],
      want: all,
    },
    {
      when: 'nothing is known of companions',
      given: [named('1.2.0'), policy('1.1.0'), []],
      want: [candidate('1.2.0').digest],
    },
  ])('is all that moves together when $when', ({ given, want }) => {
    expect(wholeOf(...given)).toEqual(want);
  });
});
