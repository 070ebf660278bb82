// A policy through its days: tags are pushed, moved and deleted, images fail, people edit workloads and the policy, the
// registry goes and comes. After each event the decisions are carried out until nothing happens any more. Whatever the
// order of events, that must come soon, and no image may be written that the rules forbid.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ImagePolicy, ImageRollout } from '../../../../operator/api/kinds.ts';
import { decide, type PolicyDecision } from '../../../../operator/controllers/policy/decide.ts';
import type { Digest } from '../../../../operator/image/digest.ts';
import { parseImage } from '../../../../operator/image/reference.ts';
import { digestOf } from '../../../support/builders/images.ts';
import { NOW_MS, observation } from '../../../support/builders/observations.ts';
import { imagePolicy } from '../../../support/builders/policies.ts';
import { imageRollout, rolloutStatus } from '../../../support/builders/rollouts.ts';
import { workload } from '../../../support/builders/workloads.ts';

const NAMES = ['a', 'b'] as const;
type Name = (typeof NAMES)[number];
const TAGS = ['1.0.0', '1.1.0', '1.2.0', '1.3.0', '2.0.0'] as const;

type Event =
  | { readonly kind: 'push'; readonly tag: string; readonly quality: 'good' | 'unhealthy' | 'refused' }
  | { readonly kind: 'delete'; readonly tag: string }
  | { readonly kind: 'set image'; readonly name: Name; readonly tag: string }
  | { readonly kind: 'edit policy'; readonly suspend: boolean }
  | { readonly kind: 'registry'; readonly isUp: boolean };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('push' as const),
      tag: fc.constantFrom(...TAGS),
      quality: fc.constantFrom('good' as const, 'unhealthy' as const, 'refused' as const),
    }),
  },
  fc.record({ kind: fc.constant('delete' as const), tag: fc.constantFrom(...TAGS) }),
  fc.record({
    kind: fc.constant('set image' as const),
    name: fc.constantFrom(...NAMES),
    tag: fc.constantFrom(...TAGS),
  }),
  fc.record({ kind: fc.constant('edit policy' as const), suspend: fc.boolean() }),
  fc.record({ kind: fc.constant('registry' as const), isUp: fc.boolean() }),
);

interface Write {
  readonly name: Name;
  readonly digest: string;
  readonly from: string;
  readonly to: string;
  readonly trigger: string;
  /** Counts what people did: edits of the policy and of this workload. */
  readonly acts: number;
}

class Days {
  readonly writes: Write[] = [];
  readonly #images = new Map<Name, string>();
  readonly #tags = new Map<string, Digest>();
  readonly #quality = new Map<string, 'good' | 'unhealthy' | 'refused'>();
  readonly #acts = new Map<Name, number>(NAMES.map((name) => [name, 0]));
  #rollouts: ImageRollout[] = [];
  #policy: ImagePolicy;
  #isUp = true;
  #pushes = 0;

  constructor({ running, ...rollout }: Settings) {
    this.#policy = imagePolicy({ spec: { rollout } });
    for (const [index, name] of NAMES.entries()) {
      const tag = running[index] ?? '1.0.0';
      if (!this.#tags.has(tag)) this.happen({ kind: 'push', tag, quality: 'good' });
      this.#images.set(name, this.#pinned(tag));
    }
  }

  happen(it: Event): void {
    switch (it.kind) {
      case 'push': {
        this.#pushes += 1;
        const digest = digestOf(`push ${this.#pushes}`);
        this.#tags.set(it.tag, digest);
        this.#quality.set(digest, it.quality);
        return;
      }
      case 'delete':
        this.#tags.delete(it.tag);
        return;
      case 'set image':
        if (this.#tags.has(it.tag)) this.#images.set(it.name, this.#pinned(it.tag));
        this.#act(it.name);
        return;
      case 'edit policy': {
        const { metadata, spec } = this.#policy;
        this.#policy = {
          ...this.#policy,
          metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
          spec: { ...spec, suspend: it.suspend },
        };
        for (const name of NAMES) this.#act(name);
        return;
      }
      case 'registry':
        this.#isUp = it.isUp;
    }
  }

  /** Carries out what is decided, until nothing is. Throws when that does not come. */
  settle(): PolicyDecision {
    let last = '';
    for (let look = 0; look < 20; look += 1) {
      const decision = decide(
        observation({
          policy: this.#policy,
          workloads: NAMES.map((name) => workload({ name, containers: { web: this.#images.get(name) ?? '' } })),
          ...(this.#isUp && this.#tags.size > 0 && { tags: Object.fromEntries(this.#tags) }),
          rollouts: this.#rollouts,
          ...(!this.#isUp && { more: { problem: { code: 'Unavailable', message: 'no answer', stalls: false } } }),
        }),
      );
      this.#policy = { ...this.#policy, status: decision.status };
      this.#rollouts = this.#rollouts.filter(({ metadata }) => !decision.prune.includes(metadata.name));
      const state = JSON.stringify([decision.status, this.#rollouts.length]);
      if (decision.create === undefined && state === last) return decision;
      last = state;
      if (decision.create !== undefined) this.#carryOut(decision.create);
    }
    throw new Error(`it never comes to rest: ${JSON.stringify(this.writes.slice(-6))}`);
  }

  get policy(): ImagePolicy {
    return this.#policy;
  }

  get rollouts(): readonly ImageRollout[] {
    return this.#rollouts;
  }

  image(name: Name): string {
    return this.#images.get(name) ?? '';
  }

  get best(): string | undefined {
    return [...this.#tags.keys()]
      .filter((tag) => tag.startsWith('1.'))
      .sort()
      .at(-1);
  }

  #carryOut({ number, spec }: NonNullable<PolicyDecision['create']>): void {
    const digest = spec.images[0]?.digest ?? '';
    const quality = this.#quality.get(digest) ?? 'good';
    for (const { name, containers } of spec.targets) {
      const [container] = containers;
      if (container === undefined) continue;
      const { from, to } = container;
      this.writes.push({
        name: name as Name,
        digest,
        from,
        to,
        trigger: spec.trigger,
        acts: this.#acts.get(name as Name) ?? 0,
      });
      if (quality !== 'refused') this.#images.set(name as Name, to);
    }
    const target = quality === 'refused' ? {} : { target: { appliedTime: '2026-01-05T11:00:00Z' } };
    this.#rollouts.push(
      imageRollout({
        number,
        spec,
        metadata: { creationTimestamp: new Date(NOW_MS).toISOString() },
        status:
          quality === 'good'
            ? rolloutStatus('Succeeded', 'Healthy', { spec, ...target })
            : rolloutStatus('Held', 'Failed', { spec, ...target }),
      }),
    );
  }

  #act(name: Name): void {
    this.#acts.set(name, (this.#acts.get(name) ?? 0) + 1);
  }

  #pinned(tag: string): string {
    return `ghcr.io/acme/web:${tag}@${this.#tags.get(tag) ?? ''}`;
  }
}

interface Settings {
  /** Tags that the workloads run at first. */
  readonly running: readonly string[];
  readonly onForeignChange?: string;
  readonly historyLimit?: number;
}

const settings: fc.Arbitrary<Settings> = fc.record(
  {
    running: fc.array(fc.constantFrom(...TAGS), { minLength: 2, maxLength: 2 }),
    onForeignChange: fc.constantFrom('Hold', 'Reassert'),
    historyLimit: fc.integer({ min: 1, max: 3 }),
  },
  { requiredKeys: ['running'] },
);

function live(events: readonly Event[], rollout: Settings): Days {
  const days = new Days(rollout);
  days.settle();
  for (const it of events) {
    days.happen(it);
    days.settle();
  }
  return days;
}

const law = (name: string, holds: (days: Days) => void, events = fc.array(event, { maxLength: 14 })): void =>
  it(name, () => {
    fc.assert(
      fc.property(events, settings, (all, rollout) => holds(live(all, rollout))),
      { numRuns: 400 },
    );
  });

describe('decide, through the days of a policy', () => {
  law('writes one image to one workload at most once, unless a person acted in between', ({ writes }) => {
    const seen = new Set<string>();
    for (const { name, digest, acts, trigger } of writes) {
      if (trigger === 'Reassert') continue;
      const key = `${name} ${digest} ${acts}`;
      expect(seen).not.toContain(key);
      seen.add(key);
    }
  });

  law('never writes a lower tag than it finds, but to take a foreign change back', ({ writes }) => {
    for (const { from, to, trigger } of writes) {
      if (trigger === 'Reassert') continue;
      expect((parseImage(to).tag ?? '') >= (parseImage(from).tag ?? '')).toBe(true);
    }
  });

  law('takes a foreign change back at most twice in an hour for a workload', ({ writes }) => {
    for (const name of NAMES) {
      expect(writes.filter((write) => write.name === name && write.trigger === 'Reassert').length).toBeLessThanOrEqual(
        2,
      );
    }
  });

  law('keeps a bounded history', ({ rollouts, policy }) => {
    // What the limit allows, what brought the running image, the failures of five candidates, four reasserts of an hour.
    expect(rollouts.length).toBeLessThanOrEqual(policy.spec.rollout.historyLimit + 1 + 5 + 4);
  });

  law(
    'ends with nothing below the best tag wherever nothing fails and nobody interferes',
    (days) => {
      for (const name of NAMES) expect((parseImage(days.image(name)).tag ?? '') >= (days.best ?? '')).toBe(true);
    },
    fc.array(
      fc.record({
        kind: fc.constant('push' as const),
        tag: fc.constantFrom(...TAGS),
        quality: fc.constant('good' as const),
      }),
      { maxLength: 14 },
    ),
  );
});
