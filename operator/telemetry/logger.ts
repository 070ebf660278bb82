// One JSON object per line on stdout: a constant message, and everything that varies as a field. Values are turned into
// plain JSON here, bounded in size, so that no field (an Error, a cycle, a secret, a field called `message`) can spoil a line.

import type { Writable } from 'node:stream';
import winston from 'winston';
import { systemClock, type Clock } from '../time/clock.ts';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Readonly<Record<string, unknown>>;

/**
 * `message` is a constant sentence with a capital first letter and no final stop; what varies goes into `fields`, errors
 * under `err`. debug = how, info = a state changed, warn = degraded but going on, error = someone should look.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line; the fields of a single line win over these. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Where the lines go. Default: the process's stdout. */
  readonly stream?: Writable;
  /** Gives the lines their `time`. Default: the machine's clock. */
  readonly clock?: Clock;
}

const LINE = Symbol.for('message');
const RESERVED_FIELDS: ReadonlySet<string> = new Set(['time', 'level', 'message']);
const MAX_STRING_LENGTH = 8_192;
const MAX_DEPTH = 6;
const MAX_ENTRIES = 200;

/** A logger that writes JSON lines. A field named `time`, `level` or `message` appears as `field.<name>`. */
export function createLogger(options: LoggerOptions): Logger {
  const clock = options.clock ?? systemClock;
  const sink = winston.createLogger({
    level: options.level,
    // The line is complete before winston sees it, because winston's own way of merging metadata glues a field called
    // `message` to the message and prints an Error as {}.
    format: winston.format((info) => ({ ...info, [LINE]: info.message }))(),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's types call the class an instance
    transports: [new winston.transports.Stream({ stream: options.stream ?? process.stdout })],
  });
  const write = (level: LogLevel, message: string, fields: LogFields): void => {
    if (!sink.isLevelEnabled(level)) return;
    sink.log({ level, message: formatLine(new Date(clock.now()), level, message, fields) });
  };
  return bindFields(write, {});
}

/** Writes nothing. For code that is used without a log, such as the command line. */
export const silentLogger: Logger = bindFields(() => undefined, {});

/** Makes a Logger of any function that takes a finished record; `fields` holds those of `child` as well. */
export function bindFields(
  write: (level: LogLevel, message: string, fields: LogFields) => void,
  bound: LogFields,
): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      write(level, message, { ...bound, ...fields });
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => bindFields(write, { ...bound, ...fields }),
  };
}

function formatLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const line: Record<string, unknown> = { time: time.toISOString(), level, message };
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    line[RESERVED_FIELDS.has(name) ? `field.${name}` : name] = toLoggable(value, []);
  }
  return JSON.stringify(line);
}

/** Plain JSON for any value. `path` holds the objects on the way down, to notice a cycle. */
function toLoggable(value: unknown, path: readonly object[]): unknown {
  switch (typeof value) {
    case 'string':
      return clip(value);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'bigint':
    case 'symbol':
      return String(value);
    case 'function':
      return `[function ${value.name}]`;
    case 'object':
      return value === null ? null : objectToLoggable(value, path);
    default:
      return value;
  }
}

function objectToLoggable(value: object, path: readonly object[]): unknown {
  if (path.includes(value)) return '[circular]';
  if (path.length >= MAX_DEPTH) return '[too deep]';
  const inner = [...path, value];
  try {
    if (isError(value)) return errorToLoggable(value, inner);
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (hasToJson(value)) return toLoggable(value.toJSON(), inner);
    if (value instanceof Map)
      return entriesToLoggable(
        [...value].map(([key, item]) => [String(key), item]),
        inner,
      );
    if (Array.isArray(value) || value instanceof Set) return itemsToLoggable([...value], inner);
    return entriesToLoggable(Object.entries(value), inner);
  } catch {
    // A getter or toJSON that throws must not take the operator down with it.
    return '[unreadable]';
  }
}

function isError(value: object): value is Error {
  // Errors of another realm are no instances of ours.
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

function hasToJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}

function errorToLoggable(error: Error, path: readonly object[]): unknown {
  const { name, message, stack, cause } = error;
  return {
    name,
    message: clip(message),
    ...('code' in error && { code: toLoggable(error.code, path) }),
    ...(error instanceof AggregateError && { errors: itemsToLoggable(error.errors, path) }),
    ...(cause !== undefined && { cause: toLoggable(cause, path) }),
    ...(stack !== undefined && { stack: clip(stack) }),
  };
}

function itemsToLoggable(items: readonly unknown[], path: readonly object[]): unknown {
  const shown = items.slice(0, MAX_ENTRIES).map((item) => toLoggable(item, path));
  return items.length > MAX_ENTRIES ? [...shown, `[${items.length - MAX_ENTRIES} more]`] : shown;
}

function entriesToLoggable(entries: readonly (readonly [string, unknown])[], path: readonly object[]): unknown {
  const shown = entries.slice(0, MAX_ENTRIES).map(([key, item]) => [key, toLoggable(item, path)] as const);
  return Object.fromEntries(
    entries.length > MAX_ENTRIES ? [...shown, ['[more]', entries.length - MAX_ENTRIES]] : shown,
  );
}

function clip(text: string): string {
  return text.length > MAX_STRING_LENGTH ? `${text.slice(0, MAX_STRING_LENGTH)}…` : text;
}
