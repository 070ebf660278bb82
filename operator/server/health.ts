// /livez and /readyz, which tell the truth: each is the outcome of named checks, asked anew every time. The answers look
// like those of the API server: `ok`, or with ?verbose one line per check; a single check is /readyz/<name>.
// @see https://kubernetes.io/docs/reference/using-api/health-checks/

import { Router, type Request } from 'express';
import { toError } from '../errors.ts';
import { listen, send, type Answer, type Listener, type ListenerOptions } from './listener.ts';

export interface HealthCheck {
  /** Unique among its kind; becomes a path. */
  readonly name: string;
  /** Must answer at once. A throw counts as not ok. */
  check(): HealthOutcome;
}

export interface HealthOutcome {
  readonly ok: boolean;
  /** What is wrong, for people. Never a secret: nobody has to log in to read it. */
  readonly message?: string;
}

export interface HealthOptions extends Omit<ListenerOptions, 'name'> {
  /** Not ok means: only a restart helps. Keep it to that, or an outage becomes a crash loop. */
  readonly live: readonly HealthCheck[];
  /** Not ok means: send nobody here now. */
  readonly ready: readonly HealthCheck[];
}

export interface HealthListener extends Listener {
  /** From now on /readyz is not ok, while /livez and the listener go on. The first thing to do on SIGTERM. */
  beginShutdown(): void;
}

interface NamedOutcome extends HealthOutcome {
  readonly name: string;
}

/** Serves /livez and /readyz. Throws as `listen` does. */
export async function serveHealth(options: HealthOptions): Promise<HealthListener> {
  let isShuttingDown = false;
  const shutdown: HealthCheck = {
    name: 'shutdown',
    check: () => (isShuttingDown ? { ok: false, message: 'shutting down' } : { ok: true }),
  };
  const routes = Router();
  for (const [endpoint, checks] of [
    ['livez', options.live],
    ['readyz', [...options.ready, shutdown]],
  ] as const) {
    routes.get(`/${endpoint}`, (request, response) => {
      const excluded = listOf(request, 'exclude');
      const outcomes = checks.filter(({ name }) => !excluded.includes(name)).map(outcomeOf);
      send(request, response, answer(endpoint, outcomes, 'verbose' in request.query));
    });
    routes.get(`/${endpoint}/:check`, (request, response, next) => {
      const check = checks.find(({ name }) => name === request.params['check']);
      if (check === undefined) {
        next();
        return;
      }
      send(request, response, answer(endpoint, [outcomeOf(check)], 'verbose' in request.query));
    });
  }
  const listener = await listen(routes, { ...options, name: 'health' });
  return {
    ...listener,
    beginShutdown: () => {
      isShuttingDown = true;
    },
  };
}

function outcomeOf(check: HealthCheck): NamedOutcome {
  try {
    return { name: check.name, ...check.check() };
  } catch (thrown) {
    return { name: check.name, ok: false, message: toError(thrown).message };
  }
}

function answer(endpoint: string, outcomes: readonly NamedOutcome[], isVerbose: boolean): Answer {
  const ok = outcomes.every((outcome) => outcome.ok);
  const lines = outcomes.map(line).concat(`${endpoint} check ${ok ? 'passed' : 'failed'}`);
  return {
    status: ok ? 200 : 503,
    text: ok && !isVerbose ? 'ok' : `${lines.join('\n')}\n`,
    json: { ok, checks: outcomes },
  };
}

function line({ name, ok, message }: NamedOutcome): string {
  const detail = message ? `: ${message.replaceAll(/\s+/g, ' ')}` : '';
  return ok ? `[+]${name} ok${detail}` : `[-]${name} failed${detail}`;
}

function listOf(request: Request, parameter: string): readonly string[] {
  const value = request.query[parameter];
  return [value].flat().filter((item) => typeof item === 'string');
}
