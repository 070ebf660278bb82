// Which build this is. The bundler fills the two names in; run from source they do not exist.

declare const SLIPWAY_VERSION: string | undefined;
declare const SLIPWAY_REVISION: string | undefined;

export interface BuildInfo {
  /** The release, `0.1.0`, or `dev` when run from source. */
  readonly version: string;
  /** The commit the build was made from, or `unknown`. */
  readonly revision: string;
}

export const buildInfo: BuildInfo = {
  version: typeof SLIPWAY_VERSION === 'string' ? SLIPWAY_VERSION : 'dev',
  revision: typeof SLIPWAY_REVISION === 'string' ? SLIPWAY_REVISION : 'unknown',
};
