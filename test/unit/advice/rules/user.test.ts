import { describe, expect, it } from '@jest/globals';
import { DIGEST, GOOD_IMAGE, imageAdviceOf, linesOf } from '../advise.ts';

describe('adviseDockerfile', () => {
  describe('runs-as-root', () => {
    it.each([
      { when: 'the last user is root', given: 'FROM acme/base:1\nUSER app\nUSER root', want: [3] },
      { when: 'the last user is 0 with a group', given: 'FROM acme/base:1\nUSER 0:1000', want: [2] },
      { when: 'a variable says root', given: 'FROM acme/base:1\nARG WHO=root\nUSER $WHO', want: [3] },
      { when: 'a stage below says root', given: 'FROM acme/base:1 AS a\nUSER root\nFROM a\nRUN x', want: [2] },
      { when: 'none is set on an official image', given: 'FROM node:24\nCMD ["x"]', want: [1] },
      { when: 'none is set on distroless', given: 'FROM gcr.io/distroless/static-debian12:latest', want: [1] },
      { when: 'none is set on scratch, and it starts', given: 'FROM scratch\nENTRYPOINT ["/app"]', want: [1] },
      { when: 'only an earlier stage sets one', given: 'FROM node:24 AS a\nUSER node\nFROM node:24', want: [3] },
      { when: 'the last user is another', given: 'FROM node:24\nUSER root\nRUN x\nUSER node', want: [] },
      { when: 'the last user is a number', given: 'FROM node:24\nUSER 65532:0', want: [] },
      { when: 'the last user looks like root', given: 'FROM node:24\nUSER rootless', want: [] },
      { when: 'the user is not known', given: 'FROM node:24\nARG WHO\nUSER ${WHO}', want: [] },
      { when: 'the base may set one', given: 'FROM acme/base:1\nCMD ["x"]', want: [] },
      { when: 'distroless is nonroot', given: 'FROM gcr.io/distroless/static:nonroot', want: [] },
      { when: 'distroless is known by digest', given: `FROM gcr.io/distroless/static@${DIGEST}`, want: [] },
      { when: 'scratch only hands out files', given: 'FROM scratch\nCOPY --from=a /o /o', want: [] },
      { when: 'the base is not known', given: 'ARG BASE\nFROM $BASE', want: [] },
      { when: 'a look-alike of a heredoc comes first', given: 'FROM node:24\nRUN echo " <<E "\nUSER 1', want: [] },
      { when: 'there is no stage', given: 'USER root', want: [] },
    ])('looks at the end of the final stage when $when', ({ given, want }) => {
      expect(linesOf('runs-as-root', given)).toEqual(want);
    });
  });
});

describe('adviseImage', () => {
  describe('runs-as-root', () => {
    it.each([
      { user: undefined, want: 1 },
      { user: '', want: 1 },
      { user: '0', want: 1 },
      { user: 'root', want: 1 },
      { user: '0:1000', want: 1 },
      { user: 'root:root', want: 1 },
      { user: '65532', want: 0 },
      { user: 'nonroot:nonroot', want: 0 },
      { user: '1000:0', want: 0 },
    ])('has $want to say about the user $user', ({ user, want }) => {
      expect(imageAdviceOf('runs-as-root', { config: { ...GOOD_IMAGE.config, user } })).toHaveLength(want);
    });

    it('has nothing to say about Windows, which has no root', () => {
      const config = { ...GOOD_IMAGE.config, user: '', platform: { os: 'windows', architecture: 'amd64' } };

      expect(imageAdviceOf('runs-as-root', { config })).toEqual([]);
    });
  });
});
