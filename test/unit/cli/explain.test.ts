import { describe, expect, it } from '@jest/globals';
import type { ImagePolicyStatus } from '../../../operator/api/image-policy.ts';
import { explainSituation } from '../../../operator/cli/explain/explanation.ts';
import { formatExplanation } from '../../../operator/cli/explain/format.ts';
import { nearNames, type Situation } from '../../../operator/cli/explain/situation.ts';
import { candidate } from '../../support/builders/images.ts';
import { imagePolicy, type ImagePolicyOptions } from '../../support/builders/policies.ts';
import { imageRollout, rolloutStatus } from '../../support/builders/rollouts.ts';
import { workload } from '../../support/builders/workloads.ts';
import { run } from './run.ts';

const NOW_MS = Date.parse('2026-01-05T12:00:00Z');
const [OLD, NEW] = [candidate('1.0.0'), candidate('1.1.0')];

function ready(reason: string, message: string, status: 'True' | 'False' = 'False') {
  return {
    type: 'Ready',
    status,
    reason,
    message,
    observedGeneration: 1,
    lastTransitionTime: '2026-01-05T10:00:00Z',
  } as const;
}

/** A policy whose Deployment runs 1.0.0; `status` is laid over that. */
function situation(
  options: ImagePolicyOptions & { readonly status?: ImagePolicyStatus } = {},
  rest: Partial<Situation> = {},
): Situation {
  const status: ImagePolicyStatus = {
    observedGeneration: 1,
    conditions: [ready('UpToDate', '1.0.0 runs, and no tag that qualifies is newer', 'True')],
    current: {
      images: [{ image: 'ghcr.io/acme/web', tag: OLD.tag, digest: OLD.digest }],
      sinceTime: '2026-01-01T09:00:00Z',
    },
    ...options.status,
  };
  return {
    nowMs: NOW_MS,
    policy: imagePolicy({ ...options, status }),
    rollouts: [],
    targets: [{ title: 'Deployment web', workload: workload({ containers: { web: OLD.image } }) }],
    notes: [],
    ...rest,
  };
}

function page(of: Situation): string {
  return formatExplanation(explainSituation(of)).join('\n');
}

describe('explainSituation', () => {
  it('names every gate: those of the status with their answer, all others as open', () => {
    const waitingFor = [
      {
        gate: 'workload',
        answer: 'Waiting' as const,
        reason: 'WorkloadPaused',
        message: 'Deployment web: is paused',
        sinceTime: '2026-01-05T11:00:00Z',
      },
    ];
    const status = { candidate: { tag: NEW.tag, digest: NEW.digest, waiting: 'workload', waitingFor } };

    const explanation = explainSituation(situation({ status }));

    expect(explanation.candidate?.gates.map(({ gate, answer }) => [gate, answer])).toEqual([
      ['quarantine', 'Open'],
      ['rejection', 'Open'],
      ['pin', 'Open'],
      ['freeze', 'Open'],
      ['foreign-change', 'Open'],
      ['consent', 'Open'],
      ['suspension', 'Open'],
      ['approval', 'Open'],
      ['window', 'Open'],
      ['cooldown', 'Open'],
      ['retry', 'Open'],
      ['workload', 'Waiting'],
    ]);
    expect(explanation.candidate?.gates.at(-1)).toMatchObject({
      message: 'Deployment web: is paused',
      sinceTime: '2026-01-05T11:00:00Z',
    });
  });

  it('shows a gate that a newer operator knows and this program does not', () => {
    const waitingFor = [
      { gate: 'approval', answer: 'Waiting' as const, reason: 'Unapproved', message: 'nobody approved' },
    ];
    const status = { candidate: { tag: NEW.tag, digest: NEW.digest, waiting: 'approval', waitingFor } };

    expect(page(situation({ status }))).toMatch(/^approval +Waiting +- +nobody approved$/m);
  });

  it.each([
    {
      when: 'a container of the repository',
      target: workload({ containers: { web: OLD.image, proxy: 'docker.io/library/envoy:1' } }),
      want: [{ workload: 'Deployment web', container: 'web', image: OLD.image, state: 'healthy', message: null }],
    },
    {
      when: 'none of the repository',
      target: workload({ containers: { proxy: 'docker.io/library/envoy:1' } }),
      want: [expect.objectContaining({ container: null, state: 'missing', message: expect.stringContaining('proxy') })],
    },
    {
      when: 'one that is on its way',
      target: workload({
        containers: { web: NEW.image },
        progress: { kind: 'progressing', message: '1 of 2 pods are updated' },
      }),
      want: [expect.objectContaining({ state: 'progressing', message: '1 of 2 pods are updated' })],
    },
  ])('shows a workload with $when', ({ target, want }) => {
    const explanation = explainSituation(situation({}, { targets: [{ title: 'Deployment web', workload: target }] }));

    expect(explanation.targets).toEqual(want);
  });

  it('keeps showing a container that somebody gave an image of another repository', () => {
    const image = 'docker.io/library/nginx:1';
    const recorded = { kind: 'Deployment', name: 'web', uid: 'uid-of-web', container: 'web', image: OLD.image };

    const { targets } = explainSituation(
      situation(
        { status: { targets: [recorded] } },
        { targets: [{ title: 'Deployment web', workload: workload({ containers: { web: image } }) }] },
      ),
    );

    expect(targets).toEqual([expect.objectContaining({ container: 'web', image })]);
  });

  it('tells the rollout under way from the last three', () => {
    const finished = [1, 2, 3, 4].map((number) =>
      imageRollout({ number, status: rolloutStatus('Succeeded', 'Healthy', { status: { message: 'runs' } }) }),
    );
    const open = imageRollout({
      number: 5,
      status: rolloutStatus('Verifying', 'Applied', { status: { deadlineTime: '2026-01-05T12:05:00Z' } }),
    });

    const { rollout, lastRollouts, next } = explainSituation(situation({}, { rollouts: [...finished, open] }));

    expect(rollout).toMatchObject({ name: 'web-5', state: 'Verifying', targets: [{ state: 'Applied' }] });
    expect(lastRollouts.map(({ name }) => name)).toEqual(['web-4', 'web-3', 'web-2']);
    expect(next[0]).toContain('web-5 ends when every workload is healthy, or in 5m');
  });
});

describe('what happens next', () => {
  it.each([
    {
      when: 'nobody has looked yet',
      given: { ...situation(), policy: imagePolicy() },
      says: ['has not looked at this policy yet', 'kubectl get leases'],
    },
    {
      when: 'the spec was edited and nobody has looked since',
      given: situation({ metadata: { generation: 2 } }),
      says: ['The spec was edited', 'kubectl get leases'],
    },
    {
      when: 'the policy is being deleted',
      given: situation({ metadata: { deletionTimestamp: '2026-01-05T11:59:00Z' } }),
      says: ['being deleted', 'the workloads stay as they are'],
    },
    {
      when: 'it is up to date',
      given: situation({ spec: { interval: '1h' } }),
      says: ['asked every 1h'],
    },
    {
      when: 'it is suspended',
      given: situation({ spec: { suspend: true }, status: { conditions: [ready('Unavailable', 'no answer')] } }),
      says: ['asked again by itself', 'Set spec.suspend to false'],
    },
    {
      when: 'somebody changed the image',
      given: situation({ status: { conditions: [ready('ManualHold', 'stands back')] } }),
      says: ['Set the image back'],
    },
    {
      when: 'a tag becomes old enough',
      given: situation({
        spec: { tags: { semver: { range: '1.x' }, minimumAge: '72h' } },
        status: {
          seen: [
            { tag: '1.1.0', digest: NEW.digest, firstSeenTime: '2026-01-03T12:00:00Z' },
            { tag: '1.0.9', digest: OLD.digest, firstSeenTime: '2026-01-02T13:00:00Z' },
          ],
        },
      }),
      says: ['1.0.9 is old enough in 1h (minimumAge 72h)'],
    },
  ])('says it when $when', ({ given, says }) => {
    const next = explainSituation(given).next.join('\n');

    for (const part of says) expect(next).toContain(part);
  });

  it('does not promise a poll where the spec cannot be understood', () => {
    const conditions = [
      ready('InvalidFilter', 'spec: tags.filter: too large'),
      { ...ready('InvalidFilter', 'spec: tags.filter: too large', 'True'), type: 'Stalled' },
    ];

    expect(explainSituation(situation({ status: { conditions } })).next).toEqual([
      'Correct the spec; nothing is read or moved until then.',
    ]);
  });
});

describe('formatExplanation', () => {
  it('opens with what most people ask', () => {
    expect(page(situation()).split('\n').slice(0, 5)).toEqual([
      'POLICY     shop/web',
      'IMAGE      ghcr.io/acme/web, semver 1.x',
      'STATE      Ready (UpToDate) since 2026-01-05T10:00:00Z (2h ago): 1.0.0 runs, and no tag that qualifies is newer.',
      `CURRENT    1.0.0 (${OLD.digest.slice(7, 19)}) since 2026-01-01 (4d ago), found running`,
      'CANDIDATE  none: no tag that qualifies is newer',
    ]);
  });

  it.each([
    { tags: { numerical: {} }, order: 'numerical' },
    { tags: { alphabetical: { direction: 'Descending' } }, order: 'alphabetical descending' },
    { tags: { newest: {} }, order: 'newest' },
    { tags: { fixed: { tag: 'stable' } }, order: 'fixed stable' },
    {
      tags: { semver: { range: '^1', variant: 'alpine', prerelease: true } },
      order: 'semver ^1 (variant alpine, prereleases too)',
    },
  ])('names the order $order', ({ tags, order }) => {
    expect(page(situation({ spec: { tags } }))).toContain(`IMAGE      ghcr.io/acme/web, ${order}\n`);
  });

  it('shows examples of what the operator found, and says how to see every tag', () => {
    const tags = {
      total: 900,
      considered: 3,
      rejectedByReason: { OutOfRange: 890, NotSemver: 7 },
      rejected: [{ tag: '2.0.0', reason: 'OutOfRange', message: '2.0.0 is outside the range 1.x.' }],
    };

    const text = page(situation({ status: { tags } }));

    expect(text).toContain('TAGS         900 listed, 3 take part in the order\n');
    expect(text).toContain('PASSED OVER  OutOfRange 890, NotSemver 7\n');
    expect(text).toContain('(examples; --live lists every tag)');
  });

  it('shows a long live list by examples of each reason', () => {
    const many = Array.from({ length: 100 }, (_, index) => ({
      tag: `2.0.${index}`,
      reason: 'OutOfRange' as const,
      message: 'outside',
    }));
    const live = {
      kind: 'Listed' as const,
      total: 101,
      considered: 1,
      rejectedByReason: { OutOfRange: 100 },
      tags: [...many, { tag: '1.0.0', reason: 'Current' as const, message: '1.0.0 is in use and qualifies.' }],
      notes: [],
    };

    const text = page(situation({}, { live }));

    expect(text).toContain('101 listed just now');
    expect(text.match(/^2\.0\./gm)).toHaveLength(5);
    expect(text).toMatch(/^1\.0\.0 +Current/m);
    expect(text).toContain('-o json lists every tag');
  });

  it('says why the registry could not be read from here', () => {
    expect(page(situation({}, { live: { kind: 'Unreadable', why: 'no way there' } }))).toContain(
      'The registry could not be read from here, so this is what the operator found last: no way there.',
    );
  });

  it('lets no text from elsewhere steer the terminal', () => {
    const image = 'ghcr.io/acme/web:1.0.0\u001b[2J';
    const targets = [{ title: 'Deployment \u009bweb', workload: workload({ containers: { web: image } }) }];
    const conditions = [ready('Waiting', 'a\u001b]0;owned\u0007b\nREADY')];

    expect(page(situation({ status: { conditions } }, { targets }))).not.toMatch(/[^\P{Cc}\n]/u);
  });
});

describe('nearNames', () => {
  it.each([
    { name: 'wbe', names: ['web', 'api'], near: ['web'] },
    { name: 'web', names: ['web-canary', 'webs', 'worker'], near: ['webs', 'web-canary'] },
    { name: 'backend', names: ['web', 'api'], near: [] },
    { name: 'a', names: ['b', 'xy'], near: ['b'] },
  ])('finds $near near $name', ({ name, names, near }) => {
    expect(nearNames(name, names)).toEqual(near);
  });
});

describe('slipway explain', () => {
  it('needs the name of a policy', async () => {
    const { exitCode, stderr } = await run(['explain']);

    expect(exitCode).toBe(2);
    expect(stderr).toContain("missing required argument 'policy'");
  });

  it('says which kubeconfig it cannot read', async () => {
    const { exitCode, stderr } = await run(['explain', 'web', '--kubeconfig', '/nowhere/kubeconfig']);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^slipway: Reading \/nowhere\/kubeconfig: /);
  });
});
