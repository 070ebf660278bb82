// The layer rules are only worth something if they catch what they forbid. A small tree in the shape of operator/ is
// written with one violation per rule and a few imports that must be allowed, and dependency-cruiser is run over it.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '../../..');
const run = promisify(execFile);

interface Planted {
  readonly file: string;
  /** A path from the root of the tree, or a package. */
  readonly imports: string;
  readonly typeOnly?: boolean;
}

const VIOLATIONS: readonly (Planted & { readonly rule: string })[] = [
  { rule: 'values-stand-alone', file: 'operator/image/a.ts', imports: 'operator/api/kinds.ts' },
  { rule: 'values-stand-alone', file: 'operator/time/a.ts', imports: 'operator/telemetry/logger.ts', typeOnly: true },
  { rule: 'api-imports-values-only', file: 'operator/api/a.ts', imports: 'operator/selection/core.ts' },
  { rule: 'stages-do-not-know-each-other', file: 'operator/gates/a.ts', imports: 'operator/selection/core.ts' },
  { rule: 'stages-do-not-know-each-other', file: 'operator/selection/a.ts', imports: 'operator/registry/client.ts' },
  { rule: 'stages-do-not-know-each-other', file: 'operator/rollout/a.ts', imports: 'operator/kube/client.ts' },
  {
    rule: 'stages-do-not-know-their-adapters',
    file: 'operator/rollout/b.ts',
    imports: 'operator/rollout/workloads/port.ts',
  },
  { rule: 'stages-are-pure', file: 'operator/selection/b.ts', imports: 'node:fs' },
  { rule: 'stages-are-pure', file: 'operator/image/b.ts', imports: 'undici' },
  {
    rule: 'adapters-know-their-own-stage-only',
    file: 'operator/rollout/workloads/a.ts',
    imports: 'operator/selection/core.ts',
  },
  { rule: 'decide-is-pure', file: 'operator/controllers/policy/decide.ts', imports: 'operator/kube/client.ts' },
  { rule: 'decide-is-pure', file: 'operator/controllers/rollout/decide.ts', imports: 'node:http' },
  {
    rule: 'controllers-do-not-know-each-other',
    file: 'operator/controllers/policy/a.ts',
    imports: 'operator/controllers/rollout/core.ts',
  },
  { rule: 'kube-knows-no-stage', file: 'operator/kube/a.ts', imports: 'operator/api/kinds.ts' },
  { rule: 'registry-knows-no-stage', file: 'operator/registry/a.ts', imports: 'operator/kube/client.ts' },
  { rule: 'telemetry-knows-only-ports', file: 'operator/telemetry/a.ts', imports: 'operator/registry/client.ts' },
  { rule: 'server-and-cli-are-leaves', file: 'operator/controllers/policy/b.ts', imports: 'operator/server/health.ts' },
  { rule: 'server-is-not-cli', file: 'operator/cli/a.ts', imports: 'operator/server/health.ts' },
  { rule: 'only-kube-runs-client-node', file: 'operator/controllers/policy/c.ts', imports: '@kubernetes/client-node' },
  { rule: 'metrics-and-logs-have-one-owner', file: 'operator/server/a.ts', imports: 'prom-client' },
  {
    rule: 'settings-are-arguments',
    file: 'operator/controllers/policy/d.ts',
    imports: 'operator/config.ts',
    typeOnly: true,
  },
  { rule: 'config-imports-values-only', file: 'operator/config/a.ts', imports: 'operator/registry/client.ts' },
  { rule: 'nothing-imports-the-wiring', file: 'operator/controllers/policy/e.ts', imports: 'operator/operator.ts' },
  { rule: 'product-without-tests', file: 'operator/controllers/policy/f.ts', imports: 'test/support/fake.ts' },
  { rule: 'no-development-packages', file: 'operator/controllers/policy/g.ts', imports: 'fast-check' },
  { rule: 'resolvable', file: 'operator/controllers/policy/h.ts', imports: 'operator/controllers/policy/nowhere.ts' },
  { rule: 'no-cycles', file: 'operator/image/cycle-a.ts', imports: 'operator/image/cycle-b.ts' },
];

const ALLOWED: readonly Planted[] = [
  { file: 'operator/selection/ok.ts', imports: 'operator/image/core.ts' },
  { file: 'operator/gates/ok.ts', imports: 'operator/api/kinds.ts' },
  { file: 'operator/gates/ok2.ts', imports: 'node:crypto' },
  { file: 'operator/rollout/ok.ts', imports: 'operator/rollout/workloads/port.ts', typeOnly: true },
  { file: 'operator/rollout/workloads/ok.ts', imports: 'operator/kube/client.ts' },
  { file: 'operator/controllers/scan/decide.ts', imports: 'operator/selection/core.ts' },
  { file: 'operator/controllers/build/decide.ts', imports: 'operator/controllers/build/observe.ts', typeOnly: true },
  { file: 'operator/controllers/scan/observe.ts', imports: 'operator/registry/client.ts' },
  { file: 'operator/controllers/build/observe.ts', imports: 'operator/kube/client.ts' },
  { file: 'operator/controllers/scan/ok.ts', imports: '@kubernetes/client-node', typeOnly: true },
  { file: 'operator/kube/ok.ts', imports: '@kubernetes/client-node' },
  { file: 'operator/kube/ok2.ts', imports: 'operator/telemetry/logger.ts', typeOnly: true },
  { file: 'operator/telemetry/ok.ts', imports: 'operator/kube/observer.ts' },
  { file: 'operator/telemetry/ok2.ts', imports: 'prom-client' },
  { file: 'operator/server/ok.ts', imports: 'operator/kube/client.ts' },
  { file: 'operator/cli/ok.ts', imports: 'operator/registry/client.ts' },
  // The way back closes the cycle of no-cycles, which is reported once.
  { file: 'operator/image/cycle-b.ts', imports: 'operator/image/cycle-a.ts' },
  { file: 'operator/image/cycle-c.ts', imports: 'operator/image/cycle-d.ts', typeOnly: true },
  { file: 'operator/image/cycle-d.ts', imports: 'operator/image/cycle-c.ts' },
  { file: 'operator/main.ts', imports: 'operator/operator.ts' },
];

const TARGETS = [...VIOLATIONS, ...ALLOWED]
  .map(({ imports }) => imports)
  .filter((path) => /^(operator|test)\//.test(path) && !path.includes('nowhere') && !path.includes('cycle'))
  .concat('operator/operator.ts', 'operator/config.ts');

function importLine({ file, imports, typeOnly = false }: Planted): string {
  const isFile = /^(operator|test)\//.test(imports);
  const path = relative(dirname(file), imports);
  const specifier = isFile ? (path.startsWith('.') ? path : `./${path}`) : imports;
  return `import ${typeOnly ? 'type ' : ''}* as imported from '${specifier}';\nexport type Used = typeof imported;\nexport const used = 1;\n`;
}

interface CruiseResult {
  readonly summary: {
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

describe('dependency rules', () => {
  let tree: string;
  let found: readonly string[];

  beforeAll(async () => {
    tree = await mkdtemp(join(tmpdir(), 'slipway-layers-'));
    const files = new Map<string, string>(TARGETS.map((path) => [path, 'export const value = 1;\n']));
    for (const planted of [...VIOLATIONS, ...ALLOWED]) files.set(planted.file, importLine(planted));
    for (const [path, content] of files) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), content);
    }
    for (const name of ['node_modules', 'package.json', 'tsconfig.json'])
      await symlink(join(root, name), join(tree, name));
    const cruise = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
    const config = join(root, '.dependency-cruiser.cjs');
    const { stdout } = await run(process.execPath, [cruise, '--config', config, '--output-type', 'json', 'operator'], {
      cwd: tree,
      maxBuffer: 64 * 1024 * 1024,
      // dependency-cruiser exits with the number of violations; the JSON is on stdout all the same.
    }).catch((failure: unknown) => failure as { readonly stdout: string });
    const result = JSON.parse(stdout) as CruiseResult;
    found = result.summary.violations.map(({ rule, from }) => `${rule.name}: ${from}`);
  }, 60_000);

  afterAll(async () => {
    await rm(tree, { recursive: true, force: true });
  });

  it.each(VIOLATIONS)('$rule catches $file importing $imports', ({ rule, file }) => {
    expect(found).toContain(`${rule}: ${file}`);
  });

  it.each(ALLOWED)('lets $file import $imports', ({ file }) => {
    expect(found.filter((violation) => violation.endsWith(`: ${file}`))).toEqual([]);
  });

  it('has a planted violation for every rule', () => {
    const { forbidden } = createRequire(import.meta.url)('../../../.dependency-cruiser.cjs') as {
      readonly forbidden: readonly { readonly name: string }[];
    };

    const planted = new Set(VIOLATIONS.map(({ rule }) => rule));

    expect(forbidden.map(({ name }) => name).filter((name) => !planted.has(name))).toEqual([]);
  });
});
