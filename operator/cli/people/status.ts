// `status` and `watch`: how the policies of a namespace stand, once or as it changes.

import type { Command } from 'commander';
import { findCondition } from '../../api/conditions.ts';
import type { ImagePolicy, ImageRollout } from '../../api/kinds.ts';
import { shortDigest } from '../../image/digest.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import { systemClock } from '../../time/clock.ts';
import { parseDurationMs } from '../../time/duration.ts';
import { formatColumns } from '../columns.ts';
import { EXIT, print, UsageError, type CliContext } from '../context.ts';
import { clusterCommand, withCluster, withPolicy, type ClusterOptions } from './session.ts';

interface StatusOptions extends ClusterOptions {
  readonly allNamespaces?: boolean;
}

interface WatchOptions extends ClusterOptions {
  readonly until?: string;
  readonly timeout?: string;
}

export function statusCommand(context: CliContext): Command {
  return clusterCommand('status')
    .summary('show how policies stand, one line each')
    .description('Shows what each ImagePolicy runs, what it would run next and what keeps it.')
    .argument('[policy]', 'name of one ImagePolicy; default: all of the namespace')
    .option('-A, --all-namespaces', 'those of every namespace', false)
    .addHelpText('after', '\nExamples:\n  slipway status -n shop\n  slipway status -A')
    .action((name: string | undefined, { allNamespaces = false, ...options }: StatusOptions) =>
      withCluster(options, async (cluster) => {
        const { explainRefusal, policyResource } = await import('../explain/cluster.ts');
        const namespace = allNamespaces ? undefined : cluster.namespace;
        let items: readonly ImagePolicy[];
        try {
          ({ items } = await cluster.client.listAll(policyResource, { namespace }));
        } catch (thrown) {
          throw new UsageError(explainRefusal(thrown, 'list', policyResource, namespace ?? ''));
        }
        const wanted = items.filter(({ metadata }) => name === undefined || metadata.name === name);
        if (wanted.length === 0) {
          const where = namespace === undefined ? 'no namespace' : `namespace ${namespace}`;
          throw new UsageError(`${where} has no ImagePolicy${name === undefined ? '' : ` ${name}`}`);
        }
        for (const line of formatStatus(wanted, allNamespaces)) await print(context.stdout, line);
      }),
    );
}

export function formatStatus(policies: readonly ImagePolicy[], showsNamespace: boolean): string[] {
  return formatColumns([
    [...(showsNamespace ? ['NAMESPACE'] : []), 'POLICY', 'CURRENT', 'CANDIDATE', 'STATE', 'WHY'],
    ...policies.map(({ metadata, status, spec }) => {
      const ready = findCondition(status?.conditions, 'Ready');
      const current = status?.current?.images[0];
      const state = spec.suspend ? 'Suspended' : (ready?.reason ?? 'New');
      return [
        ...(showsNamespace ? [metadata.namespace ?? ''] : []),
        metadata.name,
        nameOf(current),
        nameOf(status?.candidate),
        state,
        (ready?.message ?? 'Slipway has not looked at it yet').replaceAll(/\p{Cc}/gu, ' '),
      ];
    }),
  ]);
}

function nameOf(
  image: { readonly tag?: string | undefined; readonly digest?: string | undefined } | undefined,
): string {
  return image?.tag ?? (image?.digest === undefined ? '-' : shortDigest(image.digest));
}

export function watchCommand(context: CliContext): Command {
  return clusterCommand('watch')
    .summary('follow a policy as it changes')
    .description(
      'Prints a line whenever the state of an ImagePolicy or of one of its rollouts changes, until interrupted.',
    )
    .argument('<policy>', 'name of the ImagePolicy')
    .option('--until <reason>', 'end with exit code 0 when Ready has this reason, for example UpToDate')
    .option('--timeout <duration>', 'with --until: give up after this long, with exit code 1', '10m')
    .addHelpText(
      'after',
      '\nExamples:\n  slipway watch web -n shop\n  slipway watch web -n shop --until UpToDate --timeout 5m',
    )
    .action((name: string, { until, timeout = '10m', ...options }: WatchOptions) =>
      withPolicy(context, options, name, async ({ cluster, policy, say }) => {
        const { createInformer } = await import('../../kube/informer.ts');
        const { policyResource, rolloutResource } = await import('../explain/cluster.ts');
        const { metadata } = policy;
        const common = {
          connection: cluster.connection,
          namespaces: [metadata.namespace ?? ''],
          clock: systemClock,
          random: Math.random,
          log: silentLogger,
        };
        const policies = createInformer<ImagePolicy>({ ...common, resource: policyResource });
        const rollouts = createInformer<ImageRollout>({ ...common, resource: rolloutResource });
        const ending = new AbortController();
        let told = '';
        const reached = new AbortController();
        const tell = (line: string): void =>
          void say(`${new Date(systemClock.now()).toISOString().slice(11, 19)}  ${line}`);
        policies.onEvent(({ type, object }) => {
          if (object.metadata.name !== metadata.name) return;
          if (type === 'deleted') {
            tell(`${metadata.name} was deleted`);
            ending.abort();
            return;
          }
          const ready = findCondition(object.status?.conditions, 'Ready');
          const line = `${metadata.name}  ${ready?.reason ?? 'New'}: ${ready?.message ?? 'Slipway has not looked at it yet'}`;
          if (line !== told) tell(line);
          told = line;
          // What Ready says of an earlier spec is no answer to the present one.
          const isCurrent = object.status?.observedGeneration === object.metadata.generation;
          if (until === undefined || ready?.reason !== until || !isCurrent) return;
          reached.abort();
          ending.abort();
        });
        rollouts.onEvent(({ type, object, previous, initial }) => {
          if (object.spec.policy.uid !== metadata.uid || initial || type === 'deleted') return;
          if (previous?.status?.state === object.status?.state && previous !== undefined) return;
          tell(
            `${object.metadata.name}  ${object.status?.state ?? 'Pending'}: ${object.status?.message ?? object.spec.decision.message}`,
          );
        });
        const late = until === undefined ? new AbortController().signal : AbortSignal.timeout(parseDurationMs(timeout));
        late.addEventListener('abort', () => ending.abort(), { once: true });
        const onInterrupt = (): void => ending.abort();
        process.once('SIGINT', onInterrupt);
        try {
          await Promise.all([policies.run(ending.signal), rollouts.run(ending.signal)]);
        } finally {
          process.off('SIGINT', onInterrupt);
        }
        if (until === undefined || reached.signal.aborted) return;
        const problem = policies.problem ?? rollouts.problem;
        const why = problem === undefined ? '' : `: ${problem}`;
        const how = late.aborted ? ` within ${timeout}` : '';
        context.stderr.write(`slipway: ${metadata.name} was not ${until}${how}${why}\n`);
        context.exitCode = EXIT.refused;
      }),
    );
}
