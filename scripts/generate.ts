// Writes everything that is generated from the kinds' schemas: the CRDs, the chart's copies of them, and the field
// reference. With --check nothing is written, and files that are not in step are named instead.

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { generateChartSchema } from './generate-chart-schema.ts';
import { generateConfigurationReference } from './generate-configuration-reference.ts';
import { generateChartCrds, generateCrds } from './generate-crds.ts';
import { generateMetricsPage } from './generate-metrics-docs.ts';
import { generateReference } from './generate-reference.ts';
import { GENERATED_MARK, type GeneratedFile } from './generated-file.ts';

const GENERATORS: readonly (() => readonly GeneratedFile[])[] = [
  generateCrds,
  generateChartCrds,
  generateChartSchema,
  generateReference,
  generateConfigurationReference,
  generateMetricsPage,
];

const root = join(import.meta.dirname, '..');

async function read(path: string): Promise<string | undefined> {
  return readFile(join(root, path), 'utf8').catch(() => undefined);
}

/** Files that an earlier version generated beside these. */
async function findAbandoned(files: readonly GeneratedFile[]): Promise<string[]> {
  const abandoned: string[] = [];
  for (const folder of new Set(files.map(({ path }) => dirname(path)))) {
    const names = await readdir(join(root, folder)).catch((): string[] => []);
    for (const path of names.map((name) => `${folder}/${name}`)) {
      if (files.some((file) => file.path === path)) continue;
      const firstLine = (await read(path))?.split('\n', 1)[0] ?? '';
      if (firstLine.includes(GENERATED_MARK)) abandoned.push(path);
    }
  }
  return abandoned;
}

/** JSON is laid out as prettier would; the rest of what is generated is left to its generators. */
async function laidOut(file: GeneratedFile): Promise<GeneratedFile> {
  if (!file.path.endsWith('.json')) return file;
  const filepath = join(root, file.path);
  return { ...file, content: await format(file.content, { ...(await resolveConfig(filepath)), filepath }) };
}

async function main(): Promise<void> {
  const files = await Promise.all(GENERATORS.flatMap((generate) => generate()).map(laidOut));
  const outdated: GeneratedFile[] = [];
  for (const file of files) {
    if ((await read(file.path)) !== file.content) outdated.push(file);
  }
  const abandoned = await findAbandoned(files);
  if (outdated.length + abandoned.length === 0) return;

  if (process.argv.includes('--check')) {
    const paths = [...outdated.map(({ path }) => path), ...abandoned];
    console.error(`Not in step with the schemas, run make generate:\n${paths.map((path) => `  ${path}`).join('\n')}`);
    process.exitCode = 1;
    return;
  }
  for (const { path, content } of outdated) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
    console.log(`Generated ${path}`);
  }
  for (const path of abandoned) {
    await rm(join(root, path));
    console.log(`Removed ${path}`);
  }
}

await main();
