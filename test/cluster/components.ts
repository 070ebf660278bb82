// The programs of a cluster: how each is started, and the control over them while they run.

import { join } from 'node:path';
import { GiveUp, waitFor } from '../support/wait.ts';
import { API_PORT, NODE_ADDRESS, NODE_NAME, SERVICE_RANGE } from './node-config.ts';
import type { Sandbox, SandboxedProcess } from './sandbox.ts';

export const COMPONENTS = [
  'etcd',
  'registry',
  'containerd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'coredns',
] as const;

export type ComponentName = (typeof COMPONENTS)[number];

export interface ComponentCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The tools that components are, by their names in tools.ts. */
export type ComponentTools = Readonly<Record<Exclude<ComponentName, 'registry'> | 'distribution', string>>;

export function componentCommands(
  directory: string,
  tools: ComponentTools,
): Readonly<Record<ComponentName, ComponentCommand>> {
  const pki = (file: string): string => join(directory, 'pki', file);
  const config = (file: string): string => join(directory, 'config', file);
  const kubeconfig = (user: string): string => join(directory, 'kubeconfigs', user);
  const nowhere = 'http://127.0.0.1:1';
  return {
    etcd: {
      command: tools.etcd,
      args: [
        '--name=node',
        `--data-dir=${join(directory, 'etcd')}`,
        `--listen-client-urls=unix://${join(directory, 'etcd.sock')}`,
        `--advertise-client-urls=${nowhere}`,
        `--listen-peer-urls=unix://${join(directory, 'etcd-peer.sock')}`,
        `--initial-advertise-peer-urls=${nowhere}`,
        `--initial-cluster=node=${nowhere}`,
        '--heartbeat-interval=10',
        '--election-timeout=100',
        '--unsafe-no-fsync',
        '--log-level=warn',
      ],
    },
    registry: {
      command: tools.distribution,
      args: ['serve', config('registry.yaml')],
      // Traces would go to a collector on localhost.
      env: { OTEL_TRACES_EXPORTER: 'none' },
    },
    containerd: { command: tools.containerd, args: ['--config', config('containerd.toml')] },
    'kube-apiserver': {
      command: tools['kube-apiserver'],
      args: [
        `--etcd-servers=unix://${join(directory, 'etcd.sock')}`,
        `--advertise-address=${NODE_ADDRESS}`,
        `--secure-port=${API_PORT}`,
        `--tls-cert-file=${pki('kube-apiserver.crt')}`,
        `--tls-private-key-file=${pki('kube-apiserver.key')}`,
        `--client-ca-file=${pki('ca.crt')}`,
        `--kubelet-client-certificate=${pki('kubelet-client.crt')}`,
        `--kubelet-client-key=${pki('kubelet-client.key')}`,
        // Otherwise logs and exec look for the node's name in DNS.
        '--kubelet-preferred-address-types=InternalIP',
        '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
        `--service-account-key-file=${pki('service-account.pub')}`,
        `--service-account-signing-key-file=${pki('service-account.key')}`,
        `--service-cluster-ip-range=${SERVICE_RANGE}`,
        '--authorization-mode=Node,RBAC',
        '--enable-admission-plugins=NodeRestriction',
        '--allow-privileged',
        `--audit-log-path=${join(directory, 'audit.log')}`,
        `--audit-policy-file=${config('audit-policy.yaml')}`,
        '--audit-log-mode=blocking',
        '--audit-log-maxsize=1024',
        '--profiling=false',
      ],
    },
    'kube-controller-manager': {
      command: tools['kube-controller-manager'],
      args: [
        `--kubeconfig=${kubeconfig('kube-controller-manager')}`,
        `--service-account-private-key-file=${pki('service-account.key')}`,
        `--root-ca-file=${pki('ca.crt')}`,
        '--use-service-account-credentials',
        '--leader-elect=false',
        '--kube-api-qps=500',
        '--kube-api-burst=1000',
      ],
    },
    'kube-scheduler': {
      command: tools['kube-scheduler'],
      args: [`--kubeconfig=${kubeconfig('kube-scheduler')}`, '--leader-elect=false'],
    },
    kubelet: {
      command: tools.kubelet,
      args: [
        `--kubeconfig=${kubeconfig('kubelet')}`,
        `--config=${config('kubelet.yaml')}`,
        `--hostname-override=${NODE_NAME}`,
        `--node-ip=${NODE_ADDRESS}`,
      ],
    },
    'kube-proxy': { command: tools['kube-proxy'], args: [`--config=${config('kube-proxy.yaml')}`] },
    coredns: { command: tools.coredns, args: ['-conf', config('Corefile')] },
  };
}

/** The running components of a cluster that this process started. */
export class Components {
  readonly #sandbox: Sandbox;
  readonly #directory: string;
  readonly #commands: Readonly<Record<ComponentName, ComponentCommand>>;
  readonly #detached: boolean;
  readonly #running = new Map<ComponentName, SandboxedProcess>();

  constructor(options: {
    readonly sandbox: Sandbox;
    readonly directory: string;
    readonly commands: Readonly<Record<ComponentName, ComponentCommand>>;
    readonly detached: boolean;
  }) {
    this.#sandbox = options.sandbox;
    this.#directory = options.directory;
    this.#commands = options.commands;
    this.#detached = options.detached;
  }

  async start(...names: readonly ComponentName[]): Promise<void> {
    for (const name of names) {
      if (this.#running.get(name)?.isRunning()) throw new Error(`${name} is running already`);
      const running = await this.#sandbox.start({
        name,
        ...this.#commands[name],
        logPath: join(this.#directory, 'logs', `${name}.log`),
        detached: this.#detached,
      });
      this.#running.set(name, running);
    }
  }

  async kill(name: ComponentName, signal: NodeJS.Signals): Promise<void> {
    const running = this.#running.get(name);
    if (!running) throw new Error(`${name} was not started by this process`);
    await running.kill(signal);
  }

  /** Waits until `works` says so; gives up when the component ends meanwhile, with the end of its log. */
  async until(name: ComponentName, works: () => Promise<boolean>): Promise<void> {
    await waitFor(
      `${name} works`,
      () => {
        const running = this.#running.get(name);
        if (!running?.isRunning()) throw new GiveUp(`${name} ended:\n${running?.logTail() ?? ''}`);
        return works();
      },
      { timeoutMs: 120_000, intervalMs: 100 },
    ).catch((error: unknown) => {
      if (error instanceof GiveUp) throw error;
      throw new Error(`${String(error)}\n${this.#running.get(name)?.logTail() ?? ''}`, { cause: error });
    });
  }
}
