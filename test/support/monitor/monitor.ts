// An independent witness: reads the API server's audit log and the registry's access log, and says which promises were
// broken. It shares no code with the operator and believes none of its records: what an image was, who changed it and when
// is taken from the requests themselves.

import type { AuditEvent } from '../control-plane.ts';
import type { RegistryRequest } from '../registries.ts';

/** Bodies of what the monitor judges, names of everything else. */
export const MONITOR_AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    {
      level: 'RequestResponse',
      verbs: ['create', 'update', 'patch', 'delete'],
      resources: [{ group: 'apps' }, { group: 'batch' }, { group: 'slipway.dev' }],
    },
    { level: 'Metadata' },
  ],
};

export const INVARIANTS = {
  I1: 'what needs approval was approved before it was written',
  I2: 'one rollout at a time moves a workload, and every image write belongs to it',
  I3: 'what was undone does not come back by itself',
  I4: 'no downgrade that nobody asked for, and nothing that the registry has not shown',
  I5: 'every image write was on record before it happened',
  I6: 'a failure on record comes to its end',
  I7: 'history only grows',
  I8: 'nothing but images and one annotation is written',
  I12: 'no secret is written anywhere',
} as const;
export type Invariant = keyof typeof INVARIANTS;

export interface Violation {
  readonly invariant: Invariant;
  readonly message: string;
  readonly auditID?: string;
}

export interface MonitorOptions {
  /** Only these namespaces; absent: all. */
  readonly namespaces?: readonly string[];
  /** Values that must appear in no request or answer. */
  readonly secrets?: readonly string[];
  /** The registry that the images of `host` come from. Absent: it is not asked. */
  readonly registry?: { readonly host: string; readonly requests: readonly RegistryRequest[] };
  /** Nothing is under way any more: what is unfinished now stays so. Default: true. */
  readonly isOver?: boolean;
}

const WORKLOADS = new Set(['deployments', 'statefulsets', 'daemonsets', 'cronjobs']);
const WRITES = new Set(['create', 'update', 'patch', 'delete']);
const FINISHED = new Set(['Succeeded', 'RolledBack', 'RollbackFailed', 'Held', 'Aborted']);
const ANNOTATION = 'slipway.dev/rollout';
const ANNOTATION_PATH = '/metadata/annotations/slipway.dev~1rollout';
/** Rollouts that people asked for may go down. */
const PERSONAL = new Set(['Pin', 'Unpin', 'Reject', 'Release', 'Reassert']);
const MAX_ATTEMPTS = 3;

// Requests and answers as JSON; the monitor reads what it needs and trusts no shape.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any;

interface Moved {
  readonly from: string;
  readonly to: string;
  readonly isBack: boolean;
  readonly acts: number;
  readonly trigger: string;
}

/** What a generation of a policy asks for. */
interface Demand {
  readonly approval: Approvals | undefined;
  readonly mayGoDown: boolean;
}

interface Approvals {
  readonly required: number;
  readonly validForMs: number;
}

interface Approval {
  readonly policy: string;
  readonly digest: string;
  readonly by: string;
  readonly timeMs: number;
}

interface Rollout {
  readonly name: string;
  readonly createdMs: number;
  readonly spec: Json;
  state: string;
  isClaimed: boolean;
  failure: Json;
  finished: string | undefined;
}

/** The violations in this log, in its order. */
export function findViolations(events: readonly AuditEvent[], options: MonitorOptions = {}): Violation[] {
  const witness = new Witness(options);
  for (const event of [...events].sort((a, b) => (a.stageTimestamp < b.stageTimestamp ? -1 : 1))) witness.see(event);
  return witness.conclude();
}

class Witness {
  readonly #options: MonitorOptions;
  readonly #violations: Violation[] = [];
  /** `namespace/resource/name` → container → image. */
  readonly #images = new Map<string, Map<string, string>>();
  readonly #rollouts = new Map<string, Rollout>();
  /** What was written to a container of a workload, by its uid. */
  readonly #moves = new Map<string, Moved[]>();
  /** How often people have acted in a namespace. */
  readonly #acts = new Map<string, number>();
  /** By `namespace/name/generation` of the policy. */
  readonly #demands = new Map<string, Demand>();
  /** By namespace. */
  readonly #approvals = new Map<string, Approval[]>();

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  see(event: AuditEvent): void {
    const { verb, objectRef, responseStatus } = event;
    const namespace = objectRef?.namespace ?? '';
    if (this.#options.namespaces?.includes(namespace) === false) return;
    this.#lookForSecrets(event);
    if (!WRITES.has(verb) || (responseStatus?.code ?? 500) >= 300) return;
    const resource = objectRef?.resource ?? '';
    if (WORKLOADS.has(resource) && objectRef?.subresource === undefined) this.#seeWorkload(event);
    if (objectRef?.apiGroup !== 'slipway.dev') return;
    if (resource === 'imagepolicies') this.#seePolicy(event);
    if (resource === 'imagedecisions') this.#seeDecision(event);
    if (resource === 'imagerollouts') this.#seeRollout(event);
    else if (!isSlipway(event)) this.#acts.set(namespace, (this.#acts.get(namespace) ?? 0) + 1);
  }

  conclude(): Violation[] {
    if (this.#options.isOver === false) return this.#violations;
    for (const { name, failure, finished, state } of this.#rollouts.values()) {
      if (failure !== undefined && finished === undefined)
        this.#report('I6', `${name} has failed on record and is still ${state}`);
    }
    return this.#violations;
  }

  #report(invariant: Invariant, message: string, event?: AuditEvent): void {
    this.#violations.push({ invariant, message, ...(event !== undefined && { auditID: event.auditID }) });
  }

  #lookForSecrets(event: AuditEvent): void {
    const { secrets = [] } = this.#options;
    if (secrets.length === 0 || !isSlipway(event)) return;
    const text = JSON.stringify([event.requestObject, event.responseObject, event.requestURI]);
    for (const secret of secrets) {
      if (text.includes(secret)) this.#report('I12', `${event.verb} ${event.requestURI} carries a secret`, event);
    }
  }

  #seeWorkload(event: AuditEvent): void {
    const { objectRef, responseObject, verb } = event;
    const name = objectRef?.name ?? (responseObject as Json)?.metadata?.name ?? '';
    const key = `${objectRef?.namespace ?? ''}/${objectRef?.resource ?? ''}/${name}`;
    if (verb === 'delete') {
      this.#images.delete(key);
      return;
    }
    const object = responseObject as Json;
    const before = this.#images.get(key) ?? new Map<string, string>();
    const after = imagesOf(object);
    this.#images.set(key, after);
    if (!isSlipway(event)) return;
    this.#checkScope(event, key);
    const uid: string = object?.metadata?.uid ?? '';
    for (const [container, to] of after) {
      const from = before.get(container);
      if (from === undefined || from === to) continue;
      this.#seeImageWrite(event, { key, uid, container, from, to, mark: object?.metadata?.annotations?.[ANNOTATION] });
    }
  }

  #checkScope(event: AuditEvent, key: string): void {
    const operations = event.requestObject as Json;
    if (event.verb !== 'patch' || !Array.isArray(operations)) {
      this.#report('I8', `${event.verb} of ${key} is no JSON patch`, event);
      return;
    }
    for (const { op, path, value } of operations) {
      const isTest = op === 'test';
      const isImage = op === 'replace' && /\/(?:initContainers|containers)\/[0-9]+\/image$/.test(path);
      const isMark =
        path === ANNOTATION_PATH ||
        (path === '/metadata/annotations' && op === 'add' && Object.keys(value).join() === ANNOTATION);
      if (!isTest && !isImage && !isMark) this.#report('I8', `${op} ${path} of ${key}`, event);
    }
  }

  #seeImageWrite(
    event: AuditEvent,
    write: { key: string; uid: string; container: string; from: string; to: string; mark: string | undefined },
  ): void {
    const { key, uid, container, from, to, mark } = write;
    const namespace = event.objectRef?.namespace ?? '';
    const rollout = this.#rollouts.get(`${namespace}/${mark ?? ''}`);
    if (rollout === undefined) {
      this.#report('I5', `${key} was set to ${to} without a rollout on record`, event);
      return;
    }
    const target = rollout.spec.targets.find((it: Json) => it.uid === uid);
    const change = target?.containers.find((it: Json) => it.name === container);
    const isForward = change?.from === from && change.to === to;
    const isBack = change?.to === from && (change.back === to || change.lastGood === to);
    if (!isForward && !isBack)
      this.#report('I5', `${rollout.name} does not say that ${key} goes from ${from} to ${to}`, event);
    if (isBack && rollout.failure === undefined)
      this.#report('I5', `${rollout.name} set ${key} back before its failure was on record`, event);
    if (!rollout.isClaimed || rollout.finished !== undefined)
      this.#report('I2', `${rollout.name} wrote ${key} outside of its time`, event);
    for (const other of this.#rollouts.values()) {
      const isRival = other !== rollout && other.isClaimed && other.finished === undefined;
      if (isRival && other.spec.targets.some((it: Json) => it.uid === uid))
        this.#report('I2', `${rollout.name} wrote ${key} while ${other.name} was moving it`, event);
    }
    this.#judgeMove(event, `${uid}/${container}`, rollout, {
      from,
      to,
      isBack,
      acts: this.#acts.get(namespace) ?? 0,
      trigger: rollout.spec.trigger,
    });
  }

  #seePolicy({ objectRef, responseObject }: AuditEvent): void {
    const { metadata, spec } = (responseObject ?? {}) as Json;
    const approval = spec?.gates?.approval;
    this.#demands.set(`${objectRef?.namespace ?? ''}/${metadata?.name ?? ''}/${metadata?.generation ?? ''}`, {
      approval: approval && { required: approval.required, validForMs: durationMs(approval.validFor ?? '168h') },
      mayGoDown: spec?.tags?.downgrade === 'Allowed',
    });
  }

  #seeDecision({ verb, objectRef, responseObject, stageTimestamp }: AuditEvent): void {
    const { spec } = (responseObject ?? {}) as Json;
    if (verb !== 'create' || spec?.decision !== 'Approve') return;
    const namespace = objectRef?.namespace ?? '';
    const { policy, digest, by } = spec;
    const given = this.#approvals.get(namespace) ?? [];
    this.#approvals.set(namespace, [...given, { policy, digest, by, timeMs: Date.parse(stageTimestamp) }]);
  }

  #demandOf({ spec }: Rollout, namespace: string): Demand | undefined {
    return this.#demands.get(`${namespace}/${spec.policy?.name}/${spec.policy?.generation}`);
  }

  #judgeApproval(event: AuditEvent, rollout: Rollout): void {
    const { name, spec, createdMs } = rollout;
    const namespace = event.objectRef?.namespace ?? '';
    const demand = this.#demandOf(rollout, namespace)?.approval;
    const isAsked = PERSONAL.has(spec.trigger) || spec.direction === 'Back' || spec.trigger === 'Retry';
    if (demand === undefined || isAsked) return;
    const digest = spec.images?.[0]?.digest;
    const valid = (this.#approvals.get(namespace) ?? []).filter(
      (given) =>
        given.policy === spec.policy?.name &&
        given.digest === digest &&
        given.timeMs <= createdMs &&
        createdMs - given.timeMs <= demand.validForMs,
    );
    const people = new Set(valid.map(({ by }) => by)).size;
    if (people < demand.required)
      this.#report('I1', `${name} brought ${digest} with ${people} of ${demand.required} approvals`, event);
  }

  /** The registry answered for the manifest before it was written. */
  #judgeSource(event: AuditEvent, to: string): void {
    const { registry } = this.#options;
    const [, host = '', repository = '', tag = '', digest = ''] =
      /^([^/]+)\/([^:@]+)(?::([^@]+))?(?:@(.+))?$/.exec(to) ?? [];
    if (host !== registry?.host) return;
    const manifests = [tag, digest].filter(Boolean).map((reference) => `/v2/${repository}/manifests/${reference}`);
    const untilMs = Date.parse(event.stageTimestamp);
    const isShown = registry.requests.some(
      ({ path, status, timeMs, userAgent }) =>
        userAgent.startsWith('slipway/') && status === 200 && timeMs <= untilMs && manifests.includes(path),
    );
    if (!isShown) this.#report('I4', `${to} was written, and the registry had not shown it`, event);
  }

  #judgeMove(event: AuditEvent, key: string, rollout: Rollout, move: Moved): void {
    const moves = this.#moves.get(key) ?? [];
    const digest = digestOf(move.to);
    if (!move.isBack) {
      this.#judgeApproval(event, rollout);
      this.#judgeSource(event, move.to);
      const undone = moves.findLast((earlier) => earlier.isBack && digestOf(earlier.from) === digest);
      const isRetry = rollout.spec.trigger === 'Retry' && rollout.spec.attempt <= MAX_ATTEMPTS;
      if (undone !== undefined && undone.acts === move.acts && !isRetry)
        this.#report('I3', `${rollout.name} wrote ${move.to} again, which had been undone`, event);
      const demand = this.#demandOf(rollout, event.objectRef?.namespace ?? '');
      const isAsked = PERSONAL.has(move.trigger) || rollout.spec.direction === 'Back' || demand?.mayGoDown === true;
      if (!isAsked && isLower(tagOf(move.to), tagOf(move.from)))
        this.#report('I4', `${rollout.name} went down from ${move.from} to ${move.to}`, event);
    }
    const same = moves.filter(
      (earlier) => earlier.isBack === move.isBack && earlier.to === move.to && earlier.acts === move.acts,
    );
    if (same.length >= MAX_ATTEMPTS) this.#report('I3', `${move.to} was written ${same.length + 1} times`, event);
    this.#moves.set(key, [...moves, move]);
  }

  #seeRollout(event: AuditEvent): void {
    const object = event.responseObject as Json;
    const name: string = event.objectRef?.name ?? object?.metadata?.name ?? '';
    const key = `${event.objectRef?.namespace ?? ''}/${name}`;
    const known = this.#rollouts.get(key);
    if (event.verb === 'delete') {
      if (known !== undefined && known.finished === undefined && isSlipway(event))
        this.#report('I7', `${name} was deleted before it had finished`, event);
      return;
    }
    if (event.verb === 'create') {
      if (known !== undefined) this.#report('I7', `${name} was created twice`, event);
      this.#rollouts.set(key, {
        name,
        createdMs: Date.parse(event.stageTimestamp),
        spec: object?.spec,
        state: 'Pending',
        isClaimed: false,
        failure: undefined,
        finished: undefined,
      });
      return;
    }
    if (known === undefined) return;
    const status = object?.status;
    const text = JSON.stringify(status);
    if (known.finished !== undefined && known.finished !== text)
      this.#report('I7', `${name} was changed after it had finished`, event);
    if (JSON.stringify(object?.spec) !== JSON.stringify(known.spec))
      this.#report('I7', `the spec of ${name} was changed`, event);
    known.state = status?.state ?? 'Pending';
    known.isClaimed ||= status?.claim !== undefined;
    known.failure ??= status?.failure;
    if (FINISHED.has(known.state)) known.finished ??= text;
  }
}

/** `1h30m`, `45s` */
function durationMs(text: string): number {
  const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000 };
  return [...text.matchAll(/([0-9]+)([hms])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0),
    0,
  );
}

function isSlipway({ userAgent }: AuditEvent): boolean {
  return userAgent?.startsWith('slipway/') === true;
}

function imagesOf(object: Json): Map<string, string> {
  const template = object?.spec?.jobTemplate?.spec?.template ?? object?.spec?.template;
  const all = [...(template?.spec?.initContainers ?? []), ...(template?.spec?.containers ?? [])];
  return new Map(all.map(({ name, image }: Json) => [String(name), String(image)]));
}

function digestOf(image: string): string {
  return image.includes('@') ? (image.split('@')[1] ?? '') : image;
}

function tagOf(image: string): string {
  return /:([^:/@]+)(?:@|$)/.exec(image)?.[1] ?? '';
}

/** By the numbers in a tag such as v1.2.3; tags without three are not compared. */
function isLower(a: string, b: string): boolean {
  const [left, right] = [a, b].map((tag) => /^v?([0-9]+)\.([0-9]+)\.([0-9]+)$/.exec(tag)?.slice(1).map(Number));
  if (left === undefined || right === undefined) return false;
  for (const [index, number] of left.entries()) {
    if (number !== right[index]) return number < (right[index] ?? 0);
  }
  return false;
}
