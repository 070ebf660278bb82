// Clusters from the command line: `make cluster-up` and `make cluster-down` call this, and so may anyone who wants a real
// Kubernetes to try things on.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Command, InvalidArgumentError } from 'commander';
import { type Cluster, attachCluster, startCluster } from './cluster.ts';
import { clusterNames, isAlive, readState, removeCluster, sweepDeadClusters } from './state.ts';
import { ensureTools, TOOL_NAMES, type ToolName } from './tools.ts';

const DEFAULT_NAME = 'dev';

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function describe(cluster: Cluster): string {
  const { host, url, username, password } = cluster.registry;
  return [
    `Cluster ${cluster.name} is running.`,
    '',
    `  export KUBECONFIG=${cluster.kubeconfigPath}`,
    '',
    `  API server   ${cluster.server}`,
    `  registry     ${host} inside, ${url} outside; user ${username}, password "${password}"`,
    `  logs         ${cluster.directory}/logs`,
  ].join('\n');
}

async function up(name: string): Promise<void> {
  if (isAlive((await readState(name))?.init)) {
    say(describe(await attachCluster(name)));
    return;
  }
  const started = performance.now();
  const cluster = await startCluster({ name, detached: true });
  say(describe(cluster));
  say(`\nStarted in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
}

async function down(name: string, all: boolean): Promise<void> {
  for (const each of all ? clusterNames() : [name]) {
    const existed = clusterNames().includes(each);
    await removeCluster(each);
    say(existed ? `Removed cluster ${each}.` : `There is no cluster ${each}.`);
  }
  for (const swept of await sweepDeadClusters()) say(`Removed what was left of cluster ${swept}.`);
}

async function list(): Promise<void> {
  for (const name of clusterNames()) {
    const state = await readState(name);
    say(`${name}\t${isAlive(state?.init) ? `running, API server at 127.0.0.1:${state?.apiPort}` : 'dead'}`);
  }
}

async function inside(name: string, argv: readonly string[]): Promise<void> {
  const cluster = await attachCluster(name);
  const [command = '', ...args] = cluster.enter(argv);
  const child = spawn(command, args, {
    stdio: 'inherit',
    env: { ...process.env, KUBECONFIG: cluster.innerKubeconfigPath },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
}

function parseTool(text: string, earlier: readonly ToolName[] = []): readonly ToolName[] {
  const name = TOOL_NAMES.find((known) => known === text);
  if (!name) throw new InvalidArgumentError(`Known are: ${TOOL_NAMES.join(', ')}.`);
  return [...earlier, name];
}

const program = new Command('cluster').description(
  'Real single-node Kubernetes clusters on this machine (root, Linux).',
);

program
  .command('up')
  .description('start a cluster that runs until "down", or describe it when it runs already')
  .option('--name <name>', 'name of the cluster', DEFAULT_NAME)
  .action(({ name }: { name: string }) => up(name));
program
  .command('down')
  .description('end a cluster and remove every trace of it')
  .option('--name <name>', 'name of the cluster', DEFAULT_NAME)
  .option('--all', 'all clusters of this machine', false)
  .action(({ name, all }: { name: string; all: boolean }) => down(name, all));
program.command('list').description('list clusters').action(list);
program
  .command('kubeconfig')
  .description('print the path of a running cluster’s kubeconfig')
  .option('--name <name>', 'name of the cluster', DEFAULT_NAME)
  .action(async ({ name }: { name: string }) => say((await attachCluster(name)).kubeconfigPath));
program
  .command('exec')
  .description('run a command on the cluster’s network, where Services and pods are reachable')
  .option('--name <name>', 'name of the cluster', DEFAULT_NAME)
  .argument('<command...>', 'after "--": the command and its arguments')
  .action((argv: readonly string[], { name }: { name: string }) => inside(name, argv));
program
  .command('tools')
  .description('build or install the programs that clusters and tests use, and print their paths')
  .argument('[tools...]', 'default: all', parseTool)
  .action(async (names: readonly ToolName[]) => {
    const paths = await ensureTools(names.length > 0 ? names : TOOL_NAMES);
    for (const [name, path] of Object.entries(paths)) say(`${name}\t${path}`);
  });

program
  .command('tool')
  .description('build or install one program if it is missing, and print its path alone')
  .argument('<tool>', 'its name', (text: string) => parseTool(text))
  .action(async (names: readonly ToolName[]) => {
    const paths = await ensureTools(names);
    say(Object.values(paths).join(''));
  });

await program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
