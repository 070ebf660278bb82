// A report that cannot be relied on. It never counts as clean: the verdict is Unknown, with this as its reason.

import { TerminalError } from '../errors.ts';

/**
 * Empty: there is no report. Unreadable: no JSON, or not whole. UnsupportedSchema: a format of another version.
 * AnotherImage: it is about something else. TooLarge: beyond MAX_REPORT_BYTES or MAX_FINDINGS.
 */
export type ReportProblem = 'Empty' | 'Unreadable' | 'UnsupportedSchema' | 'AnotherImage' | 'TooLarge';

export class ReportError extends TerminalError {
  readonly problem: ReportProblem;

  constructor(problem: ReportProblem, message: string, cause?: unknown) {
    super(message, { code: `Report${problem}`, ...(cause !== undefined && { cause }) });
    this.problem = problem;
  }
}
