import { describe, expect, it } from '@jest/globals';
import { isArtifactTag } from '../../../operator/selection/artifact.ts';

const HEX = '64677ff7a877079df86d4a12e80e67a9548ea0facb2acb8c6719e79088e64526';

describe('isArtifactTag', () => {
  it.each([
    `sha256-${HEX}`,
    `sha256-${HEX}.sig`,
    `sha256-${HEX}.att`,
    `sha256-${HEX}.sbom`,
    `sha512-${HEX}${HEX}.sig`,
    'buildcache',
    'build-cache',
    'cache',
    'main-buildcache',
    'buildcache-main',
    'web.buildcache.amd64',
  ])('knows %s', (tag) => {
    expect(isArtifactTag(tag)).toBe(true);
  });

  it.each([
    '1.0.0',
    'sha256-not-a-digest',
    `sha256-${HEX.slice(1)}`,
    `v-sha256-${HEX}`,
    'session-cache',
    'cache-7',
    'nobuildcache2',
    '1.0.0.sig',
  ])('lets %s pass', (tag) => {
    expect(isArtifactTag(tag)).toBe(false);
  });
});
