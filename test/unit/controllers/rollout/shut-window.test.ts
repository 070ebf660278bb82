import { describe, expect, it } from '@jest/globals';
import { findShutWindow } from '../../../../operator/controllers/rollout/shut-window.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { imageRollout, rolloutStatus, type ImageRolloutOptions } from '../../../support/builders/rollouts.ts';

const NIGHT = { windows: { allow: [{ cron: '0 22 * * *', duration: '4h', timeZone: 'UTC' }] } };
const NOON_MS = Date.parse('2026-01-05T12:00:00Z');
const LATE_MS = Date.parse('2026-01-05T23:00:00Z');
const claimed = rolloutStatus('Applying', 'Pending', {
  status: { claim: { holder: 'a', epoch: 1, time: '2026-01-05T11:00:00Z' } },
});

describe('findShutWindow', () => {
  const find = (options: ImageRolloutOptions, nowMs = NOON_MS, gates: object = NIGHT, generation = 1) =>
    findShutWindow(imageRollout(options), imagePolicy({ spec: { gates }, metadata: { generation } }), nowMs);

  it('says why a rollout that waits may not begin', () => {
    expect(find({})).toContain('outside of the allowed windows, and the next opens 2026-01-05 22:00 UTC');
  });

  it.each<{ when: string; given: Parameters<typeof find> }>([
    { when: 'a window is open', given: [{}, LATE_MS] },
    { when: 'there are no windows', given: [{}, NOON_MS, { approval: { required: 1 } }] },
    { when: 'it has begun', given: [{ status: claimed }] },
    { when: 'a person pinned the image', given: [{ spec: { trigger: 'Pin', pin: { tag: '1.1.0' } } }] },
    { when: 'a person rejected what ran', given: [{ spec: { trigger: 'Reject' } }] },
    { when: 'the policy was edited, which ends it anyway', given: [{}, NOON_MS, NIGHT, 2] },
  ])('says nothing when $when', ({ given }) => {
    expect(find(...given)).toBeUndefined();
  });
});
