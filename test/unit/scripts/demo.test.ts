import { describe, expect, it } from '@jest/globals';
import { Narrator } from '../../../scripts/demo/narrator.ts';
import { parseOptions, usage } from '../../../scripts/demo/options.ts';

const CURRENT = { CLUSTER: 'current', REGISTRY: 'registry.example:5000/team/demo', REGISTRY_LOGIN: 'me:a:b' };
const DIGEST = `sha256:${'0'.repeat(64)}`;

describe('parseOptions', () => {
  const own = { keep: false, place: { kind: 'own' } };

  it.each([
    { when: 'nothing is asked', env: {}, want: own },
    { when: 'variables are empty', env: { ACT: '', KEEP: '', PUSH: '', CLUSTER: '' }, want: own },
    { when: 'an act is chosen', env: { ACT: '2' }, want: { ...own, act: 2 } },
    { when: 'it is kept', env: { KEEP: '1' }, want: { ...own, keep: true } },
    { when: 'keeping is switched off', env: { KEEP: '0' }, want: own },
    { when: 'a tag is pushed', env: { PUSH: 'v1.5.0' }, want: { ...own, push: 'v1.5.0' } },
  ])('reads the environment when $when', ({ env, want }) => {
    expect(parseOptions(env, 2)).toEqual(want);
  });

  it.each([
    { when: 'it speaks https', env: {}, url: 'https://registry.example:5000' },
    { when: 'it speaks plain http', env: { REGISTRY_PLAIN_HTTP: '1' }, url: 'http://registry.example:5000' },
  ])('takes the registry of the current cluster when $when', ({ env, url }) => {
    expect(parseOptions({ ...CURRENT, ...env }, 1).place).toEqual({
      kind: 'current',
      registry: {
        repository: { host: 'registry.example:5000', path: 'team/demo' },
        url,
        username: 'me',
        password: 'a:b',
      },
    });
  });

  it.each([
    { when: 'by tag', image: 'ghcr.io/acme/slipway:1.0', want: { repository: 'ghcr.io/acme/slipway', tag: '1.0' } },
    {
      when: 'by tag and digest',
      image: `ghcr.io/acme/slipway:1.0@${DIGEST}`,
      want: { repository: 'ghcr.io/acme/slipway', digest: DIGEST },
    },
  ])("takes the operator's image $when", ({ image, want }) => {
    expect(parseOptions({ ...CURRENT, IMAGE: image }, 1).place).toMatchObject({ operatorImage: want });
  });

  it.each([
    { env: { ACT: '3' }, want: 'ACT=3: there are acts 1 to 2' },
    { env: { ACT: '0' }, want: 'ACT=0: there are acts 1 to 2' },
    { env: { ACT: 'one' }, want: 'ACT=one: there are acts 1 to 2' },
    { env: { PUSH: 'a b' }, want: 'PUSH=a b: this cannot be a tag' },
    { env: { CLUSTER: 'mine' }, want: 'CLUSTER=mine: it can be current, or left out' },
    { env: { CLUSTER: 'current' }, want: 'CLUSTER=current needs REGISTRY=host/path' },
    { env: { ...CURRENT, REGISTRY: 'https://registry.example/demo' }, want: 'REGISTRY: .*leave out the scheme' },
    { env: { ...CURRENT, REGISTRY_LOGIN: 'me' }, want: 'CLUSTER=current needs REGISTRY_LOGIN=user:password' },
    { env: { ...CURRENT, IMAGE: 'ghcr.io/acme/slipway' }, want: 'IMAGE: .* needs a tag or a digest' },
  ])('refuses $env with a sentence', ({ env, want }) => {
    expect(() => parseOptions(env, 2)).toThrow(new RegExp(`^${want}`));
  });
});

describe('usage', () => {
  it('lists the acts by number', () => {
    expect(usage(['First', 'Second'])).toMatch(/^ +1 {2}First\n +2 {2}Second$/m);
  });
});

describe('Narrator', () => {
  function tell(isColoured: boolean, story: (narrator: Narrator, pass: (seconds: number) => void) => void): string {
    let text = '';
    let nowMs = 0;
    const out = { write: (part: string) => (text += part) };
    story(new Narrator({ out, isColoured, now: () => nowMs }), (seconds) => (nowMs += seconds * 1_000));
    return text;
  }

  it('sums up what was shown, each with its own time', () => {
    const text = tell(false, (narrator, pass) => {
      pass(8);
      narrator.shown('a cluster runs');
      pass(75);
      narrator.shown('the pods run it');
      narrator.summary();
    });

    expect(text).toMatch(/Shown in 1m23s:\n +✓ +8s {2}a cluster runs\n +✓ +1m15s {2}the pods run it\n$/);
  });

  it('prints commands as typed, and what they answer indented', () => {
    expect(tell(false, (narrator) => narrator.command('kubectl get pods', 'A\n\nB\n'))).toBe(
      '\n  $ kubectl get pods\n    A\n\n    B\n\n',
    );
  });

  it.each([
    { isColoured: true, want: '\n\u001b[31m✗\u001b[0m no\n' },
    { isColoured: false, want: '\n✗ no\n' },
  ])('uses colours only where they are understood: $isColoured', ({ isColoured, want }) => {
    expect(tell(isColoured, (narrator) => narrator.failure('no'))).toBe(want);
  });
});
