// A Dockerfile as rules see it: stages, what each is built on, and its instructions with the variables resolved by the
// defaults that the file itself gives.
// @see https://docs.docker.com/build/building/multi-stage/

import type { ImageReference } from '../../image/reference.ts';
import { parseImageOrNothing } from './image-name.ts';
import { declarationsOf, readInstruction, type Instruction } from './instruction.ts';
import { readSource } from './source.ts';

export type Base =
  | { readonly kind: 'scratch' }
  | { readonly kind: 'stage'; readonly stage: Stage }
  | { readonly kind: 'image'; readonly text: string; readonly image: ImageReference }
  /** Comes from a build argument without default, or is no image. */
  | { readonly kind: 'unknown' };

export interface Stage {
  /** In lower case: stage names know no case. Absent: it has none. */
  readonly name: string | undefined;
  /** Of its FROM. */
  readonly line: number;
  readonly base: Base;
  /** Without its FROM. */
  readonly instructions: readonly Instruction[];
}

export interface Dockerfile {
  readonly hasDockerignore: boolean;
  readonly nowMs: number;
  /** Before the first FROM. */
  readonly globals: readonly Instruction[];
  readonly stages: readonly Stage[];
  /** The last stage and the stages it is built on, the deepest first: what ends up in the image. None without a FROM. */
  readonly shipped: readonly Stage[];
}

interface Scope {
  /** Of the stage below, whose variables are seen here too. */
  readonly parent?: Scope | undefined;
  readonly args: Map<string, string | undefined>;
  /** Wins over an argument of the same name. */
  readonly env: Map<string, string | undefined>;
}

interface OpenStage extends Stage {
  readonly instructions: Instruction[];
  readonly scope: Scope;
}

export function readDockerfile(text: string, facts: Pick<Dockerfile, 'hasDockerignore' | 'nowMs'>): Dockerfile {
  const { escape, instructions } = readSource(text);
  const globals: Instruction[] = [];
  const globalScope: Scope = { args: new Map(), env: new Map() };
  const stages: OpenStage[] = [];
  const named = new Map<string, OpenStage>();
  for (const source of instructions) {
    const isFrom = source.keyword === 'FROM';
    const stage = stages.at(-1);
    // A FROM sees the arguments before the first one only.
    const scope = (isFrom ? undefined : stage?.scope) ?? globalScope;
    const instruction = readInstruction(source, { escape, lookUp: (name) => lookUp(name, scope) });
    if (isFrom) {
      const opened = openStage(instruction, named);
      stages.push(opened);
      if (opened.name !== undefined) named.set(opened.name, opened);
    } else {
      declare(instruction, scope, globalScope);
      (stage?.instructions ?? globals).push(instruction);
    }
  }
  return { ...facts, globals, stages, shipped: lineage(stages.at(-1)) };
}

/** A stage and the stages it is built on, the deepest first. */
function lineage(stage: Stage | undefined): readonly Stage[] {
  const stages: Stage[] = [];
  for (let next = stage; next !== undefined; next = next.base.kind === 'stage' ? next.base.stage : undefined) {
    stages.push(next);
  }
  return stages.reverse();
}

/** What the stage and the stages under it begin with: never another stage. Absent: there is no stage. */
export function rootBase(stages: readonly Stage[]): Base | undefined {
  return stages[0]?.base;
}

function openStage({ line, words }: Instruction, named: ReadonlyMap<string, OpenStage>): OpenStage {
  const [image, as, name] = words;
  const parent = named.get(image?.value?.toLowerCase() ?? '');
  return {
    name: as?.raw.toLowerCase() === 'as' ? name?.raw.toLowerCase() : undefined,
    line,
    base: parent === undefined ? readBase(image?.value) : { kind: 'stage', stage: parent },
    instructions: [],
    scope: { parent: parent?.scope, args: new Map(), env: new Map() },
  };
}

function readBase(text: string | undefined): Base {
  if (text === 'scratch') return { kind: 'scratch' };
  const image = text === undefined ? undefined : parseImageOrNothing(text);
  return text === undefined || image === undefined ? { kind: 'unknown' } : { kind: 'image', text, image };
}

function declare(instruction: Instruction, scope: Scope, globals: Scope): void {
  for (const { name, raw, value } of declarationsOf(instruction)) {
    if (instruction.keyword === 'ENV') scope.env.set(name, value);
    else scope.args.set(name, raw === undefined ? globals.args.get(name) : value);
  }
}

function lookUp(name: string, scope: Scope): string | undefined {
  for (const kind of ['env', 'args'] as const) {
    for (let next: Scope | undefined = scope; next !== undefined; next = next.parent) {
      if (next[kind].has(name)) return next[kind].get(name);
    }
  }
  return undefined;
}
