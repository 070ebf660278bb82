// The real programs that tests run against, built from pinned Go modules or installed from Debian. A build is kept in a
// cache shared by every clone, named by version and by a hash of what went into it, so it is done once per machine.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { access, mkdir, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../support/processes.ts';

interface GoTool {
  readonly version: string;
  /** Folder of the Go module beside this file. */
  readonly module: string;
  /** What to build: an import path, or `.` for the module's own main. */
  readonly target: string;
  readonly ldflags: string;
  /** What to tell people who wait for the first build on two cores. */
  readonly firstBuild: string;
}

const KUBERNETES = '1.36.3';
const KUBERNETES_VERSION = 'k8s.io/component-base/version';

function kubernetesTool(command: string, firstBuild: string): GoTool {
  return {
    version: KUBERNETES,
    module: 'kubernetes',
    target: `k8s.io/kubernetes/cmd/${command}`,
    // kubelet and API server compare these versions and refuse each other without them.
    ldflags: [
      `-s -w -X ${KUBERNETES_VERSION}.gitVersion=v${KUBERNETES}`,
      `-X ${KUBERNETES_VERSION}.gitMajor=1 -X ${KUBERNETES_VERSION}.gitMinor=36`,
    ].join(' '),
    firstBuild,
  };
}

const GO_TOOLS = {
  'kube-apiserver': kubernetesTool('kube-apiserver', '3 min'),
  'kube-controller-manager': kubernetesTool('kube-controller-manager', '1 min'),
  'kube-scheduler': kubernetesTool('kube-scheduler', '20 s'),
  kubelet: kubernetesTool('kubelet', '1 min'),
  'kube-proxy': kubernetesTool('kube-proxy', '10 s'),
  kubectl: kubernetesTool('kubectl', '30 s'),
  etcd: { version: '3.6.8', module: 'etcd', target: '.', ldflags: '-s -w', firstBuild: '2 min' },
  // Debian's docker-registry is version 2 of the same program and called `registry` too.
  distribution: {
    version: '3.1.2',
    module: 'distribution',
    target: 'github.com/distribution/distribution/v3/cmd/registry',
    ldflags: '-s -w',
    firstBuild: '1 min',
  },
  coredns: {
    version: '1.14.1',
    module: 'coredns',
    target: 'github.com/coredns/coredns',
    ldflags: '-s -w',
    firstBuild: '90 s',
  },
  helm: { version: '4.3.1', module: 'helm', target: 'helm.sh/helm/v4/cmd/helm', ldflags: '-s -w', firstBuild: '2 min' },
  pause: { version: '1', module: 'pause', target: '.', ldflags: '-s -w', firstBuild: '1 s' },
} as const satisfies Record<string, GoTool>;

/** Programs from Debian: where they are and which package brings them. */
const DEBIAN_TOOLS = {
  openssl: { package: 'openssl', path: '/usr/bin/openssl' },
  'docker-registry': { package: 'docker-registry', path: '/usr/bin/docker-registry' },
  containerd: { package: 'containerd', path: '/usr/bin/containerd' },
  runc: { package: 'runc', path: '/usr/sbin/runc' },
  'cni-plugins': { package: 'containernetworking-plugins', path: '/usr/lib/cni' },
  buildah: { package: 'buildah', path: '/usr/bin/buildah' },
  skopeo: { package: 'skopeo', path: '/usr/bin/skopeo' },
  iptables: { package: 'iptables', path: '/usr/sbin/iptables' },
  ip: { package: 'iproute2', path: '/usr/sbin/ip' },
  mmdebstrap: { package: 'mmdebstrap', path: '/usr/bin/mmdebstrap' },
  busybox: { package: 'busybox-static', path: '/usr/bin/busybox' },
  prometheus: { package: 'prometheus', path: '/usr/bin/prometheus' },
  unzip: { package: 'unzip', path: '/usr/bin/unzip' },
} as const;

export type GoToolName = keyof typeof GO_TOOLS;
export type DebianToolName = keyof typeof DEBIAN_TOOLS;
export type ToolName = GoToolName | DebianToolName;

export const TOOL_NAMES = [...Object.keys(GO_TOOLS), ...Object.keys(DEBIAN_TOOLS)] as readonly ToolName[];

export interface ToolsOptions {
  /** Progress of builds and installs, a line at a time. Default: standard error. */
  readonly report?: (line: string) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Where builds are kept: `$SLIPWAY_TOOLS_DIR`, or `slipway/tools` in the user's cache folder. */
export function toolsDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env['SLIPWAY_TOOLS_DIR'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'slipway', 'tools');
}

/**
 * Makes sure that these programs are on the machine, builds or installs what is missing (minutes, the first time) and
 * returns the path of each. Safe to call from several processes at once: they wait for each other's builds.
 */
export async function ensureTools<Name extends ToolName>(
  names: readonly Name[],
  options: ToolsOptions = {},
): Promise<Readonly<Record<Name, string>>> {
  const report = options.report ?? ((line) => process.stderr.write(`${line}\n`));
  const env = options.env ?? process.env;
  const wanted: readonly ToolName[] = names;
  await installDebian(wanted.filter(isDebianTool), report);

  const paths: Partial<Record<ToolName, string>> = {};
  for (const name of wanted) {
    paths[name] = isDebianTool(name) ? DEBIAN_TOOLS[name].path : await buildGoTool(name, env, report);
  }
  return paths as Record<Name, string>;
}

function isDebianTool(name: ToolName): name is DebianToolName {
  return Object.hasOwn(DEBIAN_TOOLS, name);
}

async function buildGoTool(
  name: GoToolName,
  env: Readonly<Record<string, string | undefined>>,
  report: (line: string) => void,
): Promise<string> {
  const tool: GoTool = GO_TOOLS[name];
  const directory = toolsDirectory(env);
  const path = join(directory, `${name}-${tool.version}-${fingerprint(tool)}`);
  if (existsSync(path)) return path;

  await mkdir(directory, { recursive: true });
  const unfinished = `${path}.${process.pid}.unfinished`;
  const started = performance.now();
  report(`Building ${name} ${tool.version} (about ${tool.firstBuild} the first time) ...`);
  // The lock is the kernel's: it ends with the process that holds it, however that ends.
  const build = 'test -e "$1" || { go build -trimpath -ldflags "$2" -o "$3" "$4" && mv "$3" "$1"; }';
  const result = await runCommand(
    ['flock', `${path}.lock`, 'sh', '-c', build, 'sh', path, tool.ldflags, unfinished, tool.target],
    {
      cwd: join(import.meta.dirname, tool.module),
      env: { CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' },
      timeoutMs: 3_600_000,
    },
  );
  if (result.code !== 0) {
    await rm(unfinished, { force: true });
    const hint = (await hasGo()) ? '' : ' (Go 1.26 or newer is needed: https://go.dev/dl)';
    throw new Error(`Building ${name} ${tool.version} failed${hint}:\n${result.stderr.trim().slice(-4000)}`);
  }
  report(`Built ${name} ${tool.version} in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return path;
}

/** Twelve hex digits over all that decides what the program is: the module's files and how it is built. */
function fingerprint(tool: GoTool): string {
  const folder = join(import.meta.dirname, tool.module);
  const hash = createHash('sha256').update(`${tool.target}\n${tool.ldflags}\n`);
  for (const file of readdirSync(folder).sort()) hash.update(`${file}\n`).update(readFileSync(join(folder, file)));
  return hash.digest('hex').slice(0, 12);
}

async function hasGo(): Promise<boolean> {
  return (await runCommand(['sh', '-c', 'command -v go'])).code === 0;
}

async function installDebian(names: readonly DebianToolName[], report: (line: string) => void): Promise<void> {
  const missing: string[] = [];
  for (const name of names) {
    const present = await access(DEBIAN_TOOLS[name].path).then(
      () => true,
      () => false,
    );
    if (!present) missing.push(DEBIAN_TOOLS[name].package);
  }
  if (missing.length === 0) return;

  const install = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) throw new Error(`Missing: ${missing.join(', ')}. As root, run: ${install}`);
  report(`Installing ${missing.join(', ')} from Debian ...`);
  const quiet = install.replaceAll('apt-get ', 'apt-get -qq -o DPkg::Lock::Timeout=600 ');
  const lock = join(toolsDirectory(), 'apt.lock');
  await mkdir(toolsDirectory(), { recursive: true });
  const result = await runCommand(['flock', lock, 'sh', '-c', quiet], {
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    timeoutMs: 1_200_000,
  });
  if (result.code !== 0) throw new Error(`${install} failed:\n${result.stderr.trim().slice(-2000)}`);
  report(`Installed ${missing.join(', ')}`);
}
