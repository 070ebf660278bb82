// The house's own lint rules catch what they forbid, where they forbid it. The snippets are linted in the place of
// operator/errors.ts and its like, because type-aware rules need a file that belongs to the project.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '../../..');
const run = promisify(execFile);

interface Snippet {
  readonly file: string;
  readonly code: string;
}

const FORBIDDEN: readonly (Snippet & { readonly rule: string })[] = [
  { file: 'operator/errors.ts', code: 'export const t = Date.now();', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: 'export const t = new Date();', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: 'export const t = performance.now();', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: 'export const r = Math.random();', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: 'setTimeout(() => undefined, 1);', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: "export const e = process.env['HOME'];", rule: 'no-restricted-syntax' },
  { file: 'operator/config.ts', code: "export const e = process.env['HOME'];", rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: 'export default 1;', rule: 'no-restricted-syntax' },
  { file: 'operator/errors.ts', code: "console.log('x');", rule: 'no-console' },
  { file: 'operator/errors.ts', code: 'Promise.resolve(1);', rule: '@typescript-eslint/no-floating-promises' },
  { file: 'operator/errors.ts', code: 'export const a: any = 1;', rule: '@typescript-eslint/no-explicit-any' },
  {
    file: 'operator/errors.ts',
    code: "export function f(a: 'x' | 'y'): void { switch (a) { case 'x': break; } }",
    rule: '@typescript-eslint/switch-exhaustiveness-check',
  },
  {
    file: 'operator/errors.ts',
    code: "import { b } from './time/clock.ts';\nimport { a } from 'node:fs';\nexport { a, b };",
    rule: 'slipway/import-order',
  },
  {
    file: 'operator/errors.ts',
    code: "import { b } from './time/duration.ts';\nimport { a } from './time/clock.ts';\nexport { a, b };",
    rule: 'slipway/import-order',
  },
  { file: 'test/support/wait.ts', code: "jest.unstable_mockModule('x', () => 1);", rule: 'no-restricted-syntax' },
  { file: 'test/support/wait.ts', code: "it.only('x', () => undefined);", rule: 'no-restricted-syntax' },
];

const ALLOWED: readonly Snippet[] = [
  { file: 'operator/errors.ts', code: 'export const t = new Date(0);' },
  { file: 'operator/time/clock.ts', code: 'export const t = Date.now();' },
  { file: 'operator/main.ts', code: "export const e = process.env['HOME'];" },
  { file: 'test/support/wait.ts', code: 'export const t = Date.now();' },
];

/** Lints every snippet in one process and prints the names of the rules each one breaks. */
const LINT = `
  import { text } from 'node:stream/consumers';
  import { ESLint } from 'eslint';
  const eslint = new ESLint();
  const broken = [];
  for (const { file, code } of JSON.parse(await text(process.stdin))) {
    const [result] = await eslint.lintText(code + '\\n', { filePath: file });
    broken.push(result.messages.map(({ ruleId }) => ruleId));
  }
  process.stdout.write(JSON.stringify(broken));`;

describe('lint rules', () => {
  const broken = new Map<Snippet, readonly string[]>();

  beforeAll(async () => {
    const snippets = [...FORBIDDEN, ...ALLOWED];
    const linting = run(process.execPath, ['--input-type=module', '-e', LINT], { cwd: root });
    linting.child.stdin?.end(JSON.stringify(snippets));
    const results = JSON.parse((await linting).stdout) as readonly (readonly string[])[];
    snippets.forEach((snippet, at) => broken.set(snippet, results[at] ?? []));
  }, 120_000);

  it.each(FORBIDDEN)('refuse $code in $file', (snippet) => {
    expect(broken.get(snippet)).toContain(snippet.rule);
  });

  it.each(ALLOWED)('accept $code in $file', (snippet) => {
    expect(broken.get(snippet)).toEqual([]);
  });
});
