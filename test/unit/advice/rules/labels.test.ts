import { describe, expect, it } from '@jest/globals';
import { GOOD_IMAGE, imageAdviceOf } from '../advise.ts';

describe('adviseImage', () => {
  describe('labels-missing', () => {
    it('names all that are missing in one advice', () => {
      const advice = imageAdviceOf('labels-missing', { config: { user: '1' } });

      expect(advice).toHaveLength(1);
      for (const name of ['title', 'version', 'source', 'revision', 'created']) {
        expect(advice[0]!.message).toContain(`org.opencontainers.image.${name}`);
      }
    });

    it.each([
      { when: 'all are labels', given: {}, want: 0 },
      {
        when: 'the rest are annotations',
        given: {
          config: { ...GOOD_IMAGE.config, labels: { 'org.opencontainers.image.title': 'web' } },
          manifest: {
            layers: [],
            annotations: {
              'org.opencontainers.image.version': '1',
              'org.opencontainers.image.source': 'x',
              'org.opencontainers.image.revision': 'y',
            },
          },
        },
        want: 0,
      },
      {
        when: 'one is empty',
        given: {
          config: {
            ...GOOD_IMAGE.config,
            labels: { ...GOOD_IMAGE.config.labels, 'org.opencontainers.image.source': ' ' },
          },
        },
        want: 1,
      },
      {
        when: 'the configuration has no creation time',
        given: { config: { user: '1', labels: GOOD_IMAGE.config.labels } },
        want: 1,
      },
    ])('looks in labels and annotations when $when', ({ given, want }) => {
      expect(imageAdviceOf('labels-missing', given)).toHaveLength(want);
    });
  });
});
