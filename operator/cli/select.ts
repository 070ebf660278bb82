// `slipway select`: what a policy would choose from a list of tags, and why each other tag loses. Offline: what only the
// registry knows (digests, platforms, ages) is not asked.

import { createInterface } from 'node:readline';
import { Command, Option } from 'commander';
import { SlipwayError } from '../errors.ts';
import { summarizeTags } from '../selection/explain.ts';
import { compileTagRules, type TagRules } from '../selection/tag-rules.ts';
import { formatColumns } from './columns.ts';
import { EXIT, print, readInput, UsageError, type CliContext } from './context.ts';
import { createPolicyReader } from './policy-source.ts';
import { selectOffline, type Selection } from './selection.ts';
import { readTags, toTagList } from './tags-source.ts';

interface SelectOptions {
  readonly filename?: string;
  readonly tags?: string;
  readonly current?: string;
  readonly name?: string;
  readonly output: 'table' | 'json';
  readonly batch?: true | string;
  readonly messages: boolean;
}

/** A list of at most this many tags is shown whole; of a longer one, examples. */
const SHOWN_WHOLE = 50;

const HELP = `
The policy is an ImagePolicy, its spec, or only the "tags" of the spec. The tags are one per
line, a JSON array, or a registry's answer ({"tags": […]}); for the order "newest" an array of
{"tag": …, "created": …, "digest": …}. The answer is the best tag by list and order; digests,
platforms and ages are not looked at, because only the registry knows them.

-o json prints one object: selected (null when none), value (what was compared), current,
change (whether another tag than the current one would roll out), order, total, considered,
rejectedByReason, and tags: each tag of the list with its reason and a message.

--batch reads lines of JSON, {"policy": {…}, "tags": […], "current": "…"}, and writes one
line of JSON for each, in the same order: the object above without messages (--messages adds
them), or {"error": "…", "code": "…"} where the line or its policy is refused. Blank lines
are skipped; a refused line does not stop the others.

Exit code: 0 done (also when no tag qualifies), 1 the policy, or a line of the batch, is
refused, 2 wrong usage or an unreadable file.

Examples:
  slipway select -f policy.yaml --tags tags.txt
  slipway select -f policy.yaml --tags tags.txt --current 1.4.2 -o json
  curl -s https://registry.example/v2/acme/web/tags/list | slipway select -f policy.yaml --tags -
  slipway select --batch < cases.jsonl > answers.jsonl`;

export function selectCommand(context: CliContext): Command {
  return new Command('select')
    .summary('show what a policy would choose from a list of tags')
    .description('Shows, without cluster and registry, what a policy would choose from a list of tags, and why.')
    .option('-f, --filename <file>', 'file of the policy, YAML or JSON, or - for standard input')
    .option('--name <name>', 'the policy to take where the file holds several')
    .option('--tags <file>', 'file of the tags, or - for standard input')
    .option('--current <tag>', 'the tag that runs now; nothing below it is chosen')
    .addOption(new Option('-o, --output <format>', 'how to answer').choices(['table', 'json']).default('table'))
    .option('--batch [file]', 'answer many questions, one JSON line each; without a file from standard input')
    .option('--messages', 'with --batch: add a sentence for every tag', false)
    .addHelpText('after', HELP)
    .action(async (options: SelectOptions) => {
      if (options.batch === undefined) await selectOnce(options, context);
      else await selectBatch(options, context);
    });
}

async function selectOnce(options: SelectOptions, context: CliContext): Promise<void> {
  const { filename, tags: tagsFile, current, name, output } = options;
  if (filename === undefined) throw new UsageError('--filename names no policy: write for example -f policy.yaml');
  if (tagsFile === undefined) throw new UsageError('--tags names no list: write for example --tags tags.txt');
  if (filename === '-' && tagsFile === '-') throw new UsageError('only one of --filename and --tags can be -');
  const rules = compileTagRules(createPolicyReader().readText(await readInput(filename, context), name));
  const list = readTags(await readInput(tagsFile, context));
  const selection = selectOffline(rules, list, current);
  if (output === 'json') {
    await print(context.stdout, JSON.stringify(selection.toJson({ withMessages: true }), null, 2));
    return;
  }
  for (const line of formatSelection(selection)) await print(context.stdout, line);
  const unasked = unaskedFacts(rules);
  if (unasked !== '') context.stderr.write(`slipway: ${unasked} not looked at: only the registry knows\n`);
}

function formatSelection(selection: Selection): string[] {
  const { ranking, outcome } = selection;
  const isShort = ranking.tags.length <= SHOWN_WHOLE;
  const summary = summarizeTags(ranking, outcome, { maxExamples: SHOWN_WHOLE });
  const shown = isShort ? selection.verdicts() : summary.rejected;
  const counts = Object.entries(summary.rejectedByReason).map(([reason, count]) => `${reason} ${count}`);
  return [
    ...formatColumns([
      ['SELECTED', selection.selected ?? 'none'],
      ['CURRENT', ranking.current ?? 'none'],
      ['TAGS', `${summary.total} listed, ${summary.considered} considered`],
      ['PASSED OVER', counts.join(', ') || 'none'],
    ]),
    '',
    ...formatColumns([
      ['TAG', 'REASON', 'MESSAGE'],
      ...shown.map(({ tag, reason, message }) => [tag, reason, message]),
    ]),
    ...(isShort ? [] : ['', `Examples of ${summary.total} tags; -o json lists all of them.`]),
  ];
}

function unaskedFacts({ minimumAgeMs, platforms }: TagRules): string {
  const facts = [...(platforms ? ['platforms'] : []), ...(minimumAgeMs > 0 ? ['minimumAge'] : [])];
  return facts.length === 0 ? '' : `${facts.join(' and ')} ${facts.length === 1 ? 'is' : 'are'}`;
}

async function selectBatch(options: SelectOptions, context: CliContext): Promise<void> {
  if (options.filename !== undefined || options.tags !== undefined || options.current !== undefined) {
    throw new UsageError(
      '--batch brings policy, tags and current in its lines: leave out --filename, --tags and --current',
    );
  }
  const compile = compileOnce();
  for await (const line of linesOf(options.batch, context)) {
    if (line.trim() === '') continue;
    const answer = answerLine(line, compile, options.messages);
    if ('error' in answer) context.exitCode = EXIT.refused;
    await print(context.stdout, JSON.stringify(answer));
  }
}

async function* linesOf(batch: true | string | undefined, context: CliContext): AsyncGenerator<string> {
  if (typeof batch === 'string' && batch !== '-') yield* (await readInput(batch, context)).split('\n');
  else yield* createInterface({ input: context.stdin, crlfDelay: Infinity });
}

interface BatchLine {
  readonly policy?: unknown;
  readonly tags?: unknown;
  readonly current?: unknown;
}

function answerLine(line: string, compile: (policy: unknown) => TagRules, withMessages: boolean): object {
  try {
    const { policy, tags, current } = parseLine(line);
    if (current !== undefined && current !== null && typeof current !== 'string')
      throw new UsageError('current must be a tag');
    const rules = compile(policy);
    return selectOffline(rules, toTagList(tags), current ?? undefined).toJson({ withMessages });
  } catch (thrown) {
    if (thrown instanceof SlipwayError) return { error: thrown.message, code: thrown.code };
    if (thrown instanceof UsageError) return { error: thrown.message, code: 'InvalidLine' };
    throw thrown;
  }
}

function parseLine(line: string): BatchLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (thrown) {
    throw new UsageError(`not JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new UsageError('a line must be {"policy": {…}, "tags": […]}');
}

/** Neighbouring lines often ask about the same policy. */
function compileOnce(): (policy: unknown) => TagRules {
  const reader = createPolicyReader();
  let last: { readonly text: string; readonly rules: TagRules } | undefined;
  return (policy) => {
    const text = JSON.stringify([policy]);
    if (last?.text !== text) last = { text, rules: compileTagRules(reader.readValue(policy)) };
    return last.rules;
  };
}
