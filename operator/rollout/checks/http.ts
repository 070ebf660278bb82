// Asks a Service of the namespace over HTTP. It is reached by the address that Kubernetes gave it: a name that leads out of
// the cluster is refused, redirects are not followed and nothing of the body is shown.

import { Agent, request } from 'undici';
import type { ImageRolloutSpec } from '../../api/image-rollout.ts';
import type { KubeObject } from '../../api/object.ts';
import { toError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { defineResource } from '../../kube/resource.ts';
import type { Check, CheckOutcome } from './check.ts';

type Verify = NonNullable<ImageRolloutSpec['settings']['verify']>[number];

interface Service extends KubeObject {
  readonly spec?: { readonly type?: string; readonly clusterIP?: string };
}

const services = defineResource<Service>({ group: '', version: 'v1', kind: 'Service', plural: 'services' });
const TIMEOUT_MS = 5_000;

export interface HttpCheckDeps {
  readonly client: Pick<KubeClient, 'get'>;
}

export function httpCheck(http: NonNullable<Verify['http']>, { client }: HttpCheckDeps): Check {
  return {
    async run({ namespace }, signal): Promise<CheckOutcome> {
      let service: Service | undefined;
      try {
        service = await client.get(services, { namespace, name: http.service }, { signal });
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        return { kind: 'unknown', message: error.message };
      }
      if (service === undefined)
        return { kind: 'unknown', message: `Service ${http.service} does not exist in namespace ${namespace}` };
      const { type, clusterIP } = service.spec ?? {};
      if (type === 'ExternalName')
        return { kind: 'unknown', message: `Service ${http.service} is of type ExternalName, which is not followed` };
      if (clusterIP === undefined || clusterIP === '' || clusterIP === 'None')
        return {
          kind: 'unknown',
          message: `Service ${http.service} has no address of its own: use one with a clusterIP`,
        };
      return ask(http, `${http.service}.${namespace}.svc`, clusterIP, signal);
    },
  };
}

async function ask(
  { port, path, scheme, status }: NonNullable<Verify['http']>,
  host: string,
  address: string,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const origin = `${scheme.toLowerCase()}://${address.includes(':') ? `[${address}]` : address}:${port}`;
  const agent = new Agent({ connect: { timeout: TIMEOUT_MS, rejectUnauthorized: false, servername: host } });
  try {
    const answer = await request(`${origin}${path}`, {
      dispatcher: agent,
      headers: { host: `${host}:${port}`, 'user-agent': 'slipway' },
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      signal: AbortSignal.any([signal, AbortSignal.timeout(2 * TIMEOUT_MS)]),
    });
    const { statusCode } = answer;
    // Breaking off raises an error on the stream that nobody wants to hear of.
    answer.body.on('error', () => undefined).destroy();
    const isWanted = status === undefined ? statusCode >= 200 && statusCode <= 299 : statusCode === status;
    const wanted = status === undefined ? '' : `, wanted ${status}`;
    return { kind: isWanted ? 'passed' : 'failed', message: `answered ${statusCode}${isWanted ? '' : wanted}` };
  } catch (error) {
    if (signal.aborted) throw error;
    const { code } = toError(error) as NodeJS.ErrnoException;
    return { kind: 'failed', message: `did not answer (${code ?? 'no connection'})` };
  } finally {
    await agent.destroy();
  }
}
