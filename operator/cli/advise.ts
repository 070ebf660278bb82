// `slipway advise`: what good image practice would change in a Dockerfile, without a cluster and without building it.

import { Command, Option } from 'commander';
import { ADVICE_SEVERITIES, type AdviceSeverity } from '../advice/advice.ts';
import { adviseDockerfile } from '../advice/advise-dockerfile.ts';
import { ADVICE_FORMATS, formatAdvice, type AdviceFormat } from '../advice/format.ts';
import { systemClock } from '../time/clock.ts';
import { EXIT, print, readInput, type CliContext } from './context.ts';

interface AdviseOptions {
  readonly dockerfile: string;
  readonly output: AdviceFormat;
  readonly failOn?: AdviceSeverity;
}

const HELP = `
Nothing is built and nothing is pulled. Build arguments count with their defaults; what cannot
be resolved gets no advice. Values of secrets are never shown.

Exit code: 0 done, 1 there is advice as severe as --fail-on or worse, 2 a file cannot be read.

Examples:
  slipway advise --dockerfile .
  slipway advise --dockerfile build/Dockerfile --fail-on High
  slipway advise --dockerfile . -o sarif > advice.sarif`;

export function adviseCommand(context: CliContext): Command {
  return new Command('advise')
    .summary('say what good image practice would change in a Dockerfile')
    .description('Says what good image practice would change in a Dockerfile, each with its line and the remedy.')
    .requiredOption('--dockerfile <path>', 'a Dockerfile, or the directory it is in')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(ADVICE_FORMATS).default('text'))
    .addOption(
      new Option('--fail-on <severity>', 'end with exit code 1 at this severity or worse').choices(ADVICE_SEVERITIES),
    )
    .addHelpText('after', HELP)
    .action(async (options: AdviseOptions) => advise(options, context));
}

async function advise({ dockerfile, output, failOn }: AdviseOptions, context: CliContext): Promise<void> {
  const { path, text } = await readDockerfile(dockerfile, context);
  const advice = adviseDockerfile({
    dockerfile: text,
    dockerignore: await readDockerignore(path, context),
    fileName: path,
    nowMs: systemClock.now(),
  });
  const rank = (severity: AdviceSeverity): number => ADVICE_SEVERITIES.indexOf(severity);
  if (failOn !== undefined && advice.some(({ severity }) => rank(severity) >= rank(failOn)))
    context.exitCode = EXIT.refused;
  const answer = formatAdvice(advice, output);
  await print(context.stdout, answer === '' ? `${path}: nothing to advise` : answer);
}

/** The path may be that of a directory, which cannot be read as a file. */
async function readDockerfile(path: string, context: CliContext): Promise<{ path: string; text: string }> {
  const inside = `${path.replace(/\/+$/, '')}/Dockerfile`.replace(/^\.\//, '');
  const text = await context.readFile(inside).catch(() => undefined);
  return text === undefined ? { path, text: await readInput(path, context) } : { path: inside, text };
}

/** That of the Dockerfile before that of its directory, as Docker reads them. Undefined: there is none. */
async function readDockerignore(dockerfile: string, { readFile }: CliContext): Promise<string | undefined> {
  const beside = dockerfile.replace(/[^/]*$/, '.dockerignore');
  for (const path of [`${dockerfile}.dockerignore`, beside]) {
    const text = await readFile(path).catch(() => undefined);
    if (text !== undefined) return text;
  }
  return undefined;
}
