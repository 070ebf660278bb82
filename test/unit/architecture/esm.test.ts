// Without --experimental-vm-modules jest would compile everything to CommonJS and stay green. A top-level await exists
// only in a real ES module, so this file cannot even be loaded then.

import { describe, expect, it } from '@jest/globals';

const { sep } = await import('node:path');

describe('the test suite', () => {
  it('runs as ES modules', () => {
    expect(sep).toBe('/');
    expect(import.meta.url).toMatch(/esm\.test\.ts$/);
  });
});
