// What the acts play with: the cluster through kubectl, as a user has it, and the words for what they look at.

import { readFile } from 'node:fs/promises';
import type { ImagePolicy, ImageRollout } from '../../operator/api/kinds.ts';
import { mustRun, runCommand, type CommandResult } from '../../test/support/processes.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Narrator } from './narrator.ts';
import { SYSTEM_NAMESPACE, type Place } from './place.ts';
import type { DemoRegistry } from './registry.ts';

const LEASE = 'slipway-operator';
const OPERATOR_PODS = ['-n', SYSTEM_NAMESPACE, '-l', 'app.kubernetes.io/name=slipway'];

export class World {
  /** Namespace of the apps. */
  readonly namespace: string;
  readonly registry: DemoRegistry;
  readonly #place: Place;
  readonly #narrator: Narrator;

  constructor(place: Place, narrator: Narrator) {
    this.namespace = place.namespace;
    this.registry = place.registry;
    this.#place = place;
    this.#narrator = narrator;
  }

  kubectl(...args: readonly string[]): Promise<CommandResult> {
    const { kubectl, env } = this.#place;
    return runCommand([kubectl, ...args], { env });
  }

  /** Runs kubectl and prints the command as typed with what it answers. */
  async show(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(...args);
    this.#narrator.command(`kubectl ${args.join(' ')}`, stdout + stderr);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with exit code ${code}`);
    return stdout;
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const { kubectl, env } = this.#place;
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await mustRun([kubectl, 'apply', '--server-side', '-f', '-'], { env, input });
  }

  /** Objects of the apps' namespace. */
  async get<T>(...args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.kubectl('-n', this.namespace, 'get', ...args, '-o', 'json');
    if (code !== 0) throw new Error(stderr.trim());
    return JSON.parse(stdout) as T;
  }

  policy(name: string): Promise<ImagePolicy> {
    return this.get('imagepolicies.slipway.dev', name);
  }

  async rollouts(policy: string): Promise<ImageRollout[]> {
    const { items } = await this.get<{ items: ImageRollout[] }>('imagerollouts.slipway.dev');
    return items.filter(({ spec }) => spec.policy.name === policy);
  }

  /** Name of the pod that holds the Lease. */
  async leader(): Promise<string> {
    const lease = ['-n', SYSTEM_NAMESPACE, 'get', 'lease', LEASE, '-o', 'jsonpath={.spec.holderIdentity}'];
    return waitFor('a replica leads', async () => (await this.kubectl(...lease)).stdout.split('_')[0]);
  }

  /** Ends an operator's pod as a power cut would. */
  async kill(pod: string): Promise<void> {
    await this.kubectl('-n', SYSTEM_NAMESPACE, 'delete', 'pod', pod, '--grace-period=0', '--force');
  }

  /** How often this image was written into a Deployment; absent where the audit log cannot be read. */
  async imageWrites(image: string): Promise<number | undefined> {
    const { auditLogPath } = this.#place;
    if (auditLogPath === undefined) return undefined;
    const text = await readFile(auditLogPath, 'utf8');
    // The last line may still be being written.
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    return lines.filter((line) => line.includes(`"value":"${image}"`) && line.includes('"code":200')).length;
  }

  /** How everything is, for whoever has to find out why a demo failed. Never throws. */
  async diagnosis(): Promise<string> {
    const questions = [
      ['-n', this.namespace, 'get', 'slpol,slroll,deployments,pods', '-o', 'wide'],
      ['-n', this.namespace, 'get', 'slpol', '-o', 'jsonpath={range .items[*].status.conditions[*]}{@}{"\\n"}{end}'],
      [...OPERATOR_PODS, 'get', 'pods', '-o', 'wide'],
      [...OPERATOR_PODS, 'logs', '--tail=40', '--prefix'],
    ];
    const answers = questions.map(async (args) => {
      const { stdout, stderr } = await this.kubectl('--request-timeout=10s', ...args);
      return `$ kubectl ${args.join(' ')}\n${stdout}${stderr}`;
    });
    return (await Promise.allSettled(answers))
      .map((answer) => (answer.status === 'fulfilled' ? answer.value : String(answer.reason)))
      .join('\n');
  }
}
