// A check that a rollout has to pass once its workloads are healthy: it asks the world one question and gets an answer.

export type CheckOutcome =
  | { readonly kind: 'passed'; readonly message: string }
  /** It said no. `isFinal`: asking again would not help. */
  | { readonly kind: 'failed'; readonly message: string; readonly isFinal?: true }
  /** It is still at it. */
  | { readonly kind: 'pending'; readonly message: string }
  /** It could not be asked, which says nothing about the image. */
  | { readonly kind: 'unknown'; readonly message: string };

export interface CheckedRollout {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly tag?: string;
  readonly digest: string;
}

export interface Check {
  /** Never throws for what it was asked about; rejects only when the signal aborts. */
  run(rollout: CheckedRollout, signal: AbortSignal): Promise<CheckOutcome>;
}
