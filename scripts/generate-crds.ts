// The CRDs as YAML, and the same as templates of the chart: Helm never upgrades what lies in a chart's crds/ folder.

import { parse, stringify } from 'yaml';
import { KINDS, type KindDefinition } from '../operator/api/kinds.ts';
import { toCustomResourceDefinition } from '../operator/api/structural.ts';
import { GENERATED_MARK, type GeneratedFile } from './generated-file.ts';

const HEADER = `# ${GENERATED_MARK}`;

/** YAML 1.1, which kubectl and Helm read: words such as `on` and `yes` are quoted. */
function toYaml(value: unknown): string {
  const text = stringify(value, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false });
  if (JSON.stringify(parse(text, { version: '1.1' })) !== JSON.stringify(value)) {
    throw new Error('A value changes its meaning when written as YAML 1.1 and read again');
  }
  return text;
}

function fileName({ plural }: KindDefinition): string {
  return `${plural}.yaml`;
}

export function generateCrds(): GeneratedFile[] {
  return KINDS.map((kind) => ({
    path: `crds/${fileName(kind)}`,
    content: `${HEADER}\n${toYaml(toCustomResourceDefinition(kind))}`,
  }));
}

export function generateChartCrds(): GeneratedFile[] {
  return KINDS.map((kind) => {
    const crd = toYaml(toCustomResourceDefinition(kind));
    if (crd.includes('{{')) throw new Error(`${kind.kind}: Helm would take {{ for a template`);
    const labels = '  labels:\n';
    if (crd.split(labels).length !== 2) throw new Error(`${kind.kind}: expected the labels of the metadata once`);
    const metadata = [
      '  {{- if .Values.crds.keep }}',
      '  annotations:',
      '    helm.sh/resource-policy: keep',
      '  {{- end }}',
      '  labels:',
      '    {{- include "slipway.labels" . | nindent 4 }}',
      '',
    ].join('\n');
    const template = crd.replace(/ {2}labels:\n(?: {4}.*\n)+/, metadata);
    return {
      path: `charts/slipway/templates/crds/${kind.plural}.yaml`,
      content: `${HEADER}\n{{- if .Values.crds.install }}\n${template}{{- end }}\n`,
    };
  });
}
