import { describe, expect, it } from '@jest/globals';
import { adviseDockerfile } from '../../../../operator/advice/advise-dockerfile.ts';
import { linesOf, NOW_MS } from '../advise.ts';

// Put together here, so that no scanner of this repository takes them for real ones.
const GITHUB = `ghp_${'a1B2'.repeat(9)}`;
const AWS = `AKIA${'ABCD2345'.repeat(2)}`;

function linesIn(rule: string, instructions: string): readonly number[] {
  return linesOf(rule, `FROM a:1\n${instructions}`);
}

describe('adviseDockerfile', () => {
  describe('secret-in-env', () => {
    it.each([
      { when: 'it is a password', given: 'ENV DB_PASSWORD=hunter2', want: [2] },
      { when: 'it is a password of digits', given: 'ENV PGPASSWORD=123456', want: [2] },
      { when: 'it is a token among others', given: 'ENV A=1 \\\n  NPM_TOKEN="abc def" B=2', want: [2] },
      { when: 'it is written in the old form', given: 'ENV CLIENT_SECRET abc def', want: [2] },
      { when: 'it is a key', given: 'ENV aws_secret_key=abcd', want: [2] },
      { when: 'it is another key that looks random', given: 'ENV STORAGE_KEY=Zm9vYmFyMTIzNDU2Nzg5', want: [2] },
      { when: 'its format says so', given: `ENV X=${GITHUB}`, want: [2] },
      { when: 'an argument brings it', given: 'ARG P=hunter2\nENV PASSWORD=$P', want: [3] },
      { when: 'it is in an earlier stage', given: 'ENV TOKEN=abcd1\nFROM b:1', want: [2] },
      { when: 'it is empty', given: 'ENV PASSWORD= TOKEN=""', want: [] },
      { when: 'it comes at run time', given: 'ENV PASSWORD=$PASSWORD', want: [] },
      { when: 'it is a file', given: 'ENV PASSWORD_FILE=/run/secrets/p PASSWORD=/run/secrets/p', want: [] },
      { when: 'it is an address', given: 'ENV TOKEN_URL=https://a/b AUTH_TOKEN=https://a/token', want: [] },
      { when: 'it is a switch', given: 'ENV MYSQL_ALLOW_EMPTY_PASSWORD=yes', want: [] },
      { when: 'it is a number of tokens', given: 'ENV MAX_TOKEN=4096', want: [] },
      { when: 'it is a word for a tokenizer', given: 'ENV PAD_TOKEN=<pad>', want: [] },
      { when: 'it is a stand-in', given: 'ENV SECRET=changeme TOKEN=xxxx API_KEY=your-key-here', want: [] },
      { when: 'it is a public key', given: 'ENV GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305', want: [] },
      { when: 'it is the key of a map', given: 'ENV SORT_KEY=name CACHE_KEY=v1', want: [] },
      {
        when: 'only a part of the name says so',
        given: 'ENV TOKENIZERS_PARALLELISM=x KEYBOARD=de SECRETARY=bob',
        want: [],
      },
    ])('looks at names and values when $when', ({ given, want }) => {
      expect(linesIn('secret-in-env', given)).toEqual(want);
    });
  });

  describe('secret-in-arg', () => {
    it.each([
      { when: 'it has a default', given: 'ARG API_KEY=abcdef', want: [2] },
      { when: 'it is one of several', given: 'ARG A B=1 NPM_TOKEN=abcd', want: [2] },
      { when: 'it has none', given: 'ARG NPM_TOKEN', want: [] },
      { when: 'it is something else', given: 'ARG VERSION=1.2', want: [] },
    ])('looks at defaults when $when', ({ given, want }) => {
      expect(linesIn('secret-in-arg', given)).toEqual(want);
    });

    it('also looks before the first FROM', () => {
      expect(linesOf('secret-in-arg', 'ARG TOKEN=abcd1\nFROM a:1')).toEqual([1]);
    });
  });

  describe('secret-in-run', () => {
    it.each([
      { when: 'it is exported', given: 'RUN export NPM_TOKEN=abc123 && npm ci', want: [2] },
      { when: 'it is set for a command', given: 'RUN PASSWORD=hunter2 ./install', want: [2] },
      { when: 'it is an option', given: 'RUN x --password=hunter2', want: [2] },
      { when: 'it is the word after an option', given: 'RUN x --api-key hunter2', want: [2] },
      { when: 'it is for a login', given: 'RUN docker login -u me -p hunter2 ghcr.io', want: [2] },
      { when: 'it is for curl', given: 'RUN curl -u me:hunter2 https://a/b', want: [2] },
      { when: 'it is in an address', given: 'RUN git clone https://me:hunter2@github.com/a/b', want: [2] },
      { when: 'its format says so', given: `RUN echo ${AWS} > /x`, want: [2] },
      { when: 'a heredoc has it', given: `RUN cat <<EOF > /key\n-----BEGIN RSA PRIVATE KEY-----\nEOF`, want: [2] },
      { when: 'a mount brings it', given: 'RUN --mount=type=secret,id=t,env=TOKEN x --token=$TOKEN', want: [] },
      {
        when: 'it is read from a file',
        given: 'RUN x --password="$(cat /run/secrets/p)" --token-file /run/t',
        want: [],
      },
      { when: 'it comes from stdin', given: 'RUN cat /p | docker login -u me --password-stdin', want: [] },
      { when: 'a user gets none', given: 'RUN adduser --disabled-password app && useradd --password ! b', want: [] },
      { when: 'a command wants something', given: 'RUN SECRET_KEY=nothing ./manage.py collectstatic', want: [] },
      { when: 'a data base is beside the build', given: 'RUN U=postgres://a:hunter2@localhost/x ./assets', want: [] },
      { when: 'an example is written', given: 'RUN echo AKIAIOSFODNN7EXAMPLE', want: [] },
      { when: 'an address has a port', given: 'RUN curl https://a:8443/b@c -p 80:80', want: [] },
    ])('looks at the commands when $when', ({ given, want }) => {
      expect(linesIn('secret-in-run', given)).toEqual(want);
    });
  });

  describe('secret-arg-used', () => {
    it.each([
      { when: 'RUN uses it', given: 'ARG NPM_TOKEN\nRUN echo $NPM_TOKEN\nRUN echo ${NPM_TOKEN}', want: [3] },
      { when: 'ENV keeps it', given: 'ARG NPM_TOKEN\nENV NPM_TOKEN=$NPM_TOKEN', want: [3] },
      { when: 'nobody uses it', given: 'ARG NPM_TOKEN\nRUN npm ci', want: [] },
      { when: 'a mount brings it', given: 'ARG TOKEN\nRUN --mount=type=secret,id=t,env=TOKEN echo $TOKEN', want: [] },
      { when: 'the stage is not shipped', given: 'ARG TOKEN\nRUN echo $TOKEN\nFROM b:1', want: [] },
      { when: 'it is no secret', given: 'ARG VERSION\nRUN echo $VERSION', want: [] },
    ])('looks at arguments without default when $when', ({ given, want }) => {
      expect(linesIn('secret-arg-used', given)).toEqual(want);
    });
  });

  it('never repeats a secret', () => {
    const dockerfile = [
      'FROM a:1',
      'ENV PASSWORD=hush1',
      'ARG TOKEN=hush2',
      'RUN x --password=hush3 https://me:hush4@github.com',
      'ADD https://me:hush5@example.com/?t=hush6 /x',
      'USER root:hush7',
    ].join('\n');

    const advice = adviseDockerfile({ dockerfile, fileName: 'Dockerfile', nowMs: NOW_MS });
    expect(advice.map(({ rule }) => rule)).toEqual(
      expect.arrayContaining(['secret-in-env', 'secret-in-arg', 'secret-in-run', 'remote-file-unverified']),
    );
    expect(JSON.stringify(advice)).not.toContain('hush');
  });
});
