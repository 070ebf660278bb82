// Which network addresses a registry may have. Whoever may write an image name or answer a redirect must not be able to
// send Slipway to a cluster service or to a cloud's metadata server, so addresses are judged after resolution, right
// before the connection is made.
// @see https://www.iana.org/assignments/iana-ipv4-special-registry
// @see https://www.iana.org/assignments/iana-ipv6-special-registry

import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * `public`: anyone may name it. `private`: only for hosts the operator's configuration allows it for. `forbidden`: never,
 * because nothing but a metadata service, a broadcast or "this machine" lives there.
 */
export type AddressClass = 'public' | 'private' | 'forbidden';

const FORBIDDEN = blockList(
  ['0.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'],
  // The metadata services of AWS (instances, tasks, time), Oracle, Azure and Alibaba.
  [
    '169.254.169.0/24',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '192.0.0.192/32',
    '168.63.129.16/32',
    '100.100.100.200/32',
  ],
  ['::/128', 'ff00::/8', 'fd00:ec2::/32', 'fd20:ce::254/128'],
);

const PRIVATE = blockList(
  ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '127.0.0.0/8', '169.254.0.0/16', '100.64.0.0/10'],
  ['192.0.0.0/24', '192.0.2.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '192.88.99.0/24'],
  [
    '::1/128',
    'fc00::/7',
    'fe80::/10',
    'fec0::/10',
    '100::/64',
    '2001::/23',
    '2001:db8::/32',
    '64:ff9b:1::/48',
    '3fff::/20',
    '5f00::/16',
  ],
);

/** Judges an IP address as the resolver or a URL spells it. Anything that is not an IP address is `forbidden`. */
export function classifyAddress(address: string): AddressClass {
  if (isIPv4(address)) return classifyIn('ipv4', address);
  const bare = address.replace(/%.*$/, '');
  if (!isIPv6(bare)) return 'forbidden';
  const embedded = embeddedIPv4(expandIPv6(bare));
  const own = embedded !== undefined && isMapped(bare) ? 'public' : classifyIn('ipv6', bare);
  return embedded === undefined ? own : stricter(own, classifyIn('ipv4', embedded));
}

function classifyIn(family: 'ipv4' | 'ipv6', address: string): AddressClass {
  if (FORBIDDEN.check(address, family)) return 'forbidden';
  return PRIVATE.check(address, family) ? 'private' : 'public';
}

function stricter(a: AddressClass, b: AddressClass): AddressClass {
  if (a === 'forbidden' || b === 'forbidden') return 'forbidden';
  return a === 'private' || b === 'private' ? 'private' : 'public';
}

/** The eight 16-bit groups of a valid IPv6 address without a zone. */
function expandIPv6(address: string): readonly number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex =
    dotted === null
      ? address
      : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [head = '', tail] = hex.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : new Array<string>(8 - left.length - right.length).fill('0');
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}

function isMapped(address: string): boolean {
  const groups = expandIPv6(address);
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

/** The IPv4 address a translator or tunnel would deliver to: mapped, compatible, NAT64 and 6to4 forms. */
function embeddedIPv4(groups: readonly number[]): string | undefined {
  const [first = 0, second = 0, third = 0, , , sixth = 0, seventh = 0, eighth = 0] = groups;
  const startsWithZeros = groups.slice(0, 5).every((group) => group === 0);
  if (startsWithZeros && sixth === 0xffff) return toDotted(seventh, eighth);
  if (startsWithZeros && sixth === 0 && (seventh !== 0 || eighth > 1)) return toDotted(seventh, eighth);
  if (first === 0x64 && second === 0xff9b && groups.slice(2, 6).every((group) => group === 0))
    return toDotted(seventh, eighth);
  if (first === 0x2002) return toDotted(second, third);
  return undefined;
}

function toDotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

function blockList(...groups: readonly (readonly string[])[]): BlockList {
  const list = new BlockList();
  for (const range of groups.flat()) {
    const [network = '', prefix] = range.split('/');
    list.addSubnet(network, Number(prefix), isIPv4(network) ? 'ipv4' : 'ipv6');
  }
  return list;
}
