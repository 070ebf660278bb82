// `slipway explain`: what a policy does, what it waits for and why, read from the cluster with the rights of whoever asks.
// Everything that talks to a cluster or a registry is loaded only when the command runs.

import { Command, Option } from 'commander';
import { systemClock } from '../time/clock.ts';
import { buildInfo } from '../version.ts';
import { print, type CliContext } from './context.ts';

interface ExplainOptions {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly output: 'table' | 'json';
  readonly live: boolean;
  readonly insecureRegistry: boolean;
}

const HELP = `
Shows the state of an ImagePolicy in one page: what runs and since when, the candidate with
every gate, why the other tags were passed over, the rollout under way, the last ones, and what
happens next. Nothing is written. You need to be able to read imagepolicies and imagerollouts;
what else you may not read is left out, with a sentence.

--live lists the tags now, from this machine, with the pull secrets and certificates of the
policy (you must be able to read them), and gives every single tag its reason. Without it the
answer is what the operator found last: counts, and at most 20 examples. The operator's own
settings for a registry (mirror, certificates, token hosts) are not known here.

-o json prints one object: policy, ready (null before the operator's first look), conditions,
current, selected, targets, candidate (with gates), tags, rollout (the one under way),
lastRollouts, next (sentences) and notes (sentences). What there is none of is null or empty.

Exit code: 0 explained (whatever the state is), 2 not: no such policy, no rights, no cluster.

Examples:
  slipway explain web -n shop
  slipway explain web -n shop --live
  kubectl slipway explain web -n shop -o json`;

export function explainCommand(context: CliContext): Command {
  return new Command('explain')
    .summary('show what a policy does, what it waits for, and why')
    .description('Shows what an ImagePolicy in the cluster does, what it waits for, and why.')
    .argument('<policy>', 'name of the ImagePolicy')
    .option('-n, --namespace <namespace>', "its namespace; default: that of the kubeconfig's context")
    .option('--kubeconfig <file>', 'default: $KUBECONFIG, then ~/.kube/config')
    .option('--context <name>', 'a context of the kubeconfig; default: the current one')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(['table', 'json']).default('table'))
    .option('--live', 'list the tags now and give every one of them its reason', false)
    .option('--insecure-registry', 'with --live: plain HTTP, or HTTPS without verification, is fine', false)
    .addHelpText('after', HELP)
    .action(async (policy: string, options: ExplainOptions) => {
      const [{ openCluster }, { readSituation }, { explainSituation }, { formatExplanation }] = await Promise.all([
        import('./explain/cluster.ts'),
        import('./explain/situation.ts'),
        import('./explain/explanation.ts'),
        import('./explain/format.ts'),
      ]);
      const userAgent = `slipway-cli/${buildInfo.version}`;
      const cluster = await openCluster({ ...options, userAgent });
      try {
        const situation = await readSituation(cluster, policy, systemClock.now());
        const live = options.live
          ? await (
              await import('./explain/live-tags.ts')
            ).readLiveTags(situation.policy, {
              cluster: cluster.client,
              clock: systemClock,
              random: Math.random,
              userAgent,
              isInsecure: options.insecureRegistry,
            })
          : undefined;
        const explanation = explainSituation({ ...situation, ...(live !== undefined && { live }) });
        const lines =
          options.output === 'json' ? [JSON.stringify(explanation, null, 2)] : formatExplanation(explanation);
        for (const line of lines) await print(context.stdout, line);
      } finally {
        await cluster.close();
      }
    });
}
