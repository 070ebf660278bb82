// Every command, in the order in which `slipway --help` lists them. A new one is a file and a line here.

import type { CommandDefinition } from './context.ts';
import { explainCommand } from './explain.ts';
import { selectCommand } from './select.ts';
import { validateCommand } from './validate.ts';
import { versionCommand } from './version.ts';

export const COMMANDS: readonly CommandDefinition[] = [explainCommand, selectCommand, validateCommand, versionCommand];
