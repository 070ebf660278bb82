// Where the demo plays: a cluster of its own on this machine, or the one that kubectl points at. Whatever it makes there is
// noted, from the first moment, for whoever has to clean up.

import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseRepository } from '../../operator/image/reference.ts';
import { attachCluster, startCluster, type Cluster } from '../../test/cluster/cluster.ts';
import { isAlive, readState, removeCluster } from '../../test/cluster/state.ts';
import { ensureTools } from '../../test/cluster/tools.ts';
import { mustRun, runCommand } from '../../test/support/processes.ts';
import type { Narrator } from './narrator.ts';
import type { CurrentCluster, DemoOptions, OperatorImageReference, RegistryAddress } from './options.ts';
import { DemoRegistry } from './registry.ts';

/** Namespace of the operator. */
export const SYSTEM_NAMESPACE = 'slipway-system';
const ROOT = join(import.meta.dirname, '../..');
/** Of the cluster that KEEP=1 leaves, so that PUSH finds it and a second one is not started beside it. */
const KEPT_CLUSTER = 'demo';
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    { level: 'Request', verbs: ['patch'], resources: [{ group: 'apps', resources: ['deployments'] }] },
    { level: 'None' },
  ],
};

export interface Place {
  /** Namespace of the apps, the demo's own. */
  readonly namespace: string;
  readonly registry: DemoRegistry;
  /** What kubectl and helm need in their environment to find the cluster, and each other. */
  readonly env: Readonly<Record<string, string>>;
  /** Of the API server; absent where it cannot be read. */
  readonly auditLogPath?: string;
  /** Absent: it has to be built. */
  readonly operatorImage?: OperatorImageReference;
  readonly kubectl: string;
  readonly helm: string;
  /** What to type to use and to end a place that stays. */
  readonly farewell: readonly string[];
}

export interface PlaceOptions {
  readonly narrator: Narrator;
  readonly keep: boolean;
  /** Gets whatever has to be undone. */
  readonly cleanup: AsyncDisposableStack;
}

export function openPlace(where: DemoOptions['place'], options: PlaceOptions): Promise<Place> {
  return where.kind === 'own' ? ownPlace(options) : currentPlace(where, options);
}

/** The registry of a demo that was kept. */
export async function keptRegistry(where: DemoOptions['place']): Promise<DemoRegistry> {
  if (where.kind === 'current') return new DemoRegistry(where.registry);
  const cluster = await attachCluster(KEPT_CLUSTER).catch((error: unknown) => {
    throw new Error('No demo is running: start one with make demo KEEP=1', { cause: error });
  });
  return new DemoRegistry(addressOf(cluster));
}

async function ownPlace({ narrator, keep, cleanup }: PlaceOptions): Promise<Place> {
  const name = keep ? KEPT_CLUSTER : `demo-${randomBytes(3).toString('hex')}`;
  if (isAlive((await readState(name))?.init)) {
    throw new Error(`An earlier demo still runs. End it with: make cluster-down CLUSTER_NAME=${name}`);
  }
  const report = (line: string): void => narrator.progress(line);
  const tools = await ensureTools(['kubectl', 'helm', 'busybox'], { report });
  cleanup.defer(() => removeCluster(name));
  const cluster = await startCluster({ name, detached: keep, auditPolicy: AUDIT_POLICY, report });
  cleanup.defer(() => cluster.stop());
  narrator.shown(
    'a real Kubernetes runs (etcd, API server, controllers, scheduler, kube-proxy, kubelet, containerd, DNS), with a registry that wants a login',
  );
  const bin = await installPrograms(join(cluster.directory, 'bin'), tools);
  return {
    namespace: 'shop',
    registry: new DemoRegistry(addressOf(cluster)),
    env: { KUBECONFIG: cluster.kubeconfigPath, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    auditLogPath: cluster.auditLogPath,
    ...tools,
    farewell: [
      `export KUBECONFIG=${cluster.kubeconfigPath} PATH=${bin}:$PATH`,
      'kubectl -n shop get slipway',
      'kubectl slipway explain web -n shop',
      'make demo PUSH=v1.5.0                       # pushes it; watch what happens',
      `make cluster-down CLUSTER_NAME=${name}         # ends everything`,
    ],
  };
}

async function currentPlace(where: CurrentCluster, { narrator, cleanup }: PlaceOptions): Promise<Place> {
  const report = (line: string): void => narrator.progress(line);
  const tools = await ensureTools(['kubectl', 'helm', 'busybox'], { report });
  await expectNoSlipway(tools.kubectl);
  const namespace = `slipway-demo-${randomBytes(3).toString('hex')}`;
  const directory = await mkdtemp(join(tmpdir(), 'slipway-demo-'));
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));
  cleanup.defer(async () => {
    const { kubectl, helm } = tools;
    await mustRun([kubectl, 'delete', 'namespace', namespace, '--ignore-not-found']);
    await mustRun([helm, 'uninstall', 'slipway', '--namespace', SYSTEM_NAMESPACE, '--ignore-not-found', '--wait']);
    await mustRun([kubectl, 'delete', 'namespace', SYSTEM_NAMESPACE, '--ignore-not-found']);
  });
  const bin = await installPrograms(join(directory, 'bin'), tools);
  narrator.shown('the cluster that kubectl points at is there, and has no Slipway yet');
  return {
    namespace,
    registry: new DemoRegistry(where.registry),
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    ...(where.operatorImage !== undefined && { operatorImage: where.operatorImage }),
    ...tools,
    farewell: [
      `export PATH=${bin}:$PATH`,
      `kubectl -n ${namespace} get slipway`,
      `kubectl slipway explain web -n ${namespace}`,
      'make demo CLUSTER=current PUSH=v1.5.0 REGISTRY=... REGISTRY_LOGIN=...   # pushes it; watch what happens',
      `kubectl delete namespace ${namespace}`,
      `helm uninstall slipway --namespace ${SYSTEM_NAMESPACE} && kubectl delete namespace ${SYSTEM_NAMESPACE}`,
      `rm -r ${directory}`,
    ],
  };
}

/** The demo installs and removes Slipway with its definitions: where somebody uses it, that would be a disaster. */
async function expectNoSlipway(kubectl: string): Promise<void> {
  const found: string[] = [];
  for (const name of [
    `namespace/${SYSTEM_NAMESPACE}`,
    'crd/imagepolicies.slipway.dev',
    'crd/imagerollouts.slipway.dev',
  ]) {
    const { code, stdout, stderr } = await runCommand([kubectl, 'get', name, '--ignore-not-found', '--output=name']);
    if (code !== 0) throw new Error(`kubectl cannot read the current cluster: ${stderr.trim()}`);
    if (stdout.trim() !== '') found.push(stdout.trim());
  }
  if (found.length > 0) {
    throw new Error(
      `The current cluster has Slipway already (${found.join(', ')}), and the demo would remove it at the end. Choose another cluster`,
    );
  }
}

/** `kubectl slipway` is the command line under the name that kubectl looks for. Returns the folder for PATH. */
async function installPrograms(bin: string, { kubectl, helm }: Pick<Place, 'kubectl' | 'helm'>): Promise<string> {
  await mkdir(bin, { recursive: true });
  // From its source: bundling it takes longer than all calls of the demo together.
  const script = `#!/bin/sh\nexec '${process.execPath}' '${join(ROOT, 'operator/cli.ts')}' "$@"\n`;
  await writeFile(join(bin, 'kubectl-slipway'), script, { mode: 0o755 });
  await Promise.all([
    symlink('kubectl-slipway', join(bin, 'slipway')),
    symlink(kubectl, join(bin, 'kubectl')),
    symlink(helm, join(bin, 'helm')),
  ]);
  return bin;
}

function addressOf({ registry: { host, url, username, password } }: Cluster): RegistryAddress {
  return { repository: parseRepository(`${host}/demo`), url, username, password };
}
