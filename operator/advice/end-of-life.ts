// Until when the common bases get fixes. Debian counts to the end of its long-term support, Ubuntu to the end of the
// support that needs no subscription. A release that is not listed is not known.
// @see https://endoflife.date

import type { ImageReference } from '../image/reference.ts';
import { officialName } from './official-images.ts';

interface Product {
  readonly title: string;
  /** Last day with fixes of each release, as tags name it. */
  readonly releases: Readonly<Record<string, string>>;
}

// As of 2026-08-22.
const PRODUCTS: ReadonlyMap<string, Product> = new Map<string, Product>([
  [
    'debian',
    {
      title: 'Debian',
      releases: {
        '7': '2018-05-31',
        '8': '2020-06-30',
        '9': '2022-07-01',
        '10': '2024-06-30',
        '11': '2026-08-31',
        '12': '2028-06-30',
        '13': '2030-06-30',
      },
    },
  ],
  [
    'ubuntu',
    {
      title: 'Ubuntu',
      releases: {
        '14.04': '2019-04-30',
        '16.04': '2021-04-30',
        '18.04': '2023-05-31',
        '20.04': '2025-05-31',
        '22.04': '2027-04-30',
        '22.10': '2023-07-20',
        '23.04': '2024-01-25',
        '23.10': '2024-07-12',
        '24.04': '2029-05-31',
        '24.10': '2025-07-10',
        '25.04': '2026-01-17',
        '25.10': '2026-07-31',
        '26.04': '2031-04-30',
      },
    },
  ],
  [
    'alpine',
    {
      title: 'Alpine',
      releases: {
        '3.8': '2020-05-01',
        '3.9': '2020-11-01',
        '3.10': '2021-05-01',
        '3.11': '2021-11-01',
        '3.12': '2022-05-01',
        '3.13': '2022-11-01',
        '3.14': '2023-05-01',
        '3.15': '2023-11-01',
        '3.16': '2024-05-23',
        '3.17': '2024-11-22',
        '3.18': '2025-05-09',
        '3.19': '2025-11-01',
        '3.20': '2026-04-01',
        '3.21': '2026-11-01',
        '3.22': '2027-05-01',
        '3.23': '2027-11-01',
        '3.24': '2028-06-01',
      },
    },
  ],
  [
    'node',
    {
      title: 'Node.js',
      releases: {
        '8': '2019-12-31',
        '10': '2021-04-30',
        '12': '2022-04-30',
        '14': '2023-04-30',
        '16': '2023-09-11',
        '17': '2022-06-01',
        '18': '2025-04-30',
        '19': '2023-06-01',
        '20': '2026-04-30',
        '21': '2024-06-01',
        '22': '2027-04-30',
        '23': '2025-06-01',
        '24': '2028-04-30',
        '25': '2026-06-01',
        '26': '2029-04-30',
      },
    },
  ],
  [
    'python',
    {
      title: 'Python',
      releases: {
        '2': '2020-01-01',
        '3.5': '2020-09-30',
        '3.6': '2021-12-23',
        '3.7': '2023-06-27',
        '3.8': '2024-10-07',
        '3.9': '2025-10-31',
        '3.10': '2026-10-31',
        '3.11': '2027-10-31',
        '3.12': '2028-10-31',
        '3.13': '2029-10-31',
        '3.14': '2030-10-31',
      },
    },
  ],
]);

/** Words in the tags of official images that name the system under them. */
const CODE_NAMES: ReadonlyMap<string, readonly [product: string, release: string]> = new Map([
  ['wheezy', ['debian', '7']],
  ['jessie', ['debian', '8']],
  ['stretch', ['debian', '9']],
  ['buster', ['debian', '10']],
  ['bullseye', ['debian', '11']],
  ['bookworm', ['debian', '12']],
  ['trixie', ['debian', '13']],
  ['trusty', ['ubuntu', '14.04']],
  ['xenial', ['ubuntu', '16.04']],
  ['bionic', ['ubuntu', '18.04']],
  ['focal', ['ubuntu', '20.04']],
  ['jammy', ['ubuntu', '22.04']],
  ['noble', ['ubuntu', '24.04']],
]);

export interface EndOfLife {
  /** For example `Debian 10`. */
  readonly release: string;
  /** Last day with fixes, `YYYY-MM-DD`. */
  readonly date: string;
}

/** What in an official image gets no more fixes at this time: itself or the system under it. Absent: nothing known. */
export function findEndOfLife(image: ImageReference, nowMs: number): EndOfLife | undefined {
  const name = officialName(image);
  if (name === undefined || image.tag === undefined) return undefined;
  const [version = '', ...variant] = image.tag.toLowerCase().split('-');
  return [lookUp(name, version), ...[version, ...variant].map(lookUpSystem)].find(
    (release) => release !== undefined && Date.parse(`${release.date}T23:59:59Z`) < nowMs,
  );
}

function lookUpSystem(word: string): EndOfLife | undefined {
  const [product, version] = CODE_NAMES.get(word) ?? ['alpine', /^alpine([0-9.]+)$/.exec(word)?.[1]];
  return version === undefined ? undefined : lookUp(product, version);
}

function lookUp(name: string, version: string): EndOfLife | undefined {
  const product = PRODUCTS.get(name);
  if (product === undefined) return undefined;
  const found = Object.entries(product.releases).find(
    ([release]) => version === release || version.startsWith(`${release}.`),
  );
  return found && { release: `${product.title} ${found[0]}`, date: found[1] };
}
