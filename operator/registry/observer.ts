// What the registry client tells about itself, for metrics. Values are few per field, so that each may become a label.

/** `ping` is the rare look at `/v2/` for a registry that hides repositories from those who have not logged in. */
export const REGISTRY_VERBS = ['list', 'head', 'manifest', 'blob', 'token', 'ping'] as const;
export type RegistryVerb = (typeof REGISTRY_VERBS)[number];

/** `refused`: not sent, because the address, a redirect or the certificate was not acceptable. `aborted`: by the caller. */
export const REQUEST_OUTCOMES = [
  '2xx',
  '304',
  '3xx',
  '401',
  '403',
  '404',
  '429',
  '4xx',
  '5xx',
  'timeout',
  'network',
  'refused',
  'invalid',
  'aborted',
] as const;
export type RequestOutcome = (typeof REQUEST_OUTCOMES)[number];

export interface RegistryRequestRecord {
  /** Host of image names where the request belongs to one (`docker.io`), also for its token server and redirects. */
  readonly host: string;
  readonly verb: RegistryVerb;
  readonly outcome: RequestOutcome;
  /** Bytes of the body as they came over the wire, still compressed. */
  readonly bytes: number;
  readonly durationMs: number;
}

export interface RegistryListingRecord {
  readonly host: string;
  /** `host/path`. Not a label: there may be thousands. */
  readonly repository: string;
  readonly outcome: 'changed' | 'unchanged' | 'failed';
  /** Distinct tags of a complete listing; 0 when it failed. */
  readonly tags: number;
  readonly durationMs: number;
}

/** Implemented by telemetry. Calls must be cheap and must not throw. */
export interface RegistryObserver {
  onRequest(record: RegistryRequestRecord): void;
  onListing(record: RegistryListingRecord): void;
}

export const silentObserver: RegistryObserver = { onRequest: () => undefined, onListing: () => undefined };
