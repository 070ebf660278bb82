import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  compareResourceVersions,
  defineResource,
  formatKey,
  keyOf,
  parseKey,
  qualifiedName,
  resourcePath,
  type KubeObject,
} from '../../../operator/kube/resource.ts';

const deployments = defineResource<KubeObject>({
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
});
const nodes = defineResource<KubeObject>({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
});

describe('resourcePath', () => {
  it.each([
    { when: 'all namespaces', resource: deployments, target: {}, want: '/apis/apps/v1/deployments' },
    {
      when: 'one namespace',
      resource: deployments,
      target: { namespace: 'a' },
      want: '/apis/apps/v1/namespaces/a/deployments',
    },
    {
      when: 'an object',
      resource: deployments,
      target: { namespace: 'a', name: 'web' },
      want: '/apis/apps/v1/namespaces/a/deployments/web',
    },
    {
      when: 'a subresource',
      resource: deployments,
      target: { namespace: 'a', name: 'web', subresource: 'status' },
      want: '/apis/apps/v1/namespaces/a/deployments/web/status',
    },
    {
      when: 'a cluster-scoped object',
      resource: nodes,
      target: { namespace: '', name: 'n1' },
      want: '/api/v1/nodes/n1',
    },
    {
      when: 'a name that would leave its place',
      resource: deployments,
      target: { namespace: 'a', name: '../../secrets?x' },
      want: '/apis/apps/v1/namespaces/a/deployments/..%2F..%2Fsecrets%3Fx',
    },
  ])('names $when', ({ resource, target, want }) => {
    expect(resourcePath(resource, target)).toBe(want);
  });
});

describe('qualifiedName', () => {
  it('has no dot for the core group', () => {
    expect([qualifiedName(deployments), qualifiedName(nodes)]).toEqual(['deployments.apps', 'nodes']);
  });
});

describe('formatKey and parseKey', () => {
  it.each([
    { key: { namespace: 'a', name: 'b' }, text: 'a/b' },
    { key: { namespace: '', name: 'b' }, text: 'b' },
  ])('turn $text into a key and back', ({ key, text }) => {
    expect(formatKey(key)).toBe(text);
    expect(parseKey(text)).toEqual(key);
  });

  it('take the key of an object without a namespace as cluster-scoped', () => {
    expect(keyOf({ metadata: { name: 'n1' } })).toEqual({ namespace: '', name: 'n1' });
  });
});

describe('compareResourceVersions', () => {
  it('orders as the numbers do, of any length', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 25n }), fc.bigInt({ min: 0n, max: 10n ** 25n }), (a, b) => {
        const want = a < b ? -1 : a > b ? 1 : 0;

        expect(Math.sign(compareResourceVersions(String(a), String(b)))).toBe(want);
      }),
    );
  });
});
