import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { adviseDockerfile } from '../../../operator/advice/advise-dockerfile.ts';
import { DIGEST, NOW_MS } from './advise.ts';

const FIXTURES = new URL('../../support/fixtures/dockerfiles/', import.meta.url);

function read(name: string): string {
  return readFileSync(new URL(name, FIXTURES), 'utf8');
}

function adviseFixture(name: string) {
  return adviseDockerfile({ dockerfile: read(name), fileName: name, nowMs: NOW_MS });
}

describe('adviseDockerfile', () => {
  it('has nothing to say about a good Dockerfile', () => {
    const dockerfile = [
      '# syntax=docker/dockerfile:1',
      `FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26@${DIGEST} AS build`,
      'WORKDIR /src',
      'COPY go.mod go.sum ./',
      'RUN --mount=type=cache,target=/go/pkg/mod go mod download',
      'COPY . .',
      'RUN --mount=type=secret,id=token,env=TOKEN go build -o /app ./cmd/app',
      `FROM gcr.io/distroless/static-debian12:nonroot@${DIGEST}`,
      'COPY --from=build /app /app',
      'USER 65532:65532',
      'ENTRYPOINT ["/app"]',
    ].join('\n');

    expect(adviseDockerfile({ dockerfile, dockerignore: '.git', fileName: 'Dockerfile', nowMs: NOW_MS })).toEqual([]);
  });

  it('goes by the lines of the file', () => {
    const dockerfile = 'ARG TOKEN=abcd1\nFROM node\nRUN apk add x\nCOPY . .\nENV SECRET=abcd1';

    const advice = adviseDockerfile({ dockerfile, fileName: 'app/Dockerfile', nowMs: NOW_MS });
    const lines = advice.map(({ location }) => (location && 'line' in location ? location.line : 0));
    expect(lines).toEqual(lines.toSorted((a, b) => a - b));
    expect(lines[0]).toBe(1);
    expect(advice[0]!.location).toEqual({ file: 'app/Dockerfile', line: 1 });
  });

  it.each([
    { when: 'lines end in CRLF', given: '\uFEFFFROM a:1\r\nRUN x && \\\r\n  y\r\nUSER root\r\n' },
    { when: 'a \\r stands alone', given: 'FROM a:1\nRUN x\r\\\n  y\nUSER root' },
    { when: 'keywords are in lower case', given: 'from a:1\nrun x\n\nuser root' },
  ])('finds the line when $when', ({ given }) => {
    expect(adviseDockerfile({ dockerfile: given, fileName: 'Dockerfile', nowMs: NOW_MS })).toContainEqual(
      expect.objectContaining({ rule: 'runs-as-root', location: { file: 'Dockerfile', line: 4 } }),
    );
  });

  const fixtures = readdirSync(FIXTURES).filter((name) => name.endsWith('.Dockerfile'));

  it.each(fixtures)('reads %s', (name) => {
    const count = read(name).split('\n').length;

    for (const { location, message } of adviseFixture(name)) {
      expect(location).toEqual({ file: name, line: expect.any(Number) });
      expect(location && 'line' in location && location.line <= count).toBe(true);
      expect(message).toMatch(/^\S.*\.$/);
    }
  });

  it.each([
    { name: '01-arg.Dockerfile', said: 'registry.example.com/node:22-slim' },
    { name: '02-alias-chain.Dockerfile', said: 'gcr.io/distroless/static:nonroot' },
    { name: '03-default-ops.Dockerfile', said: 'debian:12' },
    { name: '06-numeric-case.Dockerfile', said: 'ubuntu:22.04' },
    { name: '09-shadow.Dockerfile', said: 'alpine:3.19' },
  ])('resolves the base of $name', ({ name, said }) => {
    const unpinned = adviseFixture(name).filter(({ rule }) => rule === 'base-image-unpinned');

    expect(unpinned.map(({ message }) => message)).toContainEqual(expect.stringContaining(`${said} can`));
  });

  it.each([
    { name: '07-escape.Dockerfile', why: 'pinned' },
    { name: '10-undefined.Dockerfile', why: 'not known, and never the stage before it' },
  ])('has nothing to say about the last base of $name: $why', ({ name }) => {
    const last =
      read(name)
        .trimEnd()
        .split('\n')
        .findLastIndex((line) => line.startsWith('FROM')) + 1;

    expect(
      adviseFixture(name).filter(({ location }) => location && 'line' in location && location.line === last),
    ).toEqual([]);
  });
});
