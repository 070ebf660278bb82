// `slipway validate`: says before `kubectl apply`, and without a cluster, what is wrong with a policy, and where.

import { Command, Option } from 'commander';
import { EXIT, print, readInput, UsageError, type CliContext } from './context.ts';
import { checkManifest } from './policy-check.ts';
import { formatPath } from './schema-check.ts';
import { readDocuments, type Place, type SourceDocument } from './yaml-source.ts';

interface LocatedProblem extends Place {
  /** Path from the object's root; empty where the syntax is broken. */
  readonly field: string;
  readonly message: string;
}

interface DocumentReport {
  readonly file: string;
  readonly line: number;
  readonly object: string;
  readonly result: 'Valid' | 'Invalid' | 'Skipped';
  readonly problems: readonly LocatedProblem[];
}

interface ValidateOptions {
  readonly filename: readonly string[];
  readonly output: 'text' | 'json';
}

const HELP = `
The manifests are checked as the API server would check them, rules included, and the rules
for tags are compiled as the operator would. A file may hold several documents; objects of
other groups are skipped.

Exit code: 0 all are valid, 1 something is invalid, 2 a file cannot be read.

Examples:
  slipway validate -f policy.yaml
  slipway validate -f web.yaml -f api.yaml -o json
  kubectl get imagepolicies.slipway.dev web -o yaml | slipway validate -f -`;

export function validateCommand(context: CliContext): Command {
  return new Command('validate')
    .summary('check manifests without a cluster')
    .description('Checks manifests without a cluster and names file, line and field of everything that is wrong.')
    .requiredOption('-f, --filename <file...>', 'file of manifests, YAML or JSON, or - for standard input')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(['text', 'json']).default('text'))
    .addHelpText('after', HELP)
    .action(async (options: ValidateOptions) => validate(options, context));
}

async function validate({ filename, output }: ValidateOptions, context: CliContext): Promise<void> {
  const reports: DocumentReport[] = [];
  for (const file of filename) {
    const documents = readDocuments(await readInput(file, context));
    if (documents.length === 0) throw new UsageError(`${file} holds no document`);
    reports.push(...documents.map((document) => judge(document, file === '-' ? 'stdin' : file)));
  }
  const isValid = reports.every(({ result }) => result !== 'Invalid');
  if (!isValid) context.exitCode = EXIT.refused;
  if (output === 'json') {
    await print(context.stdout, JSON.stringify({ valid: isValid, documents: reports }, null, 2));
    return;
  }
  for (const report of reports) for (const line of formatReport(report)) await print(context.stdout, line);
}

function judge(document: SourceDocument, file: string): DocumentReport {
  const { line } = document.start;
  if (document.syntaxErrors.length > 0) {
    const problems = document.syntaxErrors.map((error) => ({ ...error, field: '' }));
    return { file, line, object: 'document', result: 'Invalid', problems };
  }
  const verdict = checkManifest(document);
  if (verdict.kind === 'Skipped') return { file, line, object: verdict.title, result: 'Skipped', problems: [] };
  const problems = verdict.problems
    .map(({ path, message }) => ({ ...document.placeOf(path), field: formatPath(path), message }))
    .sort((a, b) => a.line - b.line || a.column - b.column);
  return { file, line, object: verdict.title, result: problems.length > 0 ? 'Invalid' : 'Valid', problems };
}

function formatReport({ file, line, object, result, problems }: DocumentReport): string[] {
  if (result === 'Valid') return [`${file}:${line}: ${object} is valid`];
  if (result === 'Skipped') return [`${file}:${line}: ${object} skipped: not an object of Slipway`];
  return problems.map(
    (problem) =>
      `${file}:${problem.line}: ${object}: ${problem.field === '' ? '' : `${problem.field}: `}${problem.message}`,
  );
}
