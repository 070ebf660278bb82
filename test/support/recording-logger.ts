// A Logger that keeps what it is told, so that a test can read the log as data.

import { bindFields, type LogFields, type Logger, type LogLevel } from '../../operator/telemetry/logger.ts';

export interface LogRecord {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

export interface RecordingLogger extends Logger {
  /** Everything logged so far, through this logger and its children, oldest first. */
  readonly records: readonly LogRecord[];
}

export function recordingLogger(): RecordingLogger {
  const records: LogRecord[] = [];
  const logger = bindFields((level, message, fields) => records.push({ level, message, fields }), {});
  return { ...logger, records };
}
