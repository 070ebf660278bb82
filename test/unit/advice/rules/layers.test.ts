import { describe, expect, it } from '@jest/globals';
import { imageAdviceOf, linesOf } from '../advise.ts';

const MB = 1_000_000;

/** Layers of these sizes in MB, each of its own content. */
function layers(...sizes: readonly (number | undefined)[]) {
  return {
    manifest: {
      layers: sizes.map((size, index) => ({
        digest: `sha256:${String(index).padStart(64, '0')}`,
        ...(size !== undefined && { sizeBytes: size * MB }),
      })),
    },
  };
}

/** Layers of these digits, all of one size in bytes. */
function alike(digits: string, sizeBytes: number) {
  return {
    manifest: { layers: Array.from(digits).map((digit) => ({ digest: `sha256:${digit.repeat(64)}`, sizeBytes })) },
  };
}

describe('adviseDockerfile', () => {
  describe('too-many-run-layers', () => {
    const base = 'FROM node:24 AS build\n';
    it.each([
      { when: 'there are eleven', given: base + 'RUN x\n'.repeat(11), want: [1] },
      { when: 'there are ten', given: base + 'RUN x\n'.repeat(10), want: [] },
      { when: 'an earlier stage has them', given: `${base}${'RUN x\n'.repeat(11)}FROM alpine:3.24`, want: [] },
      { when: 'a heredoc has them', given: `${base}RUN <<EOF\n${'RUN x\n'.repeat(11)}EOF`, want: [] },
    ])('counts the RUN of the final stage when $when', ({ given, want }) => {
      expect(linesOf('too-many-run-layers', given)).toEqual(want);
    });
  });
});

describe('adviseImage', () => {
  describe('too-many-layers', () => {
    it.each([
      { count: 26, want: 1 },
      { count: 25, want: 0 },
    ])('has $want to say about $count layers', ({ count, want }) => {
      expect(imageAdviceOf('too-many-layers', layers(...Array<number>(count).fill(1)))).toHaveLength(want);
    });
  });

  describe('image-too-large', () => {
    it.each([
      { when: 'they sum up to more', given: layers(200, 200, 101), want: 1 },
      { when: 'they sum up to just as much', given: layers(200, 200, 100), want: 0 },
      { when: 'the registry does not say', given: layers(undefined, undefined), want: 0 },
      { when: 'it is one layer three times', given: alike('aaa', 200 * MB), want: 0 },
    ])('sums the layers when $when', ({ given, want }) => {
      expect(imageAdviceOf('image-too-large', given)).toHaveLength(want);
    });
  });

  describe('layer-too-large', () => {
    it.each([
      { when: 'the second is', given: layers(1, 251), want: [{ layer: 1 }] },
      { when: 'none is', given: layers(250, 250), want: [] },
    ])('points at the layer when $when', ({ given, want }) => {
      expect(imageAdviceOf('layer-too-large', given).map(({ location }) => location)).toEqual(want);
    });
  });

  describe('layer-duplicated', () => {
    it.each([
      { when: 'two are the same', given: alike('abca', 5_000), want: [{ layer: 3 }] },
      { when: 'all are different', given: alike('abc', 5_000), want: [] },
      { when: 'the empty layer is there twice', given: alike('aa', 32), want: [] },
    ])('points at the second when $when', ({ given, want }) => {
      expect(imageAdviceOf('layer-duplicated', given).map(({ location }) => location)).toEqual(want);
    });
  });
});
