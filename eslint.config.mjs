// What the compiler cannot see and a reviewer should not have to: floating promises, `any`, ambient time and environment.
// Layout is prettier's business; who may import whom is dependency-cruiser's.

import prettier from 'eslint-config-prettier';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { importOrder } from './scripts/eslint/import-order.mjs';

const NAMED_EXPORTS_ONLY = {
  selector: 'ExportDefaultDeclaration',
  message: 'Named exports only: a name that is the same everywhere can be searched for.',
};

/** What makes a function depend on something other than its arguments. */
const AMBIENT = [
  {
    selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
    message: 'Take the time from a Clock (operator/time/clock.ts).',
  },
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'Take the time from a Clock.' },
  {
    selector: "CallExpression[callee.object.name='performance'][callee.property.name='now']",
    message: 'Use Clock.monotonicMs().',
  },
  {
    selector: "CallExpression[callee.object.name='Math'][callee.property.name='random']",
    message: 'Randomness is an argument: take a `random` function.',
  },
  {
    selector: 'CallExpression[callee.name=/^(setTimeout|setInterval)$/]',
    message: 'Timers are owned: use Clock.setTimer() or Clock.sleep().',
  },
];

const ENVIRONMENT = {
  selector: "MemberExpression[object.name='process'][property.name='env']",
  message: 'Only operator/config.ts knows the environment, and main.ts hands it over.',
};

const NO_MODULE_MOCKS = {
  selector: "CallExpression[callee.object.name='jest'][callee.property.name=/^(mock|unstable_mockModule|doMock)$/]",
  message: 'No module mocks: pass a fake as an argument.',
};

const NO_FOCUSED_TESTS = {
  selector: "MemberExpression[object.name=/^(describe|it|test)$/][property.name='only']",
  message: 'A focused test hides all others.',
};

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', 'node_modules/', '.state/']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { slipway: { rules: { 'import-order': importOrder } } },
    rules: {
      'slipway/import-order': 'error',
      'no-restricted-syntax': ['error', NAMED_EXPORTS_ONLY],
      eqeqeq: ['error', 'always'],
      'object-shorthand': 'error',
      'prefer-template': 'error',
      'func-style': ['error', 'declaration', { allowArrowFunctions: true, allowTypeAnnotation: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      // A template is for people; numbers and booleans read well in it, objects do not.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      // A port may promise to be async where one implementation has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      // One shape of a call signature per line of a port reads better than a union of tuples.
      '@typescript-eslint/unified-signatures': 'off',
      // `T` that appears once still names the type a caller asks for: client.get<Pod>(…).
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
    },
  },
  {
    files: ['operator/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-syntax': ['error', NAMED_EXPORTS_ONLY, ENVIRONMENT, ...AMBIENT],
    },
  },
  {
    // The edges of the process: here the ambient things are picked up and passed on.
    files: ['operator/main.ts', 'operator/operator.ts', 'operator/cli.ts', 'operator/time/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', NAMED_EXPORTS_ONLY] },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      'no-restricted-syntax': ['error', NAMED_EXPORTS_ONLY, NO_MODULE_MOCKS, NO_FOCUSED_TESTS],
      // Tests read JSON and matchers that are `any` by their libraries' types, and assert on them at once.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  prettier,
);
