// Who may import whom, as docs/architecture.md says it in words. Every rule is provoked by a planted violation in
// test/unit/architecture/layers.test.ts; a rule without one fails that test.

/** Values everyone may hold: they import only each other. */
const VALUES = '^operator/(errors[.]ts|version[.]ts|time/|image/)';
/** The pure stages. What touches the world sits in the sub-folder named after it. */
const STAGES = 'selection|gates|signatures|scanning|rebuilding|rollout|advice';
const ADAPTERS = `^operator/(?:${STAGES})/(?:scanners|builders|workloads|checks)/`;
const WIRING = '^operator/(?:main|operator)[.]ts$';
/** Modules of Node that reach outside the process. */
const NODE_IO =
  '^(?:node:)?(?:fs|fs/promises|http|http2|https|net|tls|dns|dns/promises|child_process|dgram|worker_threads)$';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'values-stand-alone',
      comment: 'errors, time and image are the ground: they import only each other.',
      severity: 'error',
      from: { path: VALUES },
      to: { path: '^operator/', pathNot: VALUES },
    },
    {
      name: 'api-imports-values-only',
      comment:
        'The kinds are written in values. What travels between stages is a type in api/, so api/ knows no stage.',
      severity: 'error',
      from: { path: '^operator/api/' },
      to: { path: '^operator/', pathNot: [VALUES, '^operator/api/'] },
    },
    {
      name: 'stages-do-not-know-each-other',
      comment:
        "A stage imports values and api/. decide.ts passes one stage's result to the next; a stage never asks another.",
      severity: 'error',
      from: { path: `^operator/(${STAGES})/`, pathNot: ADAPTERS },
      to: { path: '^operator/', pathNot: [VALUES, '^operator/api/', '^operator/$1/'] },
    },
    {
      name: 'stages-do-not-know-their-adapters',
      comment:
        'The core of a stage is pure: its adapters import it, never the other way round. Their types may be named.',
      severity: 'error',
      from: { path: `^operator/(?:${STAGES})/`, pathNot: ADAPTERS },
      to: { path: ADAPTERS, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'stages-are-pure',
      comment: 'A stage reads no file and opens no connection: bytes arrive as arguments.',
      severity: 'error',
      from: { path: [`^operator/(?:${STAGES})/`, VALUES, '^operator/api/'], pathNot: ADAPTERS },
      to: { path: [NODE_IO, 'node_modules/(?:undici|express|winston|prom-client)/'] },
    },
    {
      name: 'adapters-know-their-own-stage-only',
      comment:
        'An adapter is part of its stage: it speaks with kube/, registry/ and the outside, not with another stage.',
      severity: 'error',
      from: { path: `^operator/(${STAGES})/(?:scanners|builders|workloads|checks)/` },
      to: { path: `^operator/(?:${STAGES}|controllers|server|cli)/`, pathNot: '^operator/$1/' },
    },
    {
      name: 'decide-is-pure',
      comment:
        'decide.ts turns an observation into a decision and nothing else: values, api/ and stage cores. Types from anywhere.',
      severity: 'error',
      from: { path: '^operator/controllers/.*/decide[.]ts$' },
      to: {
        path: [
          '^operator/(?:kube|registry|telemetry|server|cli)/',
          ADAPTERS,
          '^operator/controllers/.*/(?:observe|act|reconciler)[.]ts$',
          NODE_IO,
          'node_modules/(?:undici|express|winston|prom-client)/',
        ],
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'controllers-do-not-know-each-other',
      comment: 'Controllers meet in the resources. What two of them need lies in controllers/ itself.',
      severity: 'error',
      from: { path: '^operator/controllers/([^/]+)/' },
      to: { path: '^operator/controllers/[^/]+/', pathNot: '^operator/controllers/$1/' },
    },
    {
      name: 'kube-knows-no-stage',
      comment:
        'The layer over the API server serves every kind: it knows values, what all objects share, and the Logger as a type.',
      severity: 'error',
      from: { path: '^operator/kube/' },
      to: {
        path: '^operator/',
        pathNot: [
          VALUES,
          '^operator/kube/',
          '^operator/api/object[.]ts$',
          '^operator/telemetry/(?:logger|redaction)[.]ts$',
        ],
      },
    },
    {
      name: 'registry-knows-no-stage',
      comment: 'The OCI client knows values, secrets that cannot be printed, and the Logger as a type.',
      severity: 'error',
      from: { path: '^operator/registry/' },
      to: {
        path: '^operator/',
        pathNot: [VALUES, '^operator/registry/', '^operator/telemetry/(?:logger|redaction)[.]ts$'],
      },
    },
    {
      name: 'telemetry-knows-only-ports',
      comment:
        'Metrics implement the observer ports of kube/ and registry/; beyond these and the kinds they know nothing.',
      severity: 'error',
      from: { path: '^operator/telemetry/' },
      to: {
        path: '^operator/',
        pathNot: [VALUES, '^operator/api/', '^operator/telemetry/', '^operator/(?:kube|registry)/observer[.]ts$'],
      },
    },
    {
      name: 'server-and-cli-are-leaves',
      comment: 'Nothing but the wiring imports the listeners, and nothing but its entry the command line.',
      severity: 'error',
      from: { path: '^operator/', pathNot: [WIRING, '^operator/cli[.]ts$', '^operator/(server|cli)/'] },
      to: { path: '^operator/(?:server|cli)/' },
    },
    {
      name: 'server-is-not-cli',
      comment: 'The operator carries no command line, the command line no listener.',
      severity: 'error',
      from: { path: '^operator/(server|cli)/' },
      to: { path: '^operator/(?:server|cli|controllers)/', pathNot: '^operator/$1/' },
    },
    {
      name: 'only-kube-runs-client-node',
      comment: 'kube/ hides its weak spots (docs/architecture.md); others may import its types.',
      severity: 'error',
      from: { path: '^operator/', pathNot: '^operator/kube/' },
      to: { path: 'node_modules/@kubernetes/client-node/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'metrics-and-logs-have-one-owner',
      comment: 'prom-client and winston can be replaced in one file each.',
      severity: 'error',
      from: { path: '^operator/', pathNot: '^operator/telemetry/' },
      to: { path: 'node_modules/(?:prom-client|winston)/' },
    },
    {
      name: 'settings-are-arguments',
      comment: 'Only the wiring reads the configuration; everything else is told what it needs.',
      severity: 'error',
      from: { path: '^operator/', pathNot: [WIRING, '^operator/config([.]ts$|/)'] },
      to: { path: '^operator/config([.]ts$|/)' },
    },
    {
      name: 'config-imports-values-only',
      comment: 'The configuration is made of values and of the names of log levels.',
      severity: 'error',
      from: { path: '^operator/config([.]ts$|/)' },
      to: { path: '^operator/', pathNot: [VALUES, '^operator/config([.]ts$|/)', '^operator/telemetry/logger[.]ts$'] },
    },
    {
      name: 'nothing-imports-the-wiring',
      comment:
        'operator.ts knows every concrete class; were it imported, everything would know everything. main.ts starts it.',
      severity: 'error',
      from: { path: '^operator/', pathNot: '^operator/main[.]ts$' },
      to: { path: ['^operator/(?:operator|main|cli)[.]ts$'] },
    },
    {
      name: 'product-without-tests',
      comment: 'Nothing that ships imports tests, benchmarks or scripts.',
      severity: 'error',
      from: { path: '^operator/' },
      to: { path: '^(?:test|bench|scripts)/' },
    },
    {
      name: 'no-development-packages',
      comment: 'What ships imports only what package.json lists under dependencies.',
      severity: 'error',
      from: { path: '^operator/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'resolvable',
      comment: 'Every import exists.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-cycles',
      comment: 'Files that need each other at run time are one file, or need a third.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    moduleSystems: ['es6'],
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
    builtInModules: {},
  },
};
