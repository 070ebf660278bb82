// Bundles the two programs: the operator (dist/operator.mjs) and the command line (dist/slipway.mjs). One minified file
// each starts three times faster and takes a third of the memory of the packages they are made of.
// Options: --version and --revision, by default those of package.json and git.

import { execFileSync } from 'node:child_process';
import { chmod, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const root = import.meta.dirname;
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

const { values: options } = parseArgs({
  options: {
    version: { type: 'string', default: process.env.VERSION || manifest.version },
    revision: { type: 'string', default: process.env.REVISION || gitRevision() },
  },
});

const PROGRAMS = [
  { entry: 'operator/main.ts', file: 'dist/operator.mjs' },
  { entry: 'operator/cli.ts', file: 'dist/slipway.mjs' },
];

// Packages written in CommonJS ask for these, and an ES module does not have them.
const COMMONJS_NAMES = [
  "import { createRequire as __createRequire } from 'node:module';",
  "import { dirname as __pathDirname } from 'node:path';",
  "import { fileURLToPath as __fileURLToPath } from 'node:url';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = __fileURLToPath(import.meta.url);',
  'const __dirname = __pathDirname(__filename);',
].join('');

/**
 * Modules of client-node only define classes. Told so, the bundler drops those that nothing uses: 3 MB, and a tenth of a
 * second at each start.
 * @type {import('esbuild').Plugin}
 */
const slimClientNode = {
  name: 'slim-client-node',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^(@kubernetes\/client-node$|[.])/ }, async ({ path, pluginData, ...from }) => {
      const isClientNode = path.startsWith('@') || from.importer.includes('/node_modules/@kubernetes/client-node/');
      if (!isClientNode || pluginData === slimClientNode) return undefined;
      return { ...(await resolve(path, { ...from, pluginData: slimClientNode })), sideEffects: false };
    });
  },
};

/** The commit, marked when the tree differs from it; `unknown` outside a repository. */
function gitRevision() {
  const git = (...args) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '-dirty');
  } catch {
    return 'unknown';
  }
}

await rm(join(root, 'dist'), { recursive: true, force: true });
for (const { entry, file } of PROGRAMS) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minify: true,
    // Node prints the line of an uncaught error: not a megabyte, please.
    lineLimit: 200,
    // Class names are error names, which people read.
    keepNames: true,
    sourcemap: 'linked',
    legalComments: 'linked',
    logLevel: 'warning',
    plugins: [slimClientNode],
    define: {
      SLIPWAY_VERSION: JSON.stringify(options.version),
      SLIPWAY_REVISION: JSON.stringify(options.revision),
      'process.env.NODE_ENV': '"production"',
    },
    banner: { js: `#!/usr/bin/env node\n${COMMONJS_NAMES}` },
  });
  await chmod(join(root, file), 0o755);
  const { size } = await stat(join(root, file));
  console.log(`${file}  ${(size / 1_048_576).toFixed(1)} MiB  ${options.version} (${options.revision})`);
}
