import { describe, expect, it } from '@jest/globals';
import { adviceOf, DIGEST, linesOf } from '../advise.ts';

describe('adviseDockerfile', () => {
  describe('dockerignore-missing', () => {
    it.each([
      { when: 'all is copied', given: 'FROM a:1\nCOPY . /app', want: [2] },
      { when: 'all is added', given: 'FROM a:1\nADD ./ /app', want: [2] },
      { when: 'all is one of several', given: 'FROM a:1\nCOPY --chown=1 x . /app/', want: [2] },
      { when: 'the words are JSON', given: 'FROM a:1\nCOPY [".", "/a b"]', want: [2] },
      { when: 'a part is copied to here', given: 'FROM a:1\nCOPY package.json .', want: [] },
      { when: 'a folder is copied', given: 'FROM a:1\nCOPY ./src .', want: [] },
      { when: 'it comes from a stage', given: 'FROM a:1 AS b\nFROM a:1\nCOPY --from=b . .', want: [] },
      { when: 'it comes from nobody knows where', given: 'FROM a:1\nCOPY --from=$X . .', want: [] },
      { when: 'something is left out', given: 'FROM a:1\nCOPY --exclude=.git . .', want: [] },
      { when: 'it comes from a heredoc', given: 'FROM a:1\nCOPY <<EOF /x\n. .\nEOF', want: [] },
    ])('looks at what is copied when $when', ({ given, want }) => {
      expect(linesOf('dockerignore-missing', given, { dockerignore: undefined })).toEqual(want);
    });

    it.each(['', '.git'])('has nothing to say where there is a .dockerignore: %j', (dockerignore) => {
      expect(linesOf('dockerignore-missing', 'FROM a:1\nCOPY . .', { dockerignore })).toEqual([]);
    });

    it('is worse in what is shipped', () => {
      const given = 'FROM a:1 AS build\nCOPY . .\nFROM a:1\nCOPY . .';

      const advice = adviceOf('dockerignore-missing', given, { dockerignore: undefined });
      expect(advice.map(({ severity }) => severity)).toEqual(['Low', 'Medium']);
    });
  });

  describe('remote-file-unverified', () => {
    it.each([
      { when: 'there is no checksum', given: 'ADD https://example.com/a.tgz /a', want: [2] },
      { when: 'a variable has the address', given: 'ARG U=http://example.com/a\nADD $U /a', want: [3] },
      { when: 'a part of the address is not known', given: 'ADD https://example.com/$V/a /a', want: [2] },
      { when: 'there is a checksum', given: `ADD --checksum=${DIGEST} https://example.com/a /a`, want: [] },
      { when: 'the checksum is not known', given: 'ADD --checksum=$SUM https://example.com/a /a', want: [] },
      { when: 'it is a file', given: 'ADD a.tgz /a', want: [] },
      { when: 'it is a repository', given: 'ADD https://github.com/acme/web.git#v1 /a', want: [] },
      { when: 'it is the target', given: 'ADD a https://example.com/', want: [] },
      { when: 'it is not ADD', given: 'RUN curl https://example.com/a', want: [] },
    ])('looks at ADD when $when', ({ given, want }) => {
      expect(linesOf('remote-file-unverified', `FROM a:1\n${given}`)).toEqual(want);
    });

    it('names the host only', () => {
      const [advice] = adviceOf('remote-file-unverified', 'FROM a:1\nADD https://me:hush@example.com/?token=x /a');

      expect(advice!.message).toContain('example.com');
      expect(advice!.message).not.toMatch(/hush|token/);
    });
  });

  describe('copy-from-latest', () => {
    it.each([
      { when: 'the tag is latest', given: 'COPY --from=busybox:latest /a /a', want: [2] },
      { when: 'a repository has no tag', given: 'COPY --from=ghcr.io/astral-sh/uv /uv /bin/', want: [2] },
      { when: 'a mount takes it', given: 'RUN --mount=type=bind,from=ghcr.io/acme/x:latest,target=/x y', want: [2] },
      { when: 'it has a version', given: 'COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/', want: [] },
      { when: 'it has a digest', given: `COPY --from=acme/x:latest@${DIGEST} /a /a`, want: [] },
      { when: 'it is a stage, in another case', given: 'COPY --from=BUILD /a /a', want: [] },
      { when: 'it is the number of a stage', given: 'COPY --from=0 /a /a', want: [] },
      { when: 'it may be a named context', given: 'COPY --from=assets /a /a', want: [] },
      { when: 'it is not known', given: 'COPY --from=$WHERE /a /a', want: [] },
    ])('looks at the source when $when', ({ given, want }) => {
      expect(linesOf('copy-from-latest', `FROM a:1 AS Build\n${given}`)).toEqual(want);
    });
  });
});
