// The command line as a function of its arguments and streams: no exit, no global state, so that tests run it in place.

import { Command, CommanderError } from 'commander';
import { SlipwayError } from '../errors.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, UsageError, type CliContext, type CliIo } from './context.ts';

const HELP = `
Installed as kubectl-slipway in the PATH, the same program answers to "kubectl slipway".

Examples:
  slipway status -n shop
  slipway explain web -n shop
  slipway rollback web -n shop
  slipway validate -f policy.yaml
  slipway select -f policy.yaml --tags tags.txt`;

/**
 * Runs one command. Answers go to stdout, complaints to stderr. Resolves to the exit code: 0 done, 1 done and the answer
 * is no, 2 not done.
 */
export async function runCli(args: readonly string[], io: CliIo): Promise<number> {
  const context: CliContext = { ...io, exitCode: EXIT.ok };
  const program = createProgram(context);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return context.exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.failed;
    if (thrown instanceof UsageError) return complain(context, thrown.message, EXIT.failed);
    if (thrown instanceof SlipwayError) return complain(context, thrown.message, EXIT.refused);
    throw thrown;
  }
}

function complain(context: CliContext, message: string, exitCode: number): number {
  context.stderr.write(`slipway: ${message}\n`);
  return exitCode;
}

function createProgram(context: CliContext): Command {
  const program = new Command('slipway')
    .description('Follow, gate, roll forward by digest, verify, haul back: the command line of Slipway.')
    .addHelpText('after', HELP);
  for (const define of COMMANDS) program.addCommand(define(context));
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureOutput({
        writeOut: (text) => context.stdout.write(text),
        writeErr: (text) => context.stderr.write(text),
      })
      .configureHelp({ showGlobalOptions: false })
      .showHelpAfterError('Run with --help for usage and examples.');
  }
  return program;
}
