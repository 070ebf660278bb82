// Asks one rule only, so that a table shows what the rule is about and nothing else.

import type { Advice } from '../../../operator/advice/advice.ts';
import { adviseDockerfile } from '../../../operator/advice/advise-dockerfile.ts';
import { adviseImage } from '../../../operator/advice/advise-image.ts';
import type { ImageToAdvise } from '../../../operator/advice/image-to-advise.ts';

export const NOW_MS = Date.parse('2026-09-01T00:00:00Z');
export const DIGEST = `sha256:${'a'.repeat(64)}`;

interface Surroundings {
  /** `undefined`: there is none. Default: there is one. */
  readonly dockerignore?: string | undefined;
  readonly nowMs?: number;
}

export function adviceOf(rule: string, dockerfile: string, surroundings: Surroundings = {}): readonly Advice[] {
  const input = { dockerfile, dockerignore: '.git', nowMs: NOW_MS, fileName: 'Dockerfile', ...surroundings };
  return adviseDockerfile(input).filter((advice) => advice.rule === rule);
}

/** The lines at which the rule has something to say. */
export function linesOf(rule: string, dockerfile: string, surroundings: Surroundings = {}): readonly number[] {
  return adviceOf(rule, dockerfile, surroundings).map(({ location }) =>
    location !== undefined && 'line' in location ? location.line : 0,
  );
}

/** An image about which no rule has anything to say. */
export const GOOD_IMAGE: ImageToAdvise = {
  reference: `ghcr.io/acme/web:1.2.3@${DIGEST}`,
  manifest: {
    layers: [
      { digest: `sha256:${'1'.repeat(64)}`, sizeBytes: 30_000_000 },
      { digest: `sha256:${'2'.repeat(64)}`, sizeBytes: 5_000_000 },
    ],
    annotations: {},
  },
  config: {
    user: '65532:65532',
    createdMs: NOW_MS - 1_000,
    labels: {
      'org.opencontainers.image.title': 'web',
      'org.opencontainers.image.version': '1.2.3',
      'org.opencontainers.image.source': 'https://github.com/acme/web',
      'org.opencontainers.image.revision': 'abc',
    },
    platform: { os: 'linux', architecture: 'amd64' },
  },
  nowMs: NOW_MS,
};

export function imageAdviceOf(rule: string, change: Partial<ImageToAdvise>): readonly Advice[] {
  return adviseImage({ ...GOOD_IMAGE, ...change }).filter((advice) => advice.rule === rule);
}
