// `make test-faults`: kills the operator at every write of every scenario, and plays the other faults. Prints trials and
// violations; ends with exit code 1 when there are any.

import { runFaults } from '../test/faults/run.ts';

const startedMs = performance.now();
const { trials, struck, violations } = await runFaults({
  atOnce: Number(process.env['LANES'] ?? 4),
  withStorms: true,
  report: (line) => process.stdout.write(`${line}\n`),
});
const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
process.stdout.write(`${trials} trials (${struck} struck), ${violations.length} violations, in ${minutes} min\n`);
process.exitCode = violations.length === 0 ? 0 : 1;
