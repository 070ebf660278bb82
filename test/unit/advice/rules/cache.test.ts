import { describe, expect, it } from '@jest/globals';
import { adviceOf, linesOf } from '../advise.ts';

describe('adviseDockerfile', () => {
  describe('copy-before-install', () => {
    it.each([
      { when: 'npm ci follows', given: 'COPY . .\nRUN npm ci', want: [2] },
      { when: 'a bare yarn follows', given: 'COPY . .\nRUN yarn --frozen-lockfile', want: [2] },
      {
        when: 'pip -r follows',
        given: 'COPY . .\nRUN pip3 install --no-cache-dir -r /app/requirements.txt',
        want: [2],
      },
      { when: 'go mod download follows', given: 'ADD . .\nRUN go mod download && go build', want: [2] },
      { when: 'apt-get follows', given: 'COPY . .\nRUN apt-get update && apt-get install -y curl', want: [2] },
      { when: 'another program installed before', given: 'RUN apk add git\nCOPY . .\nRUN npm ci', want: [3] },
      { when: 'an earlier stage does it', given: 'COPY . .\nRUN npm ci\nFROM alpine:3.24', want: [2] },
      {
        when: 'the install comes first',
        given: 'COPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run x',
        want: [],
      },
      { when: 'it installs once more', given: 'RUN npm ci\nCOPY . .\nRUN npm ci --omit=dev', want: [] },
      { when: 'a stage below installed', given: 'RUN npm ci\nFROM a AS b\nCOPY . .\nRUN npm install', want: [] },
      { when: 'a cache is mounted', given: 'COPY . .\nRUN --mount=type=cache,target=/root/.npm npm ci', want: [] },
      { when: 'the sources are installed', given: 'COPY . .\nRUN pip install .', want: [] },
      { when: 'a file of the sources is', given: 'COPY . .\nRUN apt-get install ./app.deb', want: [] },
      { when: 'it is a build', given: 'COPY . .\nRUN npm run build && yarn --version && go mod verify', want: [] },
      { when: 'another stage installs', given: 'COPY . .\nFROM node:24\nRUN npm ci', want: [] },
      { when: 'a part is copied', given: 'COPY src .\nRUN npm ci', want: [] },
    ])('looks at the order when $when', ({ given, want }) => {
      expect(linesOf('copy-before-install', `FROM node:24 AS a\n${given}`)).toEqual(want);
    });

    it('names both lines and what to copy first', () => {
      expect(adviceOf('copy-before-install', 'FROM a:1\nCOPY . .\nRUN go mod download')[0]!.message).toMatch(
        /COPY \. .* line 3.*go\.mod and go\.sum/,
      );
    });
  });
});
