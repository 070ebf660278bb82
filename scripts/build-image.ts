// `make image`: builds the operator's image and saves it as an OCI archive, or pushes it.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mustRun } from '../test/support/processes.ts';
import { buildOperatorImage } from './image/operator-image.ts';

const USAGE = `Usage: node scripts/build-image.ts [options]

  --output FILE        OCI archive to write (default: dist/slipway-<version>.oci.tar)
  --push HOST/REPO:TAG push it instead; the login, user:password, is taken from SLIPWAY_PUSH_LOGIN
  --plain-http         the registry speaks plain http
  --build-image IMAGE  base of the build stage (default: made of Debian packages)
  --base-image IMAGE   base of the image (default: made of Debian packages)

Example: SLIPWAY_PUSH_LOGIN=me:secret node scripts/build-image.ts --push registry.example/slipway:0.1.0`;

const { values } = parseArgs({
  options: {
    output: { type: 'string' },
    push: { type: 'string' },
    'plain-http': { type: 'boolean', default: false },
    'build-image': { type: 'string' },
    'base-image': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(USAGE);
} else {
  const root = join(import.meta.dirname, '..');
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const revision = (
    await mustRun(['git', '-C', root, 'rev-parse', '--short=12', 'HEAD']).catch(() => 'unknown')
  ).trim();
  const image = await buildOperatorImage({
    version,
    revision,
    ...(values['build-image'] && { buildImage: values['build-image'] }),
    ...(values['base-image'] && { baseImage: values['base-image'] }),
    report: (line) => console.error(line),
  });
  const size = `${Math.round(image.sizeBytes / 1e6)} MB`;
  if (values.push === undefined) {
    const output = values.output ?? join(root, 'dist', `slipway-${version}.oci.tar`);
    await image.save(output);
    console.log(`${output}  ${size}`);
  } else {
    const credentials = process.env['SLIPWAY_PUSH_LOGIN'];
    const digest = await image.push({
      reference: values.push,
      plainHttp: values['plain-http'],
      ...(credentials !== undefined && { credentials }),
    });
    console.log(`${values.push}@${digest}  ${size}`);
  }
}
