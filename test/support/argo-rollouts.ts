// The CRD of Argo Rollouts as its authors publish it, read from their Go module.

import YAML from 'yaml';
import { ensureTools } from '../cluster/tools.ts';
import { runCommand } from './processes.ts';

const MODULE = 'github.com/argoproj/argo-rollouts@v1.10.2';

/** The CustomResourceDefinition of `rollouts.argoproj.io`. Downloads the module the first time. */
export async function argoRolloutsCrd(): Promise<object> {
  const { unzip } = await ensureTools(['unzip']);
  // It fails where Go is older than the module asks for, which does not matter to who only reads a file of it.
  const download = await runCommand(['go', 'mod', 'download', '-json', MODULE], { env: { GOFLAGS: '-mod=mod' } });
  const { Zip: archive } = JSON.parse(download.stdout || '{}') as { readonly Zip?: string };
  if (archive === undefined) throw new Error(`go mod download ${MODULE}: ${download.stdout}${download.stderr}`);
  const { code, stdout, stderr } = await runCommand([
    unzip,
    '-p',
    archive,
    `${MODULE}/manifests/crds/rollout-crd.yaml`,
  ]);
  if (code !== 0) throw new Error(`unzip ${archive}: ${stderr}`);
  return YAML.parse(stdout) as object;
}
