// What the layer tells whoever counts: a port, so that kube/ knows nothing of metrics. Every method is called
// synchronously on the way, must not throw, and may be left out.

export interface KubeObserver {
  /** One call to the API server ended. `code` is the HTTP status, 0 when no answer came; `resource` is the plural. */
  onRequest(request: {
    readonly verb: string;
    readonly resource: string;
    readonly code: number;
    readonly durationMs: number;
  }): void;
  onWatchEvent(event: {
    readonly resource: string;
    readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  }): void;
  /** A watch ended: `timeout` is the server's planned end, everything else a fault. */
  onWatchEnd(end: { readonly resource: string; readonly reason: WatchEndReason }): void;
  /** A list was read to its end. */
  onRelist(relist: {
    readonly resource: string;
    readonly reason: RelistReason;
    readonly objects: number;
    readonly durationMs: number;
  }): void;
  /** An informer's cache now holds `objects` objects. */
  onCacheSize(cache: { readonly resource: string; readonly objects: number }): void;
  onReconcile(reconcile: {
    readonly controller: string;
    readonly outcome: ReconcileOutcome;
    readonly durationMs: number;
  }): void;
  /** Keys that wait for a worker now, delayed ones not counted. */
  onQueueDepth(queue: { readonly queue: string; readonly depth: number }): void;
  /** A key was taken up after it had been ready for `waitMs`. */
  onQueueWait(queue: { readonly queue: string; readonly waitMs: number }): void;
  onLeaderChange(change: { readonly leading: boolean }): void;
  /** An event was not recorded. */
  onEventDropped(drop: { readonly reason: 'queue full' | 'object too noisy' | 'refused' }): void;
}

export const WATCH_END_REASONS = ['timeout', 'cut', 'truncated', 'garbled', 'expired', 'throttled', 'refused'] as const;
export type WatchEndReason = (typeof WATCH_END_REASONS)[number];

export const RELIST_REASONS = ['initial', 'expired', 'garbled', 'rewound', 'repeated failure'] as const;
export type RelistReason = (typeof RELIST_REASONS)[number];

export const RECONCILE_OUTCOMES = [
  'success',
  'requeued',
  'conflict',
  'transient',
  'terminal',
  'timeout',
  'bug',
  'cancelled',
] as const;
export type ReconcileOutcome = (typeof RECONCILE_OUTCOMES)[number];
