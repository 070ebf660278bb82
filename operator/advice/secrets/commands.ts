// Secrets among the words of commands: assignments, options, and addresses with a password in them.

import type { Command } from '../parsing/shell.ts';
import { isLiteral, isSecret } from './secret.ts';

/** Not just any prefix: `--disabled-password` takes no value. */
const OPTION =
  /^--?(?:(?:(?:access|admin|api|auth|bearer|db|http|proxy|registry|root|user)-)?(?:password|passwd|passphrase|token)|api-key|access-key|secret-key|client-secret)$/i;
const REGISTRY_CLIENTS: ReadonlySet<string> = new Set([
  'docker',
  'podman',
  'buildah',
  'skopeo',
  'helm',
  'oras',
  'crane',
]);
const LOCAL_HOST = /^(?:localhost|127\.|0\.0\.0\.0|host\.|db(?:$|:)|example\.)/i;

/** What it is, for a sentence: `the secret NPM_TOKEN`. Absent: none found. */
export function findSecretInCommands(commands: readonly Command[]): string | undefined {
  return commands.map(secretOf).find((what) => what !== undefined);
}

function secretOf({ name, args, assignments }: Command): string | undefined {
  const assigned = assignments.find(([variable, value]) => isSecret(variable, value) && !isThrowaway(value));
  if (assigned) return `the secret ${assigned[0]}`;
  const option = args.find((word, index) => isSecretOption(word, args[index + 1]));
  if (option !== undefined) return `the value of ${option.replace(/=.*$/s, '')}`;
  if (isLogin(name, args)) return `the password of a ${name} login`;
  return [...args, ...assignments.map(([, value]) => value)].some(hasPassword)
    ? 'an address with a password'
    : undefined;
}

/** `SECRET_KEY=nothing ./manage.py collectstatic`: something has to be set, and it is forgotten with the command. */
function isThrowaway(value: string): boolean {
  return !/[0-9]/.test(value) && value.length < 20;
}

function isSecretOption(word: string, next: string | undefined): boolean {
  const equals = word.indexOf('=');
  if (equals !== -1) return OPTION.test(word.slice(0, equals)) && isLiteral(word.slice(equals + 1));
  return OPTION.test(word) && next !== undefined && !next.startsWith('-') && isLiteral(next);
}

/** `docker login -p …` and `curl -u name:…`. */
function isLogin(name: string, args: readonly string[]): boolean {
  if (name === 'curl') {
    const user = args[args.findIndex((word) => word === '-u' || word === '--user') + 1] ?? '';
    return (args.includes('-u') || args.includes('--user')) && isPair(user);
  }
  const password = args[args.indexOf('-p') + 1] ?? '';
  return REGISTRY_CLIENTS.has(name) && args.includes('login') && args.includes('-p') && isLiteral(password);
}

function isPair(user: string): boolean {
  const colon = user.indexOf(':');
  return colon > 0 && isLiteral(user) && isLiteral(user.slice(colon + 1));
}

/** `https://name:password@host`, but not a data base beside the build. */
function hasPassword(word: string): boolean {
  const [, password, host] = /:\/\/[^\s/:@]{1,128}:([^\s/@]{1,256})@([^\s/]{1,256})/.exec(word) ?? [];
  if (password === undefined || host === undefined || !isLiteral(password)) return false;
  return !LOCAL_HOST.test(host) && !/^(?:pass|password|user|postgres|root|secret)$/i.test(password);
}
