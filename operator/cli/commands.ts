// Every command, in the order in which `slipway --help` lists them. A new one is a file and a line here.

import { adviseCommand } from './advise.ts';
import type { CommandDefinition } from './context.ts';
import { explainCommand } from './explain.ts';
import {
  approveCommand,
  rejectCommand,
  releaseCommand,
  resumeCommand,
  retryCommand,
  suspendCommand,
} from './people/decisions.ts';
import { historyCommand } from './people/history.ts';
import { pinCommand, rollbackCommand, unpinCommand } from './people/pin.ts';
import { statusCommand, watchCommand } from './people/status.ts';
import { selectCommand } from './select.ts';
import { validateCommand } from './validate.ts';
import { versionCommand } from './version.ts';

export const COMMANDS: readonly CommandDefinition[] = [
  statusCommand,
  explainCommand,
  historyCommand,
  watchCommand,
  rollbackCommand,
  pinCommand,
  unpinCommand,
  approveCommand,
  rejectCommand,
  releaseCommand,
  resumeCommand,
  retryCommand,
  suspendCommand,
  selectCommand,
  validateCommand,
  adviseCommand,
  versionCommand,
];
