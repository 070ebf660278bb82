import { describe, expect, it } from '@jest/globals';
import { TransientError } from '../../../operator/errors.ts';
import { responseToError, statusToError } from '../../../operator/kube/kube-error.ts';

const status = (fields: object): string => JSON.stringify({ kind: 'Status', status: 'Failure', ...fields });

describe('responseToError', () => {
  it.each([
    {
      when: 'a conflict',
      code: 409,
      body: status({ reason: 'Conflict' }),
      is: { isConflict: true, isAlreadyExists: false },
    },
    {
      when: 'a taken name',
      code: 409,
      body: status({ reason: 'AlreadyExists' }),
      is: { isConflict: false, isAlreadyExists: true },
    },
    { when: 'a missing object', code: 404, body: status({ reason: 'NotFound' }), is: { isNotFound: true } },
    { when: 'a missing right', code: 403, body: status({ reason: 'Forbidden' }), is: { isForbidden: true } },
    { when: 'an old version', code: 410, body: status({ reason: 'Expired' }), is: { isExpired: true } },
    {
      when: 'a failed test of a patch',
      code: 422,
      body: status({ reason: 'Invalid', message: 'the server rejected our request due to an error in our request' }),
      is: { isInvalid: true, isFailedTest: true },
    },
    {
      when: 'an invalid field',
      code: 422,
      body: status({ reason: 'Invalid', details: { causes: [{ reason: 'FieldValueRequired', field: 'spec.image' }] } }),
      is: { isInvalid: true, isFailedTest: false },
    },
    {
      when: 'a version from the future',
      code: 504,
      body: status({ reason: 'Timeout', details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } }),
      is: { isTooLargeResourceVersion: true, isAmbiguous: true },
    },
    {
      when: 'a page of a proxy',
      code: 502,
      body: '<html>\n<h1>Bad   Gateway</h1>',
      is: { isAmbiguous: true, reason: 'Unknown' },
    },
    { when: 'no body', code: 503, body: '', is: { reason: 'ServiceUnavailable', isAmbiguous: true } },
  ])('recognises $when', ({ code, body, is }) => {
    const error = responseToError('Patching x', code, body);

    expect(error).toMatchObject({ status: code, ...is });
    expect(error).toBeInstanceOf(TransientError);
  });

  it('says what was being done and what the server said', () => {
    const body = status({ reason: 'Forbidden', message: 'pods is forbidden' });

    expect(responseToError('Listing pods', 403, body).message).toBe('Listing pods: 403 Forbidden: pods is forbidden');
  });

  it.each([
    { when: 'the header', header: '7', details: { retryAfterSeconds: 1 }, want: 7_000 },
    { when: 'the details', header: undefined, details: { retryAfterSeconds: 1 }, want: 1_000 },
    {
      when: 'neither, when the header is a date',
      header: 'Wed, 21 Oct 2026 07:28:00 GMT',
      details: {},
      want: undefined,
    },
  ])('takes the wait from $when', ({ header, details, want }) => {
    const error = responseToError('Listing pods', 429, status({ reason: 'TooManyRequests', details }), header);

    expect(error.retryAfterMs).toBe(want);
    expect(error.isThrottled).toBe(true);
  });
});

describe('statusToError', () => {
  it('takes the code of an ERROR event from its status', () => {
    expect(statusToError('Watching pods', 500, { code: 410, reason: 'Expired' }).isExpired).toBe(true);
  });
});
