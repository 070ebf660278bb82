// Writes everything that is generated from the kinds' schemas: the CRDs, the chart's copies of them, and the field
// reference. With --check nothing is written, and files that are not in step are named instead.

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { generateChartCrds, generateCrds } from './generate-crds.ts';
import { generateReference } from './generate-reference.ts';

/** A file that is generated. `path` is relative to the repository. */
export interface GeneratedFile {
  readonly path: string;
  readonly content: string;
}

interface Generator {
  /** Folder that holds this generator's files and nothing else. */
  readonly folder: string;
  readonly generate: () => readonly GeneratedFile[];
}

const GENERATORS: readonly Generator[] = [
  { folder: 'crds', generate: generateCrds },
  { folder: 'charts/slipway/templates/crds', generate: generateChartCrds },
  { folder: 'docs/reference/kinds', generate: generateReference },
];

const root = join(import.meta.dirname, '..');

async function read(path: string): Promise<string | undefined> {
  return readFile(join(root, path), 'utf8').catch(() => undefined);
}

/** Helm's templates are no YAML until rendered, so prettier leaves them alone. */
async function formatted(file: GeneratedFile): Promise<string> {
  if (file.content.includes('{{')) return file.content;
  const filepath = join(root, file.path);
  return format(file.content, { ...(await resolveConfig(filepath)), filepath });
}

async function main(): Promise<void> {
  const isCheck = process.argv.includes('--check');
  const outdated: string[] = [];
  for (const { folder, generate } of GENERATORS) {
    const files = generate();
    for (const file of files) {
      const content = await formatted(file);
      if ((await read(file.path)) === content) continue;
      outdated.push(file.path);
      if (isCheck) continue;
      await mkdir(dirname(join(root, file.path)), { recursive: true });
      await writeFile(join(root, file.path), content);
    }
    const present = await readdir(join(root, folder)).catch((): string[] => []);
    for (const name of present) {
      const path = `${folder}/${name}`;
      if (files.some((file) => file.path === path)) continue;
      outdated.push(path);
      if (!isCheck) await rm(join(root, path));
    }
  }
  if (outdated.length === 0) return;
  if (!isCheck) {
    console.log(outdated.map((path) => `generated ${path}`).join('\n'));
    return;
  }
  console.error(`Not in step with the schemas, run make generate:\n${outdated.map((path) => `  ${path}`).join('\n')}`);
  process.exitCode = 1;
}

await main();
