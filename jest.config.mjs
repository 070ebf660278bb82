/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/test/support/leak-guard-environment.mjs',
  roots: ['<rootDir>/operator', '<rootDir>/test', '<rootDir>/scripts'],
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2024', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  transformIgnorePatterns: ['/node_modules/'],
  clearMocks: true,
  restoreMocks: true,
  workerIdleMemoryLimit: '512MB',
  coverageProvider: 'v8',
  collectCoverageFrom: ['operator/**/*.ts', '!operator/main.ts'],
};
