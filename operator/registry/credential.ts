// A login for one registry, and how a repository is reached with it.

import type { Redacted } from '../telemetry/redaction.ts';

/** A resolved login. */
export interface RegistryCredential {
  /** Identifies it for sharing and reveals nothing of it: only equal keys share tokens and tag lists. */
  readonly key: string;
  readonly username: string;
  readonly password: Redacted<string>;
  /** Host, port included, of image names it was configured for; it is sent for no other. Absent: trust the caller. */
  readonly host?: string;
  /** The Secret it came from, for messages. */
  readonly secretName?: string;
}

/** How a repository is read. An empty one reads anonymously and trusts the system's certificates. */
export interface RegistryAccess {
  readonly credential?: RegistryCredential;
  /** PEM certificates trusted in addition to the system's and the operator's for this host. */
  readonly caPem?: string;
}
