// What the docs tell people to type exists: commands and options of `slipway`, targets of make, values of the chart, metrics
// and fields of the operator's configuration.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import YAML from 'yaml';
import { parseYamlDocument } from '../../../operator/config/document.ts';
import { configFileSchema } from '../../../operator/config/schema.ts';
import { run } from '../cli/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PAGES = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/README.md', 'docs/architecture.md', 'examples/README.md'],
  ...readdirSync(join(ROOT, 'docs/how-to')).map((name) => `docs/how-to/${name}`),
];

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** What each match of the pattern captured, page by page, each once. */
function findAll(pattern: RegExp): { page: string; found: string }[] {
  return PAGES.flatMap((page) =>
    [...new Set([...read(page).matchAll(pattern)].map(([, found = '']) => found.trim()))].map((found) => ({
      page,
      found,
    })),
  );
}

describe('commands in the docs', () => {
  // In code, as `$ slipway …` or `kubectl slipway …`; operator and chart have names that begin alike.
  const commands = findAll(/(?:^|[`$] ?)(?:kubectl )?slipway ((?:[a-z]+)\b[^`#\n]*)/gm);

  it('are found', () => {
    expect(commands.length).toBeGreaterThan(8);
  });

  it.each(commands)('$page: slipway $found', async ({ found }) => {
    const [command = '', ...words] = found.split(/\s+/);
    const { exitCode, stdout } = await run([command, '--help']);
    const options = words.filter((word) => word.startsWith('-') && word !== '-');

    expect(exitCode).toBe(0);
    for (const option of options) expect(stdout).toMatch(new RegExp(`(?:^|\\s)${option}(?=[,\\s])`));
  });
});

describe('targets of make in the docs', () => {
  const targets = [...read('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, name]) => name);

  it.each(findAll(/(?:^|`|KEEP=1 |CLUSTER=current )make ([a-z-]+)/gm))('$page: make $found', ({ found }) => {
    expect(targets).toContain(found);
  });
});

describe('metrics in the docs', () => {
  const declared = [...read('docs/metrics.md').matchAll(/^\| `(slipway_\w+)`/gm)].map(([, name]) => name);

  it.each(findAll(/`(slipway_[a-z_]+)`/g))('$page: $found', ({ found }) => {
    expect(declared).toContain(found);
  });
});

describe("the chart's values in the docs", () => {
  const values: unknown = YAML.parse(read('charts/slipway/values.yaml'));
  const sections = Object.keys(values as object).filter((key) => !['image', 'replicas'].includes(key));
  const paths = [
    ...findAll(new RegExp(`\`((?:${sections.join('|')})(?:\\.[A-Za-z]+)*)(?<!\\.ts)(?=[\`:])`, 'g')),
    ...findAll(/--set '?([A-Za-z.]+)=/g),
  ];

  it('are found', () => {
    expect(paths.map(({ found }) => found)).toEqual(
      expect.arrayContaining(['networkPolicy.egressPorts', 'watchNamespaces', 'crds.install']),
    );
  });

  it.each(paths)('$page: $found', ({ found }) => {
    let value = values;
    for (const key of found.split('.')) {
      expect(Object.keys(value as object)).toContain(key);
      value = (value as Readonly<Record<string, unknown>>)[key];
    }
  });
});

describe('configurations in the docs', () => {
  const pem = /-----BEGIN CERTIFICATE-----\n\s*…\n\s*-----END CERTIFICATE-----/g;
  const snippets = findAll(/^```yaml\n(config:[\s\S]*?)^```$/gm).map(({ page, found }) => ({
    page,
    title: found.split('\n').slice(0, 4).join(' ').replaceAll(/\s+/g, ' '),
    // Certificates are cut short there.
    text: found.replaceAll(pem, (rootCertificates[0] ?? '').replaceAll('\n', '\n        ')),
  }));

  it('are found', () => {
    expect(snippets.length).toBeGreaterThan(3);
  });

  it.each(snippets)('$page: $title', ({ page, text }) => {
    const { config } = YAML.parse(text) as { config: unknown };

    expect(() => parseYamlDocument(YAML.stringify(config), page, configFileSchema)).not.toThrow();
  });
});
