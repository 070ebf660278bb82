import { describe, expect, it } from '@jest/globals';
import { DIGEST, imageAdviceOf } from '../advise.ts';

describe('adviseImage', () => {
  describe('image-moving-tag', () => {
    it.each([
      { reference: 'nginx', want: 1 },
      { reference: 'ghcr.io/acme/web:latest', want: 1 },
      { reference: 'ghcr.io/acme/web:main', want: 1 },
      { reference: 'localhost:5000/web:nightly', want: 1 },
      { reference: 'ghcr.io/acme/web:1.2.3', want: 0 },
      { reference: 'ghcr.io/acme/web:main-4f2a', want: 0 },
      { reference: `ghcr.io/acme/web:latest@${DIGEST}`, want: 0 },
      { reference: 'not an image', want: 0 },
    ])('has $want to say about $reference', ({ reference, want }) => {
      expect(imageAdviceOf('image-moving-tag', { reference })).toHaveLength(want);
    });
  });

  describe('image-unpinned', () => {
    it.each([
      { reference: 'ghcr.io/acme/web:1.2.3', want: 1 },
      { reference: `ghcr.io/acme/web@${DIGEST}`, want: 0 },
      { reference: `ghcr.io/acme/web:1.2.3@${DIGEST}`, want: 0 },
      { reference: 'ghcr.io/acme/web:latest', want: 0 },
      { reference: 'not an image', want: 0 },
    ])('has $want to say about $reference', ({ reference, want }) => {
      expect(imageAdviceOf('image-unpinned', { reference })).toHaveLength(want);
    });
  });
});
