// From the host in an image name to the server that is asked, and what it may do.

import { describe, expect, it } from '@jest/globals';
import { admitRegistryHop, admitTokenHop } from '../../../operator/registry/hop-rules.ts';
import { type HostConfig, requestsPerSecondOf, resolveEndpoint } from '../../../operator/registry/hosts.ts';

function hosts(given: Readonly<Record<string, HostConfig>> = {}) {
  return new Map(Object.entries(given));
}

describe('resolveEndpoint', () => {
  it('asks the host itself, safely, when nothing is configured', () => {
    expect(resolveEndpoint('ghcr.io', hosts())).toMatchObject({
      name: 'ghcr.io',
      authority: 'ghcr.io',
      isMirror: false,
      isInsecure: false,
      allowsPrivate: false,
    });
  });

  it('knows where Docker Hub answers and issues tokens', () => {
    const endpoint = resolveEndpoint('docker.io', hosts());

    expect(endpoint).toMatchObject({ name: 'docker.io', authority: 'registry-1.docker.io' });
    expect([...endpoint.tokenAuthorities]).toEqual(['auth.docker.io']);
  });

  it("takes a mirror's own settings, and not those of the host it stands for", () => {
    const given = hosts({
      'docker.io': { mirror: 'mirror.corp:5000', insecure: true, tokenHosts: ['a'] },
      'mirror.corp:5000': { allowPrivate: true, caPem: 'pem' },
    });

    const endpoint = resolveEndpoint('docker.io', given);

    expect(endpoint).toMatchObject({
      authority: 'mirror.corp:5000',
      isMirror: true,
      isInsecure: false,
      allowsPrivate: true,
      caPem: 'pem',
    });
    expect([...endpoint.tokenAuthorities]).toEqual([]);
  });

  it('leaves out the port that HTTPS has anyway', () => {
    expect(resolveEndpoint('ghcr.io:443', hosts()).authority).toBe('ghcr.io');
  });
});

describe('requestsPerSecondOf', () => {
  it.each([
    { authority: 'ghcr.io', given: {}, want: 50 },
    { authority: 'registry-1.docker.io', given: {}, want: 10 },
    { authority: 'registry-1.docker.io', given: { 'docker.io': { requestsPerSecond: 2 } }, want: 2 },
    { authority: 'quay.io', given: { 'quay.io': { requestsPerSecond: 1 } }, want: 1 },
  ])('gives $authority $want', ({ authority, given, want }) => {
    expect(requestsPerSecondOf(authority, hosts(given))).toBe(want);
  });
});

describe('admitRegistryHop', () => {
  it.each([
    { when: 'its own host', given: {}, url: 'https://ghcr.io/v2/', want: { allowsPrivate: false, verifies: true } },
    { when: 'another host', given: {}, url: 'https://blobs.example/x', want: { allowsPrivate: false, verifies: true } },
    {
      when: 'its own host, private',
      given: { 'ghcr.io': { allowPrivate: true } },
      url: 'https://ghcr.io/v2/',
      want: { allowsPrivate: true, verifies: true },
    },
    {
      when: 'its own host, insecure',
      given: { 'ghcr.io': { insecure: true } },
      url: 'http://ghcr.io/v2/',
      want: { allowsPrivate: true, verifies: false },
    },
    {
      when: 'another host, from a private one',
      given: { 'ghcr.io': { allowPrivate: true } },
      url: 'https://minio.corp/x',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a listed private host, from a public one',
      given: { 'minio.corp': { allowPrivate: true } },
      url: 'https://minio.corp/x',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a listed insecure host, from a secure one',
      given: { 'minio.corp': { insecure: true } },
      url: 'https://minio.corp/x',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a listed private host, from another',
      given: { 'ghcr.io': { allowPrivate: true }, 'minio.corp': { allowPrivate: true } },
      url: 'https://minio.corp/x',
      want: { allowsPrivate: true, verifies: true },
    },
    {
      when: 'a listed insecure host, from another',
      given: { 'ghcr.io': { insecure: true }, 'minio.corp': { insecure: true } },
      url: 'http://minio.corp/x',
      want: { allowsPrivate: true, verifies: false },
    },
  ])('lets a request go to $when', ({ given, url, want }) => {
    expect(admitRegistryHop(resolveEndpoint('ghcr.io', hosts(given)), hosts(given), new URL(url))).toEqual(want);
  });

  it.each([
    { when: 'its own host without HTTPS', given: { 'ghcr.io': { allowPrivate: true } }, url: 'http://ghcr.io/v2/' },
    { when: 'another host without HTTPS', given: { 'ghcr.io': { insecure: true } }, url: 'http://minio.corp/x' },
    {
      when: 'a listed insecure host, from a secure one',
      given: { 'minio.corp': { insecure: true } },
      url: 'http://minio.corp/x',
    },
    { when: 'another protocol', given: { 'ghcr.io': { insecure: true } }, url: 'ftp://ghcr.io/v2/' },
  ])('lets no request go to $when', ({ given, url }) => {
    const admit = () => admitRegistryHop(resolveEndpoint('ghcr.io', hosts(given)), hosts(given), new URL(url));

    expect(admit).toThrow(expect.objectContaining({ code: 'RedirectRefused' }));
  });
});

describe('admitTokenHop', () => {
  it.each([
    {
      when: 'its own host',
      name: 'ghcr.io',
      given: {},
      url: 'https://ghcr.io/token',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a known token server',
      name: 'docker.io',
      given: {},
      url: 'https://auth.docker.io/token',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a known token server of a private registry, which is none the less public',
      name: 'docker.io',
      given: { 'docker.io': { allowPrivate: true } },
      url: 'https://auth.docker.io/token',
      want: { allowsPrivate: false, verifies: true },
    },
    {
      when: 'a listed token server of a private registry',
      name: 'reg.corp',
      given: { 'reg.corp': { allowPrivate: true, tokenHosts: ['auth.corp:5001'] } },
      url: 'https://auth.corp:5001/token',
      want: { allowsPrivate: true, verifies: true },
    },
    {
      when: 'a listed token server of an insecure registry',
      name: 'reg.corp',
      given: { 'reg.corp': { insecure: true, tokenHosts: ['auth.corp'] } },
      url: 'http://auth.corp/token',
      want: { allowsPrivate: true, verifies: false },
    },
  ])('lets a login go to $when', ({ name, given, url, want }) => {
    expect(admitTokenHop(resolveEndpoint(name, hosts(given)), hosts(given), new URL(url))).toEqual(want);
  });

  it.each([
    { when: 'a stranger', name: 'ghcr.io', given: {}, url: 'https://auth.docker.io/token' },
    {
      when: 'a host that only ends like a known one',
      name: 'docker.io',
      given: {},
      url: 'https://auth.docker.io.evil.example/token',
    },
    { when: 'a known host on another port', name: 'docker.io', given: {}, url: 'https://auth.docker.io:8443/token' },
    { when: 'a known host without HTTPS', name: 'docker.io', given: {}, url: 'http://auth.docker.io/token' },
    {
      when: 'a listed host without HTTPS',
      name: 'a.corp',
      given: { 'a.corp': { tokenHosts: ['b.corp'] } },
      url: 'http://b.corp/token',
    },
    {
      when: 'a host listed for another registry',
      name: 'ghcr.io',
      given: { 'a.corp': { tokenHosts: ['b.corp'] } },
      url: 'https://b.corp/token',
    },
    { when: 'another protocol', name: 'a.corp', given: { 'a.corp': { insecure: true } }, url: 'ftp://a.corp/token' },
    { when: 'a URL with a login in it', name: 'ghcr.io', given: {}, url: 'https://a:b@ghcr.io/token' },
  ])('lets no login go to $when', ({ name, given, url }) => {
    const admit = () => admitTokenHop(resolveEndpoint(name, hosts(given)), hosts(given), new URL(url));

    expect(admit).toThrow(expect.objectContaining({ code: 'TokenHostRefused' }));
  });
});
