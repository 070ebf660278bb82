import { describe, expect, it } from '@jest/globals';
import { imageAdviceOf } from '../advise.ts';

describe('adviseImage', () => {
  describe.each([
    { rule: 'sbom-missing', fact: 'hasSbom' },
    { rule: 'provenance-missing', fact: 'hasProvenance' },
    { rule: 'signature-missing', fact: 'hasSignature' },
  ])('$rule', ({ rule, fact }) => {
    it.each([
      { when: 'there is none', given: false, want: 1 },
      { when: 'there is one', given: true, want: 0 },
      { when: 'nobody looked', given: undefined, want: 0 },
    ])('has $want to say when $when', ({ given, want }) => {
      expect(imageAdviceOf(rule, { [fact]: given })).toHaveLength(want);
    });
  });
});
