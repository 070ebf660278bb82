import { describe, expect, it } from '@jest/globals';
import type { Advice } from '../../../operator/advice/advice.ts';
import { formatAdvice } from '../../../operator/advice/format.ts';

const IN_FILE: Advice = {
  rule: 'base-image-latest',
  severity: 'Medium',
  title: 'Base image without version',
  message: 'node can be another version.',
  location: { file: 'app/Dockerfile', line: 3 },
};
const IN_LAYER: Advice = {
  rule: 'layer-too-large',
  severity: 'Low',
  title: 'Large layer',
  message: 'Layer 2 is large.',
  location: { layer: 2 },
};
const OF_IMAGE: Advice = { rule: 'runs-as-root', severity: 'High', title: 'Runs as root', message: 'It is root.' };
const ALL = [IN_FILE, IN_LAYER, OF_IMAGE, { ...IN_FILE, severity: 'Info' as const }];

function sarifOf(advice: readonly Advice[]) {
  return JSON.parse(formatAdvice(advice, 'sarif'));
}

describe('formatAdvice', () => {
  describe('when the format is text', () => {
    it('writes a line for each', () => {
      expect(formatAdvice(ALL.slice(0, 3), 'text')).toBe(
        [
          'app/Dockerfile:3: Medium: node can be another version. [base-image-latest]',
          'layer 2: Low: Layer 2 is large. [layer-too-large]',
          'High: It is root. [runs-as-root]',
        ].join('\n'),
      );
    });

    it('writes nothing when there is none', () => {
      expect(formatAdvice([], 'text')).toBe('');
    });

    it('hands no control characters to a terminal', () => {
      expect(formatAdvice([{ ...OF_IMAGE, message: 'a\u001b[2Jb\nc' }], 'text')).toBe('High: a?[2Jb?c [runs-as-root]');
    });
  });

  describe('when the format is json', () => {
    it('writes the advice as it is', () => {
      expect(JSON.parse(formatAdvice(ALL, 'json'))).toEqual(ALL);
    });
  });

  describe('when the format is sarif', () => {
    it('is a log of one run of version 2.1.0', () => {
      const log = sarifOf(ALL);

      expect(log).toMatchObject({ version: '2.1.0', runs: [{ tool: { driver: { name: 'Slipway' } } }] });
      expect(log.$schema).toContain('sarif-2.1.0');
    });

    it('lists each rule once, and every result points at its own', () => {
      const [{ tool, results }] = sarifOf(ALL).runs;

      expect(tool.driver.rules).toEqual([
        { id: 'base-image-latest', shortDescription: { text: 'Base image without version' } },
        { id: 'layer-too-large', shortDescription: { text: 'Large layer' } },
        { id: 'runs-as-root', shortDescription: { text: 'Runs as root' } },
      ]);
      for (const { ruleId, ruleIndex } of results) expect(tool.driver.rules[ruleIndex].id).toBe(ruleId);
    });

    it('has the location of a line, of a layer, or none', () => {
      const [{ results }] = sarifOf(ALL).runs;

      expect(results[0].locations).toEqual([
        { physicalLocation: { artifactLocation: { uri: 'app/Dockerfile' }, region: { startLine: 3 } } },
      ]);
      expect(results[1].locations).toEqual([
        { logicalLocations: [{ name: 'layer 2', fullyQualifiedName: 'layers/2' }] },
      ]);
      expect(results[2]).not.toHaveProperty('locations');
    });

    it('turns severities into levels', () => {
      const [{ results }] = sarifOf(ALL).runs;

      expect(results.map(({ level }: { level: string }) => level)).toEqual(['warning', 'note', 'error', 'note']);
    });

    it.each([
      { file: 'my app/Dockerfile#1', uri: 'my%20app/Dockerfile%231' },
      { file: 'C:\\src\\Dockerfile', uri: 'C%3A/src/Dockerfile' },
      { file: '/src/Dockerfile', uri: 'file:///src/Dockerfile' },
      { file: '\uD800', uri: '%EF%BF%BD' },
    ])('writes $file as $uri', ({ file, uri }) => {
      const [{ results }] = sarifOf([{ ...IN_FILE, location: { file, line: 1 } }]).runs;

      expect(results[0].locations[0].physicalLocation.artifactLocation.uri).toBe(uri);
    });

    it('is valid without advice', () => {
      expect(sarifOf([]).runs).toMatchObject([{ results: [], tool: { driver: { rules: [] } } }]);
    });
  });
});
