// R3: garbage in a tag list. The whole page is good, or none of it.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SlipwayError } from '../../../operator/errors.ts';
import { parseTagPage } from '../../../operator/registry/tag-page.ts';

describe('parseTagPage', () => {
  it.each([
    { when: 'it is as specified', given: '{"name":"a","tags":["v1","latest"]}', want: ['v1', 'latest'] },
    { when: 'it is empty', given: '{"name":"a","tags":[]}', want: [] },
    { when: 'tags are null', given: '{"name":"a","tags":null}', want: undefined },
    { when: 'tags are repeated', given: '{"tags":["a","a"]}', want: ['a', 'a'] },
    { when: 'there are other fields', given: '{"child":[],"manifest":{},"tags":["a"]}', want: ['a'] },
  ])('reads it when $when', ({ given, want }) => {
    expect(parseTagPage(Buffer.from(given))).toEqual(want);
  });

  it.each([
    { when: 'it is cut off', given: '{"name":"a","tags":["v1","v2' },
    { when: 'it is HTML', given: '<html></html>' },
    { when: 'it is empty', given: '' },
    { when: 'it is a list', given: '["v1"]' },
    { when: 'it is null', given: 'null' },
    { when: 'there are no tags', given: '{"name":"a"}' },
    { when: 'tags are an object', given: '{"tags":{"a":1}}' },
    { when: 'a tag is a number', given: '{"tags":["v1",2]}' },
    { when: 'a tag is null', given: '{"tags":["v1",null]}' },
    { when: 'a tag has a slash', given: '{"tags":["v1","a/b"]}' },
    { when: 'a tag is empty', given: '{"tags":[""]}' },
    { when: 'a tag is too long', given: JSON.stringify({ tags: ['v'.repeat(129)] }) },
    { when: 'a tag is not ASCII', given: '{"tags":["vérsion"]}' },
    { when: 'a tag is 10 MB long', given: JSON.stringify({ tags: ['v'.repeat(10_000_000)] }) },
    { when: 'it holds errors', given: '{"errors":[{"code":"DENIED"}],"tags":["v1"]}' },
  ])('refuses it when $when', ({ given }) => {
    expect(() => parseTagPage(Buffer.from(given))).toThrow(expect.objectContaining({ code: 'InvalidResponse' }));
  });

  it('refuses bytes that are not UTF-8', () => {
    const body = Buffer.concat([Buffer.from('{"tags":["v1"],"x":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]);

    expect(() => parseTagPage(body)).toThrow(expect.objectContaining({ code: 'InvalidResponse' }));
  });

  it('throws nothing but our own errors', () => {
    const body = fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.anything().map((tags) => Buffer.from(JSON.stringify({ tags }))),
    );
    fc.assert(
      fc.property(body, (bytes) => {
        try {
          const tags = parseTagPage(bytes);
          for (const tag of tags ?? []) expect(tag).toMatch(/^\w[\w.-]{0,127}$/);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SlipwayError);
        }
      }),
    );
  });
});
