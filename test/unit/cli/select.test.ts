import { describe, expect, it } from '@jest/globals';
import { run } from './run.ts';

const POLICY = `
apiVersion: slipway.dev/v1alpha1
kind: ImagePolicy
metadata: { name: web }
spec:
  image: ghcr.io/acme/web
  tags:
    semver: { range: 1.x }
`;
const TAGS = '1.0.0\n1.1.0\n2.0.0\nlatest\n';

interface Answer {
  readonly selected: string | null;
  readonly tags: readonly { readonly tag: string; readonly reason: string; readonly message?: string }[];
  readonly [field: string]: unknown;
}

/** One question with `-o json`. */
async function ask(policy: string, tags: string, args: readonly string[] = []): Promise<Answer> {
  const files = { 'policy.yaml': policy, tags };
  const { stdout, stderr } = await run(['select', '-f', 'policy.yaml', '--tags', 'tags', '-o', 'json', ...args], {
    files,
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Answer;
}

async function batch(lines: readonly unknown[], args: readonly string[] = []) {
  const stdin = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  const { exitCode, stdout } = await run(['select', '--batch', ...args], { stdin });
  const answers = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Answer & { readonly error?: string; readonly code?: string });
  return { exitCode, answers };
}

describe('slipway select', () => {
  it('gives the choice and the reason for every tag as JSON', async () => {
    expect(await ask(POLICY, TAGS, ['--current', '1.0.0'])).toEqual({
      selected: '1.1.0',
      value: '1.1.0',
      current: '1.0.0',
      change: true,
      order: 'semver',
      total: 4,
      considered: 2,
      rejectedByReason: { NotSemver: 1, OutOfRange: 1 },
      tags: [
        { tag: '1.0.0', reason: 'Current', message: expect.any(String) },
        { tag: '1.1.0', reason: 'Selected', message: expect.any(String) },
        { tag: '2.0.0', reason: 'OutOfRange', message: '2.0.0 is outside the range 1.x.' },
        { tag: 'latest', reason: 'NotSemver', message: expect.stringContaining('three numbers') },
      ],
    });
  });

  it('prints plain columns', async () => {
    const files = { p: POLICY, t: TAGS };
    const { exitCode, stdout } = await run(['select', '-f', 'p', '--tags', 't', '--current', '1.0.0'], { files });

    expect(stdout.split('\n').slice(0, 9)).toEqual([
      'SELECTED     1.1.0',
      'CURRENT      1.0.0',
      'TAGS         4 listed, 2 considered',
      'PASSED OVER  NotSemver 1, OutOfRange 1',
      '',
      'TAG     REASON      MESSAGE',
      '1.0.0   Current     1.0.0 is in use and qualifies.',
      '1.1.0   Selected    1.1.0 is the best tag that qualifies.',
      '2.0.0   OutOfRange  2.0.0 is outside the range 1.x.',
    ]);
    expect(exitCode).toBe(0);
  });

  it('shows examples of a long list', async () => {
    const tags = Array.from({ length: 300 }, (_, index) => `1.0.${index}`).join('\n');
    const { stdout } = await run(['select', '-f', 'p', '--tags', 't'], { files: { p: POLICY, t: tags } });

    expect(stdout).toContain('SELECTED     1.0.299');
    expect(stdout).toContain('Examples of 300 tags; -o json lists all of them.');
    expect(stdout.split('\n').length).toBeLessThan(70);
  });

  it('selects nothing and still exits with 0 when no tag qualifies', async () => {
    const answer = await ask(POLICY, '2.0.0\n');

    expect(answer).toMatchObject({ selected: null, value: null, change: false });
  });

  it('stays with the current tag when nothing is above it', async () => {
    expect(await ask(POLICY, TAGS, ['--current', '1.1.0'])).toMatchObject({ selected: '1.1.0', change: false });
    expect(await ask(POLICY, TAGS, ['--current', '1.5.0'])).toMatchObject({ selected: null, change: false });
  });

  it.each([
    { form: 'lines with CRLF and blanks', tags: '1.0.0\r\n\r\n 1.1.0 \r\n' },
    { form: 'a JSON array', tags: '["1.0.0", "1.1.0"]' },
    { form: "a registry's answer", tags: '{"name": "acme/web", "tags": ["1.0.0", "1.1.0"]}' },
    { form: 'objects', tags: '[{"tag": "1.0.0"}, {"tag": "1.1.0"}]' },
  ])('reads tags from $form', async ({ tags }) => {
    expect(await ask(POLICY, tags)).toMatchObject({ selected: '1.1.0', total: 2 });
  });

  it.each([
    { form: 'a spec', policy: 'image: x/y\ntags: { semver: { range: 1.x } }' },
    { form: 'the tags of a spec', policy: 'semver: { range: 1.x }' },
    { form: 'JSON', policy: '{"spec": {"tags": {"semver": {"range": "1.x"}}}}' },
    { form: 'a file of several objects', policy: `kind: ConfigMap\napiVersion: v1\n---${POLICY}` },
  ])('reads a policy from $form', async ({ policy }) => {
    expect(await ask(policy, TAGS)).toMatchObject({ selected: '1.1.0' });
  });

  it('picks a policy by name where a file holds several', async () => {
    const other = POLICY.replace('name: web', 'name: api').replace('1.x', '2.x');
    const files = { p: `${POLICY}---${other}`, t: TAGS };

    expect((await run(['select', '-f', 'p', '--tags', 't'], { files })).stderr).toContain('pick one with --name');
    expect(await ask(files.p, TAGS, ['--name', 'api'])).toMatchObject({ selected: '2.0.0' });
  });

  it('orders by creation time where the list states it', async () => {
    const tags = JSON.stringify([
      { tag: 'a', created: '2026-01-01T00:00:00Z' },
      { tag: 'b', created: '2026-03-01T00:00:00Z' },
      { tag: 'c', created: '2026-02-01T00:00:00Z' },
    ]);

    expect(await ask('newest: {}', tags)).toMatchObject({ selected: 'b' });
    expect(await ask('newest: {}', 'a\nb\n')).toMatchObject({
      selected: null,
      rejectedByReason: { CreationTimeUnknown: 2 },
    });
  });

  it('says what a list cannot tell', async () => {
    const files = { p: 'alphabetical: {}\nminimumAge: 72h\nplatforms: [linux/amd64]', t: 'a' };

    expect((await run(['select', '-f', 'p', '--tags', 't'], { files })).stderr).toContain(
      'platforms and minimumAge are not looked at',
    );
  });

  it.each([
    {
      when: 'the policy does not compile',
      files: { p: "{filter: '[=', numerical: {}}", t: '' },
      exitCode: 1,
      says: 'tags.filter',
    },
    {
      when: 'a field is unknown',
      files: { p: 'spec: {tags: {semvr: {range: 1.x}}}', t: '' },
      exitCode: 1,
      says: 'spec.tags.semvr is not a field: did you mean semver?',
    },
    {
      when: 'the policy is of another group',
      files: { p: 'apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nspec: {}', t: '' },
      exitCode: 1,
      says: 'is not an ImagePolicy of slipway.dev',
    },
    { when: 'the YAML is broken', files: { p: 'a: [', t: '' }, exitCode: 1, says: 'line 1' },
    { when: 'there is no policy', files: { p: 'kind: Pod', t: '' }, exitCode: 2, says: 'holds no ImagePolicy' },
    { when: 'the policy cannot be read', files: { t: '' }, exitCode: 2, says: 'cannot read p: no such file' },
    { when: 'the tags cannot be read', files: { p: POLICY }, exitCode: 2, says: 'cannot read t: no such file' },
    { when: 'the tags are broken JSON', files: { p: POLICY, t: '[1.0.0' }, exitCode: 2, says: 'is not JSON' },
    { when: 'a tag is a number', files: { p: POLICY, t: '["a", 7]' }, exitCode: 2, says: 'tags[1] must be a tag' },
  ])('exits with $exitCode and a sentence when $when', async ({ files, exitCode, says }) => {
    const result = await run(['select', '-f', 'p', '--tags', 't'], { files });

    expect(result.stderr).toContain(says);
    expect(result).toMatchObject({ exitCode, stdout: '' });
  });

  it('does not read policy and tags from one stream', async () => {
    expect(await run(['select', '-f', '-', '--tags', '-'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('only one of'),
    });
  });
});

describe('slipway select --batch', () => {
  const policy = { image: 'x/y', tags: { semver: { range: '1.x' } } };

  it('answers every line with a line, in order', async () => {
    const { exitCode, answers } = await batch([
      { policy, tags: ['1.0.0', '1.1.0'] },
      { policy, tags: ['1.0.0', '1.1.0'], current: '1.1.0' },
      '',
      { policy: { tags: { alphabetical: { direction: 'Descending' } } }, tags: ['b', 'a'], current: null },
    ]);

    expect(answers.map(({ selected, change }) => [selected, change])).toEqual([
      ['1.1.0', true],
      ['1.1.0', false],
      ['a', true],
    ]);
    expect(exitCode).toBe(0);
  });

  it('gives every tag its reason, and a sentence when asked', async () => {
    const line = { policy, tags: ['1.0.0', 'x'] };

    expect((await batch([line])).answers[0]?.tags).toEqual([
      { tag: '1.0.0', reason: 'Selected' },
      { tag: 'x', reason: 'NotSemver' },
    ]);
    expect((await batch([line], ['--messages'])).answers[0]?.tags[1]).toHaveProperty('message');
  });

  it.each([
    { what: 'no JSON', line: 'nonsense', code: 'InvalidLine' },
    { what: 'a list', line: '[]', code: 'InvalidLine' },
    { what: 'no policy', line: { tags: [] }, code: 'InvalidPolicy' },
    { what: 'no tags', line: { policy }, code: 'InvalidLine' },
    { what: 'tags: null', line: { policy, tags: null }, code: 'InvalidLine' },
    { what: 'a number among the tags', line: { policy, tags: ['1.0.0', 7] }, code: 'InvalidLine' },
    { what: 'a current tag that is a number', line: { policy, tags: [], current: 7 }, code: 'InvalidLine' },
    { what: 'no order', line: { policy: { tags: {} }, tags: [] }, code: 'InvalidOrder' },
    { what: 'two orders', line: { policy: { tags: { numerical: {}, newest: {} } }, tags: [] }, code: 'InvalidOrder' },
    {
      what: 'a range that does not parse',
      line: { policy: { tags: { semver: { range: 'x1' } } }, tags: [] },
      code: 'InvalidRange',
    },
    {
      what: 'a filter that explodes',
      line: { policy: { tags: { numerical: {}, filter: '((a{99}){99}){99}' } }, tags: [] },
      code: 'InvalidFilter',
    },
    {
      what: 'a filter that is a number',
      line: { policy: { tags: { numerical: {}, filter: 7 } }, tags: [] },
      code: 'InvalidPolicy',
    },
  ])('refuses a line with $what, goes on, and exits with 1', async ({ line, code }) => {
    const { exitCode, answers } = await batch([line, { policy, tags: ['1.0.0'] }]);

    expect(answers).toMatchObject([{ error: expect.any(String), code }, { selected: '1.0.0' }]);
    expect(exitCode).toBe(1);
  });

  it('reads lines from a file', async () => {
    const files = { lines: `${JSON.stringify({ policy, tags: ['1.0.0'] })}\n` };

    expect((await run(['select', '--batch', 'lines'], { files })).stdout).toContain('"selected":"1.0.0"');
  });

  it('refuses options that its lines replace', async () => {
    expect(await run(['select', '--batch', '--current', '1.0.0'])).toMatchObject({ exitCode: 2 });
  });
});
