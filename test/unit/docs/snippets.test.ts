// What the docs tell people to apply, the API server would take: every piece of an ImagePolicy in a page is completed to a
// whole one and validated as `slipway validate` does it.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import YAML from 'yaml';
import { imagePolicySpec } from '../../../operator/api/image-policy.ts';
import { run } from '../cli/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs/how-to')).map((name) => `docs/how-to/${name}`)];
const SPEC_FIELDS = Object.keys(imagePolicySpec.shape);

interface Snippet {
  readonly page: string;
  readonly title: string;
  readonly policy: string;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The spec that a snippet shows, or undefined when it shows something else. */
function specOf(value: unknown): object | undefined {
  if (!isObject(value)) return undefined;
  if (value['kind'] !== undefined) return value['kind'] === 'ImagePolicy' ? (value['spec'] as object) : undefined;
  const spec = isObject(value['spec']) ? value['spec'] : value;
  const fields = Object.keys(spec);
  return fields.length > 0 && fields.every((field) => SPEC_FIELDS.includes(field)) ? spec : undefined;
}

const snippets = PAGES.flatMap((page): Snippet[] =>
  [...readFileSync(join(ROOT, page), 'utf8').matchAll(/(?:^```yaml\n|<<'YAML'\n)([\s\S]*?)^(?:```|YAML)$/gm)].flatMap(
    ([, text = '']): Snippet[] => {
      const spec = specOf(YAML.parse(text));
      if (spec === undefined) return [];
      const whole = { image: 'ghcr.io/acme/web', tags: { newest: {} }, ...spec };
      const policy = {
        apiVersion: 'slipway.dev/v1alpha1',
        kind: 'ImagePolicy',
        metadata: { name: 'web', namespace: 'shop' },
        spec: whole,
      };
      return [{ page, title: text.split('\n').slice(0, 3).join(' '), policy: YAML.stringify(policy) }];
    },
  ),
);

describe('policies in the docs', () => {
  it('are found', () => {
    expect(snippets.length).toBeGreaterThanOrEqual(10);
  });

  it.each(snippets)('$page: $title', async ({ policy }) => {
    const { exitCode, stderr, stdout } = await run(['validate', '-f', 'policy.yaml'], {
      files: { 'policy.yaml': policy },
    });

    expect({ exitCode, output: exitCode === 0 ? '' : stdout + stderr }).toEqual({ exitCode: 0, output: '' });
  });
});
