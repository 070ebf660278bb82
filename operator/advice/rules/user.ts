// Who the process is. A container that is left runs with what its user may do to the node.

import type { Finding, Rule } from '../advice.ts';
import type { ImageToAdvise } from '../image-to-advise.ts';
import { isRootImage } from '../official-images.ts';
import { rootBase, type Dockerfile } from '../parsing/dockerfile.ts';

const RUNS_AS_ROOT = { id: 'runs-as-root', title: 'Runs as root', severity: 'Medium' } as const;
// Kubernetes can only prove that a number is not root (runAsNonRoot).
const REMEDY = 'set a user by number, for example USER 65532:65532.';

export const DOCKERFILE_USER_RULES: readonly Rule<Dockerfile>[] = [{ ...RUNS_AS_ROOT, find: findRootAtTheEnd }];
export const IMAGE_USER_RULES: readonly Rule<ImageToAdvise>[] = [{ ...RUNS_AS_ROOT, find: findRootUser }];

const STARTS: ReadonlySet<string> = new Set(['CMD', 'ENTRYPOINT']);

/** `''`, `0`, `root`, each with or without a group. */
function isRoot(user: string): boolean {
  return /^(?:0*|root)(?::|$)/.test(user.trim());
}

function findRootAtTheEnd({ shipped }: Dockerfile): readonly Finding[] {
  const users = shipped.flatMap(({ instructions }) => instructions.filter(({ keyword }) => keyword === 'USER'));
  const last = users.at(-1);
  if (last !== undefined) {
    const user = last.words[0]?.value;
    if (user === undefined || !isRoot(user)) return [];
    return [{ line: last.line, message: `The last USER of the image is root: ${REMEDY}` }];
  }
  const base = rootBase(shipped);
  const final = shipped.at(-1);
  if (final === undefined || base === undefined) return [];
  // A stage from scratch that starts nothing only hands out files: docker build --output.
  const starts = shipped.some(({ instructions }) => instructions.some(({ keyword }) => STARTS.has(keyword)));
  const isKnown = (base.kind === 'scratch' && starts) || (base.kind === 'image' && isRootImage(base.image));
  if (!isKnown) return [];
  const name = base.kind === 'image' ? base.text : 'scratch';
  return [{ line: final.line, message: `No USER is set and ${name} has none, so the image runs as root: ${REMEDY}` }];
}

function findRootUser({ config }: ImageToAdvise): readonly Finding[] {
  if (config.platform?.os === 'windows' || !isRoot(config.user ?? '')) return [];
  const how = config.user ? 'The user of the image is root' : 'The image sets no user, so it runs as root';
  return [{ message: `${how}: in its Dockerfile, ${REMEDY}` }];
}
