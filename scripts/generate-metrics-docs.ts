// docs/metrics.md, from the declarations in operator/telemetry/metrics.ts.

import { METRICS, type MetricDeclaration } from '../operator/telemetry/metrics.ts';
import { GENERATED_MARK, type GeneratedFile } from './generated-file.ts';

const SECTIONS: readonly { readonly title: string; readonly prefix: RegExp }[] = [
  { title: 'Registries', prefix: /^slipway_registry_/ },
  { title: 'Reconciling', prefix: /^slipway_(reconcile|queue)_/ },
  { title: 'API server', prefix: /^slipway_(kube|watch|cached|events)_/ },
  { title: 'Operator', prefix: /^slipway_/ },
];

const INTRODUCTION = `<!-- ${GENERATED_MARK} -->
# Metrics

The operator serves Prometheus metrics on \`/metrics\`, port 8080 (\`server.metricsPort\`). Labels take few values: tags,
digests and repositories never become one, and beyond 200 registry hosts the rest is counted under \`other\`. Counters start
at 0 where their labels are known beforehand. The usual metrics of a process (\`process_*\`, \`nodejs_*\`) are there as well.

## Worth an alert

| what | expression |
| --- | --- |
| a registry has not been readable for an hour | \`time() - max by (host) (slipway_registry_last_listing_timestamp_seconds) > 3600\` |
| a registry throttles | \`sum by (host) (rate(slipway_registry_rate_limited_total[15m])) > 0\` |
| policies need a person | \`sum by (reason) (max by (ready, reason) (slipway_policies{ready="False"})) > 0\` |
| nobody leads | \`max(slipway_leader) < 1\` |
| a watch is silent | \`time() - slipway_watch_last_contact_timestamp_seconds > 300\` |
| a bug | \`increase(slipway_reconcile_total{outcome="bug"}[15m]) > 0\` |
`;

function row({ name, kind, labels, help }: MetricDeclaration): string {
  return `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`;
}

export function generateMetricsPage(): readonly GeneratedFile[] {
  const remaining = new Set<MetricDeclaration>(Object.values(METRICS));
  const sections = SECTIONS.map(({ title, prefix }) => {
    const own = [...remaining].filter(({ name }) => prefix.test(name));
    for (const declaration of own) remaining.delete(declaration);
    return `\n## ${title}\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n${own.map(row).join('\n')}\n`;
  });
  return [{ path: 'docs/metrics.md', content: INTRODUCTION + sections.join('') }];
}
