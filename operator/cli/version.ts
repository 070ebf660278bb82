// `slipway version`: which build this is.

import { Command, Option } from 'commander';
import { buildInfo } from '../version.ts';
import { print, type CliContext } from './context.ts';

const HELP = `
Examples:
  slipway version
  slipway version -o json`;

export function versionCommand(context: CliContext): Command {
  return new Command('version')
    .summary('print the version of this program')
    .description('Prints the version and the commit of this program.')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(['text', 'json']).default('text'))
    .addHelpText('after', HELP)
    .action(async ({ output }: { readonly output: 'text' | 'json' }) => {
      const { version, revision } = buildInfo;
      const answer = output === 'json' ? JSON.stringify({ version, revision }) : `slipway ${version} (${revision})`;
      await print(context.stdout, answer);
    });
}
