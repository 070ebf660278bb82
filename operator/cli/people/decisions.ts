// `approve`, `reject`, `release`, `resume`, `retry`, `suspend`: decisions of a person, made as ImageDecisions in their name,
// and the switch that stops everything.

import type { Command } from 'commander';
import { isConditionTrue } from '../../api/conditions.ts';
import type { Decision } from '../../api/image-decision.ts';
import type { ImagePolicy } from '../../api/kinds.ts';
import { isLive } from '../../rollout/quarantine.ts';
import { systemClock } from '../../time/clock.ts';
import { UsageError, type CliContext } from '../context.ts';
import { nameImage, resolveReference, wholeOf, type KnownImage } from './references.ts';
import {
  clusterCommand,
  obstaclesOf,
  orExplain,
  patchSpec,
  withPolicy,
  type ClusterOptions,
  type PolicySession,
} from './session.ts';

interface DecisionOptions extends ClusterOptions {
  readonly reason?: string;
  readonly expires?: string;
}

const RIGHT = 'the verbs create on imagedecisions.slipway.dev and approve on imagepolicies.slipway.dev';

/** Makes an ImageDecision in the caller's own name. */
async function decide(
  { cluster, policy }: PolicySession,
  decision: Decision,
  more: { readonly digest?: string; readonly reason?: string; readonly expirationTime?: string },
  index = 0,
): Promise<string> {
  const { decisionResource } = await import('../explain/cluster.ts');
  const by = await whoAmI(cluster.client);
  const { name, namespace = '' } = policy.metadata;
  const suffix = `${systemClock.now().toString(36)}${index === 0 ? '' : `-${index}`}`;
  const created = await orExplain(`${decision} for ${name}`, RIGHT, () =>
    cluster.client.create(decisionResource, namespace, {
      metadata: { name: `${name}-${decision.toLowerCase()}-${suffix}` },
      spec: { policy: name, decision, by, ...more },
    }),
  );
  return created.metadata.name;
}

async function whoAmI(client: PolicySession['cluster']['client']): Promise<string> {
  const answer = (await client.raw({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    doing: 'Asking who you are',
  })) as { readonly status?: { readonly userInfo?: { readonly username?: string } } };
  const username = answer.status?.userInfo?.username;
  if (username === undefined) throw new UsageError('the API server does not say who you are (kubectl auth whoami)');
  return username;
}

/** What a person means who names no image: where one is pinned and waits, that one. */
function candidateOf({ metadata, spec, status }: ImagePolicy): KnownImage {
  const pinned = spec.pin === undefined ? undefined : status?.pin;
  if (pinned?.digest !== undefined)
    return { ...(pinned.tag !== undefined && { tag: pinned.tag }), digest: pinned.digest };
  const { tag, digest } = status?.candidate ?? {};
  if (digest !== undefined) return { ...(tag !== undefined && { tag }), digest };
  throw new UsageError(`${metadata.name} has no candidate now: say which image you mean, by tag or digest`);
}

export function approveCommand(context: CliContext): Command {
  return clusterCommand('approve')
    .summary('approve the candidate, by its digest')
    .description(
      'Approves one digest of an ImagePolicy, in your name. Another push of the same tag needs another approval.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .argument('[image]', 'a tag or a digest; default: the candidate')
    .option('--reason <text>', 'why')
    .option('--expires <time>', 'when the approval ends, for example 2026-12-31T00:00:00Z; default: as the policy says')
    .addHelpText(
      'after',
      '\nExamples:\n  slipway approve web -n shop\n  slipway approve web v1.4.2 -n shop --reason "tested on staging"',
    )
    .action((name: string, reference: string | undefined, { reason, expires, ...options }: DecisionOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, rollouts, say } = session;
        const image = reference === undefined ? candidateOf(policy) : resolveReference(reference, policy, rollouts);
        const made: string[] = [];
        for (const [index, digest] of wholeOf(image, policy, rollouts).entries()) {
          const more = {
            digest,
            ...(reason !== undefined && { reason }),
            ...(expires !== undefined && { expirationTime: expires }),
          };
          made.push(await decide(session, 'Approve', more, index));
        }
        await say(`Approved ${nameImage(image)} for ${policy.metadata.name} (${made.join(', ')}).`);
        if (policy.spec.gates?.approval === undefined)
          await say(
            'The policy itself asks for no approval; the approval lets this image stand in for a newer one that waits.',
          );
      }),
    );
}

export function rejectCommand(context: CliContext): Command {
  return clusterCommand('reject')
    .summary('reject an image; if it runs, it goes back')
    .description(
      'Rejects one digest of an ImagePolicy, in your name. A candidate is passed over; what runs goes back to the last good image.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .argument('[image]', 'a tag or a digest; default: the candidate')
    .option('--reason <text>', 'why')
    .addHelpText(
      'after',
      '\nExamples:\n  slipway reject web v1.4.2 -n shop --reason "wrong prices"\n  slipway release web v1.4.2 -n shop       if you change your mind',
    )
    .action((name: string, reference: string | undefined, { reason, ...options }: DecisionOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, rollouts, say } = session;
        const image = reference === undefined ? candidateOf(policy) : resolveReference(reference, policy, rollouts);
        const made = await decide(session, 'Reject', { digest: image.digest, ...(reason !== undefined && { reason }) });
        await say(
          `Rejected ${nameImage(image)} for ${policy.metadata.name} (${made}). It never rolls out again by itself.`,
        );
        const isRunning = policy.status?.current?.images[0]?.digest === image.digest;
        for (const obstacle of isRunning ? obstaclesOf(policy) : []) await say(obstacle);
      }),
    );
}

export function releaseCommand(context: CliContext): Command {
  return clusterCommand('release')
    .summary('let an image out of quarantine for one more attempt')
    .description(
      'Lifts the quarantine or the rejection of one digest of an ImagePolicy, in your name, for one more attempt.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .argument('[image]', 'a tag or a digest; default: what is in quarantine, when that is one image')
    .option('--reason <text>', 'why')
    .addHelpText('after', '\nExamples:\n  slipway release web v1.2.0 -n shop --reason "the database is back"')
    .action((name: string, reference: string | undefined, { reason, ...options }: DecisionOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, rollouts, say } = session;
        const image = reference === undefined ? onlyHeld(policy) : resolveReference(reference, policy, rollouts);
        const made = await decide(session, 'Release', {
          digest: image.digest,
          ...(reason !== undefined && { reason }),
        });
        await say(`Released ${nameImage(image)} for ${policy.metadata.name} (${made}): it may be tried once more.`);
      }),
    );
}

function heldImages({ status }: ImagePolicy): KnownImage[] {
  return (status?.quarantine ?? []).filter(isLive).flatMap(({ tag, images }) => {
    const digest = images[0]?.digests[0];
    return digest === undefined ? [] : [{ ...(tag !== undefined && { tag }), digest }];
  });
}

function onlyHeld(policy: ImagePolicy): KnownImage {
  const held = heldImages(policy);
  const [first] = held;
  if (first === undefined) throw new UsageError(`nothing of ${policy.metadata.name} is in quarantine`);
  if (held.length > 1)
    throw new UsageError(`several images are in quarantine, so say which: ${held.map(nameImage).join(', ')}`);
  return first;
}

function isHeldOrFrozen({ status }: ImagePolicy): boolean {
  return isConditionTrue(status?.conditions, 'ManualHold') || isConditionTrue(status?.conditions, 'Frozen');
}

export function suspendCommand(context: CliContext): Command {
  return clusterCommand('suspend')
    .summary('stop everything where it is')
    .description('Sets spec.suspend of an ImagePolicy: nothing is started, and an open rollout pauses where it is.')
    .argument('<policy>', 'name of the ImagePolicy')
    .addHelpText('after', '\nExamples:\n  slipway suspend web -n shop')
    .action((name: string, options: ClusterOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, say } = session;
        if (policy.spec.suspend) return say(`${policy.metadata.name} is suspended already.`);
        await patchSpec(session, `Suspending ${policy.metadata.name}`, 'the verb patch on imagepolicies.slipway.dev', {
          suspend: true,
        });
        return say(
          `Suspended ${policy.metadata.name}. It goes on with: slipway resume ${policy.metadata.name} -n ${policy.metadata.namespace ?? ''}`,
        );
      }),
    );
}

export function resumeCommand(context: CliContext): Command {
  return clusterCommand('resume')
    .summary('go on after a suspension, a hold or a freeze')
    .description(
      'Clears spec.suspend, and ends a hold (somebody else changed an image; it is accepted as it is) or a freeze (a rollout ended badly), in your name.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .option('--reason <text>', 'why')
    .addHelpText('after', '\nExamples:\n  slipway resume web -n shop')
    .action((name: string, { reason, ...options }: DecisionOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, say } = session;
        const isHeld = isHeldOrFrozen(policy);
        if (!policy.spec.suspend && !isHeld)
          return say(`${policy.metadata.name} is not suspended, held or frozen: nothing to do.`);
        if (policy.spec.suspend) {
          await patchSpec(session, `Resuming ${policy.metadata.name}`, 'the verb patch on imagepolicies.slipway.dev', {
            suspend: false,
          });
          await say(`${policy.metadata.name} is no longer suspended.`);
        }
        if (!isHeld) return;
        const made = await decide(session, 'Resume', reason === undefined ? {} : { reason });
        await say(
          `Ended the hold of ${policy.metadata.name} (${made}): what runs is accepted, and automation goes on.`,
        );
      }),
    );
}

export function retryCommand(context: CliContext): Command {
  return clusterCommand('retry')
    .summary('try once more what failed')
    .description(
      'Releases what is in quarantine, or resumes a policy that is held or frozen, whichever keeps it from moving.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .option('--reason <text>', 'why')
    .addHelpText('after', '\nExamples:\n  slipway retry web -n shop')
    .action((name: string, { reason, ...options }: DecisionOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, say } = session;
        const why = reason === undefined ? {} : { reason };
        let isAnything = false;
        const candidate = policy.status?.candidate;
        const isHeldBack =
          candidate?.waitingFor?.some(({ gate }) => ['quarantine', 'rejection', 'retry'].includes(gate)) === true;
        if (isHeldBack && candidate.digest !== undefined) {
          isAnything = true;
          const made = await decide(session, 'Release', { digest: candidate.digest, ...why });
          await say(`Released ${candidate.tag ?? candidate.digest} for one more attempt (${made}).`);
        }
        if (isHeldOrFrozen(policy)) {
          isAnything = true;
          const made = await decide(session, 'Resume', why);
          await say(`Ended the hold of ${policy.metadata.name} (${made}).`);
        }
        if (!isAnything)
          await say(`Nothing keeps ${policy.metadata.name} from moving that a retry could end: see slipway explain.`);
      }),
    );
}
