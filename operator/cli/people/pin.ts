// `rollback`, `pin`, `unpin`: a person chooses the image, and automation waits.

import type { Command } from 'commander';
import { UsageError, type CliContext } from '../context.ts';
import { nameImage, previousImage } from './references.ts';
import { clusterCommand, obstaclesOf, patchSpec, withPolicy, type ClusterOptions } from './session.ts';

const RIGHT = 'the verbs patch and pin on imagepolicies.slipway.dev';

interface PinOptions extends ClusterOptions {
  readonly to?: string;
  readonly tag?: string;
  readonly digest?: string;
  readonly reason?: string;
}

export function rollbackCommand(context: CliContext): Command {
  return clusterCommand('rollback')
    .summary('bring back an earlier image, and keep it')
    .description('Pins an ImagePolicy to an earlier image. The workloads go there, and stay until the pin is removed.')
    .argument('<policy>', 'name of the ImagePolicy')
    .option('--to <image>', 'a tag, a digest (sha256:…) or "previous": the image that ran before', 'previous')
    .option('--reason <text>', 'why; it is shown wherever the pin is')
    .addHelpText(
      'after',
      `
Examples:
  slipway rollback web -n shop
  slipway rollback web -n shop --to v1.4.2 --reason INC-42
  slipway unpin web -n shop            when automation may go on`,
    )
    .action((name: string, { to = 'previous', reason, ...options }: PinOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, rollouts, say } = session;
        const hasCompanions = (policy.spec.companions ?? []).length > 0;
        const image = to === 'previous' ? previousImage(policy, rollouts) : undefined;
        const isDigest = to.startsWith('sha256:');
        const digest = image?.digest ?? (isDigest ? to : undefined);
        if (hasCompanions && image?.tag === undefined && digest !== undefined)
          throw new UsageError('with companions a pin names a tag: say which, with --to <tag>');
        const pin =
          digest !== undefined && !hasCompanions ? { digest, tag: null } : { tag: image?.tag ?? to, digest: null };
        await patchSpec(session, `Rolling ${policy.metadata.name} back`, RIGHT, {
          pin: { ...pin, reason: reason ?? null },
        });
        const what = image === undefined ? to : nameImage(image);
        const obstacles = obstaclesOf(policy, true);
        const outcome = obstacles.length === 0 ? ' The workloads go there and stay.' : '';
        await say(`Pinned ${policy.metadata.name} to ${what}.${outcome}`);
        for (const obstacle of obstacles) await say(obstacle);
        await say(
          `Automation waits until: slipway unpin ${policy.metadata.name} -n ${policy.metadata.namespace ?? ''}`,
        );
      }),
    );
}

export function pinCommand(context: CliContext): Command {
  return clusterCommand('pin')
    .summary('hold one image until unpinned')
    .description('Sets spec.pin of an ImagePolicy: the workloads run that image, and automation waits.')
    .argument('<policy>', 'name of the ImagePolicy')
    .option('--tag <tag>', 'the tag; it is resolved to a digest once')
    .option('--digest <digest>', 'the digest')
    .option('--reason <text>', 'why; it is shown wherever the pin is')
    .addHelpText(
      'after',
      `
Examples:
  slipway pin web -n shop --tag v1.4.2 --reason "until the migration is done"
  slipway pin web -n shop --digest sha256:0123…`,
    )
    .action((name: string, { tag, digest, reason, ...options }: PinOptions) =>
      withPolicy(context, options, name, async (session) => {
        if ((tag === undefined) === (digest === undefined))
          throw new UsageError('say what to pin: either --tag or --digest');
        const { policy, say } = session;
        await patchSpec(session, `Pinning ${policy.metadata.name}`, RIGHT, {
          pin: { tag: tag ?? null, digest: digest ?? null, reason: reason ?? null },
        });
        await say(`Pinned ${policy.metadata.name} to ${tag ?? digest ?? ''}.`);
        for (const obstacle of obstaclesOf(policy, true)) await say(obstacle);
        await say(
          `Automation waits until: slipway unpin ${policy.metadata.name} -n ${policy.metadata.namespace ?? ''}`,
        );
      }),
    );
}

export function unpinCommand(context: CliContext): Command {
  return clusterCommand('unpin')
    .summary('remove the pin, so that automation goes on')
    .description('Removes spec.pin of an ImagePolicy: the best tag that qualifies rolls out again.')
    .argument('<policy>', 'name of the ImagePolicy')
    .addHelpText('after', '\nExamples:\n  slipway unpin web -n shop')
    .action((name: string, options: ClusterOptions) =>
      withPolicy(context, options, name, async (session) => {
        const { policy, say } = session;
        if (policy.spec.pin === undefined) return say(`${policy.metadata.name} is not pinned: nothing to do.`);
        await patchSpec(session, `Unpinning ${policy.metadata.name}`, 'the verb patch on imagepolicies.slipway.dev', {
          pin: null,
        });
        return say(`Unpinned ${policy.metadata.name}: the best tag that qualifies rolls out again.`);
      }),
    );
}
