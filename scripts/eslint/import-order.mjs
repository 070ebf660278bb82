// House order of imports: `node:` first, then packages, then relative ones, alphabetical (by code unit) within each. Own
// rule, because the order is three lines of logic and the plug-ins for it bring dozens of packages.

const GROUPS = [/^node:/, /^[^.]/, /^\./];

/** @param {string} specifier */
function rank(specifier) {
  return GROUPS.findIndex((group) => group.test(specifier));
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** @type {import('eslint').Rule.RuleModule} */
export const importOrder = {
  meta: {
    type: 'layout',
    fixable: 'code',
    docs: { description: 'node: first, packages, then relative imports; alphabetical within' },
    messages: {
      order: 'Import of {{specifier}} belongs {{where}}: node: first, packages, then relative, alphabetical within.',
    },
    schema: [],
  },
  create(context) {
    return {
      Program(program) {
        const imports = program.body.filter((statement) => statement.type === 'ImportDeclaration');
        const specifiers = imports.map((statement) => String(statement.source.value));
        const misplaced = specifiers.findIndex(
          (specifier, at) => at > 0 && compare(specifiers[at - 1] ?? '', specifier) > 0,
        );
        if (misplaced === -1) return;
        const source = context.sourceCode;
        const first = imports[0];
        const last = imports[imports.length - 1];
        const hasOthersBetween =
          program.body.indexOf(last) - program.body.indexOf(first) !== imports.length - 1 ||
          source.getCommentsInside({ ...program, range: [first.range[0], last.range[1]] }).length > 0;
        context.report({
          node: imports[misplaced],
          messageId: 'order',
          data: { specifier: specifiers[misplaced] ?? '', where: `before ${specifiers[misplaced - 1] ?? ''}` },
          // Comments belong to an import in ways a rule cannot know: those are moved by hand.
          fix: hasOthersBetween
            ? null
            : (fixer) =>
                fixer.replaceTextRange(
                  [first.range[0], last.range[1]],
                  imports
                    .toSorted((a, b) => compare(String(a.source.value), String(b.source.value)))
                    .map((statement) => source.getText(statement))
                    .join('\n'),
                ),
        });
      },
    };
  },
};
