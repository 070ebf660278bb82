// Who we are to the API server. client-node reads the kubeconfig, client certificates, token files and exec plug-ins; its
// answer is kept for a few seconds, because it reads the files on every call, and asked anew when the server refuses it.

import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { TerminalError, TransientError, toError } from '../errors.ts';
import type { Clock } from '../time/clock.ts';

/** What a TLS connection to the server needs; absent parts are the platform's own. */
export interface TlsMaterial {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credential {
  /** Headers of every request: the bearer token, impersonation. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsMaterial;
}

/** Where the transport gets its identity from, before each request. */
export interface Credentials {
  /** Rejects with a TransientError `CredentialsUnavailable` when none could be had yet. */
  current(): Promise<Credential>;
  /** The server refused the present credential: the next `current` reads everything anew. */
  renew(): void;
}

/** client-node checks a token file once a minute; between two looks of ours at most these many milliseconds pass. */
const KEEP_MS = 10_000;

/** Credentials of a loaded kubeconfig's current context. Throws TerminalError for what cannot be honoured. */
export async function kubeConfigCredentials(kubeConfig: KubeConfig, clock: Clock): Promise<Credentials> {
  const client = await import('./client-node.ts');
  const load = (): KubeConfig => {
    // A new instance forgets the tokens that client-node's authenticators keep, even those without an end.
    const fresh = new client.KubeConfig();
    fresh.loadFromOptions({
      clusters: kubeConfig.clusters,
      contexts: kubeConfig.contexts,
      users: kubeConfig.users.map(withExecInfo),
      currentContext: kubeConfig.currentContext,
    });
    return fresh;
  };
  return new KubeConfigCredentials(load, clock);
}

class KubeConfigCredentials implements Credentials {
  readonly #load: () => KubeConfig;
  readonly #clock: Clock;
  #source: KubeConfig;
  #known: { readonly credential: Credential; readonly readAtMs: number } | undefined;
  #reading: Promise<Credential> | undefined;

  constructor(load: () => KubeConfig, clock: Clock) {
    this.#load = load;
    this.#clock = clock;
    this.#source = load();
  }

  current(): Promise<Credential> {
    if (this.#known !== undefined && this.#clock.monotonicMs() - this.#known.readAtMs < KEEP_MS) {
      return Promise.resolve(this.#known.credential);
    }
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  renew(): void {
    this.#source = this.#load();
    if (this.#known !== undefined) this.#known = { ...this.#known, readAtMs: -Infinity };
  }

  async #read(): Promise<Credential> {
    try {
      const options: RequestOptions = {};
      await this.#source.applyToHTTPSOptions(options);
      const credential = toCredential(options);
      this.#known = { credential, readAtMs: this.#clock.monotonicMs() };
      return credential;
    } catch (thrown) {
      // A file that is being replaced, a plug-in that fails once: go on with what we have and let the server judge it.
      if (this.#known !== undefined) return this.#known.credential;
      const error = toError(thrown);
      if (error.message.includes('HTTP protocol is not allowed')) {
        throw new TerminalError(
          'The kubeconfig names a server with http://: write https://, or set insecure-skip-tls-verify: true to send everything in the clear',
          { code: 'InsecureServer', cause: thrown },
        );
      }
      throw new TransientError(`Reading the credentials of the kubeconfig: ${error.message}`, {
        code: 'CredentialsUnavailable',
        cause: thrown,
      });
    }
  }
}

function toCredential(options: RequestOptions): Credential {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // A token file may end in a line break, which is no header.
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim();
  }
  if (options.auth) headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  const { ca, cert, key, servername, rejectUnauthorized } = options as RequestOptions & TlsMaterial;
  return {
    headers,
    tls: {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(servername !== undefined && { servername }),
      ...(rejectUnauthorized !== undefined && { rejectUnauthorized }),
    },
  };
}

/** Plug-ins such as gke-gcloud-auth-plugin read which API version to answer in from KUBERNETES_EXEC_INFO; client-node does not set it. */
function withExecInfo(user: KubeConfig['users'][number]): KubeConfig['users'][number] {
  const exec = user.exec as
    { apiVersion?: string; env?: readonly { name: string; value: string }[] } | null | undefined;
  if (!exec) return user;
  const info = JSON.stringify({
    apiVersion: exec.apiVersion ?? 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    spec: { interactive: false },
  });
  return { ...user, exec: { ...exec, env: [...(exec.env ?? []), { name: 'KUBERNETES_EXEC_INFO', value: info }] } };
}
