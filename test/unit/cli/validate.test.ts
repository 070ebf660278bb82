import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { KINDS } from '../../../operator/api/kinds.ts';
import type { Rule } from '../../../operator/api/schema.ts';
import { toStructural, type StructuralSchema } from '../../../operator/api/structural.ts';
import { compileCel } from '../../../operator/cli/cel.ts';
import { run } from './run.ts';

/** A valid policy, with lines of its spec replaced or added. Line numbers count from apiVersion as 1. */
function policy(spec: string, metadata = 'name: web'): string {
  return `apiVersion: slipway.dev/v1alpha1\nkind: ImagePolicy\nmetadata: { ${metadata} }\nspec:\n${spec}`;
}

const IMAGE = '  image: ghcr.io/acme/web\n';
const ORDER = '  tags: { numerical: {} }\n';

async function validate(text: string) {
  return run(['validate', '-f', 'p.yaml'], { files: { 'p.yaml': text } });
}

describe('slipway validate', () => {
  it('finds a policy valid', async () => {
    expect(await validate(policy(IMAGE + ORDER))).toEqual({
      exitCode: 0,
      stdout: 'p.yaml:1: ImagePolicy web is valid\n',
      stderr: '',
    });
  });

  const EXAMPLES = new URL('../../../examples/', import.meta.url);

  it.each(readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml')))(
    'finds the example %s valid',
    async (name) => {
      const { exitCode, stdout } = await validate(readFileSync(new URL(name, EXAMPLES), 'utf8'));

      expect(stdout).toContain('is valid');
      expect(exitCode).toBe(0);
    },
  );

  it.each([
    { slip: 'image with a tag', spec: `  image: x/y:v1\n${ORDER}`, says: 'p.yaml:5: ImagePolicy web: spec.image: ' },
    {
      slip: 'image with credentials',
      spec: `  image: me:secret@ghcr.io/x\n${ORDER}`,
      says: 'p.yaml:5: ImagePolicy web: spec.image: ',
    },
    { slip: 'image missing', spec: ORDER, says: 'p.yaml:4: ImagePolicy web: spec.image: is required' },
    {
      slip: 'short interval',
      spec: `${IMAGE}${ORDER}  interval: 5s\n`,
      says: 'p.yaml:7: ImagePolicy web: spec.interval: must be a duration such as 90s, 5m or 1h30m, between 15s and 168h',
    },
    { slip: 'interval in days', spec: `${IMAGE}${ORDER}  interval: 1d\n`, says: 'spec.interval: must be a duration' },
    {
      slip: 'no order',
      spec: `${IMAGE}  tags: {}\n`,
      says: 'spec.tags: set exactly one of semver, numerical, alphabetical, newest, fixed (none is set)',
    },
    { slip: 'a bare order', spec: `${IMAGE}  tags: { newest: }\n`, says: '(none is set)' },
    {
      slip: 'two orders',
      spec: `${IMAGE}  tags: { newest: {}, numerical: {} }\n`,
      says: '(numerical and newest are set)',
    },
    {
      slip: 'bad filter',
      spec: `${IMAGE}  tags:\n    numerical: {}\n    filter: '^v(.*$'\n`,
      says: 'p.yaml:8: ImagePolicy web: spec.tags.filter: "^v(.*$" is not an RE2 expression',
    },
    {
      slip: 'bad exclusion',
      spec: `${IMAGE}  tags:\n    numerical: {}\n    exclude:\n      - a\n      - '[='\n`,
      says: 'p.yaml:10: ImagePolicy web: spec.tags.exclude[1]: ',
    },
    {
      slip: 'extract without filter',
      spec: `${IMAGE}  tags: { numerical: {}, extract: $1 }\n`,
      says: 'spec.tags.extract: needs a filter',
    },
    {
      slip: 'unknown group',
      spec: `${IMAGE}  tags: { numerical: {}, filter: '(a)', extract: $2 }\n`,
      says: 'spec.tags.extract: "$2" uses group 2',
    },
    { slip: 'bad range', spec: `${IMAGE}  tags: { semver: { range: '>= bar' } }\n`, says: 'spec.tags.semver.range: ' },
    {
      slip: 'a range that is a number',
      spec: `${IMAGE}  tags: { semver: { range: 1.2 } }\n`,
      says: 'spec.tags.semver.range: must be a string, not a number',
    },
    {
      slip: 'typo in a field',
      spec: `${IMAGE}  tags: { semvr: { range: 1.x } }\n`,
      says: 'spec.tags.semvr: is not a field: did you mean semver?',
    },
    {
      slip: 'typo in a value',
      spec: `${IMAGE}  tags: { numerical: { direction: ascending } }\n`,
      says: 'spec.tags.numerical.direction: "ascending" is not ',
    },
    {
      slip: 'bad platform',
      spec: `${IMAGE}  tags: { numerical: {}, platforms: [amd64] }\n`,
      says: 'spec.tags.platforms[0]: ',
    },
    {
      slip: 'a platform twice',
      spec: `${IMAGE}  tags: { numerical: {}, platforms: [linux/amd64, linux/amd64] }\n`,
      says: 'spec.tags.platforms[1]: is there twice',
    },
    {
      slip: 'name and selector',
      spec: `${IMAGE}${ORDER}  targets: [{ kind: Deployment, name: a, selector: { matchLabels: { a: b } } }]\n`,
      says: 'spec.targets[0]: set either name or selector',
    },
    {
      slip: 'neither name nor selector',
      spec: `${IMAGE}${ORDER}  targets: [{ kind: Deployment }]\n`,
      says: 'spec.targets[0]: set either name or selector',
    },
    {
      slip: 'an empty selector',
      spec: `${IMAGE}${ORDER}  targets: [{ kind: Deployment, selector: { matchLabels: {} } }]\n`,
      says: 'needs at least one label',
    },
    {
      slip: 'a kind in lower case',
      spec: `${IMAGE}${ORDER}  targets: [{ kind: deployment, name: a }]\n`,
      says: 'spec.targets[0].kind: must be a kind, for example Deployment',
    },
    {
      slip: 'targets as a map',
      spec: `${IMAGE}${ORDER}  targets: { kind: Deployment }\n`,
      says: 'spec.targets: must be a list, not a map',
    },
    {
      slip: 'a history of none',
      spec: `${IMAGE}${ORDER}  rollout: { historyLimit: 0 }\n`,
      says: 'spec.rollout.historyLimit: must be at least 1',
    },
    {
      slip: 'a filter that is long',
      spec: `${IMAGE}  tags: { numerical: {}, filter: '${'a'.repeat(300)}' }\n`,
      says: 'at most 256',
    },
  ])('points at the line and field of: $slip', async ({ spec, says }) => {
    const { exitCode, stdout } = await validate(policy(spec));

    expect(stdout).toContain(says);
    expect(stdout).not.toContain('is valid');
    expect(exitCode).toBe(1);
  });

  it.each([
    { slip: 'no name', text: policy(IMAGE + ORDER, ''), says: 'metadata.name: is required' },
    { slip: 'a name in capitals', text: policy(IMAGE + ORDER, 'name: Web'), says: 'metadata.name: must be lower-case' },
    {
      slip: 'a long name',
      text: policy(IMAGE + ORDER, `name: ${'w'.repeat(53)}`),
      says: 'metadata.name: at most 52 characters',
    },
    {
      slip: 'another version',
      text: policy(IMAGE + ORDER).replace('v1alpha1', 'v1'),
      says: 'apiVersion: must be slipway.dev/v1alpha1',
    },
    {
      slip: 'an unknown kind',
      text: policy(IMAGE + ORDER).replace('ImagePolicy', 'ImagePolcy'),
      says: 'kind: must be one of ImagePolicy',
    },
    {
      slip: 'a spec that is missing',
      text: 'apiVersion: slipway.dev/v1alpha1\nkind: ImagePolicy\nmetadata: { name: web }',
      says: 'spec: is required',
    },
    {
      slip: 'a field beside the spec',
      text: `${policy(IMAGE + ORDER)}tags: {}\n`,
      says: 'p.yaml:7: ImagePolicy web: tags: is not a field',
    },
    { slip: 'a scalar', text: 'hello', says: 'is not a Kubernetes object' },
    { slip: 'broken YAML', text: 'a: [1\nb: 2', says: 'p.yaml:2: document: ' },
    { slip: 'a key twice', text: `${policy(IMAGE + ORDER)}kind: ImagePolicy\n`, says: 'p.yaml:7: document: ' },
    {
      slip: 'a bomb of aliases',
      text: `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}]\nc: &c [${'*b,'.repeat(9)}]\nd: [${'*c,'.repeat(9)}]`,
      says: 'Excessive alias count',
    },
  ])('refuses $slip', async ({ text, says }) => {
    const { exitCode, stdout } = await validate(text);

    expect(stdout).toContain(says);
    expect(exitCode).toBe(1);
  });

  it('judges every document of a file and skips what is not of its group', async () => {
    const text = `${policy(IMAGE + ORDER)}---\napiVersion: v1\nkind: Service\nmetadata: { name: web }\n---\n${policy(ORDER)}`;

    const { stdout } = await validate(text);

    expect(stdout.split('\n')).toEqual([
      'p.yaml:1: ImagePolicy web is valid',
      'p.yaml:8: Service web skipped: not an object of Slipway',
      'p.yaml:15: ImagePolicy web: spec.image: is required: The repository to follow, without tag or digest; short names of Docker Hub are completed.',
      '',
    ]);
  });

  it('answers with JSON', async () => {
    const files = { good: policy(IMAGE + ORDER), bad: policy(ORDER) };
    const { exitCode, stdout } = await run(['validate', '-f', 'good', 'bad', '-o', 'json'], { files });

    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      documents: [
        { file: 'good', line: 1, object: 'ImagePolicy web', result: 'Valid', problems: [] },
        { file: 'bad', result: 'Invalid', problems: [{ line: 4, field: 'spec.image', message: expect.any(String) }] },
      ],
    });
    expect(exitCode).toBe(1);
  });

  it('accepts what the API server hands back', async () => {
    const stored = `${policy(IMAGE + ORDER, 'name: web, uid: 1, managedFields: []')}status: { observedGeneration: 1 }\n`;

    expect(await run(['validate', '-f', '-'], { stdin: stored })).toMatchObject({ exitCode: 0 });
  });

  it('exits with 2 where a file cannot be read or is empty', async () => {
    expect(await run(['validate', '-f', 'nope'])).toMatchObject({
      exitCode: 2,
      stderr: 'slipway: cannot read nope: no such file\n',
    });
    expect(await validate('# nothing\n')).toMatchObject({ exitCode: 2 });
  });
});

describe('compileCel', () => {
  /** Every rule in a schema, with where it stands. */
  function rulesOf(schema: StructuralSchema, path: string): { readonly path: string; readonly rule: Rule }[] {
    return [
      ...(schema['x-kubernetes-validations'] ?? []).map((rule) => ({ path, rule })),
      ...Object.entries(schema.properties ?? {}).flatMap(([name, member]) => rulesOf(member, `${path}.${name}`)),
      ...(schema.items ? rulesOf(schema.items, `${path}[]`) : []),
      ...(schema.additionalProperties ? rulesOf(schema.additionalProperties, `${path}{}`) : []),
    ];
  }

  const rules = KINDS.flatMap(({ kind, spec, status, rules: own }) => [
    ...own.map((rule) => ({ path: kind, rule })),
    ...rulesOf(toStructural(spec), `${kind}.spec`),
    ...(status === undefined ? [] : rulesOf(toStructural(status), `${kind}.status`)),
  ]);

  it.each(rules)('reads the rule of $path', ({ rule }) => {
    expect(() => compileCel(rule.rule)).not.toThrow();
    expect(() => compileCel(rule.messageExpression ?? 'true')).not.toThrow();
  });

  it.each([
    { source: "self == 'a' ? 1 : 2", self: 'a', want: 1 },
    { source: "self.contains('b') || self.startsWith('x')", self: 'abc', want: true },
    { source: "!(self in ['a', 'b'])", self: 'c', want: true },
    { source: "'a' in self", self: { a: 1 }, want: true },
    { source: '[has(self.a), has(self.b)].exists_one(set, set)', self: { a: null }, want: true },
    { source: 'self.all(key, self[key] == key)', self: { a: 'a', b: 'b' }, want: true },
    { source: 'size(self) >= 2 && self.size() < 3', self: [1, 2], want: true },
    { source: "duration(self) <= duration('1h')", self: '59m59s', want: true },
    { source: "self.matches(r'^\\d+$')", self: '12', want: true },
    { source: "self.matches('^\\\\d+$')", self: 'x', want: false },
    { source: "self.nope == 'x' || true", self: {}, want: true },
    { source: "self.nope == 'x' && false", self: {}, want: false },
    { source: 'size(self) - 1 + 1 == 1', self: '💥', want: true },
  ])('evaluates $source', ({ source, self, want }) => {
    expect(compileCel(source)({ self })).toBe(want);
  });

  it.each(['self.', 'self ==', '(self', "self.frob('x')", 'frob(self)', 'self @ 1', "'open", '', 'self self'])(
    'does not pretend to read %j',
    (source) => {
      expect(() => compileCel(source)).toThrow();
    },
  );

  it('has an error where CEL has one', () => {
    expect(() => compileCel('self.a.b == 1')({ self: {} })).toThrow('no such key: a');
    expect(() => compileCel("duration(self) < duration('1h')")({ self: 'x' })).toThrow();
    expect(() => compileCel('self || true == true')({ self: 'x' })).not.toThrow();
    expect(() => compileCel('!self')({ self: 'x' })).toThrow();
  });
});
