import { describe, expect, it } from '@jest/globals';
import { DOCKERFILE_RULES } from '../../../operator/advice/advise-dockerfile.ts';
import { adviseImage, IMAGE_RULES } from '../../../operator/advice/advise-image.ts';
import { GOOD_IMAGE } from './advise.ts';

describe('adviseImage', () => {
  it('has nothing to say about a good image', () => {
    expect(adviseImage(GOOD_IMAGE)).toEqual([]);
  });

  it('does not ask for a HEALTHCHECK, which Kubernetes does not run', () => {
    const rules = [...IMAGE_RULES, ...DOCKERFILE_RULES];

    expect(rules.filter(({ id, title }) => /health/i.test(id + title))).toEqual([]);
  });
});

describe.each([
  { list: 'IMAGE_RULES', rules: IMAGE_RULES },
  { list: 'DOCKERFILE_RULES', rules: DOCKERFILE_RULES },
])('$list', ({ rules }) => {
  const ids = rules.map(({ id }) => id);

  it('has each rule once', () => {
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(ids)('names %s in kebab-case', (id) => {
    expect(id).toMatch(/^[a-z]+(?:-[a-z]+)+$/);
  });
});

it('calls a rule the same for images and Dockerfiles', () => {
  const titles = new Map(IMAGE_RULES.map(({ id, title }) => [id, title]));

  for (const { id, title } of DOCKERFILE_RULES) expect(titles.get(id) ?? title).toBe(title);
});
