// The monitor itself: a clean history passes, and every kind of violation that is planted is caught.

import { describe, expect, it } from '@jest/globals';
import type { AuditEvent } from '../../support/control-plane.ts';
import { findViolations, INVARIANTS, type Invariant } from '../../support/monitor/monitor.ts';
import type { RegistryRequest } from '../../support/registries.ts';

const UID = 'uid-of-web';
const image = (tag: string): string => `ghcr.io/acme/web:${tag}@sha256:${tag.replaceAll('.', '').padEnd(64, '0')}`;
const [OLD, NEW, NEXT] = [image('1.0.0'), image('1.1.0'), image('1.2.0')] as const;

/** Writes the log of a namespace, event by event. */
class Log {
  readonly events: AuditEvent[] = [];

  #add(event: Partial<AuditEvent>): this {
    const time = new Date(Date.UTC(2026, 0, 5) + this.events.length * 1_000).toISOString();
    this.events.push({
      auditID: `audit-${this.events.length}`,
      stage: 'ResponseComplete',
      requestURI: '/',
      verb: 'patch',
      user: { username: 'someone' },
      userAgent: 'slipway/1.0.0',
      responseStatus: { code: 200 },
      requestReceivedTimestamp: time,
      stageTimestamp: time,
      ...event,
    });
    return this;
  }

  deployed(container: string): this {
    return this.#workload(container, { userAgent: 'kubectl/1.36', verb: 'create' });
  }

  #workload(container: string, event: Partial<AuditEvent>, mark?: string): this {
    return this.#add({
      objectRef: { resource: 'deployments', namespace: 'shop', name: 'web', apiGroup: 'apps' },
      responseObject: {
        metadata: {
          name: 'web',
          uid: UID,
          ...(mark !== undefined && { annotations: { 'slipway.dev/rollout': mark } }),
        },
        spec: { template: { spec: { containers: [{ name: 'web', image: container }] } } },
      },
      ...event,
    });
  }

  wrote(container: string, mark: string, operations?: unknown): this {
    const patch = operations ?? [
      { op: 'test', path: '/metadata/resourceVersion', value: '1' },
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: container },
      { op: 'add', path: '/metadata/annotations/slipway.dev~1rollout', value: mark },
    ];
    return this.#workload(container, { requestObject: patch }, mark);
  }

  created(name: string, from: string, to: string, more: object = {}): this {
    return this.#rollout(name, 'create', from, to, undefined, more);
  }

  recorded(name: string, from: string, to: string, status: object, more: object = {}): this {
    return this.#rollout(name, 'update', from, to, status, more);
  }

  #rollout(name: string, verb: string, from: string, to: string, status: object | undefined, more: object): this {
    const spec = {
      direction: 'Forward',
      trigger: 'NewTag',
      attempt: 1,
      targets: [{ uid: UID, containers: [{ name: 'web', from, to, back: from }] }],
      ...more,
    };
    return this.#add({
      verb,
      objectRef: { resource: 'imagerollouts', namespace: 'shop', name, apiGroup: 'slipway.dev' },
      responseObject: { metadata: { name }, spec, ...(status !== undefined && { status }) },
    });
  }

  policy(approvals: number): this {
    return this.#add({
      verb: 'create',
      userAgent: 'kubectl/1.36',
      objectRef: { resource: 'imagepolicies', namespace: 'shop', name: 'web', apiGroup: 'slipway.dev' },
      responseObject: {
        metadata: { name: 'web', generation: 1 },
        spec: { gates: { approval: { required: approvals, validFor: '1h' } } },
      },
    });
  }

  approved(by: string, digest: string): this {
    return this.#add({
      verb: 'create',
      userAgent: 'kubectl/1.36',
      objectRef: { resource: 'imagedecisions', namespace: 'shop', name: `by-${by}`, apiGroup: 'slipway.dev' },
      responseObject: { spec: { policy: 'web', decision: 'Approve', digest, by } },
    });
  }

  acted(): this {
    return this.#add({
      verb: 'create',
      userAgent: 'kubectl/1.36',
      objectRef: { resource: 'imagedecisions', namespace: 'shop', name: 'd', apiGroup: 'slipway.dev' },
    });
  }

  leaked(secret: string): this {
    return this.#add({
      objectRef: { resource: 'events', namespace: 'shop' },
      requestObject: { message: `login ${secret}` },
    });
  }

  /** A whole rollout that succeeds. */
  rolled(name: string, from: string, to: string, more: object = {}): this {
    return this.created(name, from, to, more)
      .recorded(name, from, to, { state: 'Applying', claim: {} }, more)
      .wrote(to, name)
      .recorded(name, from, to, { state: 'Succeeded', claim: {} }, more);
  }

  /** A whole rollout that is undone. */
  undone(name: string, from: string, to: string, more: object = {}): this {
    return this.created(name, from, to, more)
      .recorded(name, from, to, { state: 'Applying', claim: {} }, more)
      .wrote(to, name)
      .recorded(name, from, to, { state: 'RollingBack', claim: {}, failure: { class: 'Image' } }, more)
      .wrote(from, name)
      .recorded(name, from, to, { state: 'RolledBack', claim: {}, failure: { class: 'Image' } }, more);
  }
}

const log = (): Log => new Log().deployed(OLD);
const digestOf = (reference: string): string => reference.split('@')[1] ?? '';
/** What a rollout says that brings this image for a policy with a gate. */
const gated = (to: string) => ({ policy: { name: 'web', generation: 1 }, images: [{ digest: digestOf(to) }] });
const claimed = { state: 'Applying', claim: {} };

describe('findViolations', () => {
  it.each<{ when: string; given: Log }>([
    { when: 'nothing happens', given: log() },
    { when: 'tags roll forward', given: log().rolled('web-1', OLD, NEW).rolled('web-2', NEW, NEXT) },
    {
      when: 'a bad image is undone and a better one follows',
      given: log().undone('web-1', OLD, NEW).rolled('web-2', OLD, NEXT),
    },
    {
      when: 'a person releases what was undone',
      given: log().undone('web-1', OLD, NEW).acted().undone('web-2', OLD, NEW, { trigger: 'Release' }),
    },
    {
      when: 'what failed for the sake of the environment is tried again',
      given: log().undone('web-1', OLD, NEW).undone('web-2', OLD, NEW, { trigger: 'Retry', attempt: 2 }),
    },
    {
      when: 'two people have approved what needs two',
      given: log()
        .policy(2)
        .approved('jane', digestOf(NEW))
        .approved('joe', digestOf(NEW))
        .rolled('web-1', OLD, NEW, gated(NEW)),
    },
    {
      when: 'a person pins an older image',
      given: log().rolled('web-1', OLD, NEW).acted().rolled('web-2', NEW, OLD, { trigger: 'Pin', direction: 'Back' }),
    },
  ])('finds nothing when $when', ({ given }) => {
    expect(findViolations(given.events)).toEqual([]);
  });

  it.each<{ invariant: Invariant; when: string; given: Log }>([
    {
      invariant: 'I1',
      when: 'what needs two approvals has two of the same person',
      given: log()
        .policy(2)
        .approved('jane', digestOf(NEW))
        .approved('jane', digestOf(NEW))
        .rolled('web-1', OLD, NEW, gated(NEW)),
    },
    {
      invariant: 'I1',
      when: 'the approval was for another digest',
      given: log().policy(1).approved('jane', digestOf(NEXT)).rolled('web-1', OLD, NEW, gated(NEW)),
    },
    {
      invariant: 'I1',
      when: 'the approval came after the decision',
      given: log().policy(1).rolled('web-1', OLD, NEW, gated(NEW)).approved('jane', digestOf(NEW)),
    },
    {
      invariant: 'I2',
      when: 'a rollout writes before it is claimed',
      given: log().created('web-1', OLD, NEW).wrote(NEW, 'web-1'),
    },
    {
      invariant: 'I2',
      when: 'a rollout writes after it has finished',
      given: log()
        .created('web-1', OLD, NEW)
        .recorded('web-1', OLD, NEW, { state: 'Aborted', claim: {} })
        .wrote(NEW, 'web-1'),
    },
    {
      invariant: 'I2',
      when: 'two rollouts move one workload at once',
      given: log()
        .created('web-1', OLD, NEW)
        .recorded('web-1', OLD, NEW, claimed)
        .created('api-1', OLD, NEXT)
        .recorded('api-1', OLD, NEXT, claimed)
        .wrote(NEXT, 'api-1'),
    },
    {
      invariant: 'I3',
      when: 'what was undone is written again',
      given: log().undone('web-1', OLD, NEW).rolled('web-2', OLD, NEW),
    },
    {
      invariant: 'I4',
      when: 'automation goes down',
      given: log().rolled('web-1', OLD, NEXT).rolled('web-2', NEXT, NEW),
    },
    { invariant: 'I5', when: 'an image is written without a rollout', given: log().wrote(NEW, 'web-1') },
    {
      invariant: 'I5',
      when: 'another image is written than is on record',
      given: log().created('web-1', OLD, NEW).recorded('web-1', OLD, NEW, claimed).wrote(NEXT, 'web-1'),
    },
    {
      invariant: 'I5',
      when: 'it is set back before the failure is on record',
      given: log()
        .created('web-1', OLD, NEW)
        .recorded('web-1', OLD, NEW, claimed)
        .wrote(NEW, 'web-1')
        .wrote(OLD, 'web-1'),
    },
    {
      invariant: 'I6',
      when: 'a failure on record has no end',
      given: log()
        .created('web-1', OLD, NEW)
        .recorded('web-1', OLD, NEW, { state: 'RollingBack', claim: {}, failure: { class: 'Image' } }),
    },
    {
      invariant: 'I7',
      when: 'a finished rollout is changed',
      given: log().rolled('web-1', OLD, NEW).recorded('web-1', OLD, NEW, { state: 'Held', claim: {} }),
    },
    {
      invariant: 'I7',
      when: 'a rollout is created twice',
      given: log().created('web-1', OLD, NEW).created('web-1', OLD, NEXT),
    },
    {
      invariant: 'I8',
      when: 'something else is written',
      given: log().wrote(OLD, 'web-1', [{ op: 'replace', path: '/spec/replicas', value: 3 }]),
    },
    { invariant: 'I12', when: 'a secret is written', given: log().leaked('hunter2') },
  ])('catches $invariant when $when', ({ invariant, given }) => {
    const found = findViolations(given.events, { secrets: ['hunter2'] });

    expect(found.map((violation) => violation.invariant)).toContain(invariant);
  });

  it.each<{ when: string; more: Partial<RegistryRequest>; want: readonly Invariant[] }>([
    { when: 'had shown', more: {}, want: [] },
    { when: 'had not found', more: { status: 404 }, want: ['I4'] },
    { when: 'has shown since', more: { timeMs: Date.UTC(2026, 0, 6) }, want: ['I4'] },
    { when: 'had shown to somebody else', more: { userAgent: 'containerd/2' }, want: ['I4'] },
  ])('knows what the registry $when', ({ more, want }) => {
    const request: RegistryRequest = {
      method: 'HEAD',
      path: '/v2/acme/web/manifests/1.1.0',
      status: 200,
      userAgent: 'slipway/1.0.0',
      timeMs: Date.UTC(2026, 0, 5),
      ...more,
    };
    const registry = { host: 'ghcr.io', requests: [request] };

    const found = findViolations(log().rolled('web-1', OLD, NEW).events, { registry });

    expect(found.map(({ invariant }) => invariant)).toEqual(want);
  });

  it('looks only where it is told to', () => {
    expect(findViolations(log().wrote(NEW, 'web-1').events, { namespaces: ['elsewhere'] })).toEqual([]);
  });

  it('knows every invariant that it names', () => {
    expect(Object.keys(INVARIANTS).sort()).toEqual(['I1', 'I12', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8']);
  });
});
