import { describe, expect, it } from '@jest/globals';
import type { ImageRollout } from '../../../../operator/api/kinds.ts';
import {
  findLowest,
  readLedger,
  runningDigest,
  type LedgerEntry,
  type Standing,
} from '../../../../operator/controllers/policy/ledger.ts';
import type { TargetContainer } from '../../../../operator/controllers/policy/targets.ts';
import type { Digest } from '../../../../operator/image/digest.ts';
import { parseImage } from '../../../../operator/image/reference.ts';
import { rolloutNumber } from '../../../../operator/rollout/verdict.ts';
import { candidate, digestOf } from '../../../support/builders/images.ts';
import {
  FROM_IMAGE,
  imageRollout,
  rolloutSpec,
  rolloutStatus,
  rolloutTarget,
  TO_IMAGE,
} from '../../../support/builders/rollouts.ts';
import { workload } from '../../../support/builders/workloads.ts';

const UID = 'uid-of-web';
const HOTFIX = 'ghcr.io/acme/web:hotfix';
const NEXT_IMAGE = candidate('1.2.0').image;
const TIME = '2026-01-05T08:00:00Z';

/** The container `web` of the Deployment `web`, running `image`. */
function running(image: string, options: { readonly uid?: string } = {}): TargetContainer {
  const live = workload({ containers: { web: image }, ...options });
  return { workload: live, container: live.containers[0]!, part: 0, image: parseImage(image) };
}

function entry(image: string, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return { kind: 'Deployment', name: 'web', uid: UID, container: 'web', image, ...more };
}

/** A rollout of the container, as it stands. */
function rollout(number: number, from: string, to: string, status?: ImageRollout['status']): ImageRollout {
  return imageRollout({
    number,
    spec: { targets: [rolloutTarget({ containers: [{ name: 'web', init: false, from, to }] })] },
    ...(status !== undefined && { status }),
  });
}

const succeeded = rolloutStatus('Succeeded', 'Healthy', { target: { appliedTime: TIME } });
const failed = rolloutStatus('Held', 'Failed', { target: { appliedTime: TIME } });
const failedUnwritten = rolloutStatus('RolledBack', 'Skipped');
const contested = rolloutStatus('Aborted', 'Contested', { target: { appliedTime: TIME } });
const contestedUnwritten = rolloutStatus('Aborted', 'Contested');
const abortedPending = { state: 'Aborted' as const };
const applying = rolloutStatus('Applying', 'Pending');

interface Row {
  readonly when: string;
  readonly live: string;
  readonly recorded?: readonly LedgerEntry[];
  readonly rollouts?: readonly ImageRollout[];
  readonly want: Standing;
  /** What the ledger says afterwards. */
  readonly image: string;
  /** The newest rollout taken into account. */
  readonly rollout?: number;
}

function readOne({ live, recorded = [], rollouts = [] }: Pick<Row, 'live' | 'recorded' | 'rollouts'>, digest?: Digest) {
  const [line] = readLedger([running(live)], { recorded, rollouts, podDigest: () => digest });
  return line!;
}

describe('readLedger', () => {
  it.each<Row>([
    { when: 'it is met for the first time', live: FROM_IMAGE, want: 'adopted', image: FROM_IMAGE },
    {
      when: 'it runs what was accepted',
      live: FROM_IMAGE,
      recorded: [entry(FROM_IMAGE)],
      want: 'known',
      image: FROM_IMAGE,
    },
    {
      when: 'it runs what was written',
      live: TO_IMAGE,
      recorded: [entry(TO_IMAGE, { rollout: 1 })],
      want: 'known',
      image: TO_IMAGE,
      rollout: 1,
    },
    {
      when: 'somebody set another image',
      live: HOTFIX,
      recorded: [entry(FROM_IMAGE)],
      want: 'foreign',
      image: FROM_IMAGE,
    },
    {
      when: 'somebody took back what was written',
      live: FROM_IMAGE,
      recorded: [entry(TO_IMAGE, { rollout: 1 })],
      rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
      want: 'foreign',
      image: TO_IMAGE,
      rollout: 1,
    },
    {
      when: 'the image has come back',
      live: TO_IMAGE,
      recorded: [entry(TO_IMAGE, { rollout: 1 })],
      rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
      want: 'known',
      image: TO_IMAGE,
      rollout: 1,
    },
  ])('is $want when $when', ({ want, image, rollout: number, ...given }) => {
    const line = readOne(given);

    expect(line.standing).toBe(want);
    expect(line.entry.image).toBe(image);
    expect(line.entry.rollout).toBe(number);
  });

  describe('when a rollout has moved or is moving the container', () => {
    it.each<Row>([
      {
        when: 'it waits to be claimed',
        live: FROM_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE)],
        want: 'moving',
        image: FROM_IMAGE,
      },
      {
        when: 'it has not written yet',
        live: FROM_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, applying)],
        want: 'moving',
        image: FROM_IMAGE,
      },
      {
        when: 'it has written and that is not on record',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, applying)],
        want: 'moving',
        image: FROM_IMAGE,
      },
      {
        when: 'somebody set another image meanwhile',
        live: HOTFIX,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, applying)],
        want: 'moving',
        image: FROM_IMAGE,
      },
      {
        when: 'it succeeded and the policy knows',
        live: TO_IMAGE,
        recorded: [entry(TO_IMAGE, { rollout: 1 })],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'it succeeded and the operator crashed before the policy knew',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'the status of the policy was lost altogether',
        live: TO_IMAGE,
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'it failed and was left as it is',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, failed)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'it could not be written',
        live: FROM_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, failedUnwritten)],
        want: 'known',
        image: FROM_IMAGE,
        rollout: 1,
      },
      {
        when: 'it was aborted before it was claimed',
        live: FROM_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, abortedPending)],
        want: 'known',
        image: FROM_IMAGE,
        rollout: 1,
      },
      {
        when: 'it was aborted before it was claimed, and the status was lost',
        live: FROM_IMAGE,
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, abortedPending)],
        want: 'known',
        image: FROM_IMAGE,
        rollout: 1,
      },
      {
        when: 'it was aborted because of another image',
        live: HOTFIX,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, contestedUnwritten)],
        want: 'foreign',
        image: FROM_IMAGE,
        rollout: 1,
      },
      {
        when: 'it was aborted because somebody changed what it had written',
        live: HOTFIX,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, contested)],
        want: 'foreign',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'it was aborted because somebody took back what it had written',
        live: FROM_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, contested)],
        want: 'foreign',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'that image came back',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, contested)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 1,
      },
      {
        when: 'the next one succeeded too',
        live: NEXT_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded), rollout(2, TO_IMAGE, NEXT_IMAGE, succeeded)],
        want: 'known',
        image: NEXT_IMAGE,
        rollout: 2,
      },
      {
        when: 'the next one was aborted',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded), rollout(2, TO_IMAGE, NEXT_IMAGE, abortedPending)],
        want: 'known',
        image: TO_IMAGE,
        rollout: 2,
      },
      {
        when: 'the next one is on its way',
        live: TO_IMAGE,
        recorded: [entry(FROM_IMAGE)],
        rollouts: [rollout(9, FROM_IMAGE, TO_IMAGE, succeeded), rollout(10, TO_IMAGE, NEXT_IMAGE, applying)],
        want: 'moving',
        image: TO_IMAGE,
        rollout: 9,
      },
      {
        when: 'older ones are still in the history',
        live: HOTFIX,
        recorded: [entry(HOTFIX, { rollout: 5 })],
        rollouts: [rollout(4, FROM_IMAGE, TO_IMAGE, succeeded), rollout(5, TO_IMAGE, NEXT_IMAGE, contested)],
        want: 'known',
        image: HOTFIX,
        rollout: 5,
      },
      {
        when: 'the history was pruned',
        live: TO_IMAGE,
        recorded: [entry(TO_IMAGE, { rollout: 40 })],
        want: 'known',
        image: TO_IMAGE,
        rollout: 40,
      },
    ])('is $want when $when', ({ want, image, rollout: number, ...given }) => {
      const line = readOne(given);

      expect(line.standing).toBe(want);
      expect(line.entry.image).toBe(image);
      expect(line.entry.rollout).toBe(number);
    });
  });

  it('takes the image of a failed rollout for its own where somebody else had written exactly that', () => {
    const line = readOne({
      live: TO_IMAGE,
      recorded: [entry(FROM_IMAGE)],
      rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, failedUnwritten)],
    });

    expect(line).toMatchObject({ standing: 'known', entry: { image: TO_IMAGE } });
  });

  it('is moving while any rollout of it is unfinished, not only the newest', () => {
    const rollouts = [rollout(1, FROM_IMAGE, TO_IMAGE, applying), rollout(2, FROM_IMAGE, NEXT_IMAGE, abortedPending)];

    expect(readOne({ live: FROM_IMAGE, recorded: [entry(FROM_IMAGE)], rollouts }).standing).toBe('moving');
  });

  it('meets a workload of the same name anew when it was created anew', () => {
    const [line] = readLedger([running(HOTFIX, { uid: 'another' })], {
      recorded: [entry(TO_IMAGE, { rollout: 1 })],
      rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded)],
      podDigest: () => undefined,
    });

    expect(line).toMatchObject({ standing: 'adopted', entry: { uid: 'another', image: HOTFIX } });
    expect(line?.entry).not.toHaveProperty('rollout');
  });

  it('keeps a line for each container of each workload', () => {
    const web = workload({ containers: { web: TO_IMAGE, job: HOTFIX }, initContainers: { migrate: FROM_IMAGE } });
    const api = workload({ name: 'api', containers: { web: FROM_IMAGE } });
    const targets = [
      ...web.containers.map((container) => ({ workload: web, container, part: 0 })),
      { workload: api, container: api.containers[0]!, part: 0 },
    ];

    const lines = readLedger(targets, {
      recorded: [entry(TO_IMAGE), entry(FROM_IMAGE, { container: 'job' })],
      rollouts: [],
      podDigest: () => undefined,
    });

    expect(
      lines.map(({ target, standing }) => [target.workload.metadata.name, target.container.name, standing]),
    ).toEqual([
      ['web', 'migrate', 'adopted'],
      ['web', 'web', 'known'],
      ['web', 'job', 'foreign'],
      ['api', 'web', 'adopted'],
    ]);
  });

  it('looks only at the targets of a rollout that are this container', () => {
    const other = imageRollout({
      number: 3,
      spec: {
        targets: [
          rolloutTarget({ name: 'api' }),
          rolloutTarget({ containers: [{ name: 'migrate', init: true, from: FROM_IMAGE, to: TO_IMAGE }] }),
        ],
      },
      status: rolloutStatus('Applying', 'Pending'),
    });

    expect(readOne({ live: FROM_IMAGE, recorded: [entry(FROM_IMAGE)], rollouts: [other] })).toMatchObject({
      standing: 'known',
    });
  });

  it('reads the status of the target that it means, by position', () => {
    const spec = rolloutSpec({ targets: [rolloutTarget({ name: 'api' }), rolloutTarget()] });
    const done = imageRollout({
      number: 1,
      spec,
      status: {
        state: 'Aborted',
        targets: [
          { kind: 'Deployment', name: 'api', state: 'Contested' },
          { kind: 'Deployment', name: 'web', state: 'Healthy' },
        ],
      },
    });

    expect(readOne({ live: TO_IMAGE, recorded: [entry(FROM_IMAGE)], rollouts: [done] })).toMatchObject({
      standing: 'known',
      entry: { image: TO_IMAGE },
    });
  });

  describe('when an image names no digest', () => {
    const digest = digestOf('pods');

    it.each<{ when: string; given: Pick<Row, 'live' | 'recorded' | 'rollouts'>; want: string | undefined }>([
      { when: 'it is adopted', given: { live: FROM_IMAGE }, want: digest },
      {
        when: 'it is known and the digest was not',
        given: { live: FROM_IMAGE, recorded: [entry(FROM_IMAGE)] },
        want: digest,
      },
      {
        when: 'it was known already',
        given: { live: FROM_IMAGE, recorded: [entry(FROM_IMAGE, { digest: digestOf('earlier') })] },
        want: digestOf('earlier'),
      },
      { when: 'it is foreign', given: { live: HOTFIX, recorded: [entry(FROM_IMAGE)] }, want: undefined },
      {
        when: 'it is being moved',
        given: { live: FROM_IMAGE, recorded: [entry(FROM_IMAGE)], rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE)] },
        want: undefined,
      },
      { when: 'the image names one itself', given: { live: TO_IMAGE }, want: undefined },
    ])('notes the digest of the pods, $want, when $when', ({ given, want }) => {
      expect(readOne(given, digest).entry.digest).toBe(want);
    });

    it('waits while the pods do not agree', () => {
      expect(readOne({ live: FROM_IMAGE }, undefined).entry).not.toHaveProperty('digest');
    });
  });

  it('takes the same digest under another name for no change', () => {
    const { digest } = candidate('1.1.0');
    const live = `ghcr.io/acme/web:stable@${digest}`;

    expect(readOne({ live, recorded: [entry(TO_IMAGE)] })).toMatchObject({ standing: 'known', entry: { image: live } });
    expect(readOne({ live, recorded: [entry(FROM_IMAGE, { digest })] })).toMatchObject({
      standing: 'known',
      entry: { image: live },
    });
    expect(readOne({ live, recorded: [entry(NEXT_IMAGE)] })).toMatchObject({ standing: 'foreign' });
  });

  it('says the same again when nothing has changed', () => {
    const rollouts = [rollout(1, FROM_IMAGE, TO_IMAGE, succeeded), rollout(2, TO_IMAGE, NEXT_IMAGE, contested)];
    for (const live of [FROM_IMAGE, TO_IMAGE, NEXT_IMAGE, HOTFIX]) {
      const first = readOne({ live, rollouts });

      const second = readOne({ live, recorded: [first.entry], rollouts });

      expect(second.entry).toEqual(first.entry);
      expect(second.standing).toBe(first.standing);
    }
  });
});

describe('rolloutNumber', () => {
  it.each([
    { name: 'web-1', want: 1 },
    { name: 'web-2-10', want: 10 },
    { name: 'web-007', want: 7 },
    { name: 'web', want: 0 },
    { name: 'web-x', want: 0 },
  ])('is $want for $name', ({ name, want }) => {
    expect(rolloutNumber(imageRollout({ metadata: { name } }))).toBe(want);
  });
});

describe('runningDigest', () => {
  it('does not lend the digest of an accepted image to another one that somebody set', () => {
    const recorded = [entry('ghcr.io/acme/web:1.0.0', { digest: digestOf('pods') })];

    const [same] = readLedger([running('ghcr.io/acme/web:1.0.0')], {
      recorded,
      rollouts: [],
      podDigest: () => undefined,
    });
    const [other] = readLedger([running('ghcr.io/acme/web:1.1.0')], {
      recorded,
      rollouts: [],
      podDigest: () => undefined,
    });

    expect(runningDigest(same!)).toBe(digestOf('pods'));
    expect(runningDigest(other!)).toBeUndefined();
  });
});

describe('readLedger, of what is proven', () => {
  const goodAfter = (status: ImageRollout['status']): readonly string[] =>
    readOne({
      live: TO_IMAGE,
      recorded: [entry(FROM_IMAGE, { good: [FROM_IMAGE] })],
      rollouts: [rollout(1, FROM_IMAGE, TO_IMAGE, status)],
    }).entry.good ?? [];
  const unproven = { unproven: true };

  it.each<{ when: string; status: ImageRollout['status']; want: readonly string[] }>([
    { when: 'it was healthy', status: succeeded, want: [TO_IMAGE] },
    {
      when: 'it was healthy, and another workload did not run',
      status: rolloutStatus('Succeeded', 'Healthy', { status: unproven }),
      want: [TO_IMAGE],
    },
    {
      when: 'it did not run',
      status: rolloutStatus('Succeeded', 'Healthy', { status: unproven, target: { message: 'scaled to zero' } }),
      want: [],
    },
    { when: 'it is not over', status: rolloutStatus('Soaking', 'Healthy'), want: [] },
    { when: 'it failed', status: failed, want: [] },
  ])('has $want.length good images when $when', ({ status, want }) => {
    expect(goodAfter(status).filter((image) => image === TO_IMAGE)).toEqual(want);
  });
});

describe('readLedger, when the rollout that wrote an image is gone', () => {
  const recorded = [entry(FROM_IMAGE)];

  it.each<{ when: string; live: string; want: Standing; image: string }>([
    { when: 'it is exactly what was last decided for', live: TO_IMAGE, want: 'known', image: TO_IMAGE },
    { when: 'it is anything else', live: HOTFIX, want: 'foreign', image: FROM_IMAGE },
    { when: 'it is what was accepted', live: FROM_IMAGE, want: 'known', image: FROM_IMAGE },
  ])('takes it for $want when $when', ({ live, want, image }) => {
    const [line] = readLedger([running(live)], {
      recorded,
      rollouts: [],
      podDigest: () => undefined,
      decided: () => TO_IMAGE,
    });

    expect(line).toMatchObject({ standing: want, entry: { image } });
  });
});

describe('findLowest', () => {
  const compare = (a: string, b: string): number => Number(a) - Number(b);
  const lines = (live: readonly string[], recorded: readonly LedgerEntry[] = []) =>
    live.flatMap((image) => readLedger([running(image)], { recorded, rollouts: [], podDigest: () => undefined }));
  const web = (tag: string): string => `ghcr.io/acme/web:${tag}`;

  it.each([
    { when: 'there is no line', live: [], want: undefined },
    { when: 'tags differ', live: [web('2'), web('1'), web('3')], want: { tag: '1' } },
    {
      when: 'one has no tag',
      live: [web('2'), `ghcr.io/acme/web@${digestOf('x')}`, web('1')],
      want: { digest: digestOf('x') },
    },
  ])('when $when', ({ live, want }) => {
    expect(findLowest(lines(live), compare, false)).toEqual(want);
  });

  it('counts a foreign image, unless it is taken back', () => {
    const foreign = lines([web('9')], [entry(web('2'), { digest: digestOf('two') })]);

    expect(findLowest(foreign, compare, false)).toEqual({ tag: '9' });
    expect(findLowest(foreign, compare, true)).toEqual({ tag: '2', digest: digestOf('two') });
  });
});
