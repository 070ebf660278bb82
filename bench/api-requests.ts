// Which of the operator's requests in the audit log count as what.

import type { AuditEvent } from '../test/support/control-plane.ts';

const WRITES: ReadonlySet<string> = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);

/** Everything but the Lease, which is written whatever there is to do. */
export function isWrite({ verb, objectRef }: AuditEvent): boolean {
  return WRITES.has(verb) && objectRef?.resource !== 'leases';
}

/** Watches apart: they are kept open. */
export function isRead({ verb, objectRef }: AuditEvent): boolean {
  return !WRITES.has(verb) && verb !== 'watch' && objectRef?.resource !== 'leases';
}
