// Which addresses may be reached, in every spelling an attacker could choose.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { classifyAddress } from '../../../operator/registry/address.ts';

describe('classifyAddress', () => {
  it.each([
    '1.1.1.1',
    '140.82.121.34',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '192.167.1.1',
    '223.255.255.254',
    '2606:4700::1111',
    '2a00:1450:4001::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
    '2002:808:808::1',
  ])('%s is public', (address) => {
    expect(classifyAddress(address)).toBe('public');
  });

  it.each([
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '127.0.0.1',
    '127.255.0.1',
    '169.254.20.10',
    '100.64.0.1',
    '198.18.0.1',
    '192.0.2.7',
    '::1',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    '2001:db8::1',
    '::ffff:10.0.0.1',
    '::ffff:a00:1',
    '0:0:0:0:0:ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::10.0.0.1',
    '64:ff9b::a00:1',
    '2002:7f00:1::',
    '2002:c0a8:101::5',
  ])('%s is private', (address) => {
    expect(classifyAddress(address)).toBe('private');
  });

  it.each([
    '0.0.0.0',
    '0.1.2.3',
    '169.254.169.254',
    '169.254.169.123',
    '169.254.170.2',
    '168.63.129.16',
    '100.100.100.200',
    '192.0.0.192',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    'ff02::1',
    'fd00:ec2::254',
    'fd20:ce::254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '::ffff:0.0.0.0',
  ])('%s is forbidden', (address) => {
    expect(classifyAddress(address)).toBe('forbidden');
  });

  it.each(['', 'localhost', '127.1', '0x7f000001', '1.2.3.4.5', 'example.org', '::ffff:1.2.3', '[::1]'])(
    '%j is no address and so forbidden',
    (text) => {
      expect(classifyAddress(text)).toBe('forbidden');
    },
  );

  it('judges an IPv4 address the same in each of its IPv6 disguises', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
        const high = ((a << 8) | b).toString(16);
        const low = ((c << 8) | d).toString(16);
        const want = classifyAddress(address);

        expect(classifyAddress(`::ffff:${address}`)).toBe(want);
        expect(classifyAddress(`::ffff:${high}:${low}`)).toBe(want);
        expect(classifyAddress(`64:ff9b::${high}:${low}`)).toBe(want);
        expect(classifyAddress(`2002:${high}:${low}::1`)).toBe(want);
      }),
    );
  });
});
