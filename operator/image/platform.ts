// Platforms as indexes name them.
// @see https://github.com/opencontainers/image-spec/blob/main/image-index.md

import { TerminalError } from '../errors.ts';

/** `os/architecture[/variant]`, normalised: `linux/arm64/v8` is `linux/arm64`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Absent where the architecture has a single or default variant. */
  readonly variant?: string;
}

const ARCHITECTURE_ALIASES: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64' };

/** What an architecture means when no variant is named. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = { amd64: 'v1', arm: 'v7', arm64: 'v8' };

/** A platform in its normal form, so that equal platforms are equal strings when formatted. */
export function normalizePlatform(os: string, architecture: string, variant?: string): Platform {
  const arch = ARCHITECTURE_ALIASES[architecture.toLowerCase()] ?? architecture.toLowerCase();
  const kind = variant?.toLowerCase() ?? '';
  return {
    os: os.toLowerCase(),
    architecture: arch,
    ...(kind !== '' && kind !== DEFAULT_VARIANTS[arch] && { variant: kind }),
  };
}

/** Throws TerminalError `InvalidPlatform`. */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...more] = text.split('/');
  if (!os || !architecture || more.length > 0) {
    throw new TerminalError(
      `${JSON.stringify(text)} is not a platform: write os/architecture, for example linux/amd64`,
      {
        code: 'InvalidPlatform',
      },
    );
  }
  return normalizePlatform(os, architecture, variant);
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
