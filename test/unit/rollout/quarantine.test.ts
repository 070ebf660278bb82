import { describe, expect, it } from '@jest/globals';
import type { QuarantineEntry } from '../../../operator/api/image-policy.ts';
import type { ImageRollout } from '../../../operator/api/kinds.ts';
import type { Decisions, MadeDecision } from '../../../operator/rollout/decisions.ts';
import { collectEntries, entryOf, findQuarantine, isLive } from '../../../operator/rollout/quarantine.ts';
import { digestOf } from '../../support/builders/images.ts';
import { imageRollout, rolloutSpec, rolloutStatus } from '../../support/builders/rollouts.ts';

const ENDED = '2026-01-05T09:00:00Z';
const ENDED_MS = Date.parse(ENDED);
const WEB = 'ghcr.io/acme/web';
const [INDEX, AMD, ARM] = [digestOf('index'), digestOf('amd'), digestOf('arm')] as const;

type State = 'RollingBack' | 'RolledBack' | 'RollbackFailed' | 'Held' | 'Aborted' | 'Succeeded';

function failed(
  options: {
    class?: 'Image' | 'Environment' | 'Foreign';
    state?: State;
    number?: number;
    attempt?: number;
    reason?: string;
    images?: object[];
    decisions?: string[];
  } = {},
): ImageRollout {
  const {
    class: failureClass = 'Image',
    state = 'RolledBack',
    number = 1,
    attempt = 1,
    reason = 'CrashLoopBackOff',
    images,
    decisions,
  } = options;
  const spec = rolloutSpec({
    attempt,
    images: (images ?? [{ image: WEB, tag: '1.1.0', digest: INDEX, digests: [INDEX, AMD, ARM] }]) as never,
    ...(decisions !== undefined && { decisions }),
  });
  return imageRollout({
    number,
    spec,
    status: rolloutStatus(state, 'Restored', {
      spec,
      status: { endTime: ENDED, failure: { class: failureClass, reason, message: 'it crashes', time: ENDED } },
    }),
  });
}

function releasedAt(ms: number, digest = INDEX): Pick<Decisions, 'releases'> {
  const made: MadeDecision = { uid: 'uid-of-release', name: 'r', by: 'jane', timeMs: ms };
  return { releases: new Map([[digest, made]]) };
}
const NOBODY: Pick<Decisions, 'releases'> = { releases: new Map() };
const collect = (rollouts: readonly ImageRollout[], decisions = NOBODY, recorded: readonly QuarantineEntry[] = []) =>
  collectEntries({ recorded, rollouts, rejected: [], decisions });

describe('entryOf', () => {
  it.each<{ when: string; given: ImageRollout; cause: string | undefined }>([
    { when: 'the image failed', given: failed(), cause: 'Image' },
    { when: 'it is being set back', given: failed({ state: 'RollingBack' }), cause: 'Image' },
    { when: 'it was left as it is', given: failed({ state: 'Held' }), cause: 'Image' },
    { when: 'a pin ended it after the failure', given: failed({ state: 'Aborted' }), cause: 'Image' },
    { when: 'a person rejected it', given: failed({ reason: 'Rejected' }), cause: 'Rejected' },
    { when: 'the environment failed', given: failed({ class: 'Environment' }), cause: undefined },
    {
      when: 'the environment failed for the last time',
      given: failed({ class: 'Environment', attempt: 3 }),
      cause: 'Environment',
    },
    { when: 'somebody else set an image', given: failed({ class: 'Foreign', state: 'Aborted' }), cause: undefined },
    {
      when: 'all bytes ran before',
      given: failed({ images: [{ image: WEB, tag: '1.1.0', digest: INDEX, digests: [] }] }),
      cause: undefined,
    },
  ])('has the cause $cause when $when', ({ given, cause }) => {
    expect(entryOf(given)?.cause).toBe(cause);
  });

  it('leaves out a companion that did not change', () => {
    const images = [
      { image: WEB, tag: '1.1.0', digest: INDEX, digests: [INDEX] },
      { image: 'ghcr.io/acme/worker', tag: '1.1.0', digest: ARM, digests: [] },
    ];

    expect(entryOf(failed({ images }))?.images.map(({ image }) => image)).toEqual([WEB]);
  });
});

describe('collectEntries, with companions', () => {
  it('lets a release of the first image lift what holds only its companion', () => {
    const worker = { image: 'ghcr.io/acme/worker', digest: AMD, digests: [AMD] };
    const rollout = failed({ images: [{ image: WEB, tag: '1.1.0', digest: INDEX, digests: [] }, worker] });
    expect(entryOf(rollout)?.images).toEqual([{ image: worker.image, digests: [AMD] }]);

    expect(collect([rollout], releasedAt(ENDED_MS + 1)).filter(isLive)).toEqual([]);
    expect(collect([rollout], releasedAt(ENDED_MS - 1)).filter(isLive)).toHaveLength(1);
  });
});

describe('findQuarantine', () => {
  const entries = collect([failed()]);

  it.each([
    { when: 'it is the digest', digests: [INDEX], want: true },
    { when: 'it has one of the platforms under a new index', digests: [digestOf('new index'), AMD], want: true },
    { when: 'it shares nothing', digests: [digestOf('other')], want: false },
  ])('holds back: $want when $when', ({ digests, want }) => {
    expect(findQuarantine([{ image: WEB, digests }], entries) !== undefined).toBe(want);
  });

  it('knows a repository however it is spelled', () => {
    const images = [{ image: 'nginx', tag: '1.1.0', digest: INDEX, digests: [INDEX] }];

    expect(
      findQuarantine([{ image: 'docker.io/library/nginx', digests: [INDEX] }], collect([failed({ images })])),
    ).toBeDefined();
  });

  it('needs every image of a change that was several', () => {
    const worker = 'ghcr.io/acme/worker';
    const both = collect([
      failed({
        images: [
          { image: WEB, tag: '1.1.0', digest: INDEX, digests: [INDEX] },
          { image: worker, tag: '1.1.0', digest: ARM, digests: [ARM] },
        ],
      }),
    ]);

    expect(
      findQuarantine(
        [
          { image: WEB, digests: [INDEX] },
          { image: worker, digests: [digestOf('fixed')] },
        ],
        both,
      ),
    ).toBeUndefined();
    expect(
      findQuarantine(
        [
          { image: WEB, digests: [INDEX] },
          { image: worker, digests: [ARM] },
        ],
        both,
      ),
    ).toBeDefined();
  });
});

describe('collectEntries', () => {
  it.each([
    { when: 'nobody released it', given: NOBODY, live: true },
    { when: 'it was released since', given: releasedAt(ENDED_MS + 1_000), live: false },
    { when: 'it was released in the second in which it ended', given: releasedAt(ENDED_MS), live: false },
    { when: 'the release is older', given: releasedAt(ENDED_MS - 1_000), live: true },
    { when: 'another digest was released', given: releasedAt(ENDED_MS + 1_000, digestOf('other')), live: true },
  ])('is in force: $live when $when', ({ given, live }) => {
    expect(collect([failed()], given).map(isLive)).toEqual([live]);
  });

  it('does not let a release lift what its own attempt put there', () => {
    const again = failed({ number: 2, decisions: ['uid-of-release'] });

    expect(collect([failed(), again], releasedAt(ENDED_MS)).map((entry) => [entry.rollout, isLive(entry)])).toEqual([
      ['web-1', false],
      ['web-2', true],
    ]);
  });

  it('keeps what is on record when its rollout is gone, and remembers that it was released while it is there', () => {
    const [entry] = collect([failed()]);
    const released = { ...entry!, releasedTime: ENDED };

    expect(collect([], NOBODY, [entry!])).toEqual([entry]);
    expect(collect([failed()], NOBODY, [released]).map(isLive)).toEqual([false]);
    expect(collect([], NOBODY, [released])).toEqual([]);
  });
});
