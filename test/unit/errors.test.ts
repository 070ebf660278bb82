import { describe, expect, it } from '@jest/globals';
import { SlipwayError, TerminalError, toError, TransientError } from '../../operator/errors.ts';

describe.each([
  { name: 'TransientError', Type: TransientError },
  { name: 'TerminalError', Type: TerminalError },
])('$name', ({ name, Type }) => {
  it('carries its name, code, message and cause', () => {
    const cause = new Error('ECONNRESET');

    const error = new Type('Listing tags of ghcr.io/acme/web: connection reset', { code: 'ConnectionReset', cause });

    expect(error).toBeInstanceOf(SlipwayError);
    expect(error).toMatchObject({ name, code: 'ConnectionReset', cause });
    expect(String(error)).toBe(`${name}: Listing tags of ghcr.io/acme/web: connection reset`);
  });

  it('has no cause to show when there was none', () => {
    expect(new Type('x', { code: 'X' })).not.toHaveProperty('cause');
  });
});

describe('TransientError', () => {
  it('says how long to wait only when the other side did', () => {
    expect(new TransientError('x', { code: 'X', retryAfterMs: 0 }).retryAfterMs).toBe(0);
    expect(new TransientError('x', { code: 'X' }).retryAfterMs).toBeUndefined();
  });

  it('is no TerminalError, nor the other way round', () => {
    expect(new TransientError('x', { code: 'X' })).not.toBeInstanceOf(TerminalError);
    expect(new TerminalError('x', { code: 'X' })).not.toBeInstanceOf(TransientError);
  });
});

describe('toError', () => {
  it('leaves an error as it is', () => {
    const error = new TerminalError('x', { code: 'X' });

    expect(toError(error)).toBe(error);
  });

  it.each([
    { given: 'text', want: 'text' },
    { given: undefined, want: 'undefined' },
    { given: null, want: 'null' },
    { given: 42, want: '42' },
    { given: Symbol('s'), want: 'Symbol(s)' },
  ])('makes one of $given', ({ given, want }) => {
    expect(toError(given)).toBeInstanceOf(Error);
    expect(toError(given).message).toBe(want);
  });

  it('shows what an object holds, also one that cannot become a string', () => {
    expect(toError({ status: 500 }).message).toBe('{ status: 500 }');
    expect(toError(Object.create(null)).message).toContain('{}');
  });
});
