import { describe, expect, it } from '@jest/globals';
import { linesOf } from '../advise.ts';

function linesIn(rule: string, run: string): readonly number[] {
  return linesOf(rule, `FROM a:1\n${run}`);
}

describe('adviseDockerfile', () => {
  describe('apt-lists-kept', () => {
    it.each([
      { when: 'nobody deletes them', given: 'RUN apt-get update && apt-get install -y curl', want: [2] },
      { when: 'only archives are', given: 'RUN apt update && apt install -y curl && apt clean', want: [2] },
      { when: 'a later layer does', given: 'RUN apt-get update\nRUN rm -rf /var/lib/apt/lists/*', want: [2] },
      { when: 'bash runs it', given: 'RUN ["bash", "-c", "apt-get update && apt-get install -y x"]', want: [2] },
      { when: 'a comment stands between', given: 'RUN x && \\\n# why\n apt-get update', want: [2] },
      { when: 'a prefix stands before', given: 'RUN sudo -E A=1 /usr/bin/apt-get -qq update', want: [2] },
      { when: 'they are deleted', given: 'RUN apt-get update \\\n && x \\\n && rm -rf /var/lib/apt/lists/*', want: [] },
      { when: 'braces delete them', given: 'RUN apt-get update && rm -rf /var/lib/{apt,dpkg}/', want: [] },
      { when: 'apt deletes them', given: 'RUN apt-get update; apt-get dist-clean', want: [] },
      { when: 'a cache is mounted', given: 'RUN --mount=type=cache,target=/var/lib/apt apt-get update', want: [] },
      { when: 'a heredoc deletes them', given: 'RUN <<EOF\napt-get update\nrm -r /var/lib/apt/lists\nEOF', want: [] },
      { when: 'it is not shipped', given: 'RUN apt-get update\nFROM b:1', want: [] },
      { when: 'it is only mentioned', given: 'RUN echo "apt-get update; apt-get update" # apt-get update', want: [] },
      { when: 'a file has it', given: 'RUN cat <<EOF > /x.sh\napt-get update\nEOF', want: [] },
    ])('looks at one RUN when $when', ({ given, want }) => {
      expect(linesIn('apt-lists-kept', given)).toEqual(want);
    });
  });

  describe('apt-recommends', () => {
    it.each([
      { when: 'the option is missing', given: 'RUN apt-get install -y curl', want: [2] },
      {
        when: 'another command has it',
        given: 'RUN apt-get install a; apt-get install --no-install-recommends b',
        want: [2],
      },
      { when: 'it is there', given: 'RUN apt-get install -y --no-install-recommends curl', want: [] },
      {
        when: 'it follows a substitution',
        given: 'RUN apt-get install x-$(uname -r) --no-install-recommends',
        want: [],
      },
      {
        when: 'it is configured',
        given: 'RUN echo APT::Install-Recommends false > /x\nRUN apt-get install x',
        want: [],
      },
      { when: 'nothing is named', given: 'RUN apt-get install -f', want: [] },
    ])('looks at apt-get install when $when', ({ given, want }) => {
      expect(linesIn('apt-recommends', given)).toEqual(want);
    });
  });

  describe('apk-cache-kept', () => {
    it.each([
      { when: 'it is kept', given: 'RUN apk add curl', want: [2] },
      { when: 'the index is updated', given: 'RUN apk update && apk add --no-cache curl', want: [2] },
      { when: 'it is not', given: 'RUN apk --no-cache add curl', want: [] },
      { when: 'it is deleted', given: 'RUN apk add -U curl && rm -rf /var/cache/apk/*', want: [] },
      { when: 'a cache is mounted', given: 'RUN --mount=type=cache,target=/etc/apk/cache apk add curl', want: [] },
      { when: 'it asks only', given: 'RUN apk info', want: [] },
    ])('looks at apk when $when', ({ given, want }) => {
      expect(linesIn('apk-cache-kept', given)).toEqual(want);
    });
  });

  describe('pip-cache-kept', () => {
    it.each([
      { when: 'it is kept', given: 'RUN pip install -r requirements.txt', want: [2] },
      { when: 'python calls it', given: 'RUN python3.12 -m pip install flask', want: [2] },
      { when: 'it is that of an environment', given: 'RUN /venv/bin/pip install flask', want: [2] },
      { when: 'it is not', given: 'RUN pip install --no-cache-dir flask', want: [] },
      { when: 'ENV says so', given: 'ENV PIP_NO_CACHE_DIR=1\nRUN pip install flask', want: [] },
      { when: 'the command says so', given: 'RUN PIP_NO_CACHE_DIR=1 pip install flask', want: [] },
      { when: 'it is deleted', given: 'RUN pip install flask && rm -rf ~/.cache', want: [] },
      { when: 'it is purged', given: 'RUN pip install flask && pip cache purge', want: [] },
      { when: 'a cache is mounted', given: 'RUN --mount=type=cache,target=/root/.cache/pip pip install x', want: [] },
      { when: 'wheels lie there', given: 'RUN pip install /wheels/*', want: [] },
      { when: 'there is no index', given: 'RUN pip install --no-index --find-links=/wheels flask', want: [] },
      { when: 'it asks only', given: 'RUN pip list', want: [] },
    ])('looks at pip when $when', ({ given, want }) => {
      expect(linesIn('pip-cache-kept', given)).toEqual(want);
    });
  });

  describe('dnf-cache-kept', () => {
    it.each([
      { when: 'dnf keeps it', given: 'RUN dnf install -y curl', want: [2] },
      { when: 'yum keeps it', given: 'RUN yum -y install curl', want: [2] },
      { when: 'it is cleaned', given: 'RUN microdnf install -y curl && microdnf clean all', want: [] },
      { when: 'it is deleted', given: 'RUN yum install -y curl && rm -rf /var/cache/yum', want: [] },
      { when: 'it is in another root', given: 'RUN dnf install --installroot=/mnt curl', want: [] },
      { when: 'it asks only', given: 'RUN dnf list', want: [] },
    ])('looks at dnf when $when', ({ given, want }) => {
      expect(linesIn('dnf-cache-kept', given)).toEqual(want);
    });
  });
});
