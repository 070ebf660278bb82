// What happens next with a policy, and what a person can do about it: one piece of advice per reason that Ready can give.
// docs/how-to/troubleshoot.md says the same at length.

import { findCondition } from '../../api/conditions.ts';
import { isFinished } from '../../rollout/verdict.ts';
import { formatDurationMs, parseDurationMs, parseTimestampMs } from '../../time/duration.ts';
import type { Situation } from './situation.ts';

/** How to find out whether an operator is at work, for whoever may read Leases. */
const LEASE_CHECK = 'kubectl get leases -A --field-selector metadata.name=slipway-operator';

const CHECK_LOGIN =
  'Check the login: registry.imagePullSecrets must name a Secret whose entry has the host of the image, port included. It is read again within a minute.';
const CHECK_SPEC = 'Correct the spec; nothing is read or moved until then.';
const RETRIED = 'Nothing is moved meanwhile; the registry is asked again by itself.';

/** By reason of Ready. A reason without an entry needs no advice beyond its own message. */
export const ADVICE: Readonly<Record<string, string>> = {
  // A normal day.
  UpToDate: '',
  Selected: 'Another tool writes status.selected where it belongs; the policy itself moves nothing.',
  RollingOut: 'The workloads are followed until they are healthy or their deadline passes.',
  Listing: 'The answer of the registry is awaited.',
  Resolving: 'The answer of the registry is awaited.',
  Waiting: 'The candidate moves as soon as every gate is open.',
  Suspended: 'Set spec.suspend to false to go on (slipway resume).',
  RollingBack: 'The workloads are followed until they are healthy with the image before.',
  Pinned: 'Automation goes on when the pin is removed: slipway unpin.',

  // About the candidate.
  CandidateRejected: 'A better tag moves as soon as one is pushed; slipway release lets this one try once more.',
  CandidateUnreadable: RETRIED,
  NoTagQualifies: 'Push a tag that qualifies, or change spec.tags: the reasons above say what each tag lacks.',
  Frozen: 'Nothing moves until a person decides: slipway resume, or slipway pin.',
  RollbackBlocked: 'Pin an image that works: slipway pin.',
  PinUnresolved: 'Pin an image that is there, or remove the pin: slipway unpin.',
  QuarantineFull: 'Release what may be tried again: slipway release.',

  // About the targets.
  ManagedByGitOps:
    'Nothing is written before somebody consents: give up the image field in that tool, then set rollout.onForeignChange (Hold or Reassert).',
  ManualHold:
    'Set the image back, or accept it with slipway resume; rollout.onForeignChange Reassert rolls over such changes.',
  TargetNotFound: 'Create the workload, or correct spec.targets; it is noticed at once.',
  NoMatchingContainer: 'Give a container an image of the repository, or correct spec.targets; it is noticed at once.',
  UnknownTargetKind: "Correct the kind, or add it to workloadKinds of the operator's configuration.",
  TargetKindUnavailable: 'Install the CRD of the kind; it is noticed within a minute.',
  TargetConflict: 'Let one policy have the container: narrow targets[].containers, or delete one of the policies.',
  TooManyTargets: 'Narrow the selectors, or split the policy.',

  // About the login.
  AccessForbidden: "Give the operator's service account the right that the message names; the chart does by default.",
  RunningImageUnknown: 'Push the running tag again, or pin the workload to a digest, so that its age is known.',
  PullSecretNotFound:
    'Create the Secret, or correct registry.imagePullSecrets; it is looked for again within a minute.',
  InvalidPullSecret: 'Write the Secret again with kubectl create secret docker-registry.',
  ServiceAccountNotFound: 'Create the ServiceAccount, or correct registry.serviceAccountName.',
  CaBundleNotFound: 'Create the object with the key, or correct registry.caBundleRef.',
  InvalidCaBundle: 'Put PEM certificates under the key that registry.caBundleRef names.',
  Unauthorized: CHECK_LOGIN,
  Forbidden: CHECK_LOGIN,
  RepositoryNotFound:
    'Check spec.image, and the login: many registries say "not found" for what a login may not see. The image of a policy cannot be changed: create another policy.',

  // About the registry.
  ManifestNotFound: RETRIED,
  RateLimited: `${RETRIED} A login, a longer interval or a mirror gives more room.`,
  Unavailable: RETRIED,
  InvalidResponse: RETRIED,
  TagListEmpty: RETRIED,
  TagListTruncated: 'The list of tags is longer than can be read: clean up old tags, or follow one tag (fixed).',
  BlockedAddress:
    "Hosts with private addresses need allowPrivate in the operator's configuration (config.registries in the chart).",
  RedirectRefused: 'The registry redirects to where it must not: tell its administrator.',
  TokenHostRefused:
    "Allow the token server with tokenHosts in the operator's configuration, if it belongs to the registry.",
  UntrustedCertificate: 'Give the authority of the certificate with registry.caBundleRef.',

  // About the spec.
  InvalidSpec: CHECK_SPEC,
  InvalidImage: CHECK_SPEC,
  InvalidOrder: CHECK_SPEC,
  InvalidFilter: CHECK_SPEC,
  InvalidFixedTag: CHECK_SPEC,
  InvalidWindow: CHECK_SPEC,
  InvalidExtract: CHECK_SPEC,
  InvalidExclude: CHECK_SPEC,
  InvalidRange: CHECK_SPEC,
  InvalidVariant: CHECK_SPEC,
  InvalidPlatform: CHECK_SPEC,
  InvalidMinimumAge: CHECK_SPEC,
  InvalidDigestRule: CHECK_SPEC,
  InvalidDowngradeRule: CHECK_SPEC,
  InvalidDirection: CHECK_SPEC,
};

/** Sentences, the most important first. Never empty. */
export function foretell(situation: Situation): string[] {
  const { policy, rollouts, nowMs } = situation;
  const { spec, status, metadata } = policy;
  const ready = findCondition(status?.conditions, 'Ready');
  if (metadata.deletionTimestamp !== undefined) {
    return ['The policy is being deleted. Its rollouts go with it; the workloads stay as they are.'];
  }
  if (ready === undefined) {
    return [
      `Slipway has not looked at this policy yet. If that lasts more than a minute, see whether an operator is at work and serves this namespace: ${LEASE_CHECK}`,
    ];
  }
  const sentences: string[] = [];
  if (status?.observedGeneration !== metadata.generation) {
    sentences.push(
      `The spec was edited and Slipway has not looked at it since; everything here is about the one before. If that lasts, see whether an operator is at work: ${LEASE_CHECK}`,
    );
  }
  const open = rollouts.find((rollout) => !isFinished(rollout.status));
  const deadlineMs = parseTimestampMs(open?.status?.deadlineTime);
  if (open !== undefined && deadlineMs !== undefined && !spec.suspend) {
    sentences.push(
      `${open.metadata.name} ends when every workload is healthy, or ${inTime(deadlineMs, nowMs)} (${open.status?.deadlineTime ?? ''}), whichever comes first.`,
    );
  }
  const advice = ADVICE[ready.reason];
  if (advice !== undefined && advice !== '' && !(open !== undefined && ready.reason === 'RollingOut'))
    sentences.push(advice);
  if (spec.suspend && ready.reason !== 'Suspended') sentences.push(ADVICE['Suspended'] ?? '');
  const ripe = nextRipeTag(situation);
  if (ripe !== undefined) sentences.push(ripe);
  const isStalledBySpec =
    ready.reason.startsWith('Invalid') && findCondition(status?.conditions, 'Stalled') !== undefined;
  if (!isStalledBySpec) {
    sentences.push(`The registry is asked every ${spec.interval}, so a push is noticed within that time.`);
  }
  return sentences;
}

/** The first tag that becomes old enough, where there is a minimum age. */
function nextRipeTag({ policy, nowMs }: Situation): string | undefined {
  const { minimumAge } = policy.spec.tags;
  if (minimumAge === undefined) return undefined;
  const ageMs = parseDurationMs(minimumAge);
  const [first] = (policy.status?.seen ?? [])
    .map(({ tag, firstSeenTime }) => ({ tag, ripeMs: (parseTimestampMs(firstSeenTime) ?? NaN) + ageMs }))
    .filter(({ ripeMs }) => ripeMs > nowMs)
    .sort((a, b) => a.ripeMs - b.ripeMs);
  if (first === undefined) return undefined;
  return `${first.tag} is old enough ${inTime(first.ripeMs, nowMs)} (minimumAge ${minimumAge}), unless it is pushed again.`;
}

function inTime(timeMs: number, nowMs: number): string {
  return timeMs <= nowMs ? 'at any moment' : `in ${formatDurationMs(timeMs - nowMs)}`;
}
