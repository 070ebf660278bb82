import { describe, expect, it } from '@jest/globals';
import { combine, GateRulesReader, type RequiredGates } from '../../../../operator/controllers/policy/gate-rules.ts';
import { KubeError } from '../../../../operator/kube/kube-error.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const HOUR_MS = 3_600_000;
const asking = (required: number, validFor: string) =>
  imagePolicy({ spec: { gates: { approval: { required, validFor } } } });

describe('combine', () => {
  it.each<{ when: string; policy?: ReturnType<typeof imagePolicy>; demands: readonly RequiredGates[]; want: object }>([
    {
      when: 'nobody asks for anything',
      demands: [],
      want: { gates: { enforcedOnPins: [] }, minimumAgeFloorMs: 0 },
    },
    {
      when: 'the policy asks for more people and the configuration for fresher approvals',
      policy: asking(3, '48h'),
      demands: [{ approval: { required: 1, validForMs: HOUR_MS }, pins: 'Report' }],
      want: { gates: { approval: { required: 3, validForMs: HOUR_MS }, enforcedOnPins: [] }, minimumAgeFloorMs: 0 },
    },
    {
      when: 'the policy asks for less than the configuration',
      policy: asking(1, '1h'),
      demands: [{ approval: { required: 2, validForMs: 48 * HOUR_MS }, pins: 'Report' }],
      want: { gates: { approval: { required: 2, validForMs: HOUR_MS }, enforcedOnPins: [] }, minimumAgeFloorMs: 0 },
    },
    {
      when: 'the policy asks for nothing',
      demands: [{ approval: { required: 2, validForMs: HOUR_MS }, minimumAgeMs: 5, pins: 'Enforce' }],
      want: {
        gates: { approval: { required: 2, validForMs: HOUR_MS }, enforcedOnPins: ['approval'] },
        minimumAgeFloorMs: 5,
      },
    },
    {
      when: 'two demands apply',
      demands: [
        { minimumAgeMs: 24 * HOUR_MS, pins: 'Report' },
        { minimumAgeMs: HOUR_MS, approval: { required: 1, validForMs: HOUR_MS }, pins: 'Report' },
      ],
      want: {
        gates: { approval: { required: 1, validForMs: HOUR_MS }, enforcedOnPins: [] },
        minimumAgeFloorMs: 24 * HOUR_MS,
      },
    },
    {
      when: 'pins are to be enforced where nothing is demanded that a pin could have',
      demands: [{ minimumAgeMs: HOUR_MS, pins: 'Enforce' }],
      want: { gates: { enforcedOnPins: [] }, minimumAgeFloorMs: HOUR_MS },
    },
  ])('takes the stricter when $when', ({ policy = imagePolicy(), demands, want }) => {
    expect(combine(policy, demands)).toEqual(want);
  });
});

describe('GateRulesReader', () => {
  const DEMAND: RequiredGates = {
    namespaceSelector: { matchLabels: { env: 'production' } },
    approval: { required: 1, validForMs: HOUR_MS },
    pins: 'Report',
  };

  function reader(answer: () => Promise<Readonly<Record<string, string>> | undefined>, demand = DEMAND) {
    const clock = new FakeClock();
    let reads = 0;
    const get = async (): Promise<object> => {
      reads += 1;
      return { metadata: { name: 'shop', labels: await answer() } };
    };
    const rules = new GateRulesReader({ required: [demand], client: { get } as never, clock });
    const isDemanded = async (): Promise<boolean> =>
      (await rules.read(imagePolicy(), new AbortController().signal)).gates.approval !== undefined;
    return { isDemanded, clock, reads: () => reads };
  }

  it.each([
    { labels: { env: 'production', team: 'shop' }, want: true },
    { labels: { env: 'staging' }, want: false },
    { labels: undefined, want: false },
  ])('applies by the labels of the namespace: $labels', async ({ labels, want }) => {
    expect(await reader(() => Promise.resolve(labels)).isDemanded()).toBe(want);
  });

  it('applies everywhere without a selector, and asks nobody', async () => {
    const { isDemanded, reads } = reader(() => Promise.resolve({}), { minimumAgeMs: 1, ...withoutSelector() });

    expect(await isDemanded()).toBe(true);
    expect(reads()).toBe(0);
  });

  it('applies where the labels may not be read', async () => {
    const forbidden = new KubeError('no', { status: 403, reason: 'Forbidden' });

    expect(await reader(() => Promise.reject(forbidden)).isDemanded()).toBe(true);
  });

  it('decides nothing while the labels cannot be read for another reason', async () => {
    const broken = new KubeError('no answer', { status: 0, reason: 'Timeout' });

    await expect(reader(() => Promise.reject(broken)).isDemanded()).rejects.toBe(broken);
  });

  it('reads the labels once a minute', async () => {
    let labels: Readonly<Record<string, string>> = { env: 'staging' };
    const { isDemanded, clock, reads } = reader(() => Promise.resolve(labels));
    expect([await isDemanded(), await isDemanded(), reads()]).toEqual([false, false, 1]);

    labels = { env: 'production' };
    await clock.advance(60_000);

    expect(await isDemanded()).toBe(true);
  });

  function withoutSelector(): RequiredGates {
    const { namespaceSelector: _, ...rest } = DEMAND;
    return rest;
  }
});
