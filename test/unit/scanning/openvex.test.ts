import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  findVexStatement,
  parseOpenVex,
  toOpenVex,
  VEX_STATUSES,
  type ExportedException,
  type VexDocument,
  type VexQuery,
  type VexStatement,
} from '../../../operator/scanning/openvex.ts';
import { digestOf } from '../../support/builders/images.ts';

const SAMPLE = readFileSync(
  new URL('../../support/fixtures/scanning/attestations/openvex.json', import.meta.url),
  'utf8',
);
const TAR = 'pkg:deb/debian/tar@1.34%2Bdfsg-1.2?arch=amd64&distro=debian-12.10';

/** The image and the package of the sample. */
function query(options: Partial<VexQuery> = {}): VexQuery {
  return {
    vulnerabilityIds: ['CVE-2024-0001'],
    image: {
      name: 'web',
      digest: 'sha256:9ff72508b07d4d78e47ea37bd2e6c1a1a36a05398bb22572bdab5ddf1594af94',
      repositoryUrl: 'registry.example.com/shop/web',
    },
    purl: TAR,
    ...options,
  };
}

const { digest } = query().image;
const HEX = digest.replace('sha256:', '');
const REPOSITORY = 'repository_url=registry.example.com%2Fshop%2Fweb';
const BY_DIGEST = `pkg:oci/web@sha256%3A${HEX}?${REPOSITORY}`;
const BY_REPOSITORY = `pkg:oci/web?${REPOSITORY}`;

type Fields = Record<string, unknown>;

function statement(fields: Fields = {}): Fields {
  return {
    vulnerability: { name: 'CVE-2024-0001' },
    products: [{ '@id': BY_DIGEST }],
    status: 'not_affected',
    justification: 'component_not_present',
    ...fields,
  };
}

function vex(statements: unknown, fields: Fields = {}): string {
  return JSON.stringify({
    '@context': 'https://openvex.dev/ns/v0.2.0',
    '@id': 'https://vex.example.com/1',
    author: 'security@example.com',
    timestamp: '2026-06-03T08:00:00Z',
    version: 1,
    statements,
    ...fields,
  });
}

const documentOf = (...statements: readonly Fields[]): VexDocument => parseOpenVex(vex(statements));

describe('parseOpenVex', () => {
  it('reads who says what of which package in which image', () => {
    const tar = {
      type: 'deb',
      namespace: 'debian',
      name: 'tar',
      version: '1.34+dfsg-1.2',
      qualifiers: { arch: 'amd64', distro: 'debian-12.10' },
    };
    const web = {
      type: 'oci',
      namespace: '',
      name: 'web',
      version: digest,
      qualifiers: { repository_url: 'registry.example.com/shop/web' },
    };

    expect(parseOpenVex(SAMPLE)).toEqual({
      id: 'https://vex.example.com/shop/web/2026-06-03-1',
      author: 'security@example.com',
      statements: [
        {
          documentId: 'https://vex.example.com/shop/web/2026-06-03-1',
          author: 'security@example.com',
          vulnerabilityIds: ['CVE-2024-0001'],
          status: 'not_affected',
          justification: 'vulnerable_code_not_in_execute_path',
          impactStatement: 'tar is never invoked at run time',
          timeMs: Date.parse('2026-06-03T08:00:00Z'),
          products: [{ isNamed: true, purls: [web], subcomponents: [{ isNamed: true, purls: [tar] }] }],
        },
      ],
    });
  });

  it.each<{ when: string; fields: Fields; want: Partial<VexStatement> }>([
    {
      when: 'the vulnerability has other names',
      fields: { vulnerability: { '@id': 'https://x.example.com/1', name: 'CVE-1', aliases: ['GHSA-1', ' '] } },
      want: { vulnerabilityIds: ['CVE-1', 'https://x.example.com/1', 'GHSA-1'] },
    },
    {
      when: 'it has a time of its own',
      fields: { timestamp: '2023-01-08T18:02:03.647787998-06:00' },
      want: { timeMs: Date.parse('2023-01-09T00:02:03.647Z') },
    },
    {
      when: 'its time is that of Go for none',
      fields: { timestamp: '0001-01-01T00:00:00Z' },
      want: { timeMs: Date.parse('2026-06-03T08:00:00Z') },
    },
    {
      when: 'it is in the form of 0.0.1',
      fields: { vulnerability: 'CVE-1', products: ['pkg:apk/wolfi/git'] },
      want: { vulnerabilityIds: ['CVE-1'], products: [expect.objectContaining({ isNamed: true })] as never },
    },
    { when: 'it names no product', fields: { products: null }, want: { products: [] } },
    {
      when: 'it is affected',
      fields: { status: 'affected', justification: null, action_statement: 'Update' },
      want: { status: 'affected', actionStatement: 'Update' },
    },
    {
      when: 'the reason is a sentence',
      fields: { justification: 'because', impact_statement: 'It is never called' },
      want: { status: 'not_affected', impactStatement: 'It is never called' },
    },
  ])('reads a statement when $when', ({ fields, want }) => {
    expect(documentOf(statement(fields)).statements).toEqual([expect.objectContaining(want)]);
  });

  it.each<{ when: string; invalid: unknown }>([
    { when: 'not_affected has no reason', invalid: statement({ justification: undefined }) },
    {
      when: 'not_affected has only blanks for a reason',
      invalid: statement({ justification: '', impact_statement: ' ' }),
    },
    { when: 'not_affected has a reason that is none', invalid: statement({ justification: 'because' }) },
    { when: 'the vulnerability has no name', invalid: statement({ vulnerability: {} }) },
    { when: 'the vulnerability is null', invalid: statement({ vulnerability: null }) },
    { when: 'the status is unknown', invalid: statement({ status: 'harmless' }) },
    { when: 'the products are no list', invalid: statement({ products: 'web' }) },
    { when: 'it is no object', invalid: 'not_affected' },
    { when: 'it is null', invalid: null },
  ])('ignores a statement when $when', ({ invalid }) => {
    const { statements } = parseOpenVex(vex([invalid, statement({ status: 'fixed' })]));

    expect(statements.map(({ status }) => status)).toEqual(['fixed']);
  });

  it('ignores a statement that has no time, not even that of its document', () => {
    const { statements } = parseOpenVex(
      vex([statement(), statement({ timestamp: '2026-01-01T00:00:00Z' })], { timestamp: 'yesterday' }),
    );

    expect(statements).toHaveLength(1);
  });

  it.each(['https://openvex.dev/ns', 'https://openvex.dev/ns/v0.0.1', 'https://openvex.dev/ns/v0.2.0'])(
    'reads %s',
    (context) => {
      expect(parseOpenVex(vex([statement()], { '@context': context })).statements).toHaveLength(1);
    },
  );

  it.each([
    { when: 'it is empty', body: '', problem: 'Empty' },
    { when: 'it was cut off', body: SAMPLE.slice(0, 500), problem: 'Unreadable' },
    { when: 'it is a page', body: '<html></html>', problem: 'Unreadable' },
    { when: 'it is null', body: 'null', problem: 'Unreadable' },
    { when: 'it has no context', body: '{"statements":[]}', problem: 'Unreadable' },
    { when: 'the statements are no list', body: vex({}), problem: 'Unreadable' },
    {
      when: 'it is of a version to come',
      body: vex([], { '@context': 'https://openvex.dev/ns/v1.0.0' }),
      problem: 'UnsupportedSchema',
    },
    {
      when: 'it is VEX of another kind',
      body: vex([], { '@context': 'https://spdx.org/rdf/3.0.0' }),
      problem: 'UnsupportedSchema',
    },
  ])('is $problem when $when', ({ body, problem }) => {
    expect(() => parseOpenVex(body)).toThrow(expect.objectContaining({ problem }));
  });

  it.each([
    { when: 'null', statements: null, want: 0 },
    { when: '100,000', statements: Array<Fields>(100_000).fill(statement()), want: 100_000 },
  ])('reads $when statements', ({ statements, want }) => {
    expect(parseOpenVex(vex(statements)).statements).toHaveLength(want);
  });
});

describe('findVexStatement', () => {
  it('finds the statement of the sample', () => {
    expect(findVexStatement([parseOpenVex(SAMPLE)], query())).toMatchObject({ status: 'not_affected' });
  });

  const products = (...list: readonly unknown[]): Fields => statement({ products: list });
  const withTar = (id: string): Fields => products({ '@id': id, subcomponents: [{ '@id': TAR }] });

  it.each<{ when: string; given: Fields; ask?: Partial<VexQuery> }>([
    { when: 'it names the digest', given: products({ '@id': BY_DIGEST }) },
    { when: 'it names the repository', given: products({ '@id': BY_REPOSITORY }) },
    { when: 'it names the package', given: products({ '@id': TAR }) },
    { when: 'it names the package in any version', given: products({ '@id': 'pkg:deb/debian/tar' }) },
    { when: 'it names the package in no product', given: products({ subcomponents: [{ '@id': TAR }] }) },
    {
      when: 'it names the package in the image',
      given: products({ '@id': BY_REPOSITORY, subcomponents: [{ identifiers: { purl: 'pkg:deb/debian/tar' } }] }),
    },
    { when: 'it names the digest alone', given: products({ '@id': `pkg:oci/web@sha256:${HEX}` }) },
    { when: 'it names the digest and more', given: products({ '@id': `${BY_DIGEST}&arch=amd64&tag=1.8.2` }) },
    {
      when: 'it has the digest as a hash',
      given: products({ '@id': 'web', hashes: { 'sha-256': HEX.toUpperCase() } }),
    },
    { when: 'an identifier names the image', given: products({ '@id': 'web', identifiers: { purl: BY_DIGEST } }) },
    { when: 'one of many products is the image', given: products({ '@id': 'pkg:oci/api' }, { '@id': BY_DIGEST }) },
    {
      when: 'the repository is without its last part, as vexctl writes it',
      given: products({ '@id': 'pkg:oci/web?repository_url=registry.example.com%2Fshop' }),
    },
    {
      when: 'the repository has another of the names of Docker Hub',
      given: products({ '@id': 'pkg:oci/nginx?repository_url=index.docker.io%2Flibrary%2Fnginx' }),
      ask: { image: { name: 'nginx', digest, repositoryUrl: 'docker.io/library/nginx' } },
    },
    {
      when: 'another name of the vulnerability is asked for',
      given: statement(),
      ask: { vulnerabilityIds: ['GHSA-1', 'cve-2024-0001'] },
    },
    {
      when: 'the alias is asked for',
      given: statement({ vulnerability: { name: 'X-1', aliases: ['CVE-2024-0001'] } }),
    },
    { when: 'no package is asked for, and all of the image is meant', given: statement(), ask: { purl: undefined } },
  ])('finds a statement when $when', ({ given, ask = {} }) => {
    expect(findVexStatement([documentOf(given)], query(ask))).toBeDefined();
  });

  it.each<{ when: string; given: Fields; ask?: Partial<VexQuery> }>([
    { when: 'it is about another vulnerability', given: statement({ vulnerability: { name: 'CVE-2024-00012' } }) },
    { when: 'it has no product', given: products() },
    {
      when: 'it is about another digest',
      given: products({ '@id': BY_DIGEST.replace(HEX, digestOf('api').slice(7)) }),
    },
    {
      when: 'it is about another repository',
      given: products({ '@id': 'pkg:oci/web?repository_url=registry.example.com%2Fother%2Fweb' }),
    },
    { when: 'the digest is in another repository', given: products({ '@id': BY_DIGEST.replace('shop', 'other') }) },
    { when: 'it is about any image of that name', given: products({ '@id': 'pkg:oci/web' }) },
    { when: 'it is about one tag', given: products({ '@id': `${BY_REPOSITORY}&tag=1.8.1` }) },
    { when: 'it is about one architecture', given: products({ '@id': `${BY_REPOSITORY}&arch=arm64` }) },
    {
      when: 'it is about an image of another kind',
      given: products({ '@id': BY_DIGEST.replace('pkg:oci', 'pkg:docker') }),
    },
    {
      when: 'it is about the package in another image',
      given: withTar('pkg:oci/api?repository_url=registry.example.com%2Fshop%2Fapi'),
    },
    { when: 'it is about the package in something else', given: withTar('https://example.com/app') },
    {
      when: 'it is about another package of the image',
      given: withTar(BY_DIGEST),
      ask: { purl: 'pkg:deb/debian/cpio@2' },
    },
    { when: 'it is about another version of the package', given: products({ '@id': 'pkg:deb/debian/tar@1.35' }) },
    { when: 'it is about a package, and none is asked for', given: withTar(BY_DIGEST), ask: { purl: undefined } },
    {
      when: 'it is about a package, and what is asked for is no package URL',
      given: withTar(BY_DIGEST),
      ask: { purl: 'tar' },
    },
    {
      when: 'a part of the package is meant',
      given: products({ '@id': TAR, subcomponents: [{ '@id': 'pkg:npm/x' }] }),
    },
    { when: 'the hash is of another image', given: products({ hashes: { 'sha-256': digestOf('api').slice(7) } }) },
  ])('finds none when $when', ({ given, ask = {} }) => {
    expect(findVexStatement([documentOf(given)], query(ask))).toBeUndefined();
  });

  const at = (timestamp: string, id: string, status = 'affected'): Fields =>
    statement({ timestamp, status, products: [{ '@id': id }], action_statement: `${timestamp} ${id}` });

  it.each<{ when: string; given: readonly Fields[]; want: Partial<VexStatement> }>([
    {
      when: 'the digest is older than the repository',
      given: [at('2026-01-01T00:00:00Z', BY_DIGEST), at('2026-02-01T00:00:00Z', BY_REPOSITORY, 'fixed')],
      want: { status: 'affected' },
    },
    {
      when: 'the repository is older than the package',
      given: [at('2026-01-01T00:00:00Z', BY_REPOSITORY), at('2026-02-01T00:00:00Z', TAR, 'fixed')],
      want: { status: 'affected' },
    },
    {
      when: 'it was said twice of the digest',
      given: [at('2026-02-01T00:00:00Z', BY_DIGEST), at('2026-01-01T00:00:00Z', BY_DIGEST, 'fixed')],
      want: { status: 'affected' },
    },
    {
      when: 'the later one has another offset',
      given: [at('2026-02-01T00:30:00+01:00', BY_DIGEST, 'fixed'), at('2026-02-01T00:00:00Z', BY_DIGEST)],
      want: { status: 'affected' },
    },
    {
      when: 'both were said at the same time',
      given: [at('2026-01-01T00:00:00Z', BY_DIGEST, 'not_affected'), at('2026-01-01T00:00:00Z', BY_DIGEST, 'affected')],
      want: { status: 'affected' },
    },
  ])('takes the one that holds when $when', ({ given, want }) => {
    for (const order of [given, given.toReversed()]) {
      expect(
        findVexStatement(
          order.map((it) => documentOf(it)),
          query(),
        ),
      ).toMatchObject(want);
      expect(findVexStatement([documentOf(...order)], query())).toMatchObject(want);
    }
  });

  it('looks through as many products as there may be', () => {
    const many = [...Array<Fields>(200_000).fill({ '@id': 'pkg:oci/api' }), { '@id': BY_DIGEST }];

    expect(findVexStatement([documentOf(statement({ products: many }))], query())).toBeDefined();
  });

  /** The higher the more specific. */
  const LEVELS = [TAR, BY_REPOSITORY, BY_DIGEST];
  const anyStatement = fc.record({
    level: fc.nat(LEVELS.length - 1),
    timestamp: fc.nat(4).map((day) => `2026-01-0${day + 1}T00:00:00Z`),
    status: fc.constantFrom(...VEX_STATUSES),
    cve: fc.constantFrom('CVE-2024-0001', 'CVE-2024-0002'),
    isPart: fc.boolean(),
  });
  const anyDocuments = fc.array(fc.array(anyStatement, { maxLength: 5 }), { maxLength: 5 }).map((documents) =>
    documents.map((statements, index) =>
      parseOpenVex(
        vex(
          statements.map(({ level, timestamp, status, cve, isPart }) =>
            statement({
              vulnerability: { name: cve },
              products: [
                {
                  '@id': LEVELS[level],
                  ...(isPart && level > 0 && { subcomponents: [{ '@id': 'pkg:deb/debian/tar' }] }),
                },
              ],
              timestamp,
              status,
              action_statement: String(level),
            }),
          ),
          { '@id': `https://vex.example.com/${index}` },
        ),
      ),
    ),
  );

  it('is never older than another of the same specificity, never less specific, and the same in every order', () => {
    fc.assert(
      fc.property(anyDocuments, fc.infiniteStream(fc.nat()), (documents, keys) => {
        const winner = findVexStatement(documents, query());
        const matching = documents
          .flatMap(({ statements }) => statements)
          .filter(({ vulnerabilityIds }) => vulnerabilityIds.includes('CVE-2024-0001'));
        const level = Math.max(...matching.map(({ actionStatement }) => Number(actionStatement)));
        const rivals = matching.filter(({ actionStatement }) => Number(actionStatement) === level);
        const shuffled = documents
          .map((document) => ({ document, key: keys.next().value }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ document: { statements, ...rest } }) => ({ ...rest, statements: statements.toReversed() }));

        expect(winner === undefined).toBe(matching.length === 0);
        if (winner !== undefined) {
          expect(rivals).toContain(winner);
          expect(winner.timeMs).toBe(Math.max(...rivals.map(({ timeMs }) => timeMs)));
        }
        expect(findVexStatement(shuffled, query())).toEqual(winner);
      }),
      { numRuns: 300 },
    );
  });
});

describe('toOpenVex', () => {
  const NOW_MS = Date.parse('2026-06-03T08:00:00Z');
  const options = { author: 'slipway@example.com', nowMs: NOW_MS, id: 'https://vex.example.com/export/1' };
  const exception: ExportedException = {
    source: 'VulnerabilityException accept-tar',
    id: 'CVE-2024-0001',
    package: 'tar',
    expiresMs: Date.parse('2026-07-01T00:00:00Z'),
    products: [BY_DIGEST],
    reason: 'it is never called',
  };

  it('says that the vulnerability is there, that it is accepted, why, and until when', () => {
    expect(toOpenVex([exception], options)).toEqual({
      '@context': 'https://openvex.dev/ns/v0.2.0',
      '@id': 'https://vex.example.com/export/1',
      author: 'slipway@example.com',
      timestamp: '2026-06-03T08:00:00Z',
      version: 1,
      statements: [
        {
          vulnerability: { name: 'CVE-2024-0001' },
          products: [{ '@id': BY_DIGEST }],
          status: 'affected',
          status_notes: 'VulnerabilityException accept-tar',
          action_statement: 'Accepted in tar until 2026-07-01T00:00:00Z: it is never called',
        },
      ],
    });
  });

  it('writes what it can read again, and what lets nothing pass', () => {
    const document = parseOpenVex(JSON.stringify(toOpenVex([exception], options)));

    expect(findVexStatement([document], query())).toMatchObject({ status: 'affected', timeMs: NOW_MS });
  });

  it.each<{ when: string; given: ExportedException; want: string }>([
    { when: 'it has no end', given: { source: 'x', id: 'CVE-1' }, want: 'Accepted' },
    {
      when: 'it ends a moment later',
      given: { source: 'x', id: 'CVE-1', expiresMs: NOW_MS + 1_000 },
      want: 'Accepted until 2026-06-03T08:00:01Z',
    },
  ])('writes an exception when $when', ({ given, want }) => {
    const [written] = toOpenVex([given], options).statements;

    expect(written).toMatchObject({ action_statement: want });
    expect(written).not.toHaveProperty('products');
  });

  it('leaves out what has expired', () => {
    expect(toOpenVex([{ ...exception, expiresMs: NOW_MS }], options).statements).toEqual([]);
  });
});
