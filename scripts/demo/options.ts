// What the demo is asked to do. It comes by environment, because `make demo KEEP=1` is how people type it.

import { TerminalError, toError } from '../../operator/errors.ts';
import { formatRepository, parseImage, parseRepository, type Repository } from '../../operator/image/reference.ts';
import { isTag } from '../../operator/image/tag.ts';

/** A registry as the demo pushes to it and as the cluster pulls from it; often two addresses of one thing. */
export interface RegistryAddress {
  /** Above the demo's images, as the cluster knows it. */
  readonly repository: Repository;
  /** For pushes, without a path. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

/** As the chart takes it: the digest, or else the tag. */
export interface OperatorImageReference {
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** The cluster that kubectl points at. */
export interface CurrentCluster {
  readonly kind: 'current';
  readonly registry: RegistryAddress;
  /** Absent: it is built and pushed. */
  readonly operatorImage?: OperatorImageReference;
}

export interface DemoOptions {
  /** Counted from 1. Absent: all acts. */
  readonly act?: number;
  /** Leave everything running at the end. */
  readonly keep: boolean;
  /** Push this tag of the app to a demo that was kept, and nothing else. */
  readonly push?: string;
  readonly place: { readonly kind: 'own' } | CurrentCluster;
}

export function usage(titles: readonly string[]): string {
  const acts = titles.map((title, index) => `                     ${index + 1}  ${title}`).join('\n');
  return `Usage: make demo [ACT=n] [KEEP=1] [CLUSTER=current]

  ACT=n            play act n only:
${acts}
  KEEP=1           leave everything running at the end, and say how to use it and how to end it
  PUSH=v1.5.0      push this tag of the app to a demo that was kept, and nothing else
  CLUSTER=current  play on the cluster that kubectl points at, which must not have Slipway yet. It needs
                     REGISTRY=host/path            that this machine and the cluster reach
                     REGISTRY_LOGIN=user:password  that may push there
                     REGISTRY_PLAIN_HTTP=1         if it speaks plain http
                     IMAGE=repository:tag          of the operator, to use instead of building and pushing one

A cluster of the demo's own needs Linux and root, and Go for the first run, which builds Kubernetes from source.`;
}

/** Throws {@link TerminalError} with a sentence for whoever typed it. */
export function parseOptions(env: Readonly<Record<string, string | undefined>>, acts: number): DemoOptions {
  const act = given(env, 'ACT');
  if (act !== undefined && (!/^[1-9][0-9]*$/.test(act) || Number(act) > acts)) {
    throw unusable(`ACT=${act}: there ${acts === 1 ? 'is act 1 only' : `are acts 1 to ${acts}`}`);
  }
  const push = given(env, 'PUSH');
  if (push !== undefined && !isTag(push)) throw unusable(`PUSH=${push}: this cannot be a tag`);
  return {
    ...(act !== undefined && { act: Number(act) }),
    keep: isOn(env, 'KEEP'),
    ...(push !== undefined && { push }),
    place: parsePlace(env),
  };
}

function parsePlace(env: Readonly<Record<string, string | undefined>>): DemoOptions['place'] {
  const cluster = given(env, 'CLUSTER') ?? 'own';
  if (cluster === 'own') return { kind: 'own' };
  if (cluster !== 'current') throw unusable(`CLUSTER=${cluster}: it can be current, or left out`);

  const written = given(env, 'REGISTRY');
  if (written === undefined) {
    throw unusable('CLUSTER=current needs REGISTRY=host/path, which this machine and the cluster can reach');
  }
  const repository = explained('REGISTRY', () => parseRepository(written));
  const login = given(env, 'REGISTRY_LOGIN') ?? '';
  const colon = login.indexOf(':');
  if (colon < 1) throw unusable('CLUSTER=current needs REGISTRY_LOGIN=user:password, which may push there');
  const operatorImage = given(env, 'IMAGE');
  return {
    kind: 'current',
    registry: {
      repository,
      url: `${isOn(env, 'REGISTRY_PLAIN_HTTP') ? 'http' : 'https'}://${repository.host}`,
      username: login.slice(0, colon),
      password: login.slice(colon + 1),
    },
    ...(operatorImage !== undefined && { operatorImage: explained('IMAGE', () => parseOperatorImage(operatorImage)) }),
  };
}

function parseOperatorImage(text: string): OperatorImageReference {
  const { repository, tag, digest } = parseImage(text);
  if (tag === undefined && digest === undefined) throw unusable(`${text} needs a tag or a digest`);
  return {
    repository: formatRepository(repository),
    ...(digest !== undefined ? { digest } : { tag: String(tag) }),
  };
}

function explained<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw unusable(`${name}: ${toError(error).message}`);
  }
}

/** Absent and empty are the same: `make demo ACT=` means no act in particular. */
function given(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name];
}

function isOn(env: Readonly<Record<string, string | undefined>>, name: string): boolean {
  return !['0', 'no', 'false', undefined].includes(given(env, name));
}

function unusable(message: string): TerminalError {
  return new TerminalError(message, { code: 'UnusableOption' });
}
