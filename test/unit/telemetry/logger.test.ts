import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TransientError } from '../../../operator/errors.ts';
import { createLogger, silentLogger, type LogFields, type LogLevel } from '../../../operator/telemetry/logger.ts';
import { Redacted } from '../../../operator/telemetry/redaction.ts';
import { systemClock } from '../../../operator/time/clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

function loggerInto(lines: string[], level: LogLevel = 'info') {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  return createLogger({ level, stream, clock: { ...systemClock, now: () => 0 } });
}

function logged(fields: LogFields): Record<string, unknown> {
  const lines: string[] = [];
  loggerInto(lines).info('Promoting candidate', fields);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
}

describe('createLogger', () => {
  it('writes one JSON object per line with time, level, message and fields', () => {
    const lines: string[] = [];

    loggerInto(lines).warn('Registry is slow', { host: 'ghcr.io', durationMs: 5 });

    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"warn","message":"Registry is slow","host":"ghcr.io","durationMs":5}\n',
    ]);
  });

  it('keeps quiet below its level', () => {
    const lines: string[] = [];

    loggerInto(lines, 'warn').info('Promoting candidate');

    expect(lines).toEqual([]);
  });

  it.each(['message', 'level', 'time'])('keeps its own %s when a field has that name', (name) => {
    const line = logged({ [name]: 'from a field' });

    expect(line).toMatchObject({
      message: 'Promoting candidate',
      level: 'info',
      time: '1970-01-01T00:00:00.000Z',
      [`field.${name}`]: 'from a field',
    });
  });

  it('writes an error with name, message, code, cause and stack', () => {
    const err = new TransientError('Listing tags of ghcr.io/acme/api: 503', {
      code: 'Unavailable',
      cause: new Error('reset'),
    });

    const line = logged({ err });

    expect(line['err']).toMatchObject({
      name: 'TransientError',
      message: 'Listing tags of ghcr.io/acme/api: 503',
      code: 'Unavailable',
      cause: { name: 'Error', message: 'reset' },
      stack: expect.stringContaining('logger.test') as unknown,
    });
  });

  it.each([
    { when: 'a secret', value: { password: new Redacted('hunter2') }, want: { password: '[redacted]' } },
    { when: 'a date', value: new Date(0), want: '1970-01-01T00:00:00.000Z' },
    { when: 'a map', value: new Map([['a', 1n]]), want: { a: '1' } },
    { when: 'a set', value: new Set(['a']), want: ['a'] },
    { when: 'bytes', value: Buffer.alloc(3), want: '[3 bytes]' },
    { when: 'not a number', value: NaN, want: 'NaN' },
    {
      when: 'a list that is too long',
      value: Array.from({ length: 201 }, () => 0),
      want: [...Array<number>(200).fill(0), '[1 more]'],
    },
    {
      when: 'an object that cannot be read',
      value: {
        toJSON: () => {
          throw new Error('no');
        },
      },
      want: '[unreadable]',
    },
  ])('writes plain JSON for $when', ({ value, want }) => {
    expect(logged({ value })['value']).toEqual(want);
  });

  it('cuts a cycle', () => {
    const value: Record<string, unknown> = { name: 'a' };
    value['self'] = value;

    expect(logged({ value })['value']).toEqual({ name: 'a', self: '[circular]' });
  });

  it('cuts text that is too long', () => {
    const line = logged({ text: 'x'.repeat(1_000_000) });

    expect(line['text']).toHaveLength(8_193);
  });

  it('writes one line of JSON whatever it is given, and no secret in it', () => {
    const secret = fc.constant(new Redacted('hunter2'));
    const value = fc.oneof(
      secret,
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true }),
      fc.dictionary(fc.string(), fc.oneof(secret, fc.anything())),
    );

    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (fields) => {
        const lines: string[] = [];

        loggerInto(lines).info('Promoting candidate', fields);

        expect(lines).toHaveLength(1);
        expect(lines[0]).toMatch(/^[^\n]+\n$/);
        expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', message: 'Promoting candidate' });
        expect(lines[0]).not.toContain('hunter2');
      }),
    );
  });

  it('adds the fields of child loggers, the nearest winning', () => {
    const lines: string[] = [];

    loggerInto(lines).child({ controller: 'policy', name: 'a' }).child({ name: 'b' }).info('Promoting candidate');

    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ controller: 'policy', name: 'b' });
  });
});

describe('recordingLogger', () => {
  it('records lines of every level and child', () => {
    const log = recordingLogger();

    log.child({ controller: 'policy' }).debug('Fetched list', { count: 2 });

    expect(log.records).toEqual([
      { level: 'debug', message: 'Fetched list', fields: { controller: 'policy', count: 2 } },
    ]);
  });
});

describe('silentLogger', () => {
  it('takes everything and keeps nothing', () => {
    const log = silentLogger.child({ a: 1 });

    expect(() => {
      log.error('Lost', { b: 2n });
    }).not.toThrow();
  });
});

describe('Redacted', () => {
  const secret = new Redacted('hunter2');

  it('gives the secret back when asked', () => {
    expect(secret.reveal()).toBe('hunter2');
  });

  it.each([
    { when: 'made a string', text: String(secret) },
    { when: 'put into a template', text: `Basic ${secret as unknown as string}` },
    { when: 'joined', text: ['a'].concat(secret as unknown as string).join() },
    { when: 'made JSON', text: JSON.stringify({ secret }) },
    { when: 'inspected', text: inspect({ secret }, { showHidden: true, depth: 9 }) },
    { when: 'enumerated', text: JSON.stringify(Object.entries(secret)) },
  ])('does not show when $when', ({ text }) => {
    expect(text).not.toContain('hunter2');
  });
});
