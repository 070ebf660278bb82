// What a stage of the test run came to, and the one line that sums all of them up.

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface StageOutcome extends Tally {
  readonly name: string;
  readonly durationMs: number;
  /** Sentences for the summary; also present when the stage passed. */
  readonly notes: readonly string[];
}

/** The fields of `jest --json` that are read. */
interface JestResult {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
}

/**
 * Counts a jest run. `json` is absent when jest wrote none. A run that ends badly although no test failed, or in which no
 * test ran, counts as one failure: silence is not success.
 */
export function tallyJest(json: string | undefined, exitCode: number): Tally & { readonly notes: readonly string[] } {
  const result = json === undefined ? undefined : parseResult(json);
  if (result === undefined) return { passed: 0, failed: 1, skipped: 0, notes: ['jest ended without a result'] };
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const skipped = result.numPendingTests + result.numTodoTests;
  const tally = { passed: result.numPassedTests, failed, skipped };
  if (failed > 0) return { ...tally, notes: [] };
  if (exitCode !== 0) return { ...tally, failed: 1, notes: [`jest ended with exit code ${exitCode}`] };
  if (tally.passed === 0) return { ...tally, failed: 1, notes: ['no test ran'] };
  return { ...tally, notes: [] };
}

function parseResult(json: string): JestResult | undefined {
  try {
    const result = JSON.parse(json) as Partial<JestResult> | null;
    return typeof result?.numPassedTests === 'number' && typeof result.numFailedTests === 'number'
      ? {
          numPassedTests: result.numPassedTests,
          numFailedTests: result.numFailedTests,
          numPendingTests: result.numPendingTests ?? 0,
          numTodoTests: result.numTodoTests ?? 0,
          numRuntimeErrorTestSuites: result.numRuntimeErrorTestSuites ?? 0,
        }
      : undefined;
  } catch {
    return undefined;
  }
}

/** A command that either worked or did not. */
export function tallyCheck(exitCode: number): Tally {
  return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

export function sum(tallies: readonly Tally[]): Tally {
  return tallies.reduce<Tally>(
    (total, { passed, failed, skipped }) => ({
      passed: total.passed + passed,
      failed: total.failed + failed,
      skipped: total.skipped + skipped,
    }),
    { passed: 0, failed: 0, skipped: 0 },
  );
}

/** `12 passed, 0 failed`, with `, 3 skipped` only when some were. */
export function formatTally({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** One line per stage with its time and result, notes beneath. */
export function formatStages(stages: readonly StageOutcome[]): string {
  const width = Math.max(...stages.map(({ name }) => name.length));
  return stages
    .flatMap((stage) => [
      `${stage.failed > 0 ? '✗' : '✓'} ${stage.name.padEnd(width)}  ${formatSeconds(stage.durationMs)}  ${formatTally(stage)}`,
      ...stage.notes.map((note) => `    ${note}`),
    ])
    .join('\n');
}

function formatSeconds(durationMs: number): string {
  return `${(durationMs / 1_000).toFixed(1)} s`.padStart(8);
}
