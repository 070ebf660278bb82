// What is known of Docker's official images, which are the bases of most others.
// @see https://github.com/docker-library/official-images

import type { ImageReference } from '../image/reference.ts';

const HUB_HOSTS: ReadonlySet<string> = new Set(['docker.io', 'mirror.gcr.io']);
/** As in `public.ecr.aws/docker/library/node`. Not `library/` alone: Harbor has a project of that name everywhere. */
const MIRRORED = /(?:^|\/)docker[a-z.-]*\/library\/([^/]+)$/;

/** `node` for `node:22`. Absent: not an official image, nor by its path a mirror of one. */
export function officialName({ repository: { host, path } }: ImageReference): string | undefined {
  return (HUB_HOSTS.has(host) ? /^library\/([^/]+)$/ : MIRRORED).exec(path)?.[1];
}

/**
 * Official images that set no user in any of their variants, so that what is built on them runs as root until it says
 * otherwise. Left out: those that do set one (haproxy, memcached, …).
 */
const ROOT_IMAGES: ReadonlySet<string> = new Set([
  ...['almalinux', 'alpine', 'amazonlinux', 'busybox', 'centos', 'debian', 'fedora', 'oraclelinux', 'rockylinux'],
  ...['ubuntu', 'buildpack-deps', 'gcc', 'golang', 'node', 'openjdk', 'eclipse-temurin', 'amazoncorretto', 'perl'],
  ...['php', 'pypy', 'python', 'ruby', 'rust', 'httpd', 'nginx', 'tomcat'],
]);

/** True only where it is certain: another image may set a user that cannot be seen from here. */
export function isRootImage(image: ImageReference): boolean {
  if (image.repository.host === 'gcr.io' && image.repository.path.startsWith('distroless/')) {
    // By digest alone it may be the nonroot variant.
    return image.tag === undefined ? image.digest === undefined : !image.tag.includes('nonroot');
  }
  return ROOT_IMAGES.has(officialName(image) ?? '');
}

const COMPILER_IMAGES: ReadonlySet<string> = new Set(['gcc', 'golang', 'gradle', 'maven', 'rust']);

/** An image that is there to compile with, not to run. */
export function isCompilerImage(image: ImageReference): boolean {
  return COMPILER_IMAGES.has(officialName(image) ?? '');
}
