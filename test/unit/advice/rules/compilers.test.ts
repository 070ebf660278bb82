import { describe, expect, it } from '@jest/globals';
import { linesOf } from '../advise.ts';

describe('adviseDockerfile', () => {
  describe('compilers-in-image', () => {
    it.each([
      { when: 'the base is golang', given: 'FROM golang:1.26\nRUN go build', want: [1] },
      { when: 'the base is rust, by a stage', given: 'FROM rust:1.90 AS a\nFROM a', want: [1] },
      { when: 'the base is a mirrored maven', given: 'FROM public.ecr.aws/docker/library/maven:3', want: [1] },
      { when: 'gcc is installed', given: 'FROM a:1\nRUN apt-get update && apt-get install -y gcc', want: [2] },
      {
        when: 'a version of gcc is',
        given: 'FROM a:1\nRUN apt-get install -y \\\n  curl \\\n  gcc-12=12.2',
        want: [2],
      },
      { when: 'build-base is', given: 'FROM a:1\nRUN apk add --no-cache build-base', want: [2] },
      { when: 'a later layer removes it', given: 'FROM a:1\nRUN apk add gcc\nRUN apk del gcc', want: [2] },
      { when: 'a heredoc installs it', given: 'FROM a:1\nRUN <<EOF\nset -e\ndnf install -y gcc-c++\nEOF', want: [2] },
      { when: 'they stay in an earlier stage', given: 'FROM golang:1.26 AS b\nRUN go build\nFROM a:1', want: [] },
      { when: 'the same layer removes it', given: 'FROM a:1\nRUN apk add -t d gcc && x && apk del d', want: [] },
      { when: 'it is purged', given: 'FROM a:1\nRUN apt-get install gcc && apt-get purge -y gcc', want: [] },
      { when: 'a library is installed', given: 'FROM a:1\nRUN apt-get install -y libgcc-s1 gcc-12-base', want: [] },
      { when: 'it is only mentioned', given: 'FROM a:1\nRUN echo apt-get install gcc', want: [] },
      { when: 'it is the golang of somebody', given: 'FROM acme/golang:1', want: [] },
    ])('looks at what is shipped when $when', ({ given, want }) => {
      expect(linesOf('compilers-in-image', given)).toEqual(want);
    });
  });
});
