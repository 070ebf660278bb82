// What scanners found: a clean Debian unless a test says otherwise.

import type { Finding, ScanFacts, ScanReport } from '../../../operator/api/scan-facts.ts';
import { toFacts } from '../../../operator/scanning/facts.ts';
import { digestOf } from './images.ts';

export const SCANNED = '2026-01-05T08:00:00Z';
export const SCANNED_MS = Date.parse(SCANNED);

export function finding(options: Partial<Finding> = {}): Finding {
  return {
    id: 'CVE-2026-0001',
    aliases: [],
    package: 'libssl3',
    version: '3.0.15',
    severity: 'High',
    fixState: 'Fixed',
    fixedVersions: ['3.0.16'],
    ...options,
  };
}

export function scanReport(options: Partial<ScanReport> = {}): ScanReport {
  return {
    subject: { digest: digestOf('web'), configDigest: digestOf('config'), repoDigests: [] },
    scanner: { name: 'grype', version: '0.121.2' },
    database: { updatedTime: '2026-01-05T06:00:00Z' },
    finishedTime: SCANNED,
    os: { family: 'debian', version: '12.10', endOfLife: false },
    assessed: 'Full',
    findings: [],
    ...options,
  };
}

export function facts(findings: readonly Finding[] = [], options: Partial<ScanReport> = {}): ScanFacts {
  return toFacts(scanReport({ findings, ...options }), SCANNED_MS);
}
