// Advice as a SARIF log.
// @see https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html

import type { Advice, AdviceLocation, AdviceSeverity } from './advice.ts';

const LEVELS: Readonly<Record<AdviceSeverity, 'note' | 'warning' | 'error'>> = {
  Info: 'note',
  Low: 'note',
  Medium: 'warning',
  High: 'error',
};

/** One run. Its rules are those that have something to say. */
export function toSarif(advice: readonly Advice[]): unknown {
  const rules = [...new Map(advice.map(({ rule, title }) => [rule, title]))];
  const indexes = new Map(rules.map(([id], index) => [id, index]));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'Slipway',
            rules: rules.map(([id, title]) => ({ id, shortDescription: { text: title } })),
          },
        },
        columnKind: 'utf16CodeUnits',
        results: advice.map(({ rule, severity, message, location }) => ({
          ruleId: rule,
          ruleIndex: indexes.get(rule),
          level: LEVELS[severity],
          message: { text: message },
          ...(location !== undefined && { locations: [toLocation(location)] }),
          properties: { severity },
        })),
      },
    ],
  };
}

function toLocation(location: AdviceLocation) {
  if ('layer' in location) {
    return { logicalLocations: [{ name: `layer ${location.layer}`, fullyQualifiedName: `layers/${location.layer}` }] };
  }
  return {
    physicalLocation: { artifactLocation: { uri: toUri(location.file) }, region: { startLine: location.line } },
  };
}

/** A URI reference, relative where the name is. A colon would make its first part a scheme, so it is escaped too. */
function toUri(fileName: string): string {
  const path = fileName.toWellFormed().replaceAll('\\', '/').split('/').map(encodeURIComponent).join('/');
  return path.startsWith('/') ? `file://${path}` : path;
}
