import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ObjectCache, type CacheEvent, type ObjectCacheOptions } from '../../../operator/kube/cache.ts';
import type { KubeObject } from '../../../operator/kube/resource.ts';

interface Box extends KubeObject {
  readonly spec: { readonly colour: string };
}

const box = (
  name: string,
  version: number,
  spec: Partial<Box['spec']> & { uid?: string } = {},
  namespace = 'a',
): Box => ({
  metadata: { namespace, name, uid: spec.uid ?? `uid-${name}`, resourceVersion: String(version) },
  spec: { colour: spec.colour ?? 'red' },
});

function build(options: Partial<ObjectCacheOptions<Box, Box>> = {}) {
  const events: CacheEvent<Box>[] = [];
  const unreadable: string[] = [];
  const cache = new ObjectCache<Box, Box>({
    project: (raw) => raw,
    indexes: { colour: ({ spec }) => [spec.colour] },
    namespaces: 'all',
    selective: false,
    freeze: true,
    onEvent: (event) => events.push(event),
    onUnreadable: (key) => unreadable.push(key.name),
    ...options,
  });
  const list = (version: number, ...boxes: Box[]): void =>
    cache.replace(
      '',
      boxes.map((it) => cache.prepare(it)),
      String(version),
      { force: false },
    );
  const told = (): string[] =>
    events
      .splice(0)
      .map(
        ({ type, object, initial }) =>
          `${type} ${object.metadata.name}@${object.metadata.resourceVersion}${initial ? ' initial' : ''}`,
      );
  return { cache, list, told, unreadable };
}

const names = (boxes: Iterable<Box>): string[] => [...boxes].map(({ metadata }) => metadata.name).sort();

describe('ObjectCache', () => {
  it('tells apart the first list from what happens later', () => {
    const { cache, list, told } = build();

    list(10, box('x', 5));
    cache.observe('', 'ADDED', box('y', 11));

    expect(told()).toEqual(['added x@5 initial', 'added y@11']);
  });

  it('makes up for lost events when it lists again', () => {
    const { list, told } = build();
    list(10, box('same', 1), box('changed', 2), box('gone', 3), box('reborn', 4));
    told();

    list(20, box('same', 1), box('changed', 12), box('new', 13), box('reborn', 14, { uid: 'other' }));

    expect(told()).toEqual([
      'deleted gone@3',
      'updated changed@12',
      'added new@13',
      'deleted reborn@4',
      'added reborn@14',
    ]);
  });

  it('lists one namespace without touching another', () => {
    const { cache } = build({ namespaces: ['a', 'b'] });
    cache.replace('a', [cache.prepare(box('x', 1, {}, 'a'))], '5', { force: false });
    cache.replace('b', [cache.prepare(box('x', 2, {}, 'b'))], '6', { force: false });

    cache.replace('a', [], '7', { force: false });

    expect([...cache.list()].map(({ metadata }) => metadata.namespace)).toEqual(['b']);
  });

  it('finds objects by index, also after they have changed and gone', () => {
    const { cache, list } = build();
    list(10, box('x', 1), box('y', 2), box('z', 3, { colour: 'blue' }));
    expect([names(cache.byIndex('colour', 'red')), names(cache.byIndex('colour', 'blue'))]).toEqual([
      ['x', 'y'],
      ['z'],
    ]);

    cache.observe('', 'MODIFIED', box('x', 11, { colour: 'blue' }));
    cache.observe('', 'DELETED', box('z', 12, { colour: 'blue' }));

    expect([names(cache.byIndex('colour', 'red')), names(cache.byIndex('colour', 'blue'))]).toEqual([['y'], ['x']]);
    expect(cache.byIndex('colour', 'green')).toEqual([]);
    expect(() => cache.byIndex('size', '1')).toThrow('no index "size"');
  });

  it('freezes what it holds', () => {
    const { cache, list } = build();
    list(10, box('x', 1));

    expect(() => {
      (cache.get({ namespace: 'a', name: 'x' }) as { spec: { colour: string } }).spec.colour = 'green';
    }).toThrow(TypeError);
  });

  it('leaves an object as it was when its new state cannot be read, in a list as in a watch', () => {
    const { cache, list, told, unreadable } = build({
      project: (raw) => {
        if (raw.spec.colour === 'poison') throw new Error('no colour');
        return raw;
      },
    });
    list(10, box('x', 1), box('y', 2));
    told();

    cache.observe('', 'MODIFIED', box('x', 11, { colour: 'poison' }));
    list(20, box('x', 11, { colour: 'poison' }), box('y', 12));

    expect(told()).toEqual(['updated y@12']);
    expect(unreadable).toEqual(['x', 'x']);
    expect(cache.get({ namespace: 'a', name: 'x' })?.spec.colour).toBe('red');
  });

  describe('applyWrite', () => {
    it('shows our write at once, tells of it, and stays silent when the watch brings it', () => {
      const { cache, list, told } = build();
      list(10, box('x', 1));
      told();

      cache.applyWrite(box('x', 15, { colour: 'blue' }));
      expect(cache.get({ namespace: 'a', name: 'x' })?.spec.colour).toBe('blue');
      cache.observe('', 'MODIFIED', box('x', 15, { colour: 'blue' }));

      expect(told()).toEqual(['updated x@15']);
    });

    it('is not undone by older events that arrive after it', () => {
      const { cache, list } = build();
      list(10, box('x', 1));

      cache.applyWrite(box('x', 15, { colour: 'blue' }));
      cache.observe('', 'MODIFIED', box('x', 12, { colour: 'green' }));

      expect(cache.get({ namespace: 'a', name: 'x' })?.spec.colour).toBe('blue');
    });

    it('is not undone by a list from before it', () => {
      const { cache, list, told } = build();
      list(10, box('x', 1));
      cache.applyWrite(box('x', 15, { colour: 'blue' }));
      cache.applyWrite(box('mine', 16));
      told();

      list(14, box('x', 12, { colour: 'green' }));

      expect(told()).toEqual([]);
      expect(names(cache.list())).toEqual(['mine', 'x']);
    });

    it('does not bring back an object that was deleted since', () => {
      const { cache, list } = build();
      list(10, box('x', 1));

      cache.observe('', 'DELETED', box('x', 16));
      cache.applyWrite(box('x', 15));

      expect(cache.size).toBe(0);
    });

    it('does not bring back an object whose deletion a list has shown', () => {
      const { cache, list } = build();
      list(10, box('x', 1));

      list(20);
      cache.applyWrite(box('x', 15));

      expect(cache.size).toBe(0);
    });

    it('survives the late deletion of its predecessor of the same name', () => {
      const { cache, list, told } = build();
      list(10, box('x', 1));
      told();

      cache.applyWrite(box('x', 15, { uid: 'next' }));
      cache.observe('', 'DELETED', box('x', 14));

      expect(told()).toEqual(['deleted x@1', 'added x@15']);
      expect(cache.get({ namespace: 'a', name: 'x' })?.metadata.uid).toBe('next');
    });

    it('leaves it to the server which objects a selector selects', () => {
      const { cache, list } = build({ selective: true });
      list(10, box('x', 1));

      cache.applyWrite(box('stranger', 15));
      cache.applyWrite(box('x', 16, { colour: 'blue' }));

      expect([...cache.list()].map(({ spec }) => spec.colour)).toEqual(['blue']);
    });

    it('has no effect before the first list, nor outside the namespaces', () => {
      const { cache } = build({ namespaces: ['b'] });
      cache.applyWrite(box('x', 15, {}, 'b'));
      cache.replace('b', [], '20', { force: false });

      cache.applyWrite(box('x', 25, {}, 'a'));

      expect(cache.size).toBe(0);
    });
  });

  it('goes back in time only when it is told that the server has', () => {
    const { cache, list, told } = build();
    list(100, box('x', 90), box('y', 95));
    told();

    cache.replace('', [cache.prepare(box('x', 40))], '50', { force: true });

    expect(told()).toEqual(['deleted y@95', 'updated x@40']);
  });

  it('ends up as the server is, whatever was lost, repeated or written by us on the way', () => {
    const step = fc.record({
      kind: fc.constantFrom('put', 'put', 'delete', 'own write', 'list'),
      name: fc.constantFrom('x', 'y'),
      isLost: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { cache } = build();
        const server = new Map<string, Box>();
        let version = 100;
        let uid = 0;
        let stream: (() => void)[] = [];
        const listNow = (): void => {
          stream = [];
          cache.replace(
            '',
            [...server.values()].map((it) => cache.prepare(it)),
            String(version),
            { force: false },
          );
        };
        listNow();
        for (const { kind, name, isLost } of steps) {
          const before = server.get(name);
          version += 1;
          if (kind === 'list') listNow();
          else if (kind === 'delete') {
            if (before === undefined) continue;
            const last = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
            server.delete(name);
            stream.push(() => cache.observe('', 'DELETED', last));
          } else {
            const after = box(name, version, { uid: before?.metadata.uid ?? `uid-${(uid += 1)}` });
            server.set(name, after);
            stream.push(() => cache.observe('', before === undefined ? 'ADDED' : 'MODIFIED', after));
            if (kind === 'own write') cache.applyWrite(after);
          }
          // The watch lags behind by up to two events, in order.
          while (stream.length > (isLost ? 2 : 0)) stream.shift()?.();
        }
        for (const event of stream) event();

        const state = (boxes: Iterable<Box>): unknown =>
          [...boxes].map(({ metadata }) => metadata).sort((a, b) => (a.name < b.name ? -1 : 1));
        expect(state(cache.list())).toEqual(state(server.values()));
        expect(names(cache.byIndex('colour', 'red'))).toEqual(names(server.values()));
      }),
      { numRuns: 500 },
    );
  });
});
