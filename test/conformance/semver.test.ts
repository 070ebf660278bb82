import { expect } from '@jest/globals';
import { parseRange } from '../../operator/selection/semver/range.ts';
import { compareVersions, parseVersion, type Version } from '../../operator/selection/semver/version.ts';
import { describeTable, type Case, type LeftOut } from './table.ts';

type ConstraintCase = Case<
  { readonly constraint: string; readonly version: string; readonly includePrerelease?: boolean },
  { readonly match: boolean }
>;

function loosely(text: string): Version {
  const version = parseVersion(text, 1);
  if (!version) throw new Error(`${text} is not a version`);
  return version;
}

function checkConstraint({ input, expect: wanted }: ConstraintCase): void {
  const range = parseRange(input.constraint);

  expect(range.includes(loosely(input.version), input.includePrerelease ?? false)).toBe(wanted.match);
}

describeTable('masterminds-semver-constraints.json', {
  TestConstraintCheck: {
    run: checkConstraint,
    leftOut: {
      "'' on '4.5.6'":
        'an empty term exists only inside their parser: as an expression they refuse it too, which the row "With invalid range: \'\'" of flux-policy-semver.json pins',
    },
  },
  TestConstraintsCheck: { run: checkConstraint },
  TestConstraintsCheckIncludePrerelease: { run: checkConstraint },
  TestConstraintsValidate: { run: checkConstraint },
  TestConstraintsValidateIncludePrerelease: { run: checkConstraint },
  TestNewConstraint: {
    // How an expression is split into groups and terms is their inner matter; what it then includes is checked above.
    run({ input, expect: wanted }: Case<{ readonly constraint: string }, { readonly valid?: boolean }>) {
      const parse = (): unknown => parseRange(input.constraint);

      if (wanted.valid === true) expect(parse).not.toThrow();
      else expect(parse).toThrow(/is not a version range/);
    },
  },
});

const NO_STRICT_PARSER =
  'Slipway reads tags loosely, as Flux does: a leading v and leading zeros are what registries hold, and the case is valid in the loose table';
const LOOSE_ONLY: LeftOut = Object.fromEntries(
  [
    "'v1.2.3'",
    "'v1.2.0-x.Y.0+metadata'",
    "'v1.2.0-x.Y.0+metadata-width-hypen'",
    "'v1.2.3-rc1-with-hypen'",
    "'1.01.1'",
  ].map((name) => [name, NO_STRICT_PARSER]),
);

type ValidityCase = Case<{ readonly version: string }, { readonly valid: boolean }>;

describeTable('masterminds-semver-versions.json', {
  'TestNewVersion (loose)': {
    run: ({ input, expect: { valid } }: ValidityCase) =>
      expect(parseVersion(input.version, 1) !== undefined).toBe(valid),
  },
  TestStrictNewVersion: {
    run: ({ input, expect: { valid } }: ValidityCase) => expect(parseVersion(input.version) !== undefined).toBe(valid),
    leftOut: LOOSE_ONLY,
  },
  TestCompare: {
    run({
      input,
      expect: { compare },
    }: Case<{ readonly a: string; readonly b: string }, { readonly compare: number }>) {
      expect(Math.sign(compareVersions(loosely(input.a), loosely(input.b)))).toBe(compare);
    },
  },
  TestCoerceString: {
    run({ input, expect: { normalised } }: Case<{ readonly version: string }, { readonly normalised: string }>) {
      const { major, minor, patch, prerelease } = loosely(input.version);
      const build = /\+.*$/.exec(input.version)?.[0] ?? '';

      expect(`${major}.${minor}.${patch}${prerelease === '' ? '' : `-${prerelease}`}${build}`).toBe(normalised);
    },
  },
});
